//! The server's end of a session that is carried by HTTP requests.

use bytes::Bytes;

use super::payload::PayloadWriter;
use super::repeats::Repeats;
use crate::time::Time;

/// Why a request of a session's client is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PollingError {
    /// The session has ended: nobody knows it any more.
    #[error("the session has ended")]
    Ended,
    /// Another request of the kind is still open. The session has to be closed: nobody could say
    /// in which order the two were meant.
    #[error("another request of this kind is open on the session")]
    Overlap,
}

/// What becomes of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// It waits for packets.
    Waits,
    /// A browser has made the last one again, for its answer may not have come: that answer.
    Again(Bytes),
}

/// What a client's POST has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// They are to be taken in.
    New,
    /// A browser sends them once more, for the answer may not have come: they have been taken in.
    Again,
}

/// What the client of a polling session has open, and what may still be asked of it.
///
/// The host tells when requests begin and end. Whenever something has been queued for the client or
/// a poll has begun, it calls [`answer`](Self::answer), and sends what comes out of it.
#[derive(Debug, Clone, Default)]
pub struct Polling {
    polled: bool,
    posting: bool,
    probing: bool,
    stage: Stage,
    /// The next poll is the last one.
    last_poll: bool,
    dead_at: Option<Time>,
    repeats: Repeats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Open,
    /// Nothing is taken from the client any more, but it may fetch what waits for it.
    Closing,
    Ended,
}

impl Polling {
    /// A session whose client has not asked for anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the client is given up unless a sign of life comes before. From then on nobody knows
    /// the session, even if its host is late to end it.
    pub const fn set_dead_at(&mut self, at: Option<Time>) {
        self.dead_at = at;
    }

    fn check(&self, now: Time, last: Stage) -> Result<(), PollingError> {
        let dead = self.dead_at.is_some_and(|at| at <= now);
        if dead || self.stage as u8 > last as u8 {
            return Err(PollingError::Ended);
        }
        Ok(())
    }

    /// A poll begins: the client waits for packets. `stamp` is what tells it from the one before:
    /// [`Query::stamp`](super::request::Query::stamp).
    ///
    /// # Errors
    /// When it may not; after [`PollingError::Overlap`] the session has to be closed.
    pub fn poll(&mut self, now: Time, stamp: Option<&str>) -> Result<Polled, PollingError> {
        self.check(now, Stage::Closing)?;
        if self.polled {
            return Err(PollingError::Overlap);
        }
        if let Some(answer) = self.repeats.get(stamp) {
            return Ok(Polled::Again(answer));
        }
        self.polled = true;
        if self.last_poll {
            self.stage = Stage::Ended;
        }
        Ok(Polled::Waits)
    }

    /// The open poll ends without an answer: its client has gone. Returns whether there was one;
    /// then the session has to be closed.
    pub const fn poll_abandoned(&mut self) -> bool {
        std::mem::replace(&mut self.polled, false)
    }

    /// The body that answers the open poll, made of what `next` gives: finished WebSocket frames
    /// in the order in which they are to be read. It takes no more of them once the body has
    /// `max_bytes`. `next` is told whether the body has begun: a close packet should begin one,
    /// since socket.io-client acts on it before it acts on what stood in front of it. `None` if no
    /// poll is open or nothing waits.
    pub fn answer(
        &mut self,
        max_bytes: usize,
        mut next: impl FnMut(bool) -> Option<Bytes>,
    ) -> Option<Bytes> {
        if !self.polled {
            return None;
        }
        let mut body = PayloadWriter::new(max_bytes);
        while !body.is_full()
            && let Some(frames) = next(!body.is_empty())
        {
            body.push_frames(&frames);
        }
        if body.is_empty() {
            return None;
        }
        Some(self.answered(body.finish()))
    }

    /// The body that ends the open poll although nothing waits; `None` if no poll is open.
    pub fn noop(&mut self) -> Option<Bytes> {
        self.polled.then(|| self.answered(Bytes::from_static(b"6")))
    }

