//! The client's link against the server's, through every session message, and both against
//! whatever else may come.

mod messages;

use std::time::Duration;

use bytes::Bytes;
use messages::*;
use proptest::prelude::*;
use tidings_core::link::{LinkConfig, ServerLinkConfig, Wire, encode_event};
use tidings_core::message::*;
use tidings_core::socketio::{
    ClientLink, Namespace, Parser, ServerLink, SocketIds, SocketIoConfig,
};
use tidings_core::{Payload, Time};

fn ids() -> SocketIds {
    SocketIds { engine: "engine".into(), socket: "socket".into(), producer: "producer".into() }
}

/// Both ends of a connection.
struct Pair {
    client: ClientLink,
    server: ServerLink,
}

impl Pair {
    fn connecting(parser: Parser, hello: Hello) -> Self {
        let socketio = SocketIoConfig { parser, ..SocketIoConfig::default() };
        let config = LinkConfig { socketio, ..LinkConfig::default() };
        let mut client = ClientLink::new(config, hello, Time::ZERO);
        client.opened(Time::ZERO, None).expect("Socket.IO takes any subprotocol");
        let server = ServerLink::new(ServerLinkConfig::default(), ids(), Time::ZERO);
        Self { client, server }
    }

    fn connected(parser: Parser) -> Self {
        let mut pair = Self::connecting(parser, Hello { producer: "p".into(), ..Hello::default() });
        assert!(matches!(pair.heard_by_server(), Some(ClientMessage::Hello(_))));
        let welcomed = pair.heard_by_client(ServerMessage::Welcome(plain_welcome()));
        assert!(matches!(welcomed.as_slice(), [ServerMessage::Welcome(_)]));
        pair
    }

    /// Moves frames until none are left.
    fn exchange(&mut self) {
        loop {
            if let Some(frame) = self.client.poll_frame() {
                self.server.receive(Time::ZERO, frame).expect("the client's frame");
            } else if let Some(frame) = self.server.poll_frame() {
                self.client.receive(Time::ZERO, frame).expect("the server's frame");
            } else {
                return;
            }
        }
    }

    fn heard_by_server(&mut self) -> Option<ClientMessage> {
        self.exchange();
        self.server.poll_message()
    }

    fn say(&mut self, message: ClientMessage) -> Option<ClientMessage> {
        self.client.send(message);
        self.heard_by_server()
    }

    fn heard_by_client(&mut self, message: ServerMessage) -> Vec<ServerMessage> {
        self.server.send(Time::ZERO, &message);
        self.exchange();
        std::iter::from_fn(|| self.client.poll_message()).collect()
    }
}

fn parser() -> impl Strategy<Value = Parser> {
    prop_oneof![Just(Parser::Text), Just(Parser::Msgpack)]
}

