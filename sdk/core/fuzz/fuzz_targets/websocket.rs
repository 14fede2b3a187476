//! WebSocket frames: the same whether they come at once or byte by byte, and what is read can be
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_core::message::Frame;
use tidings_core::websocket::{
    Decoder, Incoming, Opcode, ProtocolError, Role, close_payload, encode,
};

const MAX_MESSAGE: usize = 4096;

fn read(role: Role, data: &[u8], pieces: usize) -> (Vec<Incoming>, Option<ProtocolError>) {
    let mut decoder = Decoder::new(role, MAX_MESSAGE);
    let mut read = Vec::new();
    for mut piece in data.chunks(pieces) {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(incoming)) => read.push(incoming),
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
    }
    (read, None)
}

fuzz_target!(|data: &[u8]| {
    for (role, key) in [(Role::Server, Some([1, 2, 3, 4])), (Role::Client, None)] {
        let (all, error) = read(role, data, usize::MAX);
        assert_eq!(read(role, data, 1), (all.clone(), error));
        let mut written = Vec::new();
        for incoming in &all {
            let (opcode, payload) = match incoming {
                Incoming::Message(Frame::Text(text)) => (Opcode::Text, text.to_vec()),
                Incoming::Message(Frame::Binary(bytes)) => (Opcode::Binary, bytes.to_vec()),
                Incoming::Ping(bytes) => (Opcode::Ping, bytes.to_vec()),
                Incoming::Pong(bytes) => (Opcode::Pong, bytes.to_vec()),
                Incoming::Close(None) => (Opcode::Close, Vec::new()),
                Incoming::Close(Some((code, reason))) => {
                    (Opcode::Close, close_payload(*code, reason))
                }
            };
            assert!(payload.len() <= MAX_MESSAGE);
            encode(&mut written, opcode, &payload, key);
        }
        assert_eq!(read(role, &written, 7), (all, None));
    }
});
