//! A whole ws connection at the client, in either encoding: messages divided by zero bytes (JSON)
//! or by the byte MessagePack never uses.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::Time;
use tidings_core::link::LinkConfig;
use tidings_core::message::{Frame, Hello};
use tidings_core::msgpack::from_json;
use tidings_core::ws::{ClientLink, Encoding};

const WELCOME: &str = concat!(
    r#"["welcome",{"v":1,"session":"s","resumed":false,"instance":"i","ping":[25000,20000],"#,
    r#""max_payload":1000,"max_in_flight":8,"cursor":[],"refused":[]}]"#,
);

fuzz_target!(|data: &[u8]| {
    let mut welcome = Vec::new();
    from_json(WELCOME.as_bytes(), &mut welcome, 8).expect("JSON");
    for (encoding, between, welcome) in [
        (Encoding::Json, 0, Frame::Text(WELCOME.into())),
        (Encoding::Msgpack, 0xC1, Frame::Binary(welcome.into())),
    ] {
        let config = LinkConfig { max_frame: 4096, ..LinkConfig::default() };
        let mut link = ClientLink::new(config, Hello::default(), Time::ZERO);
        link.opened(Time::ZERO, Some(encoding.subprotocol())).expect("a known subprotocol");
        link.receive(Time::ZERO, welcome).expect("a good welcome");
        for part in data.split(|byte| *byte == between) {
            let bytes = Bytes::copy_from_slice(part);
            let frame = match encoding {
                Encoding::Json => Frame::Text(bytes),
                Encoding::Msgpack => Frame::Binary(bytes),
            };
            if link.receive(Time::ZERO, frame).is_err() {
                break;
            }
            while link.poll_message().is_some() || link.poll_frame().is_some() {}
        }
    }
});
