//! Engine.IO over HTTP: which request means what to which session.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tidings_core::engineio::request::{self, Asked, Query, RequestError};
use tidings_core::engineio::{Brought, Carrier, PollingError, payload};
use tidings_core::message::{CloseCode, LinkError};
use tokio::sync::oneshot;

use super::accept::Origin;
use super::cors;
use super::probe;
use super::problem::Problem;
use super::upgrade::{self, Agreed, Handshake, Opened, has_token, switch};
use crate::accepted::{Accepted, Transport, TransportKind};
use crate::app::App;
use crate::config;
use crate::connection::{Alive, Command, Connection};
use crate::engine_sessions::Entry;
use crate::engineio::{self, Endpoint};
use crate::session;
use crate::shutdown::Phase;
use crate::socketio::Opening;

/// How many times the size that is accepted is read of a body that is too large, so that its
/// sender comes to read the answer.
const DISCARDED: usize = 8;

/// Any request to `/socket.io/`.
pub(super) async fn socketio(
    State(app): State<Arc<App>>,
    Extension(origin): Extension<Origin>,
    request: Request,
) -> Response {
    let endpoint = Endpoint { sessions: Arc::clone(&app.engine_sessions), handler: None };
    serve(app, origin, request, endpoint).await
}

/// Any request to an Engine.IO endpoint.
pub(super) async fn serve(
    app: Arc<App>,
    origin: Origin,
    request: Request,
    endpoint: Endpoint,
) -> Response {
    let shared = Arc::clone(&app);
    let cors = cors::Answer::to(&shared.config.cors, request.headers());
    if let Some(preflight) = cors.preflight(request.method()) {
        return preflight;
    }
    let mut response = answer(app, origin, request, endpoint).await;
    cors.allow(&mut response);
    response
}

async fn answer(app: Arc<App>, origin: Origin, request: Request, endpoint: Endpoint) -> Response {
    let upgrade = has_token(request.headers(), header::UPGRADE, "websocket");
    let method = match *request.method() {
        Method::GET => request::Method::Get,
        Method::POST => request::Method::Post,
        _ => request::Method::Other,
    };
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let session = query.sid().and_then(|sid| endpoint.sessions.find(sid));
    let carrier = session.as_ref().and_then(|connection| connection.carrier());
    match request::check(method, upgrade, &query, carrier, app.config.served()) {
        Ok(asked) => match (asked, session) {
            (Asked::Open(Carrier::Polling), _) => {
                let origin = match origin.of_session(&app, request.headers()) {
                    Ok(origin) => origin,
                    Err(problem) => return problem.into_response(),
                };
                let opening = opening(&app, &request, origin.peer);
                open_polling(app, origin, opening, &endpoint).await
            }
            (Asked::Open(Carrier::WebSocket), _) => open_websocket(app, origin, request, endpoint),
            (Asked::Poll, Some(session)) => poll(&app, &session, query.stamp()).await,
            (Asked::Post, Some(session)) => {
                let begun = session.post(app.now(), query.stamp());
                post(&app, &session, begun, request).await
            }
            (Asked::Probe, Some(session)) => try_websocket(app, origin, request, session),
            (Asked::Nothing, _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (_, None) => refused(RequestError::UnknownSid),
        },
        Err(error) if upgrade => upgrade_refused(error),
        Err(error) => refused(error),
    }
}

/// A refusal in Engine.IO's words.
fn refused(error: RequestError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, [(header::CONTENT_TYPE, "application/json")], error.to_json()).into_response()
}

/// The same for a WebSocket handshake, which Engine.IO's server answers differently.
fn upgrade_refused(error: RequestError) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html"), (header::CONNECTION, "close")];
    (StatusCode::BAD_REQUEST, headers, error.to_string()).into_response()
}

/// What an application may want to know of the request with which a session begins.
fn opening(app: &App, request: &Request, peer: SocketAddr) -> Option<Arc<Opening>> {
    app.namespaces.are_used().then(|| Opening::new(request.headers(), request.uri(), peer))
}

/// What a session of an endpoint speaks.
fn transport(handler: Option<engineio::Handler>, engine: Entry) -> Transport {
    match handler {
        None => Transport::SocketIo(engine),
        Some(handler) => Transport::Engine(engine, handler),
    }
}