proptest! {
    #[test]
    fn hello_and_welcome_arrive(parser in parser(), hello in hello(), welcome in welcome()) {
        let mut pair = Pair::connecting(parser, hello.clone());
        prop_assert_eq!(pair.heard_by_server(), Some(ClientMessage::Hello(hello)));
        let wire = match parser {
            Parser::Text => Wire::SocketIoTidings,
            Parser::Msgpack => Wire::SocketIoTidingsMsgpack,
        };
        prop_assert_eq!(pair.server.wire(), wire);
        let welcome = ServerMessage::Welcome(welcome);
        prop_assert_eq!(pair.heard_by_client(welcome.clone()), [welcome]);
    }

    #[test]
    fn what_is_asked_arrives_and_is_answered(
        parser in parser(),
        subscribe in subscribe(),
        publish in publish(),
        volatile: bool,
        cursor in cursor(),
        position in position(),
        refusal in refusal(),
        refuse: bool,
    ) {
        let mut pair = Pair::connected(parser);
        let id = subscribe.id;
        let asked = ClientMessage::Subscribe(subscribe);
        prop_assert_eq!(pair.say(asked.clone()), Some(asked));
        let answer = if refuse {
            ServerMessage::SubscribeRefused { id, refusal: refusal.clone() }
        } else {
            ServerMessage::Subscribed { id, cursor }
        };
        prop_assert_eq!(pair.heard_by_client(answer.clone()), [answer.clone()]);

        let asked = ClientMessage::Unsubscribe(id);
        prop_assert_eq!(pair.say(asked.clone()), Some(asked));
        let answer = ServerMessage::Unsubscribed(id);
        prop_assert_eq!(pair.heard_by_client(answer.clone()), [answer]);

        let seq = if volatile { 0 } else { publish.seq };
        let asked = ClientMessage::Publish(Publish { seq, volatile, ..publish });
        prop_assert_eq!(pair.say(asked.clone()), Some(asked));
        let answer = if refuse {
            ServerMessage::PublishRefused { seq, refusal: refusal.clone() }
        } else {
            ServerMessage::Published { seq, position }
        };
        if !volatile {
            prop_assert_eq!(pair.heard_by_client(answer.clone()), [answer]);
        }

        let asked = ClientMessage::Token("fresh".into());
        prop_assert_eq!(pair.say(asked.clone()), Some(asked));
        let expires_in = volatile.then_some(Duration::from_secs(seq));
        let answer = ServerMessage::TokenAnswer(if refuse { Err(refusal) } else { Ok(expires_in) });
        prop_assert_eq!(pair.heard_by_client(answer.clone()), [answer]);
    }

    #[test]
    fn requests_are_answered_both_ways(
        parser in parser(),
        requests in prop::collection::vec((name(), payload(), result()), 1..5),
        first: u32,
    ) {
        let mut pair = Pair::connected(parser);
        let mut open = Vec::new();
        for (i, (name, payload, result)) in requests.into_iter().enumerate() {
            let id = RequestId(first.wrapping_add(i as u32));
            let asked = ClientMessage::Request { id, name: name.clone(), payload: payload.clone() };
            match pair.say(asked) {
                Some(ClientMessage::Request { id: theirs, name: n, payload: p }) => {
                    prop_assert_eq!((n, p), (name.clone(), payload.clone()));
                    open.push((id, theirs, result.clone()));
                }
                other => prop_assert!(false, "{other:?}"),
            }
            let request = ServerMessage::Request { id, name, payload };
            prop_assert_eq!(pair.heard_by_client(request.clone()), [request]);
            let reply = ClientMessage::Reply { id, result };
            prop_assert_eq!(pair.say(reply.clone()), Some(reply));
        }
        for (ours, theirs, result) in open.into_iter().rev() {
            let reply = ServerMessage::Reply { id: theirs, result: result.clone() };
            prop_assert_eq!(
                pair.heard_by_client(reply.clone()),
                [ServerMessage::Reply { id: ours, result }]
            );
            prop_assert_eq!(pair.heard_by_client(reply), [], "there is one answer");
        }
    }

    #[test]
    fn what_the_server_tells_arrives(parser in parser(), messages in prop::collection::vec(told(), 1..5)) {
        let mut pair = Pair::connected(parser);
        for message in messages {
            prop_assert_eq!(pair.heard_by_client(message.clone()), [message]);
        }
    }

    #[test]
    fn broadcasts_are_what_the_link_sends(parser in parser(), delivery in delivery()) {
        let mut pair = Pair::connected(parser);
        let message = ServerMessage::Event(delivery.clone());
        pair.server.send(Time::ZERO, &message);
        let mut sent = Vec::new();
        while let Some(frame) = pair.server.poll_frame() {
            match frame {
                Frame::Text(text) => websocket_frame(&mut sent, 0x81, &text),
                Frame::Binary(data) => websocket_frame(&mut sent, 0x82, &data),
            }
        }
        prop_assert_eq!(encode_event(pair.server.wire(), &Namespace::MAIN, &delivery), sent);
    }

    #[test]
    fn no_frame_breaks_a_link(parser in parser(), frames in prop::collection::vec(wild_frame(), 0..8), joined: bool) {
        let (mut server, mut client) = if joined {
            let pair = Pair::connected(parser);
            (pair.server, pair.client)
        } else {
            let pair = Pair::connecting(parser, Hello::default());
            (pair.server, pair.client)
        };
        for frame in frames {
            let _ = server.receive(Time::ZERO, frame.clone());
            let _ = client.receive(Time::ZERO, frame);
            while server.poll_frame().is_some() || server.poll_message().is_some() {}
            while client.poll_frame().is_some() || client.poll_message().is_some() {}
        }
        let later = Time::ZERO + Duration::from_secs(60);
        let _ = server.handle_timeout(later);
        let _ = client.handle_timeout(later);
    }
}

