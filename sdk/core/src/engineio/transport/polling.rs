//! A session carried by HTTP requests: one GET that waits for packets, one POST that brings some.

use crate::engineio::payload::{self, PayloadWriter};
use crate::io::{HttpResponse, Io, IoId};
use crate::json;
use crate::message::{Close, CloseCode, Frame};
use crate::time::{Brief, Time};

use super::upgrade::Probe;
use super::{ClientTransport, CloseReason, Stage, TransportOutput};
use crate::engineio::request::Carrier;

/// The largest body posted to a server that does not say what it takes.
const DEFAULT_MAX_PAYLOAD: usize = 1_000_000;
/// How much of a server's complaint is passed on.
const MAX_COMPLAINT: usize = 200;

/// The requests under way.
#[derive(Debug, Default)]
pub(super) struct Polls {
    pub(super) get: Option<IoId>,
    pub(super) post: Option<IoId>,
    /// The WebSocket that is tried.
    pub(super) probe: Option<Probe>,
    /// Set once this side has closed it: how long the last words may take.
    pub(super) closing: Option<Time>,
}

impl Polls {
    /// Whether the session is about to move to a WebSocket, so that no new request may begin.
    pub(super) fn moving(&self) -> bool {
        self.probe.as_ref().is_some_and(Probe::works)
    }

    /// Whether a POST may begin.
    pub(super) fn may_post(&self) -> bool {
        self.post.is_none() && !self.moving()
    }
}

impl ClientTransport {
    /// The answer to a request has come.
    pub(super) fn answered(&mut self, now: Time, id: IoId, result: Result<HttpResponse, Close>) {
        let result = result.and_then(check);
        match &mut self.stage {
            Stage::Opening { carrier: Carrier::Polling, id: opening, .. } if *opening == id => {
                match result.and_then(|answer| self.opened_by(&answer)) {
                    Ok(frames) => self.polling_opened(now, frames),
                    Err(close) => self.attempt_failed(now, close),
                }
            }
            Stage::Polling(polls) if polls.get == Some(id) => {
                polls.get = None;
                match result.and_then(|answer| self.read(&answer)) {
                    Ok(frames) => self.polled(frames),
                    Err(close) => self.broken(CloseReason::TransportError, close),
                }
            }
            Stage::Polling(polls) if polls.post == Some(id) => {
                polls.post = None;
                match result {
                    Ok(_) => self.posted(),
                    Err(close) => self.broken(CloseReason::TransportError, close),
                }
            }
            _ => {}
        }
    }

    fn read(&self, answer: &HttpResponse) -> Result<Vec<Frame>, Close> {
        let bad =
            |error: super::super::DecodeError| Close::new(CloseCode::BAD_FRAME, error.to_string());
        let messages = payload::messages(&answer.body, self.config.max_body).map_err(bad)?;
        messages.collect::<Result<_, _>>().map_err(bad)
    }

    fn opened_by(&mut self, answer: &HttpResponse) -> Result<Vec<Frame>, Close> {
        let frames = self.read(answer)?;
        match frames.first() {
            Some(first) => self.greeted(first)?,
            None => return Err(Close::new(CloseCode::BAD_FRAME, "the server's answer is empty")),
        }
        Ok(frames)
    }

    fn polling_opened(&mut self, now: Time, frames: Vec<Frame>) {
        self.stage = Stage::Polling(Polls::default());
        self.outputs.push_back(TransportOutput::Opened(Carrier::Polling));
        self.polled(frames);
        self.begin_probe(now);
    }

