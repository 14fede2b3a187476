//! Coming into namespaces, and Tidings beside them.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_server::socketio::{ConnectError, Data, Reply, Socket};

use crate::client::{Client, HANGS, bind, serve};

#[tokio::test]
async fn middlewares_let_clients_in_or_say_why_not() {
    let server = bind(|_| {}).await;
    let guarded = server.namespace("/guarded").expect("a namespace");
    guarded.middleware(|socket: Socket, Data(auth): Data<Value>| async move {
        assert!(!socket.connected());
        tokio::task::yield_now().await;
        match auth["token"].as_str() {
            Some("good") => {
                socket.set_data(auth["token"].to_string());
                Ok(())
            }
            Some("bad") => Err(ConnectError::new("not you").data(json!({ "code": 7 }))),
            Some(_) => panic!("what is that?"),
            None => Err("who are you?".into()),
        }
    });
    guarded.middleware(|socket: Socket| async move {
        socket.join("let in");
        Ok(())
    });
    guarded.on_connect(|socket: Socket| async move {
        let token = socket.data::<String>().expect("the middleware's");
        let user = socket.handshake().query().get("user").cloned();
        socket.emit("welcome", (&*token, user, socket.rooms().len()))
    });
    let address = serve(server);
    let mut client = Client::open(address).await;
    client.send("40/guarded,").await;
    client.reads(r#"44/guarded,{"message":"who are you?"}"#).await;
    client.send(r#"40/guarded,{"token":"bad"}"#).await;
    client.reads(r#"44/guarded,{"message":"not you","data":{"code":7}}"#).await;
    client.send(r#"40/guarded,{"token":"odd"}"#).await;
    let refusal = client.text().await;
    assert!(refusal.starts_with(r#"44/guarded,{"message":"the server failed"#), "{refusal}");
    client.enter(r#"40/guarded,{"token":"good"}"#).await;
    client.reads(r#"42/guarded,["welcome","\"good\"","ann",2]"#).await;
    assert_eq!(guarded.to("let in").local_sockets().len(), 1);
}

#[tokio::test]
async fn namespaces_are_apart_from_each_other() {
    let server = bind(|c| c.namespaces.max_per_connection = 2).await;
    for path in ["/", "/a", "/b", "/c"] {
        let namespace = server.namespace(path).expect("a namespace");
        namespace.on("where", |socket: Socket| async move {
            Reply(socket.namespace().path().to_owned())
        });
    }
    assert!(server.namespace("a,b").is_err());
    let address = serve(server);
    let (mut client, main_id) = Client::join(address, "40").await;
    let a_id = client.enter("40/a,").await;
    assert_ne!(main_id, a_id);
    client.send("40/nowhere,").await;
    client.reads(r#"44/nowhere,{"message":"Invalid namespace"}"#).await;
    client.enter("40/b,").await;
    client.send("40/c,").await;
    let refusal = client.text().await;
    assert!(refusal.contains("a connection may be in 2 namespaces"), "{refusal}");
    for (packet, answer) in [
        (r#"420["where"]"#, r#"430["/"]"#),
        (r#"42/a,0["where"]"#, r#"43/a,0["/a"]"#),
        (r#"42/b,0["where"]"#, r#"43/b,0["/b"]"#),
    ] {
        client.send(packet).await;
        client.reads(answer).await;
    }
    client.send("41/a,").await;
    client.enter("40/c,").await;
    // An event for a namespace it is not in breaks the protocol.
    client.send(r#"42/a,["where"]"#).await;
    let close = client.text().await;
    assert!(close.contains("tidings:close"), "{close}");
    client.reads("41").await;
    client.ends().await;
}

#[tokio::test]
async fn a_pattern_makes_namespaces_for_as_long_as_they_are_used() {
    let server = bind(|_| {}).await;
    let projects = server.namespaces(|path| path.starts_with("/projects/"));
    projects
        .on("where", |socket: Socket| async move { Reply(socket.namespace().path().to_owned()) });
    let address = serve(server);
    let (mut one, _) = Client::join(address, "40/projects/1,").await;
    let (mut two, _) = Client::join(address, "40/projects/2,").await;
    let (mut other, _) = Client::join(address, "40/projects/1,").await;
    one.send(r#"42/projects/1,0["where"]"#).await;
    one.reads(r#"43/projects/1,0["/projects/1"]"#).await;
    projects.emit("news", 1).expect("sent");
    one.reads(r#"42/projects/1,["news",1]"#).await;
    other.reads(r#"42/projects/1,["news",1]"#).await;
    two.reads(r#"42/projects/2,["news",1]"#).await;
    assert_eq!(projects.namespaces().len(), 2);
    drop((one, two));
    let left = async {
        while projects.namespaces().len() != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, left).await.expect("one is left");
    projects.emit("news", 2).expect("sent");
    other.reads(r#"42/projects/1,["news",2]"#).await;
}

#[tokio::test]
async fn tidings_and_an_application_share_a_namespace() {
    let server = bind(|_| {}).await;
    let main = server.namespace("/").expect("a namespace");
    main.on("hello", |Data(name): Data<String>| async move { Reply(format!("hello {name}")) });
    server.handle("sum", |request: tidings_server::Request| async move {
        tidings_server::reply(&request.json::<Vec<i64>>()?.iter().sum::<i64>())
    });
    let remote = server.remote();
    let address = serve(server);
    let (mut client, _) = Client::join(address, "40").await;
    client.send(r#"420["hello","ann"]"#).await;
    client.reads(r#"430["hello ann"]"#).await;
    client.send(r#"421["sum",1,2]"#).await;
    client.reads("431[3]").await;
    client.send(r#"422["subscribe","a.*"]"#).await;
    let subscribed = client.text().await;
    assert!(subscribed.starts_with(r#"432[{"ok":true"#), "{subscribed}");
    client.send(r#"423["publish","a.b",{"x":1}]"#).await;
    let both = [client.text().await, client.text().await];
    assert!(both.iter().any(|text| text == r#"42["a.b",{"x":1}]"#), "{both:?}");
    assert_eq!(remote.websocket_stats().sessions, 1);
    // Whoever leaves the namespace has left Tidings, too.
    client.send("41").await;
    client.enter("40").await;
    client.send(r#"420["publish","a.b",2]"#).await;
    let published = client.text().await;
    assert!(published.starts_with(r#"430[{"ok":true"#), "{published}");
    client.send(r#"421["hello","again"]"#).await;
    client.reads(r#"431["hello again"]"#).await;
}

#[tokio::test]
async fn tidings_can_live_in_a_namespace_of_its_own() {
    let server = bind(|c| c.namespaces.tidings = "/events".into()).await;
    let main = server.namespace("/").expect("a namespace");
    main.on("subscribe", |Data(what): Data<String>| async move { Reply(format!("mine: {what}")) });
    let bus = server.bus().clone();
    let address = serve(server);
    let (mut client, _) = Client::join(address, "40").await;
    client.enter("40/events,").await;
    client.send(r#"420["subscribe","x"]"#).await;
    client.reads(r#"430["mine: x"]"#).await;
    client.send(r#"42/events,0["subscribe","a.**"]"#).await;
    let subscribed = client.text().await;
    assert!(subscribed.starts_with(r#"43/events,0[{"ok":true"#), "{subscribed}");
    let event = bus.event("a.b", tidings_core::Payload::Json("1".into())).expect("a name");
    bus.emit(&event);
    client.reads(r#"42/events,["a.b",1]"#).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_judged_leaves_nothing_behind() {
    let server = bind(|_| {}).await;
    let guarded = server.namespaces(|path| path.starts_with("/guarded/"));
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    guarded.middleware({
        let gate = Arc::clone(&gate);
        move |socket: Socket| {
            let kept = Arc::new(());
            begun.send(Arc::downgrade(&kept)).expect("heard");
            socket.set_data(kept);
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.expect("it is open").forget();
                Ok(())
            }
        }
    });
    let address = serve(server);
    let mut client = Client::open(address).await;
    client.send("40/guarded/1,").await;
    let kept = begins.recv().await.expect("it is judged");
    drop(client);
    let ended = async {
        while !guarded.namespaces().is_empty() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        while kept.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, ended).await.expect("nothing is kept");
}
