//! The account of edits of shared records.
//!
//! Every edit counts up in its record, and leaves its number in a field that its maker alone
//! writes. So the record says how many edits it has had and, for each maker, up to which: what was
//! acknowledged has to be there, and nothing twice.

use std::collections::BTreeMap;
use std::ops::Add;

use serde::Deserialize;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(crate) struct Note {
    /// How many edits it has had.
    pub(crate) edits: u64,
    /// The number of the last edit by each of its makers, counted from 1 for this record.
    #[serde(default)]
    pub(crate) by: BTreeMap<usize, u32>,
}

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The server has taken it.
    Accepted,
    /// The server has refused it, or the client could not make it.
    Rejected,
}

/// An edit that was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// When it was due.
    pub(crate) due_us: u64,
    /// Whether its maker had a connection.
    pub(crate) online: bool,
    answer: Option<Answer>,
}

/// All edits of one collection.
#[derive(Debug, Default)]
pub(crate) struct EditLog {
    /// By maker and record, in the order of their numbers.
    made: BTreeMap<(usize, usize), Vec<Made>>,
}

/// What the records at the end say about the edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EditAudit {
    /// Edits that were due.
    pub(crate) due: u64,
    /// Acknowledged.
    pub(crate) accepted: u64,
    /// Refused.
    pub(crate) rejected: u64,
    /// Acknowledged, and not there.
    pub(crate) lost: u64,
    /// There more than once, or although they were refused.
    pub(crate) repeated: u64,
}

/// The edits of one record.
#[derive(Default)]
struct Sums {
    accepted: u64,
    open: u64,
    /// Acknowledged, and later than what the record has of their makers.
    not_there: u64,
}

impl Add for EditAudit {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            due: self.due + other.due,
            accepted: self.accepted + other.accepted,
            rejected: self.rejected + other.rejected,
            lost: self.lost + other.lost,
            repeated: self.repeated + other.repeated,
        }
    }
}

impl EditLog {
    /// Numbers the next edit of a maker in a record.
    pub(crate) fn make(&mut self, maker: usize, record: usize, due_us: u64, online: bool) -> u32 {
        let made = self.made.entry((maker, record)).or_default();
        made.push(Made { due_us, online, answer: None });
        u32::try_from(made.len()).unwrap_or(u32::MAX)
    }

    /// Notes what became of an edit.
    pub(crate) fn answered(&mut self, maker: usize, record: usize, number: u32, answer: Answer) {
        let made = self.made.get_mut(&(maker, record));
        if let Some(made) = made.and_then(|made| made.get_mut(number as usize - 1)) {
            made.answer = Some(answer);
        }
    }

    /// The edits with the numbers after `seen` up to `shown`, unless they were refused.
    pub(crate) fn between(
        &self,
        maker: usize,
        record: usize,
        seen: u32,
        shown: u32,
    ) -> impl Iterator<Item = &Made> {
        let made = self.made.get(&(maker, record)).map_or(&[][..], Vec::as_slice);
        let new = made.get(seen as usize..(shown as usize).min(made.len())).unwrap_or_default();
        new.iter().filter(|made| made.answer != Some(Answer::Rejected))
    }

    /// How many have no answer.
    pub(crate) fn unanswered(&self) -> u64 {
        self.made.values().flatten().filter(|made| made.answer.is_none()).count() as u64
    }

    /// Compares all edits with the records, by number, as they are at the end.
    pub(crate) fn audit(&self, records: &BTreeMap<usize, Note>) -> EditAudit {
        let mut audit = EditAudit::default();
        let mut sums: BTreeMap<usize, Sums> = BTreeMap::new();
        for ((maker, record), made) in &self.made {
            let is = |answer| move |made: &&Made| made.answer == answer;
            let accepted = made.iter().filter(is(Some(Answer::Accepted))).count() as u64;
            let open = made.iter().filter(is(None)).count() as u64;
            audit.due += made.len() as u64;
            audit.accepted += accepted;
            audit.rejected += made.len() as u64 - accepted - open;
            let sums = sums.entry(*record).or_default();
            sums.accepted += accepted;
            sums.open += open;
            let shown = records.get(record).and_then(|note| note.by.get(maker)).copied();
            let behind = made.iter().skip(shown.unwrap_or_default() as usize);
            sums.not_there += behind.filter(is(Some(Answer::Accepted))).count() as u64;
        }
        for (record, Sums { accepted, open, not_there }) in sums {
            let edits = records.get(&record).map_or(0, |note| note.edits);
            // One that is missing as a whole is missing in both.
            audit.lost += accepted.saturating_sub(edits).max(not_there);
            audit.repeated += edits.saturating_sub(accepted + open);
        }
        audit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(edits: u64, by: &[(usize, u32)]) -> BTreeMap<usize, Note> {
        BTreeMap::from([(0, Note { edits, by: by.iter().copied().collect() })])
    }

    /// Two makers with two edits each, of which all but the last are answered as told.
    fn log(answer: Answer) -> EditLog {
        let mut log = EditLog::default();
        for (maker, number) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
            assert_eq!(log.make(maker, 0, 10 * u64::from(number), true), number);
            if (maker, number) != (2, 2) {
                log.answered(maker, 0, number, answer);
            }
        }
        log
    }

    #[test]
    fn what_was_acknowledged_has_to_be_there_once() {
        let log = log(Answer::Accepted);
        assert_eq!(log.unanswered(), 1);
        let sums = |audit: EditAudit| (audit.lost, audit.repeated);
        for (records, lost, repeated) in [
            (note(3, &[(1, 2), (2, 1)]), 0, 0),
            (note(4, &[(1, 2), (2, 2)]), 0, 0),
            (note(5, &[(1, 2), (2, 2)]), 0, 1),
            (note(2, &[(1, 2), (2, 1)]), 1, 0),
            (note(3, &[(1, 1), (2, 1)]), 1, 0),
            (BTreeMap::new(), 3, 0),
        ] {
            assert_eq!(sums(log.audit(&records)), (lost, repeated), "{records:?}");
        }
        let audit = log.audit(&note(3, &[(1, 2), (2, 1)]));
        assert_eq!((audit.due, audit.accepted, audit.rejected), (4, 3, 0));
    }

    #[test]
    fn what_was_refused_may_not_be_there() {
        let log = log(Answer::Rejected);
        assert_eq!(log.audit(&note(0, &[])).repeated, 0);
        assert_eq!(
            log.audit(&note(2, &[])).repeated,
            1,
            "one has no answer, the other is too much"
        );
        assert_eq!(log.between(1, 0, 0, 2).count(), 0, "nobody waits to see it");
    }

    #[test]
    fn what_is_shown_for_the_first_time_is_found_by_number() {
        let log = log(Answer::Accepted);
        let due = |seen, shown| log.between(1, 0, seen, shown).map(|made| made.due_us).sum::<u64>();
        assert_eq!([due(0, 1), due(0, 2), due(1, 2), due(2, 2), due(1, 9)], [10, 30, 20, 0, 20]);
        assert_eq!(log.between(7, 0, 0, 1).count(), 0);
    }
}