    fn polled(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            if matches!(&frame, Frame::Text(text) if text.first() == Some(&b'1')) {
                let close = Close::new(CloseCode::GOING_AWAY, "the server closed the connection");
                return self.broken(CloseReason::TransportClose, close);
            }
            self.outputs.push_back(TransportOutput::Frame(frame));
        }
        self.poll();
        self.try_to_move();
    }

    /// Asks for packets, unless that is under way or must not be.
    pub(super) fn poll(&mut self) {
        let Stage::Polling(polls) = &self.stage else { return };
        if polls.get.is_none() && !polls.moving() && polls.closing.is_none() {
            let get = self.request(None);
            if let Stage::Polling(polls) = &mut self.stage {
                polls.get = get;
            }
        }
    }

    /// Brings what waits to the server, as much as it takes at once, unless that is under way or
    /// must not be.
    pub(super) fn post(&mut self) {
        let Stage::Polling(polls) = &self.stage else { return };
        if !polls.may_post() || self.waiting.is_empty() {
            return;
        }
        let max = self.handshake.as_ref().and_then(|handshake| handshake.max_payload);
        let max = max.and_then(|max| usize::try_from(max).ok()).filter(|max| *max > 0);
        let mut body = PayloadWriter::new(max.unwrap_or(DEFAULT_MAX_PAYLOAD));
        while let Some(frame) = self.waiting.front() {
            if !body.push_message(frame) {
                break;
            }
            self.waiting_bytes = self.waiting_bytes.saturating_sub(frame.len());
            self.waiting.pop_front();
        }
        let post = self.request(Some(body));
        if let Stage::Polling(polls) = &mut self.stage {
            polls.post = post;
        }
    }

    fn posted(&mut self) {
        if let Stage::Polling(polls) = &self.stage
            && polls.closing.is_some()
            && self.waiting.is_empty()
        {
            return self.broken(CloseReason::ForcedClose, closed());
        }
        self.try_to_move();
    }

    fn request(&mut self, body: Option<PayloadWriter>) -> Option<IoId> {
        let sid = self.handshake.as_ref().map(|handshake| handshake.sid.as_str());
        let url = self.config.url(Carrier::Polling, sid, &mut self.rng);
        let Some(id) = self.ids.next() else {
            let close = Close::new(CloseCode::ABNORMAL, "the connection has had all its requests");
            self.broken(CloseReason::TransportError, close);
            return None;
        };
        let headers = self.config.headers.clone();
        let body = body.map(PayloadWriter::finish);
        self.outputs.push_back(TransportOutput::Io(Io::Request { id, url, headers, body }));
        Some(id)
    }

    /// Says goodbye after what waits.
    pub(super) fn close_polling(&mut self, now: Time, close: &Close) {
        self.drop_probe(close);
        let deadline = now + self.config.close_timeout;
        let Stage::Polling(polls) = &mut self.stage else { return };
        if polls.closing.is_none() {
            polls.closing = Some(deadline);
            self.send(Frame::Text(bytes::Bytes::from_static(b"1")));
        }
    }

    pub(super) fn expire_polling(&mut self, now: Time) {
        let Stage::Polling(polls) = &self.stage else { return };
        if polls.closing.is_some_and(|at| at <= now) {
            self.broken(CloseReason::ForcedClose, closed());
        } else if polls.probe.as_ref().is_some_and(|probe| probe.deadline <= now) {
            let timeout = self.config.attempt_timeout;
            let reason = format!("the session did not move to it within {}", Brief(timeout));
            self.probe_failed(&Close::new(CloseCode::ABNORMAL, reason));
        }
    }

    /// Gives up what is under way.
    pub(super) fn abort_polling(&mut self, close: &Close) {
        self.drop_probe(close);
        let Stage::Polling(polls) = &mut self.stage else { return };
        let requests = [polls.get.take(), polls.post.take()].into_iter().flatten();
        self.outputs.extend(requests.map(|id| TransportOutput::Io(Io::Abort { id })));
    }

    fn broken(&mut self, reason: CloseReason, close: Close) {
        self.abort_polling(&close);
        self.end(reason, close);
    }
}

fn closed() -> Close {
    Close::new(CloseCode::NORMAL, "closed by this side")
}

/// Whether an answer is one that Engine.IO gives to a request it accepts.
fn check(answer: HttpResponse) -> Result<HttpResponse, Close> {
    let status = answer.status;
    if status == 200 {
        return Ok(answer);
    }
    let code = match status {
        401 | 403 => CloseCode::UNAUTHORIZED,
        _ => CloseCode::ABNORMAL,
    };
    let complaint = json::parse(&answer.body, json::MAX_DEPTH).ok();
    let complaint = complaint.and_then(|json| json.get("message")?.as_str());
    let reason = match complaint {
        Some(said) => {
            let said = said.get(..said.floor_char_boundary(MAX_COMPLAINT)).unwrap_or_default();
            format!("the server answered {status}: {said}")
        }
        None => format!("the server answered {status}"),
    };
    Err(Close { delay: answer.retry_after, ..Close::new(code, reason) })
}
