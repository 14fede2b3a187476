//! Mutations on their way to the server.

use std::sync::Arc;

use super::{WireError, fields};
use crate::json::{self, MAX_DEPTH, Quoted, Value, Writer};
use crate::state::{Asked, Edit, Key, Limits, Mutation, MutationId, Op, Version};

/// Writes the payload of a request with these mutations of `client`.
pub fn write_mutate<'a>(
    client: &str,
    mutations: impl IntoIterator<Item = &'a Mutation>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.begin_object().key("client").str(client).key("mutations").begin_array();
    for mutation in mutations {
        write_mutation(mutation, &mut w);
    }
    w.end_array().end_object();
    out
}

/// Reads the payload of a request: an array `mutations`, or one mutation alone; with `client` if
/// they have numbers. A mutation with an op that is not understood, but whose record is named, is to be
/// rejected; it costs the others nothing.
///
/// # Errors
/// Says what is wrong, and where.
pub fn read_mutate(json: &[u8], limits: &Limits) -> Result<Vec<Asked>, WireError> {
    let payload = fields::payload(json, MAX_DEPTH)?;
    let client = fields::optional_client(payload)?;
    let read = |value: Value<'_>| read_asked(value, client.as_ref(), limits.max_depth);
    if fields::optional(payload, "mutations").is_some() {
        return fields::list(payload, "mutations", read);
    }
    if fields::optional(payload, "ops").is_some() {
        return Ok(vec![read(payload)?]);
    }
    let problem = "must have mutations, an array, or the ops of one mutation";
    Err(WireError::new("payload", problem))
}

/// Writes a mutation as a member of a request, or of a storage.
pub fn write_mutation(mutation: &Mutation, w: &mut Writer<'_>) {
    w.begin_object();
    if let Some(id) = &mutation.id {
        w.key("seq").u64(id.seq);
    }
    w.key("time").u64(mutation.time).key("ops").begin_array();
    for op in &mutation.ops {
        write_op(op, w);
    }
    w.end_array().end_object();
}

fn write_op(op: &Op, w: &mut Writer<'_>) {
    w.begin_object().key("op").str(op.edit.as_str()).key("key").str(&op.key);
    match &op.edit {
        Edit::Insert(value) | Edit::Replace(value) => w.key("value").raw(value.bytes()),
        Edit::Update(patch) => w.key("patch").raw(patch.bytes()),
        Edit::Increment(amounts) => w.key("by").raw(amounts.bytes()),
        Edit::Delete => w,
    };
    if let Some(base) = op.base {
        w.key("base").u64(base.0);
    }
    if let Some(was) = &op.was {
        w.key("was").raw(was.bytes());
    }
    w.end_object();
}

fn read_asked(
    mutation: Value<'_>,
    client: Option<&Arc<str>>,
    max_depth: usize,
) -> Result<Asked, WireError> {
    match read_mutation(mutation, client, max_depth) {
        Ok(mutation) => Ok(mutation.into()),
        Err(error) => {
            let Some(key) = bad_key(mutation, max_depth) else { return Err(error) };
            // It stands for what cannot be said.
            let op = Op { key, base: None, was: None, edit: Edit::Delete };
            let mutation = Mutation { id: read_id(mutation, client)?, time: 0, ops: vec![op] };
            Ok(Asked { refused: Some(error.to_string()), ..mutation.into() })
        }
    }
}

/// The record of the first op that cannot be read.
fn bad_key(mutation: Value<'_>, max_depth: usize) -> Option<Key> {
    let mut ops = fields::optional(mutation, "ops")?.array()?;
    fields::key(ops.find(|op| read_op(*op, max_depth).is_err())?).ok()
}

fn read_id(
    mutation: Value<'_>,
    client: Option<&Arc<str>>,
) -> Result<Option<MutationId>, WireError> {
    match (fields::optional_u64(mutation, "seq")?, client) {
        (Some(0), _) => Err(WireError::new("seq", "counts from 1")),
        (Some(seq), _) if seq > MutationId::MAX_SEQ => {
            Err(WireError::new("seq", "must be at most 9007199254740991"))
        }
        (Some(seq), Some(client)) => Ok(Some(MutationId { client: client.clone(), seq })),
        (Some(_), None) => Err(WireError::new("seq", "needs a client that counts")),
        (None, Some(_)) => Err(WireError::new("seq", "is missing: a client counts")),
        (None, None) => Ok(None),
    }
}

/// Reads a mutation of `client`, with records nested at most `max_depth` levels.
///
/// # Errors
/// Says what is wrong, and where.
pub fn read_mutation(
    mutation: Value<'_>,
    client: Option<&Arc<str>>,
    max_depth: usize,
) -> Result<Mutation, WireError> {
    let id = read_id(mutation, client)?;
    let time = fields::optional_u64(mutation, "time")?.unwrap_or_default();
    let ops = fields::list(mutation, "ops", |op| read_op(op, max_depth))?;
    if ops.is_empty() {
        return Err(WireError::new("ops", "must not be empty"));
    }
    Ok(Mutation { id, time, ops })
}

fn read_op(op: Value<'_>, max_depth: usize) -> Result<Op, WireError> {
    for name in ["value", "patch", "by", "was"] {
        if let Some(value) = fields::optional(op, name) {
            let nested = json::parse(value.raw().as_bytes(), max_depth);
            nested.map_err(|error| WireError::new(name, error))?;
        }
    }
    let edit = match &*fields::text(op, "op")? {
        "insert" => Edit::Insert(fields::document(op, "value")?),
        "update" => Edit::Update(fields::patch(op, "patch")?),
        "replace" => Edit::Replace(fields::document(op, "value")?),
        "delete" => Edit::Delete,
        "increment" => Edit::Increment(fields::patch(op, "by")?),
        other => {
            let problem = format!(
                "{} is none: write insert, update, replace, delete or increment",
                Quoted(other)
            );
            return Err(WireError::new("op", problem));
        }
    };
    Ok(Op {
        key: fields::key(op)?,
        base: fields::optional_u64(op, "base")?.map(Version),
        was: fields::optional_patch(op, "was")?,
        edit,
    })
}
