//! Events as they stand in the store, and the notices in which they come.

use std::sync::Arc;

use crate::event::Headers;
use crate::event::{Event, Payload, Priority};
use crate::lane::{Epoch, Lane, Offset};
use crate::log::Entry;
use bytes::Bytes;

/// The format of [`encode`]; others are not read.
const VERSION: u8 = 1;

const BINARY: u8 = 1;

/// An event without what its place in the log says: lane, offset and time.
pub fn encode(event: &Event) -> Vec<u8> {
    let payload = event.payload.bytes();
    let mut out = Vec::with_capacity(16 + event.name.len() + event.id.len() + payload.len());
    let flags = if matches!(event.payload, Payload::Binary(_)) { BINARY } else { 0 };
    out.extend([VERSION, flags]);
    put(&mut out, event.name.as_bytes());
    put(&mut out, event.id.as_bytes());
    out.extend((event.headers.iter().count() as u32).to_be_bytes());
    for (key, value) in event.headers.iter() {
        put(&mut out, key.as_bytes());
        put(&mut out, value.as_bytes());
    }
    out.extend_from_slice(payload);
    out
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend((part.len() as u32).to_be_bytes());
    out.extend_from_slice(part);
}

/// What [`encode`] wrote, of this priority; its time is not set. `None` if it is not readable.
pub fn decode(priority: Priority, bytes: &[u8]) -> Option<Event> {
    let mut rest = bytes;
    let ([VERSION, flags], after) = (take(&mut rest, 2)?, &mut rest) else { return None };
    let name = Arc::from(take_text(after)?);
    let id = Arc::from(take_text(after)?);
    let headers = take_number(after)?;
    let mut pairs = Vec::new();
    for _ in 0..headers {
        pairs.push((take_text(after)?.to_owned(), take_text(after)?.to_owned()));
    }
    let payload = Bytes::copy_from_slice(after);
    let binary = flags & BINARY != 0;
    Some(Event {
        name,
        payload: if binary { Payload::Binary(payload) } else { Payload::Json(payload) },
        id,
        priority,
        time: 0,
        headers: Headers::new(pairs),
    })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (part, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(part)
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = take(rest, 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = take_number(rest)?;
    std::str::from_utf8(take(rest, len)?).ok()
}

/// The entry of an [encoded](encode) event that stands at `offset`; `None` if it cannot be understood.
pub fn entry(
    lane: Lane,
    offset: u64,
    producer: &[u8],
    number: u64,
    event: &[u8],
    moved_from: Option<u64>,
) -> Option<Entry> {
    let mut event = decode(lane.priority(), event)?;
    // What was put back elsewhere is the same event.
    let first = moved_from.unwrap_or(offset);
    event.time = first / 1000;
    if event.id.is_empty() {
        event.id = format!("{}-{first}", lane.number()).into();
    }
    let producer = std::str::from_utf8(producer).ok()?;
    Some(Entry {
        offset: Offset(offset),
        event,
        producer: (!producer.is_empty()).then(|| (producer.into(), number)),
        moved_from: moved_from.map(Offset),
    })
}

/// What comes over a partition's channel. See docs/redis.md for the bytes.
#[derive(Debug)]
pub enum Notice<'a> {
    /// Events were appended.
    Appended(Appended<'a>),
    /// A volatile event, from this instance.
    Volatile {
        /// The instance.
        sender: &'a str,
        /// The event.
        event: Event,
    },
}

/// Events that were appended to one lane, in order.
#[derive(Debug, Clone)]
pub struct Appended<'a> {
    /// Of the lane.
    pub priority: Priority,
    /// The epoch of the log.
    pub epoch: Epoch,
    rest: &'a [u8],
}

/// One of the events that were appended.
#[derive(Debug)]
pub struct AppendedEvent<'a> {
    /// Its place.
    pub offset: Offset,
    /// The place of the event before it.
    pub previous: Offset,
    moved_from: Option<u64>,
    producer: &'a [u8],
    number: u64,
    event: &'a [u8],
}

impl AppendedEvent<'_> {
    /// As it stands in the log; `None` if it cannot be understood.
    pub fn entry(&self, lane: Lane) -> Option<Entry> {
        let Self { offset, moved_from, producer, number, event, .. } = *self;
        entry(lane, offset.0, producer, number, event, moved_from)
    }
}

