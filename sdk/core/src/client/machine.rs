//! The machine itself: inputs, commands and the time go in, outputs come out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::engineio::{Carrier, ClientTransport, TransportConfig};
use crate::io::IoId;
use crate::lane::Cursor;
use crate::message::{
    ClientMessage, Close, CloseCode, ErrorCode, Position, Publish, Refusal, SubId, Subscribe,
};
use crate::name::Name;
use crate::pattern::Pattern;
use crate::rng::Rng;
use crate::time::{Time, earliest};

use super::carrying;
use super::config::ClientConfig;
use super::connection::Connection;
use super::dialing::Dialer;
use super::error::{PublishError, RequestError};
use super::io::{Asked, Command, Input, Notice, Output, Ticket, TokenRequest, Transport};
use super::publishing::Publishing;
use super::refreshing::Refresh;
use super::requests::Requests;
use super::round_trips::RoundTrips;
use super::sending::check_size;
use super::stats::{Counters, Stats};
use super::status::Status;
use super::subscriptions::Subscriptions;

/// The shortest and longest time before a publish that met a passing refusal is sent again.
const REFUSED_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A client's session, without the network: it decides when to connect, what to send, what to
/// send again, and who gets what has come.
///
/// The driver passes what it observed to [`handle_input`](Self::handle_input), what the
/// application wants to [`handle_command`](Self::handle_command), calls
/// [`handle_timeout`](Self::handle_timeout) when [`next_timeout`](Self::next_timeout) has come,
/// and after each of these does what [`poll_output`](Self::poll_output) says until it says nothing
/// more. None of them fails: what goes wrong comes out as a notice.
#[derive(Debug)]
pub struct ClientMachine {
    pub(super) config: ClientConfig,
    pub(super) rng: Rng,
    pub(super) dialer: Dialer,
    pub(super) life: Life,
    pub(super) status: Status,
    pub(super) online: bool,
    /// When the next attempt begins, if it is waited for.
    pub(super) retry_at: Option<Time>,
    /// The connection the session uses, or the attempt at one.
    pub(super) primary: Option<Connection>,
    /// The connection the session will use next, or the attempt at it.
    pub(super) candidate: Option<Connection>,
    /// The connection the session has used last, kept for replies.
    pub(super) previous: Option<Connection>,
    /// What carried connections that are closed, while it has something to do for that.
    pub(super) leaving: Vec<ClientTransport>,
    pub(super) transport: Arc<TransportConfig>,
    /// What carried Socket.IO last.
    pub(super) last_carrier: Option<Carrier>,
    /// Who waits for a switch.
    pub(super) switch: Option<Switch>,
    pub(super) session: Option<String>,
    pub(super) subscriptions: Subscriptions,
    pub(super) publishing: Publishing,
    /// No publish is sent before this: one has met a passing refusal.
    pub(super) hold_until: Option<Time>,
    pub(super) refused_backoff: Backoff,
    pub(super) requests: Requests,
    pub(super) refresh: Refresh,
    pub(super) counters: Counters,
    pub(super) round_trips: RoundTrips,
    pub(super) outputs: VecDeque<Output>,
    next_io: u64,
    next_token_request: u64,
}

/// What the client as a whole is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// Not asked to connect yet.
    Idle,
    /// Connected, or working on it.
    Running,
    /// Sending the rest.
    Closing {
        /// At most until then.
        deadline: Time,
    },
    /// Over.
    Closed(Close),
}

/// A switch asked for.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) ticket: Ticket,
    pub(super) transport: Transport,
}

impl ClientMachine {
    /// A machine that does nothing before [`Command::Connect`].
    pub fn new(config: ClientConfig) -> Self {
        Self {
            rng: Rng::new(config.seed),
            dialer: Dialer::new(
                config.transport,
                Backoff::new(config.backoff_min, config.backoff_max),
            ),
            life: Life::Idle,
            status: Status::starting(),
            online: true,
            retry_at: None,
            primary: None,
            candidate: None,
            previous: None,
            leaving: Vec::new(),
            transport: Arc::new(carrying::transport(&config)),
            last_carrier: None,
            switch: None,
            session: None,
            subscriptions: Subscriptions::new(),
            publishing: Publishing::new(config.queues),
            hold_until: None,
            refused_backoff: Backoff::new(REFUSED_BACKOFF.0, REFUSED_BACKOFF.1),
            requests: Requests::new(config.max_requests),
            refresh: Refresh::default(),
            counters: Counters::default(),
            round_trips: RoundTrips::default(),
            outputs: VecDeque::new(),
            next_io: 1,
            next_token_request: 1,
            config,
        }
    }

