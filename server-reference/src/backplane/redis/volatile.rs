//! Volatile events on their way to other instances: now or never.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::Inner;

/// How many wait at most; those that come while it is full are dropped.
const WAITING: usize = 4096;

/// How many are on their way to Redis at once.
const AT_ONCE: usize = 64;

/// Where volatile events wait until they are sent.
pub(super) struct Volatile(mpsc::Sender<(u16, Vec<u8>)>);

/// Volatile events to be sent: the partition and the message.
pub(super) type Outgoing = mpsc::Receiver<(u16, Vec<u8>)>;

impl Volatile {
    pub(super) fn new() -> (Self, Outgoing) {
        let (sender, outgoing) = mpsc::channel(WAITING);
        (Self(sender), outgoing)
    }

    /// Sends a message to the other instances that want the partition, if there is room.
    pub(super) fn push(&self, partition: u16, message: Vec<u8>) {
        // Full means that Redis is slow or away: volatile events are then lost, as they may be.
        let _ = self.0.try_send((partition, message));
    }
}

/// Sends what waits, for as long as the backplane lives.
pub(super) async fn send(inner: Arc<Inner>, outgoing: Outgoing) {
    let outgoing = futures_util::stream::unfold(outgoing, |mut outgoing| async move {
        outgoing.recv().await.map(|next| (next, outgoing))
    });
    outgoing
        .for_each_concurrent(AT_ONCE, |(number, message)| {
            let inner = &inner;
            async move {
                let Some(partition) = inner.partitions.get(usize::from(number)) else { return };
                let Some(owner) = inner.cluster.topology().owner(partition.slot).cloned() else {
                    return;
                };
                // What fails is lost; the calls of others notice what is wrong and see to it.
                let _ = inner.cluster.pass_on(&owner.address, &partition.channel, &message).await;
            }
        })
        .await;
}