impl<'a> Notice<'a> {
    /// Reads a message; `None` if it is none.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = message.split_first()?;
        let (&digit, mut rest) = rest.split_first()?;
        let priority = Priority::from_index(digit.checked_sub(b'0')?)?;
        match kind {
            b'E' => {
                let epoch = Epoch(u32::try_from(number(&mut rest)?).ok()?);
                Some(Self::Appended(Appended { priority, epoch, rest }))
            }
            b'V' => {
                let sender = take_text(&mut rest)?;
                Some(Self::Volatile { sender, event: decode(priority, rest)? })
            }
            _ => None,
        }
    }

    /// The message for a volatile event.
    pub fn volatile(sender: &str, event: &Event) -> Vec<u8> {
        let mut message = vec![b'V', b'0' + event.priority as u8];
        put(&mut message, sender.as_bytes());
        message.extend(encode(event));
        message
    }
}

impl<'a> Iterator for Appended<'a> {
    type Item = AppendedEvent<'a>;

    fn next(&mut self) -> Option<AppendedEvent<'a>> {
        let rest = &mut self.rest;
        let offset = number(rest)?;
        let previous = number(rest)?;
        let moved_from = field(rest)?;
        let producer_len = number(rest)?;
        let sequence = number(rest)?;
        let event_len = number(rest)?;
        Some(AppendedEvent {
            offset: Offset(offset),
            previous: Offset(previous),
            moved_from: if moved_from.is_empty() { None } else { Some(parse_number(moved_from)?) },
            producer: take(rest, usize::try_from(producer_len).ok()?)?,
            number: sequence,
            event: take(rest, usize::try_from(event_len).ok()?)?,
        })
    }
}

/// What stands before the next colon.
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b':')?;
    let part = take(rest, end)?;
    take(rest, 1)?;
    Some(part)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    parse_number(field(rest)?)
}

/// A whole number in decimal digits.
pub fn parse_number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            name: "orders.eu".into(),
            payload: Payload::Binary(Bytes::from_static(b":\0:")),
            id: "x".into(),
            priority: Priority::High,
            time: 0,
            headers: Headers::new([("k".to_owned(), "v:".to_owned())]),
        }
    }

    #[test]
    fn events_survive() {
        assert_eq!(decode(Priority::High, &encode(&event())), Some(event()));
        let plain = Event {
            payload: Payload::Json(Bytes::from_static(b"{}")),
            headers: Headers::NONE,
            ..event()
        };
        assert_eq!(decode(Priority::High, &encode(&plain)), Some(plain));
    }

    #[test]
    fn broken_bytes_are_no_event() {
        let whole = encode(&event());
        for end in 0..whole.len() - 3 {
            assert_eq!(decode(Priority::High, &whole[..end]), None, "{end}");
        }
        assert_eq!(decode(Priority::High, &[9, 0, 0, 0, 0, 0]), None);
        let mut huge = encode(&event());
        huge[2..6].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(decode(Priority::High, &huge), None);
    }

    #[test]
    fn notices_are_read_as_the_script_writes_them() {
        let blob = encode(&event());
        let mut message = format!("E27:100:90::2:5:{}:p1", blob.len()).into_bytes();
        message.extend(&blob);
        message.extend(format!("120:100:80:0:0:{}:", blob.len()).into_bytes());
        message.extend(&blob);
        let Some(Notice::Appended(mut appended)) = Notice::parse(&message) else { panic!() };
        assert_eq!((appended.priority, appended.epoch), (Priority::High, Epoch(7)));
        let lane = Lane::new(1, Priority::High);
        let first = appended.next().unwrap();
        assert_eq!((first.offset, first.previous), (Offset(100), Offset(90)));
        let entry = first.entry(lane).unwrap();
        assert_eq!(entry.producer, Some(("p1".into(), 5)));
        let second = appended.next().unwrap().entry(lane).unwrap();
        assert_eq!((second.moved_from, second.producer), (Some(Offset(80)), None));
        assert!(appended.next().is_none());
        for bad in [&b""[..], b"E", b"E9", b"X0", b"E27"] {
            assert!(Notice::parse(bad).is_none());
        }
    }

    #[test]
    fn volatile_events_name_their_sender() {
        let message = Notice::volatile("i1", &event());
        let Some(Notice::Volatile { sender, event: read }) = Notice::parse(&message) else {
            panic!()
        };
        assert_eq!((sender, read), ("i1", event()));
    }
}
