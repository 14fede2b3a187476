//! Scenarios: who is connected, who publishes what, what happens when, and what must hold.
//!
//! A scenario is a TOML file; docs/harness.md describes every key. The built-in ones are files of
//! the same kind, shipped in the binary.

mod attack;
mod builtin;
mod chaos;
mod check;
mod edit;
mod node;
mod redis;
mod sla;
mod span;
mod step;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tidings_core::Priority;

pub use attack::{Attack, AttackKind};
pub use builtin::BUILT_IN;
pub use chaos::Chaos;
pub use edit::Edit;
pub use node::Node;
pub use redis::Redis;
pub use sla::{Scoped, Sla};
pub use span::Span;
pub use step::{Action, Concern, Lasts, Step};

/// A scenario as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: String,
    /// What it shows, in a sentence or two.
    pub about: String,
    /// How many connections there are in all.
    #[serde(default = "defaults::connections")]
    pub connections: usize,
    /// How long is published, from the first event to the last.
    pub duration: Span,
    /// Latencies of events due within this time of the start are not counted; their delivery is.
    #[serde(default = "defaults::warmup")]
    pub warmup: Span,
    /// How long after the last event missing ones are waited for.
    #[serde(default = "defaults::drain")]
    pub drain: Span,
    /// Which transport the clients use.
    #[serde(default)]
    pub transport: Mix,
    /// The size of every event's JSON payload, in bytes.
    #[serde(default = "defaults::payload_bytes")]
    pub payload_bytes: usize,
    /// How many servers are started.
    #[serde(default = "defaults::instances")]
    pub instances: usize,
    /// What joins them.
    #[serde(default)]
    pub redis: Redis,
    /// Servers among them that run Socket.IO on Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    /// Settings for the servers the harness starts, as in a file for `tidings-server --config`.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub server: toml::Table,
    /// Who is connected and subscribed to what.
    #[serde(default)]
    pub group: Vec<Group>,
    /// Who publishes what.
    #[serde(default)]
    pub publish: Vec<Publish>,
    /// Who edits shared records.
    #[serde(default)]
    pub edit: Vec<Edit>,
    /// Who attacks the servers meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attack: Vec<Attack>,
    /// What happens when.
    #[serde(default)]
    pub step: Vec<Step>,
    /// Random faults instead of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaos: Option<Chaos>,
    /// What must hold.
    #[serde(default)]
    pub sla: Sla,
}

/// Which transport clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Mix {
    /// Every other client of each group uses `socketio`, the rest `ws`.
    #[default]
    Mixed,
    /// All use Engine.IO and Socket.IO.
    SocketIo,
    /// All use the Tidings protocol on a plain WebSocket.
    Ws,
}

impl Mix {
    /// The word for it, as written in a scenario.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::SocketIo => "socketio",
            Self::Ws => "ws",
        }
    }
}

/// Clients that do the same thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What it is called in reports and in `from`.
    pub name: String,
    /// Exactly this many clients, however many connections there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// The group's part, by weight, of the connections left by groups with a `count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The `{room}` of the group's n-th client is n divided by this.
    #[serde(default = "defaults::room_size")]
    pub room_size: usize,
    /// Patterns each client subscribes to; `{client}` and `{room}` stand for its numbers.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// The collection that each client has open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The transport of this group, when it differs from the scenario's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Mix>,
    /// How much each client of the group can receive per second; without it, all there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u32>,
}

/// Events that are published at a constant rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The group whose clients publish, in turns.
    pub from: String,
    /// The events' name; `{client}` and `{room}` stand for the publisher's numbers.
    pub name: String,
    /// How many per second, all publishers together.
    pub rate: f64,
    /// Only this many clients of the group publish; without it all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishers: Option<usize>,
    /// The events' priority.
    #[serde(default, with = "priority_word")]
    pub priority: Priority,
}

