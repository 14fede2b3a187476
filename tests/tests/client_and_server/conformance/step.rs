//! What a scenario says, as tests/conformance/README.md has it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tidings::Priority;

/// Something that clients do, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    #[serde(rename = "name")]
    pub(super) _name: String,
    #[serde(rename = "by")]
    pub(super) _by: Option<Vec<String>>,
    #[serde(rename = "wrong")]
    pub(super) _wrong: Option<String>,
    pub(super) steps: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub(super) enum Step {
    Repeat {
        times: u32,
        steps: Vec<Value>,
    },
    Connect(Connect),
    Close {
        client: String,
    },
    Cut {
        client: String,
    },
    Unplug {
        client: String,
    },
    Refuse {
        client: String,
    },
    Plug {
        client: String,
    },
    Stop {},
    Start {},
    Switch {
        client: String,
        to: Kind,
        fails: Option<String>,
    },
    Status {
        client: String,
        is: String,
    },
    Stats {
        client: String,
        #[serde(default)]
        is: BTreeMap<String, u64>,
        #[serde(default)]
        at_least: BTreeMap<String, u64>,
    },
    Subscribe(Subscribe),
    Subscribed {
        subscription: String,
    },
    Take {
        subscription: String,
    },
    Unsubscribe {
        subscription: String,
    },
    Publish(Publish),
    Acknowledged {
        client: String,
        count: usize,
    },
    Expect(Expect),
    Request {
        client: String,
        name: String,
        payload: Value,
        reply: Option<Value>,
        fails: Option<String>,
    },
    Answer {
        client: String,
        name: String,
        adding: i64,
    },
    Open {
        client: String,
        collection: String,
        max_pending: Option<usize>,
        page: Option<usize>,
    },
    Write(Write),
    Written {
        write: String,
        rejected: Option<String>,
    },
    Undo {
        client: String,
        collection: String,
    },
    Redo {
        client: String,
        collection: String,
    },
    Shows {
        client: String,
        collection: String,
        records: BTreeMap<String, Value>,
        #[serde(default)]
        pending: usize,
        #[serde(default)]
        now: bool,
    },
    Conflicts {
        client: String,
        collection: String,
        are: Vec<Value>,
    },
    Join(Join),
    Tell {
        presence: String,
        record: Value,
        rejected: Option<String>,
    },
    Leave {
        presence: String,
    },
    There {
        client: String,
        collection: String,
        are: Vec<Value>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Ws,
    Socketio,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Connect {
    pub(super) client: String,
    #[serde(default = "yes")]
    pub(super) wait: bool,
    #[serde(default)]
    pub(super) format: Format,
    #[serde(default)]
    pub(super) queue: Queue,
    pub(super) buffer: Option<Buffer>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Json,
    Msgpack,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Queue {
    pub(super) max_events: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Buffer {
    pub(super) max_events: usize,
    pub(super) overflow: Overflow,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Overflow {
    DropOldest,
    Pause,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Subscribe {
    pub(super) client: String,
    #[serde(rename = "as")]
    pub(super) called: String,
    pub(super) pattern: String,
    pub(super) since: Option<Since>,
    #[serde(default = "yes")]
    pub(super) wait: bool,
    #[serde(default)]
    pub(super) hold: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Since {
    Beginning,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Publish {
    pub(super) client: String,
    pub(super) name: String,
    pub(super) count: u32,
    #[serde(default = "yes")]
    pub(super) wait: bool,
    #[serde(default, deserialize_with = "priority")]
    pub(super) priority: Priority,
    #[serde(default)]
    pub(super) volatile: bool,
    #[serde(default)]
    pub(super) bytes: bool,
    /// In milliseconds.
    pub(super) timeout: Option<u64>,
    pub(super) fails: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) subscription: String,
    pub(super) events: BTreeMap<String, Numbers>,
    #[serde(default)]
    pub(super) missed: Missed,
    #[serde(default)]
    pub(super) bytes: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(super) enum Numbers {
    UpTo(u32),
    Between(u32, u32),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Missed {
    #[default]
    Nothing,
    Gap,
    Overflow(u64),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Write {
    pub(super) client: String,
    pub(super) collection: String,
    pub(super) changes: Vec<Change>,
    #[serde(rename = "as")]
    pub(super) called: Option<String>,
    #[serde(default)]
    pub(super) wait: Wait,
    pub(super) fails: Option<String>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wait {
    #[default]
    Seen,
    Nothing,
}

/// A change, by the one member that says which.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Change {
    pub(super) insert: Option<String>,
    pub(super) update: Option<String>,
    pub(super) replace: Option<String>,
    pub(super) delete: Option<String>,
    pub(super) increment: Option<String>,
    #[serde(default)]
    pub(super) value: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    pub(super) client: String,
    pub(super) collection: String,
    #[serde(rename = "as")]
    pub(super) called: String,
    pub(super) record: Value,
    pub(super) fails: Option<String>,
    pub(super) reason: Option<String>,
}

const fn yes() -> bool {
    true
}

fn priority<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Priority, D::Error> {
    let word = String::deserialize(deserializer)?;
    word.parse().map_err(|_| serde::de::Error::custom(format!("nobody knows the priority {word}")))
}