    fn answered(&mut self, body: Bytes) -> Bytes {
        self.polled = false;
        self.repeats.got(&body);
        body
    }

    /// The client begins to send packets. `stamp` is what tells this request from the one before:
    /// [`Query::stamp`](super::request::Query::stamp).
    ///
    /// # Errors
    /// When it may not; after [`PollingError::Overlap`] the session has to be closed.
    pub fn post(&mut self, now: Time, stamp: Option<&str>) -> Result<Brought, PollingError> {
        self.check(now, Stage::Open)?;
        if self.posting {
            return Err(PollingError::Overlap);
        }
        self.posting = true;
        Ok(if self.repeats.post(stamp) { Brought::Again } else { Brought::New })
    }

    /// The request that brought packets is about to be answered; `taken` tells whether they have
    /// been taken in.
    pub const fn posted(&mut self, taken: bool) {
        self.posting = false;
        if taken {
            self.repeats.taken();
        }
    }

    /// The client has opened a WebSocket to which the session may move. Returns whether it may be
    /// tried: only one at a time.
    pub fn begin_probe(&mut self, now: Time) -> bool {
        let begins = !self.probing && self.check(now, Stage::Open).is_ok();
        self.probing |= begins;
        begins
    }

    /// That WebSocket came to nothing.
    pub const fn end_probe(&mut self) {
        self.probing = false;
    }

    /// Whether the session can move to the WebSocket that is being tried.
    pub fn may_move(&self) -> bool {
        self.probing && self.stage == Stage::Open
    }

