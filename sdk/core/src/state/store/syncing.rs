//! What goes to the server, and what comes from it.

use std::sync::Arc;

use super::pending::Pending;
use super::{Loading, Notice, Store};
use crate::map::Set;
use crate::state::{Change, Key, Load, Mutation, Page, Record, Verdict, Version};

/// How many deletions are remembered beyond what was loaded.
const MAX_DELETIONS: usize = 4096;

impl Store {
    /// Mutations up to this number are stored durably: they may be sent.
    pub fn stored(&mut self, seq: u64) {
        self.durable = self.durable.max(seq);
    }

    /// The next mutations to send, in order; none while others are on their way.
    /// [`answer`](Self::answer) or [`unanswered`](Self::unanswered) has to follow.
    pub fn next_batch(&mut self) -> Option<Vec<Arc<Mutation>>> {
        if self.in_flight || self.durable <= self.answered {
            return None;
        }
        let mut bytes = 0;
        let fits = |(number, pending): &(usize, &Pending)| {
            bytes += pending.bytes;
            *number == 0 || bytes <= self.config.max_batch_bytes
        };
        let waiting = self.pending.range_from(&(self.answered + 1));
        let batch: Vec<_> = waiting
            .take_while(|(seq, _)| **seq <= self.durable)
            .map(|(_, pending)| pending)
            .enumerate()
            .take(self.config.max_batch.max(1))
            .take_while(fits)
            .map(|(_, pending)| pending.mutation.clone())
            .collect();
        self.in_flight = !batch.is_empty();
        self.in_flight.then_some(batch)
    }

    /// The mutations that were on their way may not have arrived: they are sent again.
    pub fn unanswered(&mut self) {
        self.in_flight = false;
    }

    /// The server's verdicts on mutations that were on their way, by number. Those without one are
    /// sent again.
    pub fn answer(&mut self, verdicts: impl IntoIterator<Item = (u64, Verdict)>) {
        self.in_flight = false;
        let mut touched = Set::new();
        for (seq, verdict) in verdicts {
            self.answered = self.answered.max(seq);
            let Some(pending) = self.pending.get_mut(&seq) else { continue };
            if pending.acknowledged {
                continue;
            }
            match verdict {
                Verdict::Accepted { version, conflicts } => {
                    pending.acknowledged = true;
                    pending.accepted = Some(version);
                    let version = Some(version);
                    self.notices.push_back(Notice::Acknowledged { seq, version, conflicts });
                    self.finish(seq);
                }
                Verdict::Forgotten => {
                    pending.acknowledged = true;
                    let (version, conflicts) = (None, Vec::new());
                    self.notices.push_back(Notice::Acknowledged { seq, version, conflicts });
                    touched.extend(self.settle_everywhere(seq));
                }
                Verdict::Rejected(rejection) => {
                    self.history.forget(seq);
                    self.notices.push_back(Notice::Rejected { seq, rejection });
                    touched.extend(self.withdraw(seq));
                }
            }
        }
        self.refold(touched);
    }

    /// The oldest mutation whose verdict is not known: what has to be kept over a restart begins
    /// with it.
    pub fn first_unanswered(&self) -> Option<u64> {
        self.pending.range_from(&(self.answered + 1)).next().map(|(seq, _)| *seq)
    }

    /// The pending mutation with this number.
    pub fn mutation(&self, seq: u64) -> Option<&Arc<Mutation>> {
        self.pending.get(&seq).map(|pending| &pending.mutation)
    }

    /// A change has come from the server. Changes come in the order of their versions, but for
    /// those on the pages of a load, and those that a failover had lost.
    pub fn confirm(&mut self, change: Change) {
        if self.loading {
            self.load.heard.insert(change.key.clone());
        }
        self.take_in(change);
    }

    fn take_in(&mut self, change: Change) {
        let Change { key, value, stamp } = change;
        // A deletion that was on a page may have an older change follow it: the log has both.
        let is_there = stamp.version <= self.loaded;
        if !self.loading {
            self.version = self.version.max(stamp.version);
        }
        let own = stamp.by.as_ref().filter(|by| by.client == self.config.client);
        let own = own.map(|by| by.seq);
        let before = self.confirmed.get(&key).map(|record| record.stamp.version);
        let is_doubted = self.load.doubted.remove(&key);
        let known = before.max(self.deleted.get(&key).copied()).filter(|_| !is_doubted);
        if is_there || known.is_some_and(|known| known >= stamp.version) {
            if own.is_some() {
                let freed = self.see(&key, own);
                self.refold(freed.into_iter().chain([key]));
            }
            return;
        }
        let version = stamp.version;
        let next = value.map(|value| Record { value, stamp });
        let foreseen = own.is_some_and(|seq| self.foresees(&key, seq, next.as_ref()));
        self.note(&key);
        match next {
            Some(record) => {
                self.deleted.remove(&key);
                self.confirmed.insert(key.clone(), record);
            }
            None => {
                self.confirmed.remove(&key);
                self.deleted.insert(key.clone(), version);
                self.forget_deletions();
            }
        }
        let freed = self.see(&key, own);
        if foreseen {
            self.changed.insert(key);
            self.refold(freed);
        } else {
            self.refold(freed.into_iter().chain([key]));
        }
    }

