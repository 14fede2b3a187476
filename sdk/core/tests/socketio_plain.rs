//! The server's link with clients that know nothing of Tidings: what they write, what they read,
//! and what becomes of mistakes.

use bytes::Bytes;
use tidings_core::link::{ServerLinkConfig, Wire};
use tidings_core::message::*;
use tidings_core::msgpack::Writer;
use tidings_core::socketio::{
    EventForm, Namespace, Parser, ServerLink, SocketIds, SocketIoConfig, encode_event,
};
use tidings_core::{Cursor, Epoch, Event, Headers, Lane, Offset, Payload, Place, Priority, Time};

/// A connection as the client sees it.
struct Socket(ServerLink);

impl Socket {
    fn opened_with(config: ServerLinkConfig) -> Self {
        let ids = SocketIds {
            engine: "engine-id".into(),
            socket: "socket-id".into(),
            producer: "producer-id".into(),
        };
        let mut socket = Self(ServerLink::new(config, ids, Time::ZERO));
        let open = concat!(
            r#"0{"sid":"engine-id","upgrades":[],"pingInterval":25000,"#,
            r#""pingTimeout":20000,"maxPayload":1572864}"#
        );
        assert_eq!(socket.reads(), [open]);
        socket
    }

    fn joined_with(config: ServerLinkConfig) -> Self {
        let mut socket = Self::opened_with(config);
        let hello = Hello { producer: "producer-id".into(), ..Hello::default() };
        assert_eq!(socket.writes("40"), [ClientMessage::Hello(hello)]);
        socket.welcome();
        assert_eq!(socket.reads(), [r#"40{"sid":"socket-id"}"#]);
        socket
    }

    fn joined() -> Self {
        Self::joined_with(ServerLinkConfig::default())
    }

    fn welcome(&mut self) {
        self.told(ServerMessage::Welcome(Welcome {
            session: "session".into(),
            resumed: false,
            instance: "instance".into(),
            ping_interval: std::time::Duration::from_secs(25),
            ping_timeout: std::time::Duration::from_secs(20),
            max_payload: 1 << 20,
            max_in_flight: 64,
            cursor: Cursor::new(),
            refused: Vec::new(),
            expires_in: None,
        }));
    }

    fn write(&mut self, frame: Frame) -> Result<Vec<ClientMessage>, LinkError> {
        self.0.receive(Time::ZERO, frame)?;
        Ok(std::iter::from_fn(|| self.0.poll_message()).collect())
    }

    fn writes(&mut self, text: &str) -> Vec<ClientMessage> {
        self.write(Frame::Text(Bytes::copy_from_slice(text.as_bytes()))).expect(text)
    }

    fn breaks(&mut self, text: &str) -> CloseCode {
        let frame = Frame::Text(Bytes::copy_from_slice(text.as_bytes()));
        self.write(frame).expect_err(text).close.code
    }

    fn told(&mut self, message: ServerMessage) {
        self.0.send(Time::ZERO, &message);
    }

    fn frames(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.0.poll_frame()).collect()
    }

    fn reads(&mut self) -> Vec<String> {
        let text = |frame| match frame {
            Frame::Text(text) => String::from_utf8(text.into()).expect("UTF-8"),
            Frame::Binary(data) => panic!("binary: {data:?}"),
        };
        self.frames().into_iter().map(text).collect()
    }

    /// What the client reads after writing something that comes to nothing.
    fn is_refused(&mut self, text: &str) -> String {
        assert_eq!(self.writes(text), [], "{text}");
        let mut read = self.reads();
        assert_eq!(read.len(), 1, "{text}: {read:?}");
        read.remove(0)
    }
}

fn json(text: &'static str) -> Payload {
    Payload::Json(Bytes::from_static(text.as_bytes()))
}

fn subscribe(id: u32, pattern: &str, since: Option<Cursor>) -> ClientMessage {
    ClientMessage::Subscribe(Subscribe { id: SubId(id), pattern: pattern.into(), since })
}

fn publish(seq: u64, name: &str, payload: Payload) -> Publish {
    let (priority, volatile, headers) = (Priority::Normal, false, Headers::NONE);
    Publish { seq, name: name.into(), payload, priority, volatile, headers, identity: None }
}

fn position(number: u32, offset: u64) -> Position {
    Position { lane: Lane::from_number(number).expect("a lane"), offset: Offset(offset) }
}

fn delivery(name: &str, payload: Payload) -> Delivery {
    let event = Event {
        name: name.into(),
        payload,
        id: "id".into(),
        priority: Priority::Normal,
        time: 5,
        headers: Headers::NONE,
    };
    Delivery { event, position: Some(position(1, 7)), replay_for: None }
}

const FIRST: u32 = 1 << 31;

#[test]
fn subscriptions_are_numbered_by_the_link() {
    let mut socket = Socket::joined();
    assert_eq!(socket.0.wire(), Wire::SocketIo);
    assert_eq!(socket.writes(r#"420["subscribe","a.*"]"#), [subscribe(FIRST, "a.*", None)]);
    let since: Cursor =
        [(Lane::from_number(1).expect("a lane"), Place { epoch: Epoch(2), offset: Offset(3) })]
            .into_iter()
            .collect();
    assert_eq!(
        socket.writes(r#"421["subscribe",{"pattern":"b","since":[[1,2,3]]}]"#),
        [subscribe(FIRST + 1, "b", Some(since.clone()))]
    );
    assert_eq!(
        socket.writes(r#"422["subscribe",{"pattern":"c","id":5}]"#),
        [subscribe(5, "c", None)]
    );
    socket.told(ServerMessage::Subscribed { id: SubId(FIRST), cursor: since });
    let refusal = Refusal::new(ErrorCode::FORBIDDEN, "not for you");
    socket.told(ServerMessage::SubscribeRefused { id: SubId(FIRST + 1), refusal });
    assert_eq!(
        socket.reads(),
        [
            r#"430[{"ok":true,"id":2147483648,"cursor":[[1,2,3]]}]"#,
            r#"431[{"ok":false,"error":{"code":305,"message":"not for you"}}]"#,
        ]
    );
    assert!(socket.is_refused(r#"423["unsubscribe","b"]"#).contains("not subscribed to"));
}

#[test]
fn a_pattern_ends_all_its_subscriptions() {
    let mut socket = Socket::joined();
    socket.writes(r#"42["subscribe","a"]"#);
    socket.writes(r#"42["subscribe","b"]"#);
    socket.writes(r#"42["subscribe","a"]"#);
    let (first, last) = (SubId(FIRST), SubId(FIRST + 2));
    assert_eq!(
        socket.writes(r#"429["unsubscribe","a"]"#),
        [ClientMessage::Unsubscribe(first), ClientMessage::Unsubscribe(last)]
    );
    socket.told(ServerMessage::Unsubscribed(first));
    assert_eq!(socket.reads(), [""; 0]);
    socket.told(ServerMessage::Unsubscribed(last));
    assert_eq!(socket.reads(), [r#"439[{"ok":true,"id":2147483650}]"#]);
    // One that the server ends by itself is told.
    socket.told(ServerMessage::Unsubscribed(SubId(FIRST + 1)));
    assert_eq!(socket.reads(), [r#"42["tidings:unsubscribed",{"id":2147483649}]"#]);
}

#[test]
fn publishes_are_numbered_by_the_link() {
    let mut socket = Socket::joined();
    assert_eq!(
        socket.writes(r#"420["publish","a.b",{"x":1}]"#),
        [ClientMessage::Publish(publish(1, "a.b", json(r#"{"x":1}"#)))]
    );
    assert_eq!(
        socket.writes(
            r#"421["publish","a",null,{"seq":9,"priority":"high","headers":{"k":"v"},"more":[]}]"#
        ),
        [ClientMessage::Publish(Publish {
            priority: Priority::High,
            headers: Headers::new([("k".to_owned(), "v".to_owned())]),
            ..publish(2, "a", Payload::NULL)
        })]
    );
    assert_eq!(
        socket.writes(r#"42["publish","a"]"#),
        [ClientMessage::Publish(publish(3, "a", Payload::NULL))]
    );
    socket.told(ServerMessage::Published { seq: 1, position: position(1, 7) });
    let refusal = Refusal::new(ErrorCode::FORBIDDEN, "no");
    socket.told(ServerMessage::PublishRefused { seq: 2, refusal: refusal.clone() });
    socket.told(ServerMessage::PublishRefused { seq: 3, refusal });
    assert_eq!(
        socket.reads(),
        [
            r#"430[{"ok":true,"lane":1,"offset":7}]"#,
            r#"431[{"ok":false,"error":{"code":305,"message":"no"}}]"#,
            r#"42["tidings:error",{"code":305,"message":"no"}]"#,
        ]
    );
    // Volatile events are not in the log, so there is no position to wait for.
    assert_eq!(
        socket.writes(r#"422["publish","a",1,{"volatile":true}]"#),
        [ClientMessage::Publish(Publish { volatile: true, ..publish(0, "a", json("1")) })]
    );
    assert_eq!(socket.reads(), [r#"432[{"ok":true}]"#]);
}

#[test]
fn binary_payloads_are_attachments() {
    let mut socket = Socket::joined();
    let data = Bytes::from_static(b"\0\xff");
    assert_eq!(socket.writes(r#"451-0["publish","a",{"_placeholder":true,"num":0}]"#), []);
    assert_eq!(
        socket.write(Frame::Binary(data.clone())),
        Ok(vec![ClientMessage::Publish(publish(1, "a", Payload::Binary(data.clone())))])
    );
    socket.told(ServerMessage::Event(delivery("a", Payload::Binary(data.clone()))));
    assert_eq!(
        socket.frames(),
        [Frame::Text(r#"451-["a",{"_placeholder":true,"num":0}]"#.into()), Frame::Binary(data),]
    );
    assert_eq!(socket.writes(r#"451-1["publish","a",[{"_placeholder":true,"num":0}]]"#), []);
    assert_eq!(socket.write(Frame::Binary(Bytes::new())), Ok(vec![]));
    assert!(socket.reads()[0].starts_with(r#"431[{"ok":false,"error":{"code":300,"#));
}

#[test]
fn any_other_event_with_an_acknowledgement_is_a_request() {
    let mut socket = Socket::joined();
    let request = |id, name: &str, payload| ClientMessage::Request {
        id: RequestId(id),
        name: name.into(),
        payload,
    };
    assert_eq!(socket.writes(r#"4210["time"]"#), [request(0, "time", Payload::NULL)]);
    assert_eq!(socket.writes(r#"4211["half",7]"#), [request(1, "half", json("7"))]);
    assert_eq!(socket.writes(r#"4212["sum",1,[2]]"#), [request(2, "sum", json("[1,[2]]"))]);
    let error = Refusal::new(ErrorCode::NO_HANDLER, "nobody");
    socket.told(ServerMessage::Reply { id: RequestId(2), result: Err(error) });
    socket.told(ServerMessage::Reply { id: RequestId(1), result: Ok(json("3.5")) });
    assert_eq!(
        socket.reads(),
        [r#"4312[null,{"error":{"code":306,"message":"nobody"}}]"#, "4311[3.5]"]
    );
    assert_eq!(
        socket.is_refused(r#"42["time"]"#),
        concat!(
            r#"42["tidings:error",{"code":306,"message":"no handler for event \"time\": "#,
            r#"to tell others, emit \"publish\""}]"#
        )
    );
}

#[test]
fn the_server_may_ask() {
    let mut socket = Socket::joined();
    let id = RequestId(3);
    socket.told(ServerMessage::Request { id, name: "ask".into(), payload: json("[1]") });
    assert_eq!(socket.reads(), [r#"423["ask",[1]]"#]);
    let reply = |result| [ClientMessage::Reply { id, result }];
    assert_eq!(socket.writes("433[]"), reply(Ok(Payload::NULL)));
    assert_eq!(socket.writes("433[7]"), reply(Ok(json("7"))));
    assert_eq!(socket.writes("433[7,8]"), reply(Ok(json("[7,8]"))));
    assert_eq!(
        socket.writes(r#"433[null,{"error":{"code":307,"message":"busy"}}]"#),
        reply(Err(Refusal::new(ErrorCode::HANDLER, "busy")))
    );
}

#[test]
fn events_carry_the_payload_alone() {
    let mut socket = Socket::joined();
    socket.told(ServerMessage::Event(delivery("a.b", json(r#"{"x":1}"#))));
    // Names that Socket.IO's parsers refuse, or that have a meaning, travel as an argument.
    socket.told(ServerMessage::Event(delivery("disconnect", json("1"))));
    socket.told(ServerMessage::Event(delivery("tidings:at", json("2"))));
    assert_eq!(
        socket.reads(),
        [
            r#"42["a.b",{"x":1}]"#,
            r#"42["tidings:event","disconnect",1]"#,
            r#"42["tidings:event","tidings:at",2]"#,
        ]
    );
    let frame = encode_event(
        &Namespace::MAIN,
        Parser::Text,
        EventForm::Plain,
        &delivery("a.b", json(r#"{"x":1}"#)),
    );
    assert_eq!(frame, [b"\x81\x11".as_slice(), br#"42["a.b",{"x":1}]"#].concat());
    let chat = Namespace::new("/chat").expect("a namespace");
    let frame = encode_event(&chat, Parser::Text, EventForm::Tidings, &delivery("a", json("1")));
    let text = r#"42/chat,["a",1,{"l":1,"o":7,"i":"id","t":5}]"#;
    assert_eq!(frame, [&[0x81, text.len() as u8], text.as_bytes()].concat());

    socket.told(ServerMessage::Progress(Cursor::new()));
    assert_eq!(socket.reads(), [""; 0], "there is no cursor to move");
    let (lane, epoch) = (Lane::from_number(1).expect("a lane"), Epoch(4));
    let gap = Gap { lane, from: Offset(2), to: Offset(3), epoch, replay_for: None };
    socket.told(ServerMessage::Gap(gap));
    assert_eq!(socket.reads(), [r#"42["tidings:gap",{"lane":1,"from":2,"to":3,"epoch":4}]"#]);
}

#[test]
fn a_bad_message_is_refused_and_the_connection_goes_on() {
    let mut socket = Socket::joined();
    for (text, code, ack) in [
        (r#"420["subscribe"]"#, 300, "430[{"),
        (r#"420["subscribe",7]"#, 300, "430[{"),
        (r#"420["subscribe",{"pattern":"a","since":1}]"#, 300, "430[{"),
        (r#"420["subscribe",{"pattern":"a","id":2147483648}]"#, 300, "430[{"),
        (r#"420["unsubscribe",{}]"#, 300, "430[{"),
        (r#"420["publish"]"#, 300, "430[{"),
        (r#"420["publish","a.*"]"#, 301, "430[{"),
        (r#"420["publish","a",1,2]"#, 300, "430[{"),
        (r#"420["publish","a",1,{"priority":"urgent"}]"#, 300, "430[{"),
        (r#"420["publish","a",1,{"volatile":1}]"#, 300, "430[{"),
        (r#"420["publish","a",1,{"headers":{"a":1}}]"#, 300, "430[{"),
        (r#"420["tidings:token",7]"#, 300, "430[{"),
        (r#"420["tidings:cancel"]"#, 300, "430[{"),
        (r#"420["tidings:bogus"]"#, 300, "430[null,{"),
        (r#"420["tidings:request"]"#, 300, "430[null,{"),
        (r#"420["connect"]"#, 301, "430[null,{"),
        (r#"420["a.**"]"#, 301, "430[null,{"),
        (r#"420[7]"#, 301, "430[null,{"),
        (r#"42["publish","a.*"]"#, 301, r#"42["tidings:error",{"#),
        (r#"42["tidings:bogus"]"#, 300, r#"42["tidings:error",{"#),
    ] {
        let answer = socket.is_refused(text);
        assert!(answer.starts_with(ack), "{text}: {answer}");
        assert!(answer.contains(&format!(r#""code":{code},"#)), "{text}: {answer}");
    }
    assert_eq!(socket.writes(r#"42["subscribe","a"]"#), [subscribe(FIRST, "a", None)]);
}

#[test]
fn payloads_have_limits() {
    let mut socket = Socket::joined_with(ServerLinkConfig {
        max_payload: 10,
        max_depth: 2,
        max_headers: 5,
        max_token: 4,
        socketio: SocketIoConfig { max_arguments: 4, ..SocketIoConfig::default() },
        ..ServerLinkConfig::default()
    });
    for (text, code) in [
        (r#"420["publish","a","12345678x"]"#, 302),
        (r#"420["publish","a",1,{"headers":{"key":"val"}}]"#, 302),
        (r#"420["tidings:token","12345"]"#, 302),
        (r#"420["ask","12345678x"]"#, 302),
        (r#"420["publish","a",[[[]]]]"#, 303),
        (r#"420["ask",[[[]]]]"#, 303),
        (r#"420["ask",1,2,3,4]"#, 300),
    ] {
        let answer = socket.is_refused(text);
        assert!(answer.contains(&format!(r#""code":{code},"#)), "{text}: {answer}");
    }
    assert_eq!(socket.writes(r#"420["publish","a",[[]]]"#).len(), 1);
    // A reply that cannot be taken is still a reply.
    let replies = socket.writes("435[[[[]]]]");
    let [ClientMessage::Reply { id: RequestId(5), result: Err(refusal) }] = replies.as_slice()
    else {
        panic!("{replies:?}")
    };
    assert_eq!(refusal.code, ErrorCode::TOO_DEEP);
}

#[test]
fn open_questions_are_bounded() {
    let mut socket = Socket::joined_with(ServerLinkConfig {
        socketio: SocketIoConfig { max_unanswered: 2, ..SocketIoConfig::default() },
        ..ServerLinkConfig::default()
    });
    assert_eq!(socket.writes(r#"420["ask"]"#).len(), 1);
    assert_eq!(socket.writes(r#"421["tidings:token","t"]"#).len(), 1);
    for text in [r#"422["ask"]"#, r#"422["tidings:token","t"]"#, r#"422["subscribe","a"]"#] {
        assert!(socket.is_refused(text).contains(r#""code":102,"#), "{text}");
    }
    socket.told(ServerMessage::TokenAnswer(Ok(None)));
    assert_eq!(socket.reads(), [r#"431[{"ok":true}]"#]);
    assert_eq!(socket.writes(r#"422["subscribe","a"]"#), [subscribe(FIRST, "a", None)]);
}

#[test]
fn broken_packets_end_the_connection() {
    for text in [
        "abc",
        "",
        "2",
        "47",
        "42{}",
        r#"42abc["x"]"#,
        "42[\"x\"",
        "43[]",
        "40",
        "44{}",
        r#"42/other,["x"]"#,
        "41{}",
    ] {
        assert_eq!(Socket::joined().breaks(text), CloseCode::BAD_FRAME, "{text}");
    }
    for text in [r#"42["x"]"#, "43[]", "41", "40[]", "40{"] {
        let mut socket = Socket::opened_with(ServerLinkConfig::default());
        assert_eq!(socket.breaks(text), CloseCode::BAD_FRAME, "{text}");
    }
    let max_frame = ServerLinkConfig::default().max_frame;
    assert_eq!(Socket::joined().breaks(&"4".repeat(max_frame + 1)), CloseCode::TOO_LARGE);
    let binary = Socket::joined().write(Frame::Binary(Bytes::new()));
    assert_eq!(binary.map_err(|error| error.close.code), Err(CloseCode::BAD_FRAME));
    assert_eq!(Socket::joined().breaks("1"), CloseCode::NORMAL);
}

#[test]
fn namespaces_and_auth_are_checked() {
    let mut socket = Socket::opened_with(ServerLinkConfig::default());
    assert_eq!(socket.is_refused("40/other"), r#"44/other,{"message":"Invalid namespace"}"#);
    assert_eq!(
        socket.is_refused(r#"40{"token":7}"#),
        r#"44{"message":"auth.token must be a string","data":{"code":4502}}"#
    );
    assert!(socket.is_refused(r#"40{"tidings":{"v":2}}"#).contains(r#""code":4501"#));
    assert!(socket.is_refused(r#"40{"tidings":{"v":1}}"#).contains(r#""code":4500"#));
    let hello =
        Hello { producer: "producer-id".into(), token: Some("t".into()), ..Hello::default() };
    let messages = socket.writes(r#"40{"token":"t","more":[]}"#);
    assert_eq!(messages, [ClientMessage::Hello(hello)], "it may try again");

    let chat = Namespace::new("/chat").expect("a namespace");
    let mut socket = Socket::opened_with(ServerLinkConfig {
        socketio: SocketIoConfig { namespace: chat, ..SocketIoConfig::default() },
        ..ServerLinkConfig::default()
    });
    assert_eq!(socket.is_refused("40"), r#"44{"message":"Invalid namespace"}"#);
    assert_eq!(socket.writes("40/chat,").len(), 1);
    socket.welcome();
    assert_eq!(socket.reads(), [r#"40/chat,{"sid":"socket-id"}"#]);
    assert_eq!(socket.writes(r#"42/chat,0["subscribe","a"]"#), [subscribe(FIRST, "a", None)]);
}

#[test]
fn a_client_that_should_come_back_is_not_sent_away() {
    let close = |code| ServerMessage::Close(Close::new(code, "why"));
    // Refused before it was welcome: after a CONNECT_ERROR a client does not try again.
    for (code, expected) in [
        (CloseCode::GOING_AWAY, vec![]),
        (CloseCode::TOKEN_EXPIRED, vec![r#"44{"message":"why","data":{"code":4300}}"#]),
        (CloseCode::UNAUTHORIZED, vec![r#"44{"message":"why","data":{"code":4502}}"#]),
    ] {
        let mut socket = Socket::opened_with(ServerLinkConfig::default());
        socket.writes("40");
        socket.told(close(code));
        assert_eq!(socket.reads(), expected);
    }
    // Later: after a DISCONNECT it does not either.
    let mut socket = Socket::joined();
    socket.told(close(CloseCode::GOING_AWAY));
    assert_eq!(socket.reads(), [r#"42["tidings:close",{"code":4000,"reason":"why"}]"#]);
    let mut socket = Socket::joined();
    socket.told(close(CloseCode::ENDED));
    assert_eq!(socket.reads(), [r#"42["tidings:close",{"code":4504,"reason":"why"}]"#, "41"]);
}

#[test]
fn leaving_says_goodbye() {
    let mut socket = Socket::joined();
    assert_eq!(socket.writes("41"), [ClientMessage::Bye]);
    assert_eq!(socket.writes(r#"42["subscribe","a"]"#), []);
    socket.told(ServerMessage::Progress(Cursor::new()));
    assert_eq!(socket.reads(), [""; 0]);
}

#[test]
fn the_first_message_tells_the_parser() {
    let mut socket = Socket::opened_with(ServerLinkConfig::default());
    // As socket.io-client writes it, with a member that is undefined and one that is new here.
    let mut connect = Vec::new();
    let mut w = Writer::new(&mut connect);
    w.map(4).str("type").u64(0).str("data").ext(0, &[0]);
    w.str("options").map(1).str("compress").bool(true).str("nsp").str("/");
    let hello = Hello { producer: "producer-id".into(), ..Hello::default() };
    let messages = socket.write(Frame::Binary(connect.into()));
    assert_eq!(messages, Ok(vec![ClientMessage::Hello(hello)]));
    assert_eq!(socket.0.wire(), Wire::SocketIoMsgpack);
    socket.welcome();
    let data = Bytes::from_static(b"\0\xff");
    socket.told(ServerMessage::Event(delivery("a", Payload::Binary(data.clone()))));
    let (mut welcome, mut event) = (Vec::new(), Vec::new());
    let mut w = Writer::new(&mut welcome);
    w.map(3).str("type").u64(0).str("data").map(1).str("sid").str("socket-id").str("nsp").str("/");
    let mut w = Writer::new(&mut event);
    w.map(3).str("type").u64(2).str("data").array(2).str("a").bin(&data).str("nsp").str("/");
    assert_eq!(socket.frames(), [Frame::Binary(welcome.into()), Frame::Binary(event.into())]);

    let mut publish_it = Vec::new();
    let mut w = Writer::new(&mut publish_it);
    w.map(4).str("type").u64(2).str("data").array(3).str("publish").str("a").bin(&data);
    w.str("id").u64(7).str("nsp").str("/");
    let messages = socket.write(Frame::Binary(publish_it.into()));
    let published = publish(1, "a", Payload::Binary(data));
    assert_eq!(messages, Ok(vec![ClientMessage::Publish(published)]));
    assert_eq!(socket.breaks(r#"42["a"]"#), CloseCode::BAD_FRAME);
}
