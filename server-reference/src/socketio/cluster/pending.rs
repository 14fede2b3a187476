//! Questions to other members that are not answered yet.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::message::Reply;
use crate::ids::random_id;

/// The questions of this member by their ids.
#[derive(Debug)]
pub(super) struct Pending {
    questions: Mutex<HashMap<String, Question>>,
    max_questions: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Question {
    replies: mpsc::UnboundedSender<Reply>,
    /// How many bytes the answers may still have.
    room: usize,
}

/// A question that was asked. Nothing is remembered of it once this is dropped.
pub(in crate::socketio) struct Open {
    pub(super) id: String,
    pub(in crate::socketio) replies: mpsc::UnboundedReceiver<Reply>,
    pending: Arc<Pending>,
}

impl Pending {
    /// At most so many questions at once, each with answers of so many bytes.
    pub(super) fn new(max_questions: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { questions: Mutex::default(), max_questions, max_bytes })
    }

    /// A new question; `None` if there are too many.
    pub(super) fn open(self: &Arc<Self>) -> Option<Open> {
        let (sender, replies) = mpsc::unbounded_channel();
        let mut questions = self.questions.lock();
        if questions.len() >= self.max_questions {
            return None;
        }
        let id = random_id();
        questions.insert(id.clone(), Question { replies: sender, room: self.max_bytes });
        Some(Open { id, replies, pending: Arc::clone(self) })
    }

    /// An answer of `bytes` bytes has come. Nobody may wait for it any more.
    pub(super) fn answered(&self, id: &str, reply: Reply, bytes: usize) {
        let mut questions = self.questions.lock();
        let Some(question) = questions.get_mut(id) else { return };
        match question.room.checked_sub(bytes) {
            Some(left) => {
                question.room = left;
                // Fails when nobody waits any more.
                let _ = question.replies.send(reply);
            }
            None => tracing::warn!("an answer was lost: node_adapter.max_answers is reached"),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pending.questions.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_bounded() {
        let pending = Pending::new(1, 10);
        let mut open = pending.open().expect("room for one");
        assert!(pending.open().is_none());
        pending.answered(&open.id, Reply::Clients(1), 10);
        pending.answered(&open.id, Reply::Clients(2), 1);
        pending.answered("other", Reply::Clients(3), 1);
        assert_eq!(open.replies.try_recv(), Ok(Reply::Clients(1)));
        assert!(open.replies.try_recv().is_err(), "the rest was too much");
        drop(open);
        assert!(pending.open().is_some());
    }
}
