//! Pending mutations, by number and by record, and what they make of the confirmed records.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Store;
use crate::map::Set;
use crate::state::apply::{Apart, Refusal, apply, apply_to};
use crate::state::{Key, Mutation, Op, Policy, Reason, Record, Stamp, Version};

/// A mutation that is not both acknowledged and observed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) mutation: Arc<Mutation>,
    pub(super) bytes: usize,
    /// The records whose confirmed state does not have its change yet.
    pub(super) unsettled: Set<Key>,
    /// The records on which it is not possible at the moment. As long as there are any, nothing of
    /// it is shown.
    pub(super) impossible: Set<Key>,
    pub(super) acknowledged: bool,
    /// The version of its last change.
    pub(super) accepted: Option<Version>,
    /// A change of it was confirmed, so it was accepted.
    pub(super) seen: bool,
    pub(super) observed: bool,
}

/// The pending changes of one record, oldest first, and what they come to.
#[derive(Debug, Default)]
pub(super) struct Stack {
    steps: VecDeque<Step>,
    /// What is shown with all of them, under the stamp that the server will give it but for the
    /// version, which only the server knows.
    top: Option<Record>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    seq: u64,
    /// Which op of the mutation.
    op: usize,
}

/// What pending changes make of a record.
struct Folded {
    top: Option<Record>,
    /// The mutations that are possible here and were not, and the other way round.
    turned: Vec<(u64, bool)>,
}

impl Stack {
    /// What is shown with all of them.
    pub(super) const fn top(&self) -> Option<&Record> {
        self.top.as_ref()
    }

    /// One more, with which the record is `top`.
    pub(super) fn push(&mut self, seq: u64, op: usize, top: Option<Record>) {
        self.steps.push_back(Step { seq, op });
        self.top = top;
    }
}

impl Store {
    /// Applies all that is pending for these records anew, and whatever hangs together with it.
    pub(super) fn refold(&mut self, keys: impl IntoIterator<Item = Key>) {
        // A mutation only depends on earlier ones, so this comes to an end.
        let mut keys: Vec<Key> = keys.into_iter().collect();
        while let Some(key) = keys.pop() {
            self.refold_one(&key, &mut keys);
        }
    }

    /// Applies what is pending for one record; puts those into `others` that have to follow.
    fn refold_one(&mut self, key: &Key, others: &mut Vec<Key>) {
        self.changed.insert(key.clone());
        let Some(stack) = self.stacks.get(key) else { return };
        let Folded { top, turned } = self.fold(key, stack.steps.iter());
        for (seq, possible) in turned {
            let Some(pending) = self.pending.get_mut(&seq) else { continue };
            let was_shown = pending.impossible.is_empty();
            if possible {
                pending.impossible.remove(key);
            } else {
                pending.impossible.insert(key.clone());
            }
            if was_shown != pending.impossible.is_empty() {
                others.extend(pending.unsettled.iter().filter(|other| *other != key).cloned());
            }
        }
        if let Some(stack) = self.stacks.get_mut(key) {
            stack.top = top;
        }
    }

