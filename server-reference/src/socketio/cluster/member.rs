//! A namespace's place among the instances that have the same one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidings_core::socketio::Namespace as Path;
use tokio::time::Instant;

use super::message::{Asked, Heard};
use super::pending::Open;
use super::{Cluster, Delivery, Message, Question, Reply, serve};
use crate::backplane::{Channel, Ear, NotCounted};
use crate::socketio::namespace::Namespace;

/// Not all instances have answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", match .missing {
    Some(missing) => format!("{missing} instances did not answer"),
    None => "it is not known how many instances did not answer".to_owned(),
})]
pub struct MissingAnswers<T> {
    /// What those have answered that did.
    pub received: Vec<T>,
    /// How many have not: they took too long, or went away. `None` if Redis could not tell how many
    /// there are, or if too many questions were unanswered to ask another one.
    pub missing: Option<usize>,
}

/// A namespace's place among the instances that have the same one.
pub(in crate::socketio) struct Member {
    cluster: Arc<Cluster>,
    path: Path,
    ear: Arc<dyn Ear>,
    has_left: AtomicBool,
}

impl Member {
    /// Joins the others that have this namespace.
    pub(in crate::socketio) fn new(cluster: &Arc<Cluster>, path: &Path) -> Arc<Self> {
        let ear = cluster.inbox.ear(path.clone());
        if let Some(channels) = &cluster.channels {
            for channel in cluster.format.channels(path.as_str()) {
                channels.subscribe(channel, Arc::clone(&ear));
            }
        }
        let (cluster, path, has_left) = (Arc::clone(cluster), path.clone(), AtomicBool::new(false));
        Arc::new(Self { cluster, path, ear, has_left })
    }

    /// Is no member any more: hears nothing of the others.
    pub(in crate::socketio) fn leave(&self) {
        if self.has_left.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(channels) = &self.cluster.channels {
            for channel in self.cluster.format.channels(self.path.as_str()) {
                channels.unsubscribe(&channel, &self.ear);
            }
        }
    }

    /// A room has its first socket here; `own`: it is named by the socket's id.
    pub(in crate::socketio) fn room_begins(&self, room: &str, own: bool) {
        let channel = self.cluster.format.room_channel(self.path.as_str(), room, own);
        if let (Some(channels), Some(channel)) = (&self.cluster.channels, channel) {
            channels.subscribe(channel, Arc::clone(&self.ear));
        }
    }

    /// A room has no socket here any more.
    pub(in crate::socketio) fn room_ends(&self, room: &str, own: bool) {
        let channel = self.cluster.format.room_channel(self.path.as_str(), room, own);
        if let (Some(channels), Some(channel)) = (&self.cluster.channels, channel) {
            channels.unsubscribe(&channel, &self.ear);
        }
    }

    /// Whether there may be others.
    fn has_others(&self) -> bool {
        self.cluster.channels.as_ref().is_some_and(|channels| channels.has_others())
    }

    /// Whether members can be asked for their rooms.
    pub(in crate::socketio) fn knows_rooms(&self) -> bool {
        self.cluster.format.knows_rooms()
    }

    /// How long others have to answer.
    pub(in crate::socketio) fn request_timeout(&self) -> Duration {
        self.cluster.request_timeout
    }

    /// Tells the others, if there can be any. `message` is made only then.
    pub(in crate::socketio) fn tell(&self, message: impl FnOnce() -> Message) {
        if self.has_others() {
            self.publish(self.cluster.format.message(self.path.as_str(), &message()));
        }
    }

    fn publish(&self, (channel, message): (Channel, Bytes)) {
        if let Some(channels) = &self.cluster.channels {
            self.cluster.counts.told.add(1);
            channels.publish(channel, message);
        }
    }

    /// How many others there are.
    pub(in crate::socketio) async fn others(&self) -> Result<usize, NotCounted> {
        match &self.cluster.channels {
            Some(channels) if channels.has_others() => {
                let counted = channels.count(self.cluster.format.members(self.path.as_str()));
                Ok(counted.await?.saturating_sub(1))
            }
            _ => Ok(0),
        }
    }

    /// Asks the others; `None` if too many questions are unanswered.
    pub(in crate::socketio) fn ask(&self, question: Question) -> Option<Open> {
        let open = self.cluster.pending.open()?;
        self.tell(|| Message::Ask { request: open.id.clone(), question });
        Some(open)
    }

    /// Asks the others, and waits until each has given an answer that `read` takes.
    pub(in crate::socketio) async fn gather<T>(
        &self,
        question: Question,
        limit: Duration,
        read: impl Fn(Reply) -> Option<T>,
    ) -> Result<Vec<T>, MissingAnswers<T>> {
        let until = Instant::now() + limit;
        let nobody = || MissingAnswers { received: Vec::new(), missing: None };
        let others = tokio::time::timeout_at(until, self.others()).await;
        let others = others.map_err(|_elapsed| nobody())?.map_err(|error| {
            tracing::warn!(%error, "the other instances were not asked");
            nobody()
        })?;
        let mut received = Vec::new();
        if others == 0 {
            return Ok(received);
        }
        let mut open = self.ask(question).ok_or_else(nobody)?;
        while received.len() < others {
            match tokio::time::timeout_at(until, open.replies.recv()).await {
                Ok(Some(reply)) => received.extend(read(reply)),
                Ok(None) | Err(_) => {
                    let missing = Some(others - received.len());
                    return Err(MissingAnswers { received, missing });
                }
            }
        }
        Ok(received)
    }

    /// Answers a question of another member.
    pub(super) fn reply(&self, asked: &Asked, reply: &Reply) {
        if let Some(reply) = self.cluster.format.reply(self.path.as_str(), asked, reply) {
            self.publish(reply);
        }
    }

    /// Something has come for the namespace.
    pub(super) fn heard(self: &Arc<Self>, namespace: &Namespace, delivery: &Delivery) {
        let Cluster { format, pending, counts, .. } = &*self.cluster;
        let Delivery { channel, message, .. } = delivery;
        let path = self.path.as_str();
        if format.room_of(path, channel).is_some_and(|room| !namespace.has_room(room)) {
            return;
        }
        match format.read(path, channel, message) {
            Ok(Some(Heard::Message { from, message })) => {
                serve::obey(self, namespace, from, message);
            }
            Ok(Some(Heard::Reply { request, reply })) => {
                pending.answered(&request, reply, message.len());
            }
            Ok(None) => {}
            Err(error) => counts.not_understood.add(|number| {
                let what = "a message of another instance is not understood";
                tracing::warn!(number, channel, %error, what);
            }),
        }
    }

    /// Runs `work` for another member, unless too much is done for others already.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        match Arc::clone(&self.cluster.serving).try_acquire_owned() {
            Ok(permit) => {
                tokio::spawn(async move {
                    work.await;
                    drop(permit);
                });
            }
            Err(_) => self.cluster.counts.not_answered.add(|number| {
                tracing::warn!(number, "other instances ask too much: a question was not answered");
            }),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("path", &self.path).finish_non_exhaustive()
    }
}
