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
    /// It was expected through another subscription, where it counts.
    Elsewhere,
    /// Its stream was not for this receiver.
    Unexpected,
}

/// The account of one receiver.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Stream, and the subscription through which it counts; by stream, ascending.
    tracks: Vec<(u32, u16, Track)>,
    /// By lane number, in order of telling.
    gaps: BTreeMap<u32, Vec<Span>>,
    catch_up: Option<CatchUp>,
}

/// A receiver was away, is back, and has yet to get what was published until then.
#[derive(Debug)]
struct CatchUp {
    /// Since when it was away.
    since_us: u64,
    /// By track: the last number published when it came back.
    upto: Vec<u32>,
    missing: u64,
}

impl Book {
    /// An account of a receiver that is to get these streams, each counted through one of its
    /// subscriptions: an event comes to a client once, but to each subscription that covers it.
    pub(crate) fn new(streams: impl IntoIterator<Item = (u32, u16)>) -> Self {
        let mut tracks: Vec<_> =
            streams.into_iter().map(|(stream, via)| (stream, via, Track::default())).collect();
        tracks.sort_unstable_by_key(|(stream, ..)| *stream);
        Self { tracks, gaps: BTreeMap::new(), catch_up: None }
    }

    /// Notes an arrival through a subscription; `None` if the client does not tell which.
    pub(crate) fn arrive(&mut self, stream: u32, seq: u32, via: Option<u16>) -> Entry {
        let found = self.tracks.binary_search_by_key(&stream, |(id, ..)| *id);
        let Some((at, (_, own, track))) =
            found.ok().and_then(|at| Some((at, self.tracks.get_mut(at)?)))
        else {
            return Entry::Unexpected;
        };
        if via.is_some_and(|via| via != *own) {
            return Entry::Elsewhere;
        }
        let arrival = track.arrive(seq);
        if let Some(catch_up) = &mut self.catch_up
            && arrival != Arrival::Duplicate
            && catch_up.upto.get(at).is_some_and(|upto| seq <= *upto)
        {
            catch_up.missing -= 1;
        }
        Entry::Expected(arrival)
    }

    /// The receiver is back. It was away since `since_us`, and has caught up when it has what was
    /// `published` until now: the last number of each of its [`streams`](Self::streams), in their
    /// order.
    pub(crate) fn begin_catch_up(&mut self, since_us: u64, published: Vec<u32>) {
        let since_us = self.catch_up.as_ref().map_or(since_us, |before| before.since_us);
        let missing = self.tracks.iter().zip(&published).flat_map(|((.., track), upto)| {
            let until_then = track.missing(*upto).filter(|hole| hole.first <= *upto);
            until_then.map(|hole| Hole { last: hole.last.min(*upto), ..hole }.len())
        });
        let missing = missing.sum();
        self.catch_up = Some(CatchUp { since_us, upto: published, missing });
    }

    /// Since when a receiver was away that has caught up; told once.
    pub(crate) fn caught_up(&mut self) -> Option<u64> {
        self.catch_up.take_if(|catch_up| catch_up.missing == 0).map(|catch_up| catch_up.since_us)
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
        self.tracks.iter().flat_map(move |(stream, _, track)| {
            track.missing(published(*stream)).map(move |hole| (*stream, hole))
        })
    }

    /// The streams it was to get.
    pub(crate) fn streams(&self) -> impl Iterator<Item = u32> + '_ {
        self.tracks.iter().map(|(stream, ..)| *stream)
    }

    /// Missing events of some streams that are no longer told apart, because there were too many.
    pub(crate) fn written_off(&self, part: impl Fn(u32) -> bool) -> u64 {
        let tracks = self.tracks.iter().filter(|(stream, ..)| part(*stream));
        tracks.map(|(.., track)| track.written_off()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_apart_and_strangers_noticed() {
        let mut book = Book::new([(7, 0), (3, 1)]);
        assert_eq!(book.arrive(3, 1, None), Entry::Expected(Arrival::InOrder));
        assert_eq!(book.arrive(7, 2, Some(0)), Entry::Expected(Arrival::InOrder));
        assert_eq!(book.arrive(7, 1, Some(0)), Entry::Expected(Arrival::Late));
        assert_eq!(book.arrive(7, 1, Some(0)), Entry::Expected(Arrival::Duplicate));
        assert_eq!(book.arrive(4, 1, None), Entry::Unexpected);
        assert_eq!(book.arrive(3, 1, Some(0)), Entry::Elsewhere);
        let missing: Vec<_> = book.missing(|_| 2).collect();
        assert_eq!(missing, [(3, Hole { first: 2, last: 2 })]);
    }

    #[test]
    fn who_was_away_has_caught_up_with_the_last_event_published_until_then() {
        let mut book = Book::new([(3, 0), (7, 0)]);
        book.arrive(3, 1, None);
        book.begin_catch_up(100, vec![2, 1]);
        assert_eq!(book.caught_up(), None);
        book.arrive(3, 3, None);
        book.arrive(3, 3, None);
        book.arrive(7, 1, None);
        assert_eq!(book.caught_up(), None, "what came later does not count");
        book.begin_catch_up(200, vec![3, 1]);
        book.arrive(3, 2, None);
        assert_eq!(book.caught_up(), Some(100), "away again before it had caught up");
        assert_eq!(book.caught_up(), None);
        book.begin_catch_up(300, vec![3, 1]);
        assert_eq!(book.caught_up(), Some(300), "nothing was missed");
    }

    #[test]
    fn a_gap_covers_what_lies_after_its_beginning_up_to_its_end() {
        let mut book = Book::new([(1, 0)]);
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
