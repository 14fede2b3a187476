//! The WebSocket handshake (RFC 6455, section 4.2).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tidings_core::base64;
use tidings_core::ws::Encoding;

use super::accept::Origin;
use super::problem::Problem;
use crate::accepted::{Accepted, Transport, TransportKind};
use crate::app::App;
use crate::connection::Connection;
use crate::connections::Permit;
use crate::session;
use crate::shutdown::Phase;
use crate::stats::FailedHandshake;
use crate::stream::Stream;

/// What RFC 6455 has the server append to the client's key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `GET /ws`: the Tidings protocol on a plain WebSocket.
pub(super) async fn websocket(
    State(app): State<Arc<App>>,
    Extension(origin): Extension<Origin>,
    request: Request,
) -> Response {
    let origin = match origin.of_client(&app, request.headers()) {
        Ok(origin) => origin,
        Err(problem) => return refused(&app, problem),
    };
    let handshake = Handshake::check(&request).and_then(|Handshake { accept, subprotocols }| {
        if subprotocols.is_empty() {
            return Ok((Agreed { accept, subprotocol: None }, Encoding::Json));
        }
        match Encoding::negotiate(subprotocols.iter().map(String::as_str)) {
            Some(encoding) => {
                let subprotocol = Some(encoding.subprotocol().to_owned());
                Ok((Agreed { accept, subprotocol }, encoding))
            }
            None => {
                let known = Encoding::ALL.map(Encoding::subprotocol).join(" or ");
                let detail =
                    format!("no subprotocol offered is spoken here; offer {known} or none");
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    });
    match handshake {
        Ok((agreed, encoding)) => switch(app, origin, request, agreed, move |app, opened| {
            let Opened { stream, leftover, peer, permit } = opened;
            let connection = Connection::over_websocket(stream, Arc::clone(&app.feed_config));
            let accepted = Accepted {
                connection: Arc::new(connection),
                leftover,
                transport: Transport::Ws(encoding),
                opening: None,
                identity: None,
                peer,
                permit: permit.upgrade(TransportKind::Ws),
            };
            session::serve(app, accepted)
        }),
        Err(problem) => refused(&app, problem),
    }
}

/// Answers a WebSocket that is not opened.
pub(super) fn refused(app: &App, problem: Problem) -> Response {
    app.stats.handshake_failed(FailedHandshake::Upgrade);
    problem.into_response()
}

/// A WebSocket handshake that is in order.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The answer to the client's key.
    pub(super) accept: String,
    /// What the client offers, best first.
    pub(super) subprotocols: Vec<String>,
}

impl Handshake {
    pub(super) fn check(request: &Request) -> Result<Self, Problem> {
        let refuse = |status, detail: &str| Err(Problem::new(status, detail));
        let headers = request.headers();
        if request.method() != Method::GET {
            let detail = "a WebSocket handshake is a GET request";
            return Err(
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).header(header::ALLOW, "GET")
            );
        }
        if request.version() != Version::HTTP_11 {
            return refuse(StatusCode::BAD_REQUEST, "a WebSocket handshake needs HTTP/1.1");
        }
        if !has_token(headers, header::UPGRADE, "websocket")
            || !has_token(headers, header::CONNECTION, "upgrade")
        {
            let detail = "this is a WebSocket: connect with Connection: Upgrade and \
                          Upgrade: websocket";
            return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, detail)
                .header(header::UPGRADE, "websocket")
                .header(header::CONNECTION, "Upgrade"));
        }
        if only(headers, header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
            let detail = "the version of the WebSocket protocol spoken here is 13";
            return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, detail)
                .header(header::SEC_WEBSOCKET_VERSION, "13")
                .header(header::UPGRADE, "websocket")
                .header(header::CONNECTION, "Upgrade"));
        }
        let Some(key) = only(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
            let detail = "Sec-WebSocket-Key must be 16 bytes in base64, once";
            return refuse(StatusCode::BAD_REQUEST, detail);
        };
        if has_body(headers) {
            return refuse(StatusCode::BAD_REQUEST, "a WebSocket handshake has no body");
        }
        let Some(subprotocols) = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL) else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "Sec-WebSocket-Protocol must be a list of names with commas between them",
            );
        };
        Ok(Self { accept: accept_key(key), subprotocols })
    }
}

/// The value of a header that must be there exactly once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// Whether a header's comma-separated list has this word, in any case.
pub(super) fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// The words of a header's comma-separated lists; `None` if one is no token (RFC 9110).
fn tokens(headers: &HeaderMap, name: header::HeaderName) -> Option<Vec<String>> {
    let is_tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|word| {
            let word = word.trim_ascii();
            let valid = !word.is_empty() && word.iter().all(is_tchar);
            valid.then(|| word.iter().copied().map(char::from).collect())
        })
        .collect()
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}

fn is_key(key: &[u8]) -> bool {
    base64::decode(key).is_some_and(|nonce| nonce.len() == 16)
}

fn accept_key(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize();
    let mut text = Vec::new();
    base64::encode(&digest, &mut text);
    text.into_iter().map(char::from).collect()
}

/// What is answered to a handshake in order.
#[derive(Debug)]
pub(super) struct Agreed {
    /// The answer to the client's key.
    pub(super) accept: String,
    /// The subprotocol agreed on.
    pub(super) subprotocol: Option<String>,
}

/// A WebSocket, free of any HTTP machinery.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// What the client sent right behind its handshake.
    pub(super) leftover: Bytes,
    pub(super) peer: SocketAddr,
    pub(super) permit: Arc<Permit>,
}

/// Answers 101, and has the WebSocket served once that is written, until the server is over.
pub(super) fn switch<S, F>(
    app: Arc<App>,
    origin: Origin,
    mut request: Request,
    agreed: Agreed,
    serve: S,
) -> Response
where
    S: FnOnce(Arc<App>, Opened) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let headers = [
        (header::CONNECTION, Some("Upgrade")),
        (header::UPGRADE, Some("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, Some(agreed.accept.as_str())),
        (header::SEC_WEBSOCKET_PROTOCOL, agreed.subprotocol.as_deref()),
    ];
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Some(opened) = open(origin, upgrade).await {
            tokio::select! {
                () = serve(Arc::clone(&app), opened) => {}
                () = app.shutdown.reached(Phase::Over) => {}
            }
        }
    });
    response
}

async fn open(origin: Origin, upgrade: OnUpgrade) -> Option<Opened> {
    let Origin { peer, permit, .. } = origin;
    match upgrade.await.map(Upgraded::downcast::<TokioIo<Stream>>) {
        Ok(Ok(parts)) => {
            let stream = parts.io.into_inner();
            Some(Opened { stream, leftover: parts.read_buf, peer, permit })
        }
        Ok(Err(_other)) => {
            tracing::error!(%peer, "an upgraded connection is none that was accepted");
            None
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "connection was gone before its upgrade");
            None
        }
    }
}
