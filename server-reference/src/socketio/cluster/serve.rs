//! Does what other members tell, and answers what they ask.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use tidings_core::socketio::Args;
use tidings_core::socketio::msgpack::write_date;

use super::member::Member;
use super::message::{Asked, Details, Message, Question, Reply};
use crate::socketio::asking::SentHere;
use crate::socketio::broadcast::Flags;
use crate::socketio::namespace::Namespace;
use crate::socketio::socket::Socket;
use crate::socketio::table::Target;

/// Does what another member tells.
pub(super) fn obey(
    member: &Arc<Member>,
    namespace: &Namespace,
    from: Option<String>,
    message: Message,
) {
    match message {
        Message::Emit { target, args, volatile } => {
            namespace.broadcast_here(&target, args, Flags { volatile, local: true });
        }
        Message::Join { target, rooms } => namespace.join_here(&target, &rooms),
        Message::Leave { target, rooms } => namespace.leave_here(&target, &rooms),
        Message::Disconnect { target, close } => namespace.disconnect_here(&target, close),
        Message::ServerSide { args } => {
            if let Some(answer) = namespace.server_side(&args) {
                member.spawn(async { drop(answer.await) });
            }
        }
        Message::Ask { request, question } => {
            let asked = Asked { request, from: from.unwrap_or_default() };
            answer(member, namespace, asked, question);
        }
    }
}

fn answer(member: &Arc<Member>, namespace: &Namespace, asked: Asked, question: Question) {
    match question {
        Question::Sockets(target) => {
            let sockets = namespace.sockets_here(&target).iter().map(details).collect();
            member.reply(&asked, &Reply::Sockets(sockets));
        }
        Question::Ids(rooms) => {
            let sockets = namespace.sockets_here(&Target { rooms, except: Vec::new() });
            let ids = sockets.iter().map(|socket| Arc::clone(socket.shared_id())).collect();
            member.reply(&asked, &Reply::Ids(ids));
        }
        Question::Rooms => member.reply(&asked, &Reply::Rooms(namespace.rooms_and_ids())),
        Question::ServerSide(args) => {
            // Who asks waits for all members, also for those that have nothing to say.
            let Some(answer) = namespace.server_side(&args) else {
                return member.reply(&asked, &Reply::ServerSide(Args::new()));
            };
            let answering = Arc::clone(member);
            member.spawn(async move {
                let limit = answering.request_timeout();
                if let Ok(answer) = tokio::time::timeout(limit, answer).await {
                    answering.reply(&asked, &Reply::ServerSide(first(&answer)));
                }
            });
        }
        Question::Emit { target, args, volatile, timeout } => {
            let flags = Flags { volatile, local: true };
            let longest = namespace.ack_timeout();
            let limit = timeout.unwrap_or(longest).min(longest);
            let work = emit(Arc::clone(member), namespace.clone(), asked, target, args, flags);
            member.spawn(async move {
                // What comes later is not waited for by who asked.
                let _ = tokio::time::timeout(limit, work).await;
            });
        }
    }
}

/// Sends an event to the sockets here, and tells who asked how many they are, and what their clients
/// acknowledge.
async fn emit(
    member: Arc<Member>,
    namespace: Namespace,
    asked: Asked,
    target: Target,
    args: Args,
    flags: Flags,
) {
    let sockets = namespace.sockets_here(&target);
    let (sent, mut answers) = SentHere::send(&namespace, sockets, args, flags);
    member.reply(&asked, &Reply::Clients(sent.sockets.len()));
    while let Some(answer) = answers.recv().await {
        member.reply(&asked, &Reply::Acknowledged(first(&answer)));
    }
}

/// The first argument alone: more do not fit into the answers of members.
fn first(answer: &Args) -> Args {
    let mut first = Args::new();
    answer.json(0).into_iter().for_each(|json| first.push_json(json.clone()));
    for data in answer.attachments() {
        first.push_attachment(data.clone());
    }
    first
}

/// What other members are told of a socket, as Node's tell it.
pub(in crate::socketio) fn details(socket: &Socket) -> Details {
    Details {
        id: Arc::clone(socket.shared_id()),
        rooms: socket.rooms(),
        handshake: handshake(socket),
        data: socket.shared_data(),
        attachments: Arc::default(),
    }
}

fn handshake(socket: &Socket) -> Bytes {
    let handshake = socket.handshake();
    let mut headers = serde_json::Map::new();
    for name in handshake.headers().keys() {
        let values = handshake.headers().get_all(name).iter();
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        headers.insert(name.to_string(), values.join(", ").into());
    }
    let issued = handshake.time().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let issued = i64::try_from(issued.as_millis()).unwrap_or_default();
    let mut time = Vec::new();
    // A time beyond the year 9999 is left out.
    let _ = write_date(&mut time, issued);
    let time: serde_json::Value = serde_json::from_slice(&time).unwrap_or_default();
    let auth: serde_json::Value = serde_json::from_slice(handshake.auth_json()).unwrap_or_default();
    let url = handshake.uri().path_and_query().map_or("", |path| path.as_str());
    let json = json!({
        "address": handshake.address().ip().to_string(),
        "time": time,
        "issued": issued,
        "secure": false,
        "xdomain": headers.contains_key("origin"),
        "url": url,
        "query": handshake.query(),
        "auth": auth,
        "headers": headers,
    });
    json.to_string().into()
}
