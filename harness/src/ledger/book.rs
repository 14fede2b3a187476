//! What one receiver has got of everything it was to get.

use std::collections::BTreeMap;

use super::track::{Arrival, Hole, Track};

/// A span of a lane of which the client was told that events in it may be missing:
/// after `from`, up to and including `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Offset before the first that may be missing.
    pub(crate) from: u64,
    /// The last offset that may be missing.
    pub(crate) to: u64,
}

/// How one event counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It was expected and arrived like this.
    Expected(Arrival),
    /// Its stream was not for this receiver.
    Unexpected,
}

/// The account of one receiver.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// By stream, ascending: fixed when the run starts.
    tracks: Vec<(u32, Track)>,
    /// By lane number, in order of telling.
    gaps: BTreeMap<u32, Vec<Span>>,
}

impl Book {
    /// An account of a receiver that is to get these streams.
    pub(crate) fn new(mut streams: Vec<u32>) -> Self {
        streams.sort_unstable();
        streams.dedup();
        let tracks = streams.into_iter().map(|stream| (stream, Track::default())).collect();
        Self { tracks, gaps: BTreeMap::new() }
    }

    /// Notes an arrival.
    pub(crate) fn arrive(&mut self, stream: u32, seq: u32) -> Entry {
        match self.tracks.binary_search_by_key(&stream, |(id, _)| *id) {
            Ok(at) => Entry::Expected(self.tracks[at].1.arrive(seq)),
            Err(_) => Entry::Unexpected,
        }
    }

    /// Notes that the client was told of a gap.
    pub(crate) fn gap(&mut self, lane: u32, span: Span) {
        let spans = self.gaps.entry(lane).or_default();
        match spans.last_mut() {
            Some(last) if span.from <= last.to && span.to >= last.from => {
                last.from = last.from.min(span.from);
                last.to = last.to.max(span.to);
            }
            _ => spans.push(span),
        }
    }

    /// Whether a gap that was told covers this place.
    pub(crate) fn was_told(&self, lane: u32, offset: u64) -> bool {
        self.gaps
            .get(&lane)
            .is_some_and(|spans| spans.iter().any(|s| s.from < offset && offset <= s.to))
    }

    /// Every stream that was expected, with what is missing of it, given the last number
    /// published in each.
    pub(crate) fn missing<'a>(
        &'a self,
        published: impl Fn(u32) -> u32 + 'a,
    ) -> impl Iterator<Item = (u32, Hole)> + 'a {
        self.tracks.iter().flat_map(move |(stream, track)| {
            track.missing(published(*stream)).map(move |hole| (*stream, hole))
        })
    }

    /// The streams it was to get.
    pub(crate) fn streams(&self) -> impl Iterator<Item = u32> + '_ {
        self.tracks.iter().map(|(stream, _)| *stream)
    }

    /// Missing events of some streams that are no longer told apart, because there were too many.
    pub(crate) fn written_off(&self, part: impl Fn(u32) -> bool) -> u64 {
        let tracks = self.tracks.iter().filter(|(stream, _)| part(*stream));
        tracks.map(|(_, track)| track.written_off()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_apart_and_strangers_noticed() {
        let mut book = Book::new(vec![7, 3]);
        assert_eq!(book.arrive(3, 1), Entry::Expected(Arrival::InOrder));
        assert_eq!(book.arrive(7, 2), Entry::Expected(Arrival::InOrder));
        assert_eq!(book.arrive(7, 1), Entry::Expected(Arrival::Late));
        assert_eq!(book.arrive(7, 1), Entry::Expected(Arrival::Duplicate));
        assert_eq!(book.arrive(4, 1), Entry::Unexpected);
        let missing: Vec<_> = book.missing(|_| 2).collect();
        assert_eq!(missing, [(3, Hole { first: 2, last: 2 })]);
    }

    #[test]
    fn a_gap_covers_what_lies_after_its_beginning_up_to_its_end() {
        let mut book = Book::new(vec![1]);
        book.gap(4, Span { from: 10, to: 20 });
        let told: Vec<_> = [10, 11, 20, 21].map(|offset| book.was_told(4, offset)).into();
        assert_eq!(told, [false, true, true, false]);
        assert!(!book.was_told(5, 15), "another lane");
        book.gap(4, Span { from: 20, to: 30 });
        assert!(book.was_told(4, 30));
        assert_eq!(book.gaps[&4].len(), 1, "adjoining gaps are kept as one");
        book.gap(4, Span { from: 50, to: 60 });
        assert!(!book.was_told(4, 40));
    }
}
