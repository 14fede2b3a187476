//! Where checks run.

use std::error::Error;
use std::time::Duration;

use futures_signals::signal::SignalExt;
use futures_util::StreamExt;
use js_sys::{Function, Promise};
use tidings::{Client, ClientBuilder, State, Subscription, Transport};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

/// How a check ends.
pub(crate) type Checked<T = ()> = Result<T, Box<dyn Error>>;

/// A server, and who can do something to it.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) transport: String,
    pub(crate) please: Function,
}

impl Place {
    /// A client that connects as the check is to.
    pub(crate) fn client(&self) -> ClientBuilder {
        use tidings::socketio::Transport as Carrier;
        let builder = Client::builder(&self.url)
            .backoff(Duration::from_millis(20), Duration::from_millis(200));
        match self.transport.as_str() {
            "socketio-websocket" => {
                builder.transport(Transport::SocketIo).socketio_transports([Carrier::WebSocket])
            }
            "socketio-polling" => {
                builder.transport(Transport::SocketIo).socketio_transports([Carrier::Polling])
            }
            _ => builder.transport(Transport::Ws),
        }
    }

    /// A client that has connected.
    pub(crate) async fn connected(&self) -> Checked<Client> {
        let client = self.client().build()?;
        client.connected().await?;
        Ok(client)
    }

    /// Has whoever runs the checks do something.
    pub(crate) async fn please(&self, what: &str) -> Checked {
        let done = self.please.call1(&JsValue::UNDEFINED, &what.into());
        let done = done.map_err(|error| format!("{error:?}"))?;
        let done: Promise = Promise::resolve(&done);
        JsFuture::from(done).await.map_err(|error| format!("{error:?}"))?;
        Ok(())
    }
}

/// Waits until the client is in this state.
pub(crate) async fn becomes(client: &Client, state: State) -> Checked {
    let mut states = client.status_signal().to_stream();
    while let Some(status) = states.next().await {
        if status.state == state {
            return Ok(());
        }
    }
    Err("the client has ended".into())
}

/// Takes `count` numbers from a subscription: they must be those from `first` on, in order.
pub(crate) async fn numbers(
    subscription: &mut Subscription<u32>,
    first: u32,
    count: u32,
) -> Checked {
    for expected in first..first + count {
        let received = subscription.next().await.ok_or("the subscription ended")??;
        if received.value != expected {
            return Err(format!("{} came, not {expected}", received.value).into());
        }
    }
    Ok(())
}

/// What must be so.
pub(crate) fn ensure(so: bool, otherwise: impl Into<String>) -> Checked {
    if so { Ok(()) } else { Err(otherwise.into().into()) }
}
