//! What the copy lacks although it has come further: a master that was cut off went on, this instance
//! with it, and meanwhile another one had taken over and took events, too.

use super::{Direction, LaneState, Now, millis};
use crate::lane::{Epoch, Offset};
use crate::log::Copied;
use crate::log::shared::{Chunk, Request};
use crate::time::Time;

/// Whether the copy is compared with the store.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    /// From where it still has to be.
    due: Option<Offset>,
    /// After where the read begins that is on its way.
    asked: Option<Offset>,
    /// Not before this is it tried again.
    not_before: Option<Time>,
    /// Where the copy ended when it began.
    upto: Offset,
    /// Before the first event that was found.
    missed: Option<Offset>,
}

impl<T> LaneState<T> {
    /// Another master has taken over: it may have taken events that are not here, at places before those
    /// that are.
    pub(super) fn doubt_copy(&mut self, now: Now) {
        // By what is known before anything is heard of the new one.
        let since = Offset(self.last_minute(now));
        if self.log.is_some() {
            self.comparing.due = self.comparing.due.into_iter().chain([since]).min();
        }
    }

    /// When a comparison that has failed is tried again.
    pub(in crate::log::shared) fn compares_at(&self) -> Option<Time> {
        let waits = self.comparing.due.is_some() && self.can_compare();
        self.comparing.not_before.filter(|_| waits)
    }

    /// Compares what is here of the last minute before the takeover with the store. `None` if there is
    /// nothing to compare. Everything known here must have been put back: nothing more can come before
    /// that then.
    pub(in crate::log::shared) fn compare(&mut self, now: Now) -> Option<(Epoch, Request)> {
        let waits = self.comparing.not_before.is_some_and(|at| at > now.time);
        if waits || !self.can_compare() {
            return None;
        }
        self.comparing.not_before = None;
        let due = self.comparing.due.take()?;
        let log = self.log.as_ref()?;
        self.comparing.upto = log.head().offset;
        self.compare_after(due.max(log.floor().offset))
    }

    fn can_compare(&self) -> bool {
        let is_busy = self.comparing.asked.is_some() || self.filling || self.is_putting_back();
        !is_busy && !self.hole && !self.lost
    }

    fn compare_after(&mut self, offset: Offset) -> Option<(Epoch, Request)> {
        let epoch = self.copied()?.epoch;
        self.comparing.asked = Some(offset).filter(|offset| *offset < self.comparing.upto);
        Some((epoch, self.read(Direction::After, self.comparing.asked?)))
    }

    /// Takes in what the store has and the copy lacks; goes on with the next read.
    pub(in crate::log::shared) fn compare_with(
        &mut self,
        now: Now,
        epoch: Epoch,
        chunk: Chunk,
    ) -> Option<(Epoch, Request)> {
        self.comparing.asked = None;
        let log = self.log.as_mut()?;
        if log.head().epoch != epoch || chunk.head.epoch != epoch {
            // Another history has begun, and that is told.
            self.comparing = Comparing::default();
            return None;
        }
        let mut compared = self.comparing.upto;
        for (offset, entry) in chunk.entries {
            compared = offset;
            let Some(entry) = entry else { continue };
            if log.take_in(millis(now), entry) == Copied::New {
                self.comparing.missed.get_or_insert(Offset(offset.0.saturating_sub(1)));
            }
        }
        if chunk.is_full { self.compare_after(compared) } else { None }
    }

    /// Tells readers that they have missed something. Returns whether they have.
    pub(in crate::log::shared) fn tell_missed(&mut self) -> bool {
        let Some(log) = &mut self.log else { return false };
        let missed = self.comparing.missed.take();
        missed.inspect(|since| log.missed(*since)).is_some()
    }

    /// The store could not be read: it goes on from there, not before `at`.
    pub(in crate::log::shared) fn comparing_failed(&mut self, at: Time) {
        let Comparing { due, asked, not_before, .. } = &mut self.comparing;
        *due = due.iter().copied().chain(asked.take()).min();
        *not_before = Some(at);
    }
}
