//! The balance at the end: what was expected, what arrived, what is missing and why.

use super::book::Book;
use super::stream::StreamLog;

/// Consecutive events of one stream that one receiver never got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The receiver's number.
    pub(crate) receiver: usize,
    /// The stream.
    pub(crate) stream: u32,
    /// The first missing sequence number.
    pub(crate) first: u32,
    /// The last missing sequence number.
    pub(crate) last: u32,
    /// How many of them the server had acknowledged.
    pub(crate) accepted: u64,
}

/// The balance of all receivers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Events times receivers that were to get them.
    pub(crate) expected: u64,
    /// Missing, and nobody said so.
    pub(crate) lost: u64,
    /// The part of `lost` that the server had acknowledged to its publisher.
    pub(crate) lost_accepted: u64,
    /// Missing, and the client was told by a gap.
    pub(crate) told: u64,
    /// The first losses, up to the limit asked for.
    pub(crate) losses: Vec<Loss>,
}

impl Audit {
    /// Balances one more receiver, of those streams that are `part` of the question; keeps at
    /// most `keep` losses.
    pub(crate) fn add<'a>(
        &mut self,
        receiver: usize,
        book: &Book,
        streams: impl Fn(u32) -> &'a StreamLog,
        part: impl Fn(u32) -> bool,
        keep: usize,
    ) {
        let published = |stream| u64::from(streams(stream).published());
        self.expected += book.streams().filter(|s| part(*s)).map(published).sum::<u64>();
        self.lost += book.written_off(&part);
        for (stream, hole) in book.missing(|s| streams(s).published()) {
            if !part(stream) {
                continue;
            }
            let log = streams(stream);
            let mut open: Option<Loss> = None;
            for seq in hole.first..=hole.last {
                let told = log.place(seq).is_some_and(|(lane, at)| book.was_told(lane, at));
                if told {
                    self.told += 1;
                    self.keep(open.take(), keep);
                    continue;
                }
                let accepted = u64::from(log.was_accepted(seq));
                self.lost += 1;
                self.lost_accepted += accepted;
                let loss = open.get_or_insert(Loss {
                    receiver,
                    stream,
                    first: seq,
                    last: seq,
                    accepted: 0,
                });
                loss.last = seq;
                loss.accepted += accepted;
            }
            self.keep(open, keep);
        }
    }

    /// Events that arrived.
    pub(crate) fn delivered(&self) -> u64 {
        self.expected - self.lost - self.told
    }

    fn keep(&mut self, loss: Option<Loss>, keep: usize) {
        if self.losses.len() < keep {
            self.losses.extend(loss);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::Span;
    use super::*;

    fn published(n: u32) -> StreamLog {
        let mut log = StreamLog::default();
        for _ in 0..n {
            let seq = log.next_seq();
            log.accepted(seq, Some((1, u64::from(seq) * 10)));
        }
        log
    }

    fn audit(book: &Book, log: &StreamLog) -> Audit {
        let mut audit = Audit::default();
        audit.add(4, book, |_| log, |_| true, 10);
        audit
    }

    #[test]
    fn all_arrived() {
        let mut book = Book::new([(0, 0)]);
        for seq in 1..=5 {
            book.arrive(0, seq, None);
        }
        let balance = audit(&book, &published(5));
        assert_eq!((balance.expected, balance.delivered(), balance.lost), (5, 5, 0));
        assert!(balance.losses.is_empty());
    }

    #[test]
    fn losses_name_receiver_stream_and_numbers() {
        let mut book = Book::new([(0, 0)]);
        for seq in [1, 2, 5] {
            book.arrive(0, seq, None);
        }
        let mut log = published(5);
        log.next_seq();
        let balance = audit(&book, &log);
        assert_eq!((balance.expected, balance.delivered(), balance.lost), (6, 3, 3));
        assert_eq!(balance.lost_accepted, 2, "the sixth was never acknowledged");
        let losses: Vec<_> = balance.losses.iter().map(|l| (l.first, l.last, l.accepted)).collect();
        assert_eq!(losses, [(3, 4, 2), (6, 6, 0)]);
        assert_eq!(balance.losses[0].receiver, 4);
    }

    #[test]
    fn what_a_gap_covered_was_told_and_the_rest_is_lost() {
        let mut book = Book::new([(0, 0)]);
        book.arrive(0, 1, None);
        book.gap(1, Span { from: 20, to: 40 });
        book.arrive(0, 6, None);
        let balance = audit(&book, &published(6));
        assert_eq!((balance.told, balance.lost), (2, 2));
        let losses: Vec<_> = balance.losses.iter().map(|l| (l.first, l.last)).collect();
        assert_eq!(losses, [(2, 2), (5, 5)]);
    }

    #[test]
    fn the_list_of_losses_is_bounded_but_the_count_is_not() {
        let mut book = Book::new([(0, 0)]);
        for seq in (2..=200).step_by(2) {
            book.arrive(0, seq, None);
        }
        let balance = audit(&book, &published(200));
        assert_eq!((balance.lost, balance.losses.len()), (100, 10));
    }
}
