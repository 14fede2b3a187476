//! Clients: what the page asks of one, by the number it has given it.

use std::future::{Future, IntoFuture};
use std::time::Duration;

use futures_signals::signal::SignalExt;
use futures_util::StreamExt;
use tidings::{
    Client, Identity, OpenedSocket, Payload, Priority, Refusal, Request, State, Stats, Status,
};
use tidings_core::json::{MAX_DEPTH, Value, Writer, parse};
use tidings_core::message::ErrorCode;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::WebSocket;

use crate::asking::ask;
use crate::event::{cursor, tell_item, word, write_payload, write_position};
use crate::failure::Failure;
use crate::outbox::{tell, tell_only, tell_with};
use crate::registry::{add_client, client, run, spawn};
use crate::settings::{builder, transport, transport_name};

/// Makes the client with this number. It tells its `status`, and asks for a `token`. `opened` is a
/// WebSocket for its first attempt.
///
/// # Errors
/// If the URL or a setting is not what it should be.
#[wasm_bindgen]
pub fn connect(
    number: u32,
    url: &str,
    settings: &str,
    opened: Option<WebSocket>,
) -> Result<(), String> {
    let client = builder(number, url, settings)
        .and_then(|builder| Ok(builder.opened(opened.map(OpenedSocket::from)).build()?));
    let client = client.map_err(|failure| failure.text())?;
    tell_statuses(number, &client);
    add_client(number, client);
    Ok(())
}

/// Tells how the client is doing, until it is closed.
pub(crate) fn tell_statuses(number: u32, client: &Client) {
    let mut statuses = client.status_signal().to_stream();
    spawn(async move {
        while let Some(status) = statuses.next().await {
            tell(number, "status", |w| write_status(&status, w));
            if status.state == State::Closed {
                return;
            }
        }
    });
}

fn write_status(status: &Status, w: &mut Writer<'_>) {
    w.begin_object().key("state").str(match status.state {
        State::Connecting => "connecting",
        State::Connected => "connected",
        State::Reconnecting => "reconnecting",
        State::Closed => "closed",
    });
    if let Some(transport) = status.transport {
        w.key("transport").str(transport_name(transport));
    }
    w.key("code").u64(status.code.0.into()).key("reason").str(&status.reason);
    w.key("retryable").bool(status.retryable);
    if let Some(after) = status.next_attempt {
        w.key("nextAttempt").u64(after.as_millis() as u64);
    }
    w.end_object();
}

/// Tells how `task` has ended: `done`, or `failed`.
fn run_and_tell<T, E: Into<Failure>>(
    number: u32,
    task: impl Future<Output = Result<T, E>> + 'static,
    write: impl FnOnce(&T, &mut Writer<'_>) + 'static,
) {
    run(number, async move { tell_result(number, task.await, write) });
}

fn tell_result<T, E: Into<Failure>>(
    number: u32,
    result: Result<T, E>,
    write: impl FnOnce(&T, &mut Writer<'_>),
) {
    match result {
        Ok(value) => tell(number, "done", |w| write(&value, w)),
        Err(error) => tell(number, "failed", |w| error.into().write(w)),
    }
}

fn nothing<T>(_: &T, w: &mut Writer<'_>) {
    w.null();
}

/// Subscribes, until it is stopped. It tells `subscribed`, events as `json` or `binary`, `gap`, and
/// `failed`, which is the end. `since` is empty, or a cursor.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn subscribe(of: u32, number: u32, pattern: String, since: &str) -> Result<(), String> {
    let (client, since) = (client(of)?, cursor(since));
    run(number, async move {
        match client.on_each(pattern, since, move |item| tell_item(number, item)).await {
            Ok(subscribed) => {
                tell_only(number, "subscribed");
                drop(client);
                std::future::pending::<()>().await;
                drop(subscribed);
            }
            Err(error) => tell(number, "failed", |w| Failure::from(error).write(w)),
        }
    });
    Ok(())
}

/// Publishes JSON. It tells `done` with the position, or `failed`. `options` is empty, or has
/// `priority`, `headers`, `timeout`, `volatile`, `as` (producer and number that it is recognised by).
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn publish(
    of: u32,
    number: u32,
    name: &str,
    json: String,
    options: &str,
) -> Result<(), String> {
    publish_payload(of, number, name, Payload::Json(json.into()), options)
}

/// Publishes bytes.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn publish_binary(
    of: u32,
    number: u32,
    name: &str,
    bytes: Vec<u8>,
    options: &str,
) -> Result<(), String> {
    publish_payload(of, number, name, Payload::Binary(bytes.into()), options)
}