    /// Takes nothing from the client any more; polls are still answered with what waits.
    pub fn close(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing;
        }
    }

    /// As [`close`](Self::close), for the client has closed the session itself, while no poll was
    /// open: one may be on its way that was sent before, on another connection.
    pub fn close_but_for_one_poll(&mut self) {
        self.close();
        self.last_poll = true;
    }

    /// The session has ended.
    pub const fn end(&mut self) {
        self.stage = Stage::Ended;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::*;
    use crate::websocket::{Opcode, encode};

    const NOW: Time = Time::ZERO;

    fn queue(texts: &[&str]) -> VecDeque<Bytes> {
        let frame = |text: &&str| {
            let mut frame = Vec::new();
            encode(&mut frame, Opcode::Text, text.as_bytes(), None);
            Bytes::from(frame)
        };
        texts.iter().map(frame).collect()
    }

    #[test]
    fn a_poll_is_answered_with_all_that_waits() {
        let mut polling = Polling::new();
        let mut waiting = queue(&["4a", "4b"]);
        assert_eq!(polling.answer(100, |_| waiting.pop_front()), None, "nobody asks");
        assert_eq!(polling.poll(NOW, None), Ok(Polled::Waits));
        let body = polling.answer(100, |_| waiting.pop_front());
        assert_eq!(body.as_deref(), Some(&b"4a\x1e4b"[..]));
        assert_eq!(polling.answer(100, |_| Some(Bytes::new())), None, "it is answered");
        assert_eq!(polling.poll(NOW, None), Ok(Polled::Waits));
        assert_eq!(polling.answer(100, |_| waiting.pop_front()), None, "nothing waits");
        assert_eq!(polling.noop().as_deref(), Some(&b"6"[..]));
        assert_eq!(polling.noop(), None);
    }

    #[test]
    fn the_rest_of_a_long_queue_waits_for_the_next_poll() {
        let mut polling = Polling::new();
        let mut waiting = queue(&["4aaaa", "4bbbb", "4cccc"]);
        polling.poll(NOW, None).expect("nothing is open");
        let body = polling.answer(6, |_| waiting.pop_front());
        assert_eq!(body.as_deref(), Some(&b"4aaaa\x1e4bbbb"[..]), "begun before it was full");
        polling.poll(NOW, None).expect("nothing is open");
        assert_eq!(polling.answer(6, |_| waiting.pop_front()).as_deref(), Some(&b"4cccc"[..]));
    }

    #[test]
    fn one_request_of_each_kind_at_a_time() {
        let mut polling = Polling::new();
        assert_eq!(
            (polling.poll(NOW, None), polling.post(NOW, None)),
            (Ok(Polled::Waits), Ok(Brought::New))
        );
        assert_eq!(polling.poll(NOW, None), Err(PollingError::Overlap));
        assert_eq!(polling.post(NOW, None), Err(PollingError::Overlap));
        polling.posted(true);
        assert_eq!(polling.post(NOW, None), Ok(Brought::New));
        assert!(polling.poll_abandoned());
        assert!(!polling.poll_abandoned());
        assert!(polling.begin_probe(NOW) && polling.may_move());
        assert!(!polling.begin_probe(NOW));
        polling.end_probe();
        assert!(!polling.may_move());
        assert!(polling.begin_probe(NOW));
    }

    #[test]
    fn a_closing_session_hands_out_what_waits_and_no_more() {
        let mut polling = Polling::new();
        assert!(polling.begin_probe(NOW));
        polling.close();
        assert_eq!(polling.post(NOW, None), Err(PollingError::Ended));
        assert!(!polling.may_move());
        assert_eq!(polling.poll(NOW, None), Ok(Polled::Waits));
        assert!(polling.answer(100, |_| queue(&["1"]).pop_front()).is_some());
        polling.end();
        polling.close();
        assert_eq!(polling.poll(NOW, None), Err(PollingError::Ended));
    }

    #[test]
    fn a_poll_that_was_overtaken_by_the_end_is_answered() {
        let mut polling = Polling::new();
        polling.close_but_for_one_poll();
        assert_eq!(polling.post(NOW, None), Err(PollingError::Ended));
        assert_eq!(polling.poll(NOW, None), Ok(Polled::Waits));
        let mut waiting = queue(&["6"]);
        let answer = polling.answer(100, |_| waiting.pop_front());
        assert_eq!(answer.as_deref(), Some(&b"6"[..]));
        assert_eq!(polling.poll(NOW, None), Err(PollingError::Ended));
    }

    #[test]
    fn a_silent_client_is_unknown_from_its_deadline_on() {
        let mut polling = Polling::new();
        let at = |millis| Time::from_start(Duration::from_millis(millis));
        polling.set_dead_at(Some(at(500)));
        assert_eq!(polling.poll(at(499), None), Ok(Polled::Waits));
        assert_eq!(polling.post(at(500), None), Err(PollingError::Ended));
        assert!(!polling.begin_probe(at(500)));
        polling.set_dead_at(None);
        assert_eq!(polling.post(at(500), None), Ok(Brought::New));
    }

    #[test]
    fn what_a_browser_asks_again_it_gets_again() {
        let mut polling = Polling::new();
        let mut waiting = queue(&["4a", "4b"]);
        assert_eq!(polling.poll(NOW, Some("q")), Ok(Polled::Waits));
        assert_eq!(polling.noop().as_deref(), Some(&b"6"[..]));
        assert_eq!(polling.poll(NOW, Some("r")), Ok(Polled::Waits));
        let first = polling.answer(1, |_| waiting.pop_front()).expect("it waits");
        assert_eq!(polling.poll(NOW, Some("r")), Ok(Polled::Again(first)));
        assert_eq!(polling.poll(NOW, Some("s")), Ok(Polled::Waits));
        assert_eq!(polling.answer(1, |_| waiting.pop_front()).as_deref(), Some(&b"4b"[..]));

        assert_eq!(polling.post(NOW, Some("t")), Ok(Brought::New));
        polling.posted(false);
        assert_eq!(polling.post(NOW, Some("t")), Ok(Brought::New), "it came to nothing");
        polling.posted(true);
        assert_eq!(polling.post(NOW, Some("t")), Ok(Brought::Again));
        assert_eq!(polling.post(NOW, Some("t")), Err(PollingError::Overlap));
        polling.posted(true);
        polling.close();
        assert_eq!(polling.post(NOW, Some("t")), Err(PollingError::Ended));
    }
}
