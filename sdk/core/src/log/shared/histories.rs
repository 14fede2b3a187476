//! Which histories of a lane are known to be over.
//!
//! A reader may come with a place in a history that this instance does not know: an old one, or one
//! that has begun since and is known to other instances already. Only the store can tell.

use crate::lane::{Epoch, Place};

/// How many histories are remembered, and how many are asked about at once. Readers of more have to
/// ask again.
const REMEMBERED: usize = 16;

/// What is known of the histories of a lane other than the one that is copied.
#[derive(Debug, Default)]
pub(super) struct Histories {
    over: Vec<Epoch>,
    /// Readers wait to know about these; and whether the store was asked since.
    unknown: Vec<(Epoch, bool)>,
}

impl Histories {
    /// Whether it has to be asked about the history of `place` before it can be read on there, in a
    /// lane whose epoch is taken to be `current`. It is asked about it then.
    pub(super) fn doubts(&mut self, place: Place, current: Epoch) -> bool {
        let Place { epoch, .. } = place;
        if epoch == current || place == Place::default() || self.over.contains(&epoch) {
            return false;
        }
        if !self.unknown.iter().any(|(unknown, _)| *unknown == epoch) {
            self.unknown.truncate(REMEMBERED - 1);
            self.unknown.push((epoch, false));
        }
        true
    }

    /// Whether the store is to be asked.
    pub(super) fn is_waited_for(&self) -> bool {
        self.unknown.iter().any(|(_, is_asked)| !is_asked)
    }

    /// The store is asked now which history there is.
    pub(super) fn ask(&mut self) {
        for (_, is_asked) in &mut self.unknown {
            *is_asked = true;
        }
    }

    /// It is this one. Returns whether readers have waited for that.
    pub(super) fn answered(&mut self, current: Epoch) -> bool {
        let asked = |(_, is_asked): &mut (Epoch, bool)| *is_asked;
        let answered: Vec<_> = self.unknown.extract_if(.., asked).collect();
        for (epoch, _) in &answered {
            self.is_over(*epoch, current);
        }
        !answered.is_empty()
    }

    /// The lane had this epoch, and has another one now.
    pub(super) fn is_over(&mut self, epoch: Epoch, current: Epoch) {
        self.over.retain(|over| *over != current && *over != epoch);
        if epoch != current {
            self.over.truncate(REMEMBERED - 1);
            self.over.insert(0, epoch);
        }
    }
}
