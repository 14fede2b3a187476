//! What is asked of the store, and how it answers.

use crate::event::Priority;
use crate::lane::{Epoch, Lane, Offset, Place};
use crate::log::Entry;
use crate::time::Time;

use super::{Note, Published};

/// Names a request of one partition; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

/// One step to be made by the store. A request whose answer is lost may have been carried out.
#[derive(Debug, Clone)]
pub enum Request {
    /// Tell where all lanes of the partition stand; begin the history of those that have none.
    /// Answered by [`Answer::Standing`].
    Look {
        /// The epoch of a history that begins now.
        new_epoch: Epoch,
    },
    /// Append events to a lane. Answered by [`Answer::Appended`].
    Append(Append),
    /// Store these notes of a lane again, which a failover may have lost; those that are there stay
    /// as they are. Answered by [`Answer::Noted`].
    PutBackNotes {
        /// Which lane.
        lane: Lane,
        /// The notes.
        notes: Vec<Note>,
    },
    /// Wait until a replica has what an append wrote, on the connection by which that was
    /// answered. Answered by [`Answer::Replicated`], at once if there is no replica.
    Replicate {
        /// The append.
        after: RequestId,
    },
    /// Read a lane. Answered by [`Answer::Chunk`].
    Read {
        /// Which lane.
        lane: Lane,
        /// Which way.
        direction: Direction,
        /// From where.
        from: Offset,
        /// How many events at most.
        limit: usize,
    },
}

/// Which way a lane is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What comes after an offset, oldest first.
    After,
    /// What lies up to an offset, newest first.
    UpTo,
}

/// Events for one lane, in order. Each has one effect, however often it is appended.
#[derive(Debug, Clone)]
pub struct Append {
    /// Which lane.
    pub lane: Lane,
    /// The last place of the lane known here: if the store is behind it, it appends nothing
    /// (unless [`putting_back`](Self::putting_back)).
    pub known: Place,
    /// No offset up to this one is given out.
    pub given: Offset,
    /// The epoch of a history that begins now.
    pub new_epoch: Epoch,
    /// Whether the events are put back, each at its place if that is free and not passed yet.
    pub putting_back: bool,
    /// When another master took over, as far as known here. If there was a later takeover, the
    /// request must not be made but has failed.
    pub takeover: Option<Time>,
    /// The events, each with the place it had if it is put back.
    pub events: Vec<(Published, Option<Offset>)>,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Where the lanes stand, `low` first.
    Standing([Standing; Priority::COUNT]),
    /// What became of an append.
    Appended(AppendAnswer),
    /// The notes are there.
    Noted,
    /// A replica has it, or there is none.
    Replicated,
    /// What was read.
    Chunk(Chunk),
}

/// Where a lane stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its last place.
    pub head: Place,
    /// Everything after this offset is retained.
    pub floor: Offset,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendAnswer {
    /// Nothing was appended: the lane stands at this place, behind the one known to the caller.
    Behind(Place),
    /// The events are in the log.
    Done {
        /// Where the lane stands now.
        head: Place,
        /// What became of each event.
        outcomes: Vec<Outcome>,
    },
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was appended, at this offset.
    Fresh(Offset),
    /// It was there before, at this offset; zero if that is not known any more.
    Known(Offset),
}

impl Outcome {
    /// Where the event is.
    pub const fn offset(self) -> Offset {
        match self {
            Self::Fresh(offset) | Self::Known(offset) => offset,
        }
    }
}

/// Events of a lane as they were read.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Where the lane stands.
    pub head: Place,
    /// Everything after this offset is retained.
    pub floor: Offset,
    /// Whether there is an event at the offset from which was read.
    pub there: bool,
    /// In the order read; those that cannot be understood have no entry.
    pub entries: Vec<(Offset, Option<Entry>)>,
    /// Whether there may be more.
    pub is_full: bool,
}
