//! How many connections there are, and room for one more.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::accepted::TransportKind;
use crate::quota::AddressPermit;

/// Counts the open connections and keeps their number bounded.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    open: AtomicUsize,
    upgraded: [AtomicUsize; TransportKind::COUNT],
    accepted: AtomicU64,
    refused: AtomicU64,
    emptied: Notify,
}

/// The counts of [`Connections`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The most that may be open.
    pub(crate) max: usize,
    /// Open now, whatever they do.
    pub(crate) open: usize,
    /// Of those, the ones that carry sessions, by [`TransportKind`].
    pub(crate) upgraded: [usize; TransportKind::COUNT],
    /// Let in since the start.
    pub(crate) accepted: u64,
    /// Turned away since the start because there were too many.
    pub(crate) refused: u64,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            open: AtomicUsize::new(0),
            upgraded: Default::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            emptied: Notify::new(),
        })
    }

    /// Lets one more in, unless there are too many.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Permit> {
        let room = |open| (open < self.max).then_some(open + 1);
        if self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Permit { connections: Arc::clone(self), address: OnceLock::new() })
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            max: self.max,
            open: self.open.load(Ordering::Acquire),
            upgraded: self.upgraded.each_ref().map(|kind| kind.load(Ordering::Relaxed)),
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Waits until none is open.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// Room for one connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    connections: Arc<Connections>,
    /// Whose it is, once that is known and counts.
    address: OnceLock<AddressPermit>,
}

impl Permit {
    /// Whose the connection is: counted as such as long as it is there.
    pub(crate) fn is_of(&self, address: AddressPermit) {
        // A connection that a proxy has made is one client's from its upgrade on.
        let _ = self.address.set(address);
    }

    /// The connection now carries a session: counted as such until the result is dropped.
    pub(crate) fn upgrade(self: Arc<Self>, kind: TransportKind) -> UpgradedPermit {
        self.connections.upgraded[kind as usize].fetch_add(1, Ordering::Relaxed);
        UpgradedPermit { permit: self, kind }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.connections.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connections.emptied.notify_waiters();
        }
    }
}

/// Room for one connection that carries a session, given back when dropped.
#[derive(Debug)]
pub(crate) struct UpgradedPermit {
    permit: Arc<Permit>,
    kind: TransportKind,
}

impl Drop for UpgradedPermit {
    fn drop(&mut self) {
        self.permit.connections.upgraded[self.kind as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_bounded_and_comes_back() {
        let connections = Connections::new(2);
        let first = Arc::new(connections.admit().expect("room"));
        let second = connections.admit().expect("room");
        assert!(connections.admit().is_none());
        let upgraded = Arc::clone(&first).upgrade(TransportKind::SocketIo);
        drop(first);
        let counts = connections.counts();
        assert_eq!((counts.open, counts.accepted, counts.refused), (2, 2, 1));
        assert_eq!(counts.upgraded[TransportKind::SocketIo as usize], 1);
        drop(second);
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.empty().await }
        });
        tokio::task::yield_now().await;
        drop(upgraded);
        waiting.await.expect("all are gone");
        assert_eq!(connections.counts().upgraded, [0; TransportKind::COUNT]);
    }
}
