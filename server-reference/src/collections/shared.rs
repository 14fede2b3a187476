//! A collection that all instances share: this one judges what comes here, and the store sees to it
//! that nothing has changed meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::state::draft::{self, Draft, Part, Wanted};
use tidings_core::state::{Asked, Key, Load, Page, Rules, Verdict, Version};
use tokio::sync::{mpsc, oneshot};

use super::hosted::or_rejected;
use super::loads::Loads;
use crate::backplane::{CollectionStore, Hosting};
use crate::clock::unix_micros;
use crate::ids::random_id;

/// What one commit has at most, unless one mutation alone has more: it keeps the store from
/// everything else.
const BATCH: usize = 128;
const BATCH_OPS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// How often mutations are judged anew because others were faster. With several instances that
/// write the same records all the time one of them gets through each time.
const MAX_ATTEMPTS: usize = 100;

/// A collection that all instances share.
pub(super) struct Shared {
    host: Host,
    loads: Arc<Loads>,
    /// To the task that judges.
    queue: mpsc::UnboundedSender<Waiting>,
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
}

/// The collection as this instance hosts it.
#[derive(Clone)]
pub(super) struct Host {
    name: Arc<str>,
    pub(super) rules: Arc<Rules>,
    pub(super) store: Arc<dyn CollectionStore>,
    /// Who commits, and the version of the last change that is known to be its.
    committer: Arc<str>,
    last: Version,
}

/// Mutations of one request. If one of them is refused those after it are, too: a client that sends
/// them again finds that the later ones were not judged before the earlier.
struct Waiting {
    asked: Vec<Asked>,
    answer: oneshot::Sender<Result<Vec<Arc<Verdict>>, Refusal>>,
    /// What they hold of the room for those that wait.
    _room: Room,
}

/// Room for what waits, free again when this is dropped.
struct Room {
    bytes: usize,
    waiting: Arc<AtomicUsize>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Shared {
    /// # Panics
    /// Outside of a Tokio runtime.
    pub(super) fn new(
        name: &str,
        rules: Arc<Rules>,
        store: Arc<dyn CollectionStore>,
        max_waiting: usize,
    ) -> Self {
        let host = Host {
            name: name.into(),
            rules,
            store,
            committer: random_id().into(),
            last: Version(0),
        };
        let (queue, asked) = mpsc::unbounded_channel();
        tokio::spawn(host.clone().judge(asked));
        let loads = Arc::new(Loads::new(host.clone()));
        Self { host, loads, queue, waiting: Arc::default(), max_waiting }
    }

    pub(super) async fn mutate(&self, asked: Vec<Asked>) -> Result<Vec<Arc<Verdict>>, Refusal> {
        let bytes = asked.iter().map(|asked| asked.mutation.weight()).sum();
        let room = Room { bytes, waiting: Arc::clone(&self.waiting) };
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > self.max_waiting {
            return Err(unavailable("too many mutations wait for the store (redis.buffer)"));
        }
        let (answer, answered) = oneshot::channel();
        let gone = |_| unavailable("the server is going away");
        self.queue.send(Waiting { asked, answer, _room: room }).map_err(|_| gone(()))?;
        answered.await.unwrap_or_else(|_| Err(gone(())))
    }

    pub(super) async fn load(&self, load: &Load) -> Result<Page, Refusal> {
        self.loads.load(load).await
    }

    pub(super) async fn beat(
        &self,
        present: &[Arc<str>],
        timeout: Duration,
    ) -> Result<Vec<(Key, Version)>, Refusal> {
        self.host.store.beat(self.host.hosting(), present, timeout).await
    }

    pub(super) async fn look(&self, wanted: &Wanted) -> Result<Part, Refusal> {
        self.host.store.look(self.host.hosting(), wanted).await
    }
}

impl Host {
    pub(super) fn hosting(&self) -> Hosting<'_> {
        Hosting { name: &self.name, rules: &self.rules, committer: &self.committer }
    }

    /// Judges what comes, for as long as it may come.
    async fn judge(mut self, mut asked: mpsc::UnboundedReceiver<Waiting>) {
        let mut all = Vec::new();
        while asked.recv_many(&mut all, BATCH).await > 0 {
            let (verdicts, refusal) = self.settle_all(&all).await;
            let mut verdicts = verdicts.into_iter();
            for Waiting { asked, answer, .. } in all.drain(..) {
                let own: Vec<_> = verdicts.by_ref().take(asked.len()).collect();
                let result = match &refusal {
                    Some(refusal) if own.len() < asked.len() => Err(refusal.clone()),
                    _ => Ok(own),
                };
                // Whoever does not wait for it any more has gone.
                let _ = answer.send(result);
            }
        }
    }

    /// What becomes of mutations, in order; of those at the end nothing, if the store refuses.
    async fn settle_all(&mut self, waiting: &[Waiting]) -> (Vec<Arc<Verdict>>, Option<Refusal>) {
        let asked: Vec<_> = waiting.iter().flat_map(|waiting| &waiting.asked).collect();
        let mut verdicts = Vec::new();
        let mut rest = asked.as_slice();
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(batch(rest));
            match self.settle(batch).await {
                Ok(settled) => verdicts.extend(settled),
                Err(refusal) => return (verdicts, Some(refusal)),
            }
            rest = others;
        }
        (verdicts, None)
    }

    /// Judges mutations, again if what they were judged by has changed before it was committed.
    async fn settle(&mut self, batch: &[&Asked]) -> Result<Vec<Arc<Verdict>>, Refusal> {
        let wanted = Wanted::by(batch.iter().map(|asked| &asked.mutation));
        for _ in 0..MAX_ATTEMPTS {
            let part = self.store.look(self.hosting(), &wanted).await?;
            let mut draft = Draft::new(&self.rules, part);
            let judge = |asked: &&Asked| {
                or_rejected(&asked.mutation, || draft.judge(unix_micros(), (*asked).clone()))
            };
            let verdicts: Vec<_> = batch.iter().map(judge).collect();
            let commit = draft.finish();
            if commit.is_empty() {
                return Ok(verdicts);
            }
            let made = self.store.commit(self.hosting(), self.last, &commit).await;
            if made.is_err() {
                // It may have been made: that is not to be taken for the next one.
                self.committer = random_id().into();
                self.last = Version(0);
            }
            if let Some(first) = made? {
                if !commit.changes.is_empty() {
                    self.last = Version(first.0 + commit.changes.len() as u64 - 1);
                }
                let decided = |verdict| draft::decided(verdict, first);
                return Ok(verdicts.iter().map(decided).collect());
            }
        }
        Err(unavailable("others change the same records all the time"))
    }
}

/// How many of these mutations go into one commit.
fn batch(asked: &[&Asked]) -> usize {
    let (mut ops, mut bytes) = (0, 0);
    let fits = |asked: &&&Asked| {
        ops += asked.mutation.ops.len();
        bytes += asked.mutation.weight();
        ops <= BATCH_OPS && bytes <= BATCH_BYTES
    };
    asked.iter().take(BATCH).take_while(fits).count().max(1)
}

pub(super) fn unavailable(message: &str) -> Refusal {
    Refusal::new(ErrorCode::UNAVAILABLE, message)
}
