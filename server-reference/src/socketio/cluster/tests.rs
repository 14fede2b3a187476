//! The formats against what Node's packages write (tests/vectors/node-adapter.json), and against what
//! nobody should write.

use bytes::Bytes;
use serde::Deserialize;
use tidings_core::base64;

use super::classic::Classic;
use super::message::{Asked, Format, Heard, Malformed, Message, Question, Reply};
use super::sharded::Sharded;
use crate::config::NodeAdapter;

const NAMESPACE: &str = "/chat";

/// A message as Node has written it.
#[derive(Debug, Deserialize)]
struct Vector {
    adapter: String,
    did: String,
    channel: String,
    text: Option<String>,
    base64: Option<String>,
}

impl Vector {
    fn message(&self) -> Bytes {
        match (&self.text, &self.base64) {
            (Some(text), _) => text.clone().into(),
            (None, text) => {
                let bytes = text.as_ref().and_then(|text| base64::decode(text.as_bytes()));
                bytes.expect("base64").into()
            }
        }
    }

    /// The format of a member that calls itself so.
    fn format(&self, uid: &str) -> Box<dyn Format> {
        let settings = NodeAdapter::default();
        match self.adapter.as_str() {
            "sharded" => Box::new(Sharded::new(uid.to_owned(), settings.prefix.clone(), &settings)),
            _ => Box::new(Classic::new(uid.to_owned(), &settings)),
        }
    }

    /// What Node's member calls itself.
    fn uid(&self) -> &'static str {
        if self.adapter == "sharded" { "2a2a2a2a2a2a2a2a" } else { "qqqqqq" }
    }

    fn read(&self) -> Heard {
        let read = self.format("another").read(NAMESPACE, &self.channel, &self.message());
        match read {
            Ok(Some(heard)) => heard,
            other => panic!("{self:?}: {other:?}"),
        }
    }
}

fn vectors() -> Vec<Vector> {
    let vectors = include_str!("../../../../tests/vectors/node-adapter.json");
    serde_json::from_str(vectors).expect("vectors")
}

#[test]
fn what_node_writes_is_read_and_written_again_to_the_byte() {
    for vector in vectors() {
        let heard = vector.read();
        if vector.adapter == "emitter" || vector.did == "emit dates" {
            continue;
        }
        let node = vector.format(vector.uid());
        let (channel, message) = match &heard {
            Heard::Message { from, message } => {
                assert_eq!(from.as_deref(), Some(vector.uid()));
                node.message(NAMESPACE, message)
            }
            Heard::Reply { request, reply } => {
                let asked = Asked { request: request.clone(), from: "0123456789abcdef".into() };
                node.reply(NAMESPACE, &asked, reply).expect("an answer")
            }
        };
        let known = (vector.channel.as_str(), vector.message());
        assert_eq!((&*channel.name, message), known, "{vector:?}: {heard:?}");
    }
}

#[test]
fn what_is_written_means_what_was_done() {
    for vector in vectors() {
        let right = match (vector.did.as_str(), vector.read()) {
            ("join", Heard::Message { message: Message::Join { target, rooms }, .. }) => {
                [&target.rooms[..], &target.except, &rooms].concat().join(" ") == "a b c d"
            }
            ("leave", Heard::Message { message: Message::Leave { .. }, .. })
            | ("server side", Heard::Message { message: Message::ServerSide { .. }, .. }) => true,
            ("disconnect", Heard::Message { message: Message::Disconnect { close, .. }, .. }) => {
                close
            }
            ("emit to rooms", Heard::Message { message, .. }) => {
                matches!(message, Message::Emit { volatile: true, .. })
            }
            ("emit binary", Heard::Message { message: Message::Emit { args, .. }, .. }) => {
                args.attachments().len() == 2 && args.attachments()[1] == [0, 1, 254, 255][..]
            }
            ("emit dates", Heard::Message { message: Message::Emit { args, .. }, .. }) => {
                let nothing: &[u8] = b"null";
                let json = |index: usize| args.json(index).expect("an argument");
                json(1) == "\"2024-06-01T11:10:05.678Z\""
                    && json(2) == "\"2024-06-01T11:10:05.000Z\""
                    && json(3) == "\"1969-12-31T23:59:59.999Z\""
                    && json(4) == nothing
            }
            (did, Heard::Message { message: Message::Emit { .. }, .. }) => did.starts_with("emit"),
            (did, Heard::Message { message: Message::Ask { question, .. }, .. }) => {
                match question {
                    Question::Sockets(_) => did == "fetch",
                    Question::Rooms => did == "rooms",
                    Question::ServerSide(_) => did == "ask members",
                    Question::Emit { .. } => did.starts_with("ask clients"),
                    Question::Ids(_) => false,
                }
            }
            (did, Heard::Reply { reply, .. }) => match reply {
                Reply::Sockets(sockets) => did == "fetched" && sockets[0].data == r#"{"n":1}"#,
                Reply::Rooms(rooms) => did == "told rooms" && rooms.len() == 2,
                Reply::ServerSide(_) => did == "members answer",
                Reply::Clients(1) => did == "counted",
                Reply::Acknowledged(answer) => {
                    did.starts_with("acknowledged")
                        && (answer.is_empty() == did.ends_with("nothing"))
                }
                Reply::Ids(_) | Reply::Clients(_) => false,
            },
            _ => false,
        };
        assert!(right, "{vector:?}: {:?}", vector.read());
    }
}

