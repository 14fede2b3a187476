//! Whether a collection that instances share does what one in memory does: made-up mutations are
//! judged and committed with the real scripts in a real Redis, now and then by two at once, and
//! the core's collection is given the same ones in the order in which they were committed, and so is
//! what the simulation takes for these scripts. Every verdict and every page must be the same.

#[path = "../../../../../sdk/core/tests/state_simulation/shared/stored.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tidings_core::lane::{Epoch, Lane, Offset, Place};
use tidings_core::log::Retention;
use tidings_core::log::shared::{Append, Note, Published};
use tidings_core::rng::Rng;
use tidings_core::state::draft::{Commit, Draft, Wanted, decided};
use tidings_core::state::{
    Collection, Document, Edit, Key, Limits, Load, Mutation, MutationId, Op, Page, Patch, Policy,
    Reason, Rules, Verdict, Version,
};

use self::stored::{Committed, Stored};
use super::PRIORITY;
use super::calls::{self, Answer};
use crate::backplane::Hosting;
use crate::backplane::redis::keys::{self, LaneKeys, channel};
use crate::backplane::redis::model::Redis;
use crate::backplane::redis::script::Call;

const PREFIX: &str = "model";
const NAME: &str = "todos";
const CLOCK: &str = "model:{p0}:clock";
const START: u64 = 1_700_000_000_000_000;
const SEEDS: u64 = 12;
const STEPS: usize = 250;
const CLIENTS: [&str; 4] = ["ann", "ben", "", "cleo:1"];
const RECORDS: [&str; 5] = ["a", "b", "c.d", "e", "f:{x}"];

/// A real Redis with a collection in it.
struct Real {
    connection: MultiplexedConnection,
    lane: LaneKeys,
    keys: [String; 6],
    channel: String,
    now: u64,
    /// Where the lane stands.
    head: u64,
}

impl Real {
    fn new(connection: MultiplexedConnection, prefix: &str) -> Self {
        Self {
            connection,
            lane: LaneKeys::new(prefix, Lane::new(0, PRIORITY)),
            keys: keys::collection(prefix, 0, NAME),
            channel: channel(prefix, 0),
            now: START,
            head: 0,
        }
    }

    async fn command(&mut self, words: &[&str]) -> Value {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        let answer = self.connection.send_packed_command(&command).await;
        answer.and_then(Value::extract_error).unwrap()
    }

    async fn call<A>(&mut self, call: Call, read: impl Fn(Value) -> Answered<A>) -> A {
        let (seconds, micros) = (self.now / 1_000_000, self.now % 1_000_000);
        self.command(&["DEL", CLOCK]).await;
        self.command(&["RPUSH", CLOCK, &seconds.to_string(), &micros.to_string()]).await;
        let command = call.command_with(|script| {
            let clock = format!("redis.call('LRANGE', '{CLOCK}', 0, 1)");
            script.replace("redis.call('TIME')", &clock)
        });
        let value = self.connection.send_packed_command(&command).await;
        match read(value.and_then(Value::extract_error).unwrap()).unwrap() {
            Answer::Done(done) => done,
            Answer::Behind(place) => panic!("behind {place:?}"),
        }
    }

    async fn load(&mut self, rules: &Rules, load: &Load) -> Page {
        let (known, limits) = (Place::default(), &rules.limits);
        // With somebody else, who has judged nothing.
        let mut clients = vec![Arc::from("nobody")];
        clients.extend(load.client.clone());
        let call = calls::load(&self.lane, &self.keys, known, limits, load, &clients);
        let read = |value| calls::loaded(value, load, clients.len());
        let (page, judged) = self.call(call, read).await;
        assert_eq!((judged.len(), judged[0]), (clients.len(), 0));
        Page { judged: judged.get(1).copied().unwrap_or_default(), ..page }
    }

