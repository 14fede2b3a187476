//! Where settings come from: defaults, then a file, then the environment, then flags.

use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Auth, Collection, Config, ConfigError, Cookie, Cors, EngineIo, EventSchema, Heartbeat, Limits,
    Metrics, Namespaces, NodeAdapter, Pages, Partitions, Paths, Polling, Producers, Proxies,
    Queues, Recovery, Redis, Retention, Schemas, Socket, Store, Timeouts, Tls,
};

/// A table of settings: its name, and the names and comments of its fields.
type Section = (&'static str, &'static [(&'static str, &'static [&'static str])]);

const SECTIONS: [Section; 24] = [
    ("schemas", Schemas::FIELDS),
    ("auth", Auth::FIELDS),
    ("tls", Tls::FIELDS),
    ("paths", Paths::FIELDS),
    ("partitions", Partitions::FIELDS),
    ("retention", Retention::FIELDS),
    ("producers", Producers::FIELDS),
    ("queues", Queues::FIELDS),
    ("limits", Limits::FIELDS),
    ("proxies", Proxies::FIELDS),
    ("pages", Pages::FIELDS),
    ("heartbeat", Heartbeat::FIELDS),
    ("engineio", EngineIo::FIELDS),
    ("polling", Polling::FIELDS),
    ("cors", Cors::FIELDS),
    ("cookie", Cookie::FIELDS),
    ("namespaces", Namespaces::FIELDS),
    ("recovery", Recovery::FIELDS),
    ("timeouts", Timeouts::FIELDS),
    ("socket", Socket::FIELDS),
    ("redis", Redis::FIELDS),
    ("node_adapter", NodeAdapter::FIELDS),
    ("store", Store::FIELDS),
    ("metrics", Metrics::FIELDS),
];

/// Other names of settings, as flags and variables.
const ALIASES: [(&str, &str); 5] = [
    ("redis", "redis.urls"),
    ("database", "store.database"),
    ("node_adapter", "node_adapter.kind"),
    ("auth_secret", "auth.secret"),
    ("auth_jwks", "auth.jwks"),
];

const PREFIX: &str = "TIDINGS_";

/// A configuration in the making. Layers are put on in the order of the calls; a later one wins
/// setting by setting.
///
/// ```
/// use tidings_server::{Config, config::Layers};
/// let config = Layers::new()
///     .environment([("TIDINGS_LIMITS_MAX_PAYLOAD".into(), "64 KiB".into())])?
///     .set("heartbeat.ping_interval", "5 s", "--set")?
///     .finish()?;
/// assert_eq!(config.limits.max_payload, 65_536);
/// # Ok::<(), tidings_server::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct Layers {
    table: Table,
}

impl std::fmt::Debug for Layers {
    /// Without the values: there may be secrets among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layers").finish_non_exhaustive()
    }
}

impl Layers {
    /// The defaults alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts on a TOML file.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&text, &shown),
            Err(source) => Err(ConfigError::Read { path: shown, source }),
        }
    }

    /// Puts on TOML text; `origin` is what errors call it.
    pub fn text(mut self, text: &str, origin: &str) -> Result<Self, ConfigError> {
        let wrong = |error: toml::de::Error| ConfigError::File {
            path: origin.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        };
        let table: Table = toml::from_str(text).map_err(wrong)?;
        toml::from_str::<Config>(text).map_err(wrong)?;
        merge(&mut self.table, table);
        Ok(self)
    }

    /// Puts on environment variables: those that begin with `TIDINGS_`, others are passed over.
    /// `TIDINGS_LIMITS_MAX_PAYLOAD` is `limits.max_payload`. A name that is no setting is an
    /// error, except `TIDINGS_CONFIG` (the file's path, which is the caller's to read) and those
    /// that Kubernetes makes for a service called `tidings` or `tidings-...`.
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if name == "TIDINGS_CONFIG" || is_service_link(rest) {
                continue;
            }
            let lower = rest.to_ascii_lowercase();
            let alias = ALIASES.iter().any(|(alias, _)| *alias == lower);
            let known = keys().into_iter().find(|key| environment_name(key) == name);
            self = match known.or(alias.then_some(lower)) {
                Some(key) => self.set(&key, &value, &name)?,
                None => {
                    let known = keys().iter().map(|key| environment_name(key)).collect();
                    return Err(unknown(name.clone(), &name, known));
                }
            };
        }
        Ok(self)
    }

    /// Sets one setting from text. `origin` is what errors call it: a flag or a variable. Sizes
    /// and durations are written as in the file; maps as `rooms=2,users=2`, lists as `a,b`.
    pub fn set(mut self, key: &str, value: &str, origin: &str) -> Result<Self, ConfigError> {
        let key = ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| name);
        let (section, field) = match key.split_once('.') {
            Some((section, field)) => (Some(section), field),
            None => (None, key),
        };
        let wrong = |message: String| ConfigError::Value { origin: origin.to_owned(), message };
        let defaults = defaults();
        let table = section.map_or(Some(&defaults), |name| defaults.get(name)?.as_table());
        let default = match table.and_then(|table| table.get(field)) {
            Some(default) if keys().iter().any(|known| known == key) => default,
            _ => return Err(unknown(format!("{origin} {key}"), key, keys())),
        };
        let value = like(default, value).map_err(wrong)?;
        let mut layer = Table::from_iter([(field.to_owned(), value)]);
        if let Some(section) = section {
            layer = Table::from_iter([(section.to_owned(), Value::Table(layer))]);
        }
        Config::deserialize(layer.clone()).map_err(|error| wrong(error.message().to_owned()))?;
        merge(&mut self.table, layer);
        Ok(self)
    }

    /// The configuration, checked.
    pub fn finish(self) -> Result<Config, ConfigError> {
        let config = Config::deserialize(self.table).map_err(|error| ConfigError::Value {
            origin: "configuration".to_owned(),
            message: error.to_string(),
        })?;
        config.validate()?;
        Ok(config)
    }
}

