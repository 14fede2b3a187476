//! Transports, namespaces, `auth`, refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tidings::Advice;
use tidings::socketio::{DisconnectReason, ManagerState, NotConnected, SocketOptions, SocketState};

use super::*;

#[tokio::test]
async fn every_transport_carries_it() {
    for package in SERVERS {
        let server = server(package, "{}");
        for way in WAYS {
            let manager = builder(&server).transports(way).build().unwrap();
            let socket = connected(&manager).await;
            let expected = if way == [Transport::Polling] { "polling" } else { "websocket" };
            carried_by(&socket, expected).await;
            let mut events = socket.stream_of("n");
            socket.emit("count", (500,)).unwrap();
            for expected in 1..=500 {
                assert_eq!(next(&mut events).await.args.parse(), Ok((expected,)));
            }
            let id = socket.id().unwrap();
            assert_eq!(who(&socket).await["id"], *id);
            assert_eq!(manager.status().state, ManagerState::Connected);
            manager.close().await;
            assert_eq!(socket.status().state, SocketState::Disconnected);
        }
    }
}

#[tokio::test]
async fn an_upgrade_under_load_loses_nothing() {
    for package in SERVERS {
        let server = server(package, "{}");
        let manager = builder(&server).build().unwrap();
        let socket = manager.socket("/").unwrap();
        let mut echoed = socket.stream_of("echoed");
        let mut n = socket.stream_of("n");
        socket.emit("count", (300,)).unwrap();
        for number in 0..300 {
            socket.emit("echo", (number, "x".repeat(number))).unwrap();
            if number % 10 == 0 {
                tokio::task::yield_now().await;
            }
        }
        for expected in 0..300 {
            let (number, text): (usize, String) = next(&mut echoed).await.args.parse().unwrap();
            assert_eq!((number, text.len()), (expected, expected));
        }
        for expected in 1..=300 {
            assert_eq!(next(&mut n).await.args.parse(), Ok((expected,)));
        }
        carried_by(&socket, "websocket").await;
    }
}

#[tokio::test]
async fn where_websockets_are_blocked_polling_carries_on() {
    for package in SERVERS {
        let server = server(package, r#"{"blockWebSocket":true}"#);
        let manager = builder(&server).build().unwrap();
        let socket = connected(&manager).await;
        assert_eq!(who(&socket).await["transport"], "polling");
        manager.close().await;

        let websocket_first = [Transport::WebSocket, Transport::Polling];
        let manager = builder(&server).transports(websocket_first).reconnection(false);
        let manager = manager.build().unwrap();
        let socket = manager.socket("/").unwrap();
        let error = socket.connected().await.unwrap_err();
        assert_eq!(error.advice(), Advice::Retry, "{error}");

        let manager = builder(&server).transports(websocket_first).try_all_transports(true);
        let manager = manager.build().unwrap();
        let socket = connected(&manager).await;
        assert_eq!(who(&socket).await["transport"], "polling");
    }
}

#[tokio::test]
async fn namespaces_share_a_connection_and_keep_apart() {
    for package in SERVERS {
        let server = server(package, "{}");
        let manager = builder(&server).build().unwrap();
        let (main, chat) = (manager.socket("/").unwrap(), manager.socket("/chat").unwrap());
        main.connected().await.unwrap();
        chat.connected().await.unwrap();
        assert_ne!(main.id(), chat.id());
        let (mut in_main, mut in_chat) = (main.events(), chat.events());
        chat.emit("emit", ("hello", 1)).unwrap();
        main.emit("emit", ("hello", 2)).unwrap();
        assert_eq!(next(&mut in_chat).await.args.parse(), Ok((1,)));
        assert_eq!(next(&mut in_main).await.args.parse(), Ok((2,)));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        chat.on_disconnect(move |reason, _| tell.send(reason).unwrap_or(()));
        chat.disconnect();
        assert_eq!(told.recv().await, Some(DisconnectReason::ClientDisconnect));
        assert!(main.is_connected());
        chat.connect();
        chat.connected().await.unwrap();
        chat.emit("emit", ("again", 3)).unwrap();
        assert_eq!(next(&mut in_chat).await.args.parse(), Ok((3,)));
    }
}

#[tokio::test]
async fn what_is_said_when_connecting_arrives() {
    for package in SERVERS {
        let server = server(package, r#"{"path":"/other/"}"#);
        let manager = builder(&server)
            .path("/other")
            .query("room", "a&b")
            .extra_header("x-test", "yes")
            .auth(|| async { Ok(json!({"token": "t"})) })
            .build()
            .unwrap();
        let socket = connected(&manager).await;
        let who = who(&socket).await;
        assert_eq!(who["auth"], json!({"token": "t"}));
        assert_eq!((&who["query"]["room"], &who["header"]), (&json!("a&b"), &json!("yes")));
    }
}

#[tokio::test]
async fn a_refusal_says_why_and_may_be_overcome() {
    for package in SERVERS {
        let server = server(package, "{}");
        let manager = builder(&server).build().unwrap();
        let attempts = Arc::new(AtomicU32::new(0));
        let options = SocketOptions::new().auth(move || {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed);
            let token = if attempt == 0 { "bad" } else { "good" };
            async move { Ok(json!({"token": token, "attempt": attempt})) }
        });
        let socket = manager.socket_with("/members", options).unwrap();
        let Err(NotConnected::Refused(error)) = socket.connected().await else {
            panic!("a bad token was taken")
        };
        assert_eq!((&*error.message, error.will_retry), ("not authorized", false));
        let data: serde_json::Value = serde_json::from_slice(&error.data.clone().unwrap()).unwrap();
        assert_eq!(data, json!({"content": "sign in first", "attempt": 0}));
        assert_eq!(error.advice(), Advice::RefreshAuth);
        socket.connect();
        socket.connected().await.unwrap();
        assert_eq!(who(&socket).await["auth"]["attempt"], 1);

        let nowhere = manager.socket("/nowhere").unwrap();
        let error = nowhere.connected().await.unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.advice()),
            ("Invalid namespace", Advice::GiveUp)
        );
    }
}
