//! The client against a small server, over real sockets and both transports.

mod delivering;
mod publishing;
mod requesting;
mod server;
mod staying_connected;
#[cfg(feature = "tls")]
mod tls;

use std::future::IntoFuture;
use std::time::Duration;

use server::Server;
use tidings::{Client, State, Transport};

const BOTH: [Transport; 2] = [Transport::Ws, Transport::SocketIo];

async fn connect(server: &Server, transport: Transport) -> Client {
    let client = Client::builder(server.url())
        .transport(transport)
        .backoff(Duration::from_millis(5), Duration::from_millis(50))
        .build()
        .unwrap();
    within(client.connected()).await.unwrap();
    client
}

/// A test that waits for what never comes fails here instead of hanging.
async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it never came")
}

/// Waits until the client is in a state.
async fn until(client: &Client, state: State) -> tidings::Status {
    use futures_signals::signal::SignalExt;
    use futures_util::StreamExt;
    let mut states = client.status_signal().to_stream();
    within(async {
        loop {
            let status = states.next().await.expect("a status");
            if status.state == state {
                return status;
            }
        }
    })
    .await
}

/// Waits until something holds that nobody tells us of.
async fn eventually(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
