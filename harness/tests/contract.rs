//! The JSON of a run is a contract: scripts read it by the names of its fields.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

const LATENCY: &[&str] = &["p50", "p90", "p99", "p999", "max", "count"];

/// Fields that stay, and the numbers, texts and lists they are.
const FIELDS: &[(&str, &[&str])] = &[
    ("emission_us", LATENCY),
    ("latency_us", LATENCY),
    ("delivery", &["expected", "delivered", "lost", "duplicated", "out_of_order", "ratio"]),
    ("connections", &["requested", "established", "at_end", "by_transport", "connect_us"]),
    ("recovery", &["clients", "interrupted", "recovered", "gaps", "time_us", "caught_up_us"]),
    ("backplane", &["appended", "append_calls", "duplicates", "refused", "reads", "put_back"]),
    ("redis", &["cpu_us_per_event", "script_calls_per_event", "commands_per_event", "by_command"]),
    ("config", &["connections", "duration_s", "rate", "transport", "client", "instances"]),
];

/// Fields of each element of a list.
const ELEMENTS: &[(&str, &[&str])] = &[
    ("sla", &["name", "limit", "measured", "unit", "pass"]),
    ("processes", &["role", "cpu_seconds", "rss_peak_bytes", "rss_per_connection_bytes"]),
    ("marks", &["at_ms", "kind", "text"]),
    ("timeline", &["at_ms", "connected", "published", "delivered", "outstanding"]),
];

/// Fields that are there only in some runs or on some systems.
const OPTIONAL: &[&str] = &["attacks", "edits", "floor", "machine"];

/// A run with everything a report can be about.
static REPORT: LazyLock<Value> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO_BIN_EXE_tidings-harness"))
        .args(["run", "smoke", "--connections", "20", "--duration", "1s", "--format", "json"])
        .args(["--instances", "2", "--redis", "cluster"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {log}"))
});

fn has(value: &Value, field: &str, parts: &[&str]) {
    for part in parts {
        let value = &value[part];
        assert!(!value.is_null(), "{field}.{part} is missing");
        let numeric = part.starts_with('p') && part[1..].parse::<u32>().is_ok();
        assert!(!numeric || value.is_u64(), "{field}.{part} is {value}");
    }
}

/// The fields that docs/harness.md describes, each with its parts if it names them.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/harness.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let (_, report) = text.split_once("## The report").expect("a section on the report");
    let mut fields = BTreeMap::new();
    for row in report.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split('|').skip(1);
        let (names, what) = (cells.next().unwrap(), cells.next().unwrap());
        let parts: BTreeSet<String> = what
            .split_once("`{")
            .and_then(|(_, rest)| rest.split_once("}`"))
            .map(|(parts, _)| {
                parts.split(',').map(|part| part.trim().trim_end_matches('?').to_owned()).collect()
            })
            .unwrap_or_default();
        for name in names.split('`').skip(1).step_by(2) {
            fields.insert(name.to_owned(), parts.clone());
        }
    }
    fields
}

#[test]
fn a_report_has_the_fields_that_scripts_rely_on() {
    let report = &*REPORT;
    assert!(report["scenario"].is_string() && report["pass"].is_boolean());
    for (field, parts) in FIELDS {
        assert!(report[field].is_object(), "{field}");
        has(&report[field], field, parts);
    }
    assert_eq!(report["backplane"]["appended"], report["publishes"]["due"]);
    assert!(report["redis"]["by_command"]["xadd"].as_u64() >= report["publishes"]["due"].as_u64());
    for (field, parts) in ELEMENTS {
        let elements = report[field].as_array().unwrap_or_else(|| panic!("{field} is no list"));
        assert!(!elements.is_empty(), "{field}");
        for element in elements {
            has(element, field, parts);
        }
    }
}

#[test]
fn a_report_has_the_fields_that_are_documented_and_no_others() {
    let report = &*REPORT;
    let documented = documented();
    let there: BTreeSet<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let described: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
    let unknown: Vec<_> = there.difference(&described).collect();
    assert!(unknown.is_empty(), "docs/harness.md does not describe {unknown:?}");
    let missing: Vec<_> =
        described.difference(&there).filter(|field| !OPTIONAL.contains(field)).collect();
    assert!(missing.is_empty(), "a report has no {missing:?}");
    for (field, parts) in documented.iter().filter(|(_, parts)| !parts.is_empty()) {
        let value = match &report[field] {
            Value::Array(elements) => elements.first().cloned(),
            value => Some(value.clone()),
        };
        let Some(Value::Object(value)) = value else { continue };
        for part in value.keys() {
            assert!(parts.contains(part), "docs/harness.md does not describe {field}.{part}");
        }
    }
}
