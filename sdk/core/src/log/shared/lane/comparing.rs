//! What the copy lacks although it has come further: a master that was cut off went on, this instance
//! with it, and meanwhile another one had taken over and took events, too.

use super::{Direction, LaneState, Now, millis};
use crate::lane::{Epoch, Offset};
use crate::log::Copied;
use crate::log::shared::{Chunk, Request};

/// Whether the copy is compared with the store.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    /// It has to be, from the beginning.
    is_due: bool,
    /// A read for it is on its way.
    is_asking: bool,
    /// How far it was compared.
    compared: Offset,
    /// Before the first event that was found.
    missed: Option<Offset>,
}

impl<T> LaneState<T> {
    /// The store may have taken events that are not here, at places before those that are.
    pub(super) fn doubt_copy(&mut self) {
        self.comparing.is_due = self.log.is_some();
    }

    /// Compares what is here of the last minute with the store. `None` if there is nothing to compare.
    /// Everything known here must have been put back: nothing more can come before that then.
    pub(in crate::log::shared) fn compare(&mut self, now: Now) -> Option<(Epoch, Request)> {
        if !self.comparing.is_due || self.comparing.is_asking || self.filling || self.hole {
            return None;
        }
        self.comparing.is_due = false;
        let since = Offset(self.last_minute(now));
        let log = self.log.as_ref()?;
        self.comparing.compared = log.floor().offset.max(since);
        self.compare_on()
    }

    fn compare_on(&mut self) -> Option<(Epoch, Request)> {
        let head = self.copied()?;
        let from = self.comparing.compared;
        self.comparing.is_asking = from < head.offset;
        self.comparing.is_asking.then(|| (head.epoch, self.read(Direction::After, from)))
    }

    /// Takes in what the store has and the copy lacks; goes on with the next read.
    pub(in crate::log::shared) fn compare_with(
        &mut self,
        now: Now,
        epoch: Epoch,
        chunk: Chunk,
    ) -> Option<(Epoch, Request)> {
        self.comparing.is_asking = false;
        let log = self.log.as_mut()?;
        if log.head().epoch != epoch || chunk.head.epoch != epoch {
            // Another history has begun, and that is told.
            return None;
        }
        for (offset, entry) in chunk.entries {
            self.comparing.compared = offset;
            let Some(entry) = entry else { continue };
            if log.take_in(millis(now), entry) == Copied::New {
                self.comparing.missed.get_or_insert(Offset(offset.0 - 1));
            }
        }
        if chunk.is_full { self.compare_on() } else { None }
    }

    /// Tells readers that they have missed something. Returns whether they have.
    pub(in crate::log::shared) fn tell_missed(&mut self) -> bool {
        let Some(log) = self.log.as_mut().filter(|_| !self.comparing.is_asking) else {
            return false;
        };
        let missed = self.comparing.missed.take();
        missed.inspect(|since| log.missed(*since)).is_some()
    }

    /// The store could not be read.
    pub(in crate::log::shared) fn comparing_failed(&mut self) {
        self.comparing.is_asking = false;
        self.doubt_copy();
    }
}
