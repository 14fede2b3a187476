//! The connections to one Redis node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, RedisResult};
use tokio::sync::{Mutex, watch};

use super::health::NODE;
use super::options::Options;

/// After a failed attempt to connect, everybody is told so for this long without another one.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Gets what Redis pushes.
pub(super) type Pushed = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// One node and the connections to it, each made when it is needed first.
pub(super) struct Node {
    /// HOST:PORT.
    pub(super) address: String,
    /// What it is called in reports of health.
    pub(super) title: String,
    /// For everything but what follows.
    pub(super) commands: Link,
    /// For writes that wait for replicas: nothing else waits behind them.
    pub(super) critical: Link,
    /// For subscriptions.
    pub(super) subscriber: Link,
}

impl Node {
    pub(super) fn new(address: String, client: &Client, options: &Options, pushed: Pushed) -> Self {
        let link = |pushed| Link::new(client.clone(), options, pushed);
        Self {
            title: format!("{NODE}{address}"),
            address,
            commands: link(None),
            critical: link(None),
            subscriber: link(Some(pushed)),
        }
    }
}

/// A connection that is made again when it is needed after it broke.
pub(super) struct Link {
    client: Client,
    connect_timeout: Duration,
    command_timeout: Duration,
    pushed: Option<Pushed>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    failed: Option<(Instant, RedisError)>,
    generation: u64,
}

/// A connection that was open a moment ago.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) connection: MultiplexedConnection,
    generation: u64,
    /// True once it is known to be closed; its sender is gone with the connection.
    pub(super) closed: watch::Receiver<bool>,
}

impl Link {
    fn new(client: Client, options: &Options, pushed: Option<Pushed>) -> Self {
        Self {
            client,
            connect_timeout: options.connect_timeout,
            command_timeout: options.command_timeout,
            pushed,
            state: Mutex::default(),
        }
    }

    /// The connection, made if there is none.
    pub(super) async fn open(&self) -> RedisResult<Open> {
        let mut state = self.state.lock().await;
        if let Some(open) = state.open.as_ref().filter(|open| !*open.closed.borrow()) {
            return Ok(open.clone());
        }
        if let Some((at, error)) = &state.failed
            && at.elapsed() < RETRY_AFTER
        {
            return Err(error.clone());
        }
        state.generation += 1;
        match self.connect(state.generation).await {
            Ok(open) => {
                state.open = Some(open.clone());
                state.failed = None;
                Ok(open)
            }
            Err(error) => {
                state.open = None;
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self, generation: u64) -> RedisResult<Open> {
        let (closing, closed) = watch::channel(false);
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.command_timeout))
            .set_pipeline_buffer_size(1024);
        let pushed = self.pushed.clone();
        config = config.set_push_sender(move |info: PushInfo| {
            if info.kind == PushKind::Disconnection {
                closing.send_replace(true);
            } else if let Some(pushed) = &pushed {
                pushed(info);
            }
            Ok::<(), redis::aio::SendError>(())
        });
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Open { connection, generation, closed })
    }

    /// The connection did not do what it should: it is not used again.
    pub(super) async fn give_up(&self, open: &Open) {
        let mut state = self.state.lock().await;
        if state.open.as_ref().is_some_and(|now| now.generation == open.generation) {
            state.open = None;
        }
    }
}
