//! The two ends of a `ws` connection against each other.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tidings_core::lane::{Epoch, Lane, Offset, Place};
use tidings_core::link::{LinkConfig, ServerLinkConfig};
use tidings_core::message::*;
use tidings_core::ws::{ClientLink, Encoding, ServerLink};
use tidings_core::{Cursor, Event, Headers, Payload, Priority, Time};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,12}", any::<String>()]
}

fn name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof!["[a-z]{1,8}(\\.[a-z0-9]{1,8}){0,4}", "chat message|\"\\\\|é\\.ü|\u{1F600}"]
        .prop_map(Arc::from)
}

fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("JSON has no others", |f| f.is_finite())
            .prop_map(|f| serde_json::to_string(&f).expect("finite")),
        text().prop_map(|s| serde_json::to_string(&s).expect("a string")),
    ];
    let key = prop_oneof![text(), prop::sample::select(vec!["$bin", "$esc", "$"]).prop_map_into()];
    scalar.prop_recursive(3, 20, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((key.clone(), inner), 0..3).prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(k, v)| format!("{}:{v}", serde_json::to_string(&k).expect("a string")))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        json().prop_map(|text| Payload::Json(text.into())),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Payload::Binary(bytes.into())),
        prop::sample::select(vec![r#"{"$bin":"AAAA"}"#, r#"{"$esc":1}"#, r#"{"\u0024bin":null}"#])
            .prop_map(|text| Payload::Json(text.into())),
    ]
}

fn headers() -> impl Strategy<Value = Headers> {
    prop::collection::vec((text(), text()), 0..3).prop_map(Headers::new)
}

fn priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(Priority::URGENT_FIRST.to_vec())
}

fn lane() -> impl Strategy<Value = Lane> {
    (any::<u16>(), priority()).prop_map(|(partition, priority)| Lane::new(partition, priority))
}

fn offset() -> impl Strategy<Value = Offset> {
    (0..1_u64 << 53).prop_map(Offset)
}

fn cursor() -> impl Strategy<Value = Cursor> {
    let place = (any::<u32>(), offset()).prop_map(|(e, offset)| Place { epoch: Epoch(e), offset });
    prop::collection::vec((lane(), place), 0..4).prop_map(|places| places.into_iter().collect())
}

fn refusal() -> impl Strategy<Value = Refusal> {
    (any::<u16>(), text()).prop_map(|(code, message)| Refusal::new(ErrorCode(code), message))
}

fn sub() -> impl Strategy<Value = SubId> {
    any::<u32>().prop_map(SubId)
}

