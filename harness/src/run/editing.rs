//! Shared records are edited by the plan, and it is watched what others see of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_signals::signal_vec::{SignalVecExt, VecDiff};
use futures_util::StreamExt;
use serde_json::json;
use serde_json::value::RawValue;
use tidings::collection::{Conflict, Entry, Outcome, Reason, View, Write, WriteError};
use tidings_core::rng::Rng;
use tokio::task::JoinSet;

use super::RunError;
use super::connect::Seated;
use crate::client::Board;
use crate::latency::Recorder;
use crate::ledger::{Answer, EditLog, Note};
use crate::population::Population;
use crate::scenario::Scenario;
use crate::score::Score;

/// Clients that open their collection at the same time.
const OPENING_AT_ONCE: usize = 64;

/// The edits of a run.
pub(super) struct Editing {
    score: Arc<Score>,
    /// By client.
    boards: BTreeMap<usize, Open>,
    tables: BTreeMap<String, Table>,
    sources: Vec<Source>,
    pub(super) measured: Measured,
}

/// A collection that a client has open.
struct Open {
    collection: String,
    board: Board,
}

/// What was done to a collection.
#[derive(Default)]
struct Table {
    records: usize,
    log: Mutex<EditLog>,
}

/// Edits at a constant rate, by clients in turn.
struct Source {
    rate: f64,
    /// So many edit the same record at the same instant.
    together: usize,
    editors: Vec<usize>,
    records: u64,
}

/// What is measured of edits while they are made.
#[derive(Default)]
pub(super) struct Measured {
    /// From when an edit was due until its maker had the acknowledgement.
    pub(super) acknowledged: Recorder,
    /// From when an edit was due until another client showed it, if its maker was online.
    pub(super) visible: Recorder,
    /// The same if its maker was not.
    pub(super) visible_offline: Recorder,
    /// Edits made without a connection.
    pub(super) offline: AtomicU64,
    pub(super) merged: AtomicU64,
    pub(super) mine: AtomicU64,
    pub(super) theirs: AtomicU64,
}

/// The key of a record.
pub(super) fn key(record: usize) -> String {
    format!("note.{record}")
}

/// The number of the record with this key.
pub(super) fn record(key: &str) -> Option<usize> {
    key.strip_prefix("note.")?.parse().ok()
}

impl Editing {
    /// Opens the collections of all clients that have one, fills them, and begins to watch. `None`
    /// if nobody has one.
    pub(super) async fn begin(
        scenario: &Scenario,
        score: &Arc<Score>,
        clients: &[Option<Seated>],
    ) -> Result<Option<Arc<Self>>, RunError> {
        let population = score.population();
        if population.clients.iter().all(|client| client.collection.is_none()) {
            return Ok(None);
        }
        let boards = open(population, clients).await?;
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        for Open { collection, .. } in boards.values() {
            tables.entry(collection.clone()).or_default();
        }
        let mut sources = Vec::new();
        for edit in &scenario.edit {
            let is_from = |client: usize| {
                let group = population.clients.get(client).map(|client| client.group);
                group.and_then(|n| scenario.group.get(n)).is_some_and(|g| g.name == edit.from)
            };
            let editors = boards.keys().copied().filter(|client| is_from(*client));
            let editors: Vec<_> = editors.take(edit.editors.unwrap_or(usize::MAX)).collect();
            let first = editors.first().and_then(|client| boards.get(client));
            if let Some(table) = first.and_then(|open| tables.get_mut(&open.collection)) {
                table.records = table.records.max(edit.records);
            }
            sources.push(Source {
                rate: edit.rate,
                together: edit.together,
                editors,
                records: edit.records as u64,
            });
        }
        let score = score.clone();
        let measured = Measured::default();
        let editing = Arc::new(Self { score, boards, tables, sources, measured });
        editing.fill().await?;
        for (client, open) in &editing.boards {
            let watching = Arc::clone(&editing).watch(*client, open.board.view().open());
            tokio::spawn(watching);
        }
        Ok(Some(editing))
    }

