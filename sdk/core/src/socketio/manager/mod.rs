//! A Socket.IO client for any server: one connection, several namespaces.
//!
//! [`ManagerMachine`] does all of it without touching a network. What holds:
//!
//! - **Events** emitted without a connection wait in one bounded queue per socket, and go out in
//!   order. What was handed to a connection that is then lost may be lost with it, as with
//!   `socket.io-client`; [`retries`](SocketConfig::retries) and acknowledgements are for those that
//!   must not be.
//! - **Acknowledgements** end in exactly one result: the answer, a time-out, or the end of the
//!   connection.
//! - **Reconnecting** is by itself, unless the server or the application has disconnected.

mod config;
mod hearing;
mod io;
mod joining;
mod sending;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::backoff::Backoff;
use crate::engineio::{Carrier, ClientConnection, TransportConfig};
use crate::io::IoEvent;
use crate::rng::Rng;
use crate::time::{Time, earliest};

use super::codec::Decoder;
use super::packet::Namespace;

pub use config::{BufferLimits, BufferOverflow, ManagerConfig, SocketConfig};
pub use io::{
    AckError, AckKey, AuthFailure, AuthRequest, ConnectError, DisconnectReason, Emit, EmitId,
    ManagerNotice, ManagerOutput, ManagerState, ManagerStatus, SocketKey,
};
use socket::{Socket, State};

/// A Socket.IO client's connection with all its sockets, without the network.
///
/// The driver passes what it observed to [`handle_input`](Self::handle_input), calls
/// [`handle_timeout`](Self::handle_timeout) when [`next_timeout`](Self::next_timeout) has come, and
/// after each call of any method does what [`poll_output`](Self::poll_output) says until it says
/// nothing more. Nothing fails: what goes wrong comes out as a notice.
#[derive(Debug)]
pub struct ManagerMachine {
    config: ManagerConfig,
    transport: Arc<TransportConfig>,
    rng: Rng,
    backoff: Backoff,
    sockets: Vec<Socket>,
    link: Link,
    /// Connections whose last words are under way.
    closing: Vec<ClientConnection>,
    /// What carried the connection last.
    last_carrier: Option<Carrier>,
    /// How many attempts in a row have failed.
    failed: u32,
    ever_open: bool,
    status: ManagerStatus,
    outputs: VecDeque<ManagerOutput>,
    next_connection: u64,
    next_auth: u64,
    dropped: u64,
}

/// The connection that all sockets share.
#[derive(Debug)]
enum Link {
    /// Nobody wants one.
    Idle,
    /// The next attempt is waited for.
    Waiting(Time),
    /// There is one, or an attempt at one.
    There(Box<Connection>),
    /// There will be none any more.
    Closed,
}

#[derive(Debug)]
struct Connection {
    engine: ClientConnection,
    decoder: Decoder,
    /// Since when it is open.
    open: Option<Time>,
}

impl ManagerMachine {
    /// A manager without sockets.
    pub fn new(config: ManagerConfig) -> Self {
        let status = ManagerStatus {
            state: ManagerState::Idle,
            transport: None,
            failed_attempts: 0,
            next_attempt: None,
        };
        Self {
            transport: Arc::new(config.transport.clone()),
            rng: Rng::new(config.seed),
            backoff: Backoff::new(config.reconnection_delay, config.reconnection_delay_max),
            sockets: Vec::new(),
            link: Link::Idle,
            closing: Vec::new(),
            last_carrier: None,
            failed: 0,
            ever_open: false,
            status,
            outputs: VecDeque::new(),
            next_connection: 1,
            next_auth: 1,
            dropped: 0,
            config,
        }
    }

