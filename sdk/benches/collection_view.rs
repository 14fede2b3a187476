//! A live, filtered and sorted list of a collection: what one change costs, and what it costs to
//! look at the list. It must follow the change, not the collection.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Waker};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_signals::signal_vec::SignalVec;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings::Client;
use tidings::collection::{Collection, Edit, Key, Patch, View};
use tokio::runtime::Runtime;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

#[derive(Serialize, Deserialize)]
struct Todo {
    title: String,
    rank: u32,
    done: bool,
}

/// A collection with so many records. Nobody is there, so all that is shown was written here.
fn collection(runtime: &Runtime, records: u32) -> Collection<Todo> {
    let todos = runtime.block_on(async {
        let client = Client::builder("http://127.0.0.1:9").build().unwrap();
        let todos = client.collection::<Todo>("todos");
        todos.max_pending(usize::MAX).max_pending_bytes(usize::MAX).max_undo(0).await.unwrap()
    });
    let all = (0..records).map(|n| {
        let rank = n * 7919 % records;
        let todo = json!({"title": format!("Number {n}"), "rank": rank, "done": false});
        let document = tidings::collection::Document::parse(todo.to_string().as_bytes(), 8);
        (Key::new(format!("{n}")).unwrap(), Edit::Insert(document.unwrap()))
    });
    todos.mutate(all).unwrap();
    todos
}

fn view(todos: &Collection<Todo>) -> View<Todo> {
    todos.view().filter(|todo| !todo.done).sort_by_key(|todo| todo.rank).open()
}

/// Gives a record another rank.
fn change(todos: &Collection<Todo>, n: u32, records: u32) {
    let rank = n.wrapping_mul(104_729) % records;
    let patch = Patch::parse(format!(r#"{{"rank":{rank}}}"#).as_bytes(), 8).unwrap();
    let key = Key::new(format!("{}", n % records)).unwrap();
    black_box(todos.mutate([(key, Edit::Update(patch))]).unwrap());
}

fn changes(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = c.benchmark_group("view");
    for records in SIZES {
        let todos = collection(&runtime, records);
        let mut n = 0;
        let mut next = || {
            n += 1;
            n
        };
        group.bench_function(BenchmarkId::new("a record changes; no view", records), |b| {
            b.iter(|| change(&todos, next(), records));
        });
        let view = view(&todos);
        assert_eq!(view.len(), records as usize);
        group.bench_function(BenchmarkId::new("a record moves", records), |b| {
            b.iter(|| change(&todos, next(), records));
        });
        let mut signal = view.signal_vec();
        let mut context = Context::from_waker(Waker::noop());
        group.bench_function(BenchmarkId::new("a record moves; followed", records), |b| {
            b.iter(|| {
                change(&todos, next(), records);
                while Pin::new(&mut signal).poll_vec_change(&mut context).is_ready() {}
            });
        });
        drop(signal);
        group.bench_function(BenchmarkId::new("a record moves; all are looked up", records), |b| {
            b.iter(|| {
                change(&todos, next(), records);
                black_box(view.entries())
            });
        });
    }
}

criterion_group!(benches, changes);
criterion_main!(benches);
