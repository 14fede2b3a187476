//! The JSON body of a request.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;

use super::problem::Problem;
use crate::app::App;

/// Reads the body of a request, which must be declared as JSON: a page of another origin cannot send
/// that without being asked first. It may have `max_frame` bytes, and `body_read` to come.
pub(super) async fn read_json(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, Problem> {
    let essence = headers.get(header::CONTENT_TYPE).and_then(|value| {
        let value = value.to_str().ok()?;
        Some(value.split(';').next().unwrap_or(value).trim())
    });
    if essence.is_none_or(|essence| !essence.eq_ignore_ascii_case("application/json")) {
        let detail = "the body must be JSON, and Content-Type say so: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let (limit, patience) = (app.config.limits.max_frame, app.config.timeouts.body_read);
    match tokio::time::timeout(patience, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let detail = format!("the body must end, after at most {limit} bytes (max_frame)");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
                .header(header::CONNECTION, "close"))
        }
        Err(_elapsed) => {
            let detail = format!("the body did not come within {patience:?} (body_read)");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
                .header(header::CONNECTION, "close"))
        }
    }
}
