//! The schemas in force, as operators are told of them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{EventSchemas, Schema};
use crate::ids::digest_of;

/// What `GET /api/schemas` answers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct SchemasInForce {
    /// The name of the instance.
    instance: String,
    /// The version of all of them together: instances that share a log should have the same.
    version: String,
    /// What events must carry.
    events: Vec<EventSchemaInForce>,
    /// What the records of collections must be.
    collections: Vec<CollectionSchemasInForce>,
}

/// The schema of the events of a name or pattern.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct EventSchemaInForce {
    /// The name or pattern.
    pattern: String,
    #[serde(flatten)]
    schema: SchemaInForce,
    /// How many events this instance has not published since its start because they were not what it
    /// says.
    violations: u64,
}

/// The schemas of a collection, to all of which its records must conform.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct CollectionSchemasInForce {
    /// Its name.
    name: String,
    /// None: records may be any objects.
    schemas: Vec<SchemaInForce>,
}

/// A schema.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct SchemaInForce {
    /// What tells it from all others: the same schema has the same version, at every instance.
    version: String,
    /// Whether it declares something sensitive.
    sensitive: bool,
    /// The schema itself.
    schema: Value,
}

impl SchemaInForce {
    fn of(schema: &Schema) -> Self {
        Self {
            version: schema.version().to_owned(),
            sensitive: schema.mask().is_some(),
            schema: schema.as_value().clone(),
        }
    }
}

impl EventSchemas {
    /// Those in force at the instance of this name.
    pub(crate) fn in_force(&self, instance: &str) -> SchemasInForce {
        let event = |declared: &super::events::Declared| EventSchemaInForce {
            pattern: declared.pattern.as_str().to_owned(),
            schema: SchemaInForce::of(&declared.schema),
            violations: declared.violations.get(),
        };
        let collection = |(name, schemas): &(String, Vec<Schema>)| CollectionSchemasInForce {
            name: name.clone(),
            schemas: schemas.iter().map(SchemaInForce::of).collect(),
        };
        SchemasInForce {
            instance: instance.to_owned(),
            version: self.version().to_owned(),
            events: self.declared().iter().map(|declared| event(declared)).collect(),
            collections: self.collections().iter().map(collection).collect(),
        }
    }
}

/// The version of all of these, whatever their order.
pub(super) fn version_of<'a>(parts: impl Iterator<Item = (&'a str, &'a Schema)>) -> String {
    let mut parts: Vec<_> = parts.map(|(name, schema)| [name, schema.version()]).collect();
    parts.sort_unstable();
    digest_of(&Value::from(parts.concat()).to_string())
}
