//! From an attempt to a connection, and what follows its loss.

use std::time::Duration;

use crate::io::IoId;
use crate::link::ClientLink;
use crate::message::{Advice, ClientMessage, Close, CloseCode, Hello, Welcome};
use crate::time::{Brief, Time};
use crate::{socketio, ws};

use super::connection::{Connection, Stage};
use super::error::{SwitchError, TokenError};
use super::io::{Notice, Output, Ticket, TokenRequest, Transport};
use super::machine::{ClientMachine, Life, Switch};
use super::status::{State, Status};

impl ClientMachine {
    /// Begins an attempt at the connection the session is to use.
    pub(super) fn attempt(&mut self, now: Time) {
        self.retry_at = None;
        if self.status.next_attempt.is_some() {
            self.report(Status { next_attempt: None, ..self.status.clone() });
        }
        self.primary = Some(self.dial(now, self.dialer.transport()));
    }

    fn dial(&mut self, now: Time, transport: Transport) -> Connection {
        self.counters.attempts += 1;
        let io = self.new_io();
        let deadline = now + self.config.connect_timeout;
        if self.config.authenticated {
            let request = self.new_token_request();
            self.outputs.push_back(Output::NeedToken { request });
            return Connection::new(io, transport, Stage::Token(request), deadline);
        }
        let engine = self.open(now, io, transport);
        let stage = Stage::Opening { token: None };
        Connection { engine, ..Connection::new(io, transport, stage, deadline) }
    }

    /// The driver has asked the application for a token.
    pub(super) fn token(
        &mut self,
        now: Time,
        request: TokenRequest,
        result: Result<Option<String>, TokenError>,
    ) {
        if self.refresh.asked == Some(request) {
            self.refresh.asked = None;
            self.refreshed(now, result);
            return;
        }
        let Some(connection) = [&mut self.primary, &mut self.candidate]
            .into_iter()
            .filter_map(Option::as_mut)
            .find(|c| matches!(c.stage, Stage::Token(asked) if asked == request))
        else {
            return;
        };
        let (io, transport) = (connection.io, connection.transport);
        match result {
            Ok(token) => {
                connection.stage = Stage::Opening { token };
                let engine = self.open(now, io, transport);
                if let Some(connection) = self.connection(io) {
                    connection.engine = engine;
                }
            }
            Err(error) => {
                let code = if error.retryable {
                    CloseCode::TOKEN_EXPIRED
                } else {
                    CloseCode::UNAUTHORIZED
                };
                self.lost(now, io, Close::new(code, format!("no token: {}", error.reason)));
            }
        }
    }

    /// A WebSocket is open.
    pub(super) fn opened(&mut self, now: Time, io: IoId, subprotocol: Option<String>) {
        let Some(connection) = self.connection(io) else { return };
        let Stage::Opening { token } = &mut connection.stage else { return };
        let token = token.take();
        connection.stage = Stage::Opened { token, subprotocol, frames: Vec::new() };
        if self.primary.as_ref().is_some_and(|primary| primary.io == io) {
            self.greet(now, io);
        }
    }

    /// Says hello on a connection that is open, with what is known by now.
    pub(super) fn greet(&mut self, now: Time, io: IoId) {
        let subscriptions = self.subscriptions.live();
        let stated = subscriptions.iter().map(|s| s.id).collect();
        let hello = Hello {
            session: self.session.clone(),
            producer: self.config.producer.clone(),
            token: None,
            subscriptions,
            cursor: self.subscriptions.cursor().clone(),
            ..Hello::default()
        };
        let config = self.config.link.clone();
        let Some(connection) = self.connection(io) else { return };
        let Stage::Opened { token, subprotocol, frames } = &mut connection.stage else { return };
        let hello = Hello { token: token.take(), ..hello };
        let frames = std::mem::take(frames);
        let mut link = match connection.transport {
            Transport::SocketIo => {
                ClientLink::SocketIo(Box::new(socketio::ClientLink::new(config, hello, now)))
            }
            Transport::Ws | Transport::Auto => {
                let most = u32::try_from(config.max_frame).unwrap_or(u32::MAX);
                let (batch, batch_delay) = (config.max_batch.min(most), config.batch_delay);
                let hello = Hello { batch, batch_delay, ..hello };
                ClientLink::Ws(Box::new(ws::ClientLink::new(config, hello, now)))
            }
        };
        let result = link.opened(now, subprotocol.as_deref());
        connection.stated = stated;
        connection.stage = Stage::Greeting(link);
        match result {
            Ok(()) => frames.into_iter().for_each(|frame| self.frame(now, io, frame)),
            Err(error) => self.fail(now, io, error.close),
        }
    }

