//! A collection: where it is kept, and the log that its changes go into.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_core::message::Refusal;
use tidings_core::state::draft::{Part, Wanted};
use tidings_core::state::{
    self, Asked, Change, Key, Load, Mutation, Page, Reason, Record, Rejection, Rules, Verdict,
    Version, wire,
};
use tidings_core::{Event, Headers, Payload, Priority};
use tokio::time::Instant;

use super::Declaration;
use super::access::Permissions;
use super::presence::Leases;
use super::sensitive::Sensitive;
use super::shared::Shared;
use crate::backplane::{Backplane, CollectionStore, Published};
use crate::clock::unix_micros;

/// A collection and the log that its changes go into.
pub(crate) struct Hosted {
    name: String,
    rules: Arc<Rules>,
    permissions: Permissions,
    presence: Option<Duration>,
    sensitive: Sensitive,
    kept: Kept,
}

/// Where the records are.
enum Kept {
    /// In this process.
    Here(Box<Here>),
    /// Where all instances have them.
    Shared(Shared),
}

struct Here {
    backplane: Arc<dyn Backplane>,
    /// Held while changes are published, so that they are in the log in the order of their
    /// versions. Publishing into a log in memory waits for nothing.
    collection: Mutex<state::Collection>,
    leases: Leases,
}

impl Hosted {
    /// A collection in the memory of this process.
    pub(super) fn here(declaration: Declaration, backplane: Arc<dyn Backplane>) -> Self {
        let sensitive = declaration.sensitive();
        let Declaration { name, rules, permissions, presence, .. } = declaration;
        let collection = Mutex::new(state::Collection::with_rules(rules.clone(), unix_micros()));
        let kept = Kept::Here(Box::new(Here { backplane, collection, leases: Leases::default() }));
        Self { name, rules: Arc::new(rules), permissions, presence, sensitive, kept }
    }

    /// A collection that all instances share; `max_waiting` bytes of mutations may wait for the
    /// store.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub(super) fn shared(
        declaration: Declaration,
        store: Arc<dyn CollectionStore>,
        max_waiting: usize,
    ) -> Self {
        let sensitive = declaration.sensitive();
        let Declaration { name, rules, permissions, presence, .. } = declaration;
        let rules = Arc::new(rules);
        let shared = Shared::new(&name, Arc::clone(&rules), store, max_waiting);
        Self { name, rules, permissions, presence, sensitive, kept: Kept::Shared(shared) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// What is sensitive in its records.
    pub(super) const fn sensitive(&self) -> &Sensitive {
        &self.sensitive
    }

    /// If its records end with their sessions, how long one may be away.
    pub(super) fn presence(&self) -> Option<Duration> {
        self.presence
    }

    /// Says which sessions are carried here; gives back the records whose sessions have been away
    /// for `timeout`.
    pub(super) async fn beat(
        &self,
        present: &[Arc<str>],
        timeout: Duration,
    ) -> Result<Vec<(Key, Version)>, Refusal> {
        match &self.kept {
            Kept::Here(here) => {
                let collection = here.collection.lock();
                let records = collection.iter();
                let records = records.map(|(key, record)| (key.clone(), record.stamp.version));
                Ok(here.leases.beat(Instant::now(), present, timeout, records))
            }
            Kept::Shared(shared) => shared.beat(present, timeout).await,
        }
    }

    /// Judges mutations, in order, and publishes what they have changed. If it is refused, the last
    /// ones may have had no effect; those before one that has had none have had theirs.
    pub(super) async fn mutate(&self, asked: Vec<Asked>) -> Result<Vec<Arc<Verdict>>, Refusal> {
        match &self.kept {
            Kept::Here(here) => {
                let judge = |asked| here.mutate(&self.name, asked);
                Ok(asked.into_iter().map(judge).collect())
            }
            Kept::Shared(shared) => shared.mutate(asked).await,
        }
    }

    pub(super) async fn load(&self, load: &Load) -> Result<Page, Refusal> {
        match &self.kept {
            Kept::Here(here) => Ok(here.collection.lock().load(load)),
            Kept::Shared(shared) => shared.load(load).await,
        }
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Record>, Refusal> {
        match &self.kept {
            Kept::Here(here) => Ok(here.collection.lock().get(key).cloned()),
            Kept::Shared(shared) => {
                // What is no key has no record.
                let Ok(key) = Key::new(key) else { return Ok(None) };
                let wanted = Wanted { keys: [key].into(), ..Wanted::default() };
                let Part { changes, .. } = shared.look(&wanted).await?;
                Ok(changes.into_iter().find_map(|change| record(change).map(|(_, record)| record)))
            }
        }
    }

    /// All records, by key.
    pub(super) async fn all(&self) -> Result<Vec<(Key, Record)>, Refusal> {
        match &self.kept {
            Kept::Here(here) => {
                let collection = here.collection.lock();
                let records = collection.iter();
                Ok(records.map(|(key, record)| (key.clone(), record.clone())).collect())
            }
            Kept::Shared(shared) => all(shared).await,
        }
    }
}

/// All records of a shared collection, page by page: those that change meanwhile may be there as
/// they were at any moment since.
async fn all(shared: &Shared) -> Result<Vec<(Key, Record)>, Refusal> {
    let mut changes = std::collections::BTreeMap::new();
    let mut next = Some((Version(0), Version(0)));
    while let Some((after, began)) = next {
        let page = shared.load(&Load { after, began, limit: usize::MAX, client: None }).await?;
        if page.reset {
            changes.clear();
        }
        changes.extend(page.changes.into_iter().map(|change| (change.key.clone(), change)));
        next = page.next;
    }
    Ok(changes.into_values().filter_map(record).collect())
}

/// The verdict, or a rejection if the application's policy or check panics.
pub(super) fn or_rejected(
    mutation: &Mutation,
    judge: impl FnOnce() -> Arc<Verdict>,
) -> Arc<Verdict> {
    std::panic::catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|_| {
        // The panic itself has been told by the hook. A mutation without ops is not judged.
        let Some(op) = mutation.ops.first() else { return Arc::new(Verdict::Forgotten) };
        let reason = Reason::Refused("the server's rules for this collection failed".to_owned());
        Arc::new(Verdict::Rejected(Rejection { key: op.key.clone(), reason }))
    })
}

fn record(Change { key, value, stamp }: Change) -> Option<(Key, Record)> {
    Some((key, Record { value: value?, stamp }))
}

impl Here {
    fn mutate(&self, name: &str, asked: Asked) -> Arc<Verdict> {
        let mut collection = self.collection.lock();
        or_rejected(&asked.mutation, || {
            let judged = collection.mutate(unix_micros(), asked.clone());
            for change in &judged.changes {
                self.publish(name, change);
            }
            judged.verdict
        })
    }

    fn publish(&self, name: &str, change: &Change) {
        let event = Event {
            name: wire::change_name(name, &change.key).into(),
            payload: Payload::Json(wire::write_change(change).into()),
            id: Arc::default(),
            priority: Priority::Normal,
            time: 0,
            headers: Headers::NONE,
        };
        match self.backplane.publish(event, None) {
            Published::Now(Ok(_)) => {}
            Published::Now(Err(refusal)) => {
                tracing::error!(collection = name, key = %change.key, %refusal, "a change was not published");
            }
            // Only a shared log answers later, and then collections are shared, too.
            Published::Later(_) => {}
        }
    }
}
