//! Clients that come back to the state they had.

use std::time::Duration;

use serde_json::Value;
use tidings_server::auth;
use tidings_server::socketio::{Data, Socket};

use crate::client::{Client, bind, serve};

/// The JSON behind a packet's type and namespace.
fn json(packet: &str) -> Value {
    let start = packet.find(['[', '{']).expect("JSON");
    serde_json::from_str(&packet[start..]).expect("JSON")
}

fn last_argument(packet: &str) -> String {
    json(packet).as_array().and_then(|args| args.last()?.as_str()).expect("an offset").to_owned()
}

async fn enter(client: &mut Client, connect: &str) -> Value {
    client.send(connect).await;
    json(&client.text().await)
}

#[tokio::test]
async fn a_client_that_comes_back_has_missed_nothing() {
    let server = bind(|c| c.recovery.max_age = Duration::from_secs(60)).await;
    let chat = server.namespace("/chat").expect("a namespace");
    chat.middleware(|socket: Socket| async move {
        assert!(!socket.recovered(), "it is known already");
        socket.set_data(String::from("kept"));
        Ok(())
    });
    chat.on("join", |socket: Socket, Data(room): Data<String>| async move { socket.join(room) });
    chat.on_connect(|socket: Socket| async move {
        let data = socket.data::<String>().expect("it is kept");
        socket.volatile().emit("hello", (socket.recovered(), &*data))
    });
    let address = serve(server);
    let mut client = Client::open(address).await;
    let connected = enter(&mut client, "40/chat,").await;
    let (sid, pid) = (connected["sid"].clone(), connected["pid"].clone());
    assert_ne!(sid, pid);
    client.reads(r#"42/chat,["hello",false,"kept"]"#).await;
    client.send(r#"42/chat,["join","room"]"#).await;
    let (mut other, _) = Client::join(address, "40/chat,").await;
    other.reads(r#"42/chat,["hello",false,"kept"]"#).await;
    while chat.to("room").local_sockets().is_empty() {
        tokio::task::yield_now().await;
    }
    chat.to("room").emit("seen", 1).expect("sent");
    let offset = last_argument(&client.text().await);
    drop(client);
    while chat.sockets().local_sockets().len() > 1 {
        tokio::task::yield_now().await;
    }
    chat.to("room").emit("missed", 2).expect("sent");
    chat.to("elsewhere").emit("not missed", 3).expect("sent");
    chat.to("room").volatile().emit("lost", 4).expect("sent");
    chat.except("room").emit("not for it", 5).expect("sent");
    chat.emit("missed", 6).expect("sent");

    let mut client = Client::open(address).await;
    let auth = serde_json::json!({ "pid": pid, "offset": offset });
    let connected = enter(&mut client, &format!("40/chat,{auth}")).await;
    assert_eq!((&connected["sid"], &connected["pid"]), (&sid, &pid));
    for missed in [2, 6] {
        let event = json(&client.text().await);
        assert_eq!((&event[0], &event[1]), (&"missed".into(), &missed.into()));
    }
    client.reads(r#"42/chat,["hello",true,"kept"]"#).await;
    chat.to("room").emit("live", 7).expect("sent");
    let live = client.text().await;
    assert!(live.starts_with(r#"42/chat,["live",7,"#), "{live}");

    // Leaving is for good, and so is an offset that nobody knows.
    client.send("41/chat,").await;
    let mut again = Client::open(address).await;
    let auth = serde_json::json!({ "pid": pid, "offset": last_argument(&live) });
    let connected = enter(&mut again, &format!("40/chat,{auth}")).await;
    assert_ne!(connected["pid"], pid);
    again.reads(r#"42/chat,["hello",false,"kept"]"#).await;
    // Acknowledged events have no offset: they cannot be sent again.
    drop(other);
}

#[tokio::test]
async fn what_tidings_delivers_is_recovered_without_loss_or_double() {
    let server = bind(|c| c.recovery.max_age = Duration::from_secs(60)).await;
    let (main, bus) = (server.namespace("/").expect("a namespace"), server.bus().clone());
    let emit = |name: &str, n: u32| {
        let payload = tidings_core::Payload::Json(n.to_string().into());
        bus.emit(&bus.event(name, payload).expect("a name"));
    };
    let address = serve(server);
    let mut client = Client::open(address).await;
    let connected = enter(&mut client, "40").await;
    let (sid, pid) = (connected["sid"].clone(), connected["pid"].clone());
    for pattern in ["orders.*", "rooms.**"] {
        client.send(&format!(r#"420["subscribe","{pattern}"]"#)).await;
        assert!(client.text().await.starts_with(r#"430[{"ok":true"#));
    }
    // Events of several lanes and of the application, one after the other.
    for n in 0..4 {
        emit("orders.a", n);
        assert_eq!(json(&client.text().await)[1], n);
        emit("rooms.1.x", n);
        assert_eq!(json(&client.text().await)[1], n);
        main.emit("news", n).expect("sent");
        assert_eq!(json(&client.text().await)[1], n);
    }
    emit("orders.a", 4);
    let mut seen = client.text().await;
    // Written to the client, which has not seen it when it goes away.
    emit("orders.a", 5);
    main.emit("news", 5).expect("sent");
    let unseen = [client.text().await, client.text().await];
    assert!(unseen.iter().all(|packet| json(packet)[1] == 5), "{unseen:?}");
    for round in 0..3 {
        drop(client);
        while !main.sockets().local_sockets().is_empty() {
            tokio::task::yield_now().await;
        }
        if round == 0 {
            emit("orders.b", 6);
            emit("elsewhere", 6);
            emit("rooms.2", 6);
            main.emit("news", 6).expect("sent");
        }
        client = Client::open(address).await;
        let auth = serde_json::json!({ "pid": pid, "offset": last_argument(&seen) });
        let connected = enter(&mut client, &format!("40{auth}")).await;
        assert_eq!((&connected["sid"], &connected["pid"]), (&sid, &pid));
        let mut missed: Vec<(String, u64)> = Vec::new();
        while missed.len() < 5 {
            let event = json(&client.text().await);
            missed.push((
                event[0].as_str().expect("a name").to_owned(),
                event[1].as_u64().expect("a number"),
            ));
        }
        missed.sort();
        let expected = [("news", 5), ("news", 6), ("orders.a", 5), ("orders.b", 6), ("rooms.2", 6)];
        assert_eq!(missed, expected.map(|(name, n)| (name.to_owned(), n)), "round {round}");
    }
    emit("orders.a", 7);
    seen = client.text().await;
    assert_eq!(json(&seen)[1], 7);
    client.send(r#"421["unsubscribe","orders.*"]"#).await;
    assert!(client.text().await.starts_with(r#"431[{"ok":true"#), "it is known by its pattern");
    client.send("41").await;
    let auth = serde_json::json!({ "pid": pid, "offset": last_argument(&seen) });
    let connected = enter(&mut client, &format!("40{auth}")).await;
    assert_ne!(connected["pid"], pid, "it has left for good");
}

#[tokio::test]
async fn nobody_comes_back_to_the_state_of_somebody_else() {
    let secret = "a secret that is long enough for tests";
    let server = bind(|c| {
        c.recovery.max_age = Duration::from_secs(60);
        c.auth.secret = secret.into();
    });
    let server = server.await;
    let chat = server.namespace("/chat").expect("a namespace");
    let address = serve(server);
    let token = |subject: &str| {
        let claims = serde_json::Map::new();
        auth::issue(secret, subject, Duration::from_secs(60), claims).expect("a token")
    };
    let mut client = Client::open(address).await;
    let auth = serde_json::json!({ "token": token("ann") });
    let connected = enter(&mut client, &format!("40/chat,{auth}")).await;
    chat.emit("seen", 1).expect("sent");
    let offset = last_argument(&client.text().await);
    drop(client);
    while !chat.sockets().local_sockets().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut back = Vec::new();
    for subject in ["bob", "ann"] {
        let mut client = Client::open(address).await;
        let (pid, token) = (&connected["pid"], token(subject));
        let auth = serde_json::json!({ "token": token, "pid": pid, "offset": offset });
        let again = enter(&mut client, &format!("40/chat,{auth}")).await;
        back.push((again["sid"] == connected["sid"], &again["pid"] == pid));
    }
    assert_eq!(back, [(false, false), (true, true)]);
}
