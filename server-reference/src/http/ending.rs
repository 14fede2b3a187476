//! Ending sessions, and revoking what they came in with.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::api::Operation;
use super::bearer::{Admin, Id};
use super::body::read_json;
use super::problem::Problem;
use crate::app::App;
use crate::auth::Revoked;

pub(super) fn end_session_operation() -> Operation {
    Operation::delete("/api/websocket/sessions/{id}", "Ends a session")
        .for_operators()
        .part("id", "What `GET /api/websocket/sessions` calls it.")
        .answers_nothing(202, "The other instances were told.")
        .answers_nothing(204, "It was connected here, and has ended.")
        .fails(&[400, 404])
}

/// `DELETE /api/websocket/sessions/{id}`
pub(super) async fn end_session(_: Admin, State(app): State<Arc<App>>, Id(id): Id) -> Response {
    if app.end_session(&id) {
        return StatusCode::NO_CONTENT.into_response();
    }
    // Another instance may have it: it is told.
    if app.authenticator.revocations().tell_end(&id) {
        return StatusCode::ACCEPTED.into_response();
    }
    let detail = "no session is shown by this id; GET /api/websocket/sessions lists them";
    Problem::new(StatusCode::NOT_FOUND, detail).into_response()
}

pub(super) fn revoke_operation() -> Operation {
    Operation::post("/api/auth/revocations", "Revokes a token, or all of a subject")
        .for_operators()
        .body::<Revoked>()
        .answers_nothing(204, "It is not good any more.")
}

/// `POST /api/auth/revocations`
pub(super) async fn revoke(
    _: Admin,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let body = read_json(&app, &headers, body).await?;
    let revoked: Revoked = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!(
            "the body must be {{\"subject\": \"...\"}} or {{\"token_id\": \"...\"}}: {error}"
        );
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    app.authenticator.revocations().revoke(revoked);
    app.reconsider_all();
    Ok(StatusCode::NO_CONTENT)
}
