//! The scripts that run inside Redis.

use std::sync::OnceLock;

use redis::Cmd;
use sha1::{Digest, Sha1};

/// A Lua script.
pub(super) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

/// Appends events to a lane.
pub(super) static PUBLISH: Script =
    Script::new(concat!(include_str!("scripts/append.lua"), include_str!("scripts/publish.lua")));
/// Puts back events of a lane, and what they tell of collections.
pub(super) static RESTORE: Script = Script::new(concat!(
    include_str!("scripts/append.lua"),
    include_str!("scripts/collection.lua"),
    include_str!("scripts/restore.lua")
));
/// Stores again what has become of mutations.
pub(super) static NOTE: Script =
    Script::new(concat!(include_str!("scripts/collection.lua"), include_str!("scripts/note.lua")));
/// Changes a collection.
pub(super) static COMMIT: Script = Script::new(concat!(
    include_str!("scripts/append.lua"),
    include_str!("scripts/collection.lua"),
    include_str!("scripts/commit.lua")
));
/// Tells what has to be known to judge mutations of a collection.
pub(super) static LOOK: Script = Script::new(concat!(
    include_str!("scripts/lane_place.lua"),
    include_str!("scripts/collection.lua"),
    include_str!("scripts/look.lua")
));
/// Says which records of a collection last.
pub(super) static PRESENT: Script = Script::new(concat!(
    include_str!("scripts/lane_place.lua"),
    include_str!("scripts/collection.lua"),
    include_str!("scripts/present.lua")
));
/// Reads changes of a collection.
pub(super) static LOAD: Script = Script::new(concat!(
    include_str!("scripts/lane_place.lua"),
    include_str!("scripts/collection.lua"),
    include_str!("scripts/load.lua")
));
/// Tells where lanes stand.
pub(super) static OPEN: Script = Script::new(include_str!("scripts/open.lua"));
/// Reads events of a lane.
pub(super) static READ: Script = Script::new(include_str!("scripts/read.lua"));
/// Says that an instance is alive.
pub(super) static BEAT: Script = Script::new(include_str!("scripts/beat.lua"));

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    /// What Redis calls it once it has seen it.
    fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            Sha1::digest(self.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
}

/// A call of a script; all its keys have the same slot.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    /// A call without arguments.
    pub(super) fn new(script: &'static Script, keys: impl IntoIterator<Item = String>) -> Self {
        Self { script, keys: keys.into_iter().collect(), arguments: Vec::new() }
    }

    /// With one more argument.
    pub(super) fn arg(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string().into_bytes());
        self
    }

    /// Adds an argument that is no text.
    pub(super) fn push(&mut self, argument: impl Into<Vec<u8>>) {
        self.arguments.push(argument.into());
    }

    /// The command; `known`: Redis has seen the script before.
    pub(super) fn command(&self, known: bool) -> Cmd {
        if known {
            self.command_of("EVALSHA", self.script.hash())
        } else {
            self.command_of("EVAL", self.script.text)
        }
    }

    /// The command, its script changed.
    #[cfg(test)]
    pub(super) fn command_with(&self, change: impl FnOnce(&str) -> String) -> Cmd {
        self.command_of("EVAL", &change(self.script.text))
    }

    fn command_of(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script);
        command.arg(self.keys.len());
        for key in &self.keys {
            command.arg(key);
        }
        for argument in &self.arguments {
            command.arg(argument.as_slice());
        }
        command
    }
}
