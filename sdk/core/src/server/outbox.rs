//! Finished frames waiting for one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::event::Priority;
use crate::websocket::{self, Opcode};
use crate::ws::SEPARATOR;

use super::ledger::{Ledger, Mark};

/// The frames that wait to be written to one connection, in the order in which they are written:
/// control frames, what an application of Socket.IO sends, volatile events, then critical, high,
/// normal and low ones.
///
/// Frames are references to shared bytes: a broadcast that waits in a thousand outboxes exists once.
/// The outbox counts bytes and leaves the limits to its owner.
#[derive(Debug, Default)]
pub struct Outbox {
    /// How many frames there are in all.
    len: usize,
    /// A frame of which the first bytes are written, or that was joined from several; the rest of it
    /// goes before anything else.
    partial: Option<Bytes>,
    /// How many bytes of messages may be joined into one frame.
    batch: usize,
    control: Queue,
    application: Queue,
    volatile: Queue,
    /// By priority, `low` first.
    events: [Queue; Priority::COUNT],
    /// Remembers what is written, if somebody may want to know.
    marks: Option<Box<Marks>>,
}

/// What the waiting frames are, and what has been written.
#[derive(Debug)]
struct Marks {
    ledger: Ledger,
    application: VecDeque<Option<Mark>>,
    events: [VecDeque<Option<Mark>>; Priority::COUNT],
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

impl Outbox {
    /// An empty outbox; it allocates nothing until something is pushed.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on [`join`](Self::join) makes one WebSocket message of up to so many bytes of several.
    pub const fn set_batch(&mut self, bytes: usize) {
        self.batch = bytes;
    }

    /// Whether what waits may wait for more, to be one message with it: events, none of them critical,
    /// that are not as many bytes yet as one message may have.
    pub(super) fn may_wait(&self) -> bool {
        let critical = &self.events[Priority::Critical as usize];
        let others = [&self.control, &self.application, critical];
        self.partial.is_none()
            && others.iter().all(|queue| queue.frames.is_empty())
            && self.bytes() < self.batch
    }

    /// Queues an answer, a heartbeat or another frame that must not wait behind events.
    pub fn push_control(&mut self, frame: Bytes) {
        self.len += 1;
        self.control.push(frame);
    }

    /// Queues a packet of the application: its packets keep their order. `mark` is what the ledger
    /// remembers once it is written.
    pub fn push_application(&mut self, frames: Bytes, mark: Option<Mark>) {
        self.len += 1;
        self.application.push(frames);
        if let Some(marks) = &mut self.marks {
            marks.application.push_back(mark);
        }
    }

    /// Queues an event's frame. `mark` is what the ledger remembers once it is written.
    pub fn push_event(&mut self, priority: Priority, frame: Bytes, mark: Option<Mark>) {
        self.len += 1;
        self.events[priority as usize].push(frame);
        if let Some(marks) = &mut self.marks {
            marks.events[priority as usize].push_back(mark);
        }
    }

    /// Remembers what is queued and written from now on.
    pub fn remember(&mut self, ledger: Ledger) {
        let unmarked = |queue: &Queue| queue.frames.iter().map(|_| None).collect();
        let (application, events) =
            (unmarked(&self.application), self.events.each_ref().map(unmarked));
        self.marks = Some(Box::new(Marks { ledger, application, events }));
    }

    /// Remembers nothing any more.
    pub(super) fn forget(&mut self) {
        self.marks = None;
    }

    /// What was written since [`remember`](Self::remember).
    pub fn ledger_mut(&mut self) -> Option<&mut Ledger> {
        self.marks.as_mut().map(|marks| &mut marks.ledger)
    }

    /// Queues a volatile event's frame; the oldest ones go while more than `limit` bytes of them
    /// wait. Returns how many went.
    pub fn push_volatile(&mut self, frame: Bytes, limit: usize) -> usize {
        self.volatile.push(frame);
        let mut dropped = 0;
        while self.volatile.bytes > limit && self.volatile.frames.len() > 1 {
            self.volatile.pop();
            dropped += 1;
        }
        self.len = self.len + 1 - dropped;
        dropped
    }

    /// Bytes of control frames waiting.
    pub const fn control_bytes(&self) -> usize {
        self.control.bytes
    }

    /// Bytes of the application's packets waiting.
    pub const fn application_bytes(&self) -> usize {
        self.application.bytes
    }

    /// Bytes of events of this priority waiting.
    pub const fn event_bytes(&self, priority: Priority) -> usize {
        self.events[priority as usize].bytes
    }

