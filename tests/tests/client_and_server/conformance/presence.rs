//! Steps about being there.

use serde_json::Value;
use tidings::collection::{JoinError, Presence};

use super::events::request_code;
use super::step::Join;
use super::{Outcome, World, failed, until};

fn code(error: JoinError, reason: Option<&str>) -> (String, &'static str) {
    let message = error.to_string();
    match error {
        JoinError::Request(error) => request_code(error),
        JoinError::Rejected(rejection) => {
            let is = rejection.reason.as_str();
            (message, if reason.is_none_or(|reason| reason == is) { "rejected" } else { is })
        }
        _ => (message, "bad-argument"),
    }
}

impl World<'_> {
    fn presence(&self, name: &str) -> Outcome<&Presence> {
        self.presences.get(name).ok_or_else(|| format!("there is no presence {name}").into())
    }

    pub(super) async fn join(&mut self, join: Join) -> Outcome {
        let client = self.client(&join.client)?;
        let joined = client.join(join.collection, &join.record).await;
        if let Some(failure) = join.fails {
            let reason = join.reason.as_deref();
            return failed(joined.map_err(|error| code(error, reason)), &failure);
        }
        self.presences.insert(join.called, joined?);
        Ok(())
    }

    pub(super) async fn tell(
        &mut self,
        name: &str,
        record: &Value,
        rejected: Option<String>,
    ) -> Outcome {
        let told = self.presence(name)?.update(record).await;
        match rejected {
            Some(reason) => failed(told.map_err(|error| code(error, Some(&reason))), "rejected"),
            None => Ok(told?),
        }
    }

    pub(super) fn leave(&mut self, name: &str) -> Outcome {
        let presence = self.presences.remove(name);
        presence.map(drop).ok_or_else(|| format!("there is no presence {name}").into())
    }

    pub(super) async fn there(&mut self, client: &str, name: &str, are: &[Value]) -> Outcome {
        let opened = self.opened(client, name)?;
        let there = || {
            let all = opened.collection.all();
            let mut there: Vec<_> = all.iter().map(|entry| entry.value.to_string()).collect();
            there.sort();
            there
        };
        let mut expected: Vec<_> = are.iter().map(Value::to_string).collect();
        expected.sort();
        until(|| there() == expected, || format!("there are {:?}", there())).await
    }
}
