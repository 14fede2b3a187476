//! Taking connections in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt;

use super::problem::{MEDIA_TYPE, Problem};
use crate::app::App;
use crate::connections::Permit;
use crate::demo::Demo;
use crate::rate::Bucket;
use crate::shutdown::Phase;

/// How many refused clients may be told so at once; more are just closed.
const MAX_REFUSALS: usize = 64;

/// How long a refused client may take to read that it was.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// How long to wait after `accept` failed for want of descriptors or memory.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// What a request knows of the connection it came on.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) peer: SocketAddr,
    pub(super) permit: Arc<Permit>,
    /// Has the connection dropped.
    pub(super) cut: Arc<Notify>,
    /// How much may be published on it.
    pub(super) publish_rate: Arc<Mutex<Bucket>>,
}

impl Origin {
    fn new(app: &App, peer: SocketAddr, permit: Permit) -> Self {
        let limits = &app.config.limits;
        let bucket = Bucket::new(limits.publish_rate, limits.publish_burst, app.now());
        let publish_rate = Arc::new(Mutex::new(bucket));
        Self { peer, permit: Arc::new(permit), cut: Arc::default(), publish_rate }
    }
}

/// Accepts connections until it is dropped.
pub(crate) async fn accept(app: &Arc<App>, listener: &TcpListener, demo: Option<&Demo>) {
    let router = super::router(Arc::clone(app), demo);
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
        };
        match app.connections.admit() {
            Some(permit) => {
                if let Err(error) = set_options(app, &stream) {
                    tracing::debug!(%peer, %error, "connection was gone before it began");
                    continue;
                }
                let origin = Origin::new(app, peer, permit);
                tokio::spawn(serve(Arc::clone(app), stream, origin, router.clone()));
            }
            None => {
                if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                    let max = app.config.limits.max_connections;
                    tokio::spawn(async move {
                        // Whoever does not listen in time is not told.
                        let _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream, max)).await;
                        drop(turn);
                    });
                }
            }
        }
    }
}

/// Whether `accept` failed because of the one connection, not because of the server.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn set_options(app: &App, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // What is not acknowledged for as long as a heartbeat may take is not: whoever only listens
    // sends nothing by which it could be told that it is gone.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let heartbeat = &app.config.heartbeat;
        let patience = heartbeat.ping_interval + heartbeat.ping_timeout;
        SockRef::from(stream).set_tcp_user_timeout(Some(patience))?;
    }
    let lowat = app.config.socket.notsent_lowat;
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    if lowat > 0 {
        let lowat = u32::try_from(lowat).unwrap_or(u32::MAX);
        SockRef::from(stream).set_tcp_notsent_lowat(lowat)?;
    }
    Ok(())
}

/// Serves HTTP on one connection until it is closed or upgraded.
async fn serve(app: Arc<App>, stream: TcpStream, origin: Origin, router: Router) {
    let (peer, cut) = (origin.peer, Arc::clone(&origin.cut));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(origin.clone());
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.config.timeouts.header_read)
        .max_buf_size(app.config.limits.max_header)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = cut.notified() => return,
        () = app.shutdown.reached(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection => result,
                () = cut.notified() => return,
                () = app.shutdown.reached(Phase::Over) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "HTTP connection failed");
    }
}

/// Answers 503 to a connection there is no room for.
async fn refuse(mut stream: TcpStream, max: usize) {
    let detail = format!("all {max} connections of this server are taken; try again later");
    let body = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).body();
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {}\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // A fresh socket has room for this much; if not, the client is just closed.
    if stream.writable().await.is_ok() && stream.try_write(response.as_bytes()).is_ok() {
        let _ = SockRef::from(&stream).shutdown(std::net::Shutdown::Write);
        // Closing with unread data would reset the connection and take the answer with it.
        let mut unread = [0; 1024];
        while matches!(stream.read(&mut unread).await, Ok(n) if n > 0) {}
    }
}
