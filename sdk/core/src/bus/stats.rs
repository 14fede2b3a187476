//! What a bus counts.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::event::Priority;

/// How many copies of the counters there are: threads that emit at once seldom share one.
const SHARDS: usize = 16;

/// What a bus has done since it was made, and what it holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusStats {
    /// Events emitted, by priority (index 0 is `low`); refused ones are not among them.
    pub emitted: [u64; Priority::COUNT],
    /// Calls of listeners, whatever came of them.
    pub called: u64,
    /// Events for which no listener was called.
    pub unheard: u64,
    /// Listeners that panicked.
    pub panicked: u64,
    /// Async listeners that could not run, since the emission was not async and no spawner is
    /// configured.
    pub skipped: u64,
    /// Events that a typed listener could not decode.
    pub undecodable: u64,
    /// Events refused because their name is not one.
    pub refused: u64,
    /// Listeners there are now.
    pub listeners: usize,
    /// Different patterns they listen to.
    pub patterns: usize,
    /// Posted events that wait to be delivered.
    pub posted: usize,
}

/// Something that is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Emitted(Priority),
    /// Calls beyond the first for an event: the usual event has one, which then costs nothing.
    CalledMore,
    Unheard,
    Panicked,
    Skipped,
    Undecodable,
    Refused,
}

impl Count {
    const COUNT: usize = Priority::COUNT + 6;

    const fn index(self) -> usize {
        match self {
            Self::Emitted(priority) => priority as usize,
            Self::CalledMore => Priority::COUNT,
            Self::Unheard => Priority::COUNT + 1,
            Self::Panicked => Priority::COUNT + 2,
            Self::Skipped => Priority::COUNT + 3,
            Self::Undecodable => Priority::COUNT + 4,
            Self::Refused => Priority::COUNT + 5,
        }
    }
}

/// Counters that many threads can raise at once without sharing a cache line.
#[derive(Debug, Default)]
pub(super) struct Counters([Shard; SHARDS]);

/// One copy, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard([AtomicU64; Count::COUNT]);

impl Counters {
    pub(super) fn add(&self, what: Count, how_many: u64) {
        self.0[shard()].0[what.index()].fetch_add(how_many, Ordering::Relaxed);
    }

    /// The sums; what the bus holds now is left for the caller to fill in.
    pub(super) fn read(&self) -> BusStats {
        let sum = |what: Count| -> u64 {
            self.0.iter().map(|shard| shard.0[what.index()].load(Ordering::Relaxed)).sum()
        };
        let mut emitted = [0; Priority::COUNT];
        for priority in Priority::URGENT_FIRST {
            emitted[priority as usize] = sum(Count::Emitted(priority));
        }
        let unheard = sum(Count::Unheard);
        let heard = emitted.iter().sum::<u64>().saturating_sub(unheard);
        BusStats {
            emitted,
            called: heard + sum(Count::CalledMore),
            unheard,
            panicked: sum(Count::Panicked),
            skipped: sum(Count::Skipped),
            undecodable: sum(Count::Undecodable),
            refused: sum(Count::Refused),
            ..BusStats::default()
        }
    }
}

/// The copy this thread counts in: threads take turns in choosing one.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static CHOSEN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    CHOSEN.with(|chosen| {
        chosen.get().unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            chosen.set(Some(number));
            number
        })
    })
}
