//! One socket: where it stands, what waits for it and what it waits for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::json;
use crate::socketio::{Args, Namespace};
use crate::time::{Time, earliest};

use super::config::SocketConfig;
use super::io::{AuthRequest, EmitId};

/// A socket of a manager.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) namespace: Namespace,
    pub(super) config: SocketConfig,
    pub(super) state: State,
    /// How often it was connected, so that late acknowledgements are recognised.
    pub(super) joined: u64,
    pub(super) watched: bool,
    /// Whether the server was asked for the namespace and has not answered. It must not be asked
    /// again, nor told to forget it, before it has.
    pub(super) asked: bool,
    /// What the server knows it by, if it keeps the state of those that are cut off.
    pid: Option<String>,
    /// Up to where it has got the server's events.
    offset: Option<String>,
    /// When the application is asked again for what it could not say.
    pub(super) ask_at: Option<Time>,
    /// Events that wait to be sent.
    pub(super) sending: VecDeque<Outgoing>,
    pub(super) sending_bytes: usize,
    /// Events that wait for the one before them to be acknowledged, the first of which is under way.
    pub(super) turns: VecDeque<Turn>,
    turn_bytes: usize,
    /// Events that came before the server granted the namespace.
    pub(super) early: VecDeque<(Args, Option<u64>)>,
    next_ack: u64,
    /// Acknowledgements waited for, by their id.
    pub(super) acks: BTreeMap<u64, Waiting>,
    deadlines: BTreeSet<(Time, u64)>,
}

/// Where a socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It wants no connection.
    Inactive,
    /// It waits for one, or for the application to say who it is.
    Waiting,
    /// The application is asked who it is.
    Authenticating(AuthRequest),
    /// The server is asked.
    Joining,
    /// The server has granted the namespace.
    Connected,
}

/// An event that waits to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) args: Args,
    pub(super) ack: Option<u64>,
    pub(super) since: Time,
    pub(super) bytes: usize,
}

/// An event that waits for its turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) args: Args,
    pub(super) ack: Option<EmitId>,
    pub(super) timeout: Option<std::time::Duration>,
    pub(super) since: Time,
    pub(super) bytes: usize,
    pub(super) tries: u32,
    /// The acknowledgement that is waited for, while it is under way.
    pub(super) under_way: Option<u64>,
}

/// An acknowledgement that is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) whose: Whose,
    deadline: Option<Time>,
}

/// Who waits for an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The application.
    Application(EmitId),
    /// The events that wait for their turn.
    Turn,
}

impl Socket {
    pub(super) fn new(namespace: Namespace, config: SocketConfig) -> Self {
        Self {
            namespace,
            config,
            state: State::Inactive,
            joined: 0,
            watched: false,
            asked: false,
            pid: None,
            offset: None,
            ask_at: None,
            sending: VecDeque::new(),
            sending_bytes: 0,
            turns: VecDeque::new(),
            turn_bytes: 0,
            early: VecDeque::new(),
            next_ack: 0,
            acks: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.state != State::Inactive
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// What the CONNECT packet says: what is needed to go on where it was cut off, and the
    /// application's own object, which has the last word.
    pub(super) fn connect_data(&self, auth: Option<&Bytes>) -> Option<Bytes> {
        let Some(pid) = &self.pid else { return auth.cloned() };
        let mut out = Vec::new();
        let mut w = json::Writer::new(&mut out);
        w.begin_object().key("pid").str(pid);
        if let Some(offset) = &self.offset {
            w.key("offset").str(offset);
        }
        let members = auth.and_then(|auth| json::parse(auth, json::MAX_DEPTH).ok());
        for (key, value) in members.and_then(json::Value::object).into_iter().flatten() {
            w.key(&key).raw(value.raw().as_bytes());
        }
        w.end_object();
        Some(out.into())
    }

    /// The server has granted the namespace. Returns whether it has restored the socket's state.
    pub(super) fn joined(&mut self, pid: Option<String>) -> bool {
        self.state = State::Connected;
        self.joined += 1;
        let recovered = pid.is_some() && pid == self.pid;
        if !recovered {
            self.offset = None;
        }
        self.pid = pid;
        recovered
    }

    /// Notes up to where events were received: where the server keeps state, the last argument of
    /// each is its offset.
    pub(super) fn received(&mut self, args: &Args) {
        if self.pid.is_some()
            && let Some(offset) = args.value(args.len().saturating_sub(1))
            && let Some(offset) = offset.as_str()
        {
            self.offset = Some(offset.into_owned());
        }
    }

    /// Begins to wait for an acknowledgement; returns its id.
    pub(super) fn expect(&mut self, whose: Whose, deadline: Option<Time>) -> u64 {
        let id = self.next_ack;
        self.next_ack += 1;
        self.acks.insert(id, Waiting { whose, deadline });
        self.deadlines.extend(deadline.map(|at| (at, id)));
        id
    }

    /// Ends the wait for an acknowledgement.
    pub(super) fn settle(&mut self, id: u64) -> Option<Whose> {
        let Waiting { whose, deadline } = self.acks.remove(&id)?;
        if let Some(at) = deadline {
            self.deadlines.remove(&(at, id));
        }
        Some(whose)
    }

    /// An acknowledgement that is overdue.
    pub(super) fn overdue(&self, now: Time) -> Option<u64> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// Takes an event back that waits to be sent.
    pub(super) fn withdraw(&mut self, ack: u64) {
        if let Some(at) = self.sending.iter().position(|outgoing| outgoing.ack == Some(ack))
            && let Some(outgoing) = self.sending.remove(at)
        {
            self.sending_bytes = self.sending_bytes.saturating_sub(outgoing.bytes);
        }
    }

    /// The next event to be sent.
    pub(super) fn next_outgoing(&mut self) -> Option<Outgoing> {
        let outgoing = self.sending.pop_front()?;
        self.sending_bytes = self.sending_bytes.saturating_sub(outgoing.bytes);
        Some(outgoing)
    }

    pub(super) fn push_turn(&mut self, turn: Turn) {
        self.turn_bytes += turn.bytes;
        self.turns.push_back(turn);
    }

    pub(super) fn remove_turn(&mut self, at: usize) -> Option<Turn> {
        let turn = self.turns.remove(at)?;
        self.turn_bytes = self.turn_bytes.saturating_sub(turn.bytes);
        Some(turn)
    }

    /// How many events wait, and how many bytes they have.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.sending.len() + self.turns.len(), self.sending_bytes + self.turn_bytes)
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let ack = self.deadlines.first().map(|(at, _)| *at);
        let age = self.config.buffer.age;
        let oldest = self.sending.front().map(|outgoing| outgoing.since + age);
        let turn = self.turns.front().filter(|turn| turn.tries == 0).map(|turn| turn.since + age);
        earliest(earliest(ack, self.ask_at), earliest(oldest, turn))
    }
}

/// How many bytes the arguments of an event have.
pub(super) fn size(args: &Args) -> usize {
    let json = (0..args.len()).filter_map(|at| args.json(at)).map(Bytes::len);
    json.chain(args.attachments().iter().map(Bytes::len)).sum()
}
