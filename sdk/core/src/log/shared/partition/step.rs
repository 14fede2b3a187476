//! Steps of others in a lane: the store makes them, and appends events in them.

use super::{Partition, new_epoch};
use crate::event::Priority;
use crate::lane::{Epoch, Offset, Place};
use crate::log::shared::{Note, Now, Published};
use crate::time::Time;

/// What the store has to be told with a step that appends to a lane or depends on what was
/// appended, so that nothing is built on a state from which a failover has taken something away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footing {
    /// The last place of the lane known here. If the store is behind it, it must not make the step;
    /// [`Partition::fell_behind`] is to be told.
    pub known: Place,
    /// No offset up to this one is to be given out.
    pub given: Offset,
    /// The epoch of a history that begins now.
    pub new_epoch: Epoch,
    /// When another master took over, as far as known here. If there was a later takeover, the
    /// step must not be made.
    pub takeover: Option<Time>,
}

impl<T> Partition<T> {
    /// What a step in a lane has to know; `None` for as long as something may have to be put back
    /// first.
    pub fn footing(&mut self, now: Now, priority: Priority) -> Option<Footing> {
        self.lanes[priority as usize].has_steps = true;
        let state = &self.lanes[priority as usize];
        let settled = self.settled_at(state).is_none_or(|at| at <= now.time);
        if state.lost || state.is_putting_back() || !settled {
            self.advance(now);
            return None;
        }
        let takeover = self.takeover;
        let state = &mut self.lanes[priority as usize];
        state.writing.settled = takeover;
        let (known, given) = (state.known, state.given());
        Some(Footing { known, given, new_epoch: new_epoch(now, known.epoch), takeover })
    }

    /// The store has made a step: the lane stands at `head` then, these events are new, and these notes
    /// are there, new or told of.
    pub fn stepped(
        &mut self,
        now: Now,
        priority: Priority,
        footing: Footing,
        head: Place,
        events: impl IntoIterator<Item = (Offset, Published)>,
        notes: impl IntoIterator<Item = Note>,
    ) {
        let state = &mut self.lanes[priority as usize];
        // It may be the old master that has made it.
        state.lost |= footing.takeover != self.takeover;
        state.learn(head);
        for (offset, published) in events {
            self.counts.appended += 1;
            state.keep_at(Place { epoch: head.epoch, offset }, published);
        }
        for note in notes {
            state.keep_note(head.epoch, now, note);
        }
        self.advance(now);
    }

    /// The store stands at `head`, behind what is known here. What it lacks is put back first.
    pub fn fell_behind(&mut self, now: Now, priority: Priority, head: Place) {
        let state = &mut self.lanes[priority as usize];
        if state.known.epoch == head.epoch && state.known.offset > head.offset {
            state.known = head;
            state.is_lacking(head);
        }
        self.advance(now);
    }
}
