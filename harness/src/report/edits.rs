//! What became of edits of shared records.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::LatencySummary;
use super::plot::escape;
use super::table::latency_row;

/// What became of edits of shared records.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Edits {
    /// Edits that were due.
    pub due: u64,
    /// Taken by the server.
    pub acknowledged: u64,
    /// Refused by the server, or not possible.
    pub rejected: u64,
    /// Without an answer at the end of the run.
    pub unanswered: u64,
    /// Made while their maker had no connection.
    pub made_offline: u64,
    /// Conflicts, as their makers were told.
    pub conflicts: ConflictCounts,
    /// Acknowledged, and not in the records at the end.
    pub lost: u64,
    /// Counted more often than they were acknowledged.
    pub repeated: u64,
    /// Clients and servers whose records were compared with those of the first server.
    pub compared: u64,
    /// Those among them that had others, in any byte.
    pub diverged: u64,
    /// The first differences, in words.
    pub differences: Vec<String>,
    /// From when an edit was due until its maker had the acknowledgement, in microseconds.
    pub acknowledged_us: LatencySummary,
    /// From when an edit was due until another client showed it, if it was made online.
    pub visible_us: LatencySummary,
    /// The same if it was made offline.
    pub visible_offline_us: LatencySummary,
}

/// Conflicts by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConflictCounts {
    /// Both changes hold.
    pub merged: u64,
    /// The later change holds.
    pub mine: u64,
    /// The earlier change holds; the later one was refused.
    pub theirs: u64,
}

/// Their latencies, as rows of the table.
pub(super) fn latency_rows(out: &mut String, edits: &Edits) {
    latency_row(out, "edits acknowledged", &edits.acknowledged_us);
    latency_row(out, "edits visible to others", &edits.visible_us);
    if edits.visible_offline_us.count > 0 {
        latency_row(out, "  made offline", &edits.visible_offline_us);
    }
}

/// Their balance, for the table.
pub(super) fn balance(out: &mut String, edits: &Edits) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "\nedits {}   acknowledged {}   rejected {}   unanswered {}   made offline {}",
        edits.due, edits.acknowledged, edits.rejected, edits.unanswered, edits.made_offline
    );
    let ConflictCounts { merged, mine, theirs } = edits.conflicts;
    let _ = writeln!(out, "conflicts: merged {merged}   mine {mine}   theirs {theirs}");
    let same = edits.compared - edits.diverged;
    let _ = writeln!(
        out,
        "lost {}   repeated {}   the same as the server in every byte: {same} of {}",
        edits.lost, edits.repeated, edits.compared
    );
    for difference in &edits.differences {
        let _ = writeln!(out, "  {difference}");
    }
}

/// Their balance, for the page.
pub(super) fn section(out: &mut String, edits: &Edits) {
    out.push_str("<section><h2>Edits of shared records</h2><table><tbody>");
    let ConflictCounts { merged, mine, theirs } = edits.conflicts;
    for (name, value) in [
        ("due", edits.due),
        ("acknowledged", edits.acknowledged),
        ("rejected", edits.rejected),
        ("unanswered", edits.unanswered),
        ("made offline", edits.made_offline),
        ("conflicts merged", merged),
        ("conflicts decided for mine", mine),
        ("conflicts decided for theirs", theirs),
        ("lost", edits.lost),
        ("repeated", edits.repeated),
        ("clients and servers compared", edits.compared),
        ("diverged", edits.diverged),
    ] {
        let _ = write!(out, "<tr><td>{name}</td><td class=\"n\">{value}</td></tr>");
    }
    out.push_str("</tbody></table>");
    for difference in &edits.differences {
        let _ = write!(out, "<p>{}</p>", escape(difference));
    }
    out.push_str("</section>");
}
