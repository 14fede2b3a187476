//! The task of one connection: reads what the client sends, does what it asks, keeps its timers.

mod ending;
mod held;
mod identity;
mod membership;
mod namespaces;
mod requests;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::engineio;
use tidings_core::link::ServerLink;
use tidings_core::message::{
    ClientMessage, Close, CloseCode, Frame, LinkError, Position, Publish, Refusal, ServerMessage,
};
use tidings_core::server::HubKey;
use tidings_core::socketio::{self, SocketIds};
use tidings_core::websocket::{self, Decoder, Incoming, Opcode, Role};
use tidings_core::{Event, Payload, sse, ws};
use tokio::time::Instant;

use self::held::Held;
use self::namespaces::Sockets;
use self::requests::{Answer, Requests};
use crate::accepted::{Accepted, Transport};
use crate::alarm::Alarm;
use crate::app::App;
use crate::auth::{Denied, Identity};
use crate::backplane::{Producer, Published};
use crate::connection::{Command, Connection, Moved, WriteState};
use crate::connections::UpgradedPermit;
use crate::handlers::Request;
use crate::ids::random_id;
use crate::quota::Share;
use crate::rate::Bucket;
use crate::shard::Shard;
use crate::shutdown::Phase;

/// Bytes read from a socket at once, into a buffer shared by all connections of a thread: an idle
/// connection holds none.
const READ_BUFFER: usize = 64 << 10;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into_boxed_slice());
}

/// Serves one connection until it ends.
pub(crate) async fn serve(app: Arc<App>, accepted: Accepted) {
    let Accepted { connection, leftover, transport, opening, identity, peer, permit } = accepted;
    let link = link(&app, &transport);
    let mut session = Session::new(app, connection, peer, link, permit);
    session.sockets.opening = opening;
    let let_in = identity.map_or(Ok(()), |identity| session.is(identity));
    if let Transport::Engine(_, handler) = &transport {
        session.engine = Some(Arc::clone(handler));
    }
    // What HTTP read too far is let go with the buffer it is in.
    let step = match let_in {
        Ok(()) => session.received(&leftover),
        Err(denied) => session.denied(&denied),
    };
    drop(leftover);
    if step.is_continue() && session.drain().is_continue() {
        session.serve().await;
    }
    session.end_sockets();
    session.leave();
    session.linger().await;
    session.connection.end_body();
    session.connection.end_commands();
    drop(transport);
    tracing::debug!(%peer, "connection closed");
}

/// The server's end of what the client speaks.
fn link(app: &App, transport: &Transport) -> ServerLink {
    let config = app.config.link();
    match transport {
        Transport::Ws(encoding) => {
            ServerLink::Ws(Box::new(ws::ServerLink::new(config, *encoding, app.now())))
        }
        Transport::SocketIo(engine) => {
            let ids = SocketIds {
                engine: engine.sid().to_string(),
                socket: random_id(),
                producer: random_id(),
            };
            let upgrades = engine.upgrades();
            let link = socketio::ServerLink::upgradable(config, ids, upgrades, app.now());
            ServerLink::SocketIo(Box::new(link))
        }
        Transport::Engine(engine, _) => {
            let (sid, upgrades) = (engine.sid(), engine.upgrades());
            let link = engineio::ServerLink::new(&config, sid, upgrades, app.now());
            ServerLink::Engine(Box::new(link))
        }
        Transport::Sse(hello) => {
            let every = config.ping_interval;
            ServerLink::Sse(Box::new(sse::ServerLink::new(hello.clone(), every, app.now())))
        }
    }
}

/// What the connection's task owns.
struct Session {
    app: Arc<App>,
    connection: Arc<Connection>,
    /// Where the client connected from.
    peer: SocketAddr,
    link: ServerLink,
    decoder: Decoder,
    /// Who the client is, once it has said so.
    identity: Option<Identity>,
    /// When that is over.
    expires: Option<Instant>,
    member: Option<Member>,
    requests: Requests,
    /// What the client is to the application.
    sockets: Sockets,
    held: Held,
    publish_rate: Bucket,
    /// What it has of what its subject may have, if it has one.
    share: Option<Share>,
    /// Who takes the messages of a client that speaks Engine.IO alone.
    engine: Option<crate::engineio::Handler>,
    /// When it is closed because another connection has taken over.
    superseded: Option<Instant>,
    /// Whether the closing handshake was begun by us.
    closing: bool,
    /// Whether the client wanted it to end.
    ended_by_client: bool,
    /// What it is closed with, if somebody said so.
    close: Option<Close>,
    /// Whether it is carried by HTTP polling.
    polls: bool,
    /// Counts it as what carries it now.
    permit: UpgradedPermit,
}

