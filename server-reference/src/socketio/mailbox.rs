//! Handlers of one socket run one after the other, in the order of what they handle.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::socket::Socket;

/// Something to be done for a socket.
pub(super) type Job = BoxFuture<'static, ()>;

/// What waits to be done for one socket. While there is nothing, there is no task either.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Whether a task works on them.
    worked_on: bool,
}

impl Mailbox {
    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        self.0.lock().jobs.len()
    }

    /// Puts a job behind those that wait. Returns whether a task has to be started to work on
    /// them.
    fn push(&self, job: Job) -> bool {
        let mut queue = self.0.lock();
        queue.jobs.push_back(job);
        !std::mem::replace(&mut queue.worked_on, true)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.0.lock();
        let job = queue.jobs.pop_front();
        queue.worked_on = job.is_some();
        if job.is_none() {
            // A burst's room is not kept.
            queue.jobs = VecDeque::new();
        }
        job
    }
}

impl Socket {
    /// Has `job` done after those before it.
    pub(super) fn enqueue(&self, job: Job) {
        if self.mailbox().push(job) {
            let socket = self.clone();
            tokio::spawn(async move {
                while let Some(job) = socket.mailbox().next() {
                    if AssertUnwindSafe(job).catch_unwind().await.is_err() {
                        tracing::error!(
                            namespace = socket.namespace_path(),
                            "a handler of Socket.IO panicked"
                        );
                    }
                    socket.tell_room_in_mailbox();
                }
            });
        }
    }
}
