//! What the payloads of events must be.

use std::sync::Arc;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tidings_core::link::Redact;
use tidings_core::{Pattern, PatternIndex, Payload};

use super::listing::version_of;
use super::redact::Sensitive;
use super::registered::{Became, Entry, NotRegistered, Registered};
use super::told::Others;
use super::{Schema, SchemaError};
use crate::clock::unix_micros;
use crate::collections::Declaration;
use crate::config::{Config, ConfigError, EventSchema};
use crate::stats::Counter;

/// The schema of some events.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) pattern: Pattern,
    pub(super) schema: Schema,
    pub(super) violations: Violations,
}

/// Events that were not what a schema says.
#[derive(Debug, Default)]
pub(super) struct Violations {
    count: Counter,
    last: Mutex<Option<Violation>>,
}

/// An event that was not what its schema says.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Violation {
    /// When, in milliseconds since the Unix epoch.
    at_ms: u64,
    /// The event, the place and the rule; without the value.
    what: String,
}

impl Violations {
    fn add(&self, what: &str) {
        self.count.add(1);
        let what = what.to_owned();
        *self.last.lock() = Some(Violation { at_ms: unix_micros() / 1000, what });
    }

    pub(super) fn count(&self) -> u64 {
        self.count.get()
    }

    pub(super) fn last(&self) -> Option<Violation> {
        self.last.lock().clone()
    }
}

/// Which events have a schema.
#[derive(Debug, Default)]
pub(crate) struct EventSchemas {
    index: PatternIndex<Arc<Declared>>,
    /// In the order of their declaration.
    declared: Vec<Arc<Declared>>,
    /// What records must be, by the names of their collections.
    collections: Vec<(String, Vec<Schema>)>,
    version: String,
    /// What is sensitive in events, if anything is.
    sensitive: Option<Arc<dyn Redact>>,
    /// What is registered while the server runs.
    registered: Registered,
    others: Others,
    /// How many events were not what any of all these said.
    violations: Counter,
}

impl EventSchemas {
    /// Those of the configuration, and those declared otherwise. The events of `collections` have no
    /// schema, but what is sensitive in the records is so in them.
    pub(crate) fn new(
        config: &Config,
        declared: Vec<(String, Schema)>,
        collections: &[Declaration],
    ) -> Result<Self, ConfigError> {
        let mut all =
            Self { registered: Registered::new(config.schemas.clone()), ..Self::default() };
        for (pattern, schema) in declared {
            all.add(&pattern, schema)?;
        }
        for (pattern, settings) in &config.events {
            all.add(pattern, configured(pattern, settings)?)?;
        }
        let mut sensitive = Sensitive::default();
        for Declared { pattern, schema, .. } in all.declared.iter().map(|one| &**one) {
            schema.mask().into_iter().for_each(|mask| sensitive.add(pattern, mask));
        }
        all.collections = collections.iter().map(Declaration::schemas).collect();
        for (name, schemas) in &all.collections {
            let masks = schemas.iter().filter_map(Schema::mask);
            masks.for_each(|mask| sensitive.add_collection(name, mask));
        }
        let events = all.declared.iter().map(|one| (one.pattern.as_str(), &one.schema));
        let records = all.collections.iter();
        let records = records.flat_map(|(name, all)| all.iter().map(|one| (name.as_str(), one)));
        all.version = version_of(events.chain(records));
        all.sensitive = (!sensitive.is_empty()).then(|| Arc::new(sensitive) as Arc<dyn Redact>);
        Ok(all)
    }

    fn add(&mut self, pattern: &str, schema: Schema) -> Result<(), ConfigError> {
        let pattern = Pattern::new(pattern).map_err(|error| invalid(error.to_string()))?;
        if self.declared.iter().any(|other| other.pattern == pattern) {
            return Err(invalid(format!("{:?} has two schemas", pattern.as_str())));
        }
        let declared = Arc::new(Declared { pattern, schema, violations: Violations::default() });
        self.index.insert(&declared.pattern, Arc::clone(&declared));
        self.declared.push(declared);
        Ok(())
    }

    pub(super) fn declared(&self) -> &[Arc<Declared>] {
        &self.declared
    }

    pub(super) fn collections(&self) -> &[(String, Vec<Schema>)] {
        &self.collections
    }

    /// The version of all of them together, those of records included.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// What is sensitive in events; `None` if nothing is.
    pub(crate) const fn sensitive(&self) -> Option<&Arc<dyn Redact>> {
        self.sensitive.as_ref()
    }

    /// What is registered while the server runs.
    pub(crate) const fn registered(&self) -> &Registered {
        &self.registered
    }

    pub(super) const fn others(&self) -> &Others {
        &self.others
    }

    /// Registers a schema to check by, here and at all other instances.
    pub(crate) fn register(
        &self,
        pattern: &str,
        schema: &Value,
        must_be_compatible: bool,
    ) -> Result<(Became, String), NotRegistered> {
        let is_declared = |pattern: &Pattern| self.declares(pattern);
        let (became, declared, news) =
            self.registered.register(pattern, schema, must_be_compatible, is_declared)?;
        self.tell(pattern, news);
        Ok((became, declared.schema.version().to_owned()))
    }

    /// Removes a schema that is registered, here and at all other instances.
    pub(crate) fn remove(&self, pattern: &str) -> Result<(), NotRegistered> {
        if Pattern::new(pattern).is_ok_and(|pattern| self.declares(&pattern)) {
            return Err(NotRegistered::Declared(pattern.to_owned()));
        }
        let news = self.registered.remove(pattern)?;
        self.tell(pattern, Some(news));
        Ok(())
    }

    fn tell(&self, pattern: &str, news: Option<Entry>) {
        news.into_iter().for_each(|entry| self.others.tell(pattern, entry));
    }

