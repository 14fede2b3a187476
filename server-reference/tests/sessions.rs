//! What sessions do, seen from a client that writes the Tidings protocol by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::{EventBus, Pattern, Payload};
use tidings_server::store::EventQuery;
use tidings_server::{Config, Request, Server, reply};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long anything may take before a test is given up as hanging.
const HANGS: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    bus: EventBus,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

fn serve(server: Server) -> Running {
    let (address, bus) = (server.local_addr(), server.bus().clone());
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(server.serve(async move { drop(stopped.await) }));
    Running { address, bus, stop, served }
}

async fn bind(config: Config) -> Server {
    // The clients here do not agree to be closed unless they are read from.
    let config = config
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .instance("test")
        .with(|c| c.timeouts.closing = Duration::from_millis(100));
    Server::builder().config(config).bind().await.expect("a server")
}

async fn start(config: Config) -> Running {
    serve(bind(config).await)
}

impl Running {
    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let url = format!("ws://{}/ws", self.address);
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
        Client { socket, welcome: Value::Null }
    }

    /// Connects and says hello with these members.
    async fn hello(&self, members: Value) -> Client {
        let mut client = self.connect().await;
        let mut hello = json!({ "v": 1, "producer": "p", "subs": [], "cursor": [] });
        for (key, value) in members.as_object().expect("members") {
            hello[key] = value.clone();
        }
        client.send(json!(["hello", hello])).await;
        client.welcome = client.expect("welcome").await[1].clone();
        client
    }

    async fn stats(&self, what: &str) -> Value {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let request = format!("GET {what} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let mut stream = tokio::io::BufStream::new(stream);
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("sent");
        tokio::io::AsyncWriteExt::flush(&mut stream).await.expect("sent");
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.expect("read");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str(body).expect("JSON")
    }

    /// Waits until so many events of normal priority were handed out.
    async fn delivered(&self, count: u64) {
        let is_delivered = async {
            while self.stats("/api/websocket/stats").await["delivered"]["normal"] != count {}
        };
        tokio::time::timeout(HANGS, is_delivered).await.expect("in time");
    }

    async fn stop(self) {
        self.stop.send(()).expect("the server runs");
        tokio::time::timeout(HANGS, self.served).await.expect("it ends").expect("without panic");
    }
}

struct Client {
    socket: WebSocketStream<TcpStream>,
    welcome: Value,
}