/// What is known once the client has said hello.
struct Member {
    session: Arc<str>,
    /// Since when this connection carries it, in milliseconds since the Unix epoch.
    since_ms: u64,
    producer: Arc<str>,
    identity: Identity,
    shard: Arc<Shard>,
    key: HubKey,
}

impl Session {
    fn new(
        app: Arc<App>,
        connection: Arc<Connection>,
        peer: SocketAddr,
        link: ServerLink,
        permit: UpgradedPermit,
    ) -> Self {
        let limits = &app.config.limits;
        let polls = connection.is_polling();
        Self {
            decoder: Decoder::new(Role::Server, limits.max_frame),
            publish_rate: Bucket::new(limits.publish_rate, limits.publish_burst, app.now()),
            share: None,
            requests: Requests::new(limits.max_requests),
            sockets: Sockets::default(),
            engine: None,
            held: Held::default(),
            app,
            connection,
            peer,
            link,
            identity: None,
            expires: None,
            member: None,
            superseded: None,
            closing: false,
            ended_by_client: false,
            close: None,
            polls,
            permit,
        }
    }

    async fn serve(&mut self) {
        let mut alarm = Alarm::new();
        loop {
            let state = self.write().await;
            if state.broken {
                return;
            }
            let connection = Arc::clone(&self.connection);
            alarm.wake_by([self.deadline(), state.held_until].into_iter().flatten().min());
            let reads = !state.choked && !self.is_crowded();
            let step = tokio::select! {
                biased;
                ready = connection.readable(), if reads => match ready {
                    Ok(()) => self.read(),
                    Err(_) => ControlFlow::Break(()),
                },
                ready = connection.writable(), if state.blocked => {
                    connection.unblock();
                    if ready.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                }
                () = connection.woken() => self.obey(),
                answer = self.requests.next() => self.answer(answer),
                () = &mut alarm => self.timeout(),
            };
            if step.is_break() {
                return;
            }
        }
    }

    /// Writes what waits; reads from the log what the connection has missed, as the socket takes it.
    async fn write(&mut self) -> WriteState {
        loop {
            queue_frames(&mut self.link, &self.connection);
            if self.polls {
                self.connection.set_dead_at(self.link.dead_at());
            }
            let state = self.connection.flush();
            if !state.wants_catch_up || state.broken {
                return state;
            }
            self.connection.with_feed(|feed| feed.catch_up(&*self.app.backplane));
            tokio::task::consume_budget().await;
        }
    }

