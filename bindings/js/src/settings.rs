//! What the page has chosen about a client. The package has checked it.

use std::time::Duration;

use tidings::socketio::Transport as Carrier;
use tidings::{AuthError, Client, ClientBuilder, Transport};
use tidings_core::json::{MAX_DEPTH, Value, parse};

use crate::asking;
use crate::failure::Failure;

/// A client of the server at `url`, with the number that it has.
pub(crate) fn builder(number: u32, url: &str, settings: &str) -> Result<ClientBuilder, Failure> {
    let settings = parse(settings.as_bytes(), MAX_DEPTH).map_err(Failure::bad_argument)?;
    let number_of = |key: &str| settings.get(key).and_then(Value::as_u64);
    let time = |key: &str| number_of(key).map(Duration::from_millis);
    let size = |key: &str| number_of(key).and_then(|size| usize::try_from(size).ok());
    let is =
        |key: &str, word: &str| settings.get(key).and_then(Value::as_str).as_deref() == Some(word);
    let mut builder = Client::builder(url).transport(match () {
        () if is("transport", "ws") => Transport::Ws,
        () if is("transport", "socketio") => Transport::SocketIo,
        () => Transport::Auto,
    });
    #[cfg(feature = "msgpack")]
    if is("format", "msgpack") {
        builder = builder.encoding(tidings::Encoding::Msgpack);
    }
    if let Some(namespace) = settings.get("namespace").and_then(Value::as_str) {
        builder = builder.namespace(namespace);
    }
    if let Some(carriers) = settings.get("carriers").and_then(Value::array) {
        let polling = |carrier: Value<'_>| carrier.as_str().as_deref() == Some("polling");
        let carrier =
            |carrier| if polling(carrier) { Carrier::Polling } else { Carrier::WebSocket };
        builder = builder.socketio_transports(carriers.map(carrier).collect::<Vec<_>>());
    }
    if let (Some(min), Some(max)) = (time("minDelay"), time("maxDelay")) {
        builder = builder.backoff(min, max);
    }
    for (value, set) in [
        (time("connectTimeout"), ClientBuilder::connect_timeout as fn(_, _) -> _),
        (time("publishTimeout"), ClientBuilder::publish_timeout),
        (time("requestTimeout"), ClientBuilder::request_timeout),
        (time("maxAge"), ClientBuilder::queue_age),
        (time("batchDelay"), ClientBuilder::batch_delay),
    ] {
        builder = if let Some(value) = value { set(builder, value) } else { builder };
    }
    for (value, set) in [
        (size("maxEvents"), ClientBuilder::queue_events as fn(_, _) -> _),
        (size("maxBytes"), ClientBuilder::queue_bytes),
        (size("maxMessage"), ClientBuilder::max_message),
    ] {
        builder = if let Some(value) = value { set(builder, value) } else { builder };
    }
    if settings.get("auth").and_then(Value::as_bool) == Some(true) {
        builder = builder.auth(move || token(number));
    }
    Ok(builder)
}

async fn token(client: u32) -> Result<String, AuthError> {
    match asking::ask(client, "token", |_, _| ()).await {
        Ok(token) => Ok(token.as_ref().map(asking::text).unwrap_or_default()),
        Err(failed) if failed.retryable => Err(AuthError::retry(failed.message)),
        Err(failed) => Err(AuthError::give_up(failed.message)),
    }
}

/// The transport with this name.
pub(crate) fn transport(name: &str) -> Transport {
    if name == "socketio" { Transport::SocketIo } else { Transport::Ws }
}

/// The name of this transport.
pub(crate) const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::SocketIo => "socketio",
        Transport::Ws | Transport::Auto => "ws",
    }
}
