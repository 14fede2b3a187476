//! Collections whose records end with their sessions: who is there.
//!
//! The instance that carries a session says so again and again. A record whose session nobody has
//! carried for the collection's time-out is deleted, by whichever instance finds it: so it is, too,
//! when the instance was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_core::message::Refusal;
use tidings_core::state::{Asked, Document, Edit, Key, Mutation, Op, Verdict, Version};
use tokio::time::{Instant, MissedTickBehavior};

use super::hosted::Hosted;
use crate::app::App;
use crate::shutdown::Phase;

/// How often in its time-out it is said who is there.
const BEATS: u32 = 4;

/// Until when the records of a collection in memory last.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Until>);

#[derive(Debug, Default)]
struct Until {
    beaten: Option<Instant>,
    by_key: BTreeMap<Key, Instant>,
}

impl Leases {
    /// The records of these sessions last for another `timeout`; so do those that are new, and all
    /// if nobody has said for a while who is there. Gives back those whose time is over.
    pub(super) fn beat(
        &self,
        now: Instant,
        present: &[Arc<str>],
        timeout: Duration,
        records: impl Iterator<Item = (Key, Version)>,
    ) -> Vec<(Key, Version)> {
        let present: BTreeSet<&str> = present.iter().map(|session| &**session).collect();
        let mut until = self.0.lock();
        let silent = until.beaten.replace(now).is_none_or(|at| now - at > timeout / 2);
        let mut before = std::mem::take(&mut until.by_key);
        let mut over = Vec::new();
        for (key, version) in records {
            let is_new = silent || present.contains(&*key);
            let lease = before.remove(&key).filter(|_| !is_new).unwrap_or(now + timeout);
            if lease <= now {
                over.push((key, version));
            } else {
                until.by_key.insert(key, lease);
            }
        }
        over
    }
}

/// Says who is there, and deletes the records of those who are not, until the server is over.
pub(super) async fn keep(app: Arc<App>, hosted: Arc<Hosted>, timeout: Duration) {
    let mut beats = tokio::time::interval(timeout / BEATS);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beats.tick() => {}
            () = app.shutdown.reached(Phase::Over) => return,
        }
        let present: Vec<Arc<str>> = app.sessions.all().into_iter().map(|(id, _)| id).collect();
        let over = hosted.beat(&present, timeout).await;
        let deletions = over.map(|over| {
            let deletion = |(key, version)| deletion(key, Some(version)).into();
            over.into_iter().map(deletion).collect::<Vec<_>>()
        });
        let deleted = match deletions {
            Ok(deletions) if deletions.is_empty() => Ok(Vec::new()),
            Ok(deletions) => hosted.mutate(deletions).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = deleted {
            tracing::warn!(collection = hosted.name(), %refusal, "who is there cannot be kept");
        }
    }
}

fn mutation(key: Key, base: Option<Version>, edit: Edit) -> Mutation {
    Mutation { id: None, time: 0, ops: vec![Op { key, base, was: None, edit }] }
}

fn deletion(key: Key, base: Option<Version>) -> Mutation {
    mutation(key, base, Edit::Delete)
}

/// The session is there, and this is what is told of it.
pub(super) async fn join(
    hosted: &Hosted,
    key: &Key,
    value: Document,
    judge: impl FnOnce(Mutation) -> Asked,
) -> Result<Arc<Verdict>, Refusal> {
    let edit = match hosted.get(key).await? {
        Some(record) if record.value == value => {
            let (version, conflicts) = (record.stamp.version, Vec::new());
            return Ok(Arc::new(Verdict::Accepted { version, conflicts }));
        }
        Some(_) => Edit::Replace(value),
        None => Edit::Insert(value),
    };
    let asked = judge(mutation(key.clone(), None, edit));
    Ok(verdict(hosted.mutate(vec![asked]).await?))
}

/// The session is not there any more.
pub(super) async fn leave(hosted: &Hosted, key: Key) -> Result<Arc<Verdict>, Refusal> {
    Ok(verdict(hosted.mutate(vec![deletion(key, None).into()]).await?))
}

fn verdict(verdicts: Vec<Arc<Verdict>>) -> Arc<Verdict> {
    verdicts.into_iter().next().unwrap_or_else(|| Arc::new(Verdict::Forgotten))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_lasts_until_its_session_was_away_for_the_time_out() {
        let leases = Leases::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let key = |name: &str| Key::new(name).unwrap();
        let beat = |at: u32, present: &[&str], there: &[&str]| {
            let present: Vec<Arc<str>> = present.iter().map(|name| Arc::from(*name)).collect();
            let records = there.iter().map(|name| (key(name), Version(1)));
            let over = leases.beat(start + second * at, &present, second * 10, records);
            over.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
        };
        assert!(beat(0, &["ann"], &["ann", "ben"]).is_empty(), "whoever made it has its time");
        for at in [3, 6, 9] {
            assert!(beat(at, &["ann"], &["ann", "ben"]).is_empty());
        }
        assert_eq!(beat(12, &["ann"], &["ann", "ben"]), ["ben"]);
        assert!(beat(15, &[], &["ann"]).is_empty());
        // Nothing was said for too long: nobody is to blame.
        assert!(beat(25, &[], &["ann"]).is_empty());
        assert!(beat(30, &[], &["ann"]).is_empty());
        assert_eq!(beat(35, &[], &["ann"]), ["ann"]);
        // A record that comes again begins anew.
        assert!(beat(36, &[], &[]).is_empty());
        assert!(beat(38, &[], &["ann"]).is_empty());
    }
}
