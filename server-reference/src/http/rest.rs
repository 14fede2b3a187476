//! The REST interface.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::bearer::Admin;
use super::problem::Problem;
use crate::app::App;
use crate::backplane::Trouble;
use crate::shutdown::Phase;
use crate::stats::{EventsStats, SessionPage, SessionPlace, WebsocketStats};

/// What `GET /api/websocket/health` answers.
#[derive(Debug, Serialize)]
struct Health<'a> {
    status: &'static str,
    live: bool,
    ready: bool,
    instance: &'a str,
    version: &'static str,
    uptime_s: u64,
    backplane: BackplaneHealth,
}

/// How the log is.
#[derive(Debug, Serialize)]
struct BackplaneHealth {
    kind: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<Trouble>,
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
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
    let health = Health {
        status: match &backplane.trouble {
            _ if !running => "draining",
            _ if !ready => "starting",
            Some(_) => "degraded",
            None => "ok",
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
    };
    json(if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
}

pub(super) async fn websocket_stats(_: Admin, State(app): State<Arc<App>>) -> Response {
    json(StatusCode::OK, &WebsocketStats::of(&app))
}

/// How many sessions a page has when nobody says.
const PAGE: usize = 100;

pub(super) async fn sessions(
    _: Admin,
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.as_deref();
    let wrong = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail).into_response();
    let limit = match parameter(query, "limit").map(str::parse) {
        None => PAGE,
        Some(Ok(limit)) if (1..=SessionPage::MAX).contains(&limit) => limit,
        Some(_) => return wrong(format!("limit must be a number from 1 to {}", SessionPage::MAX)),
    };
    let after = match parameter(query, "after").map(str::parse::<SessionPlace>).transpose() {
        Ok(after) => after,
        Err(error) => return wrong(error.to_string()),
    };
    match parameter(query, "scope") {
        Some("instance") => json(StatusCode::OK, &SessionPage::of(&app, after.as_ref(), limit)),
        Some("cluster") | None => {
            json(StatusCode::OK, &app.session_lists.page(&app, after, limit).await)
        }
        Some(other) => {
            wrong(format!("scope is {other:?}; use cluster or instance, or leave it out"))
        }
    }
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
