//! Records on their way from the server.

use super::{WireError, fields};
use crate::json::{MAX_DEPTH, Value, Writer};
use crate::state::{Change, Load, MutationId, Page, Policy, Stamp, Version};

/// What a client is answered to `state.<collection>.load`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name of the collection's policy.
    pub policy: String,
    /// What has changed.
    pub page: Page,
}

/// Writes the payload of a request to load.
pub fn write_load(load: &Load) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.begin_object().key("after").u64(load.after.0).key("began").u64(load.began.0);
    w.key("limit").u64(load.limit as u64);
    if let Some(client) = &load.client {
        w.key("client").str(client);
    }
    w.end_object();
    out
}

/// Reads the payload of a request to load; all of its members may be missing, and it, too.
///
/// # Errors
/// Says what is wrong, and where.
pub fn read_load(json: &[u8]) -> Result<Load, WireError> {
    if json == b"null" {
        return Ok(Load { limit: usize::MAX, ..Load::default() });
    }
    let payload = fields::payload(json, MAX_DEPTH)?;
    let after = fields::optional_u64(payload, "after")?.unwrap_or_default();
    let began = fields::optional_u64(payload, "began")?.unwrap_or(after);
    let limit = fields::optional_u64(payload, "limit")?.unwrap_or(u64::MAX);
    Ok(Load {
        after: Version(after),
        began: Version(began),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        client: fields::optional_client(payload)?,
    })
}

/// Writes the answer.
pub fn write_loaded(policy: &Policy, page: &Page) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.begin_object().key("policy").str(policy.as_str());
    w.key("version").u64(page.version.0).key("reset").bool(page.reset);
    w.key("judged").u64(page.judged).key("changes").begin_array();
    for change in &page.changes {
        w.raw(&write_change(change));
    }
    w.end_array();
    if let Some((after, began)) = page.next {
        w.key("next").begin_object().key("after").u64(after.0);
        w.key("began").u64(began.0).end_object();
    }
    w.end_object();
    out
}

/// Reads the answer.
///
/// # Errors
/// Says what is wrong, and where.
pub fn read_loaded(json: &[u8]) -> Result<Loaded, WireError> {
    let payload = fields::payload(json, MAX_DEPTH)?;
    let next = |next| Ok((fields::version(next, "after")?, fields::version(next, "began")?));
    let page = Page {
        reset: fields::optional(payload, "reset").is_some_and(|v| v.as_bool() == Some(true)),
        changes: fields::list(payload, "changes", read_change_from)?,
        version: fields::version(payload, "version")?,
        next: fields::optional(payload, "next").map(next).transpose()?,
        judged: fields::optional_u64(payload, "judged")?.unwrap_or_default(),
    };
    Ok(Loaded { policy: fields::text(payload, "policy")?.to_string(), page })
}

/// Writes the payload of the event that a record has changed.
pub fn write_change(change: &Change) -> Vec<u8> {
    let [before, between, after] = change_parts(change);
    let Stamp { version, alone_since, .. } = &change.stamp;
    let (version, since) = (version.0.to_string(), alone_since.0.to_string());
    [&before, version.as_bytes(), &between, since.as_bytes(), &after].concat()
}

/// The payload of the event that a record has changed, without what a store may have to fill in:
/// between the first two parts the version, between the last two the one since when it is alone.
pub fn change_parts(change: &Change) -> [Vec<u8>; 3] {
    let mut before = br#"{"key":"#.to_vec();
    Writer::new(&mut before).str(&change.key);
    before.extend(br#","version":"#);
    let mut between = br#","value":"#.to_vec();
    between.extend(change.value.as_ref().map_or(&b"null"[..], |value| value.bytes()));
    between.extend(format!(r#","time":{},"since":"#, change.stamp.time).bytes());
    let mut after = Vec::new();
    if let Some(by) = &change.stamp.by {
        after.extend(br#","client":"#);
        Writer::new(&mut after).str(&by.client);
        after.extend(format!(r#","seq":{}"#, by.seq).bytes());
    }
    after.push(b'}');
    [before, between, after]
}

/// Reads the payload of the event that a record has changed.
///
/// # Errors
/// Says what is wrong, and where.
pub fn read_change(json: &[u8]) -> Result<Change, WireError> {
    read_change_from(fields::payload(json, MAX_DEPTH)?)
}

fn read_change_from(change: Value<'_>) -> Result<Change, WireError> {
    let client = fields::optional_text(change, "client")?;
    let seq = fields::optional_u64(change, "seq")?;
    Ok(Change {
        key: fields::key(change)?,
        value: fields::optional_document(change, "value")?,
        stamp: Stamp {
            version: fields::version(change, "version")?,
            by: client.zip(seq).map(|(client, seq)| MutationId { client, seq }),
            alone_since: Version(fields::optional_u64(change, "since")?.unwrap_or_default()),
            time: fields::optional_u64(change, "time")?.unwrap_or_default(),
        },
    })
}
