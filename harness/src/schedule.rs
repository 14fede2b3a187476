//! When each event is due: an open model, decided before the run and untouched by how it goes.

use crate::population::Source;

/// An event that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Microseconds after the first possible event.
    pub(crate) at_us: u64,
    /// The stream whose turn it is.
    pub(crate) stream: u32,
}

/// All events of a run, by time, made as they are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    sources: Vec<Track>,
    end_us: u64,
}

#[derive(Debug, Clone)]
struct Track {
    source: Source,
    phase: f64,
    next: u64,
}

impl Track {
    /// Each instant is computed from its number, so that rounding does not add up.
    fn due(&self) -> Due {
        let seconds = (self.next as f64 + self.phase) / self.source.rate;
        let turn = (self.next % self.source.streams.len() as u64) as usize;
        Due { at_us: (seconds * 1e6) as u64, stream: self.source.streams[turn] }
    }
}

impl Schedule {
    /// The events of `sources` up to `end_us`. Sources start apart, so that equal rates do not
    /// publish in pairs.
    pub(crate) fn new(sources: &[Source], end_us: u64) -> Self {
        let count = sources.len() as f64;
        let tracks =
            sources.iter().enumerate().filter(|(_, source)| !source.streams.is_empty()).map(
                |(n, source)| Track { source: source.clone(), phase: n as f64 / count, next: 0 },
            );
        Self { sources: tracks.collect(), end_us }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let track = self.sources.iter_mut().min_by_key(|track| track.due().at_us)?;
        let due = track.due();
        track.next += 1;
        (due.at_us < self.end_us).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(rate: f64, streams: &[u32]) -> Source {
        Source { rate, streams: streams.to_vec() }
    }

    #[test]
    fn arrivals_are_constant_and_streams_take_turns() {
        let all: Vec<_> = Schedule::new(&[source(1000.0, &[4, 7, 9])], 5000).collect();
        let times: Vec<_> = all.iter().map(|due| due.at_us).collect();
        let turns: Vec<_> = all.iter().map(|due| due.stream).collect();
        assert_eq!(times, [0, 1000, 2000, 3000, 4000]);
        assert_eq!(turns, [4, 7, 9, 4, 7]);
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let count = Schedule::new(&[source(333.0, &[0])], 600_000_000).count();
        assert_eq!(count, 333 * 600);
    }

    #[test]
    fn sources_are_merged_by_time() {
        let all: Vec<_> =
            Schedule::new(&[source(100.0, &[0]), source(300.0, &[1])], 1_000_000).collect();
        assert!(all.is_sorted_by_key(|due| due.at_us));
        assert_eq!(all.iter().filter(|due| due.stream == 0).count(), 100);
        assert_eq!(all.iter().filter(|due| due.stream == 1).count(), 300);
    }

    #[test]
    fn no_sources_no_events() {
        assert_eq!(Schedule::new(&[], 1_000_000).count(), 0);
        assert_eq!(Schedule::new(&[source(5.0, &[])], 1_000_000).count(), 0);
    }
}