    /// Puts the records there that are to be edited, and waits until everybody has them.
    async fn fill(&self) -> Result<(), RunError> {
        for (name, table) in &self.tables {
            let Some(first) = self.boards_of(name).next() else { continue };
            for record in 0..table.records {
                if first.get(&key(record)).is_some() {
                    continue;
                }
                let empty = RawValue::from_string(r#"{"edits":0}"#.to_owned());
                let empty = empty.map_err(|error| RunError::Environment(error.to_string()))?;
                let write = first.insert(&key(record), &empty);
                write.map_err(|error| RunError::Environment(error.to_string()))?;
            }
            first.settled().await;
            for board in self.boards_of(name) {
                let all_there = |status: tidings::collection::CollectionStatus| {
                    std::future::ready(status.records < table.records)
                };
                let statuses = futures_signals::signal::SignalExt::to_stream(board.status_signal());
                statuses
                    .take_while(|status| all_there(status.clone()))
                    .for_each(|_| std::future::ready(()))
                    .await;
            }
        }
        Ok(())
    }

    fn boards_of(&self, name: &str) -> impl Iterator<Item = &Board> {
        let open = self.boards.values().filter(move |open| open.collection == name);
        open.map(|open| &open.board)
    }

    /// The names of the collections.
    pub(super) fn collections(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Who has this collection open.
    pub(super) fn clients_of(&self, name: &str) -> impl Iterator<Item = (usize, &Board)> {
        let open = self.boards.iter().filter(move |(_, open)| open.collection == name);
        open.map(|(client, open)| (*client, &open.board))
    }

    /// The edits of a collection.
    pub(super) fn log(&self, name: &str) -> Option<MutexGuard<'_, EditLog>> {
        let table = self.tables.get(name)?;
        Some(table.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes all edits, each when it is due from `start_us` on; returns when all have their answers.
    pub(super) async fn run(self: Arc<Self>, start_us: u64, end_us: u64) {
        let mut sources = JoinSet::new();
        for n in 0..self.sources.len() {
            sources.spawn(Arc::clone(&self).run_source(n, start_us, end_us));
        }
        sources.join_all().await;
    }

    async fn run_source(self: Arc<Self>, n: usize, start_us: u64, end_us: u64) {
        let Some(source) = self.sources.get(n) else { return };
        let Source { rate, together, editors, records } = source;
        let mut rng = Rng::new(n as u64);
        let mut answers = JoinSet::new();
        let mut record = 0;
        for turn in 0.. {
            if turn % together == 0 {
                record = rng.below(*records) as usize;
            }
            let at_us = ((turn - turn % together) as f64 / rate * 1e6) as u64;
            if at_us >= end_us || editors.is_empty() {
                break;
            }
            let due_us = start_us + at_us;
            tokio::time::sleep_until(self.score.clock.instant(due_us).into()).await;
            let late = self.score.clock.now_us().saturating_sub(due_us);
            if self.score.counts(due_us) {
                self.score.publish_lag.record(late);
            }
            let editor = editors[turn % editors.len()];
            if let Some((number, write)) = self.edit(editor, record, due_us) {
                let editing = Arc::clone(&self);
                answers.spawn(async move {
                    let answer = write.acknowledged().await;
                    let answer = answer.map(|acknowledged| acknowledged.conflicts);
                    editing.answered((editor, record, number), due_us, answer);
                });
            }
        }
        answers.join_all().await;
    }

    /// Makes one edit; `None` if that is not possible.
    fn edit(&self, editor: usize, record: usize, due_us: u64) -> Option<(u32, Write)> {
        let Open { collection, board } = self.boards.get(&editor)?;
        let online = !self.score.is_away(editor);
        if !online {
            self.measured.offline.fetch_add(1, Relaxed);
        }
        let number = self.log(collection)?.make(editor, record, due_us, online);
        let patch =
            json!({ "title": format!("{editor}.{number}"), "by": { editor.to_string(): number } });
        let batch = board.batch().update(&key(record), &patch);
        let written = batch.increment(&key(record), &json!({ "edits": 1 })).commit();
        if written.is_err() {
            self.log(collection)?.answered(editor, record, number, Answer::Rejected);
        }
        Some((number, written.ok()?))
    }

    fn answered(
        &self,
        (editor, record, number): (usize, usize, u32),
        due_us: u64,
        answer: Result<Vec<Conflict>, WriteError>,
    ) {
        let (answer, conflicts) = match answer {
            Ok(conflicts) => (Answer::Accepted, conflicts),
            Err(WriteError::Rejected(rejection)) => match rejection.reason {
                Reason::Conflict(conflict) => (Answer::Rejected, vec![*conflict]),
                _ => (Answer::Rejected, Vec::new()),
            },
            // The run is over: it has no answer.
            Err(WriteError::Closed) => return,
        };
        for conflict in conflicts {
            let counter = match conflict.outcome {
                Outcome::Merged => &self.measured.merged,
                Outcome::Mine => &self.measured.mine,
                Outcome::Theirs => &self.measured.theirs,
            };
            counter.fetch_add(1, Relaxed);
        }
        let counts = self.score.counts(due_us) && !self.score.was_away_since(editor, due_us);
        if answer == Answer::Accepted && counts {
            let us = self.score.clock.now_us().saturating_sub(due_us);
            self.measured.acknowledged.record(us);
        }
        let Some(Open { collection, .. }) = self.boards.get(&editor) else { return };
        if let Some(mut log) = self.log(collection) {
            log.answered(editor, record, number, answer);
        }
    }

    /// Notes when the edits of others are shown to a client.
    async fn watch(self: Arc<Self>, client: usize, view: View<Box<RawValue>>) {
        let mut seen = BTreeMap::new();
        let mut diffs = view.signal_vec().to_stream();
        while let Some(diff) = diffs.next().await {
            match diff {
                VecDiff::Replace { values } => {
                    values.iter().for_each(|entry| self.look(client, entry, &mut seen));
                }
                VecDiff::InsertAt { value, .. }
                | VecDiff::UpdateAt { value, .. }
                | VecDiff::Push { value } => self.look(client, &value, &mut seen),
                _ => {}
            }
        }
    }

    /// A client is shown a record; `seen` has, by maker and record, what it has seen before.
    fn look(
        &self,
        client: usize,
        entry: &Entry<Box<RawValue>>,
        seen: &mut BTreeMap<(usize, usize), u32>,
    ) {
        let now = self.score.clock.now_us();
        let Ok(note) = serde_json::from_str::<Note>(entry.value.get()) else { return };
        let Some(record) = record(&entry.key) else { return };
        let collection = self.boards.get(&client).map(|open| open.collection.as_str());
        for (maker, shown) in note.by.into_iter().filter(|(maker, _)| *maker != client) {
            let before = seen.insert((maker, record), shown).unwrap_or_default();
            if shown <= before {
                continue;
            }
            let Some(log) = collection.and_then(|name| self.log(name)) else { return };
            for made in log.between(maker, record, before, shown) {
                if !self.score.counts(made.due_us) {
                    continue;
                }
                let is_live = made.online && !self.score.was_away_since(client, made.due_us);
                let visible = match is_live {
                    true => &self.measured.visible,
                    false => &self.measured.visible_offline,
                };
                visible.record(now.saturating_sub(made.due_us));
            }
        }
    }
}

/// Has each client open its collection.
async fn open(
    population: &Population,
    clients: &[Option<Seated>],
) -> Result<BTreeMap<usize, Open>, RunError> {
    let jobs = population.clients.iter().zip(clients).enumerate();
    let jobs = jobs.filter_map(|(number, (plan, seated))| {
        Some((number, plan.collection.clone()?, seated.clone()?))
    });
    let opening = futures_util::stream::iter(jobs).map(|(number, collection, seated)| async move {
        let opened = seated.client.open(collection.clone()).await;
        opened.map(|board| (number, Open { collection, board }))
    });
    let opened: Vec<_> = opening.buffer_unordered(OPENING_AT_ONCE).collect().await;
    let opened: Result<_, _> = opened.into_iter().collect();
    opened.map_err(|error| RunError::Environment(format!("no collection: {error}")))
}
