//! Links between clients and servers that the harness can narrow and cut.
//!
//! A scenario that cuts connections or has clients on narrow links sends those clients through a
//! proxy in this process. Others connect straight to the server, so that nothing comes between
//! what is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// What is read at once on a link that is not narrow.
const WIDE_CHUNK: usize = 16 * 1024;

/// A narrow link passes its bytes in this many portions per second.
const PORTIONS_PER_SECOND: u32 = 20;

/// Kernel buffer towards the server on a narrow link: small, so that the server notices.
const NARROW_BUFFER: u32 = 4096;

/// The links of some clients to one server.
pub(crate) struct Proxy {
    addr: SocketAddr,
    /// Counts the cuts: a connection ends when it changes.
    cuts: watch::Sender<u64>,
    closed: Arc<AtomicBool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// A proxy on a free port. Each connection leads to the first of `servers` that takes it, as
    /// behind a load balancer, and passes at most `bytes_per_second` towards the client.
    pub(crate) async fn start(
        servers: Vec<SocketAddr>,
        bytes_per_second: Option<u32>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let cuts = watch::Sender::new(0);
        let closed = Arc::new(AtomicBool::new(false));
        let accepting = tokio::spawn(accept(
            listener,
            Link { servers: servers.into(), bytes_per_second },
            cuts.clone(),
            closed.clone(),
        ));
        Ok(Self { addr, cuts, closed, accepting })
    }

    /// Where clients connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts every connection, without a goodbye.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Whether new connections are dropped at once.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Relaxed);
    }
}

#[derive(Debug, Clone)]
struct Link {
    servers: Arc<[SocketAddr]>,
    bytes_per_second: Option<u32>,
}

async fn accept(
    listener: TcpListener,
    link: Link,
    cuts: watch::Sender<u64>,
    closed: Arc<AtomicBool>,
) {
    loop {
        // Accepting fails when files run out for a moment; the client tries again by itself.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if closed.load(Relaxed) {
            continue;
        }
        let mut cut = cuts.subscribe();
        let link = link.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = cut.changed() => {}
                _ = relay(client, link) => {}
            }
        });
    }
}

async fn relay(client: TcpStream, link: Link) -> std::io::Result<()> {
    let server = reach(&link).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Either direction's end is the link's end: WebSocket has no use for half a connection.
    tokio::select! {
        done = pass(from_client, to_server, None) => done,
        done = pass(from_server, to_client, link.bytes_per_second) => done,
    }
}

/// A connection to the first server that takes one.
async fn reach(link: &Link) -> std::io::Result<TcpStream> {
    let mut refused = std::io::ErrorKind::NotConnected.into();
    for server in link.servers.iter() {
        let socket = TcpSocket::new_v4()?;
        if link.bytes_per_second.is_some() {
            socket.set_recv_buffer_size(NARROW_BUFFER)?;
        }
        match socket.connect(*server).await {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    bytes_per_second: Option<u32>,
) -> std::io::Result<()> {
    let chunk = bytes_per_second.map_or(WIDE_CHUNK, |rate| (rate / PORTIONS_PER_SECOND) as usize);
    let mut buffer = vec![0; chunk.clamp(1, WIDE_CHUNK)];
    loop {
        let len = from.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..len]).await?;
        if let Some(rate) = bytes_per_second {
            tokio::time::sleep(Duration::from_secs_f64(len as f64 / f64::from(rate))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every connection with what it receives.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        addr
    }

    async fn says(stream: &mut TcpStream, word: &[u8]) -> bool {
        let mut answer = vec![0; word.len()];
        stream.write_all(word).await.is_ok()
            && stream.read_exact(&mut answer).await.is_ok()
            && answer == word
    }

    #[tokio::test]
    async fn passes_cuts_and_lets_in_again() {
        let proxy = Proxy::start(vec![echo().await], None).await.unwrap();
        let mut one = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(says(&mut one, b"hello").await);

        proxy.set_closed(true);
        proxy.cut();
        assert_eq!(one.read(&mut [0; 8]).await.unwrap_or(0), 0, "the connection is gone");
        let mut two = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(!says(&mut two, b"hello").await, "nobody gets in");

        proxy.set_closed(false);
        let mut three = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(says(&mut three, b"hello").await);
    }

    #[tokio::test]
    async fn who_finds_no_server_gets_to_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        let proxy = Proxy::start(vec![nobody, echo().await], None).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(says(&mut client, b"hello").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_narrow_link_takes_its_time() {
        let proxy = Proxy::start(vec![echo().await], Some(1000)).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        let start = tokio::time::Instant::now();
        assert!(says(&mut client, &[7; 500]).await);
        assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    }
}
