//! Engine.IO without anything on top of it.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tidings_server::engineio::{Frame, Socket};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{HANGS, bind, serve};

#[tokio::test]
async fn messages_go_to_the_application_and_back() {
    let server = bind(|_| {}).await;
    server.engine("/engine.io/", |socket: &Socket, message: Frame| match &message {
        Frame::Text(text) if &text[..] == b"close" => socket.close(),
        _ => socket.send(message),
    });
    let address: SocketAddr = serve(server);
    let stream = TcpStream::connect(address).await.expect("a connection");
    let url = format!("ws://{address}/engine.io/?EIO=4&transport=websocket");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
    let mut next = async |send: Option<Message>| {
        if let Some(message) = send {
            socket.send(message).await.expect("sent");
        }
        let next = tokio::time::timeout(HANGS, socket.next()).await.expect("in time");
        next.expect("not the end").expect("a message")
    };
    assert!(next(None).await.to_text().expect("text").starts_with("0{"));
    assert_eq!(next(Some(Message::text("4hi"))).await, Message::text("4hi"));
    let data: &[u8] = &[1, 2, 3];
    assert_eq!(next(Some(Message::binary(data))).await, Message::binary(data));
    assert!(matches!(next(Some(Message::text("4close"))).await, Message::Close(_)));
}
