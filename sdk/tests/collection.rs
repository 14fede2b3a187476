//! What views show of a collection, without a server. With one it is seen in
//! `tests/tests/client_and_server`.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_signals::signal::Signal;
use futures_signals::signal_vec::{SignalVec, VecDiff};
use serde::{Deserialize, Serialize};
use tidings::Client;
use tidings::collection::{Collection, Document, Edit, Entry, Key, Patch};
use tidings_core::rng::Rng;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    rank: u64,
    #[serde(default)]
    done: bool,
}

async fn collection() -> Collection<Task> {
    // Nobody listens there.
    let client = Client::builder("http://127.0.0.1:9").build().unwrap();
    client.collection("tasks").await.unwrap()
}

/// One edit that is possible, of a key that is not among those taken.
fn edit(rng: &mut Rng, tasks: &Collection<Task>, taken: &mut Vec<String>) -> Option<(Key, Edit)> {
    let key = format!("task {}", rng.below(300));
    if taken.contains(&key) {
        return None;
    }
    taken.push(key.clone());
    let json = format!(r#"{{"rank":{},"done":{}}}"#, rng.below(20), rng.chance(300));
    let edit = match (tasks.get(&key), rng.below(4)) {
        (None, _) => Edit::Insert(Document::parse(json.as_bytes(), 4).unwrap()),
        (Some(_), 0) => Edit::Delete,
        (Some(_), _) => Edit::Update(Patch::parse(json.as_bytes(), 4).unwrap()),
    };
    Some((Key::new(key).unwrap(), edit))
}

/// Does what the signal says.
fn follow(list: &mut Vec<Entry<Task>>, diff: VecDiff<Entry<Task>>) {
    match diff {
        VecDiff::Replace { values } => *list = values,
        VecDiff::InsertAt { index, value } => list.insert(index, value),
        VecDiff::UpdateAt { index, value } => list[index] = value,
        VecDiff::RemoveAt { index } => drop(list.remove(index)),
        VecDiff::Move { old_index, new_index } => {
            let value = list.remove(old_index);
            list.insert(new_index, value);
        }
        VecDiff::Push { value } => list.push(value),
        VecDiff::Pop {} => drop(list.pop()),
        VecDiff::Clear {} => list.clear(),
    }
}

fn shape(entries: &[Entry<Task>]) -> Vec<(u64, String)> {
    entries.iter().map(|entry| (entry.value.rank, entry.key.to_string())).collect()
}

#[tokio::test]
async fn a_view_shows_what_sorting_everything_would() {
    let tasks = collection().await;
    let view = tasks.view().filter(|task| !task.done).sort_by_key(|task| task.rank).open();
    let mut signal = view.signal_vec();
    let mut followed = Vec::new();
    let mut rng = Rng::new(7);
    for round in 0..200 {
        // Few at once, and so many that they are not put in place one by one.
        let count = if round % 10 == 0 { 150 } else { 1 + rng.below(3) };
        let mut taken = Vec::new();
        let edits: Vec<_> = (0..count).filter_map(|_| edit(&mut rng, &tasks, &mut taken)).collect();
        tasks.mutate(edits).unwrap();
        if rng.chance(200) {
            tasks.undo().unwrap();
        }
        let mut expected = tasks.all();
        expected.retain(|entry| !entry.value.done);
        expected.sort_by_key(|entry| (entry.value.rank, entry.key.clone()));
        assert_eq!(shape(&view.entries().to_vec()), shape(&expected), "round {round}");
        let mut context = Context::from_waker(Waker::noop());
        while let std::task::Poll::Ready(Some(diff)) =
            Pin::new(&mut signal).poll_vec_change(&mut context)
        {
            follow(&mut followed, diff);
        }
        assert_eq!(shape(&followed), shape(&expected), "round {round}");
    }
    assert!(view.len() > 50, "it is not about nothing");
}

#[tokio::test]
async fn who_follows_a_view_is_told_as_much_as_is_needed() {
    let tasks = collection().await;
    let edit = |n: u64| {
        let record = format!(r#"{{"rank":{}}}"#, n % 7);
        let record = Document::parse(record.as_bytes(), 4).unwrap();
        (Key::new(format!("task {n}")).unwrap(), Edit::Insert(record))
    };
    tasks.mutate((0..100).map(edit)).unwrap();
    let view = tasks.view().sort_by_key(|task| task.rank).open();
    let mut context = Context::from_waker(Waker::noop());
    let (entries, mut changes) = view.changes();
    let mut whole = view.signal();
    let mut slow = view.signal_vec();
    let mut next = |signal: &mut (dyn SignalVec<Item = Entry<Task>> + Unpin)| match Pin::new(signal)
        .poll_vec_change(&mut context)
    {
        Poll::Ready(diff) => diff,
        Poll::Pending => panic!("it is told nothing"),
    };
    tasks.mutate([edit(100)]).unwrap();
    let mut followed = entries.to_vec();
    let diff = next(&mut changes).unwrap();
    assert!(matches!(diff, VecDiff::InsertAt { .. }), "only what has changed");
    follow(&mut followed, diff);
    assert_eq!(shape(&followed), shape(&view.entries().to_vec()));
    assert_eq!(entries.len(), 100, "what was handed out stays");
    let screen: Vec<_> = entries.range(10..20).cloned().collect();
    assert_eq!(shape(&screen), shape(&entries.to_vec()[10..20]));
    assert!(entries.get(99).is_some() && entries.get(100).is_none());

    for n in 101..10_000 {
        tasks.mutate([edit(n)]).unwrap();
    }
    let diff = next(&mut slow).unwrap();
    assert!(matches!(&diff, VecDiff::Replace { values } if values.len() == 10_000));
    let mut context = Context::from_waker(Waker::noop());
    let seen = Pin::new(&mut whole).poll_change(&mut context);
    assert!(matches!(seen, Poll::Ready(Some(entries)) if entries.len() == 10_000));
    assert!(Pin::new(&mut whole).poll_change(&mut context).is_pending(), "nothing has changed");
    drop(view);
    assert!(matches!(Pin::new(&mut whole).poll_change(&mut context), Poll::Ready(None)));
    assert!(matches!(Pin::new(&mut slow).poll_vec_change(&mut context), Poll::Ready(None)));
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_at_once() {
    let tasks = collection().await;
    tasks.insert("a", &Task { rank: 1, done: false }).unwrap();
    for (result, says) in [
        (tasks.insert("a", &Task { rank: 1, done: false }), "a: it exists already"),
        (tasks.delete("b"), "b: there is no such record"),
        (tasks.update("a", &7), "a record must be a JSON object, this is a number"),
        (tasks.update("a.*", &7), "not a key: segment 2 is `*`"),
        (tasks.increment("a", &serde_json::json!({"done": 1})), "a: done is false, not a whole"),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(tasks.change("b", |_| ()).unwrap_err().to_string().contains("no such record"));
    assert_eq!((tasks.len(), tasks.status().pending), (1, 1));
}
