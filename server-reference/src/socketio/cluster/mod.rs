//! The same namespaces on several instances: what one emits reaches the sockets of all.
//!
//! A namespace's [`Member`] is its place among the instances, and Node servers, that have the same
//! one. Members tell each other over the backplane's channels, each message at most once: what has
//! to arrive belongs on the bus. [`message`] has what they say, [`classic`] and [`sharded`] how it
//! is written; [`serve`] does what others want.

mod classic;
mod counts;
mod document;
mod inbox;
mod member;
mod message;
mod pending;
mod serve;
mod sharded;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use self::classic::Classic;
use self::counts::Counts;
pub use self::counts::MembersStats;
use self::inbox::{Delivery, Inbox};
pub(in crate::socketio) use self::member::Member;
pub use self::member::MissingAnswers;
use self::message::Format;
pub(in crate::socketio) use self::message::{Details, Message, Question, Reply};
use self::pending::Pending;
pub(in crate::socketio) use self::serve::details;
use self::sharded::Sharded;
use super::namespaces::Namespaces;
use crate::backplane::Channels;
use crate::config::{Config, NodeAdapter, NodeAdapterKind, NodeAdapterMode};
use crate::ids::{random_hex, random_id};

/// The way to the other instances.
pub(crate) struct Cluster {
    channels: Option<Arc<dyn Channels>>,
    adapter: NodeAdapterKind,
    counts: Arc<Counts>,
    format: Box<dyn Format>,
    pending: Arc<Pending>,
    /// How many questions of others may still be worked on at once.
    serving: Arc<Semaphore>,
    request_timeout: Duration,
    inbox: Arc<Inbox>,
    /// Taken by who handles what comes.
    deliveries: Mutex<Option<mpsc::UnboundedReceiver<Delivery>>>,
    runtime: Option<Handle>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("uid", &self.format.uid()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// The instances reached by `channels`, and the Node servers if the configuration says so.
    pub(crate) fn new(config: &Config, channels: Option<Arc<dyn Channels>>) -> Arc<Self> {
        let settings = &config.node_adapter;
        let counts = Arc::<Counts>::default();
        let (inbox, deliveries) =
            Inbox::new(settings.max_message, settings.max_waiting, Arc::clone(&counts));
        Arc::new(Self {
            channels,
            adapter: settings.kind,
            counts,
            format: format(config),
            pending: Pending::new(settings.max_requests, settings.max_answers),
            serving: Arc::new(Semaphore::new(settings.max_requests)),
            request_timeout: settings.request_timeout,
            inbox,
            deliveries: Mutex::new(Some(deliveries)),
            runtime: Handle::try_current().ok(),
        })
    }

    pub(super) fn stats(&self) -> MembersStats {
        self.counts.stats(self.adapter)
    }

    /// Does what others tell, for as long as `namespaces` are there. The first call counts.
    pub(super) fn listen(self: &Arc<Self>, namespaces: &Arc<Namespaces>) {
        let Some(runtime) = &self.runtime else { return };
        let Some(mut deliveries) = self.deliveries.lock().take() else { return };
        let inbox = Arc::clone(&self.inbox);
        let namespaces: Weak<Namespaces> = Arc::downgrade(namespaces);
        runtime.spawn(async move {
            while let Some(delivery) = deliveries.recv().await {
                inbox.taken(&delivery);
                let Some(namespaces) = namespaces.upgrade() else { return };
                // A namespace that is not here any more has no sockets here.
                if let Some(namespace) = namespaces.known(&delivery.namespace) {
                    namespace.member().heard(&namespace, &delivery);
                }
            }
        });
    }
}

fn format(config: &Config) -> Box<dyn Format> {
    let settings = &config.node_adapter;
    match settings.kind {
        NodeAdapterKind::Classic => {
            Box::new(Classic::new(random_id().chars().take(6).collect(), settings))
        }
        NodeAdapterKind::Sharded => {
            Box::new(Sharded::new(random_hex(16), settings.prefix.clone(), settings))
        }
        NodeAdapterKind::Off => {
            // One channel for each namespace keeps the order of all that is told in it.
            let settings = NodeAdapter { mode: NodeAdapterMode::Static, ..settings.clone() };
            let prefix = format!("{}:socketio", config.redis.prefix);
            Box::new(Sharded::new(random_hex(16), prefix, &settings))
        }
    }
}