    /// Changes that are older than a deletion that is forgotten come too late.
    fn forget_deletions(&mut self) {
        if self.deleted.len() <= MAX_DELETIONS || self.loading {
            return;
        }
        let mut versions: Vec<_> = self.deleted.values().copied().collect();
        versions.sort();
        self.loaded = self.loaded.max(versions[MAX_DELETIONS / 2]);
        let loaded = self.loaded;
        self.deleted.retain(|_, version| *version > loaded);
    }

    /// The confirmed state of a record has the change of this client's mutation `own`. The records
    /// are given back that have to be looked at because of it, besides this one.
    fn see(&mut self, key: &Key, own: Option<u64>) -> Set<Key> {
        let Some(seq) = own else { return Set::new() };
        if let Some(pending) = self.pending.get_mut(&seq) {
            pending.seen = true;
        }
        self.settle(key, seq)
    }

    /// Changes may have been missed: those that come from now on are not all there are, until a
    /// load is complete.
    pub const fn missed(&mut self) {
        self.loading = true;
        self.missed = true;
    }

    /// Begins to load what is not here yet: at first, and after changes were
    /// [missed](Self::missed). Changes that come meanwhile are to be [confirmed](Self::confirm) as
    /// always. It takes the place of a load that is not complete: pages of that one, which may be older
    /// than what has come since, are not to be [taken in](Self::loaded) any more.
    pub fn begin_load(&mut self, limit: usize) -> Load {
        self.loading = true;
        self.missed = false;
        let acknowledged = self.pending.iter().filter(|(_, pending)| pending.acknowledged);
        self.load =
            Loading { owed: acknowledged.map(|(seq, _)| *seq).collect(), ..Loading::default() };
        if self.version == Version(0) {
            self.load_all();
        }
        let client = Some(self.config.client.clone());
        Load { after: self.version, began: self.version, limit, client }
    }

    /// Everything is loaded, whatever is here.
    fn load_all(&mut self) {
        self.loaded = Version(0);
        let Loading { listed, heard, doubted, .. } = &mut self.load;
        *listed = Some(Set::new());
        let known = self.confirmed.keys().filter(|key| !heard.contains(*key));
        *doubted = known.cloned().collect();
        self.deleted.retain(|key, _| heard.contains(key));
    }

    /// A page has come that was asked for by `load`. What is to be asked for next, until all is
    /// there.
    pub fn loaded(&mut self, load: &Load, page: Page) -> Option<Load> {
        if page.reset {
            self.version = Version(0);
            self.load_all();
        }
        for change in page.changes {
            if let Some(listed) = &mut self.load.listed {
                listed.insert(change.key.clone());
            }
            self.take_in(change);
        }
        if let Some((after, began)) = page.next {
            return Some(Load { after, began, ..load.clone() });
        }
        let Loading { listed, doubted, owed, .. } = std::mem::take(&mut self.load);
        let is_all = listed.is_some();
        if let Some(listed) = listed {
            self.drop_unlisted(&listed, &doubted, page.version);
        }
        self.loading = self.missed;
        self.version = self.version.max(page.version);
        self.loaded = self.loaded.max(page.version);
        let loaded = self.loaded;
        self.deleted.retain(|_, version| *version > loaded);
        let is_there = |(seq, pending): &(&u64, &Pending)| {
            **seq <= page.judged
                || pending.accepted.is_some_and(|version| version <= page.version)
                // What is not in there the server has not got any more.
                || (is_all && owed.contains(seq))
        };
        let there: Vec<u64> = self.pending.iter().filter(is_there).map(|(seq, _)| *seq).collect();
        let touched: Set<Key> =
            there.into_iter().flat_map(|seq| self.settle_everywhere(seq)).collect();
        self.refold(touched);
        None
    }

    /// What was on no page although everything was loaded up to `version` is not there any more.
    fn drop_unlisted(&mut self, listed: &Set<Key>, doubted: &Set<Key>, version: Version) {
        let is_gone = |(key, record): &(&Key, &Record)| {
            let is_old = record.stamp.version <= version || doubted.contains(*key);
            is_old && !listed.contains(*key)
        };
        let gone: Vec<Key> =
            self.confirmed.iter().filter(is_gone).map(|(k, _)| k.clone()).collect();
        for key in &gone {
            self.confirmed.remove(key);
            self.note(key);
        }
        self.refold(gone);
    }

    /// What was confirmed has all that this mutation has done. The records are given back that have
    /// to be looked at because of it.
    fn settle_everywhere(&mut self, seq: u64) -> Set<Key> {
        let Some(pending) = self.pending.get(&seq) else { return Set::new() };
        let mut touched = pending.unsettled.clone();
        for key in pending.unsettled.clone() {
            touched.extend(self.settle(&key, seq));
        }
        self.finish(seq);
        touched
    }

    /// Tells that a mutation is observed, and forgets it, when it is time.
    pub(super) fn finish(&mut self, seq: u64) {
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        if !pending.unsettled.is_empty() {
            return;
        }
        if !pending.observed && (pending.acknowledged || pending.seen) {
            pending.observed = true;
            self.notices.push_back(Notice::Observed { seq });
        }
        if pending.acknowledged {
            self.pending_bytes -= pending.bytes;
            self.pending.remove(&seq);
        }
    }
}
