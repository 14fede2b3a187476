//! The `sse` transport: events as Server-Sent Events, for whoever only listens.
//!
//! It has no cursor of its own to hold: an id that is sent back when it connects again is all. So
//! the server holds the cursor for it ([`Writer`]) and has it all in every id: any instance can go on
//! from it. What is queued for a connection is the same for all of them, and begins with what it does to the
//! cursor.

mod server_link;
mod writer;

use bytes::Bytes;

pub use self::server_link::ServerLink;
pub use self::writer::Writer;
use crate::event_json;
use crate::json::Writer as Json;
use crate::lane::{Cursor, Epoch, Place};
use crate::message::{Close, Delivery, Gap, Position, ServerMessage, Welcome};
use crate::websocket::{Opcode, frame_around};

/// What a frame does to the cursor of a connection: its first line is one of these and a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    /// Nothing.
    None = b'0' as isize,
    /// These are the lanes; those that are not known yet stand there.
    Begin = b'1' as isize,
    /// Everything up to there has been sent.
    Advance = b'2' as isize,
    /// The lane goes on there, whatever was before.
    Set = b'3' as isize,
}

impl Move {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            b'0' => Some(Self::None),
            b'1' => Some(Self::Begin),
            b'2' => Some(Self::Advance),
            b'3' => Some(Self::Set),
            _ => None,
        }
    }
}

/// An event, the same for every connection of this transport.
pub fn encode_event(delivery: &Delivery) -> Bytes {
    let (moves, cursor) = match delivery.position {
        Some(Position { lane, offset }) => {
            let place = Place { epoch: Epoch(0), offset };
            (Move::Advance, Cursor::from_iter([(lane, place)]))
        }
        None => (Move::None, Cursor::new()),
    };
    frame(moves, &cursor, |out| {
        data(out, |out| event_json::write(out, &delivery.event, delivery.position));
    })
}

/// What a connection is told besides events; `None` if it is not.
pub fn encode_notice(message: &ServerMessage) -> Option<Bytes> {
    match message {
        ServerMessage::Welcome(welcome) => Some(open(welcome)),
        ServerMessage::Progress(cursor) => Some(frame(Move::Set, cursor, |_| {})),
        ServerMessage::Gap(gap) => Some(encode_gap(gap)),
        ServerMessage::Close(close) => Some(encode_close(close)),
        _ => None,
    }
}

/// What keeps a connection open on which nothing happens.
fn comment() -> Bytes {
    frame(Move::None, &Cursor::new(), |out| out.extend_from_slice(b":\n"))
}

fn open(welcome: &Welcome) -> Bytes {
    frame(Move::Begin, &welcome.cursor, |out| {
        named(out, "tidings.open", |w| {
            w.key("instance").str(&welcome.instance);
            if let Some(left) = welcome.expires_in {
                w.key("expires_in").u64(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            }
        });
    })
}

fn encode_gap(gap: &Gap) -> Bytes {
    let place = Place { epoch: gap.epoch, offset: gap.to };
    frame(Move::Set, &Cursor::from_iter([(gap.lane, place)]), |out| {
        named(out, "tidings.gap", |w| {
            w.key("lane").u64(gap.lane.number().into()).key("priority");
            w.str(gap.lane.priority().as_str());
            w.key("from").u64(gap.from.0).key("to").u64(gap.to.0);
        });
    })
}

fn encode_close(close: &Close) -> Bytes {
    frame(Move::None, &Cursor::new(), |out| {
        if let Some(delay) = close.delay {
            out.extend_from_slice(format!("retry: {}\n", delay.as_millis()).as_bytes());
        }
        named(out, "tidings.close", |w| {
            w.key("code").u64(close.code.0.into()).key("reason").str(&close.reason);
        });
    })
}

/// A finished frame: what it does to the cursor, and lines.
fn frame(moves: Move, cursor: &Cursor, lines: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    frame_around(Opcode::Text, 0, |out| {
        out.push(moves as u8);
        out.extend_from_slice(cursor.to_string().as_bytes());
        out.push(b'\n');
        lines(out);
    })
}

fn named(out: &mut Vec<u8>, event: &str, members: impl FnOnce(&mut Json<'_>)) {
    out.extend_from_slice(format!("event: {event}\n").as_bytes());
    data(out, |out| {
        let mut json = Json::new(out);
        members(json.begin_object());
        json.end_object();
    });
}

/// One line of JSON: what breaks lines there is space between its parts.
fn data(out: &mut Vec<u8>, json: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"data: ");
    let begin = out.len();
    json(out);
    for byte in out.iter_mut().skip(begin).filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    out.push(b'\n');
}