/// A frame as RFC 6455 section 5.2 draws it, written apart from the implementation.
fn websocket_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len @ 126..=65535 => {
            out.push(126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Frames that come close to good ones, and some that do not.
fn wild_frame() -> impl Strategy<Value = Frame> {
    let name = "(subscribe|unsubscribe|publish|tidings:[a-z]{0,12}|[a-z.*]{0,8}|connect)";
    let arg = prop_oneof![
        Just("{\"_placeholder\":true,\"num\":0}".to_owned()),
        Just("{\"ok\":true,\"id\":1,\"lane\":0,\"offset\":1}".to_owned()),
        Just("{\"id\":1,\"pattern\":\"a\",\"since\":[[0,0,0]]}".to_owned()),
        Just("{\"seq\":1,\"priority\":\"high\",\"headers\":{\"a\":\"b\"}}".to_owned()),
        Just("{\"l\":1,\"o\":2,\"i\":\"x\",\"t\":3}".to_owned()),
        json_text(),
    ];
    let event = (
        "(42|43|451-|461-|40|41|44)",
        "(/a,)?",
        "[0-9]{0,3}",
        name,
        prop::collection::vec(arg, 0..4),
    )
        .prop_map(|(kind, namespace, ack, name, args)| {
            let mut text = format!("{kind}{namespace}{ack}[\"{name}\"");
            args.iter().for_each(|arg| text.push_str(&format!(",{arg}")));
            Frame::Text(format!("{text}]").into())
        });
    prop_oneof![
        4 => event,
        1 => any::<String>().prop_map(|text| Frame::Text(text.into())),
        1 => any::<Vec<u8>>().prop_map(|data| Frame::Binary(data.into())),
    ]
}

#[test]
fn goodbye_ends_the_session() {
    let mut pair = Pair::connected(Parser::Text);
    assert_eq!(pair.say(ClientMessage::Bye), Some(ClientMessage::Bye));
    assert_eq!(pair.heard_by_client(ServerMessage::Unsubscribed(SubId(1))), []);
}

#[test]
fn a_cancelled_request_is_not_answered() {
    let mut pair = Pair::connected(Parser::Text);
    let request = |id| ClientMessage::Request {
        id: RequestId(id),
        name: "ask".into(),
        payload: Payload::NULL,
    };
    pair.say(request(7));
    let Some(ClientMessage::Request { id, .. }) = pair.say(request(8)) else {
        panic!("the request did not arrive")
    };
    let cancelled = pair.say(ClientMessage::Cancel(RequestId(8)));
    assert_eq!(cancelled, Some(ClientMessage::Cancel(id)));
    let reply = ServerMessage::Reply { id, result: Ok(Payload::NULL) };
    assert_eq!(pair.heard_by_client(reply), []);
    assert_eq!(pair.say(ClientMessage::Cancel(RequestId(8))), None, "it is cancelled once");
}

#[test]
fn a_refused_hello_tells_why() {
    let mut pair =
        Pair::connecting(Parser::Text, Hello { token: Some("bad".into()), ..Hello::default() });
    assert!(matches!(pair.heard_by_server(), Some(ClientMessage::Hello(_))));
    let mut close = Close::new(CloseCode::TOKEN_EXPIRED, "the token has expired");
    close.delay = Some(Duration::from_secs(3));
    pair.server.send(Time::ZERO, &ServerMessage::Close(close.clone()));
    let frame = pair.server.poll_frame().expect("CONNECT_ERROR");
    let error = pair.client.receive(Time::ZERO, frame).expect_err("refused");
    assert_eq!(error.close, close);
}

#[test]
fn heartbeats_go_both_ways_and_silence_is_noticed() {
    let mut pair = Pair::connected(Parser::Text);
    let mut now = Time::ZERO;
    for _ in 0..10 {
        now = pair.server.next_timeout().expect("a ping is always due");
        pair.server.handle_timeout(now).expect("the client answers");
        let ping = pair.server.poll_frame().expect("a ping");
        assert_eq!(ping, Frame::Text(Bytes::from_static(b"2")));
        pair.client.receive(now, ping).expect("a ping");
        pair.client.handle_timeout(now).expect("the server pings");
        let pong = pair.client.poll_frame().expect("a pong");
        pair.server.receive(now, pong).expect("a pong");
    }
    let silent = pair.client.next_timeout().expect("the watchdog");
    assert_eq!(silent, now + Duration::from_secs(45));
    let error = pair.client.handle_timeout(silent).expect_err("no ping came");
    assert_eq!(error.close.code, CloseCode::HEARTBEAT);
}

#[test]
fn the_welcome_and_the_hello_must_come_in_time() {
    let mut pair = Pair::connecting(Parser::Text, Hello::default());
    let deadline = pair.client.next_timeout().expect("a deadline");
    let error = pair.client.handle_timeout(deadline).expect_err("no welcome");
    assert_eq!(error.close.code, CloseCode::HELLO_TIMEOUT);
    let deadline = pair.server.next_timeout().expect("a deadline");
    let error = pair.server.handle_timeout(deadline).expect_err("no hello");
    assert_eq!(error.close.code, CloseCode::HELLO_TIMEOUT);
}
