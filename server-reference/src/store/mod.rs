//! What is kept in a database: events, and who was connected.
//!
//! The store reads the log like a connection does, so that a publish does nothing for it but set a bit.
//! What it has read waits in a queue that is bounded in bytes; a database that is slow or down costs
//! what does not fit there, and nothing else.

mod database;
mod events;
mod follower;
mod health;
mod query;
mod queue;
mod sessions;
mod sharing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tidings_core::message::Close;
use tidings_core::{Lane, Place};
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use crate::app::App;
use crate::backplane::Backplane;
use crate::config::{self, Config};
use crate::ids::random_id;
use crate::stats::{SessionInfo, public_id};

use self::database::Database;
pub use self::database::StoreError;
use self::follower::Follower;
use self::health::Health;
pub use self::health::StoreStatus;
pub use self::query::{BadEventPlace, EventPage, EventPlace, EventQuery, KeptEvent};
use self::queue::{Queue, Waiting};
use self::sessions::{Changes, Full};
pub use self::sessions::{KeptSession, KeptSessionPage, KeptSessionQuery};
use self::sharing::Run;

/// How many events are written in one transaction.
const BATCH: usize = 512;

/// Keeps events and sessions in a database.
pub(crate) struct Store {
    config: config::Store,
    database: Database,
    run: Run,
    /// Whether other instances read the same log.
    is_shared: bool,
    follower: Option<Follower>,
    queue: Mutex<Queue>,
    sessions: Changes,
    health: Health,
    counts: Counts,
    /// There is something to write.
    news: Notify,
    /// Writing has a part of what the others wait for.
    written: Mutex<BTreeMap<Lane, Place>>,
    schedule: Mutex<Schedule>,
    /// Readers leave a connection for whoever writes.
    readers: Semaphore,
    app: Mutex<Weak<App>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

#[derive(Default)]
struct Counts {
    events: AtomicU64,
    sessions_not_kept: AtomicU64,
    deleted: AtomicU64,
    /// Whether the end of a session was not kept: the table is compared then.
    is_missing_ends: AtomicBool,
}

/// When what comes round is due.
struct Schedule {
    beat: Instant,
    sweep: Instant,
    is_first: bool,
}

impl Store {
    /// The store that `config` asks for; `None` if it asks for none. It keeps what is published from
    /// now on, once it has [begun](Self::begin).
    ///
    /// # Errors
    /// If the database cannot be used with this configuration. One that does not answer is tried
    /// again later.
    pub(crate) async fn open(
        config: &Config,
        backplane: &Arc<dyn Backplane>,
    ) -> Result<Option<Arc<Self>>, StoreError> {
        let store = &config.store;
        if store.database.is_empty() {
            return Ok(None);
        }
        let database = Database::new(store)?;
        let health = Health::default();
        match database.open().await {
            Ok(()) => {}
            Err(error) if error.may_pass() => health.trouble(error.to_string()),
            Err(error) => return Err(error),
        }
        let is_shared = backplane.is_shared();
        let id = random_id();
        // A log in memory is nobody else's.
        let log = if is_shared { &config.redis.prefix } else { &id };
        let log = sharing::log_number(log);
        let follower = store.events.then(|| Follower::new(Arc::clone(backplane), &store.keep));
        if let Some(follower) = follower.as_ref().filter(|_| !is_shared) {
            follower.follow_from_here();
        }
        let now = Instant::now();
        Ok(Some(Arc::new(Self {
            run: Run { id, log, instance: config.instance.clone(), heartbeat: store.heartbeat },
            database,
            is_shared,
            follower,
            queue: Mutex::new(Queue::new(store.queue)),
            sessions: Changes::new(store.session_queue),
            health,
            counts: Counts::default(),
            news: Notify::new(),
            written: Mutex::default(),
            schedule: Mutex::new(Schedule { beat: now, sweep: now, is_first: false }),
            readers: Semaphore::new(store.connections.saturating_sub(1).max(1)),
            app: Mutex::default(),
            tasks: Mutex::default(),
            config: store.clone(),
        })))
    }

    /// Keeps what comes, until it is [finished](Self::finish).
    pub(crate) fn begin(self: &Arc<Self>, app: &Arc<App>) {
        *self.app.lock() = Arc::downgrade(app);
        self.spawn();
    }

    fn spawn(self: &Arc<Self>) {
        let (collector, writer) = (Arc::clone(self), Arc::clone(self));
        let tasks = [
            tokio::spawn(async move { collector.collect_all().await }),
            tokio::spawn(async move { writer.write_all().await }),
        ];
        self.tasks.lock().extend(tasks.map(|task| task.abort_handle()));
    }

