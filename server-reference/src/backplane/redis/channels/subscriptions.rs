//! Keeps the subscriptions that are wanted, each once in the whole cluster, whatever happens to
//! connections and slots.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::Shared;
use crate::backplane::channels::{Channel, ChannelKind, Listening};
use crate::backplane::redis::node::{Node, Open, Pushed};

/// After a failure, until all is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// How many subscriptions are asked for at once.
const AT_ONCE: usize = 256;

/// Takes in what Redis pushes.
pub(super) fn pushed(
    listening: &Arc<Listening>,
    changed: &Arc<Notify>,
    ended: &Arc<Mutex<Vec<Channel>>>,
) -> Pushed {
    let (listening, changed, ended) = (listening.clone(), changed.clone(), ended.clone());
    Arc::new(move |info: PushInfo| {
        let mut texts = info.data.iter().map(|value| match value {
            Value::BulkString(bytes) => bytes.as_slice(),
            _ => &[],
        });
        let mut text = || texts.next().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let (subscribed, channel) = match info.kind {
            PushKind::Message => {
                let Some(name) = text() else { return };
                (Channel::plain(name), name)
            }
            PushKind::SMessage => {
                let Some(name) = text() else { return };
                (Channel::sharded(name), name)
            }
            PushKind::PMessage => {
                let (Some(pattern), Some(name)) = (text(), text()) else { return };
                (Channel::prefix(unescape(pattern)), name)
            }
            PushKind::SUnsubscribe => {
                if let Some(name) = text() {
                    ended.lock().push(Channel::sharded(name));
                    changed.notify_one();
                }
                return;
            }
            _ => return,
        };
        if let Some(message) = texts.next() {
            listening.hear(&subscribed, channel, &Bytes::copy_from_slice(message));
        }
    })
}

/// The subscriptions on one node.
struct Held {
    node: Arc<Node>,
    open: Open,
    channels: HashSet<Channel>,
}

/// Keeps subscriptions to all that is listened to.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    let mut changes = shared.cluster.changes();
    let (mut check, mut all) = (false, true);
    loop {
        if check {
            drop_dead(&mut held).await;
            // A failover elsewhere fails nothing here, but who listens there is to be counted.
            shared.cluster.glance().await;
        }
        let change = shared.changes.load(Ordering::Acquire);
        let settled = settle(&shared, &mut held, all).await;
        if settled {
            shared.confirmed.send_replace(change);
        }
        let pause = if settled { shared.options.settings.check_interval } else { PAUSE };
        let closed = held.values_mut().map(|held| {
            // Fails when the connection is gone altogether.
            held.open.closed.wait_for(|closed| *closed).map(drop).boxed()
        });
        // There must be one.
        let closed = select_all(closed.chain([std::future::pending().boxed()]));
        (check, all) = tokio::select! {
            () = shared.changed.notified() => (false, !settled),
            _ = changes.changed() => (false, true),
            _ = closed => (false, true),
            () = tokio::time::sleep(pause) => (settled, true),
        };
        if !settled {
            shared.cluster.refresh().await;
        }
    }
}

/// Gives up the connections that do not answer.
async fn drop_dead(held: &mut BTreeMap<String, Held>) {
    let ping = redis::cmd("PING");
    let asked = held.iter_mut().map(|(address, held)| async {
        let answer = held.open.connection.send_packed_command(&ping).await;
        answer.err().map(|_| address.clone())
    });
    let dead: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    for address in dead {
        give_up(held, &address).await;
    }
}

async fn give_up(held: &mut BTreeMap<String, Held>, address: &str) {
    if let Some(held) = held.remove(address) {
        held.node.subscriber.give_up(&held.open).await;
    }
}

/// Subscribes to what is missing, and ends what is not wanted, or not where it should be: of
/// `all`, or of what has changed. Returns whether that is as it should be.
async fn settle(shared: &Shared, held: &mut BTreeMap<String, Held>, all: bool) -> bool {
    let mut looked_at: HashSet<Channel> =
        std::mem::take(&mut *shared.touched.lock()).into_iter().collect();
    for ended in std::mem::take(&mut *shared.ended.lock()) {
        for held in held.values_mut() {
            held.channels.remove(&ended);
        }
        looked_at.insert(ended);
    }
    if all {
        looked_at.extend(shared.listening.channels());
        looked_at.extend(held.values().flat_map(|held| &held.channels).cloned());
    }
    let Some((wanted, mut settled)) = wanted(shared, &looked_at).await else { return false };
    // First what goes: nowhere is a subscription to be counted twice.
    let mut broken = Vec::new();
    let none = HashSet::new();
    for (address, held) in held.iter_mut() {
        let here = wanted.get(address).unwrap_or(&none);
        let unwanted = looked_at.difference(here).filter(|other| held.channels.contains(*other));
        let unwanted: Vec<_> = unwanted.cloned().collect();
        let closed = *held.open.closed.borrow();
        if closed || order(held, &unwanted, false).await.is_err() {
            broken.push(address.clone());
        }
    }
    for address in broken {
        // What else it had is subscribed to again when all is looked at.
        settled &= all;
        give_up(held, &address).await;
    }
    for (address, channels) in wanted {
        let Some(there) = connected(shared, held, &address).await else {
            settled = false;
            continue;
        };
        let missing: Vec<_> = channels.difference(&there.channels).cloned().collect();
        match order(there, &missing, true).await {
            Ok(done) => settled &= done,
            Err(NotUnderstood) => {
                settled = false;
                give_up(held, &address).await;
            }
        }
    }
    settled
}

