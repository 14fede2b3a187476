//! Publishes messages: in order, many at once, each at most once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{ErrorKind, RedisResult, ServerErrorKind, Value};
use tokio::sync::mpsc;

use super::{Outgoing, Shared};
use crate::backplane::channels::ChannelKind;

/// How many messages are on their way to Redis at once.
const AT_ONCE: usize = 256;

/// Between two attempts to reach a node.
const PAUSE: Duration = Duration::from_millis(100);

/// Publishes what waits, for as long as it can come.
pub(super) async fn publish(shared: Arc<Shared>, mut waiting: mpsc::UnboundedReceiver<Outgoing>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {
        let bytes: usize = batch.iter().map(|outgoing| outgoing.message.len()).sum();
        let mut left = std::mem::take(&mut batch);
        while !left.is_empty() {
            left = attempt(&shared, left).await;
            left.retain(|outgoing| {
                let fresh = outgoing.since.elapsed() < shared.options.settings.publish_timeout;
                if !fresh {
                    let channel = &*outgoing.channel.name;
                    shared.lost.add(|lost| {
                        tracing::warn!(lost, channel, "Redis is away: a message was lost");
                    });
                }
                fresh
            });
            if !left.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Publishes messages; returns those that certainly were not.
async fn attempt(shared: &Shared, messages: Vec<Outgoing>) -> Vec<Outgoing> {
    if shared.cluster.owner(shared.home).await.is_err() {
        return messages;
    }
    let topology = shared.cluster.topology();
    let mut by_node: BTreeMap<String, Vec<Outgoing>> = BTreeMap::new();
    let mut left = Vec::new();
    for outgoing in messages {
        match topology.owner(shared.slot(&outgoing.channel)) {
            Some(owner) => by_node.entry(owner.address.clone()).or_default().push(outgoing),
            None => left.push(outgoing),
        }
    }
    let sent = by_node.iter().map(|(address, messages)| send(shared, address, messages));
    let answers = join_all(sent).await;
    let mut misled = false;
    for ((address, messages), answers) in by_node.into_iter().zip(answers) {
        match answers {
            Sent::Answered(answers) => {
                for (outgoing, answer) in messages.into_iter().zip(answers) {
                    match answer.extract_error() {
                        Ok(_) => {}
                        Err(error) if is_elsewhere(&error) => left.push(outgoing),
                        Err(error) => tracing::warn!(%error, "a message was not published"),
                    }
                }
            }
            Sent::Not => left.extend(messages),
            Sent::Unknown(error) => {
                let count = messages.len();
                tracing::warn!(%error, address, count, "messages may not have been published");
                misled = true;
            }
        }
    }
    if misled || !left.is_empty() {
        shared.cluster.refresh().await;
    }
    left
}

fn is_elsewhere(error: &redis::RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, MasterDown, Moved, TryAgain};
    matches!(error.kind(), ErrorKind::Server(Moved | Ask | TryAgain | ClusterDown | MasterDown))
}

enum Sent {
    Answered(Vec<Value>),
    /// There is no connection.
    Not,
    /// The connection broke before all answers came.
    Unknown(redis::RedisError),
}

async fn send(shared: &Shared, address: &str, messages: &[Outgoing]) -> Sent {
    let opened: RedisResult<_> = async {
        let node = shared.cluster.node(address)?;
        let open = node.commands.open().await?;
        Ok((node, open))
    }
    .await;
    let Ok((node, mut open)) = opened else { return Sent::Not };
    let mut pipe = redis::pipe();
    for Outgoing { channel, message, .. } in messages {
        let command = if channel.kind == ChannelKind::Sharded { "SPUBLISH" } else { "PUBLISH" };
        pipe.cmd(command).arg(&*channel.name).arg(&message[..]);
    }
    match open.connection.send_packed_commands(&pipe, 0, messages.len()).await {
        Ok(answers) => Sent::Answered(answers),
        Err(error) => {
            if error.is_io_error() {
                node.commands.give_up(&open).await;
            }
            Sent::Unknown(error)
        }
    }
}
