//! A polling session at the server, under any order of requests, answers, probes and ends: every
//! queued message comes out once and in order, never more than one request of a kind is open, and
//! one that is made again has the answer that it had.
#![no_main]

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::Time;
use tidings_core::engineio::{
    Brought, Packet, Polled, Polling, PollingError, Probe, ProbeStep, payload,
};
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
    requests: u32,
    /// The last poll's.
    poll_stamp: Option<String>,
    /// What it got.
    answer: Option<Bytes>,
    /// The last POST's.
    post_stamp: Option<String>,
    /// Whether what it brought was taken in.
    taken: bool,
    /// Whether two stamps were seen.
    varied: bool,
}

impl Model {
    /// The stamp of a request: that of the last one of its kind, or one that is new.
    fn stamp(&mut self, again: Option<String>) -> String {
        self.requests += 1;
        again.unwrap_or_else(|| format!("t{}", self.requests))
    }

    fn see(&mut self, stamp: &str) {
        let known = [&self.poll_stamp, &self.post_stamp];
        self.varied |= known.into_iter().flatten().any(|known| known != stamp);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut session = Polling::new();
    let mut model = Model::default();
    let mut outbox = VecDeque::new();
    let mut probe = Probe::new(Time::ZERO, Duration::from_secs(1));
    let now = Time::ZERO;
    for step in data {
        let is_again = step / 12 % 2 == 1;
        match step % 12 {
            0 => {
                let again = model.poll_stamp.clone().filter(|_| is_again);
                let stamp = model.stamp(again);
                let polled = session.poll(now, Some(&stamp));
                if model.ended || model.polled {
                    let error =
                        if model.ended { PollingError::Ended } else { PollingError::Overlap };
                    assert_eq!(polled, Err(error));
                    continue;
                }
                model.see(&stamp);
                let is_last = model.varied && model.poll_stamp.as_ref() == Some(&stamp);
                let answer = model.answer.clone().filter(|_| is_last);
                assert_eq!(polled, Ok(answer.map_or(Polled::Waits, Polled::Again)));
                if polled == Ok(Polled::Waits) {
                    model.polled = true;
                    model.poll_stamp = Some(stamp);
                    model.answer = None;
                }
            }
            1 => {
                let again = model.post_stamp.clone().filter(|_| is_again);
                let stamp = model.stamp(again);
                let posted = session.post(now, Some(&stamp));
                let ended = model.ended || model.closing;
                if ended || model.posting {
                    let error = if ended { PollingError::Ended } else { PollingError::Overlap };
                    assert_eq!(posted, Err(error));
                    continue;
                }
                model.see(&stamp);
                let is_last = model.varied && model.post_stamp.as_ref() == Some(&stamp);
                let is_taken = is_last && model.taken;
                assert_eq!(posted, Ok(if is_taken { Brought::Again } else { Brought::New }));
                model.posting = true;
                if !is_taken {
                    model.post_stamp = Some(stamp);
                    model.taken = false;
                }
            }
            2 => {
                session.posted(is_again);
                model.posting = false;
                model.taken |= is_again;
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
                    model.answer = Some(body.clone());
                    let messages = payload::messages(&body, usize::MAX).expect("short enough");
                    for read in messages {
                        assert_eq!(read, Ok(Frame::Text(text(model.fetched))));
                        model.fetched += 1;
                    }
                }
            }
            5 => {
                let noop = session.noop();
                assert_eq!(noop.is_some(), model.polled);
                if noop.is_some() {
                    model.answer = noop;
                }
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
