//! Engine.IO: HTTP bodies, packets and the handshake. What is decoded must be encoded again as it
//! was, or as its plain spelling.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::engineio::payload::{self, PayloadLimits, PayloadWriter};
use tidings_core::engineio::{Handshake, Packet};
use tidings_core::message::Frame;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    if let Ok(handshake) = Handshake::from_json(&body) {
        assert_eq!(Handshake::from_json(&handshake.to_json()), Ok(handshake));
    }
    if let Ok(packet) = Packet::decode(Frame::Text(body.clone())) {
        assert_eq!(Packet::decode(packet.encode()), Ok(packet));
    }
    let limits = PayloadLimits { max_bytes: 4096, max_packets: 16 };
    if let Ok(packets) = payload::decode(&body, limits) {
        assert!(packets.len() <= 16);
        let mut writer = PayloadWriter::new(usize::MAX);
        assert!(packets.iter().all(|packet| writer.push(packet)));
        let limits = PayloadLimits { max_bytes: usize::MAX, ..limits };
        assert_eq!(payload::decode(&writer.finish(), limits), Ok(packets));
    }
});