#[test]
fn ones_own_messages_and_those_of_other_namespaces_are_passed_over() {
    for vector in vectors().iter().filter(|vector| vector.adapter != "emitter") {
        let own = vector.format(vector.uid());
        let read = own.read(NAMESPACE, &vector.channel, &vector.message());
        let is_classic_reply = vector.channel.contains("-response#");
        assert!(matches!(read, Ok(None)) || is_classic_reply, "{vector:?}: {read:?}");
        if !vector.channel.contains("-re") {
            let stranger = vector.format("another");
            let channel = vector.channel.replace(NAMESPACE, "/other");
            let read = stranger.read("/other", &channel, &vector.message());
            assert!(matches!(read, Ok(None)), "{vector:?}: {read:?}");
        }
    }
}

#[test]
fn broken_messages_are_refused_without_panic() {
    for vector in vectors() {
        let (format, message) = (vector.format("another"), vector.message());
        let read = |message: Vec<u8>| format.read(NAMESPACE, &vector.channel, &message.into());
        for end in 0..message.len() {
            let cut = read(message[..end].to_vec());
            assert!(cut.is_err(), "{vector:?} up to {end}: {cut:?}");
        }
        for at in 0..message.len() {
            for byte in [0x00, 0x5b, 0x7b, 0x7d, 0x93, 0xc1, 0xdf, 0xff] {
                let mut wrong = message.to_vec();
                wrong[at] = byte;
                // It may mean something else; it must not do harm.
                let _ = read(wrong);
            }
        }
    }
}

#[test]
fn messages_are_bounded_in_depth_and_size_and_events_have_names() {
    let vectors = vectors();
    let emit = |adapter: &str| {
        vectors.iter().find(|vector| vector.adapter == adapter).expect("a vector of each adapter")
    };
    for vector in [emit("classic"), emit("sharded")] {
        let read = |message: &[u8]| {
            let message = Bytes::copy_from_slice(message);
            vector.format("another").read(NAMESPACE, &vector.channel, &message)
        };
        for (opening, rest) in [(0x91, 0x91), (b'{', b'['), (0x81, 0x81)] {
            let mut deep = vec![rest; 100_000];
            deep[0] = opening;
            read(&deep).expect_err("too deep");
        }
        read(&[r#"{"a":"#, &"[".repeat(1000)].concat().into_bytes()).expect_err("too deep");
        // An array that says it is long.
        read(&[0xdd, 0xff, 0xff, 0xff, 0xff]).expect_err("not there");
    }
    let nameless =
        r#"{"type":3,"data":{"packet":{"type":2,"data":[]},"opts":{}},"uid":"x","nsp":"/chat"}"#;
    for (data, ok) in [("[]", false), ("[null]", false), ("[{}]", false), (r#"["x"]"#, true)] {
        let message: Bytes = nameless.replace("[]", data).into();
        let sharded = emit("sharded");
        let read = sharded.format("another").read(NAMESPACE, &sharded.channel, &message);
        match read {
            Ok(heard) => assert!(ok && heard.is_some(), "{data}"),
            Err(error) => assert_eq!(error, Malformed::Member("an event's name"), "{data}"),
        }
    }
}