fn publish_payload(
    of: u32,
    number: u32,
    name: &str,
    payload: Payload,
    options: &str,
) -> Result<(), String> {
    let mut publish = client(of)?.publish_raw(name, payload);
    let mut is_volatile = false;
    if let Ok(options) = parse(options.as_bytes(), MAX_DEPTH) {
        let text = |value: Value<'_>| value.as_str().unwrap_or_default().into_owned();
        if let Some(priority) = options.get("priority").and_then(|it| text(it).parse().ok()) {
            publish = publish.priority(priority);
        }
        if let Some(headers) = options.get("headers").and_then(Value::object) {
            publish = publish.headers(headers.map(|(key, value)| (key.into_owned(), text(value))));
        }
        if let Some(timeout) = options.get("timeout").and_then(Value::as_u64) {
            publish = publish.timeout(Duration::from_millis(timeout));
        }
        if let Some(identity) = options.get("as").and_then(identity) {
            publish = publish.identity(identity);
        }
        is_volatile = options.get("volatile").and_then(Value::as_bool) == Some(true);
    }
    // It is queued when this is made, so that publishes stay in the order in which they were asked for.
    if is_volatile {
        let sending = publish.volatile().into_future();
        spawn(async move {
            tell_result(number, sending.await, nothing);
        });
    } else {
        let publishing = publish.into_future();
        spawn(async move {
            tell_result(number, publishing.await, write_position);
        });
    }
    Ok(())
}

fn identity(value: Value<'_>) -> Option<Identity> {
    let mut parts = value.array()?;
    Identity::new(&*parts.next()?.as_str()?, parts.next()?.as_u64()?)
}

/// Asks with JSON, until it is stopped. It tells the reply as `json` or `binary`, or `failed`.
/// `timeout` in milliseconds; 0 for the client's own.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn request(of: u32, number: u32, name: &str, json: String, timeout: u32) -> Result<(), String> {
    request_payload(of, number, name, Payload::Json(json.into()), timeout)
}

/// Asks with bytes.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn request_binary(
    of: u32,
    number: u32,
    name: &str,
    bytes: Vec<u8>,
    timeout: u32,
) -> Result<(), String> {
    request_payload(of, number, name, Payload::Binary(bytes.into()), timeout)
}

fn request_payload(
    of: u32,
    number: u32,
    name: &str,
    payload: Payload,
    timeout: u32,
) -> Result<(), String> {
    let mut request = client(of)?.request_raw(name, payload);
    if timeout > 0 {
        request = request.timeout(Duration::from_millis(timeout.into()));
    }
    run(number, async move {
        match request.raw().await {
            Ok(reply) => tell_with(number, word(&reply), |w, binaries| {
                write_payload(&reply, w, binaries);
            }),
            Err(error) => tell(number, "failed", |w| Failure::from(error).write(w)),
        }
    });
    Ok(())
}

/// Has the server's requests of this name answered: each is a question `request`, to the handler's
/// number.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn handle(of: u32, number: u32, name: String) -> Result<(), String> {
    let handled = client(of)?.handle_raw(name, move |request| answer(number, request));
    handled.map_err(|closed| Failure::from(closed).text())
}

