//! The msgpack parser of Socket.IO. What is decoded must survive another round.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::message::Frame;
use tidings_core::socketio::{PacketLimits, msgpack};

const LIMITS: PacketLimits =
    PacketLimits { max_bytes: 4096, max_depth: 8, max_arguments: 8, max_attachments: 4 };

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = msgpack::decode(&Bytes::copy_from_slice(data), &LIMITS) else { return };
    let Frame::Binary(message) = msgpack::frame(&packet) else { panic!("not binary") };
    // A map that looks like a placeholder becomes binary where there is some to stand for.
    if packet.args().is_some_and(|args| !args.attachments().is_empty()) {
        return;
    }
    let limits = PacketLimits { max_bytes: usize::MAX, ..LIMITS };
    assert_eq!(msgpack::decode(&message, &limits), Ok(packet));
});
