//! HTTP: accepting connections, upgrading them, and the REST interface.

mod accept;
mod api;
mod bearer;
mod body;
mod cors;
mod ending;
mod endpoints;
mod engineio;
mod events;
mod probe;
mod problem;
mod publish;
mod query;
mod rest;
mod schemas;
mod trace;
mod upgrade;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use axum::routing::any;

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
    let pages = dashboards.merge(demo.map(Demo::routes).unwrap_or_default());
    engines
        .merge(over_tls_alone(&app, pages))
        .merge(endpoints::all().layer(from_fn(trace::request)))
        .route(&paths.websocket, any(upgrade::websocket))
        .route(socketio, any(engineio::socketio))
        .route(&format!("{socketio}/"), any(engineio::socketio))
        .fallback(rest::not_found)
        .method_not_allowed_fallback(rest::method_not_allowed)
        .with_state(app)
}

/// Has browsers that were shown a page use nothing but TLS from then on, if the server speaks it.
fn over_tls_alone(app: &App, pages: Router<Arc<App>>) -> Router<Arc<App>> {
    let seconds = app.config.tls.strict_transport.as_secs();
    if app.tls.is_none() || seconds == 0 {
        return pages;
    }
    let Ok(value) = HeaderValue::try_from(format!("max-age={seconds}")) else { return pages };
    pages.layer(map_response(move |mut response: Response| {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
        std::future::ready(response)
    }))
}