async fn answer(number: u32, request: Request) -> Result<Payload, Refusal> {
    let answer = ask(number, "request", |w, binaries| {
        w.str(&request.name).bool(matches!(request.payload, Payload::Binary(_)));
        write_payload(&request.payload, w, binaries);
    });
    match answer.await {
        Ok(payload) => Ok(payload.unwrap_or(Payload::NULL)),
        Err(failed) => Err(Refusal::new(ErrorCode::HANDLER, failed.message)),
    }
}

/// Has them answered no more.
#[wasm_bindgen]
pub fn unhandle(of: u32, name: String) {
    if let Ok(client) = client(of) {
        client.unhandle(name);
    }
}

/// Reads nothing from the connection until this is stopped.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn pause(of: u32, number: u32) -> Result<(), String> {
    let pause = client(of)?.pause();
    run(number, async move {
        std::future::pending::<()>().await;
        drop(pause);
    });
    Ok(())
}

/// Goes on by another transport. It tells `done` with the one in use, or `failed`.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn switch_transport(of: u32, number: u32, to: &str) -> Result<(), String> {
    let (client, to) = (client(of)?, transport(to));
    let task = async move { client.switch_transport(to).await };
    run_and_tell(number, task, |used, w| {
        w.str(transport_name(*used));
    });
    Ok(())
}

/// Presents a fresh token. It tells `done`, or `failed`.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn refresh_token(of: u32, number: u32) -> Result<(), String> {
    let client = client(of)?;
    run_and_tell(number, async move { client.refresh_token().await }, nothing);
    Ok(())
}

/// Tells what was counted, as `done`.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn stats(of: u32, number: u32) -> Result<(), String> {
    let client = client(of)?;
    let task = async move { Ok::<_, Failure>(client.stats().await) };
    run_and_tell(number, task, write_stats);
    Ok(())
}

fn write_stats(stats: &Stats, w: &mut Writer<'_>) {
    let counters = &stats.counters;
    w.begin_object();
    for (name, count) in [
        ("messagesIn", counters.frames_in),
        ("messagesOut", counters.frames_out),
        ("bytesIn", counters.bytes_in),
        ("bytesOut", counters.bytes_out),
        ("events", counters.events),
        ("volatileEvents", counters.volatile_events),
        ("recovered", counters.recovered),
        ("duplicates", counters.duplicates),
        ("gaps", counters.gaps),
        ("attempts", counters.attempts),
        ("connects", counters.connects),
        ("reconnects", counters.reconnects),
        ("switches", counters.switches),
        ("published", counters.published),
        ("resent", counters.resent),
        ("publishFailures", counters.publish_failures),
        ("volatileSent", counters.volatile_sent),
        ("inFlight", stats.in_flight as u64),
        ("requests", stats.requests as u64),
        ("subscriptions", stats.subscriptions as u64),
    ] {
        w.key(name).u64(count);
    }
    for (name, counts) in [("queued", &stats.queued), ("queuedBytes", &stats.queued_bytes)] {
        w.key(name).begin_object();
        for priority in Priority::URGENT_FIRST {
            w.key(priority.as_str()).u64(counts[priority as usize] as u64);
        }
        w.end_object();
    }
    // In microseconds: whole numbers.
    let (round_trips, micros) = (&stats.round_trips, |time: Duration| time.as_micros() as u64);
    let share = |share| round_trips.quantile(share).map_or(0, micros);
    w.key("roundTrips").begin_object().key("count").u64(round_trips.count());
    w.key("p50").u64(share(0.5)).key("p99").u64(share(0.99));
    w.key("max").u64(micros(round_trips.max())).end_object().end_object();
}

/// Says goodbye, for which there are so many milliseconds, and closes. It tells `done`.
#[wasm_bindgen]
pub fn close(of: u32, number: u32, timeout: u32) {
    let client: Result<Client, _> = client(of);
    run(number, async move {
        if let Ok(client) = client {
            client.close_within(Duration::from_millis(timeout.into())).await;
        }
        tell_only(number, "done");
    });
}
