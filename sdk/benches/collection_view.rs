//! A live, filtered and sorted list of a large collection: what one change costs. It must follow
//! the change, not the collection.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings::Client;
use tidings::collection::{Edit, Key, Patch};

#[derive(Serialize, Deserialize)]
struct Todo {
    title: String,
    rank: u32,
    done: bool,
}

fn view(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = c.benchmark_group("view of");
    for records in [1_000, 100_000] {
        // Nobody is there, so all that is shown was written here.
        let client = runtime.block_on(async { Client::builder("http://127.0.0.1:9").build() });
        let opened = runtime.block_on(async {
            let client = client.unwrap();
            let todos = client.collection::<Todo>("todos");
            todos.max_pending(usize::MAX).max_pending_bytes(usize::MAX).max_undo(0).await
        });
        let todos = opened.unwrap();
        let view = todos.view().filter(|todo| !todo.done).sort_by_key(|todo| todo.rank).open();
        let all = (0..records).map(|n| {
            let rank = n * 7919 % records;
            let todo = json!({"title": format!("Number {n}"), "rank": rank, "done": false});
            let document = tidings::collection::Document::parse(todo.to_string().as_bytes(), 8);
            (Key::new(format!("{n}")).unwrap(), Edit::Insert(document.unwrap()))
        });
        todos.mutate(all).unwrap();
        assert_eq!(view.len(), records as usize);
        let mut n = 0;
        group.bench_function(format!("{records}: a record moves"), |b| {
            b.iter(|| {
                n += 1;
                let rank = n * 104_729 % records;
                let patch = Patch::parse(format!(r#"{{"rank":{rank}}}"#).as_bytes(), 8).unwrap();
                let key = Key::new(format!("{}", n % records)).unwrap();
                black_box(todos.mutate([(key, Edit::Update(patch))]).unwrap())
            });
        });
    }
}

criterion_group!(benches, view);
criterion_main!(benches);
