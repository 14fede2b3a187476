//! What attackers did and were told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::report::AttackReport;
use crate::scenario::AttackKind;

/// No more different answers than this are told apart.
const MAX_ANSWERS: usize = 64;

/// Of the attackers of one entry.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) attempts: Cell<u64>,
    pub(super) connections: Cell<u64>,
    pub(super) ended: Cell<u64>,
    pub(super) bytes: Cell<u64>,
    answers: RefCell<BTreeMap<String, u64>>,
}

pub(super) fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

impl Tally {
    /// The server said this.
    pub(super) fn answered(&self, answer: String) {
        let mut answers = self.answers.borrow_mut();
        if answers.len() < MAX_ANSWERS || answers.contains_key(&answer) {
            *answers.entry(answer).or_default() += 1;
        }
    }

    pub(super) fn report(&self, kind: AttackKind, attackers: u64) -> AttackReport {
        AttackReport {
            kind,
            attackers,
            attempts: self.attempts.get(),
            connections: self.connections.get(),
            ended: self.ended.get(),
            bytes: self.bytes.get(),
            answers: self.answers.borrow().clone(),
        }
    }
}
