//! Cuts, restarts, recovery.

use tidings::socketio::{
    BufferLimits, BufferOverflow, DisconnectReason, EmitError, NotConnected, SocketOptions,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

const RECOVERY: &str = r#"{"connectionStateRecovery":{}}"#;

/// Tells of each connect: whether state was recovered.
fn connects(socket: &Socket) -> UnboundedReceiver<bool> {
    let (tell, told) = unbounded_channel();
    socket.on_connect(move |_, recovered| tell.send(recovered).unwrap_or(()));
    told
}

/// Tells of each disconnect.
fn disconnects(socket: &Socket) -> UnboundedReceiver<DisconnectReason> {
    let (tell, told) = unbounded_channel();
    socket.on_disconnect(move |reason, _| tell.send(reason).unwrap_or(()));
    told
}

#[tokio::test]
async fn a_server_that_keeps_state_restores_it_after_a_cut() {
    for way in WAYS {
        let server = server("socket.io", RECOVERY);
        let manager = builder(&server).transports(way).auto_connect(false).build().unwrap();
        let socket = manager.socket("/").unwrap();
        let (mut connects, mut missed) = (connects(&socket), socket.stream_of("missed"));
        socket.connect();
        assert_eq!(connects.recv().await, Some(false));
        let id = socket.id();
        socket.emit_with_ack("join", "room").await.unwrap();
        // The offset of the last event received is where it goes on.
        let mut echoed = socket.stream_of("echoed");
        for round in 0..2 {
            socket.emit("echo", "an offset").unwrap();
            let event = next(&mut echoed).await;
            assert_eq!(event.args.get::<String>(0), Ok("an offset".into()));
            assert_eq!(event.args.len(), 2, "as with socket.io-client the offset comes last");
            socket.emit("cut", ("room", 20)).unwrap();
            for expected in 1..=20 {
                assert_eq!(next(&mut missed).await.args.get(0), Ok(expected), "round {round}");
            }
            assert_eq!(connects.recv().await, Some(true));
            assert_eq!((socket.id(), socket.recovered()), (id.clone(), true));
        }
    }
}

#[tokio::test]
async fn one_that_keeps_none_is_a_fresh_start() {
    let server = server("socket.io-4.5", "{}");
    let manager = builder(&server).build().unwrap();
    let socket = connected(&manager).await;
    let (mut connects, id) = (connects(&socket), socket.id());
    socket.emit("cut", ("", 0)).unwrap();
    assert_eq!(connects.recv().await, Some(false));
    assert_ne!(socket.id(), id);
}

#[tokio::test]
async fn a_restart_of_the_server_is_survived() {
    for package in SERVERS {
        for way in WAYS {
            let first = server(package, RECOVERY);
            let port = first.port();
            let manager = builder(&first).transports(way).build().unwrap();
            let socket = connected(&manager).await;
            let (mut connects, mut disconnects) = (connects(&socket), disconnects(&socket));
            drop(first);
            let reason = disconnects.recv().await.unwrap();
            let kinds = [DisconnectReason::TransportClose, DisconnectReason::TransportError];
            assert!(kinds.contains(&reason), "{reason}");
            for number in 0..100 {
                socket.emit("number", (number,)).unwrap();
            }
            let _second = server(package, &format!(r#"{{"port":{port}}}"#));
            assert_eq!(connects.recv().await, Some(false));
            let heard = socket.emit_with_ack("heard", ()).await.unwrap();
            assert_eq!(heard.parse(), Ok(((0..100).collect::<Vec<_>>(),)));
        }
    }
}

#[tokio::test]
async fn what_the_server_ends_stays_ended() {
    for package in SERVERS {
        let server = server(package, "{}");
        let manager = builder(&server).build().unwrap();
        let socket = connected(&manager).await;
        let mut disconnects = disconnects(&socket);
        socket.emit("kick", ()).unwrap();
        assert_eq!(disconnects.recv().await, Some(DisconnectReason::ServerDisconnect));
        let error = socket.connected().await.unwrap_err();
        let NotConnected::Disconnected(reason) = error else { panic!("{error}") };
        assert_eq!(reason.to_string(), "io server disconnect");
        assert!(!socket.status().will_reconnect);
        socket.connect();
        socket.connected().await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let server = server("socket.io", "{}");
    let limits = BufferLimits { count: 3, ..BufferLimits::default() };
    let options = SocketOptions::new().send_buffer(limits);
    let manager = builder(&server).auto_connect(false).build().unwrap();
    let socket = manager.socket_with("/", options.clone()).unwrap();
    for number in 0..3 {
        socket.emit("number", (number,)).unwrap();
    }
    let full = socket.emit("number", (3,)).unwrap_err();
    assert!(matches!(full, EmitError::Full { count: 3, .. }), "{full}");
    socket.connect();
    let heard = socket.emit_with_ack("heard", ());
    socket.connected().await.unwrap();
    assert_eq!(heard.await.unwrap().parse(), Ok((vec![0, 1, 2],)));

    let newest = BufferLimits { overflow: BufferOverflow::DropOldest, ..limits };
    let options = SocketOptions::new().send_buffer(newest);
    let chat = manager.socket_with("/chat", options).unwrap();
    for number in 10..14 {
        chat.emit("number", (number,)).unwrap();
    }
    chat.connect();
    chat.connected().await.unwrap();
    let heard = chat.emit_with_ack("heard", ()).await.unwrap();
    assert_eq!(heard.parse(), Ok((vec![0, 1, 2, 11, 12, 13],)));
}

#[tokio::test]
async fn a_silent_server_is_noticed() {
    let server = server("socket.io", r#"{"pingInterval":200,"pingTimeout":100}"#);
    let manager = builder(&server).build().unwrap();
    let socket = connected(&manager).await;
    let (mut connects, mut disconnects) = (connects(&socket), disconnects(&socket));
    server.signal("STOP");
    let reason = disconnects.recv().await;
    server.signal("CONT");
    assert_eq!(reason, Some(DisconnectReason::PingTimeout));
    assert_eq!(connects.recv().await, Some(false));
}
