//! The SDK's Socket.IO client against socketioxide, a server that is neither Node's nor Tidings'.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::StreamExt;
use rmpv::Value;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler;
use socketioxide::{SocketIo, TransportType};
use tidings::Advice;
use tidings::socketio::{
    Binary, DisconnectReason, Event, Events, Manager, ManagerBuilder, NotConnected, Socket,
    Transport,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const WAYS: [&[Transport]; 3] =
    [&[Transport::Polling, Transport::WebSocket], &[Transport::WebSocket], &[Transport::Polling]];

#[derive(Debug)]
struct Unwelcome;

impl fmt::Display for Unwelcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not authorized")
    }
}

async fn serve(socket: SocketRef) {
    socket.on("echo", async |socket: SocketRef, Data(value): Data<Value>, ack: AckSender| {
        ack.send(&value).ok();
        socket.emit("echoed", &value).ok();
    });
    socket.on("several", async |socket: SocketRef, Data(values): Data<(u32, String)>| {
        socket.emit("several", &values).ok();
    });
    socket.on("transport", async |socket: SocketRef, ack: AckSender| {
        ack.send(&(socket.transport_type() == TransportType::Websocket)).ok();
    });
    socket.on("ask me", async |socket: SocketRef| {
        if let Ok(answer) = socket.emit_with_ack::<_, Value>("question", "why?") {
            socket.emit("answered", &answer.await.unwrap_or(Value::Nil)).ok();
        }
    });
    socket.on("kick", async |socket: SocketRef| drop(socket.disconnect()));
}

async fn only_good(Data(auth): Data<serde_json::Value>) -> Result<(), Unwelcome> {
    if auth["token"] == "good" { Ok(()) } else { Err(Unwelcome) }
}

/// A server, ended when the handle is aborted.
async fn server() -> (u16, JoinHandle<()>) {
    let interval = Duration::from_secs(1);
    let builder = SocketIo::builder().ping_interval(interval);
    let (layer, io) = builder.ping_timeout(Duration::from_secs(10)).build_layer();
    io.ns("/", serve);
    io.ns("/chat", serve);
    io.ns("/members", serve.with(only_good));
    let app = axum::Router::new().layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
    (port, task)
}

fn builder(port: u16) -> ManagerBuilder {
    let (min, max) = (Duration::from_millis(20), Duration::from_millis(200));
    Manager::builder(format!("http://127.0.0.1:{port}")).reconnection_delay(min, max)
}

async fn connected(manager: &Manager, namespace: &str) -> Socket {
    let socket = manager.socket(namespace).expect("a namespace");
    let connected = tokio::time::timeout(Duration::from_secs(30), socket.connected()).await;
    connected.unwrap_or_else(|_| panic!("no connection: {socket:?}")).expect("connected");
    socket
}

async fn next(events: &mut Events) -> Event {
    let next = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    next.expect("an event within 30 s").expect("the stream goes on").expect("none was dropped")
}

#[tokio::test]
async fn values_and_binary_go_there_and_back_by_every_transport() {
    let (port, task) = server().await;
    for way in WAYS {
        let manager = builder(port).transports(way).build().unwrap();
        let socket = connected(&manager, "/").await;
        let mut echoed = socket.stream_of("echoed");
        let mut several = socket.stream_of("several");
        let value = (1, "größe".to_owned(), vec![Binary::from(vec![0, 255])]);
        let answer = socket.emit_with_ack("echo", (&value,)).await.unwrap();
        assert_eq!(answer.parse(), Ok((value.clone(),)), "{way:?}");
        assert_eq!(next(&mut echoed).await.args.parse(), Ok((value,)));
        for number in 0..100 {
            socket.emit("several", (number, "x")).unwrap();
        }
        let mut numbers = Vec::new();
        for _ in 0..100 {
            let (number, _): (u32, String) = next(&mut several).await.args.parse().unwrap();
            numbers.push(number);
        }
        // This server handles each event in a task of its own.
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..100));
        let upgraded = way != [Transport::Polling];
        while socket.emit_with_ack("transport", ()).await.unwrap().get(0) != Ok(upgraded) {}
        manager.close().await;
    }
    task.abort();
}

#[tokio::test]
async fn the_server_gets_its_acknowledgements() {
    let (port, task) = server().await;
    let manager = builder(port).build().unwrap();
    let socket = connected(&manager, "/").await;
    socket.on("question", |event| event.ack(("because", Binary::from(vec![7]))).unwrap());
    let mut answered = socket.stream_of("answered");
    socket.emit("ask me", ()).unwrap();
    assert_eq!(next(&mut answered).await.args.get::<String>(0), Ok("because".into()));
    task.abort();
}

#[tokio::test]
async fn namespaces_refusals_and_disconnects() {
    let (port, task) = server().await;
    let manager = builder(port).build().unwrap();
    let main = connected(&manager, "/").await;
    let chat = connected(&manager, "/chat").await;
    let mut in_main = main.events();
    chat.emit_with_ack("echo", (1,)).await.unwrap();
    main.emit_with_ack("echo", (2,)).await.unwrap();
    assert_eq!(next(&mut in_main).await.args.parse(), Ok((2,)));

    let members = manager.socket("/members").unwrap();
    let Err(NotConnected::Refused(error)) = members.connected().await else { panic!("let in") };
    assert_eq!((&*error.message, error.advice()), ("not authorized", Advice::RefreshAuth));
    let nowhere = manager.socket("/nowhere").unwrap();
    assert_eq!(nowhere.connected().await.unwrap_err().advice(), Advice::GiveUp);

    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    chat.on_disconnect(move |reason, _| tell.send(reason).unwrap_or(()));
    chat.emit("kick", ()).unwrap();
    assert_eq!(told.recv().await, Some(DisconnectReason::ServerDisconnect));
    assert!(main.is_connected());
    task.abort();
}

/// Waits until the server answers. It says that a client is connected before it listens to it: what
/// comes in between is lost.
async fn listening(socket: &Socket) {
    let ask = || socket.emit_with_ack("transport", ()).into_future();
    while tokio::time::timeout(Duration::from_secs(1), ask()).await.is_err() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_at_once() {
    let (port, task) = server().await;
    let clients = (0..100_usize).map(|number| {
        let manager = builder(port).transports(WAYS[number % 3]).build().unwrap();
        async move {
            let socket = connected(&manager, "/").await;
            listening(&socket).await;
            for n in 0..20 {
                let answer = socket.emit_with_ack("echo", (number * 100 + n,)).await.unwrap();
                assert_eq!(answer.parse(), Ok((number * 100 + n,)));
            }
            manager.close().await;
        }
    });
    let clients: Vec<_> = clients.map(tokio::spawn).collect();
    for client in clients {
        client.await.unwrap();
    }
    task.abort();
}
