//! Rooms, and emitting to many.

use std::sync::Arc;
use std::time::Duration;

use tidings_server::backplane::MemoryBackplane;
use tidings_server::socketio::{Data, MissingAcks, Reply, Socket};

use crate::client::{Client, bind, serve};

#[tokio::test]
async fn broadcasts_reach_whom_they_are_for_once() {
    let server = bind(|_| {}).await;
    let chat = server.namespace("/chat").expect("a namespace");
    chat.on("join", |socket: Socket, Data(rooms): Data<Vec<String>>| async move {
        socket.join(rooms);
        Reply(socket.rooms().iter().map(|room| room.to_string()).collect::<Vec<_>>())
    });
    chat.on("leave", |socket: Socket, Data(room): Data<String>| async move {
        socket.leave(&room);
        Reply(socket.rooms().len())
    });
    chat.on("tell", |socket: Socket, Data((room, text)): Data<(String, String)>| async move {
        socket.to(room).emit("told", text).map(|()| Reply("done"))
    });
    chat.on("others", |socket: Socket| async move { socket.broadcast().emit("others", ()) });
    let address = serve(server);
    let (mut ann, ann_id) = Client::join(address, "40/chat,").await;
    let (mut bob, bob_id) = Client::join(address, "40/chat,").await;
    let (mut cy, _) = Client::join(address, "40/chat,").await;
    ann.send(r#"42/chat,0["join",["a","both"]]"#).await;
    ann.reads(&format!(r#"43/chat,0[["{ann_id}","a","both"]]"#)).await;
    bob.send(r#"42/chat,0["join",["b","both"]]"#).await;
    bob.reads(&format!(r#"43/chat,0[["{bob_id}","b","both"]]"#)).await;

    chat.to("both").to("a").emit("1", (1, "x")).expect("sent");
    ann.reads(r#"42/chat,["1",1,"x"]"#).await;
    bob.reads(r#"42/chat,["1",1,"x"]"#).await;
    chat.except("a").emit("2", ()).expect("sent");
    bob.reads(r#"42/chat,["2"]"#).await;
    cy.reads(r#"42/chat,["2"]"#).await;
    chat.to(["a", "b"]).except(bob_id.as_str()).emit("3", ()).expect("sent");
    ann.reads(r#"42/chat,["3"]"#).await;
    chat.to(bob_id.as_str()).emit("4", ()).expect("sent");
    bob.reads(r#"42/chat,["4"]"#).await;
    ann.send(r#"42/chat,1["tell","both","hi"]"#).await;
    ann.reads(r#"43/chat,1["done"]"#).await;
    bob.reads(r#"42/chat,["told","hi"]"#).await;
    ann.send(r#"42/chat,["others"]"#).await;
    bob.reads(r#"42/chat,["others"]"#).await;
    cy.reads(r#"42/chat,["others"]"#).await;

    chat.to("b").sockets_join(["late", "later"]);
    chat.to("late").emit("5", ()).expect("sent");
    bob.reads(r#"42/chat,["5"]"#).await;
    chat.sockets().sockets_leave("both");
    ann.send(r#"42/chat,2["leave","a"]"#).await;
    ann.reads("43/chat,2[1]").await;
    let mut rooms = chat.rooms();
    rooms.sort();
    assert_eq!(rooms, ["b", "late", "later"].map(Arc::<str>::from));
    let ids: Vec<_> = chat.to("b").local_sockets().iter().map(|s| s.id().to_owned()).collect();
    assert_eq!(ids, [bob_id]);
    chat.to("late").disconnect_sockets(false);
    bob.reads("41/chat,").await;
    assert_eq!(chat.rooms(), [] as [std::sync::Arc<str>; 0]);
    assert_eq!(chat.sockets().local_sockets().len(), 2);
}

#[tokio::test]
async fn broadcasts_are_acknowledged_by_all_or_say_who_did_not() {
    let server = bind(|_| {}).await;
    let main = server.namespace("/").expect("a namespace");
    let address = serve(server);
    let (mut ann, _) = Client::join(address, "40").await;
    let (mut bob, _) = Client::join(address, "40").await;
    let answers = tokio::spawn({
        let main = main.clone();
        async move { main.sockets().emit_with_ack::<u32>("ask", ()).await }
    });
    for (client, answer) in [(&mut ann, 1), (&mut bob, 2)] {
        client.reads(r#"420["ask"]"#).await;
        client.send(&format!("430[{answer}]")).await;
    }
    let mut answers = answers.await.expect("no panic").expect("sent").expect("all");
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);

    let answers = tokio::spawn({
        let main = main.clone();
        async move { main.sockets().timeout(Duration::from_secs(60)).emit_with_ack("ask", ()).await }
    });
    ann.reads(r#"421["ask"]"#).await;
    ann.send("431[1]").await;
    bob.reads(r#"421["ask"]"#).await;
    drop(bob);
    let answers = answers.await.expect("no panic").expect("sent");
    assert_eq!(
        answers,
        Err(MissingAcks { received: vec![1_u32], missing: 1, silent_instances: Some(0) })
    );
    // Nobody is in that room: all of them have answered.
    let nobody = main.to("nobody").emit_with_ack::<u32>("ask", ()).await;
    assert_eq!(nobody, Ok(Ok(vec![])));
}

#[tokio::test]
async fn instances_on_one_backplane_are_one_application() {
    let config = tidings_server::Config::default();
    let backplane = Arc::new(MemoryBackplane::new(config.partitioning(), &config.log_retention()));
    let mut instances = Vec::new();
    for _ in 0..2 {
        let config = config.clone().listen(([127, 0, 0, 1], 0).into());
        let builder = tidings_server::Server::builder().config(config);
        let server = builder.backplane(backplane.clone()).bind().await.expect("a server");
        let chat = server.namespace("/chat").expect("a namespace");
        instances.push((chat, serve(server)));
    }
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    instances[1].0.on_server_side("hello", move |(n, text): (u32, String)| {
        told.send((n, text)).expect("heard");
    });
    let (mut ann, _) = Client::join(instances[0].1, "40/chat,").await;
    let (mut bob, bob_id) = Client::join(instances[1].1, "40/chat,").await;
    let first = &instances[0].0;
    first.server_side_emit("hello", (1, "there")).expect("sent");
    first.server_side_emit("hello", "not what is expected").expect("sent");
    first.server_side_emit("hello", (2, "again")).expect("sent");
    assert_eq!(hears.recv().await, Some((1, "there".to_owned())));
    assert_eq!(hears.recv().await, Some((2, "again".to_owned())));

    first.emit("all", (1, tidings_server::socketio::Binary("x".into()))).expect("sent");
    for client in [&mut ann, &mut bob] {
        client.reads(r#"451-/chat,["all",1,{"_placeholder":true,"num":0}]"#).await;
        assert_eq!(client.next().await.expect("binary").into_data(), &b"x"[..]);
    }
    first.to(bob_id.as_str()).sockets_join("away");
    first.to("away").emit("told", 2).expect("sent");
    bob.reads(r#"42/chat,["told",2]"#).await;
    first.sockets().local().emit("here", 3).expect("sent");
    ann.reads(r#"42/chat,["here",3]"#).await;
    first.to("away").sockets_leave("away");
    first.to("away").emit("not told", 4).expect("sent");
    first.to(bob_id.as_str()).disconnect_sockets(false);
    bob.reads("41/chat,").await;
}
