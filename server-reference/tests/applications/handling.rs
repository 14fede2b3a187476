//! Events, acknowledgements, and what becomes of mistakes.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_server::socketio::{
    Ack, AckError, Binary, Data, DisconnectReason, EmitError, EventName, RawArgs, Reply, Socket,
    State,
};
use tokio::sync::{Semaphore, mpsc};

use crate::client::{Client, bind, serve};

#[tokio::test]
async fn handlers_take_what_they_name() {
    #[derive(Deserialize, Serialize)]
    struct Upload {
        name: String,
        content: Binary,
    }
    let server = bind(|_| {}).await;
    let main = server.namespace("/").expect("a namespace");
    main.state(40_u32);
    main.on("sum", |State(base): State<u32>, Data((a, b)): Data<(u32, u32)>| async move {
        Reply(*base + a + b)
    });
    main.on("upload", |Data(upload): Data<Upload>| async move {
        Reply((upload.name, upload.content.0.len(), upload.content))
    });
    main.on("raw", |arguments: RawArgs, ack: Ack| async move { ack.send(arguments) });
    main.on("twice", |ack: Ack| async move { ack.send("first").and_then(|()| ack.send("second")) });
    main.on_any(|socket: Socket, EventName(name): EventName| async move {
        if &*name == "anything" { socket.emit("saw", &*name) } else { Ok(()) }
    });
    let address = serve(server);
    let (mut client, _) = Client::join(address, "40").await;
    client.send(r#"420["sum",1,1]"#).await;
    client.reads("430[42]").await;
    client.send(r#"451-1["upload",{"name":"n","content":{"_placeholder":true,"num":0}}]"#).await;
    client.send_binary(b"abc").await;
    client.reads(r#"461-1["n",3,{"_placeholder":true,"num":0}]"#).await;
    assert_eq!(client.next().await.expect("binary").into_data(), &b"abc"[..]);
    client.send(r#"422["raw",{"a":[1]},null]"#).await;
    client.reads(r#"432[{"a":[1]},null]"#).await;
    client.send(r#"423["twice"]"#).await;
    client.reads(r#"433["first"]"#).await;
    client.send(r#"42["anything"]"#).await;
    client.reads(r#"42["saw","anything"]"#).await;
}

#[tokio::test]
async fn mistakes_are_told_and_cost_nothing_else() {
    let server = bind(|_| {}).await;
    let chat = server.namespace("/chat").expect("a namespace");
    chat.on("number", |Data(number): Data<u32>| async move { Reply(number) });
    chat.on("fails", || async { Err::<(), _>("not today") });
    chat.on("panics", |Data(n): Data<u32>| async move { assert!(n > 100, "too small") });
    chat.on("stateless", |_: State<String>| async {});
    let address = serve(server);
    let (mut client, _) = Client::join(address, "40/chat,").await;
    client.send(r#"42/chat,1["number","x"]"#).await;
    let refusal = client.text().await;
    assert!(refusal.starts_with(r#"43/chat,1[null,{"error":{"code":300,"#), "{refusal}");
    assert!(refusal.contains(r#"event \"number\": argument 1: invalid type: string"#), "{refusal}");
    client.send(r#"42/chat,["number"]"#).await;
    let refusal = client.text().await;
    assert!(refusal.starts_with(r#"42/chat,["tidings:error",{"code":300,"#), "{refusal}");
    client.send(r#"42/chat,2["fails"]"#).await;
    client.reads(r#"43/chat,2[null,{"error":{"code":307,"message":"not today"}}]"#).await;
    client.send(r#"42/chat,3["panics",1]"#).await;
    client.send(r#"42/chat,4["stateless"]"#).await;
    let refusal = client.text().await;
    assert!(refusal.contains("the namespace has no alloc::string::String"), "{refusal}");
    // Nobody handles it: as in Node, that is no mistake.
    client.send(r#"42/chat,5["unknown"]"#).await;
    client.send(r#"42/chat,6["number",7]"#).await;
    client.reads("43/chat,6[7]").await;
}

#[tokio::test]
async fn events_of_a_client_are_handled_in_their_order() {
    let server = bind(|c| c.namespaces.max_pending_events = 4).await;
    let main = server.namespace("/").expect("a namespace");
    let gate = Arc::new(Semaphore::new(0));
    main.state(Arc::clone(&gate));
    main.on("wait", |gate: State<Arc<Semaphore>>, Data(n): Data<u32>| async move {
        gate.0.acquire().await.expect("it is open").forget();
        Reply(n)
    });
    main.on("at once", |Data(n): Data<u32>| async move { Reply(n) });
    let address = serve(server);
    let (mut client, _) = Client::join(address, "40").await;
    let (mut other, _) = Client::join(address, "40").await;
    // More than may wait: the rest is left in the socket until there is room.
    for n in 0..20 {
        let event = if n % 2 == 0 { "wait" } else { "at once" };
        client.send(&format!(r#"42{n}["{event}",{n}]"#)).await;
    }
    other.send(r#"420["at once",7]"#).await;
    other.reads("430[7]").await;
    gate.add_permits(10);
    for n in 0..20 {
        client.reads(&format!("43{n}[{n}]")).await;
    }
}

#[tokio::test]
async fn clients_acknowledge_what_they_are_sent() {
    let server = bind(|_| {}).await;
    let main = server.namespace("/").expect("a namespace");
    let (results, mut result) = mpsc::unbounded_channel();
    main.on("go", move |socket: Socket| {
        let results = results.clone();
        async move {
            let sum = socket.emit_with_ack::<(u32, String)>("ask", (1, "two")).await;
            results.send(format!("{sum:?}")).expect("heard");
            let limit = Duration::from_millis(20);
            let late = socket.timeout(limit).emit_with_ack::<u32>("ask", ()).await;
            assert_eq!(late, Err(AckError::Timeout(limit)));
            let wrong = socket.emit_with_ack::<u32>("ask", ()).await;
            results.send(format!("{}", wrong.expect_err("text"))).expect("heard");
            let gone = socket.emit_with_ack::<u32>("ask", ()).await;
            assert_eq!(gone, Err(AckError::Disconnected));
            assert_eq!(socket.emit("late", ()), Err(EmitError::Disconnected));
            assert!(matches!(socket.emit("connect", ()), Err(EmitError::Reserved(_))));
            results.send("gone".into()).expect("heard");
        }
    });
    let address = serve(server);
    let (mut client, _) = Client::join(address, "40").await;
    client.send(r#"42["go"]"#).await;
    client.reads(r#"420["ask",1,"two"]"#).await;
    client.send(r#"430[3,"three"]"#).await;
    assert_eq!(result.recv().await.expect("an answer"), r#"Ok((3, "three"))"#);
    client.reads(r#"421["ask"]"#).await;
    client.reads(r#"422["ask"]"#).await;
    // Too late, and for nobody.
    client.send(r#"431[1]"#).await;
    client.send(r#"432["text"]"#).await;
    let wrong = result.recv().await.expect("an answer");
    assert!(wrong.contains("argument 1: invalid type: string"), "{wrong}");
    client.reads(r#"423["ask"]"#).await;
    drop(client);
    assert_eq!(result.recv().await.expect("an end"), "gone");
}

#[tokio::test]
async fn sockets_end_for_a_reason() {
    let server = bind(|_| {}).await;
    let main = server.namespace("/").expect("a namespace");
    let (ends, mut end) = mpsc::unbounded_channel();
    main.on_connect(|socket: Socket| async move {
        socket.on("mine", |socket: Socket| async move { socket.emit("yours", ()) });
        socket.on_disconnect(|socket: Socket| async move { assert!(!socket.connected()) });
    });
    main.on("leave", |socket: Socket, Data(close): Data<bool>| async move {
        socket.emit("bye", ()).map(|()| socket.disconnect(close))
    });
    main.on_disconnect(move |reason: DisconnectReason| {
        let ends = ends.clone();
        async move { ends.send(reason.as_str()).expect("heard") }
    });
    let address = serve(server);
    let mut ended = async || end.recv().await.expect("an end");

    let (mut client, _) = Client::join(address, "40").await;
    client.send(r#"42["mine"]"#).await;
    client.reads(r#"42["yours"]"#).await;
    client.send("41").await;
    assert_eq!(ended().await, "client namespace disconnect");
    // The connection is still there, and good for another try.
    client.enter("40").await;
    client.send(r#"42["leave",false]"#).await;
    client.reads(r#"42["bye"]"#).await;
    client.reads("41").await;
    assert_eq!(ended().await, "server namespace disconnect");
    client.send(r#"42["too late"]"#).await;
    client.enter("40").await;
    client.send(r#"42["leave",true]"#).await;
    client.reads(r#"42["bye"]"#).await;
    client.reads("41").await;
    client.ends().await;
    assert_eq!(ended().await, "server namespace disconnect");

    let (client, _) = Client::join(address, "40").await;
    drop(client);
    assert_eq!(ended().await, "transport close");
    let (mut client, _) = Client::join(address, "40").await;
    client.send("4nonsense").await;
    assert_eq!(ended().await, "parse error");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let server = bind(|c| c.queues.application = 64 << 10).await;
    let main = server.namespace("/").expect("a namespace");
    let (ends, mut end) = mpsc::unbounded_channel();
    main.on_disconnect(move |reason: DisconnectReason| {
        let ends = ends.clone();
        async move { ends.send(reason).expect("heard") }
    });
    let address = serve(server);
    let (slow, _) = Client::join(address, "40").await;
    let (mut good, _) = Client::join(address, "40").await;
    let text = "x".repeat(1 << 10);
    loop {
        main.emit("flood", &text).expect("it can be sent");
        let message = good.text().await;
        assert!(message.starts_with(r#"42["flood","#), "{message}");
        if let Ok(reason) = end.try_recv() {
            assert_eq!(reason, DisconnectReason::ForcedClose);
            break;
        }
    }
    drop(slow);
}
