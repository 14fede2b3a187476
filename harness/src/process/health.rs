//! Asking a server whether it is up.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where servers tell their health.
const PATH: &str = "/api/websocket/health";

/// More of an answer is not read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Whether the server answers that it is well; the error says what it did instead.
pub(crate) async fn check(addr: SocketAddr, patience: Duration) -> Result<(), String> {
    let ask = async {
        let mut stream = TcpStream::connect(addr).await.map_err(|e| e.to_string())?;
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&answer);
        let status = text.lines().next().unwrap_or_default().to_owned();
        match status.split_ascii_whitespace().nth(1) {
            Some("200") => Ok(()),
            _ => Err(format!("GET http://{addr}{PATH} answered {status:?} instead of 200")),
        }
    };
    tokio::time::timeout(patience, ask)
        .await
        .unwrap_or_else(|_| Err(format!("GET http://{addr}{PATH} had no answer in {patience:?}")))
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
        assert_eq!(check(well, patience).await, Ok(()));
        let unwell = server("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        assert!(check(unwell, patience).await.unwrap_err().contains("503"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let absent = listener.local_addr().unwrap();
        drop(listener);
        assert!(check(absent, patience).await.is_err());
    }
}
