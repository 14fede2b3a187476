//! From an attempt to a connection, from a connection to a namespace, and what follows their loss.

use std::time::Duration;

use bytes::Bytes;

use crate::engineio::{Carrier, ClientConnection, CloseReason};
use crate::message::{Advice, Close};
use crate::socketio::codec::Decoder;
use crate::socketio::{Body, Packet};
use crate::time::Time;

use super::io::{
    AuthFailure, AuthRequest, ConnectError, DisconnectReason, ManagerNotice, ManagerOutput,
    ManagerState, ManagerStatus, SocketKey,
};
use super::socket::State;
use super::{Connection, Link, ManagerMachine};

/// A connection that lived shorter than this does not end the backoff: a server that lets everybody
/// in and then breaks must not be hammered.
const STABLE: Duration = Duration::from_secs(1);

impl ManagerMachine {
    /// Begins an attempt at the connection.
    pub(super) fn attempt(&mut self, now: Time) {
        let number = self.next_connection;
        self.next_connection += 1;
        let first = self.last_carrier.filter(|_| self.config.remember_upgrade);
        let seed = self.rng.next_u64();
        let engine = ClientConnection::open(self.transport.clone(), number, first, seed, now);
        let decoder = Decoder::new(Some(self.config.parser), self.config.limits);
        self.link = Link::There(Box::new(Connection { engine, decoder, open: None }));
        let again = self.ever_open || self.failed > 0;
        let state = if again { ManagerState::Reconnecting } else { ManagerState::Connecting };
        self.report(state, None);
    }

    /// The connection is open: every socket that waits for it asks for its namespace.
    pub(super) fn opened(&mut self, now: Time) {
        let Link::There(connection) = &mut self.link else { return };
        connection.open = Some(now);
        (self.failed, self.ever_open) = (0, true);
        self.report(ManagerState::Connected, None);
        for key in self.keys() {
            self.join(key);
        }
    }

    fn is_open(&self) -> bool {
        matches!(&self.link, Link::There(connection) if connection.open.is_some())
    }

    /// Asks the server for a socket's namespace, after the application was asked who it is.
    pub(super) fn join(&mut self, key: SocketKey) {
        if !self.is_open() {
            return;
        }
        let request = AuthRequest(self.next_auth);
        let Some(socket) = self.get(key).filter(|socket| socket.state == State::Waiting) else {
            return;
        };
        socket.ask_at = None;
        if socket.config.authenticated {
            socket.state = State::Authenticating(request);
            self.next_auth += 1;
            self.outputs.push_back(ManagerOutput::NeedAuth { socket: key, request });
        } else {
            self.ask(key, None);
        }
    }

    fn ask(&mut self, key: SocketKey, auth: Option<&Bytes>) {
        let Some(socket) = self.get(key) else { return };
        socket.state = State::Joining;
        if std::mem::replace(&mut socket.asked, true) {
            return;
        }
        let body = Body::Connect(socket.connect_data(auth));
        self.send_body(key, body);
    }

    /// The driver has asked the application who it is: an object in JSON, or nothing.
    pub fn authenticate(
        &mut self,
        now: Time,
        request: AuthRequest,
        result: Result<Option<Bytes>, AuthFailure>,
    ) {
        self.expire(now);
        let asked = State::Authenticating(request);
        let Some(at) = self.sockets.iter().position(|socket| socket.state == asked) else { return };
        let key = SocketKey(u32::try_from(at).unwrap_or(u32::MAX));
        match result {
            Ok(auth) => self.ask(key, auth.as_ref()),
            Err(failure) => {
                let delay = self.backoff.clone().next_delay(&mut self.rng);
                if let Some(socket) = self.get(key) {
                    socket.state = if failure.retryable { State::Waiting } else { State::Inactive };
                    socket.ask_at = failure.retryable.then_some(now + delay);
                }
                let advice = if failure.retryable { Advice::RefreshAuth } else { Advice::GiveUp };
                let error = ConnectError {
                    message: failure.reason,
                    data: None,
                    will_retry: failure.retryable,
                    advice,
                };
                self.tell(ManagerNotice::ConnectError { socket: key, error });
                self.close_if_unused(now);
            }
        }
        self.pump(now);
    }

