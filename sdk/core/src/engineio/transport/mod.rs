//! The client's carriers: opening one, falling back to another, moving to a better one.

mod config;
mod polling;
#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::io::{Io, IoEvent, IoId};
use crate::message::{Close, CloseCode, Frame};
use crate::rng::Rng;
use crate::time::{Brief, Time, earliest};

use super::handshake::Handshake;
use super::request::Carrier;

use config::Ids;
pub use config::TransportConfig;
use polling::Polls;

/// What carries one session of a client, from the attempt to open it to its end.
///
/// It takes and gives Engine.IO packets in the spelling they have on a WebSocket, whatever carries
/// them, so that a session on a WebSocket costs no more than the WebSocket does. Heartbeats belong
/// to the session above it.
///
/// The driver passes what it observed to [`handle_input`](Self::handle_input), calls
/// [`handle_timeout`](Self::handle_timeout) when [`next_timeout`](Self::next_timeout) has come, and
/// does what [`poll_output`](Self::poll_output) says until it says nothing more.
#[derive(Debug)]
pub struct ClientTransport {
    config: Arc<TransportConfig>,
    ids: Ids,
    rng: Rng,
    stage: Stage,
    handshake: Option<Handshake>,
    /// Carriers still to be tried.
    left: VecDeque<Carrier>,
    /// Why those tried so far do not work.
    failure: Option<Close>,
    /// Packets to be sent.
    waiting: VecDeque<Frame>,
    waiting_bytes: usize,
    outputs: VecDeque<TransportOutput>,
}

#[derive(Debug)]
enum Stage {
    Opening { carrier: Carrier, id: IoId, deadline: Time },
    WebSocket { id: IoId, writable: bool },
    Polling(Polls),
    Over,
}

/// What a [`ClientTransport`] wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportOutput {
    /// The driver is to do this.
    Io(Io),
    /// A carrier is open; the open packet is the first to come.
    Opened(Carrier),
    /// A packet of the server.
    Frame(Frame),
    /// A WebSocket carries the session from here on.
    Upgraded,
    /// The session stays with polling: the WebSocket it could have moved to does not work.
    UpgradeFailed(Close),
    /// It is over, or could not be opened. Nothing comes after this.
    Closed {
        /// Which kind of end it is.
        reason: CloseReason,
        /// More about it.
        close: Close,
    },
}

/// How a session ended, in Engine.IO's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The server's ping did not come in time.
    PingTimeout,
    /// The connection was closed.
    TransportClose,
    /// The connection has met an error, or was not to be had.
    TransportError,
    /// This side closed it.
    ForcedClose,
}

impl CloseReason {
    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PingTimeout => "ping timeout",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::ForcedClose => "forced close",
        }
    }
}

impl ClientTransport {
    /// Begins to open a carrier: `first` if there is a reason to prefer one (it worked the last
    /// time), otherwise the first one configured.
    ///
    /// `connection` is in all ids of this transport; no other must have the same. `seed` makes
    /// URLs unique.
    pub fn open(
        config: Arc<TransportConfig>,
        connection: u64,
        first: Option<Carrier>,
        seed: u64,
        now: Time,
    ) -> Self {
        let first = first.filter(|first| config.transports.contains(first));
        let others = config.transports.iter().copied().filter(|carrier| Some(*carrier) != first);
        let left = first.into_iter().chain(others).collect();
        let mut this = Self {
            ids: Ids::new(connection),
            rng: Rng::new(seed),
            stage: Stage::Over,
            handshake: None,
            left,
            failure: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            outputs: VecDeque::new(),
            config,
        };
        let none = Close::new(CloseCode::UNSUPPORTED, "no transport is configured");
        this.attempt(now, none);
        this
    }

    /// Takes what the driver observed.
    pub fn handle_input(&mut self, now: Time, event: IoEvent) {
        // What has run out is not brought back by what was left in the buffers.
        self.handle_timeout(now);
        match event {
            IoEvent::WsFrame { id, frame } => self.ws_frame(now, id, frame),
            IoEvent::WsOpened { id, .. } => self.ws_opened(id),
            IoEvent::WsClosed { id, close } => self.ws_closed(now, id, close),
            IoEvent::Writable { id, writable: can } => {
                if let Stage::WebSocket { id: open, writable } = &mut self.stage
                    && *open == id
                {
                    *writable = can;
                }
            }
            IoEvent::Http { id, result } => self.answered(now, id, result),
        }
    }

