//! WebSocket framing against tungstenite, both ways.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use tidings_core::message::{CloseCode, Frame};
use tidings_core::websocket::{
    Decoder, Incoming, Opcode, ProtocolError, Role, close_payload, encode, header, header_len,
};
use tungstenite::protocol::{self, WebSocketConfig};
use tungstenite::{Error as ForeignError, Message, WebSocket};

/// A socket that has received some bytes and keeps what is written.
#[derive(Default)]
struct Pipe {
    received: io::Cursor<Vec<u8>>,
    sent: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.received.read(buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.sent.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn foreign(role: Role, received: Vec<u8>) -> WebSocket<Pipe> {
    let role = match role {
        Role::Server => protocol::Role::Server,
        Role::Client => protocol::Role::Client,
    };
    let pipe = Pipe { received: io::Cursor::new(received), sent: Vec::new() };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocket::from_raw_socket(pipe, role, Some(config))
}

const MAX_MESSAGE: usize = 100_000;

/// What tungstenite reads; the flag says whether it ended in an error.
fn foreign_reads(role: Role, bytes: Vec<u8>) -> (Vec<Incoming>, bool) {
    let mut socket = foreign(role, bytes);
    let mut read = Vec::new();
    loop {
        read.push(match socket.read() {
            Ok(Message::Text(text)) => Incoming::Message(Frame::Text(text.into())),
            Ok(Message::Binary(bytes)) => Incoming::Message(Frame::Binary(bytes)),
            Ok(Message::Ping(bytes)) => Incoming::Ping(bytes),
            Ok(Message::Pong(bytes)) => Incoming::Pong(bytes),
            Ok(Message::Close(close)) => Incoming::Close(
                close.map(|c| (CloseCode(c.code.into()), c.reason.as_str().to_owned())),
            ),
            Ok(Message::Frame(_)) => unreachable!("only written"),
            Err(ForeignError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                return (read, false);
            }
            Err(ForeignError::ConnectionClosed) => return (read, false),
            Err(_) => return (read, true),
        });
    }
}

/// What we read when the bytes come in pieces.
fn we_read(role: Role, bytes: &[u8], pieces: usize) -> (Vec<Incoming>, Option<ProtocolError>) {
    let mut decoder = Decoder::new(role, MAX_MESSAGE);
    let mut read = Vec::new();
    for mut piece in bytes.chunks(pieces.max(1)) {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(incoming)) => read.push(incoming),
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
        assert!(piece.is_empty(), "None means that everything was taken");
    }
    (read, None)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![5 => 0..40_usize, 2 => 120..131_usize, 1 => 65_530..65_545_usize];
    len.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len))
}

fn incoming() -> impl Strategy<Value = Incoming> {
    let short = || prop::collection::vec(any::<u8>(), 0..126);
    prop_oneof![
        payload().prop_map(|bytes| Incoming::Message(Frame::Binary(bytes.into()))),
        any::<String>().prop_map(|text| Incoming::Message(Frame::Text(text.into()))),
        short().prop_map(|bytes| Incoming::Ping(bytes.into())),
        short().prop_map(|bytes| Incoming::Pong(bytes.into())),
    ]
}

fn opcode_and_payload(incoming: &Incoming) -> (Opcode, Vec<u8>) {
    match incoming {
        Incoming::Message(Frame::Text(bytes)) => (Opcode::Text, bytes.to_vec()),
        Incoming::Message(Frame::Binary(bytes)) => (Opcode::Binary, bytes.to_vec()),
        Incoming::Ping(bytes) => (Opcode::Ping, bytes.to_vec()),
        Incoming::Pong(bytes) => (Opcode::Pong, bytes.to_vec()),
        Incoming::Close(None) => (Opcode::Close, Vec::new()),
        Incoming::Close(Some((code, reason))) => (Opcode::Close, close_payload(*code, reason)),
    }
}

/// One frame with its header bits as given, so that it can be wrong.
fn raw_frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, Opcode::Text, payload, mask);
    out[0] = first;
    out
}

/// The key clients mask with in these tests.
fn key_for(role: Role) -> Option<[u8; 4]> {
    (role == Role::Server).then_some([0x37, 0xfa, 0x21, 0x3d])
}