    /// Ends a socket's connection from this side.
    pub(super) fn leave(&mut self, now: Time, key: SocketKey) {
        let Some(socket) = self.get(key).filter(|socket| socket.is_active()) else { return };
        match socket.state {
            State::Connected => {
                self.send_all(now, key);
                self.send_body(key, Body::Disconnect);
                self.disconnected(key, DisconnectReason::ClientDisconnect, String::new(), false);
            }
            State::Inactive | State::Waiting | State::Authenticating(_) | State::Joining => {}
        }
        if let Some(socket) = self.get(key) {
            (socket.state, socket.ask_at) = (State::Inactive, None);
        }
    }

    /// A socket that was connected is so no more.
    pub(super) fn disconnected(
        &mut self,
        key: SocketKey,
        reason: DisconnectReason,
        detail: String,
        will_reconnect: bool,
    ) {
        if let Some(socket) = self.get(key) {
            socket.state = if will_reconnect { State::Waiting } else { State::Inactive };
        }
        self.fail_acks(key, reason);
        self.tell(ManagerNotice::Disconnected { socket: key, reason, detail, will_reconnect });
    }

    /// Closes the connection if no socket wants it.
    pub(super) fn close_if_unused(&mut self, now: Time) {
        let wanted = self.sockets.iter().any(|socket| socket.is_active());
        if !wanted && !matches!(self.link, Link::Closed) {
            self.hang_up(now);
            self.failed = 0;
            self.report(ManagerState::Idle, None);
        }
    }

    /// Closes the connection.
    pub(super) fn hang_up(&mut self, now: Time) {
        for socket in &mut self.sockets {
            socket.asked = false;
        }
        if let Link::There(connection) = std::mem::replace(&mut self.link, Link::Idle) {
            let mut engine = connection.engine;
            engine.close(now);
            self.closing.push(engine);
        }
    }

    /// The connection is lost, or could not be opened.
    pub(super) fn lost(&mut self, now: Time, reason: DisconnectReason, close: &Close) {
        let Link::There(connection) = std::mem::replace(&mut self.link, Link::Idle) else { return };
        match connection.open {
            Some(since) if now - since >= STABLE => self.backoff.reset(),
            Some(_) => {}
            None => self.failed += 1,
        }
        self.closing.push(connection.engine);
        let attempts = self.config.reconnection_attempts;
        let again = self.config.reconnection && attempts.is_none_or(|most| self.failed <= most);
        for key in self.keys() {
            let Some(socket) = self.get(key) else { continue };
            socket.early.clear();
            socket.asked = false;
            match socket.state {
                State::Inactive => {}
                State::Connected => {
                    self.disconnected(key, reason, close.reason.clone(), again);
                }
                State::Waiting | State::Authenticating(_) | State::Joining => {
                    socket.state = if again { State::Waiting } else { State::Inactive };
                    let error = ConnectError::unreachable(close, again);
                    self.tell(ManagerNotice::ConnectError { socket: key, error });
                }
            }
        }
        if again && self.sockets.iter().any(|socket| socket.is_active()) {
            let delay = self.backoff.next_delay(&mut self.rng);
            let delay = close.delay.map_or(delay, |told| told.saturating_add(delay));
            self.link = Link::Waiting(now + delay);
            self.report(ManagerState::Reconnecting, Some(delay));
        } else {
            self.report(ManagerState::Idle, None);
        }
    }

    /// What carries the connection has changed.
    pub(super) fn upgraded(&mut self) {
        self.report(self.status.state, self.status.next_attempt);
    }

    /// The engine has ended.
    pub(super) fn ended(&mut self, now: Time, reason: CloseReason, close: &Close) {
        self.lost(now, reason.into(), close);
    }

    pub(super) fn report(&mut self, state: ManagerState, next_attempt: Option<Duration>) {
        let transport = self.carrier();
        self.last_carrier = transport.or(self.last_carrier);
        let failed_attempts = self.failed;
        let status = ManagerStatus { state, transport, failed_attempts, next_attempt };
        if self.status != status {
            self.status = status.clone();
            self.tell(ManagerNotice::Status(status));
        }
    }

    fn carrier(&self) -> Option<Carrier> {
        match &self.link {
            Link::There(connection) => connection.open.and(connection.engine.carrier()),
            _ => None,
        }
    }

    /// Sends a packet of a socket, if there is a connection.
    pub(super) fn send_body(&mut self, key: SocketKey, body: Body) {
        let Some(socket) = self.sockets.get(key.0 as usize) else { return };
        let packet = Packet { namespace: socket.namespace.clone(), body };
        if let Link::There(connection) = &mut self.link {
            self.config.parser.encode(&packet, |frame| connection.engine.send(frame));
        }
    }
}
