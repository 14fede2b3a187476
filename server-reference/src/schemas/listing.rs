//! The schemas in force, as operators are told of them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::events::{Declared, Violation};
use super::{EventSchemas, Mask, Schema};
use crate::ids::digest_of;

/// What `GET /api/schemas` answers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct SchemasInForce {
    /// The name of the instance.
    instance: String,
    /// The version of all together that this instance declares, in its configuration or in Rust:
    /// instances that share a log should have the same.
    version: String,
    /// The instances that have told within the last seconds that they declare others.
    differ: Vec<OtherSchemas>,
    /// What events must carry.
    events: Vec<EventSchemaInForce>,
    /// What the records of collections must be.
    collections: Vec<CollectionSchemasInForce>,
}

/// An instance that declares other schemas.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct OtherSchemas {
    /// Its name.
    instance: String,
    /// The version of what it declares.
    version: String,
}

/// The schema of the events of a name or pattern.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct EventSchemaInForce {
    /// The name or pattern.
    pattern: String,
    /// Whether it was registered while the server ran (`PUT /api/schemas/{pattern}`), otherwise it is
    /// declared by the instance.
    registered: bool,
    #[serde(flatten)]
    schema: SchemaInForce,
    /// How many events this instance has not published since its start because they were not what it
    /// says.
    violations: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Violation")]
    last_violation: Option<Violation>,
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
    /// Where, as JSON pointers into a payload or record, with `*` for any item or other member: the
    /// first 100.
    sensitive_places: Vec<String>,
    /// The schema itself.
    schema: Value,
}

impl SchemaInForce {
    fn of(schema: &Schema) -> Self {
        Self {
            version: schema.version().to_owned(),
            sensitive: schema.mask().is_some(),
            sensitive_places: schema.mask().map(Mask::places).unwrap_or_default(),
            schema: schema.as_value().clone(),
        }
    }
}

impl EventSchemas {
    /// The instances that declare other schemas, with their versions.
    pub(crate) fn that_differ(&self) -> Vec<(String, String)> {
        self.others().that_differ_from(self.version())
    }

    /// Those in force at the instance of this name.
    pub(crate) fn in_force(&self, instance: &str) -> SchemasInForce {
        let event = |declared: &Declared, registered| EventSchemaInForce {
            pattern: declared.pattern.as_str().to_owned(),
            registered,
            schema: SchemaInForce::of(&declared.schema),
            violations: declared.violations.count(),
            last_violation: declared.violations.last(),
        };
        let collection = |(name, schemas): &(String, Vec<Schema>)| CollectionSchemasInForce {
            name: name.clone(),
            schemas: schemas.iter().map(SchemaInForce::of).collect(),
        };
        let other = |(instance, version)| OtherSchemas { instance, version };
        let registered = self.registered().in_force();
        let registered = registered.all.iter().map(|one| event(one, true));
        SchemasInForce {
            instance: instance.to_owned(),
            version: self.version().to_owned(),
            differ: self.that_differ().into_iter().map(other).collect(),
            events: self.declared().iter().map(|one| event(one, false)).chain(registered).collect(),
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
