//! Redis' pub/sub as channels, with connections of its own: the log does not wait behind them.

mod publisher;
mod subscriptions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use redis::{Client, ErrorKind, RedisError, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use super::cluster::Cluster;
use super::health::Health;
use super::keys;
use super::options::Options;
use crate::backplane::channels::{Channel, ChannelKind, Channels, Ear, Listening, NotCounted};
use crate::stats::Mishaps;

/// How long replicas have to say how many listen there. Few clients of Redis subscribe to any.
const REPLICAS_ANSWER: Duration = Duration::from_millis(250);

/// The channels of a cluster, or a single Redis.
pub(super) struct RedisChannels {
    shared: Arc<Shared>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    tasks: [AbortHandle; 2],
}

struct Shared {
    options: Arc<Options>,
    cluster: Cluster,
    listening: Arc<Listening>,
    /// What is listened to has changed, or a subscription was lost.
    changed: Arc<Notify>,
    /// What somebody has begun or ceased to listen to since it was last looked at.
    touched: Mutex<Vec<Channel>>,
    /// Subscriptions that Redis has ended, as it does when a slot moves.
    ended: Arc<Mutex<Vec<Channel>>>,
    /// How often what is listened to has changed, and how many of these changes Redis has confirmed.
    changes: AtomicU64,
    confirmed: watch::Sender<u64>,
    /// Bytes of messages that wait to be published.
    waiting: AtomicUsize,
    /// Messages that were not published.
    lost: Mishaps,
    /// All plain channels are published and subscribed to on the node that has this slot.
    home: u16,
}

/// How many listen, on the nodes that answered, and whether a master did not.
struct Counted {
    listeners: RedisResult<usize>,
    missing: bool,
}

/// A message that waits to be published.
struct Outgoing {
    channel: Channel,
    message: Bytes,
    since: Instant,
}

impl RedisChannels {
    pub(super) fn new(options: &Arc<Options>, seeds: Vec<Client>, runtime: &Handle) -> Self {
        let (listening, changed) = (Arc::<Listening>::default(), Arc::<Notify>::default());
        let ended = Arc::<Mutex<Vec<Channel>>>::default();
        let pushed = subscriptions::pushed(&listening, &changed, &ended);
        let health = Arc::new(Health::new());
        let shared = Arc::new(Shared {
            options: Arc::clone(options),
            cluster: Cluster::new(Arc::clone(options), seeds, pushed, health),
            listening,
            changed,
            touched: Mutex::default(),
            ended,
            changes: AtomicU64::new(0),
            confirmed: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            lost: Mishaps::default(),
            home: keys::slot(&options.tag),
        });
        let (outgoing, waiting) = mpsc::unbounded_channel();
        let publish = runtime.spawn(publisher::publish(Arc::clone(&shared), waiting));
        let subscribe = runtime.spawn(subscriptions::keep(Arc::clone(&shared)));
        Self { shared, outgoing, tasks: [publish.abort_handle(), subscribe.abort_handle()] }
    }
}

impl Drop for RedisChannels {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Shared {
    fn slot(&self, channel: &Channel) -> u16 {
        match channel.kind {
            ChannelKind::Plain | ChannelKind::Prefix => self.home,
            ChannelKind::Sharded => keys::slot(&channel.name),
        }
    }

