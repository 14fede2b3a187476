//! The server's end of a connection.

use std::collections::VecDeque;
use std::time::Duration;

use super::{comment, encode_notice};
use crate::Time;
use crate::message::{ClientMessage, ErrorCode, Frame, Hello, Refusal, ServerMessage};
use crate::websocket::finished;

/// One connection of a server to a client that listens: its request is all that ever comes from it.
#[derive(Debug)]
pub struct ServerLink {
    comment_every: Duration,
    next_comment: Time,
    frames: VecDeque<Frame>,
    messages: VecDeque<ClientMessage>,
}

impl ServerLink {
    /// A connection whose request says so much. A comment is sent every `comment_every`, so that
    /// nobody between takes the connection for dead.
    pub fn new(hello: Hello, comment_every: Duration, now: Time) -> Self {
        Self {
            comment_every,
            next_comment: now + comment_every,
            frames: VecDeque::new(),
            messages: VecDeque::from([ClientMessage::Hello(hello)]),
        }
    }

    /// Queues a message, if it is one that such a client is told. Questions are answered for it.
    pub fn send(&mut self, message: &ServerMessage) {
        if let ServerMessage::Request { id, .. } = message {
            let refusal = Refusal::new(ErrorCode::NO_HANDLER, "the client only listens (sse)");
            self.messages.push_back(ClientMessage::Reply { id: *id, result: Err(refusal) });
        }
        if let Some(frame) = encode_notice(message) {
            self.push(&frame);
        }
    }

    fn push(&mut self, frame: &bytes::Bytes) {
        let payloads = finished(frame).map(|(_, payload)| Frame::Text(frame.slice_ref(payload)));
        self.frames.extend(payloads);
    }

    /// The next message to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// The next message from the client.
    pub fn poll_message(&mut self) -> Option<ClientMessage> {
        self.messages.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub const fn next_timeout(&self) -> Time {
        self.next_comment
    }

    /// Notices that time has passed.
    pub fn handle_timeout(&mut self, now: Time) {
        if now >= self.next_comment {
            self.next_comment = now + self.comment_every;
            self.push(&comment());
        }
    }
}
