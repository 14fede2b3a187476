//! HTTP: accepting connections, upgrading them, and the REST interface.

mod accept;
mod bearer;
mod body;
mod cors;
mod ending;
mod engineio;
mod events;
mod probe;
mod problem;
mod publish;
mod query;
mod rest;
mod upgrade;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::{any, get, post};

use crate::app::App;
use crate::dashboards;
use crate::demo::Demo;

pub(crate) use accept::accept;
pub(crate) use problem::Problem;

fn router(app: Arc<App>, demo: Option<&Demo>) -> Router {
    let paths = app.config.paths.clone();
    let socketio = paths.socketio.trim_end_matches('/');
    let engines = app.engines.all().into_iter().fold(Router::new(), |router, (path, engine)| {
        let serve = move |State(app), Extension(origin), request| {
            engineio::serve(app, origin, request, engine)
        };
        router.route(&path, any(serve))
    });
    let dashboards = if app.config.dashboards { dashboards::routes() } else { Router::new() };
    engines
        .merge(dashboards)
        .merge(demo.map(Demo::routes).unwrap_or_default())
        .route("/api/websocket/health", get(rest::health))
        .route("/api/websocket/stats", get(rest::websocket_stats))
        .route("/api/websocket/sessions", get(rest::sessions))
        .route("/api/websocket/sessions/{id}", get(rest::session).delete(ending::end_session))
        .route("/api/websocket/marks", post(rest::mark))
        .route("/api/auth/revocations", post(ending::revoke))
        .route("/api/events", get(events::history).post(publish::publish))
        .route("/api/events/stats", get(rest::events_stats))
        .route("/api/events/stream", get(events::stream))
        .route("/api/events/subscriptions", get(events::subscriptions))
        .route("/api/events/{id}", get(events::event))
        .route(&paths.websocket, any(upgrade::websocket))
        .route(socketio, any(engineio::socketio))
        .route(&format!("{socketio}/"), any(engineio::socketio))
        .fallback(rest::not_found)
        .method_not_allowed_fallback(rest::method_not_allowed)
        .with_state(app)
}