    /// What the first pending changes of a record make of its confirmed state. The record is taken
    /// apart once for all of them.
    fn fold<'a>(&'a self, key: &Key, steps: impl Iterator<Item = &'a Step>) -> Folded {
        let mut record = self.confirmed.get(key).map(Apart::of);
        let mut turned = Vec::new();
        let mut steps = steps.peekable();
        while let Some(&Step { seq, op }) = steps.next() {
            let mut ops = op..=op;
            while let Some(next) = steps.next_if(|next| next.seq == seq) {
                ops = op..=next.op;
            }
            let Some(pending) = self.pending.get(&seq) else { continue };
            let is_shown = pending.impossible.iter().all(|other| other == key);
            let possible = self.fold_one(&mut record, pending, key, ops, is_shown);
            if possible == pending.impossible.contains(key) {
                turned.push((seq, possible));
            }
        }
        let whole = |record: Apart<'_>| Record { value: record.document(), stamp: record.stamp };
        Folded { top: record.map(whole), turned }
    }

    /// Applies those of these ops of a mutation that are of one record. Whether they are possible;
    /// the record only changes if they are, and if the mutation `is_shown`.
    fn fold_one<'a>(
        &self,
        record: &mut Option<Apart<'a>>,
        pending: &'a Pending,
        key: &Key,
        ops: RangeInclusive<usize>,
        is_shown: bool,
    ) -> bool {
        let policy = &self.config.policy;
        let alone = ops.start() == ops.end();
        let ops = pending.mutation.ops.get(ops).unwrap_or_default();
        let mut ops = ops.iter().filter(|op| op.key == *key);
        if is_shown && alone {
            return ops.all(|op| step(policy, record, &pending.mutation, op).is_ok());
        }
        let mut tried = record.clone();
        let possible = ops.all(|op| step(policy, &mut tried, &pending.mutation, op).is_ok());
        if possible && is_shown {
            *record = tried;
        }
        possible
    }

    /// Whether `next`, the confirmed state of a record with the changes of all mutations up to `seq`,
    /// is what those were expected to make of the one that there is. Then nothing else changes in
    /// what is shown.
    pub(super) fn foresees(&self, key: &Key, seq: u64, next: Option<&Record>) -> bool {
        let Some(stack) = self.stacks.get(key) else { return true };
        let mut settled = stack.steps.iter().take_while(|step| step.seq <= seq).peekable();
        if settled.peek().is_none() {
            return false;
        }
        judge_alike(&self.config.policy, self.fold(key, settled).top.as_ref(), next)
    }

    /// The confirmed state of a record has the changes of all mutations up to `seq`: they are not
    /// pending for it any more. The records are given back that have to be looked at because of it,
    /// besides this one.
    pub(super) fn settle(&mut self, key: &Key, seq: u64) -> Set<Key> {
        let mut freed = Set::new();
        let Some(stack) = self.stacks.get_mut(key) else { return freed };
        let mut settled = Set::new();
        while let Some(step) = stack.steps.pop_front_if(|step| step.seq <= seq) {
            settled.insert(step.seq);
        }
        if stack.steps.is_empty() {
            self.stacks.remove(key);
        }
        for seq in settled {
            let Some(pending) = self.pending.get_mut(&seq) else { continue };
            pending.unsettled.remove(key);
            if pending.impossible.remove(key) && pending.impossible.is_empty() {
                freed.extend(pending.unsettled.iter().cloned());
            }
            self.finish(seq);
        }
        freed
    }

    /// A mutation has no effect on any record. The records are given back that have to be looked at
    /// because of it.
    pub(super) fn withdraw(&mut self, seq: u64) -> Set<Key> {
        let Some(pending) = self.pending.remove(&seq) else { return Set::new() };
        self.pending_bytes -= pending.bytes;
        for key in pending.unsettled.iter() {
            if let Some(stack) = self.stacks.get_mut(key) {
                stack.steps.retain(|step| step.seq != seq);
                if stack.steps.is_empty() {
                    self.stacks.remove(key);
                }
            }
        }
        pending.unsettled
    }

    /// What an op makes of a record as it is shown.
    pub(super) fn try_op(
        &self,
        shown: Option<&Record>,
        mutation: &Mutation,
        op: &Op,
    ) -> Result<Option<Record>, Reason> {
        let applied = apply(&self.config.policy, shown, mutation, op)?;
        let stamp = expected_stamp(shown.map(|record| &record.stamp), mutation);
        Ok(applied.value.map(|value| Record { value, stamp }))
    }
}

/// Applies an op, and gives the record the stamp that it is to have, as the server does between two
/// ops.
fn step<'a>(
    policy: &Policy,
    record: &mut Option<Apart<'a>>,
    mutation: &Mutation,
    op: &'a Op,
) -> Result<(), Refusal> {
    let stamp = expected_stamp(record.as_ref().map(|record| &record.stamp), mutation);
    apply_to(policy, record, mutation, op, None)?;
    if let Some(record) = record {
        record.stamp = stamp;
    }
    Ok(())
}

/// The stamp of a record once the server has applied an op to it, but for the version.
fn expected_stamp(before: Option<&Stamp>, mutation: &Mutation) -> Stamp {
    let version = before.map_or(Version(0), |stamp| stamp.version);
    mutation.stamp_after(before, version)
}

/// Whether whatever this client has pending on top of one of these comes out as on top of the other.
/// Both are, if they are there, of a mutation of this client's own: then the version decides
/// nothing, since no other client's change lies behind `alone_since`.
fn judge_alike(policy: &Policy, expected: Option<&Record>, confirmed: Option<&Record>) -> bool {
    let (Some(expected), Some(confirmed)) = (expected, confirmed) else {
        return expected.is_none() && confirmed.is_none();
    };
    let client = |record: &Record| record.stamp.by.as_ref().map(|by| by.client.clone());
    let time_decides = matches!(policy, Policy::LastWriteWins);
    expected.value == confirmed.value
        && expected.stamp.alone_since == confirmed.stamp.alone_since
        && (!time_decides || expected.stamp.time == confirmed.stamp.time)
        && client(expected) == client(confirmed)
}