    /// Queues a packet.
    pub fn send(&mut self, packet: Frame) {
        match self.stage {
            Stage::WebSocket { id, writable: true } if self.waiting.is_empty() => {
                self.outputs.push_back(TransportOutput::Io(Io::SendWs { id, frame: packet }));
            }
            Stage::Over => {}
            _ => {
                self.waiting_bytes += packet.len();
                self.waiting.push_back(packet);
            }
        }
    }

    /// Closes it after what was sent is on its way. With polling that takes a request, until
    /// whose end it is not [over](Self::is_over).
    pub fn close(&mut self, now: Time, close: &Close) {
        match &mut self.stage {
            Stage::WebSocket { id, writable } => {
                let id = *id;
                *writable = true;
                self.flush();
                self.give_up(Carrier::WebSocket, id, close);
                self.end(CloseReason::ForcedClose, close.clone());
            }
            Stage::Polling(_) => self.close_polling(now, close),
            Stage::Opening { .. } | Stage::Over => self.abort(close),
        }
    }

    /// Ends it at once, without a word to the server that is not under way.
    pub fn abort(&mut self, close: &Close) {
        match self.stage {
            Stage::Over => return,
            Stage::WebSocket { id, .. } => self.give_up(Carrier::WebSocket, id, close),
            Stage::Opening { carrier, id, .. } => self.give_up(carrier, id, close),
            Stage::Polling(_) => self.abort_polling(close),
        }
        self.end(CloseReason::ForcedClose, close.clone());
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        match self.stage {
            Stage::Opening { deadline, carrier, id } if deadline <= now => {
                let timeout = self.config.attempt_timeout;
                let reason = format!("{} did not open within {}", carrier.name(), Brief(timeout));
                let close = Close::new(CloseCode::ABNORMAL, reason);
                self.give_up(carrier, id, &close);
                self.attempt_failed(now, close);
            }
            Stage::Polling(_) => self.expire_polling(now),
            _ => {}
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Time> {
        match &self.stage {
            Stage::Opening { deadline, .. } => Some(*deadline),
            Stage::Polling(polls) => {
                earliest(polls.closing, polls.probe.as_ref().map(|probe| probe.deadline))
            }
            Stage::WebSocket { .. } | Stage::Over => None,
        }
    }

    /// What to do, and what has happened.
    pub fn poll_output(&mut self) -> Option<TransportOutput> {
        if self.outputs.is_empty() {
            self.flush();
        }
        self.outputs.pop_front()
    }

    /// What carries the session; `None` before it is open and after it is over.
    pub const fn carrier(&self) -> Option<Carrier> {
        match self.stage {
            Stage::WebSocket { .. } => Some(Carrier::WebSocket),
            Stage::Polling(_) => Some(Carrier::Polling),
            Stage::Opening { .. } | Stage::Over => None,
        }
    }

    /// What the server said when the session was opened.
    pub const fn handshake(&self) -> Option<&Handshake> {
        self.handshake.as_ref()
    }

    /// Whether a packet sent now would go out at once.
    pub fn is_writable(&self) -> bool {
        let takes = match &self.stage {
            Stage::WebSocket { writable, .. } => *writable,
            Stage::Polling(polls) => polls.may_post(),
            Stage::Opening { .. } | Stage::Over => false,
        };
        takes && self.waiting.is_empty()
    }

    /// How many bytes of packets wait to be sent.
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether nothing is to be done any more.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over) && self.outputs.is_empty()
    }

    /// Tries the next carrier, or ends because of `close` when there is none.
    fn attempt(&mut self, now: Time, close: Close) {
        let Some((carrier, id)) = self.left.pop_front().zip(self.ids.next()) else {
            return self.end(CloseReason::TransportError, close);
        };
        let deadline = now + self.config.attempt_timeout;
        self.stage = Stage::Opening { carrier, id, deadline };
        let url = self.config.url(carrier, None, &mut self.rng);
        let headers = self.config.headers.clone();
        self.outputs.push_back(TransportOutput::Io(match carrier {
            Carrier::WebSocket => Io::OpenWs { id, url, subprotocol: None, headers },
            Carrier::Polling => Io::Request { id, url, headers, body: None },
        }));
    }

