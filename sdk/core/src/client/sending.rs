//! What the client says, as far as the connection takes it.

use crate::event::Payload;
use crate::io::{Io, IoId};
use crate::message::{ClientMessage, Close, CloseCode, ErrorCode, Refusal};
use crate::time::Time;

use super::connection::{Connection, Stage};
use super::error::{PublishError, RequestError};
use super::io::{Notice, Output};
use super::machine::{ClientMachine, Life};

impl ClientMachine {
    /// Sends whatever can be sent now. Called after everything that may have changed that.
    pub(super) fn pump(&mut self, now: Time) {
        self.greet_candidate(now);
        self.send_waiting(now);
        self.flush(now);
        self.end_previous(now);
        if matches!(self.life, Life::Closing { .. }) && self.publishing.is_empty() {
            self.finish(now, Close::new(CloseCode::NORMAL, "closed by the application"));
        }
    }

    /// The hello of a switch waits until all subscriptions are answered on the connection it
    /// replaces: only those it can state are carried over without a hole.
    fn greet_candidate(&mut self, now: Time) {
        if let Some(Connection { io, stage: Stage::Opened { .. }, .. }) = &self.candidate
            && !self.subscriptions.any_unanswered()
        {
            self.greet(now, *io);
        }
    }

    fn send_waiting(&mut self, now: Time) {
        let Some(connection) = self.primary.as_mut().filter(|c| c.is_writable()) else { return };
        let (io, window, max_payload) = (connection.io, connection.window, connection.max_payload);
        let Stage::Live(link) = &mut connection.stage else { return };
        // A subscription begun now would be missing from the hello of a switch under way.
        let switching = self.candidate.as_ref().is_some_and(|candidate| {
            matches!(candidate.stage, Stage::Opened { .. } | Stage::Greeting(_))
        });
        if !switching {
            self.subscriptions.ask(|subscribe| link.send(ClientMessage::Subscribe(subscribe)));
        }
        while let Some((id, name, payload)) = self.requests.next(io) {
            match check_size(&payload, max_payload) {
                Ok(()) => link.send(ClientMessage::Request { id, name, payload }),
                Err(refusal) => {
                    if let Some(ticket) = self.requests.replied(id) {
                        let result = Err(RequestError::Refused(refusal));
                        self.outputs.push_back(Output::App(Notice::Reply { ticket, result }));
                    }
                }
            }
        }
        if self.hold_until.is_some() {
            return;
        }
        while let Some(publish) = self.publishing.next(now, window) {
            match check_size(&publish.payload, max_payload) {
                Ok(()) => link.send(ClientMessage::Publish(publish.clone())),
                Err(refusal) => {
                    let seq = publish.seq;
                    if let Some(ticket) = self.publishing.withdraw(seq) {
                        self.counters.publish_failures += 1;
                        let result = Err(PublishError::Refused(refusal));
                        self.outputs.push_back(Output::App(Notice::Published { ticket, result }));
                    }
                }
            }
        }
    }

    /// Hands the frames of all links to the driver, or to what carries them.
    pub(super) fn flush(&mut self, now: Time) {
        for connection in
            [&mut self.primary, &mut self.candidate, &mut self.previous].into_iter().flatten()
        {
            let id = connection.io;
            let Some(link) = connection.stage.link() else { continue };
            while let Some(frame) = link.poll_frame() {
                self.counters.frames_out += 1;
                self.counters.bytes_out += frame.len() as u64;
                match &mut connection.engine {
                    Some(engine) => engine.send(frame),
                    None => self.outputs.push_back(Output::Io(Io::SendWs { id, frame })),
                }
            }
        }
        self.carry_all(now);
    }

    /// Ends the connection used before a switch when no reply is to come on it any more.
    fn end_previous(&mut self, now: Time) {
        let requests = &self.requests;
        if let Some(previous) = self.previous.take_if(|previous| !requests.any_on(previous.io)) {
            self.end(now, previous, &Close::new(CloseCode::NORMAL, "switched"));
        }
    }

    /// Sends on a certain connection, if it is still there.
    pub(super) fn send_on(&mut self, io: IoId, message: ClientMessage) {
        if let Some(link) = self.connection(io).and_then(Connection::live) {
            link.send(message);
        }
    }
}

/// Whether the server takes a payload of this size.
pub(super) fn check_size(payload: &Payload, max: u32) -> Result<(), Refusal> {
    if payload.len() <= max as usize {
        return Ok(());
    }
    let message =
        format!("the payload has {} bytes, the server takes at most {max}", payload.len());
    Err(Refusal::new(ErrorCode::TOO_LARGE, message))
}
