//! Networks that let HTTP through and WebSockets not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::*;

/// Passes on what comes, but WebSockets only when it is told to.
struct Firewall {
    url: String,
    blocks: Arc<AtomicBool>,
    /// How many WebSockets were let through.
    websockets: Arc<AtomicUsize>,
    /// Breaks what is open.
    cut: Arc<Notify>,
    _accepting: JoinSet<()>,
}

impl Firewall {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (blocks, websockets) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
        let mut accepting = JoinSet::new();
        let cut = Arc::new(Notify::new());
        let (blocking, passed, cutting) = (blocks.clone(), websockets.clone(), cut.clone());
        accepting.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((outside, _)) = listener.accept().await {
                let (blocking, passed, cutting) =
                    (blocking.clone(), passed.clone(), cutting.clone());
                open.spawn(async move {
                    tokio::select! {
                        () = cutting.notified() => {}
                        () = pass(outside, server, blocking, passed) => {}
                    }
                });
            }
        });
        Self { url, blocks, websockets, cut, _accepting: accepting }
    }
}

async fn pass(
    mut outside: TcpStream,
    server: SocketAddr,
    blocks: Arc<AtomicBool>,
    websockets: Arc<AtomicUsize>,
) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if !matches!(outside.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    if String::from_utf8_lossy(&head).to_lowercase().contains("upgrade: websocket") {
        if blocks.load(Ordering::Relaxed) {
            return;
        }
        websockets.fetch_add(1, Ordering::Relaxed);
    }
    let Ok(mut inside) = TcpStream::connect(server).await else { return };
    let _ = (outside.set_nodelay(true), inside.set_nodelay(true));
    if inside.write_all(&head).await.is_ok() {
        let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_carries_a_session_where_websockets_are_blocked() {
    let running = server().await;
    for transport in [Transport::SocketIo, Transport::Auto] {
        for encoding in [Encoding::Json, Encoding::Msgpack] {
            let firewall = Firewall::before(running.address).await;
            let client = Client::builder(&*firewall.url)
                .transport(transport)
                .encoding(encoding)
                .backoff(Duration::from_millis(5), Duration::from_millis(50))
                .build()
                .unwrap();
            within(client.connected()).await.unwrap();
            assert_eq!(client.status().transport, Some(Transport::SocketIo));
            let (received, name) = (Received::default(), format!("{transport}.{encoding:?}"));
            within(client.on(&*name, note(&received))).await.unwrap().detach();
            for n in 0..200_u32 {
                client.publish(&*name, &n).send().unwrap();
            }
            complete(&received, std::slice::from_ref(&name), 200).await;
            assert_eq!(firewall.websockets.load(Ordering::Relaxed), 0);
            within(client.close()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_moves_to_a_websocket_when_the_network_allows_it() {
    let running = server().await;
    let firewall = Firewall::before(running.address).await;
    let client = connect(&firewall.url, Transport::SocketIo).await;
    let (received, name) = (Received::default(), "moving".to_owned());
    within(client.on(&*name, note(&received))).await.unwrap().detach();
    let moved = || firewall.websockets.load(Ordering::Relaxed) > 0;
    let mut n = 0_u32;
    // Some more once it has moved.
    while !moved() || !n.is_multiple_of(100) {
        if n >= 100 && !moved() {
            firewall.blocks.store(false, Ordering::Relaxed);
            // The next connection begins with what worked, and moves. A cut between two requests
            // breaks nothing.
            firewall.cut.notify_waiters();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        within(client.publish(&*name, &n)).await.unwrap();
        n += 1;
    }
    complete(&received, std::slice::from_ref(&name), n).await;
}
