//! The server's link when an application has namespaces.

use bytes::Bytes;
use proptest::prelude::*;
use tidings_core::link::ServerLinkConfig;
use tidings_core::message::*;
use tidings_core::socketio::{
    Grant, Namespace, NamespaceMessage, ServerLink, SocketIds, SocketIoConfig,
};
use tidings_core::{Cursor, Time};

fn link(max_namespaces: usize) -> ServerLink {
    let ids = SocketIds { engine: "e".into(), socket: "s".into(), producer: "p".into() };
    let socketio =
        SocketIoConfig { application: true, max_namespaces, ..SocketIoConfig::default() };
    let config = ServerLinkConfig { socketio, ..ServerLinkConfig::default() };
    let mut link = ServerLink::new(config, ids, Time::ZERO);
    assert!(link.poll_frame().is_some(), "the open packet");
    link
}

fn write(link: &mut ServerLink, text: &str) -> Result<Vec<NamespaceMessage>, CloseCode> {
    let frame = Frame::Text(Bytes::copy_from_slice(text.as_bytes()));
    link.receive(Time::ZERO, frame).map_err(|error| error.close.code)?;
    Ok(std::iter::from_fn(|| link.poll_namespace()).collect())
}

fn reads(link: &mut ServerLink) -> Vec<String> {
    let text = |frame| match frame {
        Frame::Text(text) => String::from_utf8(text.into()).expect("UTF-8"),
        Frame::Binary(data) => panic!("binary: {data:?}"),
    };
    std::iter::from_fn(|| link.poll_frame()).map(text).collect()
}

fn namespace(path: &str) -> Namespace {
    Namespace::new(path).expect("a namespace")
}

fn grant(sid: &str, claimed: bool) -> Grant {
    Grant { sid: sid.into(), pid: None, claimed }
}

#[test]
fn the_application_is_asked_and_answers() {
    let mut link = link(2);
    let asked = write(&mut link, r#"40/chat,{"token":"t"}"#).expect("a question");
    let (auth, token) = (Some(Bytes::from_static(br#"{"token":"t"}"#)), Some("t".to_owned()));
    let chat = namespace("/chat");
    assert_eq!(asked, [NamespaceMessage::Connect { namespace: chat, auth, token }]);
    assert_eq!(write(&mut link, "42/chat,[\"early\"]"), Err(CloseCode::BAD_FRAME));
    link.refuse_namespace(&namespace("/chat"), "not \"you\"", Some(b"[1]"));
    assert_eq!(reads(&mut link), [r#"44/chat,{"message":"not \"you\"","data":[1]}"#]);
    assert!(!link.grant(&namespace("/chat"), grant("x", true)), "it does not ask any more");
    write(&mut link, "40/chat,").expect("again");
    assert!(link.grant(&namespace("/chat"), Grant { pid: Some("p".into()), ..grant("x", true) }));
    assert_eq!(reads(&mut link), [r#"40/chat,{"sid":"x","pid":"p"}"#]);
    assert_eq!(write(&mut link, "42/chat,7[\"e\",1]").expect("an event").len(), 1);
    assert_eq!(write(&mut link, "43/chat,7[1]").expect("an answer").len(), 1);
    assert_eq!(write(&mut link, "40/chat,"), Err(CloseCode::BAD_FRAME), "it is there already");
    link.end_namespace(&namespace("/chat"));
    assert_eq!(write(&mut link, "42/chat,[\"late\"]"), Ok(vec![]), "it could not know");
    assert_eq!(write(&mut link, "40/chat,").expect("a new try").len(), 1);
}

#[test]
fn a_namespace_in_time_is_enough() {
    let mut link = link(2);
    let late = link.next_timeout().expect("a deadline");
    write(&mut link, "40/chat,").expect("a question");
    assert_eq!(link.next_timeout(), Some(late), "asking is not enough");
    link.grant(&namespace("/chat"), grant("x", true));
    assert!(link.next_timeout() > Some(late));
}

#[test]
fn the_namespace_of_tidings_is_shared() {
    let mut link = link(2);
    assert_eq!(write(&mut link, r#"40{"token":7}"#).expect("a question").len(), 1);
    assert_eq!(link.poll_message(), None, "the application has not answered");
    assert!(link.grant(&Namespace::MAIN, grant("socket", true)));
    assert!(
        matches!(link.poll_message(), Some(ClientMessage::Hello(hello)) if hello.token.is_none())
    );
    let welcome = Welcome {
        session: "session".into(),
        resumed: false,
        instance: String::new(),
        ping_interval: std::time::Duration::from_secs(25),
        ping_timeout: std::time::Duration::from_secs(20),
        max_payload: 1,
        max_in_flight: 1,
        cursor: Cursor::new(),
        refused: Vec::new(),
        expires_in: None,
    };
    link.send(Time::ZERO, &ServerMessage::Welcome(welcome));
    assert_eq!(reads(&mut link), [r#"40{"sid":"socket"}"#]);
    let events = write(&mut link, r#"420["subscribe","a"]"#).expect("an event");
    let [NamespaceMessage::Event { ack, args, .. }] = &events[..] else { panic!("{events:?}") };
    link.unclaimed(*ack, args);
    assert!(matches!(link.poll_message(), Some(ClientMessage::Subscribe(_))));
    // Acknowledgements go to whom the number belongs.
    assert_eq!(write(&mut link, "435[1]").expect("an answer").len(), 1);
    assert_eq!(write(&mut link, "431073741825[1]"), Ok(vec![]));
    let reply = link.poll_message();
    assert!(matches!(reply, Some(ClientMessage::Reply { id: RequestId(1_073_741_825), .. })));
    // Leaving is not the end of the connection, and coming back is possible.
    assert_eq!(write(&mut link, "41").expect("an end").len(), 1);
    assert_eq!(link.poll_message(), None);
    assert_eq!(write(&mut link, "40").expect("a question").len(), 1);
}

proptest! {
    /// Whatever comes, and however the application answers, nothing panics and the number of
    /// namespaces stays bounded.
    #[test]
    fn nothing_breaks_the_link(
        packets in prop::collection::vec("4[0-6](/[a-c],)?[0-9]{0,3}(\\[\"[a-z:]{0,9}\"(,[0-9])?\\]|\\{\\})?", 0..24),
        answers in prop::collection::vec(0..4_u8, 0..24),
    ) {
        let mut link = link(2);
        let mut answers = answers.into_iter().cycle();
        for packet in packets {
            let Ok(messages) = write(&mut link, &packet) else { return Ok(()) };
            for message in messages {
                match (message, answers.next().unwrap_or_default()) {
                    (NamespaceMessage::Connect { namespace, .. }, 0) => {
                        link.refuse_namespace(&namespace, "no", None);
                    }
                    (NamespaceMessage::Connect { namespace, .. }, n) => {
                        link.grant(&namespace, grant("sid", n == 1));
                    }
                    (NamespaceMessage::Event { namespace, ack, args }, n) => {
                        if namespace.is_main() { link.unclaimed(ack, &args) }
                        if n == 3 { link.end_namespace(&namespace) }
                    }
                    (NamespaceMessage::Ack { .. } | NamespaceMessage::Disconnect { .. }, _) => {}
                }
            }
            while link.poll_message().is_some() {}
            let granted = reads(&mut link).iter().filter(|text| text.starts_with("40/")).count();
            prop_assert!(granted <= 1);
        }
    }
}
