//! Links that the harness can narrow, delay, stall and cut: between clients and servers, and between
//! servers and Redis.
//!
//! Only where a scenario asks for it does a link go through a proxy in this process. All others are
//! straight, so that nothing comes between what is measured.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Some free port of this machine.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// What is read at once on a link that is not narrow.
const WIDE_CHUNK: usize = 16 * 1024;

/// Chunks that are on their way at once on a link that is not narrow.
const WIDE_CHUNKS: usize = 256;

/// A narrow link passes its bytes in this many portions per second.
const PORTIONS_PER_SECOND: u32 = 20;

/// Kernel buffer towards the server on a narrow link: small, so that the server notices.
const NARROW_BUFFER: u32 = 4096;

/// Some links to one server, or to the first of several that takes a connection.
pub(crate) struct Proxy {
    addr: SocketAddr,
    condition: watch::Sender<Condition>,
    accepting: tokio::task::JoinHandle<()>,
}

/// How links are at the moment.
#[derive(Debug, Clone, Copy, Default)]
struct Condition {
    /// Counts the cuts: a connection ends when it changes.
    cuts: u64,
    /// New connections are dropped at once.
    closed: bool,
    /// Nothing passes, and nobody is told.
    stalled: bool,
    /// How late everything arrives, in each direction.
    delay: Duration,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// A proxy that listens at `listen`. Each connection leads to the first of `servers` that takes
    /// it, as behind a load balancer, and passes at most `bytes_per_second` towards the client.
    pub(crate) async fn start(
        listen: SocketAddr,
        servers: Vec<SocketAddr>,
        bytes_per_second: Option<u32>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let condition = watch::Sender::new(Condition::default());
        let link = Link { servers: servers.into(), bytes_per_second };
        let accepting = tokio::spawn(accept(listener, link, condition.clone()));
        Ok(Self { addr, condition, accepting })
    }

    /// Where clients connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts every connection, without a goodbye.
    pub(crate) fn cut(&self) {
        self.condition.send_modify(|condition| condition.cuts += 1);
    }

    /// Whether new connections are dropped at once.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.condition.send_modify(|condition| condition.closed = closed);
    }

    /// Whether nothing passes, without anybody being told. What was sent meanwhile arrives
    /// afterwards, as it does when a network comes back that had lost everything.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.condition.send_modify(|condition| condition.stalled = stalled);
    }

    /// How late everything arrives from now on, in each direction.
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.condition.send_modify(|condition| condition.delay = delay);
    }
}

#[derive(Debug, Clone)]
struct Link {
    servers: Arc<[SocketAddr]>,
    bytes_per_second: Option<u32>,
}

async fn accept(listener: TcpListener, link: Link, condition: watch::Sender<Condition>) {
    loop {
        // Accepting fails when files run out for a moment; the client tries again by itself.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let now = *condition.borrow();
        if now.closed {
            continue;
        }
        let mut cut = condition.subscribe();
        let (link, condition) = (link.clone(), condition.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                _ = cut.wait_for(|later| later.cuts != now.cuts) => {}
                _ = relay(client, link, condition) => {}
            }
        });
    }
}

async fn relay(
    client: TcpStream,
    link: Link,
    mut condition: watch::Receiver<Condition>,
) -> std::io::Result<()> {
    flowing(&mut condition).await;
    let server = reach(&link).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let back = condition.clone();
    // Either direction's end is the link's end: nobody here has a use for half a connection.
    tokio::select! {
        done = pass(from_client, to_server, None, condition) => done,
        done = pass(from_server, to_client, link.bytes_per_second, back) => done,
    }
}

/// Waits until the link is not stalled.
async fn flowing(condition: &mut watch::Receiver<Condition>) {
    // Fails when the proxy is gone, and its links with it.
    let _ = condition.wait_for(|now| !now.stalled).await;
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

/// Passes everything on in one direction, until its end.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    bytes_per_second: Option<u32>,
    mut condition: watch::Receiver<Condition>,
) -> std::io::Result<()> {
    let (chunk, chunks) = match bytes_per_second {
        Some(rate) => ((rate / PORTIONS_PER_SECOND) as usize, 1),
        None => (WIDE_CHUNK, WIDE_CHUNKS),
    };
    let mut buffer = vec![0; chunk.clamp(1, WIDE_CHUNK)];
    let mut on_the_way = VecDeque::<(Instant, Vec<u8>)>::new();
    let mut ended = false;
    while !ended || !on_the_way.is_empty() {
        let due = on_the_way.front().map(|(due, _)| *due);
        tokio::select! {
            read = from.read(&mut buffer), if !ended && on_the_way.len() < chunks => {
                let len = read?;
                ended = len == 0;
                if len > 0 {
                    let due = Instant::now() + condition.borrow().delay;
                    on_the_way.push_back((due, buffer[..len].to_vec()));
                }
            }
            () = until(due), if due.is_some() => {
                let Some((_, bytes)) = on_the_way.pop_front() else { continue };
                flowing(&mut condition).await;
                to.write_all(&bytes).await?;
                if let Some(rate) = bytes_per_second {
                    let taken = bytes.len() as f64 / f64::from(rate);
                    tokio::time::sleep(Duration::from_secs_f64(taken)).await;
                }
            }
        }
    }
    Ok(())
}

/// Waits until then; what is due already does not wait for the next tick of the timer.
async fn until(due: Option<Instant>) {
    if let Some(due) = due.filter(|due| *due > Instant::now()) {
        tokio::time::sleep_until(due).await;
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
        let proxy = Proxy::start(ANY_PORT, vec![echo().await], None).await.unwrap();
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
    async fn what_is_sent_into_a_stalled_link_arrives_afterwards() {
        let proxy = Proxy::start(ANY_PORT, vec![echo().await], None).await.unwrap();
        let mut before = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(says(&mut before, b"hello").await);

        proxy.set_stalled(true);
        let mut meanwhile = TcpStream::connect(proxy.addr()).await.unwrap();
        for stream in [&mut before, &mut meanwhile] {
            stream.write_all(b"late").await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let passed = stream.try_read(&mut [0; 4]);
            assert_eq!(passed.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
        proxy.set_stalled(false);
        for stream in [&mut before, &mut meanwhile] {
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"late");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_link_is_late_in_each_direction_and_keeps_the_order() {
        let proxy = Proxy::start(ANY_PORT, vec![echo().await], None).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        proxy.set_delay(Duration::from_millis(300));
        let start = Instant::now();
        assert!(says(&mut client, b"hello").await);
        assert!(start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
        client.write_all(b"first").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        proxy.set_delay(Duration::ZERO);
        client.write_all(b"second").await.unwrap();
        let mut answer = [0; 11];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"firstsecond");
    }

    #[tokio::test]
    async fn who_finds_no_server_gets_to_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        let proxy = Proxy::start(ANY_PORT, vec![nobody, echo().await], None).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(says(&mut client, b"hello").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_narrow_link_takes_its_time() {
        let proxy = Proxy::start(ANY_PORT, vec![echo().await], Some(1000)).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        let start = tokio::time::Instant::now();
        assert!(says(&mut client, &[7; 500]).await);
        assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    }
}
