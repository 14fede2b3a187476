//! Who is there: a session's own record.

use std::time::Duration;

use super::{WireError, fields, read_one_verdict, write_one_verdict};
use crate::json::{MAX_DEPTH, Writer};
use crate::state::{Key, Verdict};

/// What a session is answered that has joined a collection of those who are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The key of its record.
    pub key: Key,
    /// How long it may be away before its record ends.
    pub timeout: Duration,
    /// What became of its record.
    pub verdict: Verdict,
}

/// Writes the answer to a session that joins.
pub fn write_joined(key: &Key, timeout: Duration, verdict: &Verdict) -> Vec<u8> {
    let mut out = br#"{"key":"#.to_vec();
    Writer::new(&mut out).str(key);
    out.extend(format!(r#","timeout":{},"#, timeout.as_millis()).bytes());
    // A verdict alone is an object that has members.
    out.extend(write_one_verdict(verdict).split_off(1));
    out
}

/// Reads the answer to a session that joins.
///
/// # Errors
/// Says what is wrong, and where.
pub fn read_joined(json: &[u8]) -> Result<Joined, WireError> {
    let payload = fields::payload(json, MAX_DEPTH)?;
    Ok(Joined {
        key: fields::key(payload)?,
        timeout: Duration::from_millis(fields::u64(payload, "timeout")?),
        verdict: read_one_verdict(json)?,
    })
}