    async fn commit(
        &mut self,
        hosting: Hosting<'_>,
        before: Version,
        commit: &Commit,
    ) -> Option<Version> {
        let retention = Retention::default();
        let append = append(false, Vec::new());
        let head = calls::commit_head(&self.lane, &self.keys, &self.channel, &retention, &append);
        let call = calls::commit(head, hosting, before, commit);
        let (place, first) = self.call(call, calls::committed).await?;
        self.head = place.offset.0;
        Some(first)
    }
}

type Answered<A> = redis::RedisResult<Answer<A>>;

fn append(putting_back: bool, events: Vec<(Published, Option<Offset>)>) -> Append {
    Append {
        lane: Lane::new(0, PRIORITY),
        known: Place::default(),
        given: Offset::default(),
        new_epoch: Epoch(1),
        putting_back,
        takeover: None,
        events,
    }
}

/// Somebody who judges, with what waits to be committed.
struct Judge {
    committer: &'static str,
    /// The last version that it knows to be its.
    last: Version,
    waiting: Option<(Vec<Mutation>, Vec<Arc<Verdict>>, Commit)>,
}

struct World {
    rng: Rng,
    rules: Rules,
    real: Real,
    model: Collection,
    stored: Stored,
    judges: [Judge; 2],
    /// How many of them are there.
    count: u64,
    /// The last number that each client has used.
    numbers: BTreeMap<&'static str, u64>,
    events: Vec<(Offset, Published)>,
    notes: Vec<Note>,
    /// The last commit that changed something: who made it, what it knew, and its first version.
    last: Option<(usize, Version, Commit, Version)>,
    tally: Tally,
}

/// How often the things happened that are to be seen.
#[derive(Default)]
struct Tally {
    accepted: u32,
    rejected: u32,
    conflicts: u32,
    full: u32,
    known: u32,
    forgotten: u32,
    changed: u32,
    resets: u32,
    pages: u32,
}

fn any_policy(rng: &mut Rng) -> Policy {
    [Policy::Merge, Policy::ServerWins, Policy::ClientWins, Policy::LastWriteWins]
        [rng.below(4) as usize]
        .clone()
}

impl World {
    async fn new(seed: u64, connection: MultiplexedConnection) -> Self {
        let mut rng = Rng::new(seed);
        // What was refused for the count is not judged anew when others have made room.
        let alone = seed.is_multiple_of(3);
        let forgets = rng.chance(500);
        let limits = Limits {
            max_records: if alone { 3 } else { 100 },
            max_record_bytes: 60,
            max_deletions: rng.below(4) as usize,
            // A client that was forgotten leaves gaps in its numbers, for which the verdicts that
            // are remembered are not the same.
            max_clients: if forgets { 1 + rng.below(3) as usize } else { 100 },
            max_verdicts: if forgets { 100 } else { 3 },
            max_verdict_bytes: if forgets { 1 << 20 } else { 30 + rng.below(300) as usize },
            max_page: 1 + rng.below(4) as usize,
            // Not the same bytes are counted: either one record has too many, or all fit.
            max_page_bytes: if rng.chance(200) { 1 } else { 1 << 20 },
            ..Limits::default()
        };
        let rules = Rules { policy: any_policy(&mut rng), limits, check: None };
        let mut real = Real::new(connection, PREFIX);
        real.command(&["FLUSHALL"]).await;
        let judge = |committer| Judge { committer, last: Version(0), waiting: None };
        let mut world = Self {
            model: Collection::with_rules(rules.clone(), START),
            stored: Stored::default(),
            judges: [judge("one"), judge("two")],
            count: if alone { 1 } else { 2 },
            numbers: BTreeMap::new(),
            events: Vec::new(),
            notes: Vec::new(),
            last: None,
            tally: Tally::default(),
            rng,
            rules,
            real,
        };
        world.check(&Load { limit: 10, ..Load::default() }).await;
        world
    }

