//! The schemas in force, and those that operators register.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::api::Operation;
use super::bearer::{Admin, Id};
use super::body::read_json;
use super::problem::Problem;
use super::rest::{json, parameter};
use crate::app::App;
use crate::schemas::{Became, NotRegistered, SchemasInForce};

const PATH: &str = "/api/schemas/{pattern}";
const PATTERN: &str = "The name of an event, or a pattern of names, such as `orders.*.created`.";

/// What `PUT /api/schemas/{pattern}` may be told.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes")]
struct Parameters {
    /// Whether the schema must accept all that the one registered before accepts; `true` if it is left
    /// out.
    compatible: Option<bool>,
}

/// A schema of events: a JSON Schema, which is an object, `true` or `false`.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it describes")]
enum EventSchema {
    Object(serde_json::Map<String, Value>),
    Any(bool),
}

/// What was registered.
#[derive(Debug, Serialize, JsonSchema)]
struct Registration<'a> {
    /// For which events.
    pattern: &'a str,
    /// What tells the schema from all others.
    version: String,
    lasts: Lasts,
}

/// For how long it is registered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Lasts {
    /// Until none of the instances that share the log runs any more.
    UntilAllInstancesHaveStopped,
    /// Until this instance stops: it shares its log with no other.
    UntilThisInstanceStops,
}

pub(super) fn list_operation() -> Operation {
    Operation::get("/api/schemas", "What events and records must be")
        .for_operators()
        .answers::<SchemasInForce>(200, "Those of this instance.")
}

/// `GET /api/schemas`
pub(super) async fn list(_: Admin, State(app): State<Arc<App>>) -> Response {
    json(StatusCode::OK, &app.event_schemas.in_force(&app.config.instance))
}

pub(super) fn register_operation() -> Operation {
    Operation::put(PATH, "Registers a schema to check events by")
        .for_operators()
        .part("pattern", PATTERN)
        .query::<Parameters>()
        .body::<EventSchema>()
        .answers::<Registration<'_>>(
            200,
            "It is in force instead of the one before, or was so already.",
        )
        .answers::<Registration<'_>>(201, "It is in force.")
        .fails(&[409, 413, 422])
}

/// `PUT /api/schemas/{pattern}`
pub(super) async fn register(
    _: Admin,
    State(app): State<Arc<App>>,
    Id(pattern): Id,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let must_be_compatible = match parameter(query.as_deref(), "compatible") {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => {
            let detail = format!("compatible is {other:?}; use true or false, or leave it out");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let body = read_json(&app, &headers, body).await?;
    let schema: Value = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the body must be a JSON Schema: {error}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    if app.collections.owns(&pattern) {
        return Err(NotRegistered::Collection(pattern).into());
    }
    let (became, version) = app.event_schemas.register(&pattern, &schema, must_be_compatible)?;
    tracing::info!(pattern, version, ?became, "schema registered");
    let lasts = match app.backplane.is_shared() {
        true => Lasts::UntilAllInstancesHaveStopped,
        false => Lasts::UntilThisInstanceStops,
    };
    let status = if became == Became::New { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &Registration { pattern: &pattern, version, lasts }))
}

pub(super) fn remove_operation() -> Operation {
    Operation::delete(PATH, "Removes a schema that was registered")
        .for_operators()
        .part("pattern", PATTERN)
        .answers_nothing(204, "Events are not checked by it any more.")
        .fails(&[400, 404, 409])
}

/// `DELETE /api/schemas/{pattern}`
pub(super) async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Id(pattern): Id,
) -> Result<StatusCode, Problem> {
    app.event_schemas.remove(&pattern)?;
    tracing::info!(pattern, "schema removed");
    Ok(StatusCode::NO_CONTENT)
}

impl From<NotRegistered> for Problem {
    fn from(error: NotRegistered) -> Self {
        let status = match error {
            NotRegistered::Pattern(..) => StatusCode::BAD_REQUEST,
            NotRegistered::Schema(_) | NotRegistered::Sensitive(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            NotRegistered::TooLarge(..) | NotRegistered::TooMany(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            NotRegistered::Declared(_)
            | NotRegistered::Collection(_)
            | NotRegistered::Incompatible(..) => StatusCode::CONFLICT,
            NotRegistered::Unknown(_) => StatusCode::NOT_FOUND,
        };
        Self::new(status, error.to_string())
    }
}
