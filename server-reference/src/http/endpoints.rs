//! All endpoints of the REST interface.

use std::sync::Arc;

use axum::Router;
use schemars::JsonSchema;
use serde::Serialize;

use super::api::{Api, Operation};
use super::rest::{ClusterStats, Health, MarkText, Marked};
use super::{ending, events, publish, rest, schemas};
use crate::app::App;
use crate::stats::{
    ClusterSessionPage, EventsStats, InstanceStats, SessionDetail, SessionPage, WebsocketStats,
};
use crate::store::KeptSessionPage;

/// All of them, and their description.
pub(super) fn all() -> Router<Arc<App>> {
    of_server(of_events(Api::new())).finish()
}

fn of_events(api: Api) -> Api {
    let stats = Operation::get("/api/events/stats", "What was published and delivered");
    api.at(publish::publish_operation(), publish::publish)
        .at(events::stream_operation(), events::stream)
        .at(events::history_operation(), events::history)
        .at(events::event_operation(), events::event)
        .at(events::subscriptions_operation(), events::subscriptions)
        .at(schemas::list_operation(), schemas::list)
        .at(schemas::register_operation(), schemas::register)
        .at(schemas::remove_operation(), schemas::remove)
        .at(
            stats.for_operators().answers::<EventsStats>(200, "Counts since the start."),
            rest::events_stats,
        )
}

fn of_server(api: Api) -> Api {
    let health = Operation::get("/api/websocket/health", "How the server is");
    let stats = Operation::get("/api/websocket/stats", "Connections, sessions, queues, the log");
    let sessions = Operation::get("/api/websocket/sessions", "The sessions of all instances");
    let session = Operation::get("/api/websocket/sessions/{id}", "All about a session");
    let mark = Operation::post("/api/websocket/marks", "Marks this moment");
    let prometheus = Operation::get("/metrics", "Metrics for Prometheus");
    api.at(
        health
            .query::<HealthParameters>()
            .answers::<Health<'_>>(200, "It is well.")
            .answers::<Health<'_>>(503, "It takes no clients at the moment."),
        rest::health,
    )
    .at(
        stats
            .for_operators()
            .query::<StatsParameters>()
            .answers::<Stats>(200, "Counts since the start, and how it is now."),
        rest::websocket_stats,
    )
    .at(
        sessions
            .for_operators()
            .query::<SessionsParameters>()
            .answers::<Sessions>(200, "A page of them.")
            .fails(&[404, 503]),
        rest::sessions,
    )
    .at(
        session
            .for_operators()
            .part("id", "What `GET /api/websocket/sessions` calls it.")
            .answers::<SessionDetail>(200, "It.")
            .fails(&[400, 404, 503]),
        rest::session,
    )
    .at(ending::end_session_operation(), ending::end_session)
    .at(mark.for_operators().body::<MarkText>().answers::<Marked>(201, "It is marked."), rest::mark)
    .at(ending::revoke_operation(), ending::revoke)
    .at(
        prometheus
            .for_operators()
            .answers_text("text/plain", "All metrics, in Prometheus' text format."),
        rest::prometheus,
    )
}

/// What `GET /api/websocket/health` may be asked.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes")]
struct HealthParameters {
    /// Whether it is to tell if the process answers at all (live), or if clients are welcome
    /// (ready, and if it is left out).
    probe: Option<Probe>,
}

#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes")]
enum Probe {
    Live,
    Ready,
}

#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes")]
enum Scope {
    Cluster,
    Instance,
}

/// What `GET /api/websocket/stats` may be asked.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes")]
struct StatsParameters {
    /// About which instances, otherwise this one.
    scope: Option<Scope>,
    /// Of how many of the last seconds it is to tell, too.
    #[schemars(range(min = 0, max = 600))]
    history: Option<u32>,
}

/// What `GET /api/websocket/stats` answers: of this instance, with its last seconds, or of all.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes")]
enum Stats {
    Instance(Box<WebsocketStats>),
    WithHistory(Box<InstanceStats>),
    Cluster(ClusterStats),
}

/// What `GET /api/websocket/sessions` answers: of all instances, of this one, or those that are kept in
/// the database.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes")]
enum Sessions {
    Cluster(ClusterSessionPage),
    Instance(SessionPage),
    Ended(KeptSessionPage),
}

/// What `GET /api/websocket/sessions` may be asked.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes")]
struct SessionsParameters {
    /// How many a page has, otherwise 100.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[schemars(regex(pattern = r"^[0-9]{1,15}\..+$"))]
    after: Option<String>,
    /// What they must have in their id, instance, transport, address or subject.
    search: Option<String>,
    /// Whether only this instance's are listed, otherwise those of all.
    scope: Option<Scope>,
    /// Whether those that have ended are listed, from the database.
    ended: Option<bool>,
}
