//! The application of tests/node/app-server.js on Tidings: what tests/node/app.js finds with
//! Socket.IO's own server, it must find here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use tidings_server::Server;
use tidings_server::socketio::{
    Ack, Binary, Broadcast, ConnectError, Data, DisconnectReason, EventName, MissingAcks,
    Namespace, RawArgs, Reply, Socket,
};

/// A client's `auth`.
#[derive(Debug, Default, Deserialize)]
struct Auth {
    user: Option<String>,
}

/// Which sockets are meant.
#[derive(Debug, Deserialize)]
struct Where {
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
}

impl Where {
    fn among(self, mut sockets: Broadcast) -> Broadcast {
        if !self.to.is_empty() {
            sockets = sockets.to(self.to);
        }
        sockets.except(self.except)
    }
}

/// Any value, with binary in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Any {
    Binary(Binary),
    List(Vec<Any>),
    Members(BTreeMap<String, Any>),
    Plain(Value),
}

/// As many arguments as there are values.
struct Arguments<'a>(&'a [Any]);

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

/// An event that a client wants emitted: its name, and its arguments.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<Any>")]
struct Emitted(String, Vec<Any>);

impl TryFrom<Vec<Any>> for Emitted {
    type Error = &'static str;

    fn try_from(mut values: Vec<Any>) -> Result<Self, Self::Error> {
        if values.is_empty() {
            return Err("a name is missing");
        }
        match values.remove(0) {
            Any::Plain(Value::String(name)) => Ok(Self(name, values)),
            _ => Err("the name is no text"),
        }
    }
}

/// The events of a client, each with the number of its arguments.
#[derive(Debug, Default)]
struct Seen(parking_lot::Mutex<Vec<(String, usize)>>);

/// Who somebody is.
#[derive(Debug, Clone)]
struct User(Option<String>);

fn user(socket: &Socket) -> Option<String> {
    socket.data::<User>().and_then(|user| user.0.clone())
}

fn rooms(socket: &Socket) -> Vec<String> {
    let mut rooms: Vec<String> = socket.rooms().iter().map(ToString::to_string).collect();
    rooms.retain(|room| room != socket.id());
    rooms.sort();
    rooms
}

/// Adds the application to a server.
///
/// # Panics
/// When the server does not take its namespaces.
pub fn add(server: &Server) {
    let root = server.namespace("/").expect("a namespace");
    root.on_connect(|socket: Socket, auth: RawArgs| async move { socket.emit("auth", auth) });

    let is_dynamic = |path: &str| {
        let number = path.strip_prefix("/dynamic-");
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    };
    server
        .namespaces(is_dynamic)
        .on_connect(
            |socket: Socket| async move { socket.emit("namespace", socket.namespace().path()) },
        )
        .on("shout", |socket: Socket, Data(text): Data<String>| async move {
            socket.namespace().emit("shouted", text)
        });

    let app = server.namespace("/app").expect("a namespace");
    app.middleware(|socket: Socket, Data(auth): Data<Option<Auth>>| async move {
        let Auth { user } = auth.unwrap_or_default();
        if user.as_deref() == Some("mallory") {
            let why = serde_json::json!({ "code": 7, "why": ["a", null] });
            return Err(ConnectError::new("not allowed").data(why));
        }
        socket.set_data(User(user));
        Ok(())
    });
    about_itself(&app);
    emitting(&app);
    others(&app);
}

/// What a socket asks about itself.
fn about_itself(app: &Namespace) {
    app.on_connect(|socket: Socket| async move { socket.set_data(Seen::default()) })
        .on_any(|socket: Socket, EventName(event): EventName, arguments: RawArgs| async move {
            if &*event != "seen"
                && let Some(seen) = socket.data::<Seen>()
            {
                seen.0.lock().push((event.to_string(), arguments.0.len()));
            }
        })
        .on("seen", |socket: Socket| async move {
            Reply((socket.data::<Seen>().map(|seen| seen.0.lock().clone()),))
        })
        .on("who", |socket: Socket| async move {
            Reply(serde_json::json!({
                "id": socket.id(), "user": user(&socket), "rooms": rooms(&socket),
            }))
        })
        .on("join", |socket: Socket, Data(joined): Data<Vec<String>>| async move {
            socket.join(joined);
            Reply(rooms(&socket))
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| async move {
            socket.leave(&room);
            Reply(rooms(&socket))
        })
        .on("quit", |socket: Socket, Data(close): Data<bool>| async move {
            socket.disconnect(close);
        })
        .on_disconnect(|socket: Socket, reason: DisconnectReason| async move {
            let gone = (user(&socket), reason.as_str());
            socket.namespace().to("watchers").emit("gone", gone)
        });
}

/// What a socket has the server send to itself.
fn emitting(app: &Namespace) {
    app.on("echo", |ack: Ack, arguments: RawArgs| async move { ack.send(arguments) })
        .on(
            "back",
            |socket: Socket, arguments: RawArgs| async move { socket.emit("back", arguments) },
        )
        .on("volatile", |socket: Socket, Data(n): Data<Value>| async move {
            socket.volatile().emit("volatile", n)
        })
        .on(
            "ask",
            |socket: Socket, ack: Ack, Data((question, patience)): Data<(Value, u64)>| async move {
                let socket = socket.timeout(Duration::from_millis(patience));
                match socket.emit_with_ack::<(Value, Value)>("question", question).await {
                    Ok((first, second)) => ack.send(vec![first, second]),
                    Err(_) => ack.send("no answer"),
                }
            },
        );
}

/// What a socket does to others.
fn others(app: &Namespace) {
    app.on("others", |socket: Socket, Data((to, event)): Data<(Where, Emitted)>| async move {
        let Emitted(name, arguments) = event;
        to.among(socket.broadcast()).emit(&name, Arguments(&arguments)).map(|()| Reply("sent"))
    })
    .on("all", |socket: Socket, Data((to, event)): Data<(Where, Emitted)>| async move {
        let Emitted(name, arguments) = event;
        let all = socket.namespace().sockets();
        to.among(all).emit(&name, Arguments(&arguments)).map(|()| Reply("sent"))
    })
    .on(
        "collect",
        |socket: Socket, Data((to, patience, question)): Data<(Where, u64, Value)>| async move {
            let all = to.among(socket.namespace().sockets());
            let all = all.timeout(Duration::from_millis(patience));
            let answers = all.emit_with_ack::<Value>("question", question).await?;
            Ok::<_, tidings_server::socketio::EmitError>(match answers {
                Ok(answers) => Reply((false, answers)),
                Err(MissingAcks { received, .. }) => Reply((true, received)),
            })
        },
    )
    .on("fetch", |socket: Socket, Data(to): Data<Where>| async move {
        let found = to.among(socket.namespace().sockets()).local_sockets();
        let told = found.iter().map(|socket| {
            let id = socket.id().to_owned();
            (id, user(socket), socket.rooms().len())
        });
        Reply(told.collect::<Vec<_>>())
    })
    .on(
        "move",
        |socket: Socket, Data((to, from, into)): Data<(Where, String, Vec<String>)>| async move {
            let moved = to.among(socket.namespace().sockets());
            moved.sockets_join(into);
            moved.sockets_leave(from);
            Reply("moved")
        },
    )
    .on(
        "dismiss",
        |socket: Socket, ack: Ack, Data((to, close)): Data<(Where, bool)>| async move {
            let told = ack.send("dismissed");
            to.among(socket.namespace().sockets()).disconnect_sockets(close);
            told
        },
    );
}