    /// The server has answered the hello.
    pub(super) fn welcomed(&mut self, now: Time, io: IoId, welcome: Welcome) {
        let switches = self.candidate.as_ref().is_some_and(|candidate| candidate.io == io);
        if switches {
            self.replace_primary(now);
        }
        let Some(connection) = self.primary.as_mut().filter(|c| c.io == io && !c.is_live()) else {
            return;
        };
        connection.establish(&welcome);
        let transport = connection.transport;
        for id in std::mem::take(&mut connection.stated) {
            if !self.subscriptions.contains(id)
                && let Some(link) = connection.live()
            {
                link.send(ClientMessage::Unsubscribe(id));
            }
        }
        self.subscriptions.welcomed(&welcome.cursor, !switches);
        self.session = Some(welcome.session);
        self.token_taken(now, welcome.expires_in);
        for (id, refusal) in welcome.refused {
            self.subscribe_failed(id, refusal);
        }
        let switch = self.switch.take_if(|switch| switch.transport == transport);
        if switch.is_some() {
            self.dialer.choose(transport);
        }
        self.dialer.welcomed(now, transport);
        self.counters.reconnects += u64::from(!switches && self.counters.connects > 0);
        self.counters.connects += 1;
        self.report(Status {
            state: State::Connected,
            transport: Some(transport),
            retryable: true,
            next_attempt: None,
            ..self.status.clone()
        });
        if let Some(Switch { ticket, .. }) = switch {
            self.notify(Notice::Switched { ticket, result: Ok(transport) });
        }
    }

    /// The candidate takes over; what it replaces is kept for replies that are still to come.
    fn replace_primary(&mut self, now: Time) {
        if let Some(older) = self.previous.take() {
            self.end(now, older, &Close::new(CloseCode::NORMAL, "another switch"));
        }
        self.previous = std::mem::replace(&mut self.primary, self.candidate.take());
        if let Some(previous) = &mut self.previous {
            previous.deadline = Some(now + self.config.switch_linger);
        }
        self.publishing.connection_lost();
        self.subscriptions.connection_lost();
        self.counters.switches += 1;
    }

    /// Ends a connection from this side, because of what came or did not come on it.
    pub(super) fn fail(&mut self, now: Time, io: IoId, close: Close) {
        self.abort(io, &close);
        self.lost(now, io, close);
    }

    /// A connection is gone, or an attempt at one has failed.
    pub(super) fn lost(&mut self, now: Time, io: IoId, close: Close) {
        let is = |connection: &mut Connection| connection.io == io;
        for (ticket, error) in self.requests.connection_lost(io, &close) {
            self.notify(Notice::Reply { ticket, result: Err(error) });
        }
        if self.previous.take_if(is).is_some() {
        } else if self.candidate.take_if(is).is_some() {
            self.switch_failed(SwitchError::Failed(close));
        } else if let Some(connection) = self.primary.take_if(is) {
            self.token_gone();
            self.publishing.connection_lost();
            self.subscriptions.connection_lost();
            if self.is_final(&connection, &close) {
                self.finish(now, close);
            } else if let Some(candidate) = self.candidate.take() {
                let io = candidate.io;
                self.primary = Some(candidate);
                self.report_loss(&close, None);
                self.greet(now, io);
            } else {
                self.retry(now, &close);
            }
        }
    }

    /// Whether no further attempt can help.
    fn is_final(&self, connection: &Connection, close: &Close) -> bool {
        match close.code.advice() {
            Advice::Retry => false,
            Advice::RefreshAuth => !self.config.authenticated,
            // Something between here and the server may not let this transport through.
            Advice::GiveUp if !connection.is_live() && close.code != CloseCode::UNAUTHORIZED => {
                !self.dialer.has_alternative()
            }
            Advice::GiveUp => true,
        }
    }

    /// Waits for the next attempt, or makes it at once.
    fn retry(&mut self, now: Time, close: &Close) {
        let delay = self.dialer.lost(now, close, &mut self.rng);
        if self.switch.as_ref().is_some_and(|s| s.transport != self.dialer.transport()) {
            self.switch_failed(SwitchError::Failed(close.clone()));
        }
        if !self.online {
            self.report_loss(close, None);
        } else if delay.is_zero() {
            self.report_loss(close, None);
            self.attempt(now);
        } else {
            self.report_loss(close, Some(delay));
            self.retry_at = Some(now + delay);
        }
    }