impl Config {
    /// The configuration as TOML, each setting under a comment that says what it means. Reading
    /// it back gives the same configuration.
    pub fn to_toml(&self) -> String {
        let table = Table::try_from(self).unwrap_or_default();
        let mut out = String::new();
        write_fields(&mut out, Self::FIELDS, &table);
        for (section, fields) in SECTIONS {
            if let Some(Value::Table(table)) = table.get(section) {
                out.push('\n');
                write_comment(&mut out, comment_of(Self::FIELDS, section));
                out.push_str(&format!("[{section}]\n"));
                write_fields(&mut out, fields, table);
            }
        }
        for (name, collection) in &self.collections {
            let table = Table::try_from(collection).unwrap_or_default();
            out.push_str(&format!("\n[collections.{}]\n", Value::String(name.clone())));
            write_fields(&mut out, Collection::FIELDS, &table);
        }
        for (pattern, schema) in &self.events {
            let table = Table::try_from(schema).unwrap_or_default();
            out.push_str(&format!("\n[events.{}]\n", Value::String(pattern.clone())));
            write_fields(&mut out, EventSchema::FIELDS, &table);
        }
        out
    }
}

fn write_fields(out: &mut String, fields: &[(&str, &'static [&'static str])], table: &Table) {
    for (field, comment) in fields {
        // A setting may be called as a section is.
        let is_section = |value: &Value| {
            value.is_table() && SECTIONS.iter().any(|(section, _)| section == field)
        };
        let value = table.get(*field).filter(|value| !is_section(value) && !has_tables(value));
        if let Some(value) = value {
            write_comment(out, comment);
            out.push_str(&format!("{field} = {value}\n"));
        }
    }
}

/// Whether it is written as tables of its own.
fn has_tables(value: &Value) -> bool {
    value.as_table().is_some_and(|table| table.values().any(Value::is_table))
}

fn write_comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(&format!("#{line}\n"));
    }
}

fn comment_of(fields: &[(&str, &'static [&'static str])], name: &str) -> &'static [&'static str] {
    fields.iter().find(|(field, _)| *field == name).map_or(&[], |(_, comment)| comment)
}

/// The environment variable of a setting: `limits.max_payload` is `TIDINGS_LIMITS_MAX_PAYLOAD`.
pub fn environment_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Tables by names that are chosen freely: only a file can have them.
const OPEN_TABLES: [&str; 2] = ["collections", "events"];

/// The keys of all settings, dotted.
fn keys() -> Vec<String> {
    let top = Config::FIELDS
        .iter()
        .map(|(field, _)| (*field).to_owned())
        .filter(|field| !OPEN_TABLES.contains(&field.as_str()))
        .filter(|field| SECTIONS.iter().all(|(section, _)| section != field));
    let inner = SECTIONS.iter().flat_map(|(section, fields)| {
        fields.iter().map(move |(field, _)| format!("{section}.{field}"))
    });
    top.chain(inner).collect()
}

fn defaults() -> Table {
    Table::try_from(Config::default()).unwrap_or_default()
}

