//! Reading events by REST: those to come, as Server-Sent Events, and those of the past.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::message::{Hello, SubId, Subscribe};
use tidings_core::{Cursor, Pattern, Priority, event_json};

use super::accept::Origin;
use super::api::Operation;
use super::bearer::{Admin, Caller, Id};
use super::problem::Problem;
use super::query::Parameters;
use super::rest::json;
use crate::accepted::{Accepted, Transport, TransportKind};
use crate::app::App;
use crate::auth::Identity;
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

/// A pattern in a query.
#[derive(Debug, JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "it describes")]
struct PatternText(
    #[schemars(regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"), length(min = 1, max = 255))] String,
);

/// What `GET /api/events/stream` is asked.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes")]
struct StreamParameters {
    /// Which events: names, with `*` for any segment and `**` for any number of them.
    #[schemars(length(min = 1))]
    pattern: Vec<PatternText>,
}

pub(super) fn stream_operation() -> Operation {
    Operation::get("/api/events/stream", "Events as they come, as Server-Sent Events")
        .for_callers()
        .query::<StreamParameters>()
        .header("Last-Event-ID", "The last `id` that came: goes on after it.")
        .answers_text("text/event-stream", "Events without end; the data of each is an Event.")
        .fails(&[403])
}

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

/// What `GET /api/events` is asked.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes")]
struct HistoryParameters {
    /// Which events: names, with `*` for any segment and `**` for any number of them.
    #[schemars(length(min = 1))]
    pattern: Vec<PatternText>,
    /// Those of these priorities, otherwise of all.
    priority: Option<Vec<PriorityWord>>,
    /// Not before this, in milliseconds since the Unix epoch.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    since: Option<u64>,
    /// Not after this.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    until: Option<u64>,
    /// Which come first, otherwise the newest.
    order: Option<Order>,
    /// How many a page has, otherwise 100.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[schemars(regex(pattern = r"^[0-9]{1,15}\.[0-9]{1,5}$"))]
    after: Option<String>,
}

/// How urgent an event is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Priority")]
#[expect(dead_code, reason = "it describes")]
pub(super) enum PriorityWord {
    Low,
    Normal,
    High,
    Critical,
}

#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes")]
enum Order {
    Newest,
    Oldest,
}

/// An event of the log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event", deny_unknown_fields)]
struct EventMembers {
    /// What it is called.
    id: String,
    /// Its name.
    name: String,
    /// What it carries; bytes are `{"$bin": base64}`.
    payload: serde_json::Value,
    /// How urgent it is.
    priority: PriorityWord,
    /// When it was published, in milliseconds since the Unix epoch.
    time: u64,
    /// Texts that travel with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    /// Its lane; missing if it is volatile.
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<u32>,
    /// Its place in the lane; missing if it is volatile.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

/// Some events of the past.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventPage", deny_unknown_fields)]
struct PageMembers {
    /// In the order asked for.
    events: Vec<EventMembers>,
    /// Whether all that was ever published in the time that the page is of was still there to be
    /// looked at.
    complete: bool,
    /// Where the next page begins: for `after`. Missing if this is the last one. A page may be short,
    /// or empty, and have one: enough of the log was looked at for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) fn history_operation() -> Operation {
    Operation::get("/api/events", "Events of the past, as far as the log has them")
        .for_callers()
        .query::<HistoryParameters>()
        .answers::<PageMembers>(200, "A page of them.")
        .fails(&[403, 503])
}

/// Whether somebody may read history now. One who is nobody in particular is the address, unless that
/// is a proxy's.
fn check_rate(
    app: &App,
    identity: &Identity,
    origin: &Origin,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let may_read = match identity.subject() {
        Some(subject) => app.subjects.read(app.now(), subject),
        None => {
            let address = app.front.client(origin.peer, headers).ip();
            app.front.is_proxy(address) || app.addresses.read(app.now(), address)
        }
    };
    if may_read {
        return Ok(());
    }
    let rate = app.config.limits.history_rate;
    let detail = format!("more than {rate} pages or events of history per second (history_rate)");
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).header(header::RETRY_AFTER, "1"))
}

/// `GET /api/events`
pub(super) async fn history(
    Caller(identity): Caller,
    State(app): State<Arc<App>>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    check_rate(&app, &identity, &origin, &headers)?;
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

pub(super) fn event_operation() -> Operation {
    Operation::get("/api/events/{id}", "One event of the past")
        .for_callers()
        .part("id", "What it is called.")
        .answers::<EventMembers>(200, "It.")
        .fails(&[400, 404, 503])
}

/// `GET /api/events/{id}`
pub(super) async fn event(
    Caller(identity): Caller,
    State(app): State<Arc<App>>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Id(id): Id,
) -> Result<Response, Problem> {
    check_rate(&app, &identity, &origin, &headers)?;
    let everything = Pattern::new("**")
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let page = history::read(&app, &identity, &Query::by_id(id, everything)).await?;
    let Some(kept) = page.events.first() else {
        let mut detail =
            "no event of this id is kept, or none that this token may receive".to_owned();
        if page.next.is_some() {
            let max = app.config.limits.max_looked_at;
            detail += &format!("; the newest {max} were looked at (max_looked_at)");
        }
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
#[derive(Debug, Serialize, JsonSchema)]
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
#[derive(Debug, Serialize, JsonSchema)]
struct Subscribed {
    /// The pattern.
    pattern: String,
    /// How many subscriptions there are to it.
    subscriptions: u64,
}

/// What `GET /api/events/subscriptions` may be asked.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes")]
struct SubscriptionsParameters {
    /// How many patterns are listed, otherwise 100.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
}

pub(super) fn subscriptions_operation() -> Operation {
    Operation::get("/api/events/subscriptions", "What is subscribed to on this instance")
        .for_operators()
        .query::<SubscriptionsParameters>()
        .answers::<Subscriptions>(200, "The patterns with the most subscriptions.")
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