    /// `may_be_old`: it may be one that came before. What is new comes behind those.
    fn mutation(&mut self, client: &'static str, may_be_old: bool) -> Mutation {
        let rng = &mut self.rng;
        let mut keys: Vec<_> = RECORDS.to_vec();
        let mut ops = Vec::new();
        for _ in 0..1 + rng.below(3) / 2 {
            let key = keys.remove(rng.below(keys.len() as u64) as usize);
            let length = 1 + rng.below(30) as usize;
            let word = rng.id(length);
            let document = |json: String| Document::parse(json.as_bytes(), 8).unwrap();
            let patch = |json: String| Patch::parse(json.as_bytes(), 8).unwrap();
            let edit = match rng.below(10) {
                0..3 => Edit::Insert(document(format!(r#"{{"title":"{word}","n":0}}"#))),
                3..5 => Edit::Delete,
                5 => Edit::Replace(document(format!(r#"{{"other":"{word}"}}"#))),
                6 => Edit::Increment(patch(r#"{"n":2}"#.into())),
                _ => Edit::Update(patch(format!(r#"{{"title":"{word}"}}"#))),
            };
            let base = match rng.below(3) {
                0 => None,
                1 => self.model.get(key).map(|record| record.stamp.version),
                _ => Some(Version(START + rng.below(self.real.now - START + 1))),
            };
            let was =
                (base.is_some() && rng.chance(500)).then(|| patch(r#"{"title":"was"}"#.into()));
            ops.push(Op { key: Key::new(key).unwrap(), base, was, edit });
        }
        let id = (!client.is_empty()).then(|| {
            let last = self.numbers.entry(client).or_default();
            let again = may_be_old && *last > 0 && rng.chance(300);
            let seq = if again { 1 + rng.below(*last) } else { *last + 1 };
            *last = seq.max(*last);
            MutationId { client: client.into(), seq }
        });
        let time = self.real.now / 1000 - rng.below(3);
        Mutation { id, time, ops }
    }

    /// One of the judges gets some mutations and judges them.
    async fn judge(&mut self, who: usize) {
        let client = CLIENTS[self.rng.below(CLIENTS.len() as u64) as usize];
        let at_other = self.judges[1 - who].waiting.as_ref().filter(|(mutations, ..)| {
            !client.is_empty()
                && mutations.iter().flat_map(|m| &m.id).any(|id| *id.client == *client)
        });
        let mutations = match at_other {
            // A client that has lost its connection sends them again to another instance.
            Some((mutations, ..)) => mutations.clone(),
            None => (0..1 + self.rng.below(3)).map(|n| self.mutation(client, n == 0)).collect(),
        };
        self.look(who, mutations).await;
    }

    async fn look(&mut self, who: usize, mutations: Vec<Mutation>) {
        let wanted = Wanted::by(&mutations);
        let rules = &self.rules;
        let known = Place::default();
        let call = calls::look(&self.real.lane, &self.real.keys, known, rules, &wanted);
        let part = self.real.call(call, |value| calls::looked(value, &wanted)).await;
        assert_eq!(self.stored.look(&wanted), part);
        let mut draft = Draft::new(rules, part);
        let now = self.real.now;
        let judge = |mutation: &Mutation| draft.judge(now, mutation.clone());
        let verdicts: Vec<_> = mutations.iter().map(judge).collect();
        let commit = draft.finish();
        let (mut waiting, mut decided) = (Vec::new(), Vec::new());
        for (mutation, verdict) in mutations.into_iter().zip(verdicts) {
            let is_new =
                mutation.id.as_ref().is_none_or(|id| commit.verdicts.iter().any(|v| v.0 == *id));
            if is_new && !commit.is_empty() {
                waiting.push(mutation);
                decided.push(verdict);
                continue;
            }
            // Nothing of it is to be committed: that is what becomes of it.
            let judged = self.model.mutate(now, mutation.clone());
            assert_eq!(*judged.verdict, *verdict, "{mutation:?}");
            self.count(&verdict, !is_new);
        }
        if !commit.is_empty() {
            self.judges[who].waiting = Some((waiting, decided, commit));
        }
    }

    async fn commit(&mut self, who: usize) {
        let judge = &mut self.judges[who];
        let Some((mutations, verdicts, commit)) = judge.waiting.take() else { return };
        let (committer, before) = (judge.committer, judge.last);
        let hosting = Hosting { name: NAME, rules: &self.rules, committer };
        let (now, head, limits) = (self.real.now, self.real.head, &self.rules.limits);
        let made = self.real.commit(hosting, before, &commit).await;
        let stored = self.stored.commit(now, (head, 0), limits, (None, before), &commit);
        assert_eq!(stored, made.map_or(Committed::Changed, Committed::Now));
        let Some(first) = made else {
            self.tally.changed += 1;
            return self.look(who, mutations).await;
        };
        if !commit.changes.is_empty() {
            if self.rng.chance(200) {
                // The answer was lost.
                assert_eq!(self.real.commit(hosting, before, &commit).await, Some(first));
            }
            let last = first.0 + commit.changes.len() as u64 - 1;
            self.judges[who].last = Version(last);
            self.last = Some((who, before, commit.clone(), first));
        }
        self.events.extend(calls::published(hosting, &commit, first));
        self.notes.extend(calls::notes(hosting, commit.verdicts.iter().map(|(id, v)| (id, v))));
        for (mutation, verdict) in mutations.into_iter().zip(verdicts) {
            let verdict = decided(&verdict, first);
            let judged = self.model.mutate(self.real.now, mutation.clone());
            assert_eq!(*judged.verdict, *verdict, "{mutation:?}");
            self.count(&verdict, false);
        }
    }

    fn count(&mut self, verdict: &Verdict, before: bool) {
        self.tally.known += u32::from(before);
        match verdict {
            Verdict::Accepted { conflicts, .. } => {
                self.tally.accepted += 1;
                self.tally.conflicts += u32::from(!conflicts.is_empty());
            }
            Verdict::Rejected(rejection) => {
                self.tally.rejected += 1;
                let says = rejection.reason.to_string();
                self.tally.full += u32::from(
                    matches!(rejection.reason, Reason::Refused(_)) && says.contains("max_records"),
                );
            }
            Verdict::Forgotten => self.tally.forgotten += 1,
        }
    }

    async fn check(&mut self, load: &Load) {
        let page = self.real.load(&self.rules, load).await;
        assert_eq!(page, self.model.load(load), "{load:?}");
        // The limit of bytes is no matter of the simulation.
        if self.rules.limits.max_page_bytes > 1 {
            let (now, head) = (self.real.now, self.real.head);
            assert_eq!(self.stored.load(now, head, &self.rules.limits, load), page, "{load:?}");
        }
        self.tally.resets += u32::from(page.reset);
        self.tally.pages += u32::from(page.next.is_some());
    }

    /// What is remembered of mutations that were rejected.
    async fn known(
        &mut self,
        which: impl Fn(&MutationId) -> bool,
    ) -> BTreeMap<MutationId, Arc<Verdict>> {
        let id = |note: &Note| MutationId { client: Arc::clone(&note.about), seq: note.number };
        let ids = self.notes.iter().map(id).filter(which).collect();
        let wanted = Wanted { ids, ..Wanted::default() };
        let Real { lane, keys, .. } = &self.real;
        let call = calls::look(lane, keys, Place::default(), &self.rules, &wanted);
        let part = self.real.call(call, |value| calls::looked(value, &wanted)).await;
        part.verdicts
    }

    fn any_load(&mut self) -> Load {
        let version = |rng: &mut Rng, now: u64| match rng.below(4) {
            0 => Version(0),
            _ => Version(START - 5 + rng.below(now - START + 10)),
        };
        let after = version(&mut self.rng, self.real.now);
        let began =
            if self.rng.chance(500) { after } else { version(&mut self.rng, self.real.now) };
        let client = CLIENTS[self.rng.below(4) as usize];
        Load {
            after,
            began,
            limit: self.rng.below(6) as usize,
            client: (!client.is_empty()).then(|| client.into()),
        }
    }

    async fn live(&mut self) {
        for _ in 0..STEPS {
            self.real.now += 1 + self.rng.below(20);
            match self.rng.below(8) {
                0..3 => {
                    let who = self.rng.below(self.count) as usize;
                    if self.judges[who].waiting.is_none() {
                        self.judge(who).await;
                    }
                }
                3..6 => {
                    let who = self.rng.below(self.count) as usize;
                    self.commit(who).await;
                }
                _ => {
                    let load = self.any_load();
                    self.check(&load).await;
                }
            }
        }
    }
}

async fn connect(redis: &Redis) -> MultiplexedConnection {
    redis.connect(tokio::sync::mpsc::unbounded_channel().0).await
}

#[tokio::test]
async fn a_shared_collection_does_what_one_in_memory_does() {
    let redis = Redis::start();
    let connection = connect(&redis).await;
    let mut total = Tally::default();
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut world = World::new(seed, connection.clone()).await;
        world.live().await;
        let Tally { accepted, rejected, conflicts, full, known, forgotten, changed, resets, pages } =
            world.tally;
        total.accepted += accepted;
        total.rejected += rejected;
        total.conflicts += conflicts;
        total.full += full;
        total.known += known;
        total.forgotten += forgotten;
        total.changed += changed;
        total.resets += resets;
        total.pages += pages;
    }
    let Tally { accepted, rejected, conflicts, full, known, forgotten, changed, resets, pages } =
        total;
    let counts = [accepted, rejected, conflicts, full, known, forgotten, changed, resets, pages];
    assert!(counts.iter().all(|count| *count >= 10), "too little happened: {counts:?}");
}

#[tokio::test]
async fn what_a_failover_took_from_a_collection_is_there_again_with_its_events() {
    let redis = Redis::start();
    let connection = connect(&redis).await;
    let (mut restored, mut noted) = (0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut world = World::new(seed, connection.clone()).await;
        // Clients that were forgotten are no matter of this, nor deletions.
        let limits = Limits { max_clients: 100, max_deletions: 100, ..world.rules.limits.clone() };
        world.rules.limits = limits;
        world.model = Collection::with_rules(world.rules.clone(), START);
        world.live().await;
        let rejected = world.known(|_| true).await;
        let everything = Load { limit: 100, client: Some("ann".into()), ..Load::default() };
        let since = Load { after: Version(START), began: Version(START), ..everything.clone() };
        world.rules.limits.max_page = 100;
        world.rules.limits.max_page_bytes = 1 << 20;
        let before = [
            world.real.load(&world.rules, &everything).await,
            world.real.load(&world.rules, &since).await,
        ];
        // The one that takes over has got the first part of it, each event with its change.
        let kept = world.rng.below(world.events.len() as u64) as usize;
        world.real.command(&["FLUSHALL"]).await;
        let rules = world.rules.clone();
        world.real.now = START;
        world.real.load(&rules, &everything).await;
        let Limits { max_verdicts, max_verdict_bytes, .. } = rules.limits;
        let limits = [max_verdicts.to_string(), max_verdict_bytes.to_string()];
        let meta = world.real.keys[3].clone();
        let set = ["HSET", &meta, "verdicts", &limits[0], "verdict_bytes", &limits[1]];
        world.real.command(&set).await;
        for part in [&world.events[..kept], &world.events[kept..], &world.events[kept..]] {
            for some in part.chunks(7) {
                let events = some.iter().map(|(at, event)| (event.clone(), Some(*at))).collect();
                let append = append(true, events);
                let retention = Retention::default();
                let of = |_: &str| world.real.keys.clone();
                let channel = world.real.channel.clone();
                let call = calls::restore(&world.real.lane, of, &channel, &retention, &append);
                let value = call.expect("they tell of a collection");
                world.real.call(value, |_| Ok(Answer::Done(()))).await;
            }
        }
        restored += world.events.len() - kept;
        let after =
            [world.real.load(&rules, &everything).await, world.real.load(&rules, &since).await];
        let judged = before[0].judged;
        for (before, after) in before.into_iter().zip(after) {
            // A rejection is no event.
            assert!(after.judged <= before.judged);
            assert_eq!(after, Page { judged: after.judged, ..before });
        }
        // Its answer was lost, and then it was, until others put it back.
        let (who, known, commit, first) = world.last.take().expect("something was changed");
        let committer = world.judges[who].committer;
        let hosting = Hosting { name: NAME, rules: &rules, committer };
        assert_eq!(world.real.commit(hosting, known, &commit).await, Some(first));
        let is_its = |id: &MutationId| commit.verdicts.iter().any(|(its, _)| its == id);
        let its: Vec<_> = rejected.iter().filter(|(id, _)| is_its(id)).collect();
        let there = world.known(is_its).await;
        assert!(its.iter().all(|(id, verdict)| there.get(id) == Some(verdict)), "{its:?}");
        // What else was rejected is put back by who has told it, and what is there stays.
        for _ in 0..2 {
            let of = |_: &str| world.real.keys.clone();
            let call = calls::put_back_notes(of, &world.notes);
            world.real.call(call, |_| Ok(Answer::Done(()))).await;
            let there = world.known(|_| true).await;
            let lacks = rejected.iter().find(|(id, verdict)| there.get(id) != Some(verdict));
            assert_eq!(lacks, None);
            let after = world.real.load(&rules, &everything).await;
            assert_eq!(after.judged, judged, "the last one that was judged");
        }
        noted += rejected.len();
    }
    assert!(restored > 100 && noted > 50, "{restored} {noted}");
}

fn insertion(key: &str) -> Mutation {
    let edit = Edit::Insert(Document::parse(b"{}", 8).unwrap());
    let op = Op { key: Key::new(key).unwrap(), base: None, was: None, edit };
    Mutation { id: None, time: 0, ops: vec![op] }
}

/// The same as `a_record_lasts_until_its_session_was_away_for_the_time_out` sees in memory.
#[tokio::test]
async fn a_shared_record_lasts_until_its_session_was_away_for_the_time_out() {
    let redis = Redis::start();
    let mut world = World::new(1, connect(&redis).await).await;
    world.look(0, vec![insertion("ann"), insertion("ben")]).await;
    world.commit(0).await;
    let leases = keys::leases(&world.real.keys);
    let timeout = std::time::Duration::from_secs(10);
    let expected: [(u64, &[&str], &[&str]); 12] = [
        (0, &["ann"], &[]),
        (3, &["ann", "nobody"], &[]),
        (6, &["ann"], &[]),
        (9, &["ann"], &[]),
        (12, &["ann"], &["ben"]),
        // It is told once: who was told sees to it.
        (13, &["ann"], &[]),
        (15, &[], &[]),
        // Nothing was said for too long: nobody is to blame.
        (25, &[], &[]),
        (30, &[], &[]),
        (34, &[], &[]),
        (36, &[], &["ann", "ben"]),
        (37, &[], &[]),
    ];
    for (at, present, over) in expected {
        world.real.now = START + 1_000_000 * (1 + at);
        let present: Vec<Arc<str>> = present.iter().map(|name| Arc::from(*name)).collect();
        let real = &mut world.real;
        let call =
            calls::beat(&real.lane, &real.keys, &leases, Place::default(), &present, timeout);
        let told = real.call(call, calls::over).await;
        let told: Vec<_> = told.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(told, over, "{at}");
    }
}