/// `text` as a value of the same type as `default`.
fn like(default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::Integer(_) => integer(text),
        Value::Boolean(_) => match text {
            "true" | "1" | "yes" => Ok(Value::Boolean(true)),
            "false" | "0" | "no" => Ok(Value::Boolean(false)),
            _ => Err(format!("{text:?} is not a yes or no: write true or false")),
        },
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        Value::Table(_) => text
            .split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(|pair| match pair.split_once('=') {
                Some((key, value)) => Ok((key.trim().to_owned(), integer(value.trim())?)),
                None => Err(format!("{pair:?} is not a pair: write name=number, with commas")),
            })
            .collect::<Result<Table, _>>()
            .map(Value::Table),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn integer(text: &str) -> Result<Value, String> {
    let digits = text.replace('_', "");
    digits.parse().map(Value::Integer).map_err(|_| format!("{text:?} is not a whole number"))
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// Whether a variable (without the prefix) is one of those that Kubernetes sets in every pod for
/// each service of the namespace: `{SVC}_SERVICE_HOST`, `{SVC}_PORT_80_TCP_ADDR` and the like.
fn is_service_link(rest: &str) -> bool {
    rest == "PORT"
        || rest.ends_with("_PORT")
        || rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest.split_once("PORT_").is_some_and(|(_, port)| {
            port.starts_with(|c: char| c.is_ascii_digit())
                && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| port.contains(protocol))
        })
}

fn unknown(origin: String, name: &str, known: Vec<String>) -> ConfigError {
    let closest = known.into_iter().map(|key| (distance(&key, name), key)).min();
    let hint = match closest {
        Some((distance, key)) if distance <= name.len() / 3 => format!(", did you mean {key}?"),
        _ => String::new(),
    };
    ConfigError::Unknown { origin, hint }
}

/// How many letters have to be changed, added or removed to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut previous = i + 1;
        let mut next = vec![previous];
        for ((y, above_left), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let replaced = above_left + usize::from(x != *y);
            previous = replaced.min(above + 1).min(previous + 1);
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn environment(name: &str, value: &str) -> Result<Layers, ConfigError> {
        Layers::new().environment([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn collections_are_declared_as_tables() {
        let text = "[collections.todos]\npolicy = \"server-wins\"\nmax_record_bytes = \"1 KiB\"\n\
                    [collections.\"a b\"]";
        let config = Layers::new().text(text, "a.toml").and_then(Layers::finish).expect("two");
        let todos = &config.collections["todos"];
        assert_eq!((&*todos.policy, todos.max_record_bytes), ("server-wins", 1024));
        assert_eq!(config.collections["a b"], Collection::default());
        let written = config.to_toml();
        let again = Layers::new().text(&written, "b.toml").and_then(Layers::finish);
        assert_eq!(again.expect("what was written"), config, "{written}");
    }

    #[test]
    fn later_layers_win_setting_by_setting() {
        let config = Layers::new()
            .text("[limits]\nmax_payload = \"1 KiB\"\nmax_depth = 5\nmax_frame = 4096", "a.toml")
            .and_then(|l| l.environment([("TIDINGS_LIMITS_MAX_DEPTH".into(), "6".into())]))
            .and_then(|l| l.set("limits.max_frame", "8 KiB", "--set"))
            .and_then(Layers::finish)
            .expect("a configuration");
        let limits = &config.limits;
        assert_eq!((limits.max_payload, limits.max_depth, limits.max_frame), (1024, 6, 8192));
        assert_eq!(limits.max_subscriptions, Limits::default().max_subscriptions);
    }

    #[test]
    fn every_setting_can_be_set_from_the_environment_and_survives_printing() {
        let defaults = defaults();
        for key in keys() {
            let value = match key.split_once('.') {
                Some((section, field)) => &defaults[section][field],
                None => &defaults[key.as_str()],
            };
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Table(_) => String::new(),
                Value::Array(items) => {
                    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
                }
                other => other.to_string(),
            };
            let config = environment(&environment_name(&key), &text)
                .and_then(Layers::finish)
                .unwrap_or_else(|error| panic!("{key} = {text}: {error}"));
            assert_eq!(config, Config::default(), "{key}");
        }
        let config = Config::default()
            .partition_depth("rooms", 2)
            .with(|c| c.heartbeat.ping_interval = Duration::from_millis(1500))
            .with(|c| c.queues.low = 1000);
        let printed = config.to_toml();
        let read = Layers::new().text(&printed, "printed").and_then(Layers::finish);
        assert_eq!(read.expect("what is printed can be read"), config, "{printed}");
        assert!(printed.contains("# The largest payload of an event or request.\nmax_payload"));
    }

    #[test]
    fn every_key_is_documented_and_none_is_forgotten() {
        let mut flat: Vec<String> = Vec::new();
        for (name, value) in defaults() {
            match value {
                Value::Table(inner) => flat.extend(inner.keys().map(|key| format!("{name}.{key}"))),
                _ => flat.push(name),
            }
        }
        let mut known = keys();
        known.sort();
        flat.sort();
        assert_eq!(known, flat);
    }

    #[test]
    fn unknown_keys_are_named_with_the_closest_known_one() {
        let error = Layers::new().text("[limits]\nmax_paylod = 1", "a.toml").expect_err("unknown");
        let text = error.to_string();
        assert!(text.contains("a.toml") && text.contains("max_paylod"), "{text}");
        assert!(text.contains("line 2") && text.contains("max_payload"), "{text}");

        let text = environment("TIDINGS_LIMITS_MAX_PAYLOD", "1").expect_err("unknown").to_string();
        assert!(text.contains("did you mean TIDINGS_LIMITS_MAX_PAYLOAD?"), "{text}");

        let text = Layers::new().set("port", "1", "--set").expect_err("unknown").to_string();
        assert!(text.contains("--set port"), "{text}");
        for not_a_setting in ["limits", "limits.", "", ".", "a.b.c", "limits.max_payload.x"] {
            Layers::new().set(not_a_setting, "1", "--set").expect_err("not a setting");
        }
    }

    #[test]
    fn values_that_do_not_fit_say_what_would() {
        for (name, value, says) in [
            ("TIDINGS_LISTEN", "9000", "socket address"),
            ("TIDINGS_INSECURE", "maybe", "true or false"),
            ("TIDINGS_SHARDS", "two", "whole number"),
            ("TIDINGS_SHARDS", "-1", "-1"),
            ("TIDINGS_PARTITIONS_COUNT", "70000", "70000"),
            ("TIDINGS_PARTITIONS_DEPTHS", "rooms", "name=number"),
            ("TIDINGS_LIMITS_MAX_PAYLOAD", "1 MiBB", "\"1 MiB\""),
            ("TIDINGS_HEARTBEAT_PING_INTERVAL", "25", "with its unit"),
        ] {
            let text = environment(name, value).expect_err(value).to_string();
            assert!(text.starts_with(name) && text.contains(says), "{text}");
        }
        let text = Layers::new()
            .text("[heartbeat]\nping_interval = 25", "a.toml")
            .expect_err("a duration has a unit")
            .to_string();
        assert!(text.contains("line 2") && text.contains("with its unit"), "{text}");
    }

    #[test]
    fn the_database_has_a_short_name() {
        let config = environment("TIDINGS_DATABASE", "sqlite::memory:").and_then(Layers::finish);
        assert_eq!(config.expect("a configuration").store.database.reveal(), "sqlite::memory:");
    }

    #[test]
    fn secrets_and_keys_have_short_names_and_are_not_shown() {
        let layers = environment("TIDINGS_AUTH_SECRET", "hunter2").expect("known");
        assert!(!format!("{layers:?}").contains("hunter2"));
        let config = layers.set("auth_jwks", "keys.json", "--auth-jwks").expect("known");
        let config = config.finish().expect("a configuration");
        assert_eq!(
            (config.auth.secret.reveal(), config.auth.jwks.as_str()),
            ("hunter2", "keys.json")
        );
        let open = Layers::new().set("listen", "0.0.0.0:9000", "--listen").expect("an address");
        open.clone().finish().expect_err("nobody is authenticated");
        let closed = open.set("auth.secret_file", "secrets", "--set").expect("known");
        closed.finish().expect("those with a token are");
    }

    #[test]
    fn the_node_adapter_has_a_short_name() {
        let adapter = |value| environment("TIDINGS_NODE_ADAPTER", value).and_then(Layers::finish);
        let config = adapter("sharded").expect("a configuration");
        assert_eq!(config.node_adapter.kind, crate::config::NodeAdapterKind::Sharded);
        let text = adapter("streams").expect_err("not one").to_string();
        assert!(text.contains("`off`, `classic`, `sharded`"), "{text}");
    }

    #[test]
    fn redis_has_a_short_name() {
        let config =
            environment("TIDINGS_REDIS", "redis://a:1,redis://b:2").and_then(Layers::finish);
        let urls = config.expect("a configuration").redis.urls;
        assert_eq!(urls.iter().collect::<Vec<_>>(), ["redis://a:1", "redis://b:2"]);
        let config = environment("TIDINGS_REDIS_PREFIX", "x").and_then(Layers::finish);
        assert_eq!(config.expect("a configuration").redis.prefix, "x");
    }

    #[test]
    fn variables_that_are_not_ours_are_passed_over() {
        for name in [
            "PATH",
            "TIDINGS_CONFIG",
            "TIDINGS_PORT",
            "TIDINGS_PORT_9000_TCP",
            "TIDINGS_PORT_9000_TCP_ADDR",
            "TIDINGS_SERVICE_HOST",
            "TIDINGS_SERVICE_PORT",
            "TIDINGS_SERVICE_PORT_HTTP",
            "TIDINGS_SERVER_SERVICE_HOST",
            "TIDINGS_SERVER_PORT",
            "TIDINGS_SERVER_PORT_9000_TCP_PROTO",
        ] {
            let config = environment(name, "tcp://10.0.0.1:9000").and_then(Layers::finish);
            assert_eq!(config.expect(name), Config::default());
        }
        assert!(keys().iter().all(|key| !is_service_link(&environment_name(key)[PREFIX.len()..])));
    }
}
