//! What other members tell, until it is handled: in order, and bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tidings_core::socketio::Namespace as Path;
use tokio::sync::mpsc;

use super::counts::Counts;
use crate::backplane::Ear;

/// Where messages wait.
pub(super) struct Inbox {
    sender: mpsc::UnboundedSender<Delivery>,
    /// Bytes that wait.
    waiting: AtomicUsize,
    max_message: usize,
    max_waiting: usize,
    counts: Arc<Counts>,
}

/// A message that waits.
pub(super) struct Delivery {
    pub(super) namespace: Path,
    pub(super) channel: String,
    pub(super) message: Bytes,
}

impl Inbox {
    pub(super) fn new(
        max_message: usize,
        max_waiting: usize,
        counts: Arc<Counts>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Delivery>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = AtomicUsize::new(0);
        (Arc::new(Self { sender, waiting, max_message, max_waiting, counts }), receiver)
    }

    /// Hears what comes for a namespace.
    pub(super) fn ear(self: &Arc<Self>, namespace: Path) -> Arc<dyn Ear> {
        Arc::new(NamespaceEar { inbox: Arc::clone(self), namespace })
    }

    /// A message was taken out.
    pub(super) fn taken(&self, delivery: &Delivery) {
        self.waiting.fetch_sub(delivery.message.len(), Ordering::Relaxed);
    }

    fn put(&self, delivery: Delivery) {
        let size = delivery.message.len();
        if size > self.max_message {
            let (channel, max) = (delivery.channel, self.max_message);
            self.counts.lost.add(|lost| {
                tracing::warn!(
                    lost,
                    channel,
                    size,
                    max,
                    "a message of another instance is too large"
                );
            });
            return;
        }
        if self.waiting.fetch_add(size, Ordering::Relaxed) + size > self.max_waiting {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            self.counts.lost.add(|lost| {
                tracing::warn!(lost, "messages of other instances come too fast: one was lost");
            });
            return;
        }
        self.counts.heard.add(1);
        // Fails when nobody takes anything out any more.
        let _ = self.sender.send(delivery);
    }
}

struct NamespaceEar {
    inbox: Arc<Inbox>,
    namespace: Path,
}

impl Ear for NamespaceEar {
    fn hear(&self, channel: &str, message: Bytes) {
        let (namespace, channel) = (self.namespace.clone(), channel.to_owned());
        self.inbox.put(Delivery { namespace, channel, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_lost() {
        let (inbox, mut receiver) = Inbox::new(4, 6, Arc::default());
        let ear = inbox.ear(Path::MAIN);
        for message in ["large", "four", "two", "2"] {
            ear.hear("c", message.into());
        }
        let mut taken = Vec::new();
        while let Ok(delivery) = receiver.try_recv() {
            inbox.taken(&delivery);
            taken.push(delivery.message);
        }
        assert_eq!(taken, ["four", "2"]);
        assert_eq!((inbox.counts.heard.get(), inbox.counts.lost.get()), (2, 2));
        ear.hear("c", "two".into());
        assert!(receiver.try_recv().is_ok());
    }
}
