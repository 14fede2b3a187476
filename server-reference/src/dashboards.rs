//! The dashboards: pages that show what `/api` tells, and do what it allows.
//!
//! They are in the program and know nothing: whoever opens them signs in with a token, which the pages send
//! with each request.

use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::response::Redirect;
use axum::routing::get;

use crate::page_file::{File, media_type};

/// Where the pages are.
const PATH: &str = "/admin/";

/// Where visitors who ask for no page in particular are led.
const FIRST: &str = "/admin/events";

/// What pages may do: run their own scripts, and talk to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../admin/", $name)))),*]
    };
}

/// Everything that the pages are made of, by name.
const FILES: &[(&str, &str)] = &files![
    "events.html",
    "websocket.html",
    "api.js",
    "chart.js",
    "element.js",
    "events.js",
    "format.js",
    "icon.svg",
    "inspect.js",
    "live.css",
    "marks.js",
    "panels.css",
    "plot.js",
    "publish.js",
    "rows.js",
    "schemas.js",
    "sessions.js",
    "shell.js",
    "stream.js",
    "style.css",
    "tail.js",
    "timeline.js",
    "websocket.js",
];

/// Serves them; pages without the ending of their files.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let to_first = get(|| async { Redirect::temporary(FIRST) });
    let router =
        Router::new().route(PATH, to_first.clone()).route(PATH.trim_end_matches('/'), to_first);
    FILES.iter().fold(router, |router, (name, text)| {
        let Some(media_type) = media_type(Path::new(name)) else { return router };
        let content = Bytes::from_static(text.as_bytes());
        let file = File { media_type, content, policy: POLICY };
        let path = format!("{PATH}{}", name.trim_end_matches(".html"));
        router.route(&path, get(|| async move { file }))
    })
}
