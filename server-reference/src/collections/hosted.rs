//! A collection and the log that its changes go into.

use std::sync::Arc;

use parking_lot::Mutex;
use tidings_core::state::{self, Change, Load, Mutation, Page, Policy, Record, Verdict, wire};
use tidings_core::{Event, Headers, Payload, Priority};

use super::Declaration;
use crate::backplane::{Backplane, Published};
use crate::clock::unix_micros;

/// A collection and the log that its changes go into.
pub(crate) struct Hosted {
    name: String,
    backplane: Arc<dyn Backplane>,
    /// Held while changes are published, so that they are in the log in the order of their
    /// versions. Publishing into a log in memory waits for nothing.
    collection: Mutex<state::Collection>,
}

impl Hosted {
    pub(super) fn new(declaration: Declaration, backplane: Arc<dyn Backplane>) -> Self {
        let Declaration { name, policy, limits } = declaration;
        let collection = state::Collection::new(policy, limits, unix_micros());
        Self { name, backplane, collection: Mutex::new(collection) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Judges a mutation and publishes what it has changed.
    pub(super) fn mutate(&self, mutation: Mutation) -> Arc<Verdict> {
        let mut collection = self.collection.lock();
        let judged = collection.mutate(unix_micros(), mutation);
        for change in &judged.changes {
            self.publish(change);
        }
        judged.verdict
    }

    fn publish(&self, change: &Change) {
        let event = Event {
            name: wire::change_name(&self.name, &change.key).into(),
            payload: Payload::Json(wire::write_change(change).into()),
            id: Arc::default(),
            priority: Priority::Normal,
            time: 0,
            headers: Headers::NONE,
        };
        match self.backplane.publish(event, None) {
            Published::Now(Ok(_)) => {}
            Published::Now(Err(refusal)) => {
                tracing::error!(collection = self.name, key = %change.key, %refusal, "a change was not published");
            }
            // Only a shared log answers later, and a collection does not have one.
            Published::Later(_) => {}
        }
    }

    pub(super) fn load(&self, load: &Load) -> Page {
        self.collection.lock().load(load)
    }

    pub(super) fn get(&self, key: &str) -> Option<Record> {
        self.collection.lock().get(key).cloned()
    }

    pub(super) fn all(&self) -> Vec<(state::Key, Record)> {
        let collection = self.collection.lock();
        collection.iter().map(|(key, record)| (key.clone(), record.clone())).collect()
    }

    pub(super) fn policy(&self) -> Policy {
        self.collection.lock().policy().clone()
    }

    pub(super) fn limits(&self) -> state::Limits {
        self.collection.lock().limits().clone()
    }
}