impl Client {
    async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("sent");
    }

    async fn receive(&mut self) -> Message {
        let message = tokio::time::timeout(HANGS, self.socket.next()).await.expect("in time");
        message.expect("an open connection").expect("a message")
    }

    /// The next message, which must be of this type. Pings are answered on the way.
    async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let message = self.receive().await;
            let text = message.to_text().unwrap_or_else(|_| panic!("{kind}, not {message:?}"));
            let value: Value =
                serde_json::from_str(text).unwrap_or_else(|_| panic!("{kind}, not {message:?}"));
            match value[0].as_str() {
                Some("ping") if kind != "ping" => self.send(json!(["pong"])).await,
                Some("at") if kind != "at" => {}
                _ => {
                    assert_eq!(value[0], kind, "{value}");
                    return value;
                }
            }
        }
    }

    /// The messages that come as the next one.
    async fn batch(&mut self) -> Vec<Value> {
        let message = self.receive().await;
        let text = message.to_text().expect("text");
        text.split('\x1e').map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }

    async fn subscribe(&mut self, id: u32, pattern: &str) {
        self.send(json!(["sub", id, pattern])).await;
        assert_eq!(self.expect("subbed").await[1], id);
    }

    /// Publishes and returns lane and offset.
    async fn publish(&mut self, seq: u64, name: &str, payload: Value) -> (Value, Value) {
        self.send(json!(["pub", seq, name, payload])).await;
        let ack = self.expect("ack").await;
        assert_eq!(ack[1], seq);
        (ack[2].clone(), ack[3].clone())
    }

    /// The next event: name and payload.
    async fn event(&mut self) -> (String, Value) {
        let event = self.expect("e").await;
        (event[3].as_str().expect("a name").to_owned(), event[4].clone())
    }

    /// The code with which the server closes the connection.
    async fn close_code(&mut self) -> u16 {
        loop {
            match self.receive().await {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Close(None) => panic!("a close without code"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn events_reach_those_who_subscribed_once_and_in_order() {
    let server = start(Config::default()).await;
    let mut reader = server.hello(json!({})).await;
    assert_eq!(reader.welcome["instance"], "test");
    assert_eq!(reader.welcome["resumed"], false);
    reader.subscribe(1, "orders.*.created").await;
    reader.subscribe(2, "orders.**").await;
    let mut other = server.hello(json!({})).await;
    other.subscribe(1, "users.**").await;
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    for seq in 1..=100 {
        writer.publish(seq, "orders.eu.created", json!(seq)).await;
    }
    writer.publish(101, "users.7", json!("u")).await;
    for n in 1..=100 {
        assert_eq!(reader.event().await, ("orders.eu.created".to_owned(), json!(n)));
    }
    assert_eq!(other.event().await, ("users.7".to_owned(), json!("u")));
    let stats = server.stats("/api/websocket/stats").await;
    assert_eq!(
        (&stats["delivered"]["total"], &stats["delivered"]["normal"]),
        (&json!(101), &json!(101))
    );
    assert_eq!((&stats["sessions"], &stats["subscriptions"]), (&json!(3), &json!(3)));
    // Latencies are recorded after the write, which the reader may see first.
    let mut latency = stats["latency_us"].clone();
    while latency["count"] != 101 {
        latency = server.stats("/api/websocket/stats").await["latency_us"].clone();
    }
    assert!(latency["p50"].as_u64() <= latency["max"].as_u64());
    let lanes = server.stats("/api/events/stats").await["lanes"].clone();
    let events = |lane: &Value| lane["events"].as_u64().expect("a number");
    assert_eq!(lanes.as_array().map(|lanes| lanes.iter().map(events).sum()), Some(101));
    server.stop().await;
}

#[tokio::test]
async fn what_is_sent_again_has_one_effect() {
    let server = start(Config::default()).await;
    let mut reader = server.hello(json!({})).await;
    reader.subscribe(1, "a").await;
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    let first = writer.publish(1, "a", json!("once")).await;
    assert_eq!(writer.publish(1, "a", json!("once")).await, first);
    let mut again = server.hello(json!({ "producer": "w" })).await;
    assert_eq!(again.publish(1, "a", json!("once")).await, first);
    again.publish(2, "a", json!("end")).await;
    assert_eq!(reader.event().await.1, "once");
    assert_eq!(reader.event().await.1, "end");
    server.stop().await;
}

#[tokio::test]
async fn a_session_goes_on_where_it_stopped() {
    let server = start(Config::default()).await;
    let mut first = server.hello(json!({ "subs": [[1, "a.**"]] })).await;
    let session = first.welcome["session"].clone();
    let mut cursor = first.welcome["cursor"].clone();
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    writer.publish(1, "a.b", json!(1)).await;
    let event = first.expect("e").await;
    for place in cursor.as_array_mut().expect("a cursor") {
        if place[0] == event[1] {
            place[2] = event[2].clone();
        }
    }
    drop(first);
    writer.publish(2, "a.b", json!(2)).await;
    writer.publish(3, "other", json!(3)).await;
    writer.publish(4, "a.c", json!(4)).await;
    let hello = json!({ "session": session, "subs": [[1, "a.**"]], "cursor": cursor });
    let mut second = server.hello(hello).await;
    assert_eq!((&second.welcome["resumed"], &second.welcome["session"]), (&json!(true), &session));
    assert_eq!(second.event().await, ("a.b".to_owned(), json!(2)));
    assert_eq!(second.event().await, ("a.c".to_owned(), json!(4)));
    writer.publish(5, "a.d", json!(5)).await;
    assert_eq!(second.event().await.1, 5);
    let stats = server.stats("/api/websocket/stats").await;
    assert_eq!(
        (&stats["recovery"]["resumed"], &stats["recovery"]["recovered"]),
        (&json!(1), &json!(2))
    );
    server.stop().await;
}

#[tokio::test]
async fn what_waits_together_comes_together_to_who_takes_it_so() {
    let server = start(Config::default()).await;
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    let (lane, _) = writer.publish(1, "a", json!(1)).await;
    for seq in 2..=100 {
        assert_eq!(writer.publish(seq, "a", json!(seq)).await.0, lane);
    }
    // All other clients here read one message from each WebSocket message.
    let past = json!(["sub", 1, "a", { "since": [[lane, 0, 0]] }]);
    let mut together = server.hello(json!({ "batch": 4096 })).await;
    together.send(past).await;
    let (mut payloads, mut frames) = (Vec::new(), 0);
    while payloads.len() < 100 {
        let message = together.receive().await;
        let text = message.to_text().expect("text");
        assert!(text.len() <= 4096, "{} bytes", text.len());
        let messages = text.split('\u{1e}').map(serde_json::from_str::<Value>);
        let messages = messages.map(|message| message.expect("one message"));
        payloads.extend(messages.filter(|m| m[0] == "e").map(|event| event[4].clone()));
        frames += 1;
    }
    assert!(payloads.iter().map(Value::as_u64).eq((1..=100).map(Some)), "{payloads:?}");
    assert!(frames < 20, "100 events came as {frames} WebSocket messages");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_retained_is_told_as_a_gap() {
    let server = start(Config::default().with(|c| c.retention.max_events = 2)).await;
    let mut first = server.hello(json!({ "subs": [[1, "a"]] })).await;
    let cursor = first.welcome["cursor"].clone();
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    for seq in 1..=5 {
        writer.publish(seq, "a", json!(seq)).await;
        assert_eq!(first.event().await.1, seq);
    }
    let mut late = server.hello(json!({ "subs": [[1, "a"]], "cursor": cursor })).await;
    late.expect("gap").await;
    assert_eq!(late.event().await.1, 4);
    assert_eq!(late.event().await.1, 5);
    server.stop().await;
}

#[tokio::test]
async fn the_newer_connection_of_a_session_counts() {
    let server = start(Config::default()).await;
    let mut old = server.hello(json!({ "subs": [[1, "a"]] })).await;
    let session = old.welcome["session"].clone();
    let cursor = old.welcome["cursor"].clone();
    let hello = json!({ "session": session, "subs": [[1, "a"]], "cursor": cursor });
    let mut new = server.hello(hello).await;
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    writer.publish(1, "a", json!(1)).await;
    assert_eq!(new.event().await.1, 1);
    assert_eq!(old.event().await.1, 1, "the old one is read until it is closed");
    old.socket.close(None).await.expect("closed");
    server.stop().await;
}

#[tokio::test]
async fn requests_are_answered_both_ways() {
    let server = bind(Config::default().with(|c| c.limits.max_requests = 1)).await;
    server.handle("sum", |request: Request| async move {
        let numbers: Vec<i64> = request.json()?;
        reply(&numbers.iter().sum::<i64>())
    });
    server.handle("never", |_| std::future::pending());
    let (ask, mut asked) = mpsc::unbounded_channel();
    let server = Arc::new(server);
    let (address, remote) = (server.local_addr(), server.remote());
    let bus = server.bus().clone();
    let (stop, stopped) = oneshot::channel();
    let server = Arc::into_inner(server).expect("one owner");
    let served = tokio::spawn(server.serve(async move { drop(stopped.await) }));
    let server = Running { address, bus, stop, served };

    let mut client = server.hello(json!({})).await;
    client.send(json!(["req", 1, "sum", [1, 2, 3]])).await;
    assert_eq!(client.expect("res").await, json!(["res", 1, 6]));
    client.send(json!(["req", 2, "sum", "x"])).await;
    assert_eq!(client.expect("rerr").await[2], ErrorCode::BAD_REQUEST.0);
    client.send(json!(["req", 3, "nobody", null])).await;
    assert_eq!(client.expect("rerr").await[2], ErrorCode::NO_HANDLER.0);
    client.send(json!(["req", 4, "never", null])).await;
    client.send(json!(["req", 5, "sum", []])).await;
    let refused = client.expect("rerr").await;
    assert_eq!((&refused[1], &refused[2]), (&json!(5), &json!(ErrorCode::TOO_MANY.0)));
    client.send(json!(["cancel", 4])).await;
    client.send(json!(["req", 6, "sum", [7]])).await;
    assert_eq!(client.expect("res").await, json!(["res", 6, 7]));

    let session = client.welcome["session"].as_str().expect("an id").to_owned();
    tokio::spawn(async move {
        let answer = remote.request(&session, "name?", Payload::NULL).await;
        let refusal = remote.request(&session, "age?", Payload::NULL).await;
        let unknown = remote.request("nobody", "name?", Payload::NULL).await;
        let _ = ask.send((answer, refusal, unknown));
    });
    let request = client.expect("req").await;
    assert_eq!((&request[2], &request[3]), (&json!("name?"), &json!(null)));
    client.send(json!(["res", request[1], "Ada"])).await;
    let request = client.expect("req").await;
    client.send(json!(["rerr", request[1], 305, "none of your business"])).await;
    let (answer, refusal, unknown) = asked.recv().await.expect("answers");
    assert_eq!(answer, Ok(Payload::Json("\"Ada\"".into())));
    assert_eq!(refusal, Err(Refusal::new(ErrorCode::FORBIDDEN, "none of your business")));
    assert_eq!(unknown.expect_err("not there").code, ErrorCode::DISCONNECTED);
    server.stop().await;
}

#[tokio::test]
async fn services_and_clients_meet_on_the_bus() {
    let server = start(Config::default()).await;
    let mut reader = server.hello(json!({})).await;
    reader.subscribe(1, "**").await;

    // A service answers what clients publish, and knows of no connection.
    let (heard, mut hears) = mpsc::unbounded_channel();
    let bus = server.bus.clone();
    let service = server.bus.on("orders.*.created", move |event| {
        let _ = heard.send(event.name.to_string());
        let answer = bus.event("mails.sent", event.payload.clone()).expect("a name");
        bus.emit(&answer);
    });
    let _service = service.expect("a pattern");

    let mut writer = server.hello(json!({ "producer": "w" })).await;
    writer.publish(1, "orders.eu.created", json!({ "id": 7 })).await;
    assert_eq!(hears.recv().await.as_deref(), Some("orders.eu.created"));
    let mut seen = [reader.event().await, reader.event().await];
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(seen[0], ("mails.sent".to_owned(), json!({ "id": 7 })));
    assert_eq!(seen[1], ("orders.eu.created".to_owned(), json!({ "id": 7 })));

    for n in 0..300 {
        let event = server.bus.event("ticks", Payload::Json(n.to_string().into())).expect("a name");
        server.bus.emit(&event);
    }
    for n in 0..300 {
        assert_eq!(reader.event().await, ("ticks".to_owned(), json!(n)));
    }
    let volatile = json!(["vol", "orders.us.created", 1]);
    writer.send(volatile).await;
    assert_eq!(hears.recv().await.as_deref(), Some("orders.us.created"));
    let stats = server.stats("/api/events/stats").await;
    assert_eq!(stats["bus"]["listeners"], 1);
    assert_eq!(stats["bus"]["called"], 2);
    server.stop().await;
}

#[tokio::test]
async fn what_a_client_does_wrong_costs_that_message_alone() {
    let config = Config::default().with(|c| {
        c.limits.max_payload = 100;
        c.limits.max_depth = 3;
        c.limits.max_subscriptions = 2;
        c.limits.publish_burst = 3;
        c.limits.publish_rate = 1;
    });
    let server = start(config).await;
    let mut client = server.hello(json!({})).await;
    for (message, kind, code) in [
        (json!(["pub", 1, "a\nb", 1]), "nack", ErrorCode::BAD_NAME),
        (json!(["pub", 2, "a", "x".repeat(200)]), "nack", ErrorCode::TOO_LARGE),
        (json!(["pub", 3, "a", [[[[1]]]]]), "nack", ErrorCode::TOO_DEEP),
        (json!(["sub", 1, ""]), "suberr", ErrorCode::BAD_NAME),
        (json!(["nonsense", 1]), "err", ErrorCode::BAD_REQUEST),
    ] {
        client.send(message.clone()).await;
        let answer = client.expect(kind).await;
        let at = answer.as_array().map_or(0, Vec::len) - 2;
        assert_eq!(answer[at], code.0, "{message} -> {answer}");
    }
    client.subscribe(1, "a").await;
    client.subscribe(2, "b").await;
    client.send(json!(["sub", 3, "c"])).await;
    let refused = client.expect("suberr").await;
    assert_eq!(refused[2], ErrorCode::TOO_MANY_SUBSCRIPTIONS.0);
    client.send(json!(["unsub", 2])).await;
    client.expect("unsubbed").await;
    client.subscribe(3, "c").await;

    for seq in 4..=6 {
        client.send(json!(["pub", seq, "c", seq])).await;
    }
    client.send(json!(["pub", 7, "c", 7])).await;
    let (mut acked, mut refused, mut events) = (0, 0, 0);
    while acked + refused < 4 || events < acked {
        let message = client.receive().await;
        let message: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
        match message[0].as_str() {
            Some("ack") => acked += 1,
            Some("e") => events += 1,
            Some("nack") => {
                assert_eq!((&message[1], &message[2]), (&json!(7), &json!(ErrorCode::TOO_MANY.0)));
                refused += 1;
            }
            _ => {}
        }
    }
    assert_eq!((acked, refused), (3, 1));
    let stats = server.stats("/api/events/stats").await;
    assert_eq!(stats["published"]["total"], 3);
    server.stop().await;
}

#[tokio::test]
async fn what_breaks_a_connection_is_told_and_affects_no_other() {
    let config = Config::default().with(|c| {
        c.limits.max_payload = 100;
        c.limits.max_frame = 200;
        c.timeouts.hello = Duration::from_millis(100);
    });
    let server = start(config).await;
    let mut bystander = server.hello(json!({})).await;

    let mut client = server.hello(json!({})).await;
    client.send_text("{not json").await;
    assert_eq!(client.close_code().await, 4500);
    let mut client = server.hello(json!({})).await;
    client.send_text(&"x".repeat(300)).await;
    assert!([1009, 4503].contains(&client.close_code().await));
    let mut client = server.connect().await;
    client.send(json!(["sub", 1, "a"])).await;
    assert_eq!(client.close_code().await, 4500);
    let mut client = server.connect().await;
    assert_eq!(client.close_code().await, 4005, "no hello in time");

    bystander.subscribe(1, "a").await;
    bystander.publish(1, "a", json!(1)).await;
    assert_eq!(bystander.event().await.1, 1);
    let mut stats = server.stats("/api/websocket/stats").await;
    assert_eq!(stats["connections"]["closed"]["4005"], 1);
    while stats["connections"]["ws"] != 1 {
        stats = server.stats("/api/websocket/stats").await;
    }
    assert_eq!(stats["sessions"], 1);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_given_up() {
    let config = Config::default().with(|c| {
        c.heartbeat.ping_interval = Duration::from_millis(20);
        c.heartbeat.ping_timeout = Duration::from_millis(50);
    });
    let server = start(config).await;
    let mut silent = server.hello(json!({})).await;
    silent.expect("ping").await;
    assert_eq!(silent.close_code().await, 4002);
    server.stop().await;
}

#[tokio::test]
async fn events_wait_for_others_as_long_as_the_client_wants() {
    let hour = Duration::from_secs(3600);
    let server = start(Config::default().with(|c| c.queues.max_batch_delay = hour)).await;
    let wants = json!({ "batch": 16_384, "batch_delay": 2 * hour.as_millis() as u64 });
    let mut patient = server.hello(wants).await;
    patient.subscribe(1, "a").await;
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    for seq in 1..=5 {
        writer.publish(seq, "a", json!(seq)).await;
    }
    server.delivered(5).await;
    let stats = server.stats("/api/websocket/stats").await;
    assert!(stats["queued_bytes"]["normal"].as_u64() > Some(0), "they are sent: {stats}");
    writer.send(json!(["pub", 6, "a", "urgent", { "priority": "critical" }])).await;
    writer.expect("ack").await;
    let payloads: Vec<Value> = patient.batch().await.iter().map(|it| it[4].clone()).collect();
    assert_eq!(json!(payloads), json!(["urgent", 1, 2, 3, 4, 5]));
    // So does a critical one that is volatile.
    writer.publish(7, "a", json!(7)).await;
    server.delivered(6).await;
    writer.send(json!(["vol", "a", "urgent", { "priority": "critical" }])).await;
    let kinds: Vec<Value> = patient.batch().await.iter().map(|it| it[0].clone()).collect();
    assert_eq!(json!(kinds), json!(["v", "e"]));
    // What is asked for is answered at once, and takes along what waits.
    writer.publish(8, "a", json!(8)).await;
    server.delivered(7).await;
    patient.send(json!(["unsub", 1])).await;
    let kinds: Vec<Value> = patient.batch().await.iter().map(|it| it[0].clone()).collect();
    assert_eq!(json!(kinds), json!(["unsubbed", "e"]));
    server.stop().await;
}

#[tokio::test]
async fn no_event_waits_longer_than_the_server_allows() {
    let config = Config::default().with(|c| c.queues.max_batch_delay = Duration::from_millis(5));
    let server = start(config).await;
    let mut patient = server.hello(json!({ "batch": 16_384, "batch_delay": u32::MAX })).await;
    patient.subscribe(1, "a").await;
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    for seq in 1..=3 {
        writer.publish(seq, "a", json!(seq)).await;
        assert_eq!(patient.event().await, ("a".to_owned(), json!(seq)));
        writer.send(json!(["vol", "a", "volatile"])).await;
        assert_eq!(patient.expect("v").await[2], "volatile");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_slow_reader_makes_nobody_wait_and_gets_everything() {
    let config = Config::default().with(|c| c.queues.normal = 16 << 10);
    let server = start(config).await;
    let mut slow = server.hello(json!({})).await;
    slow.subscribe(1, "a").await;
    let mut fast = server.hello(json!({})).await;
    fast.subscribe(1, "a").await;
    let mut writer = server.hello(json!({ "producer": "w" })).await;
    // More than the kernel's buffers of a connection hold.
    let padding = "x".repeat(10_000);
    let count = 1500;
    for seq in 1..=count {
        writer.publish(seq, "a", json!([seq, padding])).await;
        assert_eq!(fast.event().await.1[0], seq);
        let stats = server.stats("/api/websocket/stats").await;
        if stats["recovery"]["fell_behind"] != 0 {
            break;
        }
        assert_ne!(seq, count, "it never fell behind");
    }
    let queued = server.stats("/api/websocket/stats").await["queued_bytes"]["normal"].clone();
    assert!(queued.as_u64() <= Some(32 << 10), "{queued}");
    writer.publish(count + 1, "a", json!(["end"])).await;
    let mut last = 0;
    loop {
        let (_, payload) = slow.event().await;
        match payload[0].as_u64() {
            Some(n) => assert_eq!(n, last + 1),
            None => break,
        }
        last += 1;
    }
    let stats = server.stats("/api/websocket/stats").await;
    assert_eq!(stats["recovery"]["gaps"], 0);
    assert!(stats["recovery"]["recovered"].as_u64() > Some(0));
    server.stop().await;
}

#[tokio::test]
async fn clients_are_told_to_go_before_the_server_does() {
    let config = Config::default().with(|c| c.timeouts.drain = HANGS);
    let server = start(config).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(server.hello(json!({})).await);
    }
    let told = tokio::spawn(async move {
        let mut delays = Vec::new();
        for client in &mut clients {
            let close = client.expect("close").await;
            assert_eq!(close[1], 4000);
            delays.push(close[3].as_u64().expect("a delay"));
            assert_eq!(client.close_code().await, 4000);
        }
        delays
    });
    server.stop().await;
    let mut delays = told.await.expect("they were told");
    delays.dedup();
    assert_eq!(delays.len(), 5, "{delays:?}");
}

#[tokio::test]
async fn who_was_connected_is_kept_in_a_database_and_health_tells_how_that_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", directory.path().join("tidings.db").display());
    let config = Config::default().with(|c| {
        c.store.database = url.as_str().into();
        c.store.events = true;
        c.store.interval = Duration::from_millis(10);
    });
    let running = start(config.clone()).await;
    let health = running.stats("/api/websocket/health").await;
    assert_eq!((&health["status"], &health["store"]["kind"]), (&json!("ok"), &json!("sqlite")));
    let mut client = running.hello(json!({})).await;
    client.publish(1, "orders.1", json!({ "total": 17 })).await;
    let shown = running.stats("/api/websocket/sessions").await["sessions"][0].clone();
    client.send(json!(["bye"])).await;
    let ended = loop {
        let page = running.stats("/api/websocket/sessions?ended=true").await;
        if let [ended] = page["sessions"].as_array().expect("a page").as_slice() {
            break ended.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    for member in ["id", "since_ms", "address", "instance", "transport"] {
        assert_eq!(ended[member], shown[member], "{member}");
    }
    assert_eq!((&ended["code"], &ended["reason"]), (&json!(1000), &json!("goodbye")));
    running.stop().await;

    // What was published is there after a restart, although the log is not.
    let server = bind(config).await;
    let remote = server.remote();
    let running = serve(server);
    let query = EventQuery::new(Pattern::new("orders.*").expect("a pattern"));
    let page = remote.kept_events(&query).await.expect("an answer");
    assert_eq!(page.events.len(), 1);
    assert_eq!(&page.events[0].event.payload.bytes()[..], br#"{"total":17}"#);
    running.stop().await;
}
