//! Schemas that operators register while the server runs, to check by.
//!
//! Every instance has all of them. Whoever registers one tells the others; as that may get lost, and
//! instances come later, each says again and again by a digest what it has, and where two differ both
//! tell everything. Of two entries for a pattern the later one counts, also one that says that there
//! is none any more. What the files of an instance, or its types, declare for the same pattern counts
//! before either.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::{Pattern, PatternIndex};

use super::compatible::{Difference, differences};
use super::events::{Declared, Violations};
use super::{Schema, SchemaError};
use crate::clock::unix_micros;
use crate::config::Schemas as Limits;
use crate::ids::digest_of;

/// How many differences a refusal names.
const NAMED: usize = 5;

/// Why a schema is not registered, or not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRegistered {
    #[error("{0:?} is no pattern of events: {1}")]
    Pattern(String, String),
    #[error("{0}")]
    Schema(#[from] SchemaError),
    #[error(
        "{0:?} has its schema from the configuration, or a type, of this instance: change it there, \
         and restart one instance after the other"
    )]
    Declared(String),
    #[error(
        "{0:?} are events of a collection: what its records must be is declared in the configuration \
         (collections.*.schema_file)"
    )]
    Collection(String),
    #[error(
        "the schema declares something sensitive (x-tidings-sensitive), which an instance must know \
         before its first client: declare it in the configuration of all instances \
         (events.{0:?}.schema_file)"
    )]
    Sensitive(String),
    #[error("the schema has {0} bytes; {1} are allowed (schemas.max_bytes)")]
    TooLarge(usize, usize),
    #[error(
        "{0} schemas are registered already, which is the limit (schemas.max_registered): remove one, \
         or declare those that stay in the configuration"
    )]
    TooMany(usize),
    #[error("{}", incompatible(.0, .1))]
    Incompatible(String, Vec<Difference>),
    #[error("no schema is registered for {0:?}; GET /api/schemas lists those that are")]
    Unknown(String),
}

fn incompatible(pattern: &str, found: &[Difference]) -> String {
    let named: Vec<_> = found.iter().take(NAMED).map(|one| format!("{pattern}, {one}")).collect();
    let more = match found.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "what the schema registered before accepts this one may refuse: {}{more}. With \
         ?compatible=false it is registered all the same",
        named.join("; ")
    )
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Became {
    New,
    Replaced,
    /// It was registered already.
    Same,
}

/// What is registered for a pattern, or that nothing is any more, and since when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Entry {
    /// In microseconds since the Unix epoch; later than that of the entry before it.
    at: u64,
    /// The schema, as JSON.
    schema: Option<String>,
}

/// Schemas that are registered.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    limits: Limits,
    entries: Mutex<Entries>,
    in_force: ArcSwap<InForce>,
}

/// The entries by their patterns.
#[derive(Debug, Default)]
struct Entries {
    all: BTreeMap<String, Entry>,
    /// Of all of them: known until one changes, for it is asked for each time another instance tells.
    digest: Option<String>,
}

impl Entries {
    fn put(&mut self, pattern: String, entry: Entry) {
        self.digest = None;
        self.all.insert(pattern, entry);
    }
}

/// Those by which events are checked here.
#[derive(Debug, Default)]
pub(super) struct InForce {
    pub(super) index: PatternIndex<Arc<Declared>>,
    pub(super) all: Vec<Arc<Declared>>,
}