    /// The socket of a namespace: there is one of each. It is not connected by this.
    pub fn socket(&mut self, namespace: Namespace, config: SocketConfig) -> SocketKey {
        let at = self.sockets.iter().position(|socket| socket.namespace == namespace);
        let at = at.unwrap_or_else(|| {
            self.sockets.push(Socket::new(namespace, config));
            self.sockets.len() - 1
        });
        SocketKey(u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// Connects a socket, which stays connected from then on.
    pub fn connect(&mut self, now: Time, key: SocketKey) {
        if matches!(self.link, Link::Closed) {
            return;
        }
        let Some(socket) = self.get(key).filter(|socket| !socket.is_active()) else { return };
        socket.state = State::Waiting;
        if matches!(self.link, Link::Idle) {
            self.attempt(now);
        }
        self.join(key);
        self.pump(now);
    }

    /// Disconnects a socket. The connection is closed when no other socket wants it.
    pub fn disconnect(&mut self, now: Time, key: SocketKey) {
        self.leave(now, key);
        self.close_if_unused(now);
        self.pump(now);
    }

    /// Closes everything for good.
    pub fn close(&mut self, now: Time) {
        for key in self.keys() {
            self.leave(now, key);
        }
        self.hang_up(now);
        self.link = Link::Closed;
        self.forget_everything();
        self.report(ManagerState::Closed, None);
        self.pump(now);
    }

    /// Takes what the driver observed.
    pub fn handle_input(&mut self, now: Time, event: IoEvent) {
        self.expire(now);
        let connection = event.id().connection();
        if connection + 1 == self.next_connection
            && let Link::There(current) = &mut self.link
        {
            current.engine.handle_input(now, event);
        } else {
            // Those that are closing take only what is theirs.
            for engine in &mut self.closing {
                engine.handle_input(now, event.clone());
            }
        }
        self.pump(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.expire(now);
        self.pump(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). Calling it earlier does no harm.
    pub fn next_timeout(&self) -> Option<Time> {
        let link = match &self.link {
            Link::Waiting(at) => Some(*at),
            Link::There(connection) => connection.engine.next_timeout(),
            Link::Idle | Link::Closed => None,
        };
        let closing = self.closing.iter().filter_map(ClientConnection::next_timeout).min();
        let sockets = self.sockets.iter().filter_map(Socket::next_timeout).min();
        earliest(earliest(link, closing), sockets)
    }

    /// What to do, and what to tell.
    pub fn poll_output(&mut self) -> Option<ManagerOutput> {
        self.outputs.pop_front()
    }

    /// How the connection is doing.
    pub const fn status(&self) -> &ManagerStatus {
        &self.status
    }

    /// Has every event that goes out told by [`ManagerNotice::Outgoing`], or not any more.
    pub fn watch_outgoing(&mut self, key: SocketKey, watched: bool) {
        if let Some(socket) = self.get(key) {
            socket.watched = watched;
        }
    }

    /// How many events of a socket wait to be sent, and how many bytes they have.
    pub fn held(&self, key: SocketKey) -> (usize, usize) {
        self.sockets.get(key.0 as usize).map_or((0, 0), Socket::held)
    }

    /// How many events were dropped instead of sent.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether it is closed and has nothing to do any more.
    pub fn is_finished(&self) -> bool {
        matches!(self.link, Link::Closed) && self.closing.is_empty() && self.outputs.is_empty()
    }

    fn get(&mut self, key: SocketKey) -> Option<&mut Socket> {
        self.sockets.get_mut(key.0 as usize)
    }

    fn keys(&self) -> impl Iterator<Item = SocketKey> + use<> {
        (0..u32::try_from(self.sockets.len()).unwrap_or(u32::MAX)).map(SocketKey)
    }

    fn tell(&mut self, notice: ManagerNotice) {
        self.outputs.push_back(ManagerOutput::App(notice));
    }

    /// Hands on whatever can be: what has come, then what waits to be sent.
    fn pump(&mut self, now: Time) {
        self.hear(now);
        for key in self.keys() {
            self.next_turn(now, key);
            self.send_waiting(now, key);
        }
        self.hear(now);
        for engine in &mut self.closing {
            while let Some(output) = engine.poll_output() {
                if let crate::engineio::ConnectionOutput::Io(io) = output {
                    self.outputs.push_back(ManagerOutput::Io(io));
                }
            }
        }
        self.closing.retain(|engine| !engine.is_finished());
    }

    fn expire(&mut self, now: Time) {
        if self.next_timeout().is_none_or(|at| at > now) {
            return;
        }
        for engine in &mut self.closing {
            engine.handle_timeout(now);
        }
        if let Link::There(connection) = &mut self.link {
            connection.engine.handle_timeout(now);
            self.hear(now);
        }
        if matches!(self.link, Link::Waiting(at) if at <= now) {
            self.attempt(now);
        }
        for key in self.keys() {
            self.expire_socket(now, key);
        }
    }
}
