//! One JSON Schema, ready to check by.

use std::sync::Arc;

use jsonschema::Validator;
use schemars::JsonSchema;
use serde_json::Value;

use super::compatible::{Difference, differences};
use super::mask::Mask;
use crate::ids::digest_of;

/// A text, or a value, is no JSON Schema by which anything can be checked.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error("the schema is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON, but no schema; or refers to one that is not in it: nothing is fetched.
    #[error("no JSON Schema: {at}: {message}")]
    Schema {
        /// Where in it.
        at: String,
        /// What is wrong there.
        message: String,
    },
}

/// A [JSON Schema](https://json-schema.org): of draft 2020-12 unless it names another. Formats are
/// checked, too. What it refers to must be in it: nothing is fetched. A part of it with
/// `"x-tidings-sensitive": true` describes what only those get whose token allows it
/// ([`Rights::may_see_sensitive`](crate::auth::Rights::may_see_sensitive)).
///
/// ```
/// use serde_json::json;
/// use tidings_server::schemas::Schema;
/// let schema = Schema::new(&json!({"type": "object", "required": ["total"]}))?;
/// assert!(Schema::new(&json!({"type": "objekt"})).is_err());
/// # Ok::<(), tidings_server::schemas::SchemaError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Schema {
    value: Arc<Value>,
    validator: Arc<Validator>,
    mask: Option<Mask>,
    version: Arc<str>,
}

impl Schema {
    /// The schema that this value is.
    ///
    /// # Errors
    /// If it is none, or something is declared sensitive where that has no effect.
    pub fn new(value: &Value) -> Result<Self, SchemaError> {
        let validator = jsonschema::options().should_validate_formats(true).build(value);
        let validator = validator.map_err(|error| SchemaError::Schema {
            at: error.instance_path().to_string(),
            message: error.to_string(),
        })?;
        let mask = Mask::of(value)?;
        let version = digest_of(&value.to_string()).into();
        Ok(Self { value: Arc::new(value.clone()), validator: Arc::new(validator), mask, version })
    }

    /// The schema in a text.
    ///
    /// # Errors
    /// If it is no JSON, or no schema.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Self::new(&serde_json::from_str(text)?)
    }

    /// The schema in a file.
    ///
    /// # Errors
    /// If it cannot be read, is no JSON, or no schema.
    pub fn read(path: &str) -> Result<Self, SchemaError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| SchemaError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// The schema of what serde writes of a Rust type.
    ///
    /// # Errors
    /// If a schema that was written by hand for a part of it is none.
    pub fn of<T: JsonSchema>() -> Result<Self, SchemaError> {
        let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
        Self::new(settings.into_generator().into_root_schema_for::<T>().as_value())
    }

    /// The schema as JSON.
    pub fn as_value(&self) -> &Value {
        &self.value
    }

    /// What tells it from others: the same schema has the same version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Why `newer`, as the next version of this schema, may refuse a value that this one accepts; empty
    /// if it accepts all of them. That is decided by keywords (`type`, `enum`, `required`, `properties`,
    /// `additionalProperties`, `items`, bounds, alternatives); what cannot be decided is in the list, too.
    ///
    /// ```
    /// use serde_json::json;
    /// use tidings_server::schemas::Schema;
    /// let old = Schema::new(&json!({"type": "integer", "minimum": 1}))?;
    /// assert!(old.differences(&Schema::new(&json!({"type": "number"}))?).is_empty());
    /// let found = old.differences(&Schema::new(&json!({"type": "integer", "minimum": 2}))?);
    /// assert_eq!(found[0].rule, "/minimum");
    /// # Ok::<(), tidings_server::schemas::SchemaError>(())
    /// ```
    pub fn differences(&self, newer: &Self) -> Vec<Difference> {
        differences(&self.value, &newer.value)
    }

    /// What is sensitive in what it describes, if anything.
    pub(crate) const fn mask(&self) -> Option<&Mask> {
        self.mask.as_ref()
    }

    /// Says of `json`, which is the payload or record called `what`, where it is not what the
    /// schema says, and by which rule. Without the value itself: it may be long, or secret, and
    /// whoever sent it has it.
    pub(crate) fn check(&self, what: &str, json: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        self.validator.validate(&value).map_err(|error| {
            let (at, rule) = (error.instance_path(), error.schema_path());
            let wrong = error.masked_with("what is there");
            match at.as_str() {
                "" => format!("{what}: {wrong} (rule {rule})"),
                at => format!("{what}, {at}: {wrong} (rule {rule})"),
            }
        })
    }
}