    /// Reads what has come.
    fn read(&mut self) -> ControlFlow<()> {
        if self.polls {
            return self.read_polled();
        }
        READ.with_borrow_mut(|buffer| match self.connection.read(buffer) {
            Ok(0) => ControlFlow::Break(()),
            Ok(read) => self.received(&buffer[..read]),
            Err(error) if is_transient(&error) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
    }

    /// Reads what has come by polling, or goes on with the WebSocket that takes its place.
    fn read_polled(&mut self) -> ControlFlow<()> {
        match self.connection.take_moved() {
            Some(Moved { decoder, rest, permit }) => {
                (self.decoder, self.permit, self.polls) = (decoder, permit, false);
                self.received(&rest)
            }
            None => self.read_posted(),
        }
    }

    /// Takes in what was posted; not more of it at once than is read from a socket, so that the
    /// answers cannot pile up.
    fn read_posted(&mut self) -> ControlFlow<()> {
        let Some(mut posted) = self.connection.take_posted() else {
            return ControlFlow::Continue(());
        };
        let before = posted.messages.bytes_left();
        while let Some(message) = posted.messages.next() {
            let step = match message {
                Ok(frame) => self.take(frame),
                Err(error) => self.fail(&LinkError::new(CloseCode::BAD_FRAME, error.to_string())),
            };
            if step.is_break() {
                // Whoever does not wait for the answer any more has gone.
                let _ = posted.answer.send(self.ended_by_client);
                return step;
            }
            if before - posted.messages.bytes_left() >= READ_BUFFER {
                break;
            }
        }
        if posted.messages.is_over() {
            let _ = posted.answer.send(true);
        } else {
            self.connection.put_back(posted);
        }
        ControlFlow::Continue(())
    }

    fn received(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.app.stats.received_bytes(bytes.len());
        let mut rest = bytes;
        loop {
            let frame = match self.decoder.decode(&mut rest) {
                Ok(Some(Incoming::Message(frame))) => frame,
                Ok(Some(Incoming::Ping(data))) => {
                    self.connection.push_control(encode(Opcode::Pong, &data));
                    continue;
                }
                Ok(Some(Incoming::Pong(_))) => continue,
                Ok(Some(Incoming::Close(_))) => {
                    self.connection.push_control(encode(Opcode::Close, &[]));
                    return ControlFlow::Break(());
                }
                Ok(None) => return ControlFlow::Continue(()),
                Err(error) => {
                    let reason = error.to_string();
                    return self.fail(&LinkError::new(error.close_code(), reason));
                }
            };
            self.take(frame)?;
        }
    }

    /// Takes one message of the client, whatever carried it.
    fn take(&mut self, frame: Frame) -> ControlFlow<()> {
        if let Err(error) = self.link.receive(self.app.now(), frame) {
            return self.fail(&error);
        }
        self.drain()
    }

    /// Does all that the client has asked for.
    fn drain(&mut self) -> ControlFlow<()> {
        loop {
            if let Some(message) = self.link.poll_message() {
                self.handle(message)?;
            } else if let Some(message) = self.poll_namespace() {
                self.in_namespace(message)?;
            } else if let ServerLink::Engine(link) = &mut self.link
                && let Some(message) = link.poll_engine()
                && let Some(handler) = &self.engine
            {
                handler(&crate::engineio::Socket::new(Arc::clone(&self.connection)), message);
            } else {
                return ControlFlow::Continue(());
            }
        }
    }

    fn carry_out(&mut self, message: ClientMessage) -> ControlFlow<()> {
        match message {
            ClientMessage::Hello(hello) => {
                self.hello(hello)?;
                // Those welcome before it began are told by the server.
                if self.app.shutdown.phase() >= Phase::Draining {
                    self.begin_close(self.app.shutdown.close());
                    return ControlFlow::Break(());
                }
            }
            ClientMessage::Subscribe(subscribe) => self.subscribe(subscribe),
            ClientMessage::Unsubscribe(id) => self.unsubscribe(id),
            ClientMessage::Publish(publish) => self.publish(publish),
            ClientMessage::Request { id, name, payload } => {
                let Some(member) = &self.member else { return ControlFlow::Continue(()) };
                let (session, identity) = (Arc::clone(&member.session), member.identity.clone());
                let allowed = self.may_ask(&identity, &name);
                let request = Request { session, identity, name, payload };
                let asked =
                    allowed.and_then(|()| self.requests.ask(&self.app.handlers, id, request));
                self.tell_share();
                if let Err(refused) = asked {
                    self.send(&ServerMessage::Reply { id, result: Err(refused) });
                }
            }
            ClientMessage::Cancel(id) => {
                self.requests.cancel(id);
                self.tell_share();
            }
            ClientMessage::Reply { id, result } => self.requests.replied(id, result),
            ClientMessage::Token(token) => self.fresh_token(&token),
            ClientMessage::Bye => {
                self.ended_by_client = true;
                self.begin_close(Close::new(CloseCode::NORMAL, "goodbye"));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn publish(&mut self, publish: Publish) {
        let Some(member) = &self.member else { return };
        let client = member.identity.clone();
        let Publish { seq, name, payload, priority, volatile, headers, identity } = publish;
        if let Err(refusal) = self.may_publish(&client, &name, &payload) {
            self.app.stats.published(None);
            return self.send(&if volatile {
                ServerMessage::Refused(refusal)
            } else {
                ServerMessage::PublishRefused { seq, refusal }
            });
        }
        // The id is left to the log: it follows from the position.
        let event = Event { name, payload, id: Arc::default(), priority, time: 0, headers };
        crate::trace::published(&event);
        if volatile {
            self.app.stats.volatile_published();
            return self.app.backplane.publish_volatile(event);
        }
        let Some(member) = &self.member else { return };
        let (id, number) = match identity {
            Some(identity) => (identity.producer, identity.number),
            None => (Arc::clone(&member.producer), seq),
        };
        let producer = Producer { id, number, sends_again: self.link.knows_tidings() };
        match self.app.backplane.publish(event, Some(producer)) {
            Published::Now(result) => self.published(seq, result),
            Published::Later(answer) => self.requests.publishing(seq, answer),
        }
    }

    fn may_publish(
        &mut self,
        identity: &Identity,
        name: &str,
        payload: &Payload,
    ) -> Result<(), Refusal> {
        self.app.check_publish_rate(&mut self.publish_rate)?;
        if let Some(share) = &self.share {
            share.publish(self.app.now())?;
        }
        self.app.check_publish(identity, name, payload)
    }

    fn published(&mut self, seq: u64, result: Result<Position, Refusal>) {
        self.app.stats.published(result.as_ref().ok().map(|position| position.lane));
        self.send(&match result {
            Ok(position) => ServerMessage::Published { seq, position },
            Err(refusal) => ServerMessage::PublishRefused { seq, refusal },
        });
    }

    fn answer(&mut self, answer: Answer) -> ControlFlow<()> {
        match answer {
            Answer::Reply(id, result) => {
                self.tell_share();
                self.send(&ServerMessage::Reply { id, result });
            }
            Answer::Published(seq, result) => self.published(seq, result),
            Answer::Prepared => return self.prepared(),
            Answer::None => {}
        }
        ControlFlow::Continue(())
    }

    /// Does what others asked of this connection.
    fn obey(&mut self) -> ControlFlow<()> {
        for command in self.connection.take_commands() {
            match command {
                Command::Request { name, payload, answer } => {
                    let id = self.requests.begin(answer);
                    self.send(&ServerMessage::Request { id, name, payload });
                    // The link may answer for a client that cannot.
                    self.drain()?;
                }
                Command::Superseded => {
                    self.superseded = Some(Instant::now() + self.app.config.timeouts.superseded)
                }
                Command::Judged(socket, judgement) => self.judged(socket, judgement)?,
                Command::LeftNamespace(socket) => self.left_namespace(&socket),
                Command::DisconnectSockets => return self.disconnect_sockets(),
                Command::Reconsider => self.reconsider()?,
                Command::Close(close) => {
                    self.begin_close(close);
                    return ControlFlow::Break(());
                }
                Command::Fail(error) => return self.fail(&error),
                Command::Lost => {
                    self.connection.end_polling();
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn deadline(&self) -> Option<Instant> {
        let link = self.link.next_timeout().map(|at| self.app.instant(at));
        [link, self.superseded, self.expires].into_iter().flatten().min()
    }

    fn timeout(&mut self) -> ControlFlow<()> {
        if self.deadline().is_none_or(|at| at > Instant::now()) {
            return ControlFlow::Continue(());
        }
        if self.superseded.is_some_and(|at| at <= Instant::now()) {
            self.begin_close(Close::new(CloseCode::REPLACED, "another connection has the session"));
            return ControlFlow::Break(());
        }
        if self.expires.is_some_and(|at| at <= Instant::now()) {
            return self.denied(&Denied::Expired);
        }
        if self.connection.is_body_stuck() {
            let reason = "nothing of what was sent was taken between two heartbeats";
            return self.fail(&LinkError::new(CloseCode::SLOW, reason));
        }
        if let Err(error) = self.link.handle_timeout(self.app.now()) {
            return self.fail(&error);
        }
        // Once per heartbeat is often enough: a cursor that lags costs reading a few events again.
        if let Some(member) = &self.member {
            let (hub, backplane) = (member.shard.hub.lock(), &self.app.backplane);
            // While a lane cannot be read its place may be one of a clock that is fast.
            let reached = |lane| hub.place(lane).offset.min(backplane.head(lane).offset);
            self.connection.with_feed(|feed| feed.tell_progress(reached));
        }
        ControlFlow::Continue(())
    }

    fn send(&mut self, message: &ServerMessage) {
        self.link.send(self.app.now(), message);
    }
}

/// Moves what the link wants to send into the outbox.
fn queue_frames(link: &mut ServerLink, connection: &Connection) {
    while let Some(frame) = link.poll_frame() {
        connection.push_control(finished(&frame));
    }
}

/// The finished WebSocket frame of a link's frame.
pub(crate) fn finished(frame: &Frame) -> Bytes {
    match frame {
        Frame::Text(text) => encode(Opcode::Text, text),
        Frame::Binary(data) => encode(Opcode::Binary, data),
    }
}

fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    websocket::encode(&mut frame, opcode, payload, None);
    frame.into()
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
