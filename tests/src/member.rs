//! The member of a cluster that tests/node/cluster/member.js is on Node, on Tidings.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_server::socketio::{
    Args, Broadcast, Data, EmitError, MissingAcks, MissingAnswers, Namespace, RawArgs,
    RemoteSocket, Reply, Socket,
};

use crate::app::Any;

#[derive(Debug, Deserialize)]
struct Auth {
    name: String,
}

/// Which sockets are meant, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    to: Vec<String>,
    except: Vec<String>,
    local: bool,
    volatile: bool,
}

impl Target {
    fn among(self, namespace: &Namespace) -> Broadcast {
        let mut sockets = namespace.sockets().to(self.to).except(self.except);
        if self.local {
            sockets = sockets.local();
        }
        if self.volatile { sockets.volatile() } else { sockets }
    }
}

/// The arguments from number `from` on.
fn rest(args: &Args, from: usize) -> RawArgs {
    let mut rest = Args::new();
    for json in (from..args.len()).filter_map(|index| args.json(index)) {
        rest.push_json(json.clone());
    }
    for data in args.attachments() {
        rest.push_attachment(data.clone());
    }
    RawArgs(rest)
}

/// Adds what a member does to its namespace; `name` is the member's.
pub fn add(app: &Namespace, name: &'static str) {
    app.on_connect(|socket: Socket, Data(Auth { name }): Data<Auth>| async move {
        socket.set_shared_data(&json!({ "name": name }))
    })
    .on("join", |socket: Socket, Data(room): Data<String>| async move {
        socket.join(room);
        Reply(())
    })
    .on("leave", |socket: Socket, Data(room): Data<String>| async move {
        socket.leave(&room);
        Reply(())
    })
    .on(
        "emit",
        |socket: Socket, Data((target, event)): Data<(Target, String)>, RawArgs(args)| async move {
            let args = rest(&args, 2);
            target.among(socket.namespace()).emit(&event, args).map(|()| Reply(()))
        },
    )
    .on(
        "collect",
        |socket: Socket, Data((target, patience, question)): Data<(Target, u64, Any)>| async move {
            let sockets = target.among(socket.namespace()).timeout(Duration::from_millis(patience));
            let answers = sockets.emit_with_ack::<Any>("question", question).await?;
            Ok::<_, EmitError>(match answers {
                Ok(answers) => Reply((false, answers)),
                Err(MissingAcks { received, .. }) => Reply((true, received)),
            })
        },
    )
    .on("fetch", |socket: Socket, Data(target): Data<Target>| async move {
        let fetched = target.among(socket.namespace()).fetch_sockets().await;
        Reply(match fetched {
            Ok(found) => (false, found.iter().map(describe).collect::<Vec<_>>()),
            Err(MissingAnswers { received, .. }) => (true, received.iter().map(describe).collect()),
        })
    });
    speaking_to_what_is_fetched(app);
    doing_things_to_others(app);
    between_members(app, name);
}

fn describe(socket: &RemoteSocket) -> Value {
    let mut rooms: Vec<_> = socket.rooms().iter().map(ToString::to_string).collect();
    rooms.retain(|room| room != socket.id());
    rooms.sort();
    let data: Value = socket.data().unwrap_or_default();
    let handshake: Value = socket.handshake().unwrap_or_default();
    json!({
        "id": socket.id(),
        "rooms": rooms,
        "name": data["name"],
        "auth": handshake["auth"]["name"],
    })
}

/// The client of this name, wherever it is.
async fn find(namespace: &Namespace, name: &str) -> Option<RemoteSocket> {
    let found = namespace.sockets().fetch_sockets().await.ok()?;
    let is_named = |socket: &RemoteSocket| socket.data::<Auth>().is_ok_and(|it| it.name == name);
    found.into_iter().find(is_named)
}

fn speaking_to_what_is_fetched(app: &Namespace) {
    let patience = Duration::from_secs(60);
    app.on(
        "whisper",
        move |socket: Socket, Data((name, question)): Data<(String, Any)>| async move {
            let found = find(socket.namespace(), &name).await.ok_or("nobody is called so")?;
            found.join(format!("whispered to {name}"));
            let answer = found.emit_with_ack::<Any>("question", question, patience).await;
            answer.map(Reply).map_err(|_| "no answer")
        },
    )
    .on("hush", |socket: Socket, Data(name): Data<String>| async move {
        let found = find(socket.namespace(), &name).await.ok_or("nobody is called so")?;
        found.emit("hush", &name).map_err(|_| "not sent")?;
        found.leave(&format!("whispered to {name}"));
        Ok::<_, &str>(Reply(()))
    });
}

fn doing_things_to_others(app: &Namespace) {
    app.on("bring", |socket: Socket, Data((target, room)): Data<(Target, String)>| async move {
        target.among(socket.namespace()).sockets_join(room);
        Reply(())
    })
    .on("take", |socket: Socket, Data((target, room)): Data<(Target, String)>| async move {
        target.among(socket.namespace()).sockets_leave(room);
        Reply(())
    })
    .on("dismiss", |socket: Socket, Data((target, close)): Data<(Target, bool)>| async move {
        target.among(socket.namespace()).disconnect_sockets(close);
        Reply(())
    })
    .on("rooms", |socket: Socket| async move {
        let rooms = match socket.namespace().all_rooms().await {
            Ok(rooms) | Err(MissingAnswers { received: rooms, .. }) => rooms,
        };
        Reply((rooms.iter().map(ToString::to_string).collect::<Vec<_>>(),))
    });
}

fn between_members(app: &Namespace, name: &'static str) {
    let told = Arc::<Mutex<Vec<Vec<Value>>>>::default();
    let heard = Arc::clone(&told);
    app.on_server_side("tell", move |args: (Value, Value)| heard.lock().push(vec![args.0, args.1]))
        .on_server_side_with_ack("ask", move |question: Value| async move {
            json!({ "name": name, "question": question })
        })
        .on("told", move || {
            let told = told.lock().clone();
            async move { Reply((told,)) }
        })
        .on("tell others", |socket: Socket, args: RawArgs| async move {
            socket.namespace().server_side_emit("tell", args).map(|()| Reply(()))
        })
        .on(
            "ask others",
            |socket: Socket, Data((event, question)): Data<(String, Value)>| async move {
                let app = socket.namespace();
                let answers =
                    app.server_side_emit_with_ack::<Option<Value>>(&event, question).await;
                answers.map(|answers| match answers {
                    Ok(answers) => Reply((false, answers)),
                    Err(MissingAnswers { received, .. }) => Reply((true, received)),
                })
            },
        );
}