/// Which of these channels are to be subscribed to on which node, and whether that is known of all;
/// `None` if no node is known.
async fn wanted(
    shared: &Shared,
    channels: &HashSet<Channel>,
) -> Option<(BTreeMap<String, HashSet<Channel>>, bool)> {
    shared.cluster.owner(shared.home).await.ok()?;
    let topology = shared.cluster.topology();
    let mut wanted: BTreeMap<String, HashSet<Channel>> = BTreeMap::new();
    let mut all = true;
    for channel in channels.iter().filter(|channel| shared.listening.has(channel)) {
        match topology.owner(shared.slot(channel)) {
            Some(owner) => {
                wanted.entry(owner.address.clone()).or_default().insert(channel.clone());
            }
            None => all = false,
        }
    }
    Some((wanted, all))
}

async fn connected<'a>(
    shared: &Shared,
    held: &'a mut BTreeMap<String, Held>,
    address: &str,
) -> Option<&'a mut Held> {
    if !held.contains_key(address) {
        let node = shared.cluster.node(address).ok()?;
        let open = node.subscriber.open().await.ok()?;
        held.insert(address.to_owned(), Held { node, open, channels: HashSet::new() });
    }
    held.get_mut(address)
}

/// What a connection is subscribed to is not known any more.
struct NotUnderstood;

/// Subscribes to channels, or ends subscriptions. Returns whether all was done.
async fn order(held: &mut Held, channels: &[Channel], begin: bool) -> Result<bool, NotUnderstood> {
    let mut all = true;
    for channels in channels.chunks(AT_ONCE) {
        let mut pipe = redis::pipe();
        for channel in channels {
            pipe.cmd(command(channel.kind, begin).0).arg(pattern(channel));
        }
        let answers = held.open.connection.send_packed_commands(&pipe, 0, channels.len()).await;
        for (channel, answer) in channels.iter().zip(answers.map_err(|_| NotUnderstood)?) {
            match answer {
                Value::Push { kind, .. } if kind == command(channel.kind, begin).1 => {
                    if begin {
                        held.channels.insert(channel.clone());
                    } else {
                        held.channels.remove(channel);
                    }
                }
                // The slot is elsewhere, or on its way.
                Value::ServerError(_) => all = false,
                // Redis has ended another subscription in the same moment.
                _ => return Err(NotUnderstood),
            }
        }
    }
    Ok(all)
}

/// The command that begins or ends a subscription, and how it is answered.
const fn command(kind: ChannelKind, begin: bool) -> (&'static str, PushKind) {
    match (kind, begin) {
        (ChannelKind::Plain, true) => ("SUBSCRIBE", PushKind::Subscribe),
        (ChannelKind::Plain, false) => ("UNSUBSCRIBE", PushKind::Unsubscribe),
        (ChannelKind::Prefix, true) => ("PSUBSCRIBE", PushKind::PSubscribe),
        (ChannelKind::Prefix, false) => ("PUNSUBSCRIBE", PushKind::PUnsubscribe),
        (ChannelKind::Sharded, true) => ("SSUBSCRIBE", PushKind::SSubscribe),
        (ChannelKind::Sharded, false) => ("SUNSUBSCRIBE", PushKind::SUnsubscribe),
    }
}

/// What Redis calls it.
fn pattern(channel: &Channel) -> String {
    if channel.kind != ChannelKind::Prefix {
        return channel.name.to_string();
    }
    let mut pattern = String::with_capacity(channel.name.len() + 1);
    for c in channel.name.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "*"
}

/// The prefix that a pattern stands for.
fn unescape(pattern: &str) -> String {
    let mut prefix = String::with_capacity(pattern.len());
    let mut chars = pattern.strip_suffix('*').unwrap_or(pattern).chars();
    while let Some(c) = chars.next() {
        prefix.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_survive_being_patterns() {
        for name in ["socket.io#/#", "socket.io#/[a-z]*?\\^#", "*", "\\"] {
            let pattern = pattern(&Channel::prefix(name));
            assert!(pattern.ends_with('*'), "{pattern}");
            assert_eq!(unescape(&pattern), name);
        }
        assert_eq!(pattern(&Channel::prefix("a[b]#")), r"a\[b\]#*");
        assert_eq!(pattern(&Channel::plain("a[b]#")), "a[b]#");
    }
}