impl Registered {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, entries: Mutex::default(), in_force: ArcSwap::default() }
    }

    pub(super) fn in_force(&self) -> arc_swap::Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// Registers a schema; the entry is for the other instances. `is_declared` says which patterns
    /// have their schema otherwise.
    pub(super) fn register(
        &self,
        pattern: &str,
        value: &Value,
        must_be_compatible: bool,
        is_declared: impl Fn(&Pattern) -> bool,
    ) -> Result<(Became, Arc<Declared>, Option<Entry>), NotRegistered> {
        let parsed = Pattern::new(pattern)
            .map_err(|error| NotRegistered::Pattern(pattern.to_owned(), error.to_string()))?;
        if is_declared(&parsed) {
            return Err(NotRegistered::Declared(pattern.to_owned()));
        }
        let text = value.to_string();
        if text.len() > self.limits.max_bytes {
            return Err(NotRegistered::TooLarge(text.len(), self.limits.max_bytes));
        }
        let schema = Schema::new(value)?;
        if schema.mask().is_some() {
            return Err(NotRegistered::Sensitive(pattern.to_owned()));
        }
        let mut entries = self.entries.lock();
        let known = self.in_force.load().all.iter().find(|one| one.pattern == parsed).cloned();
        if let Some(known) = &known {
            if known.schema.as_value() == value {
                return Ok((Became::Same, Arc::clone(known), None));
            }
            let found = differences(known.schema.as_value(), value);
            if must_be_compatible && !found.is_empty() {
                return Err(NotRegistered::Incompatible(pattern.to_owned(), found));
            }
        } else {
            let count = entries.all.values().filter(|entry| entry.schema.is_some()).count();
            if count >= self.limits.max_registered {
                return Err(NotRegistered::TooMany(count));
            }
        }
        let entry = Entry { at: next(entries.all.get(pattern)), schema: Some(text) };
        entries.put(pattern.to_owned(), entry.clone());
        let declared =
            Arc::new(Declared { pattern: parsed, schema, violations: Violations::default() });
        let became = if known.is_some() { Became::Replaced } else { Became::New };
        let others = self.in_force.load();
        let others = others.all.iter().filter(|one| one.pattern != declared.pattern).cloned();
        self.put_in_force(others.chain([Arc::clone(&declared)]).collect());
        Ok((became, declared, Some(entry)))
    }

    /// Removes what is registered for a pattern; the entry is for the other instances.
    pub(super) fn remove(&self, pattern: &str) -> Result<Entry, NotRegistered> {
        let mut entries = self.entries.lock();
        let known = entries.all.get(pattern).filter(|entry| entry.schema.is_some());
        let Some(known) = known else { return Err(NotRegistered::Unknown(pattern.to_owned())) };
        let entry = Entry { at: next(Some(known)), schema: None };
        entries.put(pattern.to_owned(), entry.clone());
        let left = self.in_force.load();
        let left = left.all.iter().filter(|one| one.pattern.as_str() != pattern).cloned();
        self.put_in_force(left.collect());
        Ok(entry)
    }

    /// Takes over what others have registered and removed.
    pub(super) fn merge(
        &self,
        told: impl IntoIterator<Item = (String, Entry)>,
        is_declared: impl Fn(&Pattern) -> bool,
    ) {
        let mut entries = self.entries.lock();
        let mut all = self.in_force.load().all.clone();
        let mut is_news = false;
        for (pattern, entry) in told {
            if entries.all.get(&pattern).is_some_and(|known| *known >= entry) {
                continue;
            }
            is_news = true;
            all.retain(|one| one.pattern.as_str() != pattern);
            if let Some(text) = &entry.schema {
                match (Pattern::new(pattern.as_str()), Schema::parse(text)) {
                    (Ok(parsed), _) if is_declared(&parsed) => tracing::warn!(
                        pattern,
                        "another instance has a schema registered for what is declared here: it is \
                         not checked by it here"
                    ),
                    (Ok(pattern), Ok(schema)) => {
                        let violations = Violations::default();
                        all.push(Arc::new(Declared { pattern, schema, violations }));
                    }
                    _ => tracing::warn!(pattern, "a registered schema is not understood here"),
                }
            }
            tracing::info!(
                pattern,
                is_removed = entry.schema.is_none(),
                "schema told by another instance"
            );
            entries.put(pattern, entry);
        }
        if is_news {
            self.put_in_force(all);
        }
    }

    fn put_in_force(&self, mut all: Vec<Arc<Declared>>) {
        all.sort_by(|a, b| a.pattern.as_str().cmp(b.pattern.as_str()));
        let mut index = PatternIndex::default();
        all.iter().for_each(|one| drop(index.insert(&one.pattern, Arc::clone(one))));
        self.in_force.store(Arc::new(InForce { index, all }));
    }

    /// Forgets removals of long ago: every instance has them by now.
    pub(super) fn forget_old(&self) {
        let kept = u64::try_from(self.limits.removals_kept.as_micros()).unwrap_or(u64::MAX);
        let before = unix_micros().saturating_sub(kept);
        let mut entries = self.entries.lock();
        let count = entries.all.len();
        entries.all.retain(|_, entry| entry.schema.is_some() || entry.at > before);
        if entries.all.len() < count {
            entries.digest = None;
        }
    }

    pub(super) fn entries(&self) -> Vec<(String, Entry)> {
        let entries = self.entries.lock();
        entries.all.iter().map(|(pattern, entry)| (pattern.clone(), entry.clone())).collect()
    }

    /// What tells what this instance has from what others have.
    pub(super) fn digest(&self) -> String {
        let Entries { all, digest } = &mut *self.entries.lock();
        let anew = || digest_of(&serde_json::to_string(all).unwrap_or_default());
        digest.get_or_insert_with(anew).clone()
    }
}

