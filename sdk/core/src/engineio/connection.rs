//! A whole client: carriers below, the heartbeat above.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::io::{Io, IoEvent};
use crate::message::{Close, CloseCode, Frame};
use crate::time::{Time, earliest};

use super::client::{ClientSession, Received};
use super::handshake::Handshake;
use super::packet::Packet;
use super::request::Carrier;
use super::transport::{ClientTransport, CloseReason, TransportConfig, TransportOutput};

/// A client's connection to an Engine.IO server, from the attempt to open it to its end: messages
/// in, messages out, by whatever carrier works. It is not opened again; a new one takes its place.
///
/// It is driven like a [`ClientTransport`].
#[derive(Debug)]
pub struct ClientConnection {
    transport: ClientTransport,
    session: ClientSession,
    /// Whether something has to come from the server in time: it is open.
    heartbeat: bool,
    over: bool,
    outputs: VecDeque<ConnectionOutput>,
}

/// What a [`ClientConnection`] wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionOutput {
    /// The driver is to do this.
    Io(Io),
    /// It is open.
    Opened {
        /// What the server said.
        handshake: Handshake,
        /// What carries it.
        carrier: Carrier,
    },
    /// A message of the server.
    Message(Frame),
    /// The server has sent a ping, which was answered.
    Ping,
    /// A WebSocket carries it from here on.
    Upgraded,
    /// It stays with polling: the WebSocket it could have moved to does not work.
    UpgradeFailed(Close),
    /// It is over, or could not be opened. Only [`Io`](Self::Io) comes after this.
    Closed {
        /// Which kind of end it is.
        reason: CloseReason,
        /// More about it.
        close: Close,
    },
}

impl ClientConnection {
    /// Begins to open it; see [`ClientTransport::open`].
    pub fn open(
        config: Arc<TransportConfig>,
        connection: u64,
        first: Option<Carrier>,
        seed: u64,
        now: Time,
    ) -> Self {
        Self {
            transport: ClientTransport::open(config, connection, first, seed, now),
            // How long opening may take is for the transport to watch.
            session: ClientSession::new(Time::from_start(std::time::Duration::MAX)),
            heartbeat: false,
            over: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes what the driver observed.
    pub fn handle_input(&mut self, now: Time, event: IoEvent) {
        self.check_heartbeat(now);
        self.transport.handle_input(now, event);
        self.pump(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.check_heartbeat(now);
        self.transport.handle_timeout(now);
        self.pump(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Time> {
        let heartbeat = (self.heartbeat && !self.over).then(|| self.session.next_timeout());
        earliest(heartbeat, self.transport.next_timeout())
    }

    /// Queues a message.
    pub fn send(&mut self, message: Frame) {
        if !self.over {
            self.transport.send(Packet::Message(message).encode());
        }
    }

    /// Closes it after what was sent is on its way. [`Closed`](ConnectionOutput::Closed) comes at
    /// once; until it [is finished](Self::is_finished) there may still be something to do.
    pub fn close(&mut self, now: Time) {
        let close = Close::new(CloseCode::NORMAL, "closed by this side");
        self.end(CloseReason::ForcedClose, close.clone());
        self.transport.close(now, &close);
        self.pump(now);
    }

    /// What to do, and what has happened.
    pub fn poll_output(&mut self) -> Option<ConnectionOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        // Only now is what was sent since the last time handed on, as one body where polling
        // carries it.
        while let Some(output) = self.transport.poll_output() {
            if let TransportOutput::Io(io) = output {
                return Some(ConnectionOutput::Io(io));
            }
        }
        None
    }

    /// What carries it; `None` before it is open and after it is over.
    pub const fn carrier(&self) -> Option<Carrier> {
        self.transport.carrier()
    }

    /// Whether a message sent now would go out at once.
    pub fn is_writable(&self) -> bool {
        !self.over && self.transport.is_writable()
    }

    /// How many bytes of messages wait to be sent.
    pub const fn waiting_bytes(&self) -> usize {
        self.transport.waiting_bytes()
    }

    /// Whether it is over and nothing is to be done any more.
    pub fn is_finished(&self) -> bool {
        self.over && self.outputs.is_empty() && self.transport.is_over()
    }

    fn check_heartbeat(&mut self, now: Time) {
        if self.heartbeat
            && !self.over
            && let Err(error) = self.session.handle_timeout(now)
        {
            self.transport.abort(&error.close);
            self.end(CloseReason::PingTimeout, error.close);
        }
    }

    /// Passes on what the transport has, and what the session answers to it.
    fn pump(&mut self, now: Time) {
        while let Some(output) = self.transport.poll_output() {
            match output {
                TransportOutput::Io(io) => self.outputs.push_back(ConnectionOutput::Io(io)),
                TransportOutput::Frame(frame) if !self.over => self.packet(now, frame),
                TransportOutput::Frame(_) | TransportOutput::Opened(_) => {}
                TransportOutput::Upgraded => self.tell(ConnectionOutput::Upgraded),
                TransportOutput::UpgradeFailed(close) => {
                    self.tell(ConnectionOutput::UpgradeFailed(close));
                }
                TransportOutput::Closed { reason, close } => self.end(reason, close),
            }
        }
    }

    fn packet(&mut self, now: Time, frame: Frame) {
        let packet = match Packet::decode(frame) {
            Ok(packet) => packet,
            Err(error) => {
                let close = Close::new(CloseCode::BAD_FRAME, error.to_string());
                self.transport.abort(&close);
                return self.end(CloseReason::TransportError, close);
            }
        };
        let ping = matches!(packet, Packet::Ping(_));
        match self.session.receive(now, packet) {
            Ok(Some(Received::Message(message))) => self.tell(ConnectionOutput::Message(message)),
            Ok(Some(Received::Opened(handshake))) => {
                self.heartbeat = true;
                let carrier = self.transport.carrier().unwrap_or(Carrier::Polling);
                self.tell(ConnectionOutput::Opened { handshake, carrier });
            }
            Ok(None) if ping => self.tell(ConnectionOutput::Ping),
            Ok(None) => {}
            Err(error) => {
                let reason = match error.close.code {
                    CloseCode::GOING_AWAY => CloseReason::TransportClose,
                    _ => CloseReason::TransportError,
                };
                self.transport.abort(&error.close);
                return self.end(reason, error.close);
            }
        }
        while let Some(packet) = self.session.poll_packet() {
            self.transport.send(packet.encode());
        }
    }

    fn tell(&mut self, output: ConnectionOutput) {
        if !self.over {
            self.outputs.push_back(output);
        }
    }

    fn end(&mut self, reason: CloseReason, close: Close) {
        self.tell(ConnectionOutput::Closed { reason, close });
        self.over = true;
    }
}