    /// Takes over what other instances have registered and removed.
    pub(super) fn merge(&self, told: impl IntoIterator<Item = (String, Entry)>) {
        self.registered.merge(told, |pattern| self.declares(pattern));
    }

    fn declares(&self, pattern: &Pattern) -> bool {
        self.declared.iter().any(|declared| declared.pattern == *pattern)
    }

    /// Whether an event of this name may carry `payload`: all schemas whose patterns match its name
    /// must agree. The text says where it is wrong and by which rule.
    pub(crate) fn check(&self, name: &str, payload: &Payload) -> Result<(), String> {
        let registered = self.registered.in_force();
        let checked = self.check_by(&self.index, name, payload);
        checked.and_then(|()| self.check_by(&registered.index, name, payload))
    }

    fn check_by(
        &self,
        index: &PatternIndex<Arc<Declared>>,
        name: &str,
        payload: &Payload,
    ) -> Result<(), String> {
        if index.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        index.for_each_match(name, |declared| {
            if result.is_ok() {
                result = match payload {
                    Payload::Json(json) => declared.schema.check(name, json),
                    Payload::Binary(_) => {
                        Err(format!("{name}: the payload is binary, but must be JSON"))
                    }
                };
                if let Err(violation) = &result {
                    declared.violations.add(violation);
                    self.violations.add(1);
                }
            }
        });
        result
    }

    /// How many events were not what their schemas say.
    pub(crate) fn violations(&self) -> u64 {
        self.violations.get()
    }
}

fn configured(pattern: &str, settings: &EventSchema) -> Result<Schema, ConfigError> {
    let wrong = |field: &str, error: SchemaError| invalid(format!("{pattern}.{field}: {error}"));
    match (settings.schema.trim(), settings.schema_file.trim()) {
        (text, "") if !text.is_empty() => {
            Schema::parse(text).map_err(|error| wrong("schema", error))
        }
        ("", path) if !path.is_empty() => {
            Schema::read(path).map_err(|error| wrong("schema_file", error))
        }
        _ => {
            let message = format!("{pattern}: set either schema, a text, or schema_file, a path");
            Err(invalid(message))
        }
    }
}

fn invalid(message: String) -> ConfigError {
    ConfigError::Invalid { key: "events", message }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn json_payload(text: &'static str) -> Payload {
        Payload::Json(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn all_schemas_that_match_must_agree() {
        let has = |field: &str| Schema::new(&json!({"required": [field]})).unwrap();
        let declared = vec![("orders.**".into(), has("id")), ("orders.*.paid".into(), has("by"))];
        let schemas = EventSchemas::new(&Config::default(), declared, &[]).unwrap();
        let check = |name: &str, text| schemas.check(name, &json_payload(text));
        assert_eq!(check("orders.eu.created", r#"{"id": 1}"#), Ok(()));
        assert_eq!(check("orders.eu.paid", r#"{"id": 1, "by": "card"}"#), Ok(()));
        let error = check("orders.eu.paid", r#"{"id": 1}"#).unwrap_err();
        assert_eq!(error, "orders.eu.paid: \"by\" is a required property (rule /required)");
        assert_eq!(check("rooms.1", "7"), Ok(()), "has none");
        let error = schemas.check("orders.1", &Payload::Binary(Bytes::new())).unwrap_err();
        assert_eq!(error, "orders.1: the payload is binary, but must be JSON");
    }

    #[test]
    fn the_same_schemas_have_the_same_version_and_others_another() {
        let has = |field: &str| Schema::new(&json!({"required": [field]})).unwrap();
        let of = |declared: &[(&str, &str)], records: Option<&str>| {
            let declared = declared.iter().map(|(name, field)| ((*name).to_owned(), has(field)));
            let records = records.map(|field| Declaration::new("users").schema(has(field)));
            let collections: Vec<_> = records.into_iter().collect();
            EventSchemas::new(&Config::default(), declared.collect(), &collections).unwrap()
        };
        let first = of(&[("a", "x"), ("b", "y")], Some("z"));
        assert_eq!(first.version(), of(&[("b", "y"), ("a", "x")], Some("z")).version());
        for (declared, records) in [
            (&[("a", "y"), ("b", "x")][..], Some("z")),
            (&[("a", "x"), ("c", "y")], Some("z")),
            (&[("a", "x"), ("b", "y")], Some("y")),
            (&[("a", "x"), ("b", "y")], None),
        ] {
            assert_ne!(first.version(), of(declared, records).version());
        }
        assert_eq!(has("x").version(), has("x").version());
        assert_ne!(has("x").version(), has("y").version());
    }

    #[test]
    fn what_cannot_be_checked_by_is_named() {
        let schema = Schema::new(&json!(true)).unwrap();
        let declare = |declared| {
            EventSchemas::new(&Config::default(), declared, &[]).map(drop).unwrap_err().to_string()
        };
        let twice = vec![("a".into(), schema.clone()), ("a".into(), schema.clone())];
        assert_eq!(declare(twice), "events: \"a\" has two schemas");
        assert!(declare(vec![("".into(), schema)]).starts_with("events: "));
        let settings = |schema: &str, schema_file: &str| {
            let settings = EventSchema { schema: schema.into(), schema_file: schema_file.into() };
            configured("a", &settings).map(drop).unwrap_err().to_string()
        };
        let either = "events: a: set either schema, a text, or schema_file, a path";
        assert_eq!(settings("", ""), either);
        assert_eq!(settings("true", "file"), either);
        assert!(settings("{", "").starts_with("events: a.schema: the schema is no JSON"));
        assert!(settings("", "/no").starts_with("events: a.schema_file: cannot read /no: "));
    }
}
