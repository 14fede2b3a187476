//! Publishing by REST: for services in other processes and languages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::Event;
use tidings_core::event_json::{self, Asked};
use tidings_core::json::{self, Value};
use tidings_core::message::{ErrorCode, Position, Publish, Refusal};

use super::accept::Origin;
use super::api::Operation;
use super::bearer::Caller;
use super::body::read_json;
use super::events::PriorityWord;
use super::problem::Problem;
use super::rest::json as answer;
use super::trace;
use crate::app::App;
use crate::auth::Identity;
use crate::backplane::{Producer, Published};
use crate::ids::digest_of;

/// An event to publish.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes")]
struct NewEvent {
    /// Its name: 1 to 255 bytes, up to 63 segments with dots between them, none of which is `*` or
    /// `**`.
    #[schemars(regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"), length(min = 1, max = 255))]
    name: String,
    /// What it carries; bytes are `{"$bin": base64}`.
    payload: serde_json::Value,
    /// How urgent it is, otherwise `normal`.
    priority: Option<PriorityWord>,
    /// Whether the log is skipped: at most once, now or never.
    volatile: Option<bool>,
    /// Texts that travel with it.
    headers: Option<BTreeMap<String, String>>,
    /// What it is recognised by if it is published again: 1 to 128 bytes without control characters.
    #[schemars(length(min = 1, max = 128))]
    idempotency_key: Option<String>,
}

/// One event, or a list.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it describes")]
enum NewEvents {
    One(NewEvent),
    Many(#[schemars(length(max = 1000))] Vec<NewEvent>),
}

/// What became of it, or of each of the list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes")]
enum Receipts {
    One(Receipt),
    Many(Vec<Receipt>),
}

pub(super) fn publish_operation() -> Operation {
    Operation::post("/api/events", "Publishes an event, or a list of them")
        .for_callers()
        .header("traceparent", "The trace it belongs to (W3C): travels in the events' headers.")
        .header("tracestate", "What else belongs to the trace.")
        .body::<NewEvents>()
        .answers::<Receipts>(200, "They are in the log.")
        .fails(&[403, 422, 429, 503, 504])
}

/// What became of an event that was published.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Receipt {
    /// It is in the log.
    Logged {
        /// What it is called: for `GET /api/events/{id}`. Missing if it had been published before,
        /// and is not there any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Its lane.
        lane: u32,
        /// Its place in the lane; 0 if it had been published before, and is not there any more.
        offset: u64,
    },
    /// It was handed out, and is kept nowhere.
    Volatile { volatile: bool },
}

impl Receipt {
    fn of(Position { lane, offset }: Position) -> Self {
        let lane = lane.number();
        let id = (offset.0 > 0).then(|| format!("{lane}-{}", offset.0));
        Self::Logged { id, lane, offset: offset.0 }
    }
}

/// `POST /api/events`
pub(super) async fn publish(
    Caller(identity): Caller,
    State(app): State<Arc<App>>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let text = read_json(&app, &headers, body).await?;
    let trace = trace::context(&headers);
    let value = json::parse(&text, json::MAX_DEPTH).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}"))
    })?;
    let Some(list) = value.array() else {
        let mut asked = judge(&app, &identity, &origin, &text, value)?;
        trace::carry(&trace, &mut asked.publish.headers);
        let receipt = publish_one(&app, &identity, asked).await?;
        return Ok(answer(StatusCode::OK, &receipt));
    };
    let max = app.config.limits.max_batch;
    let mut all = Vec::new();
    for (index, value) in list.enumerate() {
        if index == max {
            let detail = format!("at most {max} events may be published at once (max_batch)");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        let mut asked = judge(&app, &identity, &origin, &text, value)
            .map_err(|refusal| Problem::of_part(&format!("[{index}]"), refusal))?;
        trace::carry(&trace, &mut asked.publish.headers);
        all.push(asked);
    }
    // In order, and at once: the log's answers are waited for afterwards.
    let begun: Vec<_> = all.into_iter().map(|asked| begin(&app, &identity, asked)).collect();
    let mut receipts = Vec::with_capacity(begun.len());
    let mut failed = None;
    for (index, begun) in begun.into_iter().enumerate() {
        match finish(&app, begun).await {
            Ok(receipt) => receipts.push(receipt),
            Err(refusal) => failed = failed.or(Some((index, refusal))),
        }
    }
    match failed {
        None => Ok(answer(StatusCode::OK, &receipts)),
        Some((index, mut refusal)) => {
            refusal.message = format!(
                "{} ({} of the events are published; with an idempotency_key each may be sent again)",
                refusal.message,
                receipts.len()
            );
            Err(Problem::of_part(&format!("[{index}]"), refusal))
        }
    }
}

/// An event that may be published.
fn judge(
    app: &App,
    identity: &Identity,
    origin: &Origin,
    text: &Bytes,
    value: Value<'_>,
) -> Result<Asked, Refusal> {
    app.check_publish_rate(&mut origin.publish_rate.lock())
        .and_then(|()| match identity.subject() {
            Some(subject) => app.subjects.publish(app.now(), subject),
            None => Ok(()),
        })
        .and_then(|()| event_json::read(&app.config.link(), text, value))
        .and_then(|asked| {
            app.check_publish(identity, &asked.publish.name, &asked.publish.payload)?;
            Ok(asked)
        })
        .inspect_err(|_| app.stats.published(None))
}

async fn publish_one(app: &App, identity: &Identity, asked: Asked) -> Result<Receipt, Refusal> {
    finish(app, begin(app, identity, asked)).await
}

/// Hands an event to the log. `None`: it is volatile.
fn begin(app: &App, identity: &Identity, asked: Asked) -> Option<Published> {
    let Asked { publish, idempotency_key } = asked;
    let Publish { name, payload, priority, volatile, headers, .. } = publish;
    // The id is left to the log: it follows from the position.
    let event = Event { name, payload, id: Arc::default(), priority, time: 0, headers };
    crate::trace::published(&event);
    if volatile {
        app.stats.volatile_published();
        app.backplane.publish_volatile(event);
        return None;
    }
    let producer = idempotency_key.map(|key| producer(identity, &key));
    Some(app.backplane.publish(event, producer))
}

/// Each key is a producer that publishes once. Nobody's keys are those of others.
fn producer(identity: &Identity, key: &str) -> Producer {
    let subject = identity.subject().map(|subject| &**subject).unwrap_or_default();
    let id = format!("rest.{}.{}", digest_of(subject), digest_of(key));
    Producer { id: id.into(), number: 1, sends_again: false }
}

async fn finish(app: &App, begun: Option<Published>) -> Result<Receipt, Refusal> {
    let result = match begun {
        None => return Ok(Receipt::Volatile { volatile: true }),
        Some(Published::Now(result)) => result,
        Some(Published::Later(answer)) => {
            let patience = app.config.timeouts.request;
            tokio::time::timeout(patience, answer).await.unwrap_or_else(|_elapsed| {
                let message = format!(
                    "the log did not answer within {patience:?}: the event may be published or not"
                );
                Err(Refusal::new(ErrorCode::TIMEOUT, message))
            })
        }
    };
    app.stats.published(result.as_ref().ok().map(|position| position.lane));
    result.map(Receipt::of)
}
