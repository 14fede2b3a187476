//! What people do to records.

use std::sync::Arc;

use tidings_core::rng::Rng;
use tidings_core::state::{Document, Edit, Key, Patch, Policy, Resolution, Store};

/// Only ever incremented, so that the sum of what was accepted is known.
pub(crate) const COUNTER: &str = "counter";

const KEYS: [&str; 5] = ["a", "b", "c.d", "e", "f"];

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn document(json: &str) -> Document {
    Document::parse(json.as_bytes(), 8).unwrap()
}

pub(crate) fn patch(json: &str) -> Patch {
    Patch::parse(json.as_bytes(), 8).unwrap()
}

pub(crate) fn any_policy(rng: &mut Rng) -> Policy {
    match rng.below(5) {
        0 => Policy::ServerWins,
        1 => Policy::ClientWins,
        2 => Policy::LastWriteWins,
        3 => Policy::Custom(Arc::new(|conflict| match &conflict.mine {
            None => Resolution::Theirs,
            Some(mine) if mine.as_str().len() > conflict.theirs.as_str().len() => Resolution::Mine,
            Some(mine) => Resolution::Merged(conflict.theirs.patched(&Patch::from(mine))),
        })),
        _ => Policy::Merge,
    }
}

/// One to three edits, most of them possible with what is shown.
pub(crate) fn any(rng: &mut Rng, store: &Store) -> Vec<(Key, Edit)> {
    (0..=rng.below(3).saturating_sub(rng.below(2))).map(|_| one(rng, store)).collect()
}

fn one(rng: &mut Rng, store: &Store) -> (Key, Edit) {
    if rng.chance(200) {
        let amount = rng.below(9) as i64 - 2;
        return (key(COUNTER), Edit::Increment(patch(&format!(r#"{{"n":{amount}}}"#))));
    }
    let at = KEYS[rng.below(KEYS.len() as u64) as usize];
    let word = rng.id(3);
    let edit = match (store.get(at).is_some(), rng.below(10)) {
        (false, _) => Edit::Insert(document(&format!(r#"{{"title":"{word}","count":0}}"#))),
        (true, 0) => Edit::Delete,
        (true, 1) => Edit::Replace(document(&format!(r#"{{"title":"{word}","new":true}}"#))),
        (true, 2) => Edit::Increment(patch(r#"{"count":1}"#)),
        (true, 3) => Edit::Update(patch(r#"{"title":null}"#)),
        (true, 4 | 5) => Edit::Update(patch(&format!(r#"{{"by":{{"{word}":{{"x":1}}}}}}"#))),
        (true, 6) => Edit::Update(patch(&format!(r#"{{"by":"{word}"}}"#))),
        (true, _) => Edit::Update(patch(&format!(r#"{{"title":"{word}"}}"#))),
    };
    (key(at), edit)
}
