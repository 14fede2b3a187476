//! A Socket.IO client that writes packets by hand.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tidings_server::{Config, Server};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long anything may take before a test is given up as hanging.
pub(crate) const HANGS: Duration = Duration::from_secs(30);

pub(crate) async fn bind(change: impl FnOnce(&mut Config)) -> Server {
    let config = Config::default().listen(SocketAddr::from(([127, 0, 0, 1], 0))).with(change);
    Server::builder().config(config).bind().await.expect("a server")
}

/// Serves until the runtime of the test ends.
pub(crate) fn serve(server: Server) -> SocketAddr {
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    address
}

pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// An open Engine.IO connection.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket&user=ann");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
        let mut client = Self { socket };
        assert!(client.text().await.starts_with("0{"));
        client
    }

    /// In a namespace, with its socket's id. `connect` is the CONNECT packet.
    pub(crate) async fn join(address: SocketAddr, connect: &str) -> (Self, String) {
        let mut client = Self::open(address).await;
        let sid = client.enter(connect).await;
        (client, sid)
    }

    /// Enters a namespace, and returns the socket's id.
    pub(crate) async fn enter(&mut self, connect: &str) -> String {
        self.send(connect).await;
        let answer = self.text().await;
        let (_, sid) = answer.split_once(r#""sid":""#).unwrap_or_else(|| panic!("{answer}"));
        sid.split('"').next().expect("an id").to_owned()
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("sent");
    }

    pub(crate) async fn send_binary(&mut self, data: &'static [u8]) {
        self.socket.send(Message::binary(data)).await.expect("sent");
    }

    /// The next message but for pings, which are answered; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let message = tokio::time::timeout(HANGS, self.socket.next()).await.expect("in time");
            match message {
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => self.send("3").await,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("a text, not {other:?}"),
        }
    }

    /// The next message has to be this one.
    pub(crate) async fn reads(&mut self, text: &str) {
        assert_eq!(self.text().await, text);
    }

    /// The connection ends, and nothing comes before.
    pub(crate) async fn ends(&mut self) {
        let message = self.next().await;
        assert!(message.is_none(), "{message:?}");
    }
}