    /// The machine has a network again, or none any more.
    pub(super) fn network(&mut self, now: Time, online: bool) {
        let back = online && !self.online;
        self.online = online;
        let wants = matches!(self.life, Life::Running | Life::Closing { .. });
        if self.primary.is_some() || !wants {
            return;
        }
        if back {
            self.dialer.forget_failures();
            self.attempt(now);
        } else if !online {
            self.retry_at = None;
            self.report(Status { next_attempt: None, ..self.status.clone() });
        }
    }

    /// Carries the session on by another transport.
    pub(super) fn switch_to(&mut self, now: Time, ticket: Ticket, transport: Transport) {
        if let Err(close) = self.check_open() {
            let result = Err(SwitchError::Closed(close));
            return self.notify(Notice::Switched { ticket, result });
        }
        self.switch_failed(SwitchError::Superseded);
        if let Some(candidate) = self.candidate.take() {
            self.end(now, candidate, &Close::new(CloseCode::NORMAL, "another switch"));
        }
        let in_use = self.primary.as_ref().map(|c| (c.io, c.transport, c.is_live()));
        match in_use {
            Some((_, used, true)) if used == transport || transport == Transport::Auto => {
                self.dialer.choose(transport);
                self.notify(Notice::Switched { ticket, result: Ok(used) });
            }
            Some((_, _, true)) => {
                self.switch = Some(Switch { ticket, transport });
                self.candidate = Some(self.dial(now, transport));
            }
            _ => {
                self.dialer.choose(transport);
                let transport = self.dialer.transport();
                self.switch = Some(Switch { ticket, transport });
                if let Some(attempt) = self.primary.take_if(|c| c.transport != transport) {
                    self.end(now, attempt, &Close::new(CloseCode::NORMAL, "another transport"));
                    self.attempt(now);
                }
            }
        }
    }

    fn switch_failed(&mut self, error: SwitchError) {
        if let Some(Switch { ticket, .. }) = self.switch.take() {
            self.notify(Notice::Switched { ticket, result: Err(error) });
        }
    }

    /// Does what connections have to do by now.
    pub(super) fn expire_connections(&mut self, now: Time) {
        self.expire_leaving(now);
        let due = [&self.primary, &self.candidate, &self.previous].map(|connection| {
            connection
                .as_ref()
                .filter(|c| c.next_timeout().is_some_and(|at| at <= now))
                .map(|c| c.io)
        });
        for io in due.into_iter().flatten() {
            self.expire_carrier(now, io);
            let Some(connection) = self.connection(io) else { continue };
            if connection.deadline.is_some_and(|at| at <= now) {
                let close = match connection.stage {
                    Stage::Live(_) => Close::new(CloseCode::NORMAL, "replaced"),
                    _ => Close::new(
                        CloseCode::ABNORMAL,
                        format!("no connection within {}", Brief(self.config.connect_timeout)),
                    ),
                };
                self.fail(now, io, close);
            } else if let Some(Err(error)) = connection.link().map(|link| link.handle_timeout(now))
            {
                self.fail(now, io, error.close);
            }
        }
        self.expire_token(now);
        if self.retry_at.is_some_and(|at| at <= now) {
            self.attempt(now);
        }
    }

    /// Ends everything.
    pub(super) fn finish(&mut self, now: Time, close: Close) {
        if let Some(link) = self.primary.as_mut().and_then(Connection::live) {
            link.send(ClientMessage::Bye);
        }
        self.flush(now);
        for (ticket, error) in self.requests.close(&close) {
            self.notify(Notice::Reply { ticket, result: Err(error) });
        }
        let connections = [self.primary.take(), self.candidate.take(), self.previous.take()];
        for connection in connections.into_iter().flatten() {
            self.end(now, connection, &close);
        }
        (self.retry_at, self.hold_until) = (None, None);
        for (ticket, error) in self.publishing.close(&close) {
            self.published(ticket, Err(error));
        }
        self.switch_failed(SwitchError::Closed(close.clone()));
        self.report(Status::closed(&close));
        self.life = Life::Closed(close);
    }

    /// Closes a connection that is not used any more.
    pub(super) fn end(&mut self, now: Time, connection: Connection, close: &Close) {
        for (ticket, error) in self.requests.connection_lost(connection.io, close) {
            self.notify(Notice::Reply { ticket, result: Err(error) });
        }
        self.close_io(now, connection, close);
    }

    fn report_loss(&mut self, close: &Close, next_attempt: Option<Duration>) {
        self.report(Status {
            state: State::Reconnecting,
            transport: None,
            code: close.code,
            reason: close.reason.as_str().into(),
            retryable: true,
            next_attempt,
        });
    }

    fn report(&mut self, status: Status) {
        if self.status != status {
            self.status = status.clone();
            self.notify(Notice::Status(status));
        }
    }
}
