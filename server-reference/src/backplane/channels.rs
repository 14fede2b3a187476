//! Named channels: what instances tell each other besides the log, at most once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;

/// How a channel is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChannelKind {
    /// By every node: Redis' `PUBLISH` and `SUBSCRIBE`.
    Plain,
    /// Not one, but all plain channels whose names begin with this name: `PSUBSCRIBE`. Nothing can
    /// be published to it.
    Prefix,
    /// By the node that has its slot: `SPUBLISH` and `SSUBSCRIBE`.
    Sharded,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel {
    /// How it is carried.
    pub kind: ChannelKind,
    /// What it is called.
    pub name: Arc<str>,
}

impl Channel {
    /// A plain channel.
    pub fn plain(name: impl Into<Arc<str>>) -> Self {
        Self { kind: ChannelKind::Plain, name: name.into() }
    }

    /// All plain channels whose names begin with this one.
    pub fn prefix(name: impl Into<Arc<str>>) -> Self {
        Self { kind: ChannelKind::Prefix, name: name.into() }
    }

    /// A sharded channel.
    pub fn sharded(name: impl Into<Arc<str>>) -> Self {
        Self { kind: ChannelKind::Sharded, name: name.into() }
    }
}

/// Gets what is published to channels.
pub trait Ear: Send + Sync {
    /// A message came by this channel. Must not block.
    fn hear(&self, channel: &str, message: Bytes);
}

/// It cannot be told how many listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be told how many listen to {channel}: {why}")]
pub struct NotCounted {
    /// To which channel.
    pub channel: Arc<str>,
    /// Why.
    pub why: String,
}

/// Channels that instances, and others, share. Messages come at most once, those of one publisher
/// and channel in order.
pub trait Channels: Send + Sync + 'static {
    /// Whether somebody else may listen.
    fn has_others(&self) -> bool {
        true
    }

    /// Tells all who listen to the channel, this instance included.
    fn publish(&self, channel: Channel, message: Bytes);

    /// `ear` hears the channel from soon on, each message once, however often it subscribes.
    fn subscribe(&self, channel: Channel, ear: Arc<dyn Ear>);

    /// `ear` does not hear the channel any more, once it has unsubscribed as often as subscribed.
    fn unsubscribe(&self, channel: &Channel, ear: &Arc<dyn Ear>);

    /// How many instances listen to the channel, this one included; it is certain that this one
    /// hears what it has subscribed to before.
    fn count(&self, channel: Channel) -> BoxFuture<'static, Result<usize, NotCounted>>;
}

/// Who listens to what in this process.
#[derive(Default)]
pub(super) struct Listening {
    ears: RwLock<HashMap<Channel, Vec<Listener>>>,
}

struct Listener {
    ear: Arc<dyn Ear>,
    /// How often it has subscribed, less how often it has unsubscribed.
    times: usize,
}

impl Listening {
    /// Returns whether nobody listened to the channel before.
    pub(super) fn add(&self, channel: Channel, ear: Arc<dyn Ear>) -> bool {
        let mut ears = self.ears.write();
        let ears = ears.entry(channel).or_default();
        match ears.iter_mut().find(|known| Arc::ptr_eq(&known.ear, &ear)) {
            Some(known) => known.times += 1,
            None => ears.push(Listener { ear, times: 1 }),
        }
        ears.iter().map(|known| known.times).sum::<usize>() == 1
    }

    /// Returns whether nobody listens to the channel any more.
    pub(super) fn remove(&self, channel: &Channel, ear: &Arc<dyn Ear>) -> bool {
        let mut all = self.ears.write();
        let Some(ears) = all.get_mut(channel) else { return false };
        if let Some(known) = ears.iter_mut().find(|known| Arc::ptr_eq(&known.ear, ear)) {
            known.times -= 1;
        }
        ears.retain(|known| known.times > 0);
        let last = ears.is_empty();
        if last {
            all.remove(channel);
        }
        last
    }

    /// Whether somebody listens to the channel.
    pub(super) fn has(&self, channel: &Channel) -> bool {
        self.ears.read().contains_key(channel)
    }

    /// All that is listened to.
    pub(super) fn channels(&self) -> Vec<Channel> {
        self.ears.read().keys().cloned().collect()
    }

    /// A message came for those who listen to `subscribed`.
    pub(super) fn hear(&self, subscribed: &Channel, channel: &str, message: &Bytes) {
        for known in self.ears.read().get(subscribed).into_iter().flatten() {
            known.ear.hear(channel, message.clone());
        }
    }
}

/// Channels within this process, for the servers in it that share a backplane in memory.
#[derive(Default)]
pub(super) struct MemoryChannels {
    listening: Listening,
    /// Whether a channel has ever had two ears.
    is_shared: AtomicBool,
}

impl Channels for MemoryChannels {
    fn has_others(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    fn publish(&self, channel: Channel, message: Bytes) {
        self.listening.hear(&channel, &channel.name, &message);
        if channel.kind != ChannelKind::Plain {
            return;
        }
        for other in self.listening.channels() {
            if other.kind == ChannelKind::Prefix && channel.name.starts_with(&*other.name) {
                self.listening.hear(&other, &channel.name, &message);
            }
        }
    }

    fn subscribe(&self, channel: Channel, ear: Arc<dyn Ear>) {
        self.listening.add(channel.clone(), ear);
        if self.listening.ears.read().get(&channel).is_some_and(|ears| ears.len() > 1) {
            self.is_shared.store(true, Ordering::Relaxed);
        }
    }

    fn unsubscribe(&self, channel: &Channel, ear: &Arc<dyn Ear>) {
        self.listening.remove(channel, ear);
    }

    fn count(&self, channel: Channel) -> BoxFuture<'static, Result<usize, NotCounted>> {
        let count = self.listening.ears.read().get(&channel).map_or(0, Vec::len);
        Box::pin(std::future::ready(Ok(count)))
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(String, Bytes)>>);

    impl Ear for Heard {
        fn hear(&self, channel: &str, message: Bytes) {
            self.0.lock().push((channel.to_owned(), message));
        }
    }

    #[test]
    fn each_ear_hears_what_it_listens_to_as_long_as_it_does() {
        let channels = MemoryChannels::default();
        let ears = [Arc::new(Heard::default()), Arc::new(Heard::default())];
        let all = ears.clone().map(|ear| ear as Arc<dyn Ear>);
        channels.subscribe(Channel::prefix("a#"), Arc::clone(&all[0]));
        assert!(!channels.has_others());
        channels.subscribe(Channel::plain("a#b"), Arc::clone(&all[0]));
        channels.subscribe(Channel::plain("a#b"), Arc::clone(&all[1]));
        assert!(channels.has_others());
        channels.publish(Channel::plain("a#b"), "1".into());
        channels.publish(Channel::sharded("a#b"), "no".into());
        channels.unsubscribe(&Channel::plain("a#b"), &all[0]);
        channels.publish(Channel::plain("a#b"), "2".into());
        let heard = ears.map(|ear| ear.0.lock().len());
        assert_eq!(heard, [3, 2]);
    }
}
