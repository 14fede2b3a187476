//! What HTTP requests ask of an Engine.IO server: any query is read, and judged the same whatever
//! stands around the parameters that mean something. Posted bodies give the same messages at once
//! and one by one.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::engineio::request::{Carrier, Method, Query, Served, check};
use tidings_core::engineio::payload::{self, PayloadLimits};
use tidings_core::engineio::Packet;

fuzz_target!(|data: &[u8]| {
    if let Ok(query) = std::str::from_utf8(data) {
        let read = Query::parse(query);
        assert_ne!(read.sid(), Some(""));
        let around = format!("t=abc&&{query}&b64=1&%zz=%");
        assert_eq!(Query::parse(&around), read);
        for session in [None, Some(Carrier::Polling), Some(Carrier::WebSocket)] {
            for method in [Method::Get, Method::Post, Method::Other] {
                for upgrade in [false, true] {
                    let asked = check(method, upgrade, &read, session, Served::default());
                    if let Err(error) = asked {
                        assert!(matches!(error.status(), 400 | 403));
                    }
                }
            }
        }
    }
    let body = Bytes::copy_from_slice(data);
    let limits = PayloadLimits { max_bytes: 4096, max_packets: usize::MAX };
    let at_once = payload::decode(&body, limits);
    let Ok(messages) = payload::messages(&body, 4096) else {
        assert!(at_once.is_err());
        return;
    };
    let one_by_one: Result<Vec<_>, _> =
        messages.map(|message| message.and_then(Packet::decode)).collect();
    assert_eq!(one_by_one, at_once);
});
