//! A whole ws connection at the server, in either encoding: messages divided by zero bytes (JSON)
//! or by the byte MessagePack never uses. What is understood survives being written again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::Time;
use tidings_core::link::{LinkConfig, ServerLinkConfig};
use tidings_core::message::{ClientMessage, Frame, Hello};
use tidings_core::ws::{ClientLink, Encoding, ServerLink};

fn frame(encoding: Encoding, bytes: &[u8]) -> Frame {
    let bytes = Bytes::copy_from_slice(bytes);
    match encoding {
        Encoding::Json => Frame::Text(bytes),
        Encoding::Msgpack => Frame::Binary(bytes),
    }
}

fn open(encoding: Encoding) -> (ClientLink, ServerLink) {
    let mut client = ClientLink::new(LinkConfig::default(), Hello::default(), Time::ZERO);
    client.opened(Time::ZERO, Some(encoding.subprotocol())).expect("a known subprotocol");
    let config = ServerLinkConfig { max_frame: 4096, ..ServerLinkConfig::default() };
    let mut server = ServerLink::new(config, encoding, Time::ZERO);
    let hello = client.poll_frame().expect("the hello");
    server.receive(Time::ZERO, hello).expect("a hello");
    server.poll_message().expect("the hello");
    (client, server)
}

fuzz_target!(|data: &[u8]| {
    for (encoding, between) in [(Encoding::Json, 0), (Encoding::Msgpack, 0xC1)] {
        let (mut client, mut server) = open(encoding);
        for part in data.split(|byte| *byte == between) {
            if server.receive(Time::ZERO, frame(encoding, part)).is_err() {
                break;
            }
            while server.poll_frame().is_some() {}
            let Some(message) = server.poll_message() else { continue };
            if matches!(message, ClientMessage::Hello(_)) {
                continue;
            }
            client.send(message.clone());
            let written = client.poll_frame().expect("a frame");
            let (_, mut other) = open(encoding);
            let again = other.receive(Time::ZERO, written).map(|()| other.poll_message());
            match (encoding, again) {
                (Encoding::Json, again) => assert_eq!(again, Ok(Some(message))),
                // Numbers are spelled anew, and may then be longer than a message may be.
                (Encoding::Msgpack, again) => assert!(again.is_ok()),
            }
        }
    }
});