    /// What to do next; `None` when there is nothing until the next input, command or timeout.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). Calling it earlier does no harm.
    pub fn next_timeout(&self) -> Option<Time> {
        let connections = [&self.primary, &self.candidate, &self.previous]
            .into_iter()
            .filter_map(|connection| connection.as_ref().and_then(Connection::next_timeout))
            .min();
        let leaving = self.leaving.iter().filter_map(ClientTransport::next_timeout).min();
        let closing = match self.life {
            Life::Closing { deadline } => Some(deadline),
            _ => None,
        };
        let queues = earliest(self.publishing.next_timeout(), self.requests.next_timeout());
        let waits = earliest(earliest(self.retry_at, self.hold_until), self.refresh.at);
        let rest = earliest(earliest(waits, closing), leaving);
        earliest(earliest(connections, queues), rest)
    }

    /// How the connection is doing.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// What was received so far.
    pub const fn cursor(&self) -> &Cursor {
        self.subscriptions.cursor()
    }

    /// Up to where a subscription was given what it asked for: one that begins after that gets the
    /// rest. `None` if the server does not have it yet.
    pub fn reached(&self, id: SubId) -> Option<Cursor> {
        self.subscriptions.reached(id)
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let held = self.publishing.held();
        Stats {
            counters: Counters { resent: self.publishing.resent(), ..self.counters },
            round_trips: self.round_trips.clone(),
            queued: std::array::from_fn(|priority| held[priority].count),
            queued_bytes: std::array::from_fn(|priority| held[priority].bytes),
            in_flight: self.publishing.in_flight(),
            requests: self.requests.len(),
            subscriptions: self.subscriptions.len(),
        }
    }