proptest! {
    #[test]
    fn what_we_write_both_read(
        all in prop::collection::vec((incoming(), any::<[u8; 4]>()), 0..6),
        role in role(),
        pieces in prop_oneof![1..20_usize, 100..10_000_usize, Just(usize::MAX)],
    ) {
        let mut bytes = Vec::new();
        for (incoming, key) in &all {
            let (opcode, payload) = opcode_and_payload(incoming);
            encode(&mut bytes, opcode, &payload, (role == Role::Server).then_some(*key));
        }
        let all: Vec<_> = all.into_iter().map(|(incoming, _)| incoming).collect();
        prop_assert_eq!(&we_read(role, &bytes, pieces), &(all.clone(), None));
        prop_assert_eq!(foreign_reads(role, bytes), (all, false));
    }

    #[test]
    fn what_tungstenite_writes_we_read(
        all in prop::collection::vec(incoming(), 0..6),
        role in role(),
        pieces in prop_oneof![1..20_usize, Just(usize::MAX)],
    ) {
        let writer = if role == Role::Server { Role::Client } else { Role::Server };
        let mut socket = foreign(writer, Vec::new());
        for incoming in &all {
            let message = match incoming.clone() {
                Incoming::Message(Frame::Text(text)) => {
                    Message::text(String::from_utf8(text.to_vec()).expect("text"))
                }
                Incoming::Message(Frame::Binary(bytes)) => Message::Binary(bytes),
                Incoming::Ping(bytes) => Message::Ping(bytes),
                Incoming::Pong(bytes) => Message::Pong(bytes),
                Incoming::Close(_) => unreachable!("not generated"),
            };
            socket.send(message).expect("a pipe takes everything");
        }
        prop_assert_eq!(we_read(role, &socket.get_ref().sent, pieces), (all, None));
    }

    /// Frames with arbitrary header bits and fragments in any order: the same messages before the
    /// same error. (Tungstenite checks UTF-8 part by part, so that control frames between the parts
    /// may come before the error or not.)
    #[test]
    fn wrong_frames_get_the_same_verdict(
        frames in prop::collection::vec((
            prop_oneof![
                8 => prop::sample::select(vec![0x00, 0x80, 0x01, 0x81, 0x02, 0x82, 0x89, 0x8a_u8]),
                1 => any::<u8>(),
            ],
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..130),
                "[aé]{0,4}".prop_map(String::into_bytes),
                prop::sample::select(vec![vec![0xc3], vec![0xa9]]),
            ],
            prop::bool::weighted(0.95),
        ), 0..8),
        role in role(),
        pieces in prop_oneof![1..20_usize, Just(usize::MAX)],
    ) {
        let mut bytes = Vec::new();
        for (first, payload, right_mask) in frames {
            // Close frames are compared below: tungstenite corrects bad codes instead of failing.
            if first & 0x0F == 8 {
                continue;
            }
            let mask = if right_mask { key_for(role) } else { key_for(role).xor(Some([1, 2, 3, 4])) };
            bytes.extend(raw_frame(first, &payload, mask));
        }
        // A message that was begun is completed.
        bytes.extend(raw_frame(0x80, b"", key_for(role)));
        let (mut ours, error) = we_read(role, &bytes, pieces);
        let (mut theirs, failed) = foreign_reads(role, bytes);
        for read in [&mut ours, &mut theirs] {
            read.retain(|incoming| matches!(incoming, Incoming::Message(_)));
        }
        prop_assert_eq!((ours, error.is_some()), (theirs, failed));
    }

    #[test]
    fn arbitrary_bytes_are_harmless(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        role in role(),
        pieces in 1..50_usize,
    ) {
        let whole = we_read(role, &bytes, usize::MAX);
        prop_assert_eq!(we_read(role, &bytes, pieces), whole);
    }

    #[test]
    fn closes_tell_code_and_reason(code in prop_oneof![1000..1004_u16, 3000..5000_u16], reason: String) {
        for role in [Role::Server, Role::Client] {
            let payload = close_payload(CloseCode(code), &reason);
            let mut bytes = Vec::new();
            encode(&mut bytes, Opcode::Close, &payload, key_for(role));
            let (ours, error) = we_read(role, &bytes, 3);
            prop_assert_eq!(error, None);
            let [Incoming::Close(Some((read_code, read_reason)))] = &ours[..] else {
                panic!("{ours:?}");
            };
            prop_assert_eq!(read_code.0, code);
            prop_assert!(reason.starts_with(read_reason.as_str()));
            prop_assert!(read_reason.len() >= reason.len().min(120), "cut only where it must be");
            prop_assert_eq!(foreign_reads(role, bytes), (ours, false));
        }
    }

    #[test]
    fn header_lengths_are_told_before(len in prop_oneof![0..300_usize, 65_000..66_000_usize, any::<u32>().prop_map(|n| n as usize)]) {
        let mut out = Vec::new();
        header(&mut out, Opcode::Binary, len);
        prop_assert_eq!(out.len(), header_len(len));
    }
}

