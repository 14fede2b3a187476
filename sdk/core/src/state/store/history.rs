//! What can be undone and redone.

use std::collections::VecDeque;

use crate::state::{Document, Key, Patch};

/// What an op of a mutation did to a record as it was shown.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub(super) key: Key,
    pub(super) before: Option<Document>,
    pub(super) after: Option<Document>,
    /// What was added, if it was an increment.
    pub(super) amounts: Option<Patch>,
}

/// What a mutation did.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) traces: Vec<Trace>,
}

/// The mutations that can be undone, and those that undid others, newest last.
#[derive(Debug)]
pub(super) struct History {
    max: usize,
    undo: VecDeque<Entry>,
    redo: Vec<Entry>,
}

impl History {
    pub(super) const fn new(max: usize) -> Self {
        Self { max, undo: VecDeque::new(), redo: Vec::new() }
    }

    /// Something new was done: what was undone before cannot be redone.
    pub(super) fn made(&mut self, entry: Entry) {
        self.redo.clear();
        self.keep(entry);
    }

    pub(super) fn next_undo(&self) -> Option<&Entry> {
        self.undo.back()
    }

    pub(super) fn next_redo(&self) -> Option<&Entry> {
        self.redo.last()
    }

    /// `entry` has undone the next one.
    pub(super) fn undone(&mut self, entry: Entry) {
        self.undo.pop_back();
        self.redo.push(entry);
    }

    /// `entry` has redone the next one.
    pub(super) fn redone(&mut self, entry: Entry) {
        self.redo.pop();
        self.keep(entry);
    }

    /// Nothing is left of the next one to undo.
    pub(super) fn skip_undo(&mut self) {
        self.undo.pop_back();
    }

    /// Nothing is left of the next one to redo.
    pub(super) fn skip_redo(&mut self) {
        self.redo.pop();
    }

    /// A mutation had no effect: there is nothing to undo.
    pub(super) fn forget(&mut self, seq: u64) {
        self.undo.retain(|entry| entry.seq != seq);
        self.redo.retain(|entry| entry.seq != seq);
    }

    fn keep(&mut self, entry: Entry) {
        self.undo.push_back(entry);
        if self.undo.len() > self.max {
            self.undo.pop_front();
        }
    }
}
