//! The REST interface.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bearer::{Admin, Id, Told};
use super::body::read_json;
use super::problem::Problem;
use crate::app::App;
use crate::backplane::Trouble;
use crate::instances::{Ask, Gathered, Said};
use crate::shutdown::Phase;
use crate::stats::{
    EventsStats, InstanceStats, METRICS_TYPE, Mark, SECONDS, SessionPage, SessionPlace,
    SessionQuery, WebsocketStats, metrics,
};
use crate::store::{KeptSessionQuery, StoreError, StoreStatus};

/// What `GET /api/websocket/health` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health<'a> {
    status: &'static str,
    live: bool,
    ready: bool,
    instance: &'a str,
    version: &'static str,
    uptime_s: u64,
    backplane: BackplaneHealth,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreHealth>,
}

/// How the database is.
#[derive(Debug, Serialize, JsonSchema)]
struct StoreHealth {
    kind: &'static str,
    /// `ok`, or `degraded`: then events reach clients, and may be missing from the history.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<Trouble>,
}

/// How the log is.
#[derive(Debug, Serialize, JsonSchema)]
struct BackplaneHealth {
    kind: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<Trouble>,
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            (status, headers, body).into_response()
        }
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// The value of a parameter in a query, as it is written there.
pub(super) fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
}

pub(super) async fn health(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let backplane = app.backplane.status();
    let running = app.shutdown.phase() == Phase::Running;
    let ready = running && backplane.ready;
    let well = match parameter(query.as_deref(), "probe") {
        Some("live") => true,
        Some("ready") | None => ready,
        Some(other) => {
            let detail = format!("probe is {other:?}; use live or ready, or leave it out");
            return Problem::new(StatusCode::BAD_REQUEST, detail).into_response();
        }
    };
    let store = app.store.as_ref().map(|store| {
        let StoreStatus { kind, degraded, .. } = store.status();
        let status = if degraded.is_some() { "degraded" } else { "ok" };
        StoreHealth { kind, status, degraded }
    });
    let store_is_degraded = store.as_ref().is_some_and(|store| store.degraded.is_some());
    let health = Health {
        status: match &backplane.trouble {
            _ if !running => "draining",
            _ if !ready => "starting",
            None if !store_is_degraded => "ok",
            _ => "degraded",
        },
        live: true,
        ready,
        instance: &app.config.instance,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: app.started.elapsed().as_secs(),
        backplane: BackplaneHealth {
            kind: backplane.kind,
            ready: backplane.ready,
            degraded: backplane.trouble,
        },
        store,
    };
    json(if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
}

/// What `GET /api/websocket/stats?scope=cluster` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ClusterStats {
    #[schemars(with = "Vec<InstanceStats>")]
    instances: Vec<Box<RawValue>>,
    missing: BTreeSet<String>,
}

pub(super) async fn websocket_stats(
    _: Admin,
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.as_deref();
    let seconds = match parameter(query, "history").map(str::parse) {
        None => 0,
        Some(Ok(seconds)) if seconds <= SECONDS => seconds,
        Some(_) => return Err(wrong(format!("history must be seconds, from 0 to {SECONDS}"))),
    };
    match (scope(query, Scope::Instance)?, seconds) {
        (Scope::Instance, 0) => Ok(json(StatusCode::OK, &WebsocketStats::of(&app))),
        (Scope::Instance, _) => Ok(json(StatusCode::OK, &InstanceStats::of(&app, seconds))),
        (Scope::Cluster, _) => {
            let Gathered { said, missing } = app.instances.ask(&app, Ask::Stats(seconds)).await;
            let instances = said.into_iter().filter_map(|said| match said {
                Said::Stats(stats) => Some(stats),
                _ => None,
            });
            let stats = ClusterStats { instances: instances.collect(), missing };
            Ok(json(StatusCode::OK, &stats))
        }
    }
}

/// About which instances something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Instance,
    Cluster,
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn scope(query: Option<&str>, default: Scope) -> Result<Scope, Problem> {
    match parameter(query, "scope") {
        None => Ok(default),
        Some("instance") => Ok(Scope::Instance),
        Some("cluster") => Ok(Scope::Cluster),
        Some(other) => {
            Err(wrong(format!("scope is {other:?}; use cluster or instance, or leave it out")))
        }
    }
}

