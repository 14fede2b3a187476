//! The trace that a request belongs to.

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use tidings_core::Headers;
use tokio::time::Instant;
use tracing::Instrument;

use crate::trace::{TRACEPARENT, TRACESTATE, trace_id};

/// The longest `tracestate` that is passed on, as W3C recommends.
const MAX_STATE: usize = 512;

/// What a request says of its trace, for the headers of events; nothing if it belongs to none.
pub(super) fn context(headers: &HeaderMap) -> Vec<(String, String)> {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(parent) = get(TRACEPARENT).filter(|parent| trace_id(parent).is_some()) else {
        return Vec::new();
    };
    let state = get(TRACESTATE).filter(|state| state.len() <= MAX_STATE);
    let pairs = [(TRACEPARENT, Some(parent)), (TRACESTATE, state)];
    let pairs =
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    pairs.collect()
}

/// Has an event carry the trace of its request, unless it says itself what it belongs to.
pub(super) fn carry(context: &[(String, String)], headers: &mut Headers) {
    if context.is_empty() || headers.get(TRACEPARENT).is_some() {
        return;
    }
    let own = headers.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    *headers = Headers::new(own.chain(context.iter().cloned()));
}

/// Serves a request in a span that names it and its trace.
pub(super) async fn request(request: Request, next: Next) -> Response {
    let trace_id = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let trace_id = trace_id.and_then(crate::trace::trace_id);
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::debug_span!("request", %method, path, trace_id);
    let begun = Instant::now();
    async move {
        let response = next.run(request).await;
        let (status, elapsed) = (response.status().as_u16(), begun.elapsed());
        tracing::debug!(status, ?elapsed, "answered");
        response
    }
    .instrument(span)
    .await
}
