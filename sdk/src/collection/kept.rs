//! What a storage keeps of pending mutations: lines of JSON, of which more are written at the end
//! until it pays to write all anew.

use std::sync::Arc;

use tidings_core::json::{self, MAX_DEPTH, Value, Writer};
use tidings_core::state::wire::{read_mutation, write_mutation};
use tidings_core::state::{Mutation, Store};

/// The version of the format.
const VERSION: u64 = 2;

/// What is kept of a collection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Who it is to the server.
    pub(super) client: Arc<str>,
    /// The numbers below are used.
    pub(super) next_seq: u64,
    /// What the server had not answered.
    pub(super) mutations: Vec<Mutation>,
}

/// Up to where a storage has what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Saved {
    next_seq: u64,
    /// The first that had no answer.
    first: u64,
}

impl Saved {
    /// All there is now.
    pub(super) fn all(store: &Store) -> Self {
        let next_seq = store.next_seq();
        Self { next_seq, first: store.first_unanswered().unwrap_or(next_seq) }
    }

    /// The number of the last mutation in it.
    pub(super) const fn last(self) -> u64 {
        self.next_seq - 1
    }
}

/// All that has to be kept of `store`.
pub(super) fn write(store: &Store) -> Vec<u8> {
    let Saved { next_seq, first } = Saved::all(store);
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.begin_object().key("tidings").str("pending").key("version").u64(VERSION);
    w.key("client").str(store.client()).key("next_seq").u64(next_seq).end_object();
    out.push(b'\n');
    write_mutations(store, first..next_seq, &mut out);
    out
}

/// What has to be kept of `store` beyond what was `saved`.
pub(super) fn write_more(store: &Store, saved: Saved) -> Vec<u8> {
    let Saved { next_seq, first } = Saved::all(store);
    let mut out = Vec::new();
    if first > saved.first {
        Writer::new(&mut out).begin_object().key("answered").u64(first - 1).end_object();
        out.push(b'\n');
    }
    write_mutations(store, saved.next_seq.max(first)..next_seq, &mut out);
    out
}

fn write_mutations(store: &Store, numbers: std::ops::Range<u64>, out: &mut Vec<u8>) {
    for mutation in numbers.filter_map(|seq| store.mutation(seq)) {
        write_mutation(mutation, &mut Writer::new(out));
        out.push(b'\n');
    }
}

impl Kept {
    /// What the text says; why it cannot be read.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let mut lines = lines(text);
        let (_, head) = lines.next().ok_or("it is empty")?;
        let head = head?;
        let version = head.get("version").and_then(|version| version.as_u64());
        if version != Some(VERSION) {
            return Err(format!("its version is not {VERSION}"));
        }
        let client = head.get("client").and_then(|client| client.as_str());
        let next_seq = head.get("next_seq").and_then(|next| next.as_u64());
        let (Some(client), Some(next_seq)) = (client, next_seq) else {
            return Err("client or next_seq is missing".to_owned());
        };
        let mut kept = Self { client: Arc::from(&*client), next_seq, mutations: Vec::new() };
        for (number, line) in lines {
            kept.add(line?).map_err(|problem| format!("line {number}: {problem}"))?;
        }
        Ok(kept)
    }

    fn add(&mut self, line: Value<'_>) -> Result<(), String> {
        if let Some(answered) = line.get("answered").and_then(|answered| answered.as_u64()) {
            self.mutations.retain(|mutation| seq(mutation) > answered);
            return Ok(());
        }
        let mutation = read_mutation(line, Some(&self.client), MAX_DEPTH);
        let mutation = mutation.map_err(|error| error.to_string())?;
        if self.mutations.last().is_some_and(|last| seq(last) >= seq(&mutation)) {
            return Err("the numbers do not grow".to_owned());
        }
        self.next_seq = self.next_seq.max(seq(&mutation) + 1);
        self.mutations.push(mutation);
        Ok(())
    }
}

fn seq(mutation: &Mutation) -> u64 {
    mutation.id.as_ref().map_or(0, |id| id.seq)
}

/// The lines of a text, counted from 1. What is behind the last end of a line was never
/// completed: it does not count.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Result<Value<'_>, String>)> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    let lines = text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
    (1..).zip(lines).map(|(number, line)| {
        let value = json::parse(line, MAX_DEPTH);
        (number, value.map_err(|error| format!("line {number}: {error}")))
    })
}

#[cfg(test)]
mod tests {
    use tidings_core::state::{Document, Edit, Key, StoreConfig, Verdict, Version};

    use super::*;

    fn mutate(store: &mut Store, n: u64) {
        let value = Document::parse(format!(r#"{{"n":{n}}}"#).as_bytes(), 4).unwrap();
        store.mutate(n, [(Key::new(format!("k{n}")).unwrap(), Edit::Insert(value))]).unwrap();
    }

    fn numbers(kept: &Kept) -> Vec<u64> {
        kept.mutations.iter().map(seq).collect()
    }

    #[test]
    fn what_is_written_at_the_end_is_as_good_as_all_written_anew() {
        let mut store = Store::new(StoreConfig::new("me"));
        let (mut text, mut saved) = (write(&store), Saved::all(&store));
        for n in 1..=9 {
            mutate(&mut store, n);
            if n % 3 == 0 {
                store.stored(n);
                store.next_batch();
                let accepted = Verdict::Accepted { version: Version(n), conflicts: Vec::new() };
                store.answer([(n - 1, accepted)]);
            }
            text.extend(write_more(&store, saved));
            saved = Saved::all(&store);
            assert_eq!(Kept::read(&text), Kept::read(&write(&store)), "after {n}");
        }
        assert_eq!(saved.last(), 9);
        let kept = Kept::read(&text).unwrap();
        assert_eq!((numbers(&kept), kept.next_seq), (vec![9], 10));
        assert!(write_more(&store, saved).is_empty());
    }

    #[test]
    fn a_line_that_was_not_completed_does_not_count_and_another_bad_one_is_told() {
        let mut store = Store::new(StoreConfig::new("me"));
        (1..=3).for_each(|n| mutate(&mut store, n));
        let text = write(&store);
        for torn in 1..20 {
            let kept = Kept::read(&text[..text.len() - torn]).unwrap();
            assert_eq!(numbers(&kept), [1, 2], "without {torn} bytes");
        }
        let text = String::from_utf8(text).unwrap();
        for (bad, says) in [
            (text.replace(r#""seq":2"#, r#""seq":0"#), "line 3: seq: counts from 1"),
            (text.replace(r#""seq":2"#, r#""seq":1"#), "line 3: the numbers do not grow"),
            (text.replace(r#""seq":2"#, r#""seq":"#), "line 3: "),
            (text.replace(r#""version":2"#, r#""version":3"#), "its version is not 2"),
            (text.replace(r#""client""#, r#""clint""#), "client or next_seq is missing"),
            (String::new(), "line 1: "),
        ] {
            let problem = Kept::read(bad.as_bytes()).unwrap_err();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
