//! What a storage keeps of loaded records, so that they are there at the next start, without a
//! connection too: lines of JSON, of which more are written at the end until it pays to write all
//! anew.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;
use tidings_core::json::Writer;
use tidings_core::map::Map;
use tidings_core::state::wire::{read_change, write_change};
use tidings_core::state::{Change, Key, Record, Unsaved, Version};

use super::keep::{PAUSE, SLACK};
use super::kept::lines;
use super::shared::Shared;
use super::storage::Storage;
use crate::runtime::sleep;

/// The version of the format.
const VERSION: u64 = 1;

/// Changes of this time are stored together: the server has them anyway.
const GATHER: Duration = Duration::from_millis(500);

/// Loaded records as they are kept.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Everything up to this version is there.
    pub(super) version: Version,
    pub(super) records: Map<Key, Record>,
    /// How many bytes it had, if more may be written behind them.
    pub(super) bytes: Option<usize>,
}

/// Under which name the records of a collection are kept. It is no collection's.
pub(super) fn name(collection: &str) -> String {
    format!("{collection}.records")
}

/// The lines by which changes, and up to where everything is there then, are added to what is kept.
fn write_more(unsaved: Unsaved) -> Vec<u8> {
    let version = unsaved.version;
    let mut out = Vec::new();
    for change in unsaved.changes() {
        out.extend(write_change(&change));
        out.push(b'\n');
    }
    // Behind them, so that it only counts if they are all there.
    Writer::new(&mut out).begin_object().key("upto").u64(version.0).end_object();
    out.push(b'\n');
    out
}

fn write_all(unsaved: Unsaved) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.begin_object().key("tidings").str("records").key("version").u64(VERSION).end_object();
    out.push(b'\n');
    out.extend(write_more(unsaved));
    out
}

impl Loaded {
    /// What the text says; why it cannot be read.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let mut lines = lines(text);
        let (_, head) = lines.next().ok_or("it is empty")?;
        let version = head?.get("version").and_then(|version| version.as_u64());
        if version != Some(VERSION) {
            return Err(format!("its version is not {VERSION}"));
        }
        let is_whole = text.ends_with(b"\n");
        let mut loaded = Self { bytes: is_whole.then_some(text.len()), ..Self::default() };
        for (number, line) in lines {
            let line = line?;
            if let Some(upto) = line.get("upto").and_then(|upto| upto.as_u64()) {
                loaded.version = Version(upto);
                continue;
            }
            let change = read_change(line.raw().as_bytes());
            let change = change.map_err(|error| format!("line {number}: {error}"))?;
            let Change { key, value, stamp } = change;
            match value {
                Some(value) => loaded.records.insert(key, Record { value, stamp }),
                None => loaded.records.remove(&key),
            };
        }
        Ok(loaded)
    }
}

/// Stores loaded records when they have changed, until the collection is closed.
pub(super) async fn run<T>(
    shared: Arc<Shared<T>>,
    name: String,
    storage: Arc<dyn Storage>,
    max_bytes: usize,
    bytes: Option<usize>,
) {
    // How many bytes were written when all was written, and since.
    let mut place = bytes.map(|bytes| (bytes, 0));
    let mut failed = false;
    loop {
        let closed = shared.is_closed();
        let stored = match next(&shared, place, failed) {
            None => Ok(()),
            Some(Next::More(unsaved)) => {
                let text = write_more(unsaved);
                place = place.map(|(whole, more)| (whole, more + text.len()));
                storage.append(&name, text).await
            }
            Some(Next::All(unsaved)) => {
                let text = write_all(unsaved);
                if text.len() > max_bytes {
                    let bytes = text.len();
                    shared.tell_trouble(Some(format!(
                        "the records have {bytes} bytes: no more are stored (max_stored_bytes)"
                    )));
                    return;
                }
                place = Some((text.len(), 0));
                storage.write(&name, text).await
            }
        };
        failed = stored.is_err();
        if let Err(error) = stored {
            // A part of it may be there.
            place = None;
            shared.tell_trouble(Some(error.to_string()));
        }
        if closed {
            return;
        }
        if !failed {
            shared.records.notified().await;
        }
        let pause = sleep(if failed { PAUSE } else { GATHER });
        select(pin!(pause), pin!(shared.closed())).await;
    }
}

enum Next {
    More(Unsaved),
    All(Unsaved),
}

/// What is to be stored: what has changed, or all if the storage has nothing or much that has changed
/// since.
fn next<T>(shared: &Shared<T>, place: Option<(usize, usize)>, failed: bool) -> Option<Next> {
    let mut inner = shared.lock();
    match place {
        Some((whole, more)) if more <= whole + SLACK => inner.store.unsaved().map(Next::More),
        Some(_) => inner.store.all_to_save().map(Next::All),
        None if !failed && inner.store.unsaved().is_none() => None,
        None => inner.store.all_to_save().map(Next::All),
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::state::{Document, MutationId, Stamp};

    use super::*;

    fn unsaved(version: u64, records: &[(&str, Option<&str>)]) -> Unsaved {
        let record = |(key, value): &(&str, Option<&str>)| {
            let by = Some(MutationId { client: "c".into(), seq: 1 });
            let stamp = Stamp { version: Version(version), by, ..Stamp::default() };
            let value = value.map(|json| Document::parse(json.as_bytes(), 4).unwrap());
            (Key::new(*key).unwrap(), value.map(|value| Record { value, stamp }))
        };
        Unsaved { version: Version(version), records: records.iter().map(record).collect() }
    }

    fn shape(loaded: &Loaded) -> (u64, Vec<(&str, &str)>) {
        let records = loaded.records.iter();
        let records = records.map(|(key, record)| (key.as_str(), record.value.as_str())).collect();
        (loaded.version.0, records)
    }

    #[test]
    fn what_was_not_completed_does_not_count() {
        let mut text = write_all(unsaved(5, &[("a", Some(r#"{"n":1}"#)), ("b", Some("{}"))]));
        let whole = text.len();
        text.extend(write_more(unsaved(9, &[("a", None), ("c", Some(r#"{"n":2}"#))])));
        let loaded = Loaded::read(&text).unwrap();
        assert_eq!(shape(&loaded), (9, vec![("b", "{}"), ("c", r#"{"n":2}"#)]));
        for torn in 1..=text.len() - whole {
            let loaded = Loaded::read(&text[..text.len() - torn]).unwrap();
            assert_eq!(loaded.version, Version(5), "what is missing is loaded again");
            assert!(loaded.records.contains_key("b"));
        }
    }

    #[test]
    fn what_is_no_such_text_is_told() {
        let text = String::from_utf8(write_all(unsaved(5, &[("a", Some("{}"))]))).unwrap();
        for (bad, says) in [
            (text.replace(r#""version":1}"#, r#""version":2}"#), "its version is not 1"),
            (text.replace(r#""key":"a""#, r#""key":"""#), "line 2: key: "),
            (text.replace(r#"{"upto":5}"#, r#"{"upto":5"#), "line 3: "),
            (String::new(), "line 1: "),
        ] {
            let problem = Loaded::read(bad.as_bytes()).unwrap_err();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