    fn touch(&self, channel: Channel) {
        self.touched.lock().push(channel);
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// How many listen on all nodes together.
    async fn count(&self, channel: &Channel) -> RedisResult<usize> {
        let changes = self.changes.load(Ordering::Acquire);
        let mut confirmed = self.confirmed.subscribe();
        let confirmed = confirmed.wait_for(|confirmed| *confirmed >= changes);
        let late =
            || RedisError::from((ErrorKind::Client, "Redis has not confirmed subscriptions"));
        let confirmed = tokio::time::timeout(self.options.command_timeout, confirmed).await;
        confirmed.map_err(|_elapsed| late())?.map_err(|_gone| late())?;
        self.cluster.owner(self.slot(channel)).await?;
        let counted = self.count_everywhere(channel).await;
        if !counted.missing {
            return counted.listeners;
        }
        // The master may have been replaced.
        self.cluster.refresh().await;
        self.count_everywhere(channel).await.listeners
    }

    async fn count_everywhere(&self, channel: &Channel) -> Counted {
        let topology = self.cluster.topology();
        let mut masters: Vec<_> = topology.masters().collect();
        masters.sort_unstable();
        masters.dedup();
        let mut replicas: Vec<_> =
            topology.addresses().filter(|address| !masters.contains(address)).collect();
        replicas.sort_unstable();
        replicas.dedup();
        let masters = join_all(masters.into_iter().map(|node| self.count_on(node, channel)));
        let replicas = join_all(replicas.into_iter().map(|node| async move {
            let counted = self.count_on(node, channel);
            tokio::time::timeout(REPLICAS_ANSWER, counted).await.ok()?.ok()
        }));
        let (masters, replicas) = tokio::join!(masters, replicas);
        let answered = masters.iter().any(Result::is_ok);
        let error = masters.iter().find_map(|counted| counted.as_ref().err().cloned());
        let missing = error.is_some();
        let listeners = match error {
            Some(error) if !answered => Err(error),
            _ => Ok(masters.into_iter().flatten().chain(replicas.into_iter().flatten()).sum()),
        };
        Counted { listeners, missing }
    }

    async fn count_on(&self, address: &str, channel: &Channel) -> RedisResult<usize> {
        let question = match channel.kind {
            ChannelKind::Sharded => "SHARDNUMSUB",
            ChannelKind::Plain | ChannelKind::Prefix => "NUMSUB",
        };
        let command = redis::cmd("PUBSUB").arg(question).arg(&*channel.name).to_owned();
        let node = self.cluster.node(address)?;
        let mut open = node.commands.open().await?;
        let answer = open.connection.send_packed_command(&command).await;
        match answer.and_then(Value::extract_error) {
            Ok(Value::Array(pair)) => match pair.as_slice() {
                [_, Value::Int(count)] => Ok(usize::try_from(*count).unwrap_or(0)),
                _ => Err(RedisError::from((ErrorKind::Parse, "the count is not understood"))),
            },
            Ok(_) => Err(RedisError::from((ErrorKind::Parse, "the count is not understood"))),
            Err(error) => {
                if error.is_io_error() {
                    node.commands.give_up(&open).await;
                }
                Err(error)
            }
        }
    }
}

impl Channels for RedisChannels {
    fn publish(&self, channel: Channel, message: Bytes) {
        let size = message.len();
        let before = self.shared.waiting.fetch_add(size, Ordering::Relaxed);
        if before > 0 && before + size > self.shared.options.buffer {
            self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
            self.shared.lost.add(|lost| {
                let channel = &*channel.name;
                tracing::warn!(lost, channel, "Redis is slow or away: a message was lost");
            });
            return;
        }
        // Fails only when the runtime is going away.
        let _ = self.outgoing.send(Outgoing { channel, message, since: Instant::now() });
    }

    fn subscribe(&self, channel: Channel, ear: Arc<dyn Ear>) {
        if self.shared.listening.add(channel.clone(), ear) {
            self.shared.touch(channel);
        }
    }

    fn unsubscribe(&self, channel: &Channel, ear: &Arc<dyn Ear>) {
        if self.shared.listening.remove(channel, ear) {
            self.shared.touch(channel.clone());
        }
    }

    fn count(&self, channel: Channel) -> BoxFuture<'static, Result<usize, NotCounted>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let not_counted = |why: RedisError| NotCounted {
                channel: Arc::clone(&channel.name),
                why: why.to_string(),
            };
            shared.count(&channel).await.map_err(not_counted)
        })
    }
}
