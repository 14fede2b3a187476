//! Steps about collections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidings::State;
use tidings::collection::{ChangeError, Conflict, MutateError, Outcome as Holds, WriteError};

use super::connection::Opened;
use super::step::{Change, Wait, Write};
use super::{Outcome, World, failed, same, until};

/// All that is shown, and how much of it is pending.
fn shown(opened: &Opened) -> (BTreeMap<String, Value>, usize) {
    let records = opened.collection.all().into_iter();
    let records = records.map(|entry| (entry.key.to_string(), (*entry.value).clone())).collect();
    (records, opened.collection.status().pending)
}

fn change_code(error: ChangeError, reason: Option<&str>) -> (String, &'static str) {
    let code = match &error {
        ChangeError::Mutate(MutateError::Rejected(rejection)) => {
            let is = rejection.reason.as_str();
            if reason.is_none_or(|reason| reason == is) { "rejected" } else { is }
        }
        ChangeError::Mutate(MutateError::Full { .. }) => "queue-full",
        _ => "bad-argument",
    };
    (error.to_string(), code)
}

fn member(conflict: &Conflict) -> Value {
    let outcome = match conflict.outcome {
        Holds::Mine => "mine",
        Holds::Theirs => "theirs",
        Holds::Merged => "merged",
    };
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    json!({
        "key": conflict.key.as_str(),
        "outcome": outcome,
        "mine": conflict.mine.as_ref().map(|mine| value(mine.as_str())),
        "theirs": value(conflict.theirs.as_str()),
    })
}

impl World<'_> {
    pub(super) fn opened(&mut self, client: &str, name: &str) -> Outcome<Opened> {
        let opened = self.person(client)?.collections.get(name);
        opened.cloned().ok_or_else(|| format!("the collection {name} is not open").into())
    }

    pub(super) async fn open(
        &mut self,
        client: &str,
        name: String,
        max_pending: Option<usize>,
        page: Option<usize>,
    ) -> Outcome {
        let person = self.person(client)?;
        let mut builder = person.client.collection::<Value>(&*name);
        if let Some(count) = max_pending {
            builder = builder.max_pending(count);
        }
        if let Some(records) = page {
            builder = builder.page(records);
        }
        let collection = builder.await?;
        let conflicts = Arc::new(Mutex::new(Vec::new()));
        let (mut told, noted) = (collection.conflicts(), conflicts.clone());
        tokio::spawn(async move {
            while let Some(conflict) = told.next().await {
                noted.lock().unwrap().push(conflict);
            }
        });
        let opened = Opened { collection, conflicts };
        person.collections.insert(name, opened.clone());
        if person.client.status().state == State::Connected {
            opened.collection.loaded().await;
        }
        Ok(())
    }

    pub(super) async fn write(&mut self, write: Write) -> Outcome {
        let opened = self.opened(&write.client, &write.collection)?;
        let mut batch = opened.collection.batch();
        for change in &write.changes {
            let value = &change.value;
            batch = match change {
                Change { insert: Some(key), .. } => batch.insert(key, value),
                Change { update: Some(key), .. } => batch.update(key, value),
                Change { replace: Some(key), .. } => batch.replace(key, value),
                Change { delete: Some(key), .. } => batch.delete(key),
                Change { increment: Some(key), .. } => batch.increment(key, value),
                other => return Err(format!("nobody knows {other:?}").into()),
            };
        }
        let made = batch.commit();
        if let Some(code) = &write.fails {
            let reason = write.reason.as_deref();
            return failed(made.map_err(|error| change_code(error, reason)), code);
        }
        let made = made?;
        if write.wait == Wait::Seen {
            made.observed().await?;
        }
        if let Some(name) = write.called {
            self.writes.insert(name, made);
        }
        Ok(())
    }

    pub(super) async fn written(&mut self, name: &str, rejected: Option<String>) -> Outcome {
        let write = self.writes.get(name).ok_or_else(|| format!("there is no write {name}"))?;
        let seen = write.observed().await;
        match (seen, rejected) {
            (Err(WriteError::Rejected(rejection)), Some(reason)) => {
                same(rejection.reason.as_str(), &*reason, "why it was rejected")
            }
            (seen, None) => Ok(seen?),
            (seen, Some(reason)) => Err(format!("{seen:?}, and not rejected: {reason}").into()),
        }
    }

    pub(super) async fn undo(&mut self, client: &str, name: &str) -> Outcome {
        let write = self.opened(client, name)?.collection.undo()?;
        Ok(write.ok_or("there is nothing to undo")?.observed().await?)
    }

    pub(super) async fn redo(&mut self, client: &str, name: &str) -> Outcome {
        let write = self.opened(client, name)?.collection.redo()?;
        Ok(write.ok_or("there is nothing to redo")?.observed().await?)
    }

    pub(super) async fn shows(
        &mut self,
        client: &str,
        name: &str,
        records: &BTreeMap<String, Value>,
        pending: usize,
        now: bool,
    ) -> Outcome {
        let opened = self.opened(client, name)?;
        let is = || {
            let (shown, waiting) = shown(&opened);
            (&shown, waiting) == (records, pending)
        };
        if !now {
            until(is, || format!("it shows {:?}", shown(&opened))).await?;
        }
        same(&shown(&opened), &(records.clone(), pending), &format!("what {name} shows"))
    }

    pub(super) async fn conflicts(&mut self, client: &str, name: &str, are: &[Value]) -> Outcome {
        let conflicts = self.opened(client, name)?.conflicts;
        let count = || conflicts.lock().unwrap().len();
        until(|| count() >= are.len(), || format!("there are {}", count())).await?;
        let told: Vec<_> = conflicts.lock().unwrap().iter().map(member).collect();
        same(&*told, are, "the conflicts")
    }
}
