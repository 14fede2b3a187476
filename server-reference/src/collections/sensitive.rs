//! What those get of records, and may change in them, who may not see all of them.

use std::borrow::Cow;
use std::sync::Arc;

use tidings_core::json::MAX_DEPTH;
use tidings_core::state::{
    Asked, Change, Conflict, Document, Edit, Keep, Key, Page, Reason, Rejection, Verdict, wire,
};

use super::hosted::Hosted;
use crate::auth::Identity;
use crate::schemas::Mask;

/// What is sensitive in the records of a collection.
#[derive(Debug, Clone, Default)]
pub(super) struct Sensitive(Arc<[Mask]>);

impl Sensitive {
    pub(super) fn new(masks: impl Iterator<Item = Mask>) -> Self {
        Self(masks.collect())
    }

    fn redacted(&self, record: &Document) -> Document {
        let redacted = |text: Cow<'_, [u8]>, mask: &Mask| Cow::Owned(mask.redacted(&text));
        let text = self.0.iter().fold(Cow::Borrowed(&**record.bytes()), redacted);
        // What is left of a record is one: masks that hide it as a whole are not accepted.
        Document::parse(&text, MAX_DEPTH).unwrap_or_default()
    }

    fn kept(&self, before: &Document, after: Document) -> Result<Document, String> {
        self.0.iter().try_fold(after, |after, mask| mask.kept(before, &after))
    }

    fn is_touched_by(&self, edit: &Edit) -> bool {
        let Edit::Increment(amounts) = edit else { return false };
        self.0.iter().any(|mask| mask.is_touched_by(amounts.bytes()))
    }
}

/// A collection as somebody sees it.
pub(super) struct View<'a> {
    hosted: &'a Hosted,
    identity: &'a Identity,
}

impl<'a> View<'a> {
    pub(super) const fn new(hosted: &'a Hosted, identity: &'a Identity) -> Self {
        Self { hosted, identity }
    }

    /// Whether all of the record is to be seen.
    fn is_open(&self, key: &str) -> bool {
        is_open(self.hosted.name(), self.hosted.sensitive(), self.identity, key)
    }

    /// A page without what is not to be seen.
    pub(super) fn page(&self, mut page: Page) -> Page {
        for Change { key, value, .. } in &mut page.changes {
            if let Some(value) = value
                && !self.is_open(key)
            {
                *value = self.hosted.sensitive().redacted(value);
            }
        }
        page
    }

    /// A verdict without what is not to be seen.
    pub(super) fn verdict<'v>(&self, verdict: &'v Verdict) -> Cow<'v, Verdict> {
        if self.hosted.sensitive().0.is_empty() {
            return Cow::Borrowed(verdict);
        }
        Cow::Owned(match verdict {
            Verdict::Accepted { version, conflicts } => {
                let conflicts = conflicts.iter().map(|conflict| self.conflict(conflict)).collect();
                Verdict::Accepted { version: *version, conflicts }
            }
            Verdict::Rejected(Rejection { key, reason }) => {
                let reason = match reason {
                    Reason::Conflict(conflict) => {
                        Reason::Conflict(Box::new(self.conflict(conflict)))
                    }
                    // It says what is there. Whose mutation it was is not known here.
                    Reason::Increment(_) if !self.is_open(key) => Reason::Increment(
                        "not all of it is a whole number, or the sum is too large".to_owned(),
                    ),
                    other => other.clone(),
                };
                Verdict::Rejected(Rejection { key: key.clone(), reason })
            }
            Verdict::Forgotten => Verdict::Forgotten,
        })
    }

    fn conflict(&self, conflict: &Conflict) -> Conflict {
        if self.is_open(&conflict.key) {
            return conflict.clone();
        }
        let redacted = |record: &Document| self.hosted.sensitive().redacted(record);
        Conflict {
            key: conflict.key.clone(),
            base: conflict.base.as_ref().map(redacted),
            mine: conflict.mine.as_ref().map(redacted),
            theirs: redacted(&conflict.theirs),
            outcome: conflict.outcome,
        }
    }

    /// A mutation that leaves alone what its maker does not see, unless it says what that is to be.
    pub(super) fn asked(&self, asked: Asked) -> Asked {
        let Asked { mutation, mut refused, .. } = asked;
        let mut blind = mutation.ops.iter().filter(|op| !self.is_open(&op.key)).peekable();
        if blind.peek().is_none() {
            return Asked { refused, ..mutation.into() };
        }
        if refused.is_none() && blind.any(|op| self.hosted.sensitive().is_touched_by(&op.edit)) {
            let why = "forbidden: what may not be seen cannot be incremented (claim sensitive)";
            refused = Some(why.to_owned());
        }
        let (name, identity) = (self.hosted.name().to_owned(), self.identity.clone());
        let sensitive = self.hosted.sensitive().clone();
        let keep = Keep::new(move |key: &Key, before, after| match before {
            Some(before) if !is_open(&name, &sensitive, &identity, key) => {
                sensitive.kept(before, after)
            }
            _ => Ok(after),
        });
        Asked { mutation, refused, keep: Some(keep) }
    }
}

fn is_open(collection: &str, sensitive: &Sensitive, identity: &Identity, key: &str) -> bool {
    sensitive.0.is_empty()
        || identity.rights().may_see_sensitive(&wire::change_name(collection, key))
}