    /// Takes what the driver observed.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        // A machine that was asleep must notice that its connection is dead before it believes
        // what was left in the buffers.
        self.expire(now);
        match input {
            Input::Io(event) => self.io_event(now, event),
            Input::Token { request, result } => self.token(now, request, result),
            Input::Online(online) => self.network(now, online),
        }
        self.pump(now);
    }

    /// Takes what the application wants.
    pub fn handle_command(&mut self, now: Time, command: Command) {
        self.expire(now);
        match command {
            Command::Publish { ticket, publish, .. } if publish.volatile => {
                let result = self.send_volatile(publish).map(|()| None);
                self.published(ticket, result);
            }
            Command::Publish { ticket, publish, timeout } => {
                if let Err(error) = self.enqueue(now, ticket, publish, timeout) {
                    self.published(ticket, Err(error));
                }
            }
            Command::Subscribe(subscribe) => self.subscribe(subscribe),
            Command::Unsubscribe(id) => self.unsubscribe(id),
            Command::Request { ticket, name, payload, timeout } => {
                let timeout = timeout.unwrap_or(self.config.request_timeout);
                let result = self
                    .check_open()
                    .map_err(RequestError::Closed)
                    .and_then(|()| self.requests.add(now, ticket, name, payload, timeout));
                if let Err(error) = result {
                    self.notify(Notice::Reply { ticket, result: Err(error) });
                }
            }
            Command::CancelRequest(ticket) => {
                if let Some((id, io)) = self.requests.cancel(ticket) {
                    self.send_on(io, ClientMessage::Cancel(id));
                }
            }
            Command::Respond { to: Asked { io, id }, result } => {
                self.send_on(io, ClientMessage::Reply { id, result });
            }
            Command::Connect if self.life == Life::Idle => {
                self.life = Life::Running;
                self.notify(Notice::Status(self.status.clone()));
                self.attempt(now);
            }
            Command::Connect => {}
            Command::Switch { ticket, transport } => self.switch_to(now, ticket, transport),
            Command::RefreshToken => self.refresh_token(),
            Command::Close { timeout } => {
                if self.check_open().is_ok() {
                    self.life = Life::Closing { deadline: now + timeout };
                }
            }
        }
        self.pump(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.expire(now);
        self.pump(now);
    }

    fn expire(&mut self, now: Time) {
        if self.next_timeout().is_none_or(|at| at > now) {
            return;
        }
        self.expire_connections(now);
        let mut expired = Vec::new();
        self.publishing.expire(now, &mut expired);
        for (ticket, error) in expired {
            self.published(ticket, Err(error));
        }
        for expired in self.requests.expire(now) {
            if let Some((id, io)) = expired.cancel {
                self.send_on(io, ClientMessage::Cancel(id));
            }
            self.notify(Notice::Reply { ticket: expired.ticket, result: Err(expired.error) });
        }
        if self.hold_until.is_some_and(|at| at <= now) {
            self.hold_until = None;
        }
        if let Life::Closing { deadline } = self.life
            && deadline <= now
        {
            self.finish(now, Close::new(CloseCode::NORMAL, "closed by the application"));
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe) {
        let Subscribe { id, pattern, since } = subscribe;
        match Pattern::new(pattern) {
            Ok(pattern) => self.subscriptions.add(id, pattern, since),
            Err(error) => {
                let refusal = Refusal::new(ErrorCode::BAD_NAME, error.to_string());
                self.notify(Notice::SubscribeFailed { id, refusal });
            }
        }
    }

    fn unsubscribe(&mut self, id: SubId) {
        if self.subscriptions.remove(id)
            && let Some(link) = self.primary.as_mut().and_then(Connection::live)
        {
            link.send(ClientMessage::Unsubscribe(id));
        }
    }

    fn enqueue(
        &mut self,
        now: Time,
        ticket: Ticket,
        publish: Publish,
        timeout: Option<Duration>,
    ) -> Result<(), PublishError> {
        self.check_open().map_err(PublishError::Closed)?;
        check_name(&publish)?;
        self.publishing.enqueue(now, ticket, publish, timeout)
    }

    /// Sends a volatile event, or says why not.
    fn send_volatile(&mut self, publish: Publish) -> Result<(), PublishError> {
        self.check_open().map_err(PublishError::Closed)?;
        check_name(&publish)?;
        let connection = self.primary.as_mut().filter(|c| c.is_writable() && c.is_live());
        let connection = connection.ok_or(PublishError::NotConnected)?;
        check_size(&publish.payload, connection.max_payload).map_err(PublishError::Refused)?;
        let link = connection.live().ok_or(PublishError::NotConnected)?;
        link.send(ClientMessage::Publish(Publish { seq: 0, ..publish }));
        self.counters.volatile_sent += 1;
        Ok(())
    }

    /// Whether new work is taken; the close if not.
    pub(super) fn check_open(&self) -> Result<(), Close> {
        match &self.life {
            Life::Idle | Life::Running => Ok(()),
            Life::Closing { .. } => Err(Close::new(CloseCode::NORMAL, "it is being closed")),
            Life::Closed(close) => Err(close.clone()),
        }
    }

    /// Tells what became of a publish.
    pub(super) fn published(
        &mut self,
        ticket: Ticket,
        result: Result<Option<Position>, PublishError>,
    ) {
        self.counters.publish_failures += u64::from(result.is_err());
        self.notify(Notice::Published { ticket, result });
    }

    pub(super) fn notify(&mut self, notice: Notice) {
        self.outputs.push_back(Output::App(notice));
    }

    /// The connection with this id, unless it is one of the past.
    pub(super) fn connection(&mut self, io: IoId) -> Option<&mut Connection> {
        [&mut self.primary, &mut self.candidate, &mut self.previous]
            .into_iter()
            .filter_map(Option::as_mut)
            .find(|connection| connection.io == io)
    }

    pub(super) fn new_io(&mut self) -> IoId {
        self.next_io += 1;
        IoId::first(self.next_io - 1)
    }

    pub(super) fn new_token_request(&mut self) -> TokenRequest {
        self.next_token_request += 1;
        TokenRequest(self.next_token_request - 1)
    }
}

fn check_name(publish: &Publish) -> Result<(), PublishError> {
    Name::check(&publish.name).map_err(|error| {
        PublishError::Refused(Refusal::new(ErrorCode::BAD_NAME, error.to_string()))
    })
}