fn subscribe() -> impl Strategy<Value = Subscribe> {
    (sub(), text(), prop::option::of(cursor())).prop_map(|(id, pattern, since)| Subscribe {
        id,
        pattern,
        since,
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let subs = prop::collection::vec(subscribe(), 0..3);
    (prop::option::of(text()), text(), prop::option::of(text()), subs, cursor()).prop_map(
        |(session, producer, token, subscriptions, cursor)| Hello {
            session,
            producer,
            token,
            subscriptions,
            cursor,
        },
    )
}

fn publish() -> impl Strategy<Value = Publish> {
    (any::<u64>(), name(), payload(), priority(), headers()).prop_map(
        |(seq, name, payload, priority, headers)| Publish {
            seq,
            name,
            payload,
            priority,
            volatile: seq == 0,
            headers,
        },
    )
}

fn request_id() -> impl Strategy<Value = RequestId> {
    any::<u32>().prop_map(RequestId)
}

fn result() -> impl Strategy<Value = Result<Payload, Refusal>> {
    prop_oneof![payload().prop_map(Ok), refusal().prop_map(Err)]
}

/// Everything a client sends after its hello.
fn client_message() -> impl Strategy<Value = ClientMessage> {
    prop_oneof![
        subscribe().prop_map(ClientMessage::Subscribe),
        sub().prop_map(ClientMessage::Unsubscribe),
        publish().prop_map(ClientMessage::Publish),
        publish().prop_map(|p| ClientMessage::Publish(Publish { seq: 0, volatile: true, ..p })),
        (request_id(), name(), payload()).prop_map(|(id, name, payload)| ClientMessage::Request {
            id,
            name,
            payload
        }),
        request_id().prop_map(ClientMessage::Cancel),
        (request_id(), result()).prop_map(|(id, result)| ClientMessage::Reply { id, result }),
        text().prop_map(ClientMessage::Token),
        Just(ClientMessage::Bye),
    ]
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let refused = prop::collection::vec((sub(), refusal()), 0..3);
    (text(), any::<bool>(), text(), 1..100_000_u64, any::<[u32; 2]>(), cursor(), refused).prop_map(
        |(session, resumed, instance, ping, [max_payload, max_in_flight], cursor, refused)| {
            Welcome {
                session,
                resumed,
                instance,
                ping_interval: Duration::from_millis(ping),
                ping_timeout: Duration::from_millis(ping / 2),
                max_payload,
                max_in_flight,
                cursor,
                refused,
            }
        },
    )
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let position = prop::option::of((lane(), offset()));
    let replay = prop::option::of(sub());
    (position, name(), payload(), text(), priority(), any::<u64>(), headers(), replay).prop_map(
        |(position, name, payload, id, priority, time, headers, replay_for)| {
            let position = position.map(|(lane, offset)| Position { lane, offset });
            let priority = position.map_or(priority, |p| p.lane.priority());
            let event = Event { name, payload, id: id.into(), priority, time, headers };
            Delivery { event, position, replay_for }
        },
    )
}

/// Everything a server sends after its welcome.
fn server_message() -> impl Strategy<Value = ServerMessage> {
    prop_oneof![
        (sub(), cursor()).prop_map(|(id, cursor)| ServerMessage::Subscribed { id, cursor }),
        (sub(), refusal())
            .prop_map(|(id, refusal)| ServerMessage::SubscribeRefused { id, refusal }),
        sub().prop_map(ServerMessage::Unsubscribed),
        delivery().prop_map(ServerMessage::Event),
        cursor().prop_map(ServerMessage::Progress),
        (lane(), offset(), offset(), any::<u32>(), prop::option::of(sub())).prop_map(
            |(lane, from, to, epoch, replay_for)| {
                ServerMessage::Gap(Gap { lane, from, to, epoch: Epoch(epoch), replay_for })
            }
        ),
        (any::<u64>(), lane(), offset()).prop_map(|(seq, lane, offset)| {
            ServerMessage::Published { seq, position: Position { lane, offset } }
        }),
        (any::<u64>(), refusal())
            .prop_map(|(seq, refusal)| ServerMessage::PublishRefused { seq, refusal }),
        (request_id(), name(), payload()).prop_map(|(id, name, payload)| ServerMessage::Request {
            id,
            name,
            payload
        }),
        (request_id(), result()).prop_map(|(id, result)| ServerMessage::Reply { id, result }),
        Just(ServerMessage::TokenAnswer(Ok(()))),
        refusal().prop_map(|refusal| ServerMessage::TokenAnswer(Err(refusal))),
        refusal().prop_map(ServerMessage::Refused),
        (any::<u16>(), text(), prop::option::of(any::<u32>())).prop_map(|(code, reason, delay)| {
            let delay = delay.map(|ms| Duration::from_millis(ms.into()));
            ServerMessage::Close(Close { code: CloseCode(code), reason, delay })
        }),
    ]
}

/// Two links, joined by hand.
struct Pair {
    client: ClientLink,
    server: ServerLink,
    now: Time,
}

impl Pair {
    fn new(encoding: Encoding, config: ServerLinkConfig, hello: Hello) -> Self {
        let now = Time::ZERO;
        let mut client = ClientLink::new(LinkConfig::default(), hello, now);
        assert_eq!(client.poll_frame(), None, "the hello waits for the WebSocket");
        client.opened(now, Some(encoding.subprotocol())).expect("a known subprotocol");
        let server = ServerLink::new(config, encoding, now);
        Self { client, server, now }
    }

    /// A pair that has greeted.
    fn open(encoding: Encoding, config: ServerLinkConfig) -> Self {
        let welcome = Welcome {
            session: "s".into(),
            resumed: false,
            instance: "i".into(),
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            max_payload: 1 << 20,
            max_in_flight: 64,
            cursor: Cursor::new(),
            refused: Vec::new(),
        };
        let mut pair = Self::new(encoding, config, Hello::default());
        pair.deliver();
        assert_eq!(pair.server.poll_message(), Some(ClientMessage::Hello(Hello::default())));
        pair.server.send(pair.now, &ServerMessage::Welcome(welcome.clone()));
        pair.deliver();
        assert_eq!(pair.client.poll_message(), Some(ServerMessage::Welcome(welcome)));
        pair
    }

    /// Carries every frame to its receiver.
    fn deliver(&mut self) {
        while let Some(frame) = self.client.poll_frame() {
            self.server.receive(self.now, frame).expect("a client that keeps to the protocol");
        }
        while let Some(frame) = self.server.poll_frame() {
            self.client.receive(self.now, frame).expect("a server that keeps to the protocol");
        }
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }
}

fn encoding() -> impl Strategy<Value = Encoding> {
    prop::sample::select(Encoding::ALL.to_vec())
}

fn lenient() -> ServerLinkConfig {
    ServerLinkConfig { max_headers: 1 << 20, ..ServerLinkConfig::default() }
}

proptest! {
    #[test]
    fn a_server_reads_what_a_client_writes(encoding in encoding(), message in client_message()) {
        let mut pair = Pair::open(encoding, lenient());
        pair.client.send(message.clone());
        pair.deliver();
        prop_assert_eq!(pair.client.poll_message(), None);
        prop_assert_eq!(pair.server.poll_message(), Some(message));
    }

    #[test]
    fn a_client_reads_what_a_server_writes(encoding in encoding(), message in server_message()) {
        let mut pair = Pair::open(encoding, lenient());
        pair.server.send(pair.now, &message);
        pair.deliver();
        prop_assert_eq!(pair.client.poll_message(), Some(message));
    }

    #[test]
    fn greetings_survive(encoding in encoding(), hello in hello(), welcome in welcome()) {
        let mut pair = Pair::new(encoding, lenient(), hello.clone());
        pair.deliver();
        prop_assert_eq!(pair.server.poll_message(), Some(ClientMessage::Hello(hello)));
        pair.server.send(pair.now, &ServerMessage::Welcome(welcome.clone()));
        pair.deliver();
        prop_assert_eq!(pair.client.poll_message(), Some(ServerMessage::Welcome(welcome)));
    }
}

const INTERVAL: Duration = Duration::from_secs(25);
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn heartbeats_keep_a_silent_connection() {
    for encoding in Encoding::ALL {
        let mut pair = Pair::open(encoding, ServerLinkConfig::default());
        for beat in 1..100 {
            let due = pair.server.next_timeout().expect("a ping is always due");
            assert_eq!(due, Time::from_start(INTERVAL * beat));
            assert_eq!(pair.client.next_timeout(), Some(pair.now + INTERVAL + TIMEOUT));
            pair.now = due;
            pair.server.handle_timeout(pair.now).expect("alive");
            pair.client.handle_timeout(pair.now).expect("alive");
            pair.deliver();
            pair.deliver();
            assert_eq!(pair.server.poll_message(), None, "pongs are no messages");
        }
    }
}

#[test]
fn a_silent_client_is_given_up() {
    let mut pair = Pair::open(Encoding::Json, ServerLinkConfig::default());
    pair.advance(INTERVAL);
    pair.server.handle_timeout(pair.now).expect("the ping is sent");
    assert_eq!(pair.server.next_timeout(), Some(pair.now + TIMEOUT));
    pair.advance(TIMEOUT - Duration::from_millis(1));
    pair.server.handle_timeout(pair.now).expect("still waiting");
    pair.advance(Duration::from_millis(1));
    let error = pair.server.handle_timeout(pair.now).expect_err("given up");
    assert_eq!(error.close.code, CloseCode::HEARTBEAT);
}

#[test]
fn any_message_answers_a_ping() {
    let mut pair = Pair::open(Encoding::Json, ServerLinkConfig::default());
    pair.advance(INTERVAL);
    pair.server.handle_timeout(pair.now).expect("the ping is sent");
    let unsub = Frame::Text(r#"["unsub",1]"#.into());
    pair.server.receive(pair.now, unsub).expect("a message");
    pair.advance(TIMEOUT);
    pair.server.handle_timeout(pair.now).expect("something came");
}

#[test]
fn a_silent_server_is_given_up() {
    let mut pair = Pair::open(Encoding::Json, ServerLinkConfig::default());
    pair.advance(INTERVAL + TIMEOUT - Duration::from_millis(1));
    pair.client.handle_timeout(pair.now).expect("still waiting");
    pair.advance(Duration::from_millis(1));
    let error = pair.client.handle_timeout(pair.now).expect_err("given up");
    assert_eq!(error.close.code, CloseCode::HEARTBEAT);
}

#[test]
fn greetings_have_deadlines() {
    let mut pair = Pair::new(Encoding::Json, ServerLinkConfig::default(), Hello::default());
    assert_eq!(pair.server.next_timeout(), Some(Time::from_start(Duration::from_secs(10))));
    assert_eq!(pair.client.next_timeout(), Some(Time::from_start(Duration::from_secs(10))));
    pair.advance(Duration::from_secs(10));
    let error = pair.server.handle_timeout(pair.now).expect_err("no hello");
    assert_eq!(error.close.code, CloseCode::HELLO_TIMEOUT);
    let error = pair.client.handle_timeout(pair.now).expect_err("no welcome");
    assert_eq!(error.close.code, CloseCode::HELLO_TIMEOUT);
}

#[test]
fn subprotocols_are_agreed() {
    assert_eq!(Encoding::negotiate(["chat", "tidings.v1.json"]), Some(Encoding::Json));
    assert_eq!(Encoding::negotiate(["chat"]), None);
    for chosen in [None, Some("tidings.v9.json")] {
        let mut client = ClientLink::new(LinkConfig::default(), Hello::default(), Time::ZERO);
        let error = client.opened(Time::ZERO, chosen).expect_err("unknown");
        assert_eq!(error.close.code, CloseCode::UNSUPPORTED);
    }
}

#[test]
fn greetings_come_first_and_once() {
    let json = |text: &'static str| Frame::Text(text.into());
    let mut pair = Pair::new(Encoding::Json, ServerLinkConfig::default(), Hello::default());
    for first in [r#"["sub",1,"a"]"#, r#"["pong"]"#, r#"["sub"]"#] {
        let error = pair.server.receive(pair.now, json(first)).expect_err(first);
        assert_eq!(error.close.code, CloseCode::BAD_FRAME);
    }
    assert!(pair.client.receive(pair.now, json(r#"["at",[]]"#)).is_err());
    pair.client.receive(pair.now, json(r#"["close",4502,"no"]"#)).expect("it may be turned away");
    assert!(matches!(pair.client.poll_message(), Some(ServerMessage::Close(_))));

    let mut pair = Pair::open(Encoding::Json, ServerLinkConfig::default());
    pair.server.receive(pair.now, json(r#"["hello",{"v":1,"producer":"p"}]"#)).expect("refused");
    pair.deliver();
    assert!(matches!(pair.client.poll_message(), Some(ServerMessage::Refused(_))));
    assert_eq!(pair.server.poll_message(), None);
}
