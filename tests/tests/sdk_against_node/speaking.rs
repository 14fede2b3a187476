//! Events, acknowledgements, binary.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings::socketio::{AckError, Binary, EmitError, Parser, SocketOptions};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Upload {
    name: String,
    parts: Vec<Binary>,
    size: Option<u32>,
}

fn upload() -> Upload {
    let parts = vec![Binary::from(vec![0, 1, 255]), Binary::from(vec![7; 3000])];
    Upload { name: "größe ☕".into(), parts, size: Some(3003) }
}

#[tokio::test]
async fn values_and_binary_go_there_and_back_in_either_parser() {
    for package in SERVERS {
        for (parser, options) in [(Parser::Text, "{}"), (Parser::Msgpack, r#"{"msgpack":true}"#)] {
            let server = server(package, options);
            for way in WAYS {
                let manager = builder(&server).transports(way).parser(parser).build().unwrap();
                let socket = connected(&manager).await;
                let (upload, alone) = (upload(), Binary::from(vec![1, 2, 3]));
                let answer = socket.emit_with_ack("echo", (&upload, 1.5, "x", &alone, json!(null)));
                let context = (package, parser, way);
                let answer = answer.timeout(Duration::from_secs(5)).await;
                let answer = answer.unwrap_or_else(|error| panic!("{context:?}: {error}"));
                assert_eq!(answer.len(), 5);
                let expected = (upload.clone(), 1.5, "x".to_owned(), alone.clone(), ());
                assert_eq!(answer.parse(), Ok(expected));
                let mut echoed = socket.stream_of("echoed");
                socket.emit("echo", (&alone, &upload)).unwrap();
                assert_eq!(next(&mut echoed).await.args.parse(), Ok((alone, upload)));
                socket.emit("echo", ()).unwrap();
                assert!(next(&mut echoed).await.args.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn the_server_gets_its_acknowledgements() {
    for package in SERVERS {
        let server = server(package, "{}");
        let manager = builder(&server).build().unwrap();
        let socket = connected(&manager).await;
        socket.on("question", |event| {
            let (question,): (String,) = event.args.parse().unwrap();
            // From another task, later.
            tokio::spawn(async move {
                event.ack((question.len(), Binary::from(question.into_bytes()))).unwrap();
                event.ack("too late").unwrap();
            });
        });
        let mut answered = socket.stream_of("answered");
        socket.emit("ask me", "how long?").unwrap();
        let answer: (Option<String>, usize, Binary) =
            next(&mut answered).await.args.parse().unwrap();
        assert_eq!(answer, (None, 9, Binary::from(b"how long?".to_vec())));
    }
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_come_is_told() {
    let server = server("socket.io", "{}");
    let manager = builder(&server).build().unwrap();
    let socket = connected(&manager).await;
    let short = Duration::from_millis(50);
    for ask in [
        socket.emit_with_ack("nobody listens", ()).timeout(short),
        socket.timeout(short).emit_with_ack("nobody listens", ()),
    ] {
        assert_eq!(ask.await.unwrap_err(), EmitError::NotAcknowledged(AckError::Timeout));
    }
    let reserved = socket.emit("connect", ()).unwrap_err();
    assert_eq!(reserved, EmitError::Reserved("connect".into()));
}

#[tokio::test]
async fn retries_go_out_in_order() {
    for package in SERVERS {
        let server = server(package, "{}");
        let options = SocketOptions::new().retries(5).ack_timeout(Duration::from_millis(50));
        let manager = builder(&server).socket_options(options).build().unwrap();
        let socket = manager.socket("/").unwrap();
        let asked: Vec<_> =
            (0..5).map(|n| socket.emit_with_ack("at the second try", (n,)).into_future()).collect();
        let answers = futures_util::future::join_all(asked).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap().parse(), Ok((n,)));
        }
    }
}

#[tokio::test]
async fn listeners_hear_what_they_want_to() {
    let server = server("socket.io", "{}");
    let manager = builder(&server).build().unwrap();
    let socket = connected(&manager).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = |who: &'static str| {
        let heard = heard.clone();
        move |event: Event| heard.lock().unwrap().push(format!("{who}:{}", event.name))
    };
    socket.on("orders.eu.created", note("on"));
    socket.once("orders.eu.created", note("once"));
    let off = socket.on("orders.eu.created", note("off"));
    off.off();
    socket.on_any(note("any"));
    socket.prepend_any(note("first"));
    socket.on_pattern("orders.*.created", note("pattern")).unwrap();
    assert!(socket.on_pattern("a\nb", note("never")).is_err());
    let outgoing = heard.clone();
    socket.on_any_outgoing(move |name, args| {
        outgoing.lock().unwrap().push(format!("out:{name}:{}", args.len()));
    });
    let mut created = socket.subscribe("orders.**").unwrap();
    for name in ["orders.eu.created", "orders.eu.created", "orders", "chat message"] {
        socket.emit("emit", (name, 1)).unwrap();
    }
    for expected in ["orders.eu.created", "orders.eu.created", "orders"] {
        assert_eq!(&*next(&mut created).await.name, expected);
    }
    socket.emit_with_ack("echo", ()).await.unwrap();
    let heard = heard.lock().unwrap();
    let expected: Vec<&str> = [
        &["out:emit:2"; 4][..],
        &["out:echo:0"],
        &["first:orders.eu.created", "any:orders.eu.created", "on:orders.eu.created"],
        &["once:orders.eu.created", "pattern:orders.eu.created"],
        &["first:orders.eu.created", "any:orders.eu.created", "on:orders.eu.created"],
        &["pattern:orders.eu.created", "first:orders", "any:orders"],
        &["first:chat message", "any:chat message"],
    ]
    .concat();
    let (out, rest): (Vec<_>, Vec<_>) = heard.iter().partition(|what| what.starts_with("out:"));
    assert_eq!([out, rest].concat(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_at_once() {
    for package in SERVERS {
        let server = server(package, r#"{"pingTimeout":20000}"#);
        let clients = (0..100_usize).map(|number| {
            let way = WAYS[number % 3];
            let manager = builder(&server).transports(way).build().unwrap();
            async move {
                let socket = manager.socket("/").unwrap();
                let mut echoed = socket.stream_of("echoed");
                for n in 0..20 {
                    socket.emit("echo", (number, n)).unwrap();
                    let answer = socket.emit_with_ack("echo", (n,)).await.unwrap();
                    assert_eq!(answer.parse(), Ok((n,)));
                }
                for n in 0..20 {
                    assert_eq!(next(&mut echoed).await.args.parse(), Ok((number, n)));
                }
                manager.close().await;
            }
        });
        let tasks: Vec<_> = clients.map(tokio::spawn).collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
