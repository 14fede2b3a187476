//! Reading events by REST: those to come, as Server-Sent Events, and those of the past.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;
use tidings_core::message::{Hello, SubId, Subscribe};
use tidings_core::{Cursor, Pattern, Priority, event_json};

use super::accept::Origin;
use super::bearer::{Admin, Caller};
use super::problem::Problem;
use super::query::Parameters;
use super::rest::json;
use crate::accepted::{Accepted, Transport, TransportKind};
use crate::app::App;
use crate::connection::Connection;
use crate::history::{self, Query};
use crate::ids::random_id;
use crate::session;
use crate::shutdown::Phase;
use crate::store::EventPlace;

/// How many events a page has when nobody says, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// The name of the header in which a client says how far it is.
const LAST_EVENT_ID: &str = "last-event-id";

/// `GET /api/events/stream`
pub(super) async fn stream(
    Caller(identity): Caller,
    State(app): State<Arc<App>>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query.as_deref());
    let patterns = parameters.patterns(&app, &identity)?;
    parameters.finish()?;
    if patterns.is_empty() {
        let detail = "say which events: /api/events/stream?pattern=orders.**";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let cursor = match headers.get(LAST_EVENT_ID).map(HeaderValue::to_str) {
        None => Cursor::new(),
        Some(text) => {
            let cursor = text.ok().and_then(|text| text.trim().parse().ok());
            cursor.ok_or_else(|| {
                let detail = "Last-Event-ID is none that came from here: leave it out to begin now";
                Problem::new(StatusCode::BAD_REQUEST, detail)
            })?
        }
    };
    let Origin { peer, permit, cut, .. } = origin.of_client(&app, &headers)?;
    let connection = Connection::over_response(cursor.clone(), cut, Arc::clone(&app.feed_config));
    let connection = Arc::new(connection);
    let subscribe = |(index, pattern): (usize, Pattern)| Subscribe {
        id: SubId(u32::try_from(index).unwrap_or(u32::MAX)),
        pattern: pattern.as_str().to_owned(),
        since: None,
    };
    let hello = Hello {
        producer: random_id(),
        subscriptions: patterns.into_iter().enumerate().map(subscribe).collect(),
        cursor,
        ..Hello::default()
    };
    let accepted = Accepted {
        connection: Arc::clone(&connection),
        leftover: Bytes::new(),
        transport: Transport::Sse(hello),
        opening: None,
        identity: Some(identity),
        peer,
        permit: permit.upgrade(TransportKind::Sse),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = session::serve(Arc::clone(&app), accepted) => {}
            () = app.shutdown.reached(Phase::Over) => {}
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that collect what is answered would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(EventStream(connection))).into_response())
}

/// The body of a stream of events.
struct EventStream(Arc<Connection>);

impl Stream for EventStream {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_body(cx).map(|chunk| chunk.map(Ok))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.0.body_abandoned();
    }
}

/// `GET /api/events`
pub(super) async fn history(
    Caller(identity): Caller,
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query.as_deref());
    let time = "a time in milliseconds since the Unix epoch";
    let order = parameters.one::<String>("order", "newest or oldest")?;
    let query = Query {
        patterns: parameters.patterns(&app, &identity)?,
        priorities: priorities(&mut parameters)?,
        since: parameters.one("since", time)?.unwrap_or(0),
        until: parameters.one("until", time)?.unwrap_or(u64::MAX),
        after: parameters.one::<EventPlace>("after", "what `next` of a page says")?,
        oldest_first: match order.as_deref() {
            None | Some("newest") => false,
            Some("oldest") => true,
            Some(other) => {
                let detail = format!("order is {other:?}, but must be newest or oldest");
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
        },
        limit: parameters.number("limit", (1, MAX_PAGE), PAGE)?,
        id: None,
    };
    parameters.finish()?;
    if query.patterns.is_empty() {
        let detail = "say which events: /api/events?pattern=orders.**";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let page = history::read(&app, &identity, &query).await?;
    let mut body = br#"{"events":["#.to_vec();
    for (index, kept) in page.events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        event_json::write(&mut body, &kept.event, Some(kept.position));
    }
    let next = page.next.map(|next| format!(r#","next":"{next}""#)).unwrap_or_default();
    body.extend_from_slice(format!(r#"],"complete":{}{next}}}"#, page.complete).as_bytes());
    Ok(json_text(body))
}

fn priorities(parameters: &mut Parameters) -> Result<Vec<Priority>, Problem> {
    let words = parameters.all("priority");
    if words.is_empty() {
        return Ok(Priority::URGENT_FIRST.to_vec());
    }
    let read = |word: &String| {
        let wrong = |error: tidings_core::event::UnknownPriority| {
            Problem::new(StatusCode::BAD_REQUEST, error.to_string())
        };
        word.parse().map_err(wrong)
    };
    let mut priorities: Vec<Priority> = words.iter().map(read).collect::<Result<_, _>>()?;
    priorities.sort_unstable();
    priorities.dedup();
    Ok(priorities)
}

/// `GET /api/events/{id}`
pub(super) async fn event(
    Caller(identity): Caller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let everything = Pattern::new("**")
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let page = history::read(&app, &identity, &Query::by_id(id, everything)).await?;
    let Some(kept) = page.events.first() else {
        let detail = "no event of this id is kept, or none that this token may receive";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let mut body = Vec::new();
    event_json::write(&mut body, &kept.event, Some(kept.position));
    Ok(json_text(body))
}

fn json_text(body: Vec<u8>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

/// What `GET /api/events/subscriptions` answers.
#[derive(Debug, Serialize)]
struct Subscriptions {
    /// The name of the instance: it counts its own sessions.
    instance: String,
    /// How many different patterns there are.
    total: usize,
    /// Those with the most sessions first.
    patterns: Vec<Subscribed>,
    /// What the services of this instance listen to.
    listeners: Vec<String>,
}

/// A pattern that sessions have subscribed to.
#[derive(Debug, Serialize)]
struct Subscribed {
    /// The pattern.
    pattern: String,
    /// How many subscriptions there are to it.
    subscriptions: u64,
}

/// `GET /api/events/subscriptions`
pub(super) async fn subscriptions(
    _: Admin,
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query.as_deref());
    let limit = parameters.number("limit", (1, MAX_PAGE), PAGE)?;
    parameters.finish()?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for connection in app.all_connections() {
        connection.with_feed(|feed| {
            for pattern in feed.patterns() {
                *counts.entry(pattern.as_str().to_owned()).or_default() += 1;
            }
        });
    }
    let total = counts.len();
    let mut patterns: Vec<_> = counts
        .into_iter()
        .map(|(pattern, subscriptions)| Subscribed { pattern, subscriptions })
        .collect();
    patterns.sort_by_key(|subscribed| std::cmp::Reverse(subscribed.subscriptions));
    patterns.truncate(limit);
    let mut listeners: Vec<_> =
        app.bus.patterns().iter().map(|pattern| pattern.as_str().to_owned()).collect();
    listeners.sort();
    listeners.dedup();
    let instance = app.config.instance.clone();
    Ok(json(StatusCode::OK, &Subscriptions { instance, total, patterns, listeners }))
}
