//! Marks on the time axis of the dashboards: a deploy, an incident.

use std::collections::VecDeque;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::unix_micros;

/// How many marks are kept; the oldest make room.
const KEPT: usize = 50;

/// A moment that somebody wants to find again in charts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What happened.
    pub text: String,
}

/// No mark can have this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the text of a mark must have 1 to {} characters, none of them a control character",
    Mark::MAX_TEXT
)]
pub struct BadMark;

impl Mark {
    /// How many characters its text may have.
    pub const MAX_TEXT: usize = 80;

    /// A mark at this moment.
    ///
    /// # Errors
    /// If the text is empty, too long, or has control characters.
    pub fn now(text: &str) -> Result<Self, BadMark> {
        let text = text.trim();
        let fits = (1..=Self::MAX_TEXT).contains(&text.chars().count());
        if !fits || text.contains(char::is_control) {
            return Err(BadMark);
        }
        Ok(Self { at_ms: unix_micros() / 1000, text: text.to_owned() })
    }
}

/// The marks an instance knows, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<VecDeque<Mark>>);

impl Marks {
    pub(super) fn add(&self, mark: Mark) {
        let mut marks = self.0.lock();
        let at = match marks.binary_search(&mark) {
            Ok(_known) => return,
            Err(at) => at,
        };
        marks.insert(at, mark);
        if marks.len() > KEPT {
            marks.pop_front();
        }
    }

    pub(super) fn all(&self) -> Vec<Mark> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_kept_once_in_order_and_not_without_end() {
        let marks = Marks::default();
        for at_ms in [3, 1, 2, 3] {
            marks.add(Mark { at_ms, text: "deploy".into() });
        }
        assert_eq!(marks.all().iter().map(|mark| mark.at_ms).collect::<Vec<_>>(), [1, 2, 3]);
        (10..100).for_each(|at_ms| marks.add(Mark { at_ms, text: "deploy".into() }));
        assert_eq!(marks.all().len(), KEPT);
        assert_eq!(marks.all().last().map(|mark| mark.at_ms), Some(99));
    }

    #[test]
    fn a_mark_says_something_short() {
        assert_eq!(Mark::now(" v1.2 ").map(|mark| mark.text), Ok("v1.2".to_owned()));
        for wrong in ["", "  ", "a\nb", &"x".repeat(81)] {
            assert_eq!(Mark::now(wrong), Err(BadMark), "{wrong:?}");
        }
    }
}
