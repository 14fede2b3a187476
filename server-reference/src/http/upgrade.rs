//! The WebSocket handshake (RFC 6455, section 4.2).

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use sha1::{Digest, Sha1};
use tidings_core::base64;
use tidings_core::ws::Encoding;
use tokio::net::TcpStream;

use super::accept::Origin;
use super::problem::Problem;
use super::rest::parameter;
use crate::accepted::{Accepted, Transport};
use crate::app::App;
use crate::session;
use crate::shutdown::Phase;

/// What RFC 6455 has the server append to the client's key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `GET /ws`: the Tidings protocol on a plain WebSocket.
pub(super) async fn websocket(
    State(app): State<Arc<App>>,
    Extension(origin): Extension<Origin>,
    request: Request,
) -> Response {
    let handshake = Handshake::check(&request).and_then(|Handshake { accept, subprotocols }| {
        if subprotocols.is_empty() {
            return Ok(Switch {
                accept,
                subprotocol: None,
                transport: Transport::Ws(Encoding::Json),
            });
        }
        match Encoding::negotiate(subprotocols.iter().map(String::as_str)) {
            Some(encoding) => {
                let subprotocol = Some(encoding.subprotocol().to_owned());
                Ok(Switch { accept, subprotocol, transport: Transport::Ws(encoding) })
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
        Ok(to) => switch(app, origin, request, to),
        Err(problem) => problem.into_response(),
    }
}

/// `GET /socket.io/?EIO=4&transport=websocket`: Engine.IO over a WebSocket.
pub(super) async fn socketio(
    State(app): State<Arc<App>>,
    Extension(origin): Extension<Origin>,
    request: Request,
) -> Response {
    if let Err(error) = check_engineio(&request) {
        return error.into_response();
    }
    match Handshake::check(&request) {
        Ok(Handshake { accept, subprotocols }) => {
            // Engine.IO has no subprotocols of its own; what an application offers is agreed to.
            let subprotocol = subprotocols.into_iter().next();
            let to = Switch { accept, subprotocol, transport: Transport::SocketIo };
            switch(app, origin, request, to)
        }
        Err(problem) => problem.into_response(),
    }
}

/// An error as Engine.IO words it.
#[derive(Debug, Clone, Copy, Serialize)]
struct EngineError {
    code: u8,
    message: &'static str,
}

const TRANSPORT_UNKNOWN: EngineError = EngineError { code: 0, message: "Transport unknown" };
const UNKNOWN_SID: EngineError = EngineError { code: 1, message: "Session ID unknown" };
const BAD_METHOD: EngineError = EngineError { code: 2, message: "Bad handshake method" };
const BAD_REQUEST: EngineError = EngineError { code: 3, message: "Bad request" };
const UNSUPPORTED_VERSION: EngineError =
    EngineError { code: 5, message: "Unsupported protocol version" };

impl IntoResponse for EngineError {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let body = serde_json::to_string(&self).unwrap_or_default();
        (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, json)], body).into_response()
    }
}

/// Checks what Engine.IO asks of a handshake, in the order in which its server does.
fn check_engineio(request: &Request) -> Result<(), EngineError> {
    let query = request.uri().query();
    if parameter(query, "transport") != Some("websocket") {
        return Err(TRANSPORT_UNKNOWN);
    }
    if parameter(query, "sid").is_some() {
        return Err(UNKNOWN_SID);
    }
    if request.method() != Method::GET {
        return Err(BAD_METHOD);
    }
    if !has_token(request.headers(), header::UPGRADE, "websocket") {
        return Err(BAD_REQUEST);
    }
    if parameter(query, "EIO") != Some("4") {
        return Err(UNSUPPORTED_VERSION);
    }
    Ok(())
}

/// A WebSocket handshake that is in order.
#[derive(Debug)]
struct Handshake {
    /// The answer to the client's key.
    accept: String,
    /// What the client offers, best first.
    subprotocols: Vec<String>,
}

impl Handshake {
    fn check(request: &Request) -> Result<Self, Problem> {
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
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
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
struct Switch {
    /// The answer to the client's key.
    accept: String,
    /// The subprotocol agreed on.
    subprotocol: Option<String>,
    transport: Transport,
}

/// Answers 101 and hands the connection over once that is written.
fn switch(app: Arc<App>, origin: Origin, mut request: Request, to: Switch) -> Response {
    let headers = [
        (header::CONNECTION, Some("Upgrade")),
        (header::UPGRADE, Some("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, Some(to.accept.as_str())),
        (header::SEC_WEBSOCKET_PROTOCOL, to.subprotocol.as_deref()),
    ];
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(hand_over(app, origin, upgrade, to.transport));
    response
}

async fn hand_over(app: Arc<App>, origin: Origin, upgrade: OnUpgrade, transport: Transport) {
    let Origin { peer, permit } = origin;
    let parts = match upgrade.await.map(Upgraded::downcast::<TokioIo<TcpStream>>) {
        Ok(Ok(parts)) => parts,
        Ok(Err(_not_tcp)) => {
            return tracing::error!(%peer, "an upgraded connection is no TCP stream");
        }
        Err(error) => {
            return tracing::debug!(%peer, %error, "connection was gone before its upgrade");
        }
    };
    let permit = permit.upgrade(transport.kind());
    let stream = parts.io.into_inner();
    let accepted = Accepted { stream, leftover: parts.read_buf, transport, peer, permit };
    tokio::select! {
        () = session::serve(Arc::clone(&app), accepted) => {}
        () = app.shutdown.reached(Phase::Over) => {}
    }
}
