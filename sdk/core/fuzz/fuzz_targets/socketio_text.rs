//! The default Socket.IO parser: a text and the attachments after it, divided by zero bytes. What
//! is decoded must survive another round.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::message::Frame;
use tidings_core::socketio::{DecodeError, Packet, PacketLimits, text};

const LIMITS: PacketLimits =
    PacketLimits { max_bytes: 4096, max_depth: 8, max_arguments: 8, max_attachments: 4 };

fn decode(frames: impl Iterator<Item = Frame>) -> Result<Option<Packet>, DecodeError> {
    let mut decoder = text::Decoder::new(LIMITS);
    for frame in frames {
        if let Some(packet) = decoder.receive(frame)? {
            return Ok(Some(packet));
        }
    }
    Ok(None)
}

fuzz_target!(|data: &[u8]| {
    let frames = data.split(|byte| *byte == 0).enumerate().map(|(i, part)| {
        let part = Bytes::copy_from_slice(part);
        // A link is given text that was checked to be UTF-8, but must not rely on it.
        if i == 0 { Frame::Text(part) } else { Frame::Binary(part) }
    });
    if let Ok(Some(packet)) = decode(frames) {
        assert_eq!(decode(text::frames(&packet)), Ok(Some(packet)));
    }
});