/// How many sessions a page has when nobody says.
const PAGE: usize = 100;

/// How many bytes may be searched for.
const MAX_SEARCH: usize = 255;

pub(super) async fn sessions(
    _: Admin,
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.as_deref();
    let limit = match parameter(query, "limit").map(str::parse) {
        None => PAGE,
        Some(Ok(limit)) if (1..=SessionPage::MAX).contains(&limit) => limit,
        Some(_) => {
            return Err(wrong(format!("limit must be a number from 1 to {}", SessionPage::MAX)));
        }
    };
    let after = parameter(query, "after").map(str::parse::<SessionPlace>).transpose();
    let after = after.map_err(|error| wrong(error.to_string()))?;
    match parameter(query, "ended") {
        None | Some("false") => {}
        Some("true") => return ended_sessions(&app, after, limit).await,
        Some(other) => return Err(wrong(format!("ended is {other:?}; use true or false"))),
    }
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let search = pairs.find(|(name, _)| name == "search").map(|(_, value)| value.into_owned());
    let search = search.unwrap_or_default();
    if search.len() > MAX_SEARCH {
        return Err(wrong(format!("search may have {MAX_SEARCH} bytes")));
    }
    let wanted = SessionQuery { after, limit, search };
    match scope(query, Scope::Cluster)? {
        Scope::Instance => Ok(json(StatusCode::OK, &SessionPage::of(&app, &wanted))),
        Scope::Cluster => Ok(json(StatusCode::OK, &app.instances.sessions(&app, wanted).await)),
    }
}

/// `GET /api/websocket/sessions/{id}`
pub(super) async fn session(_: Admin, State(app): State<Arc<App>>, Id(id): Id) -> Response {
    let Gathered { said, missing } = app.instances.ask(&app, Ask::Session(id)).await;
    let found = said.into_iter().find_map(|said| match said {
        Said::Session(found) => found,
        _ => None,
    });
    match found {
        Some(found) => json(StatusCode::OK, &found),
        None if missing.is_empty() => {
            let detail = "no session is shown by this id; GET /api/websocket/sessions lists them";
            Problem::new(StatusCode::NOT_FOUND, detail).into_response()
        }
        None => {
            let names = missing.into_iter().collect::<Vec<_>>().join(", ");
            let detail = format!("the session is nowhere else, and no answer came from {names}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}

/// Those that are not connected any more, the latest first, from the database.
async fn ended_sessions(
    app: &App,
    after: Option<SessionPlace>,
    limit: usize,
) -> Result<Response, Problem> {
    let query = KeptSessionQuery { ended: Some(true), after, limit, ..KeptSessionQuery::default() };
    let page = match &app.store {
        Some(store) => store.sessions(&query).await,
        None => Err(StoreError::NotKept("sessions")),
    };
    Ok(json(StatusCode::OK, &page?))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::NotKept(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

/// What is asked to be marked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkText {
    /// What happened: 1 to 80 characters.
    #[schemars(length(min = 1, max = 80))]
    text: String,
}

/// A mark, and the instances that have not taken it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Marked {
    #[serde(flatten)]
    mark: Mark,
    missing: BTreeSet<String>,
}

/// `POST /api/websocket/marks`
pub(super) async fn mark(
    _: Admin,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = read_json(&app, &headers, body).await?;
    let MarkText { text } = serde_json::from_slice(&body)
        .map_err(|error| wrong(format!("the body must be {{\"text\": \"...\"}}: {error}")))?;
    let mark = Mark::now(&text).map_err(|error| wrong(error.to_string()))?;
    let Gathered { missing, .. } = app.instances.ask(&app, Ask::Mark(mark.clone())).await;
    Ok(json(StatusCode::CREATED, &Marked { mark, missing }))
}

/// `GET /metrics`
pub(super) async fn prometheus(_: Told, State(app): State<Arc<App>>) -> Response {
    let headers = [(header::CONTENT_TYPE, METRICS_TYPE), (header::CACHE_CONTROL, "no-store")];
    (headers, metrics(&app)).into_response()
}

pub(super) async fn events_stats(_: Admin, State(app): State<Arc<App>>) -> Response {
    json(StatusCode::OK, &EventsStats::of(&app))
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible on {}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
