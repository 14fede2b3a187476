//! Whether all clients have ended up with what the servers have.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tidings::Client;
use tidings_core::state::{Load, wire};

use super::editing::{Editing, record};
use crate::client::Board;
use crate::ledger::{EditAudit, Note};
use crate::report::{ConflictCounts, Edits};
use crate::score::Counters;

/// How often it is looked whether all agree.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long a server may take to tell what it has.
const PATIENCE: Duration = Duration::from_secs(5);

/// Differences that are told one by one.
const TOLD: usize = 10;

/// The records of a collection, as their bytes.
type Contents = BTreeMap<String, String>;

/// What was found when the records of all were compared.
#[derive(Default)]
struct Comparison {
    compared: u64,
    diverged: u64,
    differences: Vec<String>,
    audit: EditAudit,
}

impl Comparison {
    fn agrees(&self) -> bool {
        self.compared > 0 && self.diverged == 0
    }
}

/// Waits until every edit has its answer and everybody has what the servers have, until `end` at
/// most; what is the case then.
pub(super) async fn await_agreement(editing: &Editing, urls: &[String], end: Instant) -> Edits {
    let servers: Vec<_> = urls.iter().filter_map(|url| Client::builder(url).build().ok()).collect();
    loop {
        let comparison = compare(editing, &servers).await;
        let unanswered: u64 =
            editing.collections().filter_map(|name| Some(editing.log(name)?.unanswered())).sum();
        if (comparison.agrees() && unanswered == 0) || Instant::now() >= end {
            for server in &servers {
                server.close().await;
            }
            return edits(editing, comparison, unanswered);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn edits(editing: &Editing, comparison: Comparison, unanswered: u64) -> Edits {
    let Comparison { compared, diverged, differences, audit } = comparison;
    let measured = &editing.measured;
    Edits {
        due: audit.due,
        acknowledged: audit.accepted,
        rejected: audit.rejected,
        unanswered,
        made_offline: Counters::get(&measured.offline),
        conflicts: ConflictCounts {
            merged: Counters::get(&measured.merged),
            mine: Counters::get(&measured.mine),
            theirs: Counters::get(&measured.theirs),
        },
        lost: audit.lost,
        repeated: audit.repeated,
        compared,
        diverged,
        differences,
        acknowledged_us: measured.acknowledged.take().summary(),
        visible_us: measured.visible.take().summary(),
        visible_offline_us: measured.visible_offline.take().summary(),
    }
}

/// Compares what each server and each client has with what the first server has.
async fn compare(editing: &Editing, servers: &[Client]) -> Comparison {
    let mut found = Comparison::default();
    for name in editing.collections() {
        let mut first: Option<Contents> = None;
        for (n, server) in servers.iter().enumerate() {
            let loaded = tokio::time::timeout(PATIENCE, load(server, name)).await;
            let contents = match loaded.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
                Ok(contents) => contents,
                Err(problem) => {
                    found.note(&format!("server {n}"), Some(problem));
                    continue;
                }
            };
            match &first {
                Some(first) => found.note(&format!("server {n}"), difference(first, &contents)),
                None => first = Some(contents),
            }
        }
        let Some(contents) = first else { continue };
        for (client, board) in editing.clients_of(name) {
            found.note(&format!("client {client}"), difference(&contents, &shown(board)));
        }
        let notes = contents.iter().filter_map(|(key, value)| {
            Some((record(key)?, serde_json::from_str::<Note>(value).ok()?))
        });
        if let Some(log) = editing.log(name) {
            found.audit = found.audit + log.audit(&notes.collect());
        }
    }
    found
}

impl Comparison {
    fn note(&mut self, who: &str, difference: Option<String>) {
        self.compared += 1;
        let Some(difference) = difference else { return };
        self.diverged += 1;
        if self.differences.len() < TOLD {
            self.differences.push(format!("{who}: {difference}"));
        }
    }
}

/// What a client shows.
fn shown(board: &Board) -> Contents {
    let all = board.all().into_iter();
    all.map(|entry| (entry.key.to_string(), entry.value.get().to_owned())).collect()
}

/// What a server has.
async fn load(server: &Client, collection: &str) -> Result<Contents, String> {
    let mut contents = Contents::new();
    let mut next = Some(Load { limit: usize::MAX, ..Load::default() });
    while let Some(load) = next {
        let payload = String::from_utf8(wire::write_load(&load)).unwrap_or_default();
        let payload = RawValue::from_string(payload).map_err(|error| error.to_string())?;
        let reply = server.request::<Box<RawValue>>(wire::load_name(collection), &payload).await;
        let reply = reply.map_err(|error| error.to_string())?;
        let page = wire::read_loaded(reply.get().as_bytes()).map_err(|error| error.to_string())?;
        let page = page.page;
        for change in page.changes {
            let key = change.key.to_string();
            match change.value {
                Some(value) => contents.insert(key, value.as_str().to_owned()),
                None => contents.remove(&key),
            };
        }
        next = page.next.map(|(after, began)| Load { after, began, ..load });
    }
    Ok(contents)
}

/// The first record in which they differ, in words.
fn difference(expected: &Contents, is: &Contents) -> Option<String> {
    let keys = expected.keys().chain(is.keys());
    let differs = keys.into_iter().find(|key| expected.get(*key) != is.get(*key))?;
    let text = |contents: &Contents| contents.get(differs).cloned().unwrap_or("nothing".to_owned());
    Some(format!("{differs} is {}, the server has {}", text(is), text(expected)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_record_and_both_sides() {
        let contents = |records: &[(&str, &str)]| -> Contents {
            records.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let server = contents(&[("note.0", "{}"), ("note.1", r#"{"edits":1}"#)]);
        assert_eq!(difference(&server, &server), None);
        for (client, says) in [
            (contents(&[("note.0", "{}")]), r#"note.1 is nothing, the server has {"edits":1}"#),
            (
                contents(&[("note.0", "{}"), ("note.1", "{}")]),
                r#"note.1 is {}, the server has {"edits":1}"#,
            ),
        ] {
            assert_eq!(difference(&server, &client).unwrap(), says);
        }
    }
}
