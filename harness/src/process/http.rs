//! Asking a server something.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where servers tell their health.
const HEALTH: &str = "/api/websocket/health";

/// More of an answer is not read.
const MAX_ANSWER: u64 = 4 << 20;

/// Whether the server answers that it is well; the error says what it did instead.
pub(crate) async fn check_health(addr: SocketAddr, patience: Duration) -> Result<(), String> {
    get(addr, HEALTH, patience).await.map(drop)
}

/// The body of a page; the error says what the server did instead of giving it.
pub(super) async fn get(
    addr: SocketAddr,
    path: &str,
    patience: Duration,
) -> Result<String, String> {
    let ask = async {
        let mut stream = TcpStream::connect(addr).await.map_err(|e| e.to_string())?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.lines().next().unwrap_or_default();
        match status.split_ascii_whitespace().nth(1) {
            Some("200") => Ok(body.to_owned()),
            _ => Err(format!("GET http://{addr}{path} answered {status:?} instead of 200")),
        }
    };
    tokio::time::timeout(patience, ask)
        .await
        .unwrap_or_else(|_| Err(format!("GET http://{addr}{path} had no answer in {patience:?}")))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        addr
    }

    #[tokio::test]
    async fn tells_well_from_unwell_and_absent() {
        let patience = Duration::from_secs(10);
        let well = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        assert_eq!(check_health(well, patience).await, Ok(()));
        let unwell = server("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        assert!(check_health(unwell, patience).await.unwrap_err().contains("503"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let absent = listener.local_addr().unwrap();
        drop(listener);
        assert!(check_health(absent, patience).await.is_err());
    }
}
