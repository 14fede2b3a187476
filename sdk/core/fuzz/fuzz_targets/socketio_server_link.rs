//! A whole Socket.IO connection at the server: messages divided by zero bytes, binary ones marked
//! by 0xff.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_core::Time;
use tidings_core::link::ServerLinkConfig;
use tidings_core::message::{ClientMessage, ErrorCode, Frame, Refusal, ServerMessage};
use tidings_core::socketio::{Grant, NamespaceMessage, ServerLink, SocketIds, SocketIoConfig};

fuzz_target!(|data: &[u8]| {
    let ids = SocketIds { engine: "e".into(), socket: "s".into(), producer: "p".into() };
    // The first byte says whether there is an application.
    let Some((first, data)) = data.split_first() else { return };
    let (application, max_namespaces) = (first & 1 == 1, 2);
    let socketio = SocketIoConfig {
        max_unanswered: 8,
        application,
        max_namespaces,
        ..SocketIoConfig::default()
    };
    let config = ServerLinkConfig { max_frame: 4096, socketio, ..ServerLinkConfig::default() };
    let mut link = ServerLink::new(config, ids, Time::ZERO);
    for part in data.split(|byte| *byte == 0) {
        let frame = match part.strip_prefix(b"\xff") {
            Some(data) => Frame::Binary(Bytes::copy_from_slice(data)),
            None => Frame::Text(Bytes::copy_from_slice(part)),
        };
        if link.receive(Time::ZERO, frame).is_err() {
            return;
        }
        while let Some(message) = link.poll_namespace() {
            decide(&mut link, message, *first);
        }
        while let Some(message) = link.poll_message() {
            answer(&mut link, message);
        }
        while link.poll_frame().is_some() {}
    }
});

/// Lets clients in, and leaves their events to the session, or ends the namespace.
fn decide(link: &mut ServerLink, message: NamespaceMessage, how: u8) {
    match message {
        NamespaceMessage::Connect { namespace, .. } if how & 2 == 0 => {
            link.refuse_namespace(&namespace, "no", None);
        }
        NamespaceMessage::Connect { namespace, .. } => {
            let grant = Grant { sid: "sid".into(), pid: None, claimed: how & 4 == 0 };
            link.grant(&namespace, grant);
        }
        NamespaceMessage::Event { namespace, ack, args } => {
            if namespace.is_main() {
                link.unclaimed(ack, &args);
            } else if how & 8 == 0 {
                link.end_namespace(&namespace);
            }
        }
        NamespaceMessage::Ack { .. } | NamespaceMessage::Disconnect { .. } => {}
    }
}

/// Refuses everything, in the way each message is refused.
fn answer(link: &mut ServerLink, message: ClientMessage) {
    let refusal = Refusal::new(ErrorCode::FORBIDDEN, "no");
    let answer = match message {
        ClientMessage::Subscribe(subscribe) => {
            ServerMessage::SubscribeRefused { id: subscribe.id, refusal }
        }
        ClientMessage::Unsubscribe(id) => ServerMessage::Unsubscribed(id),
        ClientMessage::Publish(publish) => {
            ServerMessage::PublishRefused { seq: publish.seq, refusal }
        }
        ClientMessage::Request { id, .. } => ServerMessage::Reply { id, result: Err(refusal) },
        ClientMessage::Token(_) => ServerMessage::TokenAnswer(Err(refusal)),
        _ => ServerMessage::Refused(refusal),
    };
    link.send(Time::ZERO, &answer);
}
