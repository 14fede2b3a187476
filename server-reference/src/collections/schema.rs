//! What the records of a collection must be, as JSON Schema.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;
use tidings_core::state::Check;

/// A text, or a value, is no JSON Schema by which records can be checked.
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

/// The check whether records of `collection` are what `schema` says: a JSON Schema, by default of
/// draft 2020-12, whose formats are checked, too.
pub(super) fn check(collection: &str, schema: &Value) -> Result<Check, SchemaError> {
    let validator = jsonschema::options().should_validate_formats(true).build(schema);
    let validator = validator.map_err(|error| SchemaError::Schema {
        at: error.instance_path().to_string(),
        message: error.to_string(),
    })?;
    let collection = collection.to_owned();
    Ok(Arc::new(move |_, record| validate(&collection, &validator, record.bytes())))
}

/// The schema in a file.
pub(super) fn read(path: &str) -> Result<Value, SchemaError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| SchemaError::Read { path: path.to_owned(), source })?;
    Ok(serde_json::from_str(&text)?)
}

fn validate(collection: &str, validator: &Validator, record: &[u8]) -> Result<(), String> {
    let value: Value = serde_json::from_slice(record).map_err(|error| error.to_string())?;
    validator.validate(&value).map_err(|error| {
        // Without the value itself: it may be long, and whoever sent it has it.
        let (at, rule) = (error.instance_path(), error.schema_path());
        let what = error.masked_with("what is there");
        match at.as_str() {
            "" => format!("{collection}: {what} (rule {rule})"),
            at => format!("{collection}, {at}: {what} (rule {rule})"),
        }
    })
}