    fn attempt_failed(&mut self, now: Time, close: Close) {
        let close = match self.failure.take() {
            Some(before) => both(before, close),
            None => close,
        };
        if self.config.try_all_transports {
            self.failure = Some(close.clone());
            self.attempt(now, close);
        } else {
            self.end(CloseReason::TransportError, close);
        }
    }

    /// Tells the driver that a WebSocket or a request is of no interest any more.
    fn give_up(&mut self, carrier: Carrier, id: IoId, close: &Close) {
        self.outputs.push_back(TransportOutput::Io(match carrier {
            Carrier::WebSocket => Io::CloseWs { id, close: close.clone() },
            Carrier::Polling => Io::Abort { id },
        }));
    }

    /// Notes what the server says in its open packet, which must be the first.
    fn greeted(&mut self, packet: &Frame) -> Result<(), Close> {
        let bad = |reason: String| Close::new(CloseCode::BAD_FRAME, reason);
        let open = match packet {
            Frame::Text(text) if text.first() == Some(&b'0') => text.slice(1..),
            _ => return Err(bad("the server did not begin with an open packet".into())),
        };
        let handshake = Handshake::from_json(&open).map_err(|error| bad(error.to_string()))?;
        self.handshake = Some(handshake);
        Ok(())
    }

    fn ws_opened(&mut self, id: IoId) {
        if let Stage::Polling(polls) = &mut self.stage
            && let Some(frame) = polls.probe_opened(id)
        {
            self.outputs.push_back(TransportOutput::Io(Io::SendWs { id, frame }));
        }
    }

    fn ws_frame(&mut self, now: Time, id: IoId, frame: Frame) {
        match &self.stage {
            Stage::WebSocket { id: open, .. } if *open == id => {
                self.outputs.push_back(TransportOutput::Frame(frame));
            }
            Stage::Opening { carrier: Carrier::WebSocket, id: opening, .. } if *opening == id => {
                match self.greeted(&frame) {
                    Ok(()) => {
                        self.stage = Stage::WebSocket { id, writable: true };
                        self.outputs.push_back(TransportOutput::Opened(Carrier::WebSocket));
                        self.outputs.push_back(TransportOutput::Frame(frame));
                    }
                    Err(close) => {
                        self.give_up(Carrier::WebSocket, id, &close);
                        self.attempt_failed(now, close);
                    }
                }
            }
            Stage::Polling(_) => self.probe_answered(id, &frame),
            _ => {}
        }
    }

    fn ws_closed(&mut self, now: Time, id: IoId, close: Close) {
        match &self.stage {
            Stage::WebSocket { id: open, .. } if *open == id => {
                // RFC 6455: the peer broke the protocol, or a limit.
                let reason = match close.code.0 {
                    1002 | 1007 | 1009 => CloseReason::TransportError,
                    _ => CloseReason::TransportClose,
                };
                self.end(reason, close);
            }
            Stage::Opening { carrier: Carrier::WebSocket, id: opening, .. } if *opening == id => {
                self.attempt_failed(now, close);
            }
            Stage::Polling(_) => self.probe_closed(id, close),
            _ => {}
        }
    }

    /// Hands what waits to the carrier, as far as it takes it.
    fn flush(&mut self) {
        match self.stage {
            Stage::WebSocket { id, writable: true } => {
                self.waiting_bytes = 0;
                let sends = self.waiting.drain(..).map(|frame| Io::SendWs { id, frame });
                self.outputs.extend(sends.map(TransportOutput::Io));
            }
            Stage::Polling(_) => self.post(),
            _ => {}
        }
    }

    fn end(&mut self, reason: CloseReason, close: Close) {
        self.stage = Stage::Over;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.outputs.push_back(TransportOutput::Closed { reason, close });
    }
}

/// Two failures told as one, by the code of the one that says more.
fn both(before: Close, after: Close) -> Close {
    let code = if after.code == CloseCode::ABNORMAL { before.code } else { after.code };
    let reason = format!("{}; {}", before.reason, after.reason);
    Close { code, reason, delay: after.delay.or(before.delay) }
}