    #[cfg(test)]
    fn begin_in_tests(self: &Arc<Self>) {
        self.spawn();
    }

    /// As if the process had ended.
    #[cfg(test)]
    fn crash(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    /// A session is carried by a connection from now on.
    pub(crate) fn session_began(&self, session: impl FnOnce() -> SessionInfo) {
        if self.config.sessions {
            self.noted(self.sessions.began(session()));
        }
    }

    /// A session is not carried any more by the connection that it had since then; `close` is why, if
    /// one side said so.
    pub(crate) fn session_ended(&self, session: &str, since_ms: u64, close: Option<&Close>) {
        if self.config.sessions {
            let noted = self.sessions.ended(public_id(session), since_ms, close);
            if noted.is_err() {
                self.counts.is_missing_ends.store(true, Ordering::Relaxed);
            }
            self.noted(noted);
        }
    }

    fn noted(&self, noted: Result<(), Full>) {
        if noted.is_err() {
            self.counts.sessions_not_kept.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A page of the events that are kept, of those whose names `may_see` likes.
    ///
    /// # Errors
    /// If the database does not answer.
    pub(crate) async fn events(
        &self,
        query: &EventQuery,
        may_see: impl Fn(&str) -> bool,
    ) -> Result<EventPage, StoreError> {
        if self.follower.is_none() {
            return Err(StoreError::NotKept("events"));
        }
        let _turn = self.turn().await?;
        events::page(&self.database, query, self.config.max_looked_at, may_see).await
    }

    /// The event with this id.
    ///
    /// # Errors
    /// As [`events`](Self::events).
    pub(crate) async fn event(&self, id: &str) -> Result<Option<KeptEvent>, StoreError> {
        let _turn = self.turn().await?;
        events::by_id(&self.database, id).await
    }

    /// A page of the sessions that are kept, the latest first.
    ///
    /// # Errors
    /// As [`events`](Self::events).
    pub(crate) async fn sessions(
        &self,
        query: &KeptSessionQuery,
    ) -> Result<KeptSessionPage, StoreError> {
        if !self.config.sessions {
            return Err(StoreError::NotKept("sessions"));
        }
        let _turn = self.turn().await?;
        sessions::page(&self.database, query).await
    }

    /// Waits until one more may read.
    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, StoreError> {
        match tokio::time::timeout(self.config.timeout, self.readers.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // It is never closed: nobody got a turn in time.
            Ok(Err(_)) | Err(_) => Err(self.database.too_slow()),
        }
    }

    /// Whether events are kept.
    pub(crate) const fn keeps_events(&self) -> bool {
        self.follower.is_some()
    }

    /// How it is.
    pub(crate) fn status(&self) -> StoreStatus {
        let queue = self.queue.lock();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStatus {
            kind: self.database.kind_word(),
            degraded: self.health.now(),
            waiting_events: queue.len(),
            waiting_bytes: queue.bytes(),
            waiting_sessions: self.sessions.len(),
            events: count(&self.counts.events),
            events_not_kept: queue.refused(),
            gaps: self.follower.as_ref().map_or(0, Follower::gaps),
            sessions_not_kept: count(&self.counts.sessions_not_kept),
            deleted: count(&self.counts.deleted),
        }
    }

    /// Reads from the log what is new, every `store.interval`.
    async fn collect_all(&self) {
        let mut ticks = tokio::time::interval(self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.collect();
            self.news.notify_one();
        }
    }

    fn collect(&self) {
        if let Some(follower) = &self.follower {
            follower.collect(&self.queue);
            self.health.not_kept(self.queue.lock().refused());
        }
    }

    async fn write_all(&self) {
        loop {
            self.news.notified().await;
            if let Err(error) = self.write().await {
                self.health.trouble(error.to_string());
                tokio::time::sleep(self.config.retry).await;
                continue;
            }
            if self.queue.lock().is_crowded() {
                self.health.trouble("the database is slower than what comes".to_owned());
            } else {
                self.health.well();
            }
        }
    }

    /// Writes what waits, and does what is due.
    async fn write(&self) -> Result<(), StoreError> {
        let now = Instant::now();
        let (beat_is_due, sweep_is_due) = {
            let schedule = self.schedule.lock();
            (schedule.beat <= now, schedule.sweep <= now && schedule.is_first)
        };
        if beat_is_due {
            self.beat().await?;
            self.schedule.lock().beat = now + self.run.heartbeat;
        }
        self.write_what_waits().await?;
        if sweep_is_due {
            self.sweep().await?;
            self.schedule.lock().sweep = now + self.config.sweep_interval;
        }
        Ok(())
    }

    async fn write_what_waits(&self) -> Result<(), StoreError> {
        while self.sessions.write(&self.database, &self.run.id).await? > 0 {}
        loop {
            let batch = self.queue.lock().oldest(BATCH);
            if batch.is_empty() {
                return Ok(());
            }
            let written = async {
                let mut transaction = self.database.begin().await?;
                events::insert(&mut transaction, self.database.kind, self.run.log, &batch).await?;
                transaction.commit().await
            };
            self.database.within(written).await?;
            self.queue.lock().written(batch.len());
            self.counts.events.fetch_add(batch.len() as u64, Ordering::Relaxed);
            self.note(&batch);
        }
    }

    /// Up to these events their lanes have been kept.
    fn note(&self, batch: &[Waiting]) {
        if self.is_shared {
            let mut written = self.written.lock();
            for Waiting { event, epoch } in batch {
                let place = Place { epoch: *epoch, offset: event.offset() };
                written.insert(event.lane(), place);
            }
        }
    }

    /// Tells the others that this instance is there, and does its part of what they share.
    async fn beat(&self) -> Result<(), StoreError> {
        let (runs, is_first) = self.run.beat(&self.database).await?;
        self.schedule.lock().is_first = is_first;
        if let Some(follower) = self.follower.as_ref().filter(|_| self.is_shared) {
            self.note_places().await?;
            self.share(follower, &runs).await?;
        }
        if self.counts.is_missing_ends.swap(false, Ordering::Relaxed) {
            self.end_sessions_that_are_gone().await?;
        }
        Ok(())
    }

    async fn note_places(&self) -> Result<(), StoreError> {
        let places = std::mem::take(&mut *self.written.lock());
        let noted = self.run.note(&self.database, &places).await;
        if noted.is_err() {
            let mut written = self.written.lock();
            for (lane, place) in places {
                written.entry(lane).or_insert(place);
            }
        }
        noted
    }

    /// Reads the partitions that are this instance's, and no others.
    async fn share(&self, follower: &Follower, runs: &[String]) -> Result<(), StoreError> {
        let is_own = |partition: &&u16| sharing::owner(runs, **partition) == Some(&self.run.id);
        let own: BTreeSet<u16> = follower.partitions().iter().filter(is_own).copied().collect();
        let followed = follower.followed();
        for partition in followed.difference(&own) {
            follower.let_go(*partition);
        }
        if own.is_subset(&followed) {
            return Ok(());
        }
        let places = self.run.places(&self.database).await?;
        for partition in own.difference(&followed) {
            follower.follow(*partition, &places).await;
        }
        Ok(())
    }

    async fn end_sessions_that_are_gone(&self) -> Result<(), StoreError> {
        // What waits is older than what is connected now.
        while self.sessions.write(&self.database, &self.run.id).await? > 0 {}
        let Some(app) = self.app.lock().upgrade() else { return Ok(()) };
        let connected = app.sessions.all().into_iter();
        let connected = connected.map(|(id, carried)| (carried.since_ms, public_id(&id))).collect();
        sessions::end_others(&self.database, &self.run.id, &connected).await
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        let millis = |age: std::time::Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.run.bury_others(&self.database).await?;
        sessions::sweep(&self.database, millis(self.config.sessions_max_age)).await?;
        let max_bytes = i64::try_from(self.config.max_bytes).unwrap_or(i64::MAX);
        let deleted = events::sweep(&self.database, millis(self.config.max_age), max_bytes).await?;
        self.counts.deleted.fetch_add(deleted, Ordering::Relaxed);
        Ok(())
    }

    /// Writes what is left, until `deadline` at the latest.
    pub(crate) async fn finish(&self, deadline: Instant) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.collect();
        let last = async {
            while let Err(error) = self.write_the_rest().await {
                self.health.trouble(error.to_string());
                tokio::time::sleep(self.config.retry).await;
            }
        };
        if timeout_at(deadline, last).await.is_err() {
            let (events, sessions) = (self.queue.lock().len(), self.sessions.len());
            tracing::error!(
                events,
                sessions,
                "the database did not take what was left in time: it is not kept"
            );
        }
        let _ = timeout_at(deadline, self.database.close()).await;
    }

    async fn write_the_rest(&self) -> Result<(), StoreError> {
        if self.is_shared && self.follower.is_some() {
            // Others may have gone just now: what was theirs is looked for, too.
            self.beat().await?;
            self.collect();
        }
        self.write_what_waits().await?;
        self.note_places().await?;
        self.run.leave(&self.database).await
    }
}
