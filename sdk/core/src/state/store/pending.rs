//! Pending mutations, by number and by record, and what they make of the confirmed records.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::Store;
use crate::state::apply::apply;
use crate::state::{Document, Key, Mutation, Policy, Reason, Record, Stamp, Version};

/// A mutation that is not both acknowledged and observed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) mutation: Arc<Mutation>,
    pub(super) bytes: usize,
    /// The records whose confirmed state does not have its change yet.
    pub(super) unsettled: BTreeSet<Key>,
    /// The records on which it is not possible at the moment. As long as there are any, nothing of
    /// it is shown.
    pub(super) impossible: BTreeSet<Key>,
    pub(super) acknowledged: bool,
    /// The version of its last change.
    pub(super) accepted: Option<Version>,
    /// A change of it was confirmed, so it was accepted.
    pub(super) seen: bool,
    pub(super) observed: bool,
}

/// The pending changes of one record, oldest first.
#[derive(Debug, Default)]
pub(super) struct Stack {
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Step {
    seq: u64,
    /// Which op of the mutation.
    op: usize,
    /// What the record is with this and all before.
    shown: Option<Document>,
}

impl Stack {
    /// What is shown with all of them.
    pub(super) fn top(&self) -> Option<&Option<Document>> {
        self.steps.back().map(|step| &step.shown)
    }

    pub(super) fn push(&mut self, seq: u64, op: usize, shown: Option<Document>) {
        self.steps.push_back(Step { seq, op, shown });
    }

    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        let mut numbers: Vec<u64> = self.steps.iter().map(|step| step.seq).collect();
        numbers.dedup();
        numbers.into_iter()
    }
}

impl Store {
    /// Applies all that is pending for a record anew, and whatever hangs together with it.
    pub(super) fn refold(&mut self, key: &Key) {
        // A mutation only depends on earlier ones, so this comes to an end.
        let mut keys = vec![key.clone()];
        while let Some(key) = keys.pop() {
            self.refold_one(&key, &mut keys);
        }
    }

    /// Applies what is pending for one record; puts those into `others` that have to follow.
    fn refold_one(&mut self, key: &Key, others: &mut Vec<Key>) {
        self.changed.insert(key.clone());
        let Some(mut stack) = self.stacks.remove(key) else { return };
        let stamp = self.stamp(key);
        let mut shown = self.confirmed.get(key).map(|record| record.value.clone());
        let mut at = 0;
        for seq in stack.numbers() {
            let Some(pending) = self.pending.get_mut(&seq) else { continue };
            let steps = stack.steps.iter().skip(at).take_while(|step| step.seq == seq);
            let ops: Vec<usize> = steps.map(|step| step.op).collect();
            let value = outcome(&self.config.policy, shown.clone(), &stamp, pending, &ops);
            let was_shown = pending.impossible.is_empty();
            if value.is_ok() {
                pending.impossible.remove(key);
            } else {
                pending.impossible.insert(key.clone());
            }
            let is_shown = pending.impossible.is_empty();
            if was_shown != is_shown {
                others.extend(pending.unsettled.iter().filter(|other| *other != key).cloned());
            }
            if let Ok(value) = value
                && is_shown
            {
                shown = value;
            }
            for step in stack.steps.iter_mut().skip(at).take(ops.len()) {
                step.shown = shown.clone();
            }
            at += ops.len();
        }
        self.stacks.insert(key.clone(), stack);
    }

    /// The confirmed state of a record has the changes of all mutations up to `seq`: they are not
    /// pending for it any more. True if that alone changes nothing in what is shown, the confirmed
    /// state being `value`.
    pub(super) fn settle(&mut self, key: &Key, seq: u64, value: Option<&Document>) -> bool {
        let Some(stack) = self.stacks.get_mut(key) else { return true };
        let mut same = false;
        let mut settled = BTreeSet::new();
        while let Some(step) = stack.steps.pop_front_if(|step| step.seq <= seq) {
            same = step.shown.as_ref() == value;
            settled.insert(step.seq);
        }
        if stack.steps.is_empty() {
            self.stacks.remove(key);
        }
        let mut freed = BTreeSet::new();
        for seq in settled {
            let Some(pending) = self.pending.get_mut(&seq) else { continue };
            pending.unsettled.remove(key);
            if pending.impossible.remove(key) && pending.impossible.is_empty() {
                freed.extend(pending.unsettled.iter().cloned());
            }
            self.finish(seq);
        }
        for key in freed {
            self.refold(&key);
        }
        same
    }

    /// A mutation has no effect on any record.
    pub(super) fn withdraw(&mut self, seq: u64) {
        let Some(pending) = self.pending.remove(&seq) else { return };
        self.pending_bytes -= pending.bytes;
        for key in &pending.unsettled {
            if let Some(stack) = self.stacks.get_mut(key) {
                stack.steps.retain(|step| step.seq != seq);
                if stack.steps.is_empty() {
                    self.stacks.remove(key);
                }
            }
        }
        for key in &pending.unsettled {
            self.refold(key);
        }
    }

    /// An op as it would be applied to what is shown.
    pub(super) fn try_op(
        &self,
        shown: Option<Document>,
        mutation: &Mutation,
        op: usize,
    ) -> Result<Option<Document>, Reason> {
        let Some(op) = mutation.ops.get(op) else { return Ok(shown) };
        let current = shown.map(|value| Record { value, stamp: self.stamp(&op.key) });
        let applied = apply(&self.config.policy, current.as_ref(), mutation, op)?;
        Ok(applied.value)
    }
}

/// What these ops of a mutation, all of one record, make of what is shown.
fn outcome(
    policy: &Policy,
    shown: Option<Document>,
    stamp: &Stamp,
    pending: &Pending,
    ops: &[usize],
) -> Result<Option<Document>, Reason> {
    let ops = ops.iter().filter_map(|op| pending.mutation.ops.get(*op));
    ops.into_iter().try_fold(shown, |value, op| {
        let current = value.map(|value| Record { value, stamp: stamp.clone() });
        Ok(apply(policy, current.as_ref(), &pending.mutation, op)?.value)
    })
}
