//! A polling session at the server, under any order of requests, answers, probes and ends: every
//! queued message comes out once and in order, and never more than one request of a kind is open.
#![no_main]

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::Time;
use tidings_core::engineio::{Packet, Polling, PollingError, Probe, ProbeStep, payload};
use tidings_core::message::Frame;
use tidings_core::websocket::{self, Opcode};

#[derive(Default)]
struct Model {
    polled: bool,
    posting: bool,
    probing: bool,
    closing: bool,
    ended: bool,
    queued: u32,
    fetched: u32,
}

fuzz_target!(|data: &[u8]| {
    let mut session = Polling::new();
    let mut model = Model::default();
    let mut outbox = VecDeque::new();
    let mut probe = Probe::new(Time::ZERO, Duration::from_secs(1));
    let now = Time::ZERO;
    for step in data {
        match step % 12 {
            0 => {
                let open = match (model.ended, model.polled) {
                    (true, _) => Err(PollingError::Ended),
                    (false, true) => Err(PollingError::Overlap),
                    (false, false) => Ok(()),
                };
                assert_eq!(session.poll(now), open);
                model.polled |= open.is_ok();
            }
            1 => {
                let open = match (model.ended || model.closing, model.posting) {
                    (true, _) => Err(PollingError::Ended),
                    (false, true) => Err(PollingError::Overlap),
                    (false, false) => Ok(()),
                };
                assert_eq!(session.post(now), open);
                model.posting |= open.is_ok();
            }
            2 => {
                session.posted();
                model.posting = false;
            }
            3 => {
                outbox.push_back(message(model.queued));
                model.queued += 1;
            }
            4 => {
                let max = usize::from(step / 12) + 1;
                let body = session.answer(max, |_| outbox.pop_front());
                let expected = model.polled && model.fetched < model.queued;
                assert_eq!(body.is_some(), expected);
                if let Some(body) = body {
                    model.polled = false;
                    let messages = payload::messages(&body, usize::MAX).expect("short enough");
                    for read in messages {
                        assert_eq!(read, Ok(Frame::Text(text(model.fetched))));
                        model.fetched += 1;
                    }
                }
            }
            5 => {
                assert_eq!(session.noop().is_some(), model.polled);
                model.polled = false;
            }
            6 => {
                assert_eq!(session.poll_abandoned(), model.polled);
                model.polled = false;
            }
            7 => {
                let begins = !(model.probing || model.closing || model.ended);
                assert_eq!(session.begin_probe(now), begins);
                model.probing |= begins;
            }
            8 => {
                session.end_probe();
                model.probing = false;
            }
            9 => {
                session.close();
                model.closing = true;
            }
            10 => {
                session.end();
                model.ended = true;
            }
            _ => {
                let packet = match step / 12 {
                    0 => Packet::Ping(Bytes::from_static(b"probe")),
                    1 => Packet::Upgrade,
                    other => Packet::Ping(Bytes::copy_from_slice(&[other])),
                };
                if let ProbeStep::Answer(answer) = probe.receive(now, &packet) {
                    assert_eq!(answer, Packet::Pong(Bytes::from_static(b"probe")));
                }
            }
        }
        let may_move = model.probing && !model.closing && !model.ended;
        assert_eq!(session.may_move(), may_move);
    }
});

fn text(number: u32) -> Bytes {
    format!("4{number}").into()
}

fn message(number: u32) -> Bytes {
    let mut frame = Vec::new();
    websocket::encode(&mut frame, Opcode::Text, &text(number), None);
    frame.into()
}
