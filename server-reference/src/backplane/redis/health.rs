//! What does not work at the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::backplane::Trouble;
use crate::clock::unix_micros;

/// How nodes are called here: this and their address.
pub(super) const NODE: &str = "node ";

/// What does not work at the moment, and since when.
pub(super) struct Health {
    /// By what is concerned.
    troubles: Mutex<BTreeMap<String, (u64, String)>>,
    /// Whether Redis has been reached since the start.
    reached: watch::Sender<bool>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { troubles: Mutex::default(), reached: watch::Sender::new(false) }
    }

    /// `what` does not work.
    pub(super) fn trouble(&self, what: &str, why: &impl Display) {
        let mut troubles = self.troubles.lock();
        if let Some((_, reason)) = troubles.get_mut(what) {
            *reason = why.to_string();
        } else {
            tracing::warn!(what, %why, "Redis does not work");
            troubles.insert(what.to_owned(), (unix_micros() / 1000, why.to_string()));
        }
    }

    /// `what` works.
    pub(super) fn well(&self, what: &str) {
        let mut troubles = self.troubles.lock();
        if !troubles.is_empty() && troubles.remove(what).is_some() {
            tracing::info!(what, "Redis works again");
        }
    }

    /// Of the nodes, only those with these addresses still matter.
    pub(super) fn keep(&self, addresses: &BTreeSet<String>) {
        self.troubles.lock().retain(|what, _| {
            what.strip_prefix(NODE).is_none_or(|address| addresses.contains(address))
        });
    }

    /// Redis has been reached: all lanes are known.
    pub(super) fn reached(&self) {
        self.reached.send_replace(true);
    }

    pub(super) fn is_reached(&self) -> bool {
        *self.reached.borrow()
    }

    pub(super) async fn until_reached(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.reached.subscribe().wait_for(|reached| *reached).await;
    }

    /// The oldest trouble, and how many others there are.
    pub(super) fn now(&self) -> Option<Trouble> {
        let troubles = self.troubles.lock();
        let (what, (since_ms, why)) = troubles.iter().min_by_key(|(_, (since, _))| *since)?;
        let others = match troubles.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Some(Trouble {
            since_ms: *since_ms,
            for_ms: (unix_micros() / 1000).saturating_sub(*since_ms),
            reason: format!("{what}: {why}{others}"),
        })
    }
}
