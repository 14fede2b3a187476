//! Events that clients are to acknowledge, here and on other instances.

use tidings_core::socketio::Args;
use tokio::sync::mpsc;

use super::broadcast::{Flags, Frames};
use super::cluster::{Member, Question, Reply};
use super::namespace::Namespace;
use super::socket::Socket;

/// An event on its way to sockets of this instance, whose clients are to acknowledge it. When it is
/// dropped nobody waits for that any more.
pub(super) struct SentHere {
    pub(super) sockets: Vec<Socket>,
    id: u64,
}

impl SentHere {
    /// Sends it. What clients answer comes from the receiver, until none can come any more.
    pub(super) fn send(
        namespace: &Namespace,
        sockets: Vec<Socket>,
        args: Args,
        flags: Flags,
    ) -> (Self, mpsc::Receiver<Args>) {
        let id = namespace.next_ack();
        // One place for each answer, so that no client has to wait.
        let (answer, answers) = mpsc::channel(sockets.len().max(1));
        for socket in &sockets {
            socket.acks().expect(id, answer.clone());
        }
        let mut frames = Frames::new(namespace, Some(id), args, None);
        for socket in &sockets {
            frames.push(socket, flags);
        }
        sockets.iter().for_each(Socket::flush);
        (Self { sockets, id }, answers)
    }
}

impl Drop for SentHere {
    fn drop(&mut self) {
        self.sockets.iter().for_each(|socket| socket.acks().forget(self.id));
    }
}

/// What comes of an event that the clients of other instances are to acknowledge.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// How many instances there are; `None` if Redis could not tell.
    pub(super) instances: Option<usize>,
    /// How many of them have told how many of their clients got it.
    pub(super) counted: usize,
    /// How many clients got it, as far as they have told.
    pub(super) clients: usize,
    /// What clients have acknowledged with.
    pub(super) answers: Vec<Args>,
}

impl Elsewhere {
    /// Nothing comes from elsewhere.
    pub(super) fn nothing() -> Self {
        Self { instances: Some(0), ..Self::default() }
    }

    /// Asks the other instances, and collects what they say until all has come.
    pub(super) async fn collect(&mut self, member: &Member, question: Question) {
        match member.others().await {
            Ok(others) => self.instances = Some(others),
            Err(error) => tracing::warn!(%error, "not all acknowledgements can be told from some"),
        }
        let Some(mut open) = member.ask(question).filter(|_| !self.is_complete()) else { return };
        while !self.is_complete() {
            match open.replies.recv().await {
                Some(Reply::Clients(clients)) => {
                    self.counted += 1;
                    self.clients = self.clients.saturating_add(clients);
                }
                Some(Reply::Acknowledged(answer)) => self.answers.push(answer),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.instances == Some(self.counted) && self.answers.len() >= self.clients
    }

    /// How many instances have not told how many of their clients got it.
    pub(super) fn silent(&self) -> Option<usize> {
        Some(self.instances?.saturating_sub(self.counted))
    }
}
