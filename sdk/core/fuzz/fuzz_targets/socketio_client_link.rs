//! A whole Socket.IO connection at the client, after the handshake: messages divided by zero
//! bytes, binary ones marked by 0xff.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::link::LinkConfig;
use tidings_core::message::{ClientMessage, Frame, Hello, RequestId};
use tidings_core::socketio::ClientLink;
use tidings_core::{Payload, Time};

const WELCOME: [&str; 2] = [
    r#"0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#,
    concat!(
        r#"40{"sid":"s","tidings":{"v":1,"session":"s","resumed":false,"instance":"i","#,
        r#""ping":[25000,20000],"max_payload":1000,"max_in_flight":8}}"#,
    ),
];

fuzz_target!(|data: &[u8]| {
    let mut link = ClientLink::new(LinkConfig::default(), Hello::default(), Time::ZERO);
    link.opened(Time::ZERO, None).expect("any subprotocol is taken");
    for text in WELCOME {
        link.receive(Time::ZERO, Frame::Text(text.into())).expect("a good handshake");
    }
    for id in 0..4 {
        let (id, name, payload) = (RequestId(id), "ask".into(), Payload::NULL);
        link.send(ClientMessage::Request { id, name, payload });
    }
    link.send(ClientMessage::Token("t".into()));
    for part in data.split(|byte| *byte == 0) {
        let frame = match part.strip_prefix(b"\xff") {
            Some(data) => Frame::Binary(Bytes::copy_from_slice(data)),
            None => Frame::Text(Bytes::copy_from_slice(part)),
        };
        if link.receive(Time::ZERO, frame).is_err() {
            return;
        }
        while link.poll_message().is_some() || link.poll_frame().is_some() {}
    }
});