fn error_of(role: Role, bytes: &[u8]) -> ProtocolError {
    let error = we_read(role, bytes, usize::MAX).1.expect("an error");
    assert_eq!(we_read(role, bytes, 1).1, Some(error), "the same byte by byte");
    error
}

#[test]
fn each_violation_has_its_name_and_code() {
    let client = |first, payload: &[u8]| raw_frame(first, payload, None);
    for (bytes, expected, code) in [
        (client(0xC1, b""), ProtocolError::ReservedBits, 1002),
        (client(0x83, b""), ProtocolError::Opcode(3), 1002),
        (raw_frame(0x81, b"", Some([1; 4])), ProtocolError::Masked, 1002),
        (vec![0x82, 126, 0, 125], ProtocolError::Length, 1002),
        (vec![0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], ProtocolError::Length, 1002),
        (vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], ProtocolError::Length, 1002),
        (client(0x09, b""), ProtocolError::Control, 1002),
        (vec![0x89, 126, 0, 126], ProtocolError::Control, 1002),
        (client(0x80, b""), ProtocolError::Continuation, 1002),
        ([client(0x01, b""), client(0x81, b"")].concat(), ProtocolError::Interleaved, 1002),
        (client(0x88, b"\x03"), ProtocolError::Close, 1002),
        (client(0x88, &1005_u16.to_be_bytes()), ProtocolError::Close, 1002),
        (client(0x88, &999_u16.to_be_bytes()), ProtocolError::Close, 1002),
        (client(0x88, b"\x03\xe8\xff"), ProtocolError::Utf8, 1007),
        (client(0x81, b"\xff"), ProtocolError::Utf8, 1007),
        (
            client(0x82, &vec![0; MAX_MESSAGE + 1]),
            ProtocolError::TooLarge { limit: MAX_MESSAGE },
            1009,
        ),
        (
            [client(0x02, &vec![0; MAX_MESSAGE]), client(0x80, b"1")].concat(),
            ProtocolError::TooLarge { limit: MAX_MESSAGE },
            1009,
        ),
    ] {
        assert_eq!(error_of(Role::Client, &bytes), expected);
        assert_eq!(expected.close_code(), CloseCode(code));
    }
    assert_eq!(error_of(Role::Server, &client(0x81, b"")), ProtocolError::Unmasked);
}

#[test]
fn a_message_of_the_largest_size_is_taken_in_parts_too() {
    let half = vec![7; MAX_MESSAGE / 2];
    let bytes = [raw_frame(0x02, &half, None), raw_frame(0x80, &half, None)].concat();
    let expected = Incoming::Message(Frame::Binary(vec![7; MAX_MESSAGE].into()));
    assert_eq!(we_read(Role::Client, &bytes, 1000), (vec![expected], None));
}

#[test]
fn control_frames_may_stand_between_parts() {
    let bytes = [
        raw_frame(0x01, "é".as_bytes().split_at(1).0, None),
        raw_frame(0x89, b"p", None),
        raw_frame(0x80, "é".as_bytes().split_at(1).1, None),
    ]
    .concat();
    let expected = vec![
        Incoming::Ping(b"p"[..].into()),
        Incoming::Message(Frame::Text("é".as_bytes().into())),
    ];
    assert_eq!(we_read(Role::Client, &bytes, 1), (expected, None));
}

#[test]
fn nothing_is_read_after_a_close_or_an_error() {
    let text = raw_frame(0x81, b"late", None);
    let closed = [raw_frame(0x88, b"", None), text.clone()].concat();
    assert_eq!(we_read(Role::Client, &closed, usize::MAX), (vec![Incoming::Close(None)], None));

    let mut decoder = Decoder::new(Role::Client, 10);
    let mut bad: &[u8] = &[0xFF, 0];
    assert!(decoder.decode(&mut bad).is_err());
    let mut late = &text[..];
    assert_eq!(decoder.decode(&mut late), Ok(None));
    assert!(late.is_empty());
}