    /// Bytes of volatile events waiting.
    pub const fn volatile_bytes(&self) -> usize {
        self.volatile.bytes
    }

    /// Bytes waiting in all.
    pub fn bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, Bytes::len)
            + self.control.bytes
            + self.application.bytes
            + self.volatile.bytes
            + self.events.iter().map(|queue| queue.bytes).sum::<usize>()
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The frame to be written next, if there is exactly one.
    pub fn only(&self) -> Option<&Bytes> {
        self.first().filter(|_| self.len == 1)
    }

    /// Joins as many of the text frames to be written next as fit into one, if the connection takes
    /// them so and there are several. Returns whether [`first`](Self::first) is to be written by
    /// itself: it was joined, now or before.
    ///
    /// They are copied: small frames, for which this is, cost a vectored write more than that.
    pub fn join(&mut self) -> bool {
        if self.batch == 0 || self.len < 2 {
            return false;
        }
        if self.partial.is_some() {
            return true;
        }
        let (mut count, mut bytes) = (0, 0);
        for frame in self.queues().flat_map(|queue| queue.frames.iter()) {
            let Some(text) = text_of(frame) else { break };
            let together = bytes + text.len() + usize::from(count > 0);
            if together > self.batch {
                break;
            }
            (count, bytes) = (count + 1, together);
        }
        if count < 2 {
            return false;
        }
        let mut joined = Vec::with_capacity(websocket::header_len(bytes) + bytes);
        websocket::header(&mut joined, Opcode::Text, bytes);
        for at in 0..count {
            if at > 0 {
                joined.push(SEPARATOR);
            }
            let frame = self.pop().unwrap_or_default();
            joined.extend_from_slice(text_of(&frame).unwrap_or_default());
        }
        self.partial = Some(joined.into());
        self.len += 1;
        true
    }

    /// Fills `slices` with what is to be written next, in order, for one vectored write. Returns
    /// how many slices were filled.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let frames = self.queues().flat_map(|queue| queue.frames.iter());
        let mut filled = 0;
        for (slot, frame) in slices.iter_mut().zip(self.partial.iter().chain(frames)) {
            *slot = IoSlice::new(frame);
            filled += 1;
        }
        filled
    }

    /// Forgets the first `written` bytes of what [`gather`](Self::gather) gave.
    pub fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let Some(mut frame) = self.pop() else { return };
            if written < frame.len() {
                frame = frame.slice(written..);
                self.partial = Some(frame);
                self.len += 1;
                return;
            }
            written -= frame.len();
        }
    }

    /// The next frame to write.
    pub fn first(&self) -> Option<&Bytes> {
        let first = self.partial.as_ref();
        first.or_else(|| self.queues().find_map(|queue| queue.frames.front()))
    }

    /// Takes the next frame to write.
    pub fn pop(&mut self) -> Option<Bytes> {
        let frame = self
            .partial
            .take()
            .or_else(|| self.control.pop())
            .or_else(|| self.pop_application())
            .or_else(|| self.volatile.pop())
            .or_else(|| (0..Priority::COUNT).rev().find_map(|index| self.pop_event(index)))?;
        self.len -= 1;
        Some(frame)
    }

    fn pop_application(&mut self) -> Option<Bytes> {
        let frames = self.application.pop()?;
        if let Some(marks) = &mut self.marks {
            let mark = marks.application.pop_front().flatten();
            mark.into_iter().for_each(|mark| marks.ledger.written(mark));
        }
        Some(frames)
    }

    fn pop_event(&mut self, index: usize) -> Option<Bytes> {
        let frame = self.events[index].pop()?;
        if let Some(marks) = &mut self.marks {
            let mark = marks.events[index].pop_front().flatten();
            mark.into_iter().for_each(|mark| marks.ledger.written(mark));
        }
        Some(frame)
    }

    fn queues(&self) -> impl Iterator<Item = &Queue> {
        [&self.control, &self.application, &self.volatile]
            .into_iter()
            .chain(self.events.iter().rev())
    }
}