/// A new session that begins with a poll: its answer is the open packet.
async fn open_polling(
    app: Arc<App>,
    origin: Origin,
    opening: Option<Arc<Opening>>,
    endpoint: &Endpoint,
) -> Response {
    let max_response = app.config.polling.max_response;
    let connection = Arc::new(Connection::over_polling(max_response, Arc::clone(&app.feed_config)));
    let Ok(answer) = connection.poll(app.now(), None) else {
        return refused(RequestError::UnknownSid);
    };
    let served = app.config.served();
    let upgrades: &[Carrier] =
        if served.upgrades && served.websocket { &[Carrier::WebSocket] } else { &[] };
    let engine = endpoint.sessions.enter(&connection, upgrades);
    let cookie = session_cookie(&app.config.cookie, engine.sid());
    let accepted = Accepted {
        transport: transport(endpoint.handler.clone(), engine),
        connection: Arc::clone(&connection),
        leftover: Bytes::new(),
        opening,
        identity: None,
        peer: origin.peer,
        permit: origin.permit.upgrade(TransportKind::SocketIo),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = session::serve(Arc::clone(&app), accepted) => {}
            () = app.shutdown.reached(Phase::Over) => {}
        }
    });
    let mut response = answered(&connection, answer).await;
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The cookie that tells proxies which session a request belongs to, if there is to be one.
fn session_cookie(config: &config::Cookie, sid: &str) -> Option<HeaderValue> {
    if config.name.is_empty() {
        return None;
    }
    let mut cookie = format!("{}={sid}", config.name);
    for (attribute, value) in [("Domain", &config.domain), ("Path", &config.path)] {
        if !value.is_empty() {
            cookie += &format!("; {attribute}={value}");
        }
    }
    if config.http_only {
        cookie += "; HttpOnly";
    }
    if config.secure {
        cookie += "; Secure";
    }
    cookie += match config.same_site.as_str() {
        "lax" => "; SameSite=Lax",
        "strict" => "; SameSite=Strict",
        "none" => "; SameSite=None",
        _ => "",
    };
    HeaderValue::from_str(&cookie).ok()
}

/// A new session on a WebSocket.
fn open_websocket(app: Arc<App>, origin: Origin, request: Request, endpoint: Endpoint) -> Response {
    let opened =
        agree(&request).and_then(|agreed| Ok((agreed, origin.of_client(&app, request.headers())?)));
    let (agreed, origin) = match opened {
        Ok(opened) => opened,
        Err(problem) => return upgrade::refused(&app, problem),
    };
    let opening = opening(&app, &request, origin.peer);
    switch(app, origin, request, agreed, move |app, opened| {
        let Opened { stream, leftover, peer, permit } = opened;
        let connection = Connection::over_websocket(stream, Arc::clone(&app.feed_config));
        let connection = Arc::new(connection);
        let accepted = Accepted {
            transport: transport(endpoint.handler, endpoint.sessions.enter(&connection, &[])),
            connection,
            leftover,
            opening,
            identity: None,
            peer,
            permit: permit.upgrade(TransportKind::SocketIo),
        };
        session::serve(app, accepted)
    })
}

/// A WebSocket to which a session may move.
fn try_websocket(
    app: Arc<App>,
    origin: Origin,
    request: Request,
    session: Arc<Connection>,
) -> Response {
    match agree(&request) {
        Ok(agreed) => switch(app, origin, request, agreed, move |app, opened| async move {
            probe::serve(&app, &session, opened).await;
        }),
        Err(problem) => upgrade::refused(&app, problem),
    }
}

fn agree(request: &Request) -> Result<Agreed, Problem> {
    let Handshake { accept, subprotocols } = Handshake::check(request)?;
    // Engine.IO has no subprotocols of its own; what an application offers is agreed to.
    Ok(Agreed { accept, subprotocol: subprotocols.into_iter().next() })
}

/// Ends the session unless the request it stands for comes to its answer.
struct Open<'a> {
    connection: &'a Connection,
    lost: fn(&Connection),
    answered: bool,
}

impl<'a> Open<'a> {
    const fn new(connection: &'a Connection, lost: fn(&Connection)) -> Self {
        Self { connection, lost, answered: false }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.answered {
            (self.lost)(self.connection);
        }
    }
}

/// `GET` of a session: waits for packets.
async fn poll(app: &App, connection: &Connection, stamp: Option<&str>) -> Response {
    match connection.poll(app.now(), stamp) {
        Ok(answer) => answered(connection, answer).await,
        Err(error) => not_taken(connection, error),
    }
}