/// The scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// There is no built-in scenario and no file of that name.
    #[error("{0}")]
    Unknown(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or a key is missing, unknown or of the wrong type.
    #[error("{origin}: {source}")]
    Syntax {
        /// Where it comes from.
        origin: String,
        /// What is wrong and where.
        source: Box<toml::de::Error>,
    },
    /// A value does not make sense.
    #[error("{origin}: {key}: {problem}")]
    Value {
        /// Where it comes from.
        origin: String,
        /// Which key.
        key: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
}

impl Scenario {
    /// The scenario with this name if there is a built-in one, else the one in this file.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, &format!("built-in scenario {name}"));
        }
        let path = Path::new(name_or_path);
        if !path.exists() {
            let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            return Err(ScenarioError::Unknown(format!(
                "no scenario is called {name_or_path:?} and there is no such file; \
                 the built-in ones are {}",
                known.join(", ")
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Unreadable {
            path: name_or_path.to_owned(),
            source,
        })?;
        Self::parse(&text, name_or_path)
    }

    /// The scenario written in `text`; `origin` says in errors where that came from.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|source| ScenarioError::Syntax {
            origin: origin.to_owned(),
            source: Box::new(source),
        })?;
        check::check(&scenario).map_err(|check::Problem { key, problem }| {
            ScenarioError::Value { origin: origin.to_owned(), key, problem }
        })?;
        Ok(scenario)
    }

    /// Draws the steps of a scenario that has random faults, and keeps the seed; does nothing for
    /// others. To be called when duration and number of servers are what they will be.
    pub fn draw_chaos(&mut self) {
        let Some(chaos) = &mut self.chaos else { return };
        let seed = *chaos.seed.get_or_insert_with(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.subsec_nanos().into()
        });
        self.step = chaos.steps(seed, self.duration, self.instances);
    }

    /// What its random faults are drawn from, once they are.
    pub fn seed(&self) -> Option<u64> {
        self.chaos.as_ref().and_then(|chaos| chaos.seed)
    }

    /// A pattern that is not a name, if there is any.
    pub fn wildcard(&self) -> Option<&str> {
        let mut patterns = self.group.iter().flat_map(|group| &group.subscribe);
        patterns.find(|pattern| pattern.contains('*')).map(String::as_str)
    }

    /// Publishes and edits per second in all.
    pub fn rate(&self) -> f64 {
        let publishes = self.publish.iter().map(|publish| publish.rate);
        publishes.chain(self.edit.iter().map(|edit| edit.rate)).sum()
    }

    /// Scales all publishes and edits so that their rates add up to `rate`.
    pub fn set_rate(&mut self, rate: f64) {
        let factor = rate / self.rate();
        let publishes = self.publish.iter_mut().map(|publish| &mut publish.rate);
        for rate in publishes.chain(self.edit.iter_mut().map(|edit| &mut edit.rate)) {
            *rate *= factor;
        }
    }

    /// Shortens or lengthens the run; what happens in it moves along.
    pub fn set_duration(&mut self, duration: Span) {
        let factor = duration.as_secs_f64() / self.duration.as_secs_f64();
        for step in &mut self.step {
            step.at = step.at.scaled(factor);
        }
        self.warmup = self.warmup.scaled(factor.min(1.0));
        self.duration = duration;
    }
}

mod defaults {
    use super::Span;

    pub(super) fn instances() -> usize {
        1
    }

    pub(super) fn connections() -> usize {
        1000
    }

    pub(super) fn warmup() -> Span {
        Span::from_secs(1)
    }

    pub(super) fn drain() -> Span {
        Span::from_secs(10)
    }

    pub(super) fn payload_bytes() -> usize {
        185
    }

    pub(super) fn room_size() -> usize {
        1
    }
}

/// A priority by its word.
mod priority_word {
    use serde::{Deserialize, Deserializer, Serializer};
    use tidings_core::Priority;

    pub(super) fn serialize<S: Serializer>(value: &Priority, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Priority, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
