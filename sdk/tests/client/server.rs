//! A small server for these tests: it keeps everything, in one place, and does as it is told.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tidings_core::client::Transport;
use tidings_core::link::{ServerLink, ServerLinkConfig};
use tidings_core::message::*;
use tidings_core::socketio::{self, SocketIds};
use tidings_core::{
    Cursor, Epoch, Event, Lane, Offset, Partitioning, Pattern, Payload, Place, Priority, Time, ws,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};

/// A server until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    log: BTreeMap<Lane, Vec<Delivery>>,
    /// The last sequence number of each producer in each lane.
    seen: HashMap<(String, Lane), (u64, Offset)>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    next_offset: u64,
    /// Publishes are left unanswered.
    mute: bool,
    /// Answered to the next publish instead of an acknowledgement.
    refuse_publish: Option<Refusal>,
    /// Answered to every WebSocket that would be opened for this transport.
    refuse_open: Option<(Transport, u16)>,
    tokens: Vec<String>,
    replies: Vec<Result<Payload, Refusal>>,
    goodbyes: usize,
}

struct Connection {
    producer: String,
    subscriptions: Vec<(SubId, Pattern)>,
    push: mpsc::UnboundedSender<Push>,
    transport: Transport,
}

enum Push {
    Say(ServerMessage),
    Cut,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), Arc::default()).await
    }

    async fn listen(address: SocketAddr, state: Arc<Mutex<State>>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self { address, state, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and cuts all connections; what is in the log stays.
    pub(crate) async fn down(mut self) -> Down {
        self.accepting.abort();
        self.cut();
        let _ = (&mut self.accepting).await;
        Down { address: self.address, state: self.state.clone() }
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        for connection in self.lock().connections.values() {
            let _ = connection.push.send(Push::Cut);
        }
    }

    /// Says the same to every client.
    pub(crate) fn say(&self, message: &ServerMessage) {
        for connection in self.lock().connections.values() {
            let _ = connection.push.send(Push::Say(message.clone()));
        }
    }

    pub(crate) fn mute(&self, mute: bool) {
        self.lock().mute = mute;
    }

    pub(crate) fn refuse_publish(&self, refusal: Refusal) {
        self.lock().refuse_publish = Some(refusal);
    }

    pub(crate) fn refuse_open(&self, transport: Transport, status: u16) {
        self.lock().refuse_open = Some((transport, status));
    }

    /// The names and sequence of everything in the log.
    pub(crate) fn log(&self) -> Vec<(String, Payload)> {
        let state = self.lock();
        let mut all: Vec<_> = state.log.values().flatten().collect();
        all.sort_by_key(|delivery| delivery.position.map(|position| position.offset));
        all.iter().map(|d| (d.event.name.to_string(), d.event.payload.clone())).collect()
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        self.lock().tokens.clone()
    }

    pub(crate) fn replies(&self) -> Vec<Result<Payload, Refusal>> {
        self.lock().replies.clone()
    }

    pub(crate) fn goodbyes(&self) -> usize {
        self.lock().goodbyes
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.lock().connections.values().map(|c| c.subscriptions.len()).sum()
    }

    pub(crate) fn transports(&self) -> Vec<Transport> {
        self.lock().connections.values().map(|c| c.transport).collect()
    }

    /// Publishes as a client called `producer` would.
    pub(crate) fn publish(&self, name: &str, payload: Payload) {
        let publish = Publish {
            seq: 0,
            name: name.into(),
            payload,
            priority: Priority::Normal,
            volatile: false,
            headers: tidings_core::Headers::NONE,
            identity: None,
        };
        self.lock().append("server", publish);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A server that is down.
pub(crate) struct Down {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Down {
    /// The same server, at the same address, with the same log.
    pub(crate) async fn up(self) -> Server {
        Server::listen(self.address, self.state).await
    }
}

impl State {
    fn lanes(pattern: &Pattern) -> Vec<Lane> {
        let partitioning = Partitioning::new(4);
        let partitions = match partitioning.of_pattern(pattern.as_str()) {
            Some(partition) => partition..partition + 1,
            None => 0..4,
        };
        partitions
            .flat_map(|p| Priority::URGENT_FIRST.map(|priority| Lane::new(p, priority)))
            .collect()
    }

    fn place(&self, lane: Lane) -> Place {
        let last = self.log.get(&lane).and_then(|log| log.last()).and_then(|d| d.position);
        Place { epoch: Epoch(1), offset: last.map_or(Offset(0), |position| position.offset) }
    }

    fn cursor<'a>(&self, patterns: impl IntoIterator<Item = &'a Pattern>) -> Cursor {
        let lanes = patterns.into_iter().flat_map(Self::lanes);
        lanes.map(|lane| (lane, self.place(lane))).collect()
    }

    fn append(&mut self, producer: &str, publish: Publish) -> Option<Position> {
        let partition = Partitioning::new(4).of_name(&publish.name);
        let lane = Lane::new(partition, publish.priority);
        let key = (producer.to_owned(), lane);
        if let Some((seen, offset)) = self.seen.get(&key)
            && publish.seq > 0
            && publish.seq <= *seen
        {
            return Some(Position { lane, offset: *offset });
        }
        self.next_offset += 1;
        let position = Position { lane, offset: Offset(self.next_offset) };
        let delivery = Delivery {
            event: Event {
                name: publish.name,
                payload: publish.payload,
                id: format!("{producer}-{}", publish.seq).into(),
                priority: publish.priority,
                time: 1,
                headers: publish.headers,
            },
            position: (!publish.volatile).then_some(position),
            replay_for: None,
        };
        for connection in self.connections.values() {
            if connection.wants(&delivery) {
                let _ = connection.push.send(Push::Say(ServerMessage::Event(delivery.clone())));
            }
        }
        if publish.volatile {
            return None;
        }
        self.log.entry(lane).or_default().push(delivery);
        self.seen.insert(key, (publish.seq, position.offset));
        Some(position)
    }

    fn handle(&mut self, id: u64, message: ClientMessage) {
        let mut say = Vec::new();
        match message {
            ClientMessage::Hello(hello) => self.hello(id, hello, &mut say),
            ClientMessage::Subscribe(Subscribe { id: sub, pattern, since }) => {
                let pattern = Pattern::new(pattern).unwrap();
                if pattern.as_str().starts_with("secret") {
                    let refusal = Refusal::new(ErrorCode::FORBIDDEN, "not for you");
                    say.push(ServerMessage::SubscribeRefused { id: sub, refusal });
                } else {
                    let cursor = self.cursor([&pattern]);
                    for (lane, place) in since.iter().flat_map(Cursor::iter) {
                        for event in self.log.get(&lane).into_iter().flatten() {
                            let offset = event.position.unwrap().offset;
                            if offset > place.offset && pattern.matches(&event.event.name) {
                                let replay_for = Some(sub);
                                let replay = Delivery { replay_for, ..event.clone() };
                                say.push(ServerMessage::Event(replay));
                            }
                        }
                    }
                    say.insert(0, ServerMessage::Subscribed { id: sub, cursor });
                    self.connection(id).subscriptions.push((sub, pattern));
                }
            }
            ClientMessage::Unsubscribe(sub) => {
                self.connection(id).subscriptions.retain(|(id, _)| *id != sub);
                say.push(ServerMessage::Unsubscribed(sub));
            }
            ClientMessage::Publish(publish) => {
                let producer = self.connection(id).producer.clone();
                let seq = publish.seq;
                if let Some(refusal) = self.refuse_publish.take() {
                    say.push(ServerMessage::PublishRefused { seq, refusal });
                } else if let Some(position) = self.append(&producer, publish)
                    && !self.mute
                {
                    say.push(ServerMessage::Published { seq, position });
                }
            }
            ClientMessage::Request { id, name, payload } => match &*name {
                "echo" => say.push(ServerMessage::Reply { id, result: Ok(payload) }),
                "silence" => {}
                _ => {
                    let refusal = Refusal::new(ErrorCode::NO_HANDLER, "nobody handles it");
                    say.push(ServerMessage::Reply { id, result: Err(refusal) });
                }
            },
            ClientMessage::Cancel(_) => {}
            ClientMessage::Reply { result, .. } => self.replies.push(result),
            ClientMessage::Token(token) => {
                let refusal = Refusal::new(ErrorCode::FORBIDDEN, "a bad token");
                let answer = if token == "bad" { Err(refusal) } else { Ok(None) };
                self.tokens.push(token);
                say.push(ServerMessage::TokenAnswer(answer));
            }
            ClientMessage::Bye => self.goodbyes += 1,
        }
        let connection = self.connection(id);
        for message in say {
            let _ = connection.push.send(Push::Say(message));
        }
    }

    fn hello(&mut self, id: u64, hello: Hello, say: &mut Vec<ServerMessage>) {
        self.tokens.extend(hello.token.clone());
        if hello.token.as_deref() == Some("bad") {
            let close = Close::new(CloseCode::UNAUTHORIZED, "a bad token");
            return say.push(ServerMessage::Close(close));
        }
        let subscriptions: Vec<_> = hello
            .subscriptions
            .into_iter()
            .map(|s| (s.id, Pattern::new(s.pattern).unwrap()))
            .collect();
        let cursor = self.cursor(subscriptions.iter().map(|(_, pattern)| pattern));
        let connection = self.connection(id);
        connection.producer = hello.producer;
        connection.subscriptions = subscriptions;
        say.push(ServerMessage::Welcome(Welcome {
            session: hello.session.clone().unwrap_or_else(|| format!("session-{id}")),
            resumed: hello.session.is_some(),
            instance: "test".into(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1 << 20,
            max_in_flight: 16,
            cursor,
            refused: Vec::new(),
            expires_in: None,
        }));
        for (lane, place) in hello.cursor.iter() {
            for event in self.log.get(&lane).into_iter().flatten() {
                if event.position.unwrap().offset > place.offset
                    && self.connections[&id].wants(event)
                {
                    say.push(ServerMessage::Event(event.clone()));
                }
            }
        }
    }

    fn connection(&mut self, id: u64) -> &mut Connection {
        self.connections.get_mut(&id).unwrap()
    }
}

impl Connection {
    fn wants(&self, delivery: &Delivery) -> bool {
        self.subscriptions.iter().any(|(_, pattern)| pattern.matches(&delivery.event.name))
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    stream.set_nodelay(true).unwrap();
    let mut transport = Transport::Ws;
    let mut encoding = ws::Encoding::Json;
    let refuse = state.lock().unwrap().refuse_open;
    #[allow(clippy::result_large_err)]
    let upgrade = |request: &Request, mut response: Response| {
        if request.uri().path().starts_with("/socket.io") {
            transport = Transport::SocketIo;
        } else {
            let offered = &request.headers()["sec-websocket-protocol"];
            encoding = ws::Encoding::from_subprotocol(offered.to_str().unwrap()).unwrap();
            let value = HeaderValue::from_static(encoding.subprotocol());
            response.headers_mut().insert("sec-websocket-protocol", value);
        }
        match refuse {
            Some((refused, status)) if refused == transport => {
                let mut response = ErrorResponse::new(None);
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Err(response)
            }
            _ => Ok(response),
        }
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, upgrade).await else { return };
    let (push, pushed) = mpsc::unbounded_channel();
    let id = {
        let mut state = state.lock().unwrap();
        state.next_connection += 1;
        let id = state.next_connection;
        let (producer, subscriptions) = (String::new(), Vec::new());
        state.connections.insert(id, Connection { producer, subscriptions, push, transport });
        id
    };
    let link = match transport {
        Transport::SocketIo => {
            let [engine, socket, producer] = ["engine", "socket", "p"].map(|s| format!("{s}{id}"));
            let ids = SocketIds { engine, socket, producer };
            let link = socketio::ServerLink::new(ServerLinkConfig::default(), ids, Time::ZERO);
            ServerLink::SocketIo(Box::new(link))
        }
        _ => {
            let config = ServerLinkConfig::default();
            ServerLink::Ws(Box::new(ws::ServerLink::new(config, encoding, Time::ZERO)))
        }
    };
    converse(socket, link, pushed, &state, id).await;
    state.lock().unwrap().connections.remove(&id);
}

async fn converse(
    mut socket: WebSocketStream<TcpStream>,
    mut link: ServerLink,
    mut pushed: mpsc::UnboundedReceiver<Push>,
    state: &Mutex<State>,
    id: u64,
) {
    let start = Instant::now();
    loop {
        while let Some(frame) = link.poll_frame() {
            let message = match frame {
                Frame::Text(text) => Message::Text(text.try_into().unwrap()),
                Frame::Binary(bytes) => Message::Binary(bytes),
            };
            if socket.send(message).await.is_err() {
                return;
            }
        }
        let now = || Time::from_start(start.elapsed());
        tokio::select! {
            message = socket.next() => {
                let frame = match message {
                    Some(Ok(Message::Text(text))) => Frame::Text(text.into()),
                    Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => return,
                };
                link.receive(now(), frame).unwrap();
                while let Some(message) = link.poll_message() {
                    state.lock().unwrap().handle(id, message);
                }
            }
            Some(push) = pushed.recv() => match push {
                Push::Say(message) => {
                    link.send(now(), &message);
                    if matches!(message, ServerMessage::Close(_)) {
                        while let Some(Frame::Text(text)) = link.poll_frame() {
                            let _ = socket.send(Message::Text(text.try_into().unwrap())).await;
                        }
                        return;
                    }
                }
                Push::Cut => return,
            },
        }
    }
}
