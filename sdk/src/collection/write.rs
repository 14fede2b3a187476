//! How far a write has come.

use std::fmt;

use futures_signals::signal::{Mutable, Signal, SignalExt};
use futures_util::StreamExt;
use tidings_core::state::{Conflict, Rejection, Version};

use super::error::WriteError;
use crate::signal::watch;

/// How far a write has come. It is shown from the beginning, and until it is rejected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The storage has it: it survives a restart of the program.
    pub stored: bool,
    /// The server has taken it.
    pub acknowledged: Option<Acknowledged>,
    /// Its changes came back from the server: others see them too.
    pub observed: bool,
    /// The server has rejected it, and it is not shown any more.
    pub rejected: Option<Rejection>,
    /// The collection was closed; what becomes of it is not told any more.
    pub closed: bool,
}

/// What the server says of a write that it has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The version of the write's last change, unless the server does not remember.
    pub version: Option<Version>,
    /// What was decided on the way.
    pub conflicts: Vec<Conflict>,
}

/// A write that is shown already, and where it goes from here.
///
/// It goes its way whether this is kept or not.
#[derive(Clone)]
pub struct Write {
    seq: u64,
    progress: Mutable<Progress>,
}

impl Write {
    pub(super) const fn new(seq: u64, progress: Mutable<Progress>) -> Self {
        Self { seq, progress }
    }

    /// Its number among this client's writes.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress.get_cloned()
    }

    /// How far it has come, now and whenever that changes.
    pub fn progress_signal(&self) -> impl Signal<Item = Progress> + Send + Sync + use<> {
        watch(&self.progress)
    }

    /// Waits until the storage has it.
    ///
    /// # Errors
    /// If the collection is closed before.
    pub async fn stored(&self) -> Result<(), WriteError> {
        self.reached(|progress| progress.stored.then_some(())).await
    }

    /// Waits until the server has taken it.
    ///
    /// # Errors
    /// If it is rejected, or the collection is closed before.
    pub async fn acknowledged(&self) -> Result<Acknowledged, WriteError> {
        self.reached(|progress| progress.acknowledged.clone()).await
    }

    /// Waits until its changes come back from the server, as others see them.
    ///
    /// # Errors
    /// If it is rejected, or the collection is closed before.
    pub async fn observed(&self) -> Result<(), WriteError> {
        self.reached(|progress| progress.observed.then_some(())).await
    }

    async fn reached<R>(&self, is: impl Fn(&Progress) -> Option<R>) -> Result<R, WriteError> {
        let mut steps = watch(&self.progress).to_stream();
        while let Some(progress) = steps.next().await {
            if let Some(reached) = is(&progress) {
                return Ok(reached);
            }
            if let Some(rejection) = progress.rejected {
                return Err(WriteError::Rejected(rejection));
            }
            if progress.closed {
                break;
            }
        }
        Err(WriteError::Closed)
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = self.progress.lock_ref();
        f.debug_struct("Write").field("seq", &self.seq).field("progress", &*progress).finish()
    }
}
