//! The two ends of a `ws` connection against each other.

mod messages;

use std::time::Duration;

use messages::*;
use proptest::prelude::*;
use tidings_core::link::{LinkConfig, ServerLinkConfig, Wire, encode_event};
use tidings_core::message::*;
use tidings_core::socketio::Namespace;
use tidings_core::websocket::{Decoder, Incoming, Role};
use tidings_core::ws::{ClientLink, Encoding, ServerLink, encode_message};
use tidings_core::{Cursor, Payload, Time};

fn sub() -> impl Strategy<Value = SubId> {
    any::<u32>().prop_map(SubId)
}

fn request_id() -> impl Strategy<Value = RequestId> {
    any::<u32>().prop_map(RequestId)
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
        any::<String>().prop_map(ClientMessage::Token),
        Just(ClientMessage::Bye),
    ]
}

/// Everything a server sends after its welcome.
fn server_message() -> impl Strategy<Value = ServerMessage> {
    prop_oneof![
        (sub(), cursor()).prop_map(|(id, cursor)| ServerMessage::Subscribed { id, cursor }),
        told(),
        (any::<u64>(), position())
            .prop_map(|(seq, position)| ServerMessage::Published { seq, position }),
        (any::<u64>(), refusal())
            .prop_map(|(seq, refusal)| ServerMessage::PublishRefused { seq, refusal }),
        (request_id(), name(), payload()).prop_map(|(id, name, payload)| ServerMessage::Request {
            id,
            name,
            payload
        }),
        (request_id(), result()).prop_map(|(id, result)| ServerMessage::Reply { id, result }),
        any::<Option<u32>>().prop_map(|ms| {
            ServerMessage::TokenAnswer(Ok(ms.map(|ms| Duration::from_millis(ms.into()))))
        }),
        refusal().prop_map(|refusal| ServerMessage::TokenAnswer(Err(refusal))),
        (any::<u16>(), any::<String>(), prop::option::of(any::<u32>())).prop_map(
            |(code, reason, delay)| {
                let delay = delay.map(|ms| Duration::from_millis(ms.into()));
                ServerMessage::Close(Close { code: CloseCode(code), reason, delay })
            }
        ),
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
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            ..plain_welcome()
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

    /// The frames made once for everybody hold what the link would have sent.
    #[test]
    fn events_encoded_once_are_what_the_link_sends(encoding in encoding(), delivery in delivery()) {
        let mut pair = Pair::open(encoding, lenient());
        let frames = encode_event(pair.server.wire(), &Namespace::MAIN, &delivery);
        let event = ServerMessage::Event(delivery);
        prop_assert_eq!(&frames, &encode_message(encoding, &event));
        pair.server.send(pair.now, &event);
        let sent = pair.server.poll_frame().expect("the event");
        let mut decoder = Decoder::new(Role::Client, usize::MAX);
        let mut input = &frames[..];
        prop_assert_eq!(decoder.decode(&mut input), Ok(Some(Incoming::Message(sent))));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn arbitrary_messages_are_harmless(
        encoding in encoding(),
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            json_text().prop_map(|json| format!("[\"pub\",1,\"a\",{json}]").into_bytes()),
            r#"\["(pub|vol|sub|req|res|rerr|token|e|v|ack|at|gap)"(,([0-9]{1,3}|"[a-z]{0,3}"|\[\]|\{\}|\{"\$bin":"A{0,4}"\}|null)){0,6}\]"#
                .prop_map(String::into_bytes),
        ],
    ) {
        let frame = match encoding {
            Encoding::Json => Frame::Text(bytes.into()),
            Encoding::Msgpack => Frame::Binary(bytes.into()),
        };
        let mut pair = Pair::open(encoding, ServerLinkConfig::default());
        // Either link may give up, but what it makes of a message the other end understands.
        let _ = pair.client.receive(pair.now, frame.clone());
        if pair.server.receive(pair.now, frame).is_ok() {
            pair.deliver();
        }
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
    assert_eq!(
        Encoding::negotiate(["tidings.v1.msgpack", "tidings.v1.json"]),
        Some(Encoding::Msgpack),
        "the client's preference counts"
    );
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

#[test]
fn messages_of_the_other_sort_are_not_taken() {
    for (encoding, frame) in [
        (Encoding::Json, Frame::Binary(br#"["bye"]"#[..].into())),
        (Encoding::Msgpack, Frame::Text(r#"["bye"]"#.into())),
    ] {
        let mut pair = Pair::open(encoding, ServerLinkConfig::default());
        for result in
            [pair.server.receive(pair.now, frame.clone()), pair.client.receive(pair.now, frame)]
        {
            assert_eq!(result.expect_err("the wrong sort").close.code, CloseCode::BAD_FRAME);
        }
    }
}

#[test]
fn messages_of_the_server_that_a_client_does_not_know_are_ignored() {
    let mut pair = Pair::open(Encoding::Json, ServerLinkConfig::default());
    pair.client.receive(pair.now, Frame::Text(r#"["news",1,{}]"#.into())).expect("ignored");
    assert_eq!(pair.client.poll_message(), None);
    assert!(pair.client.receive(pair.now, Frame::Text(r#"["news",1,{}"#.into())).is_err());
}

#[test]
fn several_messages_come_as_one() {
    let mut pair = Pair::open(Encoding::Json, ServerLinkConfig::default());
    let several = concat!(r#"["at",[]]"#, "\u{1e}", r#"["unsubbed",7]"#, "\u{1e}", r#"["ping"]"#);
    pair.client.receive(pair.now, Frame::Text(several.into())).expect("three messages");
    assert_eq!(pair.client.poll_message(), Some(ServerMessage::Progress(Cursor::new())));
    assert_eq!(pair.client.poll_message(), Some(ServerMessage::Unsubscribed(SubId(7))));
    assert_eq!(pair.client.poll_message(), None);
    assert_eq!(pair.client.poll_frame(), Some(Frame::Text(r#"["pong"]"#.into())));
    for wrong in ["[\"at\",[]]\u{1e}", "\u{1e}", "[\"at\",\u{1e}[]]", "[\"at\",[]] [\"at\",[]]"] {
        let mut pair = Pair::open(Encoding::Json, ServerLinkConfig::default());
        let error = pair.client.receive(pair.now, Frame::Text(wrong.into()));
        assert_eq!(error.expect_err(wrong).close.code, CloseCode::BAD_FRAME);
    }
}

#[test]
fn a_link_takes_no_more_than_its_limit() {
    let config = ServerLinkConfig { max_frame: 20, ..ServerLinkConfig::default() };
    let mut server = ServerLink::new(config, Encoding::Json, Time::ZERO);
    let error = server.receive(Time::ZERO, Frame::Text("[".repeat(21).into()));
    assert_eq!(error.expect_err("too large").close.code, CloseCode::TOO_LARGE);
}

/// What MessagePack cannot carry natively arrives all the same, as its text.
#[test]
fn payloads_that_msgpack_cannot_say_travel_as_text() {
    for text in ["18446744073709551616", "[1e999]", &["[".repeat(129), "]".repeat(129)].concat()] {
        let mut pair = Pair::open(Encoding::Msgpack, ServerLinkConfig::default());
        let payload = Payload::Json(text.to_owned().into());
        let id = RequestId(1);
        let reply = ServerMessage::Reply { id, result: Ok(payload.clone()) };
        pair.server.send(pair.now, &reply);
        let frame = pair.server.poll_frame().expect("the reply");
        let received = pair.client.receive(pair.now, frame);
        if text.starts_with("[[") {
            assert!(received.is_err(), "deeper than a client takes in any encoding");
        } else {
            assert_eq!(pair.client.poll_message(), Some(reply));
        }
    }
    assert_eq!(Pair::open(Encoding::Msgpack, lenient()).server.wire(), Wire::WsMsgpack);
}
