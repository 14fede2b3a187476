//! Making mutations, undoing and redoing them.

use std::sync::Arc;

use super::history::{Entry, Trace};
use super::pending::Pending;
use super::{MutateError, Store};
use crate::map::{Map, Set};
use crate::state::{
    Document, Edit, Key, Mutation, MutationId, Op, Patch, Record, Rejection, Version,
};

impl Store {
    /// Makes a mutation of these edits, which is shown at once; its number is given back. `now_ms`
    /// is the time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// If an edit is not possible with what is shown, or too much is pending. Nothing has changed
    /// then.
    pub fn mutate(
        &mut self,
        now_ms: u64,
        edits: impl IntoIterator<Item = (Key, Edit)>,
    ) -> Result<u64, MutateError> {
        let entry = self.add(now_ms, edits)?;
        let seq = entry.seq;
        self.history.made(entry);
        Ok(seq)
    }

    /// Takes back the last mutation that was made here and not undone: the fields that still are
    /// as it has left them. `None` if there is nothing to take back.
    ///
    /// # Errors
    /// As [`mutate`](Self::mutate).
    pub fn undo(&mut self, now_ms: u64) -> Result<Option<u64>, MutateError> {
        while let Some(entry) = self.history.next_undo() {
            let edits = self.inverse(entry);
            if !edits.is_empty() {
                let undoing = self.add(now_ms, edits)?;
                let seq = undoing.seq;
                self.history.undone(undoing);
                return Ok(Some(seq));
            }
            self.history.skip_undo();
        }
        Ok(None)
    }

    /// Does again what was undone last. `None` if there is nothing, or something else was done
    /// since.
    ///
    /// # Errors
    /// As [`mutate`](Self::mutate).
    pub fn redo(&mut self, now_ms: u64) -> Result<Option<u64>, MutateError> {
        while let Some(entry) = self.history.next_redo() {
            let edits = self.inverse(entry);
            if !edits.is_empty() {
                let redoing = self.add(now_ms, edits)?;
                let seq = redoing.seq;
                self.history.redone(redoing);
                return Ok(Some(seq));
            }
            self.history.skip_redo();
        }
        Ok(None)
    }

    /// Whether there is something to undo, and to redo.
    pub fn can_undo_redo(&self) -> (bool, bool) {
        (self.history.next_undo().is_some(), self.history.next_redo().is_some())
    }

    /// Takes up mutations that were stored durably before a restart, in order and before anything
    /// else. They cannot be undone.
    pub fn restore(&mut self, mutations: impl IntoIterator<Item = Mutation>) {
        let mut touched = Set::new();
        for mutation in mutations {
            let Some(id) = &mutation.id else { continue };
            let seq = id.seq;
            self.durable = self.durable.max(seq);
            self.next_seq = self.next_seq.max(seq + 1);
            if self.pending.is_empty() {
                self.answered = seq.saturating_sub(1);
            }
            touched.extend(mutation.ops.iter().map(|op| op.key.clone()));
            self.insert(seq, Arc::new(mutation), Vec::new());
        }
        self.refold(touched);
    }

    /// The numbers from here on are not used yet.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Uses no number below this one: those may have been used before a restart.
    pub fn skip_to(&mut self, seq: u64) {
        self.next_seq = self.next_seq.max(seq);
    }