async fn answered(connection: &Connection, answer: oneshot::Receiver<Bytes>) -> Response {
    let mut open = Open::new(connection, Connection::poll_abandoned);
    let answer = answer.await;
    open.answered = true;
    match answer {
        Ok(body) => {
            let content_type = (header::CONTENT_TYPE, "text/plain; charset=UTF-8");
            ([content_type, (header::CACHE_CONTROL, "no-store")], body).into_response()
        }
        Err(_) if connection.carrier() == Some(Carrier::WebSocket) => {
            refused(RequestError::BadRequest)
        }
        Err(_ended) => refused(RequestError::UnknownSid),
    }
}

/// A request of a session that may not be; one too many costs the session.
fn not_taken(connection: &Connection, error: PollingError) -> Response {
    match error {
        PollingError::Ended => refused(RequestError::UnknownSid),
        PollingError::Overlap => broken(connection, error.to_string()),
    }
}

/// Ends the session because of what its client sent.
fn broken(connection: &Connection, reason: impl Into<String>) -> Response {
    connection.command(Command::Fail(LinkError::new(CloseCode::BAD_FRAME, reason)));
    StatusCode::BAD_REQUEST.into_response()
}

/// Ends the session because its client takes too long to send a body, and the connection with it,
/// which is of no use before the rest of the body has come.
fn too_slow(connection: &Connection) -> Response {
    let reason = "the body of a request took too long to come";
    connection.command(Command::Fail(LinkError::new(CloseCode::BAD_FRAME, reason)));
    (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")]).into_response()
}

/// `POST` of a session: takes packets in.
async fn post(
    app: &App,
    connection: &Connection,
    begun: Result<(Brought, Alive), PollingError>,
    request: Request,
) -> Response {
    let (brought, alive) = match begun {
        Ok(begun) => begun,
        Err(error) => return not_taken(connection, error),
    };
    let mut open = Open::new(connection, |connection| {
        connection.posted(false);
        connection.command(Command::Lost);
    });
    let response = take_in(app, connection, brought, alive, request).await;
    open.answered = response.is_some();
    if let Some(response) = &response {
        connection.posted(response.status() == StatusCode::OK);
    }
    response.unwrap_or_else(|| StatusCode::BAD_REQUEST.into_response())
}

/// Reads the body of a `POST` and has its packets taken in. `None` if the client is gone.
async fn take_in(
    app: &App,
    connection: &Connection,
    brought: Brought,
    mut alive: Alive,
    request: Request,
) -> Option<Response> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value == "application/octet-stream") {
        return Some(broken(connection, "packets are posted as text, binary ones as base64"));
    }
    let max = app.config.limits.max_frame;
    let patience = app.config.timeouts.body_read;
    let read = tokio::select! {
        read = tokio::time::timeout(patience, read(request.into_body(), max)) => read,
        _ = alive.changed() => return Some(refused(RequestError::UnknownSid)),
    };
    let body = match read {
        Ok(Read::Whole(body)) => body,
        Ok(Read::TooLarge) => return Some(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
        Ok(Read::Broken) => return None,
        Err(_elapsed) => return Some(too_slow(connection)),
    };
    app.stats.received_bytes(body.len());
    if brought == Brought::Again {
        return Some(taken());
    }
    let messages = match payload::messages(&body, max) {
        Ok(messages) => messages,
        Err(error) => return Some(broken(connection, error.to_string())),
    };
    Some(match connection.hand_in(messages).await {
        Ok(true) => taken(),
        Ok(false) | Err(_) => StatusCode::BAD_REQUEST.into_response(),
    })
}

/// The answer to packets that have been taken in.
fn taken() -> Response {
    // Some browsers would offer text/plain for download.
    let content_type = (header::CONTENT_TYPE, "text/html");
    ([content_type, (header::CACHE_CONTROL, "no-store")], "ok").into_response()
}

enum Read {
    Whole(Bytes),
    TooLarge,
    /// The client went away before its end.
    Broken,
}

async fn read(body: Body, max: usize) -> Read {
    let mut parts = body.into_data_stream();
    let mut whole = BytesMut::new();
    let mut len = 0_usize;
    while let Some(part) = parts.next().await {
        let Ok(part) = part else { return Read::Broken };
        len += part.len();
        if len <= max {
            whole.extend_from_slice(&part);
        } else if len > max.saturating_mul(DISCARDED) {
            break;
        } else {
            whole = BytesMut::new();
        }
    }
    if len > max { Read::TooLarge } else { Read::Whole(whole.freeze()) }
}