/// The text of a frame that is a message of text.
fn text_of(frame: &[u8]) -> Option<&[u8]> {
    let mut frames = websocket::finished(frame);
    match (frames.next()?, frames.next()) {
        ((Opcode::Text, text), None) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn gathered(outbox: &Outbox, count: usize) -> String {
        let mut slices = vec![IoSlice::new(&[]); count];
        let filled = outbox.gather(&mut slices);
        slices[..filled].iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect()
    }

    #[test]
    fn urgent_frames_go_first() {
        let mut outbox = Outbox::new();
        for priority in [Priority::Low, Priority::Critical, Priority::Normal, Priority::High] {
            outbox.push_event(priority, frame(&priority.as_str()[..1]), None);
        }
        outbox.push_volatile(frame("v"), 100);
        outbox.push_application(frame("a"), None);
        outbox.push_control(frame("!"));
        assert_eq!(gathered(&outbox, 64), "!avchnl");
        assert_eq!(gathered(&outbox, 2), "!a");
        assert_eq!((outbox.bytes(), outbox.application_bytes()), (7, 1));
    }

    #[test]
    fn a_frame_begun_is_finished_before_anything_else() {
        let mut outbox = Outbox::new();
        outbox.push_event(Priority::Low, frame("abc"), None);
        outbox.advance(1);
        assert_eq!(outbox.only(), Some(&frame("bc")));
        outbox.push_control(frame("!"));
        assert_eq!(outbox.only(), None);
        assert_eq!(gathered(&outbox, 64), "bc!");
        outbox.advance(3);
        assert!(outbox.is_empty());
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn small_messages_are_joined_into_one() {
        let framed = |text: &str| {
            let mut frame = Vec::new();
            websocket::encode(&mut frame, Opcode::Text, text.as_bytes(), None);
            Bytes::from(frame)
        };
        let mut outbox = Outbox::new();
        for text in ["[1]", "[2]", "[3]"] {
            outbox.push_event(Priority::Normal, framed(text), None);
        }
        assert!(!outbox.join(), "nobody has asked for it");
        outbox.set_batch(8);
        outbox.push_event(Priority::High, framed("[0]"), None);
        assert!(outbox.join());
        assert_eq!(outbox.first(), Some(&framed("[0]\x1e[1]")));
        outbox.advance(4);
        outbox.push_control(framed("[!]"));
        assert!(outbox.join());
        assert_eq!(outbox.first().map(Bytes::len), Some(5), "what is begun is finished first");
        outbox.advance(5);
        assert!(outbox.join());
        assert_eq!(outbox.first(), Some(&framed("[!]\x1e[2]")));
        outbox.advance(9);
        assert!(!outbox.join(), "the last one goes as it is");
        assert_eq!(outbox.only(), Some(&framed("[3]")));
        let mut ping = Vec::new();
        websocket::encode(&mut ping, Opcode::Ping, b"", None);
        outbox.push_control(ping.into());
        assert!(!outbox.join(), "a ping is no message");
        assert_eq!(outbox.len, 2);
        outbox.push_event(Priority::Low, framed(r#"["large"]"#), None);
        outbox.advance(2);
        assert!(!outbox.join());
        outbox.advance(5);
        assert!(!outbox.join());
        assert_eq!(outbox.bytes(), 11);
    }

    #[test]
    fn events_wait_for_others_unless_they_are_urgent_or_many() {
        let mut outbox = Outbox::new();
        assert!(!outbox.may_wait(), "nobody has asked for it");
        outbox.set_batch(8);
        outbox.push_volatile(frame("[v]"), 100);
        outbox.push_event(Priority::High, frame("[h]"), None);
        assert!(outbox.may_wait());
        outbox.push_event(Priority::Low, frame("[l]"), None);
        assert!(!outbox.may_wait(), "it is a whole message");
        outbox.advance(4);
        assert!(!outbox.may_wait(), "what is begun is finished");
        outbox.advance(2);
        assert!(outbox.may_wait());
        for push in [
            Outbox::push_control,
            |outbox: &mut Outbox, frame| {
                outbox.push_application(frame, None);
            },
            |outbox: &mut Outbox, frame| outbox.push_event(Priority::Critical, frame, None),
        ] {
            push(&mut outbox, frame("!"));
            assert!(!outbox.may_wait());
            outbox.advance(1);
            assert!(outbox.may_wait());
        }
    }

    #[test]
    fn volatile_frames_keep_the_newest() {
        let mut outbox = Outbox::new();
        let dropped: usize =
            ["aa", "bb", "cc"].into_iter().map(|f| outbox.push_volatile(frame(f), 4)).sum();
        assert_eq!((dropped, gathered(&outbox, 8).as_str()), (1, "bbcc"));
        assert_eq!(outbox.only(), None);
        assert_eq!(outbox.push_volatile(frame("larger than the limit"), 4), 2);
        assert_eq!(outbox.only().map(Bytes::len), Some(21));
    }
}