    fn add(
        &mut self,
        now_ms: u64,
        edits: impl IntoIterator<Item = (Key, Edit)>,
    ) -> Result<Entry, MutateError> {
        let seq = self.next_seq;
        let id = MutationId { client: self.config.client.clone(), seq };
        let mut mutation = Mutation { id: Some(id), time: now_ms, ops: Vec::new() };
        let mut traces = Vec::new();
        let mut shown: Map<Key, Option<Record>> = Map::new();
        let mut steps = Vec::new();
        for (key, edit) in edits {
            let before = match shown.get(&key) {
                Some(shown) => shown.clone(),
                None => self.shown(&key).cloned(),
            };
            let before_it = before.as_ref().map(|record| &record.value);
            let op = self.op(key.clone(), edit, before_it);
            let after = self
                .try_op(before.as_ref(), &mutation, &op)
                .map_err(|reason| Rejection { key: key.clone(), reason })?;
            let amounts = match &op.edit {
                Edit::Increment(amounts) => Some(amounts.clone()),
                _ => None,
            };
            mutation.ops.push(op);
            shown.insert(key.clone(), after.clone());
            steps.push(after.clone());
            let value = |record: Option<Record>| record.map(|record| record.value);
            traces.push(Trace { key, before: value(before), after: value(after), amounts });
        }
        let bytes = mutation.weight();
        let (pending, used) = (self.pending.len(), self.pending_bytes);
        if pending >= self.config.max_pending || used + bytes > self.config.max_pending_bytes {
            return Err(MutateError::Full { pending, bytes: used });
        }
        self.next_seq += 1;
        self.insert(seq, Arc::new(mutation), steps);
        Ok(Entry { seq, traces })
    }

    /// An edit with what is known here.
    fn op(&self, key: Key, edit: Edit, shown: Option<&Document>) -> Op {
        let base = self.confirmed.get(&key).map_or(Version(0), |record| record.stamp.version);
        let was = shown.and_then(|shown| match &edit {
            Edit::Update(patch) => Some(shown.fields_of(patch)),
            Edit::Replace(_) | Edit::Delete => Some(Patch::from(shown)),
            Edit::Insert(_) | Edit::Increment(_) => None,
        });
        Op { key, base: Some(base), was, edit }
    }

    /// Puts a mutation behind all others; `shown` is what each of its ops makes of its record.
    fn insert(&mut self, seq: u64, mutation: Arc<Mutation>, shown: Vec<Option<Record>>) {
        let bytes = mutation.weight();
        let shown = shown.into_iter().chain(std::iter::repeat(None));
        for ((index, op), shown) in mutation.ops.iter().enumerate().zip(shown) {
            self.changed.insert(op.key.clone());
            let stack = self.stacks.get_or_insert_with(op.key.clone(), Default::default);
            stack.push(seq, index, shown);
        }
        let unsettled = mutation.ops.iter().map(|op| op.key.clone()).collect();
        let pending = Pending {
            mutation,
            bytes,
            unsettled,
            impossible: Set::new(),
            acknowledged: false,
            accepted: None,
            seen: false,
            observed: false,
        };
        self.pending_bytes += bytes;
        self.pending.insert(seq, pending);
    }

    /// The edits that take back what a mutation has done, as far as it still is so.
    fn inverse(&self, entry: &Entry) -> Vec<(Key, Edit)> {
        let inverse = |trace: &Trace| {
            let shown = self.get(&trace.key);
            let edit = match (&trace.amounts, &trace.before, &trace.after, shown) {
                (Some(amounts), _, _, Some(_)) => Edit::Increment(amounts.negated().ok()?),
                (None, Some(before), Some(after), Some(shown)) => {
                    let patch = shown.reverted(before, after);
                    (!patch.is_empty()).then_some(Edit::Update(patch))?
                }
                (None, None, Some(after), Some(shown)) if after == shown => Edit::Delete,
                (None, Some(before), None, None) => Edit::Insert(before.clone()),
                _ => return None,
            };
            Some((trace.key.clone(), edit))
        };
        entry.traces.iter().rev().filter_map(inverse).collect()
    }
}

impl Mutation {
    /// Its size in memory, roughly: bytes of keys and documents.
    pub fn weight(&self) -> usize {
        let edit = |edit: &Edit| match edit {
            Edit::Insert(value) | Edit::Replace(value) => value.bytes().len(),
            Edit::Update(patch) | Edit::Increment(patch) => patch.bytes().len(),
            Edit::Delete => 0,
        };
        let was = |op: &Op| op.was.as_ref().map_or(0, |was| was.bytes().len());
        self.ops.iter().map(|op| op.key.len() + edit(&op.edit) + was(op) + 32).sum()
    }
}
