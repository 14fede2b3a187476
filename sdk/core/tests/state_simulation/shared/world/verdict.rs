//! What has to be true of a world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidings_core::state::{Edit, Mutation, Op, Verdict};

use super::{Member, SERVED, Waiting, World};
use crate::edits::{self, COUNTER};
use crate::world::amount;

impl World {
    /// Mutations were judged so.
    pub(super) fn note(&mut self, mutation: &Mutation, verdict: &Verdict) {
        match (verdict, &mutation.id) {
            (Verdict::Accepted { conflicts, .. }, Some(id)) => {
                let amount = mutation.ops.iter().filter_map(amount).sum();
                let id = (Arc::clone(&id.client), id.seq);
                assert!(!self.rejected.contains(&id), "{id:?} was rejected");
                if self.counted.insert(id, amount).is_some() {
                    self.tally.repeated += 1;
                } else {
                    self.tally.accepted += 1;
                    self.tally.conflicts += conflicts.len() as u64;
                }
            }
            (Verdict::Accepted { .. }, None) => {
                self.served += mutation.ops.iter().filter_map(served).sum::<i64>();
            }
            (Verdict::Rejected(_), id) => {
                self.tally.rejected += 1;
                if let Some(id) = id {
                    let id = (Arc::clone(&id.client), id.seq);
                    assert!(!self.counted.contains_key(&id), "{id:?} was accepted");
                    self.rejected.insert(id);
                }
            }
            (Verdict::Forgotten, _) => {}
        }
    }

    /// All is quiet: everybody has to see the same, and every mutation to have had its effect once.
    pub(super) fn judge(&self) {
        let records: BTreeMap<_, _> = self
            .redis
            .collection()
            .records()
            .filter_map(|change| Some((&change.key, change.value.as_ref()?)))
            .collect();
        let records: Vec<_> = records.into_iter().collect();
        for Member { peer, .. } in &self.members {
            assert_eq!(peer.store.iter().collect::<Vec<_>>(), records, "{}", peer.store.client());
        }
        let count = edits::document(&format!(r#"{{"n":{}}}"#, self.counted.values().sum::<i64>()));
        let counter = records.iter().find(|(key, _)| key.as_str() == COUNTER);
        assert_eq!(counter.map(|(_, value)| *value), Some(&count), "each increment once");
        let known = self.served..=self.served + self.unknown;
        let served = records.iter().find(|(key, _)| key.as_str() == SERVED);
        let served = served.and_then(|(_, value)| total(value.as_str()));
        assert!(served.is_some_and(|n| known.contains(&n)), "{served:?} instead of {known:?}");
        let mut effects: BTreeMap<(Arc<str>, u64), usize> = BTreeMap::new();
        let mut changed = BTreeSet::new();
        for change in self.redis.log() {
            let Some(by) = &change.stamp.by else { continue };
            *effects.entry((Arc::clone(&by.client), by.seq)).or_default() += 1;
            let is_new = changed.insert((Arc::clone(&by.client), by.seq, change.key.clone()));
            assert!(is_new, "twice: {change:?}");
        }
        for Member { peer, .. } in &self.members {
            let client = peer.store.client();
            for (seq, told) in &peer.told {
                let id = (Arc::clone(client), *seq);
                let effects = effects.get(&id).copied().unwrap_or_default();
                let what = format!("{client}'s mutation {seq} with {effects} effects: {told:?}");
                assert!(told.acknowledged != told.rejected || told.unsure, "{what}");
                assert!(told.unsure || (effects > 0) == told.acknowledged, "{what}");
                assert!(told.observed || told.rejected || told.unwaited, "{what}");
            }
        }
    }
}

/// What a request adds to what services count.
pub(super) fn added_by_services(waiting: &Waiting) -> i64 {
    let ops = waiting.mutations.iter().flat_map(|mutation| &mutation.ops);
    ops.filter_map(served).sum()
}

/// What an op adds to what services count.
fn served(op: &Op) -> Option<i64> {
    let Edit::Increment(by) = &op.edit else { return None };
    total(by.as_str()).filter(|_| op.key.as_str() == SERVED)
}

fn total(json: &str) -> Option<i64> {
    json.strip_prefix(r#"{"n":"#)?.strip_suffix('}')?.parse().ok()
}
