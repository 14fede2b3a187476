//! Taking connections in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
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

use super::problem::Problem;
use crate::app::App;
use crate::connections::Permit;
use crate::demo::Demo;
use crate::quota::Crowd;
use crate::rate::Bucket;
use crate::shutdown::Phase;
use crate::stats::FailedHandshake;
use crate::stream::Stream;
use crate::tls::{HandshakeError, Tls};

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
        match admit(app, peer) {
            Ok(permit) => {
                if let Err(error) = set_options(app, &stream) {
                    tracing::debug!(%peer, %error, "connection was gone before it began");
                    continue;
                }
                let origin = Origin::new(app, peer, permit);
                tokio::spawn(serve(Arc::clone(app), stream, origin, router.clone()));
            }
            // Whoever waits for TLS could not read it, and a handshake is not worth it.
            Err(_) if app.tls.is_some() => {}
            Err(problem) => {
                if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        refuse(stream, problem).await;
                        drop(turn);
                    });
                }
            }
        }
    }
}

/// Lets a connection in, if there is room for it.
fn admit(app: &App, peer: SocketAddr) -> Result<Permit, Problem> {
    let permit = app.connections.admit().ok_or_else(|| {
        let max = app.config.limits.max_connections;
        let detail = format!("all {max} connections of this server are taken; try again later");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).header(header::RETRY_AFTER, "1")
    })?;
    count(app, &permit, peer)?;
    Ok(permit)
}

/// Counts a connection for the address of its client, unless that is not known.
fn count(app: &App, permit: &Permit, client: SocketAddr) -> Result<(), Problem> {
    if app.front.is_proxy(client.ip()) {
        return Ok(());
    }
    let address = app.addresses.admit(app.now(), client.ip()).map_err(|crowd| {
        let (limits, which) = (&app.config.limits, "if it is a proxy, name it in proxies.trusted");
        let detail = match crowd {
            Crowd::Number => format!(
                "this address has {} connections, as many as it may \
                 (limits.connections_per_address); {which}",
                limits.connections_per_address
            ),
            Crowd::Rate => format!(
                "this address opens more than {} connections per second \
                 (limits.connection_rate_per_address); {which}",
                limits.connection_rate_per_address
            ),
        };
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).header(header::RETRY_AFTER, "10")
    })?;
    permit.is_of(address);
    Ok(())
}

impl Origin {
    /// Where the connection that this request opens comes from. It counts there if a proxy has made
    /// it.
    pub(super) fn of_client(self, app: &App, headers: &HeaderMap) -> Result<Self, Problem> {
        app.front.check_page(headers)?;
        let client = app.front.client(self.peer, headers);
        if client.ip() != self.peer.ip() {
            count(app, &self.permit, client)?;
        }
        Ok(Self { peer: client, ..self })
    }

    /// Where a session comes from that this request opens, and room for it: it lasts longer than the
    /// connection.
    pub(super) fn of_session(&self, app: &App, headers: &HeaderMap) -> Result<Self, Problem> {
        app.front.check_page(headers)?;
        let peer = app.front.client(self.peer, headers);
        Ok(Self::new(app, peer, admit(app, peer)?))
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
    let stream = match &app.tls {
        None => Stream::Plain(stream),
        // Connections that are not encrypted need not make room for this in their tasks.
        Some(tls) => match Box::pin(encrypt(&app, tls, stream, peer)).await {
            Some(stream) => stream,
            None => return,
        },
    };
    let has_asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&has_asked);
    let service = service_fn(move |request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
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
        if !has_asked.load(Ordering::Relaxed) {
            let why = match () {
                () if error.is_timeout() => Some(FailedHandshake::HttpTimeout),
                () if error.is_parse() => Some(FailedHandshake::Http),
                // It went away.
                () => None,
            };
            why.into_iter().for_each(|why| app.stats.handshake_failed(why));
        }
        tracing::debug!(%peer, %error, "HTTP connection failed");
    }
}

/// Does the handshake of TLS; `None` if nothing comes of it.
async fn encrypt(app: &App, tls: &Tls, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
    let result = tokio::select! {
        result = tls.handshake(stream) => result,
        () = app.shutdown.reached(Phase::Draining) => return None,
    };
    match result {
        Ok(stream) => Some(stream),
        Err(HandshakeError::Plaintext(stream)) => {
            app.stats.handshake_failed(FailedHandshake::Plaintext);
            let detail = "this port speaks TLS: connect to https:// or wss:// instead";
            refuse(stream, Problem::new(StatusCode::BAD_REQUEST, detail)).await;
            None
        }
        Err(error) => {
            app.stats.handshake_failed(match error {
                HandshakeError::TimedOut(_) => FailedHandshake::TlsTimeout,
                _ => FailedHandshake::Tls,
            });
            tracing::debug!(%peer, %error, "no TLS handshake");
            None
        }
    }
}

/// Answers a connection that is not let in.
async fn refuse(mut stream: TcpStream, problem: Problem) {
    let response = problem.as_last_answer();
    let told = async {
        // A fresh socket has room for this much; if not, the client is just closed.
        if stream.writable().await.is_ok() && stream.try_write(response.as_bytes()).is_ok() {
            let _ = SockRef::from(&stream).shutdown(std::net::Shutdown::Write);
            // Closing with unread data would reset the connection and take the answer with it.
            let mut unread = [0; 1024];
            while matches!(stream.read(&mut unread).await, Ok(n) if n > 0) {}
        }
    };
    // Whoever does not listen in time is not told.
    let _ = tokio::time::timeout(REFUSAL_TIME, told).await;
}
