//! What events and records must be, as JSON Schema: checked when they come, and told to others, as
//! JSON and as TypeScript, so that server and clients share one definition. What they declare
//! sensitive only those get who may.

mod compatible;
mod events;
mod listing;
mod mask;
mod redact;
mod registered;
mod schema;
mod told;
mod typescript;

use serde_json::{Value, json};

pub use compatible::Difference;
pub(crate) use events::EventSchemas;
pub(crate) use listing::SchemasInForce;
pub(crate) use mask::Mask;
pub(crate) use registered::{Became, NotRegistered};
pub use schema::{Schema, SchemaError};
pub(crate) use told::listen;

use crate::collections::Declaration;

/// The schemas of a server; see [`Builder::schemas`](crate::Builder::schemas).
#[derive(Debug, Clone)]
pub struct Schemas {
    /// By name or pattern.
    events: Vec<(String, Schema)>,
    /// By name; a collection may have several, all of which its records must conform to.
    collections: Vec<(String, Vec<Schema>)>,
}

impl Schemas {
    pub(crate) fn new(events: &EventSchemas, collections: &[Declaration]) -> Self {
        let events = events.declared().iter();
        let events = events.map(|one| (one.pattern.as_str().to_owned(), one.schema.clone()));
        let collections = collections.iter().map(Declaration::schemas);
        Self { events: events.collect(), collections: collections.collect() }
    }

    /// All of them: `{"events": {PATTERN: SCHEMA}, "collections": {NAME: SCHEMA}}`. A collection
    /// without a schema takes any object.
    pub fn to_json(&self) -> Value {
        let events =
            self.events.iter().map(|(name, schema)| (name.clone(), schema.as_value().clone()));
        let collections = self.collections.iter().map(|(name, all)| (name.clone(), joined(all)));
        json!({
            "events": events.collect::<serde_json::Map<_, _>>(),
            "collections": collections.collect::<serde_json::Map<_, _>>(),
        })
    }

    /// A module of types: `Events`, a map from names and patterns to payloads, which
    /// `connect<Events>(...)` of the package `@tidings/client` takes, and `Collections`, from names
    /// to records. What TypeScript cannot say (lengths, ranges, formats) is left out.
    pub fn to_typescript(&self) -> String {
        typescript::module(&self.events, &self.collections)
    }
}

/// One schema that says what all of these say.
fn joined(schemas: &[Schema]) -> Value {
    match schemas {
        [] => json!({"type": "object"}),
        [one] => one.as_value().clone(),
        several => json!({"allOf": several.iter().map(Schema::as_value).collect::<Vec<_>>()}),
    }
}
