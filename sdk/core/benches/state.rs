//! Collections: what a mutation costs the server, what a confirmed change costs a client of whose
//! own changes many are pending, and what the size of the collection has to do with it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tidings_core::state::{
    Change, Collection, Document, Edit, Key, Limits, Mutation, MutationId, Op, Patch, Policy,
    Reason, Rejection, Stamp, Store, StoreConfig, Verdict, Version,
};

fn key(n: usize) -> Key {
    Key::new(format!("todo.{n}")).unwrap()
}

/// A record of some 150 bytes.
fn record(n: usize) -> Document {
    let json = format!(
        r#"{{"title":"Number {n}","done":false,"cups":0,"by":{{"name":"Ann","at":1764150000}},
            "tags":["kitchen","urgent"],"note":"to be done before the guests come at six"}}"#
    );
    Document::parse(json.as_bytes(), 32).unwrap()
}

fn patch(json: &str) -> Patch {
    Patch::parse(json.as_bytes(), 32).unwrap()
}

fn mutation(seq: u64, key: Key, edit: Edit) -> Mutation {
    let id = Some(MutationId { client: "other".into(), seq });
    Mutation { id, time: 0, ops: vec![Op { key, base: None, was: None, edit }] }
}

/// A change by somebody else.
fn change(key: Key, value: Document, version: u64) -> Change {
    let by = Some(MutationId { client: "other".into(), seq: version });
    let stamp = Stamp { version: Version(version), by, alone_since: Version(0), time: 0 };
    Change { key, value: Some(value), stamp }
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("state/server: update one of");
    for records in [100, 100_000] {
        let limits = Limits { max_records: records, ..Limits::default() };
        let mut collection = Collection::new(Policy::Merge, limits, 0);
        for n in 0..records {
            let seq = n as u64 + 1;
            collection.mutate(seq, mutation(seq, key(n), Edit::Insert(record(n))));
        }
        let (done, mut seq) = (patch(r#"{"done":true}"#), records as u64);
        group.bench_function(format!("{records} records"), |b| {
            b.iter(|| {
                seq += 1;
                let key = key(seq as usize % records);
                black_box(collection.mutate(seq, mutation(seq, key, Edit::Update(done.clone()))))
            });
        });
    }
}

/// A store with so many records and so many pending changes, each of a record of its own or all of
/// the same.
fn store(records: usize, pending: usize, same: bool) -> Store {
    let config = StoreConfig { max_pending: usize::MAX, ..StoreConfig::new("me") };
    let mut store = Store::new(config);
    for n in 0..records {
        store.confirm(change(key(n), record(n), n as u64 + 1));
    }
    for n in 0..pending {
        let key = key(if same { 0 } else { n });
        let edit = Edit::Update(patch(&format!(r#"{{"title":"Mine {n}"}}"#)));
        store.mutate(1, [(key, edit)]).unwrap();
    }
    store.take_changed();
    store
}

fn rebase(c: &mut Criterion) {
    let mut group = c.benchmark_group("state/client: a confirmed change");
    for (what, records, pending, same) in [
        ("1 pending", 20_000, 1, false),
        ("100 pending", 20_000, 100, false),
        ("10000 pending", 20_000, 10_000, false),
        ("1 pending, 100 records", 100, 1, false),
        ("100 pending for that record", 20_000, 100, true),
        ("10000 pending for that record", 20_000, 10_000, true),
    ] {
        let mut store = store(records, pending, same);
        let mut version = records as u64;
        let others = record(0).patched(&patch(r#"{"done":true}"#));
        group.bench_function(what, |b| {
            b.iter(|| {
                version += 1;
                store.confirm(change(key(0), others.clone(), version));
                black_box(store.take_changed())
            });
        });
    }
}

/// One more change to a record that has so many pending; it is rejected and taken back, so that
/// their number stays.
#[allow(clippy::disallowed_methods, reason = "only a part of each round is measured")]
fn add(c: &mut Criterion) {
    let mut group = c.benchmark_group("state/client: one more change");
    for pending in [1, 100, 10_000] {
        let mut store = store(1, pending, true);
        let title = patch(r#"{"title":"One more"}"#);
        group.bench_function(format!("{pending} pending for that record"), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let edits = [(key(0), Edit::Update(title.clone()))];
                    let begun = Instant::now();
                    let seq = store.mutate(1, edits).unwrap();
                    black_box(store.take_changed());
                    spent += begun.elapsed();
                    let reason = Reason::Refused("to stay at it".to_owned());
                    let rejection = Rejection { key: key(0), reason };
                    store.answer([(seq, Verdict::Rejected(rejection))]);
                }
                spent
            });
        });
    }
}

/// The changes come back in order, each with the state in which it was shown.
fn settle(c: &mut Criterion) {
    const PENDING: usize = 1000;
    c.bench_function("state/client: 1000 pending for one record come back", |b| {
        let mut shown = vec![record(0)];
        for n in 0..PENDING {
            let title = patch(&format!(r#"{{"title":"Mine {n}"}}"#));
            shown.push(shown[n].patched(&title));
        }
        let changes: Vec<Change> = (1..=PENDING)
            .map(|n| {
                let mut change = change(key(0), shown[n].clone(), n as u64 + 1);
                change.stamp.alone_since = Version(1);
                change.stamp.by = Some(MutationId { client: Arc::from("me"), seq: n as u64 });
                change
            })
            .collect();
        let pending = || store(1, PENDING, true);
        let come_back = |mut store: Store| {
            changes.iter().for_each(|change| store.confirm(change.clone()));
            store
        };
        b.iter_batched(pending, come_back, BatchSize::LargeInput);
    });
}

criterion_group!(benches, apply, rebase, add, settle);
criterion_main!(benches);