/// A moment that is after the entry's, whatever the clocks.
fn next(known: Option<&Entry>) -> u64 {
    unix_micros().max(known.map_or(0, |known| known.at + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn registered() -> Registered {
        Registered::new(Limits { max_registered: 2, max_bytes: 100, ..Limits::default() })
    }

    fn put(to: &Registered, pattern: &str, schema: Value) -> Result<Became, NotRegistered> {
        let declared = |pattern: &Pattern| pattern.as_str() == "declared";
        to.register(pattern, &schema, true, declared).map(|(became, ..)| became)
    }

    #[test]
    fn what_cannot_be_registered_is_refused_with_the_reason() {
        let registered = registered();
        let refused = |pattern: &str, schema| put(&registered, pattern, schema).unwrap_err();
        assert!(matches!(refused("", json!(true)), NotRegistered::Pattern(..)));
        assert!(matches!(refused("declared", json!(true)), NotRegistered::Declared(_)));
        assert!(matches!(refused("a", json!({"type": "objekt"})), NotRegistered::Schema(_)));
        let secret = json!({"properties": {"card": {"x-tidings-sensitive": true}}});
        assert!(matches!(refused("a", secret), NotRegistered::Sensitive(_)));
        let long = json!({"title": "x".repeat(100)});
        assert!(matches!(refused("a", long), NotRegistered::TooLarge(112, 100)));
        for pattern in ["a", "b.*"] {
            assert_eq!(put(&registered, pattern, json!({"type": "object"})).unwrap(), Became::New);
        }
        assert!(matches!(refused("c", json!(true)), NotRegistered::TooMany(2)));
        let error = refused("a", json!({"type": "null"}));
        let expected = "what the schema registered before accepts this one may refuse: a, the value \
                        itself: the type is \"null\", and was \"object\" (rule /type). With \
                        ?compatible=false it is registered all the same";
        assert_eq!(error.to_string(), expected);
        assert_eq!(put(&registered, "a", json!({"type": "object"})).unwrap(), Became::Same);
        assert_eq!(put(&registered, "a", json!(true)).unwrap(), Became::Replaced);
        registered.remove("a").unwrap();
        assert!(matches!(registered.remove("a"), Err(NotRegistered::Unknown(_))));
        assert_eq!(put(&registered, "c", json!(true)).unwrap(), Became::New, "there is room again");
    }

    #[test]
    fn in_whatever_order_it_is_told_all_come_to_know_the_same() {
        let [one, other] = [(); 2].map(|()| registered());
        put(&one, "a", json!({"type": "object"})).unwrap();
        put(&other, "a", json!({"type": "null"})).unwrap();
        put(&one, "b", json!(true)).unwrap();
        one.remove("b").unwrap();
        other.merge(one.entries(), |_| false);
        one.merge(other.entries(), |_| false);
        assert_eq!(one.digest(), other.digest());
        for instance in [&one, &other] {
            let in_force = instance.in_force();
            let [only] = in_force.all.as_slice() else { panic!("{in_force:?}") };
            assert_eq!(only.schema.as_value(), &json!({"type": "null"}), "it came last");
        }
        // What is declared in a file counts there, and is told on all the same.
        let third = registered();
        third.merge(one.entries(), |pattern| pattern.as_str() == "a");
        assert!(third.in_force().all.is_empty());
        assert_eq!(third.digest(), one.digest());
    }

    #[test]
    fn removals_are_remembered_for_a_while() {
        let mut registered = registered();
        put(&registered, "a", json!(true)).unwrap();
        registered.remove("a").unwrap();
        registered.forget_old();
        assert_eq!(registered.entries().len(), 1);
        registered.limits.removals_kept = std::time::Duration::ZERO;
        put(&registered, "b", json!(true)).unwrap();
        let with_the_removal = registered.digest();
        registered.forget_old();
        assert_eq!(registered.entries().len(), 1);
        assert_ne!(registered.digest(), with_the_removal);
    }
}
