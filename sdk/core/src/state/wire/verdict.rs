//! What became of mutations.

use super::{WireError, fields};
use crate::json::{MAX_DEPTH, Value, Writer};
use crate::state::{Conflict, Outcome, Reason, Rejection, Verdict, Version};

/// Writes the answer to a request: the verdicts in order, with the numbers of the mutations that
/// had one.
pub fn write_verdicts<'a>(
    verdicts: impl IntoIterator<Item = (Option<u64>, &'a Verdict)>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.begin_object().key("results").begin_array();
    for (seq, verdict) in verdicts {
        w.begin_object();
        if let Some(seq) = seq {
            w.key("seq").u64(seq);
        }
        write_verdict(verdict, &mut w);
        w.end_object();
    }
    w.end_array().end_object();
    out
}

fn write_verdict(verdict: &Verdict, w: &mut Writer<'_>) {
    match verdict {
        Verdict::Accepted { version, conflicts } => {
            w.key("version").u64(version.0);
            if !conflicts.is_empty() {
                w.key("conflicts").begin_array();
                conflicts.iter().for_each(|conflict| write_conflict(conflict, w));
                w.end_array();
            }
        }
        Verdict::Rejected(Rejection { key, reason }) => {
            w.key("rejected").begin_object().key("key").str(key);
            w.key("reason").str(reason.as_str()).key("message").str(&reason.to_string());
            if let Reason::Conflict(conflict) = reason {
                w.key("conflict");
                write_conflict(conflict, w);
            }
            w.end_object();
        }
        Verdict::Forgotten => {
            w.key("forgotten").bool(true);
        }
    }
}

fn write_conflict(conflict: &Conflict, w: &mut Writer<'_>) {
    w.begin_object().key("key").str(&conflict.key);
    w.key("outcome").str(conflict.outcome.as_str());
    for (name, document) in [("base", &conflict.base), ("mine", &conflict.mine)] {
        if let Some(document) = document {
            w.key(name).raw(document.bytes());
        }
    }
    w.key("theirs").raw(conflict.theirs.bytes()).end_object();
}

/// Writes one verdict alone, to be remembered.
pub fn write_one_verdict(verdict: &Verdict) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.begin_object();
    write_verdict(verdict, &mut w);
    w.end_object();
    out
}

/// What [`write_one_verdict`] writes of an accepted mutation, without the version, which a store may
/// have to fill in: it stands between the two parts.
pub fn accepted_parts(conflicts: &[Conflict]) -> [Vec<u8>; 2] {
    let before = br#"{"version":"#.to_vec();
    let accepted = Verdict::Accepted { version: Version(0), conflicts: conflicts.to_vec() };
    let after = write_one_verdict(&accepted).split_off(before.len() + 1);
    [before, after]
}

/// Reads what [`write_one_verdict`] has written.
///
/// # Errors
/// Says what is wrong, and where.
pub fn read_one_verdict(json: &[u8]) -> Result<Verdict, WireError> {
    read_verdict(fields::payload(json, MAX_DEPTH)?)
}

/// Reads the answer to a request whose mutations had numbers.
///
/// # Errors
/// Says what is wrong, and where.
pub fn read_verdicts(json: &[u8]) -> Result<Vec<(u64, Verdict)>, WireError> {
    let payload = fields::payload(json, MAX_DEPTH)?;
    fields::list(payload, "results", |result| {
        Ok((fields::u64(result, "seq")?, read_verdict(result)?))
    })
}

fn read_verdict(result: Value<'_>) -> Result<Verdict, WireError> {
    if let Some(version) = fields::optional_u64(result, "version")? {
        let conflicts = match fields::optional(result, "conflicts") {
            Some(_) => fields::list(result, "conflicts", read_conflict)?,
            None => Vec::new(),
        };
        return Ok(Verdict::Accepted { version: Version(version), conflicts });
    }
    let Some(rejected) = fields::optional(result, "rejected") else {
        return Ok(Verdict::Forgotten);
    };
    let rejection = read_rejection(rejected).map_err(|error| error.within("rejected"))?;
    Ok(Verdict::Rejected(rejection))
}

fn read_rejection(rejected: Value<'_>) -> Result<Rejection, WireError> {
    let message = || fields::text(rejected, "message").map(|text| text.to_string());
    let reason = match &*fields::text(rejected, "reason")? {
        "exists" => Reason::Exists,
        "missing" => Reason::Missing,
        "conflict" => {
            let conflict = read_conflict(fields::required(rejected, "conflict")?);
            Reason::Conflict(Box::new(conflict.map_err(|error| error.within("conflict"))?))
        }
        "increment" => Reason::Increment(message()?),
        // A later version may have other reasons.
        _ => Reason::Refused(message()?),
    };
    Ok(Rejection { key: fields::key(rejected)?, reason })
}

fn read_conflict(conflict: Value<'_>) -> Result<Conflict, WireError> {
    let outcome = fields::text(conflict, "outcome")?;
    let outcome = Outcome::from_name(&outcome);
    Ok(Conflict {
        key: fields::key(conflict)?,
        base: fields::optional_document(conflict, "base")?,
        mine: fields::optional_document(conflict, "mine")?,
        theirs: fields::document(conflict, "theirs")?,
        outcome: outcome
            .ok_or_else(|| WireError::new("outcome", "must be mine, theirs or merged"))?,
    })
}
