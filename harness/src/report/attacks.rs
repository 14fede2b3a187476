//! What became of attacks.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::plot::escape;
use crate::scenario::AttackKind;

/// What the attackers of one entry did, and what the servers did about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackReport {
    /// What they do.
    pub kind: AttackKind,
    /// How many there were.
    pub attackers: u64,
    /// What they have tried: connections, publishes, messages or guesses, by the kind of attack.
    pub attempts: u64,
    /// Connections opened.
    pub connections: u64,
    /// Connections that the server has ended.
    pub ended: u64,
    /// Bytes that the server took.
    pub bytes: u64,
    /// What the server said, and how often: the status of HTTP answers (`HTTP 429`), and messages and
    /// their codes (`nack 9`, `close 4500`); answers that refuse nothing are there as well.
    pub answers: BTreeMap<String, u64>,
}

/// Their balance, for the table.
pub(super) fn balance(out: &mut String, attacks: &[AttackReport]) {
    for attack in attacks {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "attack {:<14} {} by {}: {} attempts, {} connections, {} of them ended by the server, \
             {:.1} MB",
            attack.kind.as_str(),
            if attack.attempts == 0 { "NOT carried out" } else { "carried out" },
            attack.attackers,
            attack.attempts,
            attack.connections,
            attack.ended,
            attack.bytes as f64 / 1e6,
        );
        if !attack.answers.is_empty() {
            let _ = writeln!(out, "       answers: {}", told(attack));
        }
    }
}

fn told(attack: &AttackReport) -> String {
    let answers = attack.answers.iter().map(|(answer, count)| format!("{answer} ×{count}"));
    answers.collect::<Vec<_>>().join(", ")
}

/// Their balance, for the page.
pub(super) fn section(out: &mut String, attacks: &[AttackReport]) {
    out.push_str(
        "<section><h2>Attacks</h2><table><thead><tr><th>attack</th><th class=\"n\">attempts</th>\
         <th class=\"n\">connections</th><th class=\"n\">ended</th><th class=\"n\">MB</th>\
         <th>answers</th></tr></thead><tbody>",
    );
    for attack in attacks {
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{:.1}</td><td>{}</td></tr>",
            attack.kind.as_str(),
            attack.attempts,
            attack.connections,
            attack.ended,
            attack.bytes as f64 / 1e6,
            escape(&told(attack)),
        );
    }
    out.push_str("</tbody></table></section>");
}
