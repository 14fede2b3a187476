//! The command line: what it prints, what it refuses, and its exit codes.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

fn harness(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidings-harness")).args(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn help_teaches() {
    let output = harness(&["--help"]);
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    for word in ["run", "list", "up", "growth", "compare", "Examples:", "Exit code:", "--floor"] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
    for hidden in ["\n  serve ", "\n  floor "] {
        assert!(!text.contains(hidden), "{hidden} is for the harness itself");
    }
}

#[test]
fn lists_the_built_in_scenarios() {
    let output = harness(&["list", "--format", "json"]);
    assert_eq!(code(&output), 0);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> =
        all.as_array().unwrap().iter().map(|scenario| scenario["name"].as_str().unwrap()).collect();
    assert_eq!(names[0], "rooms", "the default comes first");
    let text = stdout(&harness(&["list"]));
    for name in [
        "rooms",
        "fanout",
        "echo",
        "publish-many",
        "slow-consumers",
        "reconnect-storm",
        "transport-switch",
        "priorities",
        "soak",
    ] {
        assert!(names.contains(&name) && text.contains(name), "{name}");
    }
}

#[test]
fn what_cannot_be_run_is_explained_with_exit_code_2() {
    for (args, words) in [
        (vec!["run", "roms"], vec!["roms", "rooms", "fanout"]),
        (vec!["run", "--connections", "0"], vec!["--connections", "at least 1"]),
        (vec!["run", "--connections", "3"], vec!["at least 12 connections"]),
        (vec!["run", "--rate", "0"], vec!["--rate", "more than 0"]),
        (vec!["run", "--duration", "5"], vec!["--duration", "1.5s"]),
        (vec!["run", "--transport", "smoke-signals"], vec!["socketio", "ws", "mixed"]),
        (vec!["run", "--redis", "memory"], vec!["--redis", "cluster"]),
        (vec!["run", "redis-failover", "--redis", "none"], vec!["--redis none", "3 servers"]),
        (
            vec!["run", "redis-failover", "--redis", "redis://127.0.0.1"],
            vec!["kill-redis-master", "cluster"],
        ),
        (vec!["run", "--instances", "3"], vec!["--instances 3", "Redis"]),
        (vec!["run", "--target", "127.0.0.1:1"], vec!["127.0.0.1:1", "http://"]),
        (vec!["run", "--target", "http://127.0.0.1:1"], vec!["http://127.0.0.1:1"]),
        (vec!["run", "--frobnicate"], vec!["--frobnicate"]),
        (vec!["run", "node-mixed", "--client", "tidings"], vec!["--client tidings", "socketio"]),
        (vec!["run", "node-mixed", "--redis", "none", "--instances", "1"], vec!["--redis none"]),
        (vec!["run", "node-mixed", "--instances", "1"], vec!["--instances 1", "2 on Node"]),
        (vec!["run", "node-mixed", "--transport", "ws"], vec!["--transport", "socketio"]),
        (vec!["run", "rooms", "--client", "socketio"], vec!["--client socketio", "rooms.{client}"]),
        (vec!["run", "--seed", "7"], vec!["--seed", "no random faults"]),
        (vec!["run", "everything", "--redis", "none", "--instances", "1"], vec!["--redis cluster"]),
        (vec!["growth", "--instances", "2,0"], vec!["--instances", "at least 1"]),
        (vec!["growth", "--partitions", "20000"], vec!["--partitions", "16384"]),
        (vec!["compare", "nowhere.json", "nothing.json"], vec!["nowhere.json"]),
    ] {
        let output = harness(&args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}: nothing on standard output");
        for word in words {
            assert!(stderr(&output).contains(word), "{args:?}: {word} in {}", stderr(&output));
        }
    }
}

#[cfg(not(feature = "rust-socketio"))]
#[test]
fn a_client_that_was_not_built_in_says_how_to_get_it() {
    let output = harness(&["run", "--client", "rust-socketio"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--features rust-socketio"), "{}", stderr(&output));
}

#[test]
fn an_error_in_a_scenario_file_names_file_and_key() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("mine.toml");
    std::fs::write(&file, "name = \"mine\"\nabout = \"x\"\nduration = \"5s\"\nconections = 3\n")
        .unwrap();
    let output = harness(&["run", file.to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    let text = stderr(&output);
    assert!(text.contains("mine.toml") && text.contains("conections"), "{text}");
}

/// A report as a run writes it.
fn report(p99: u64, lost: u64) -> Value {
    let latency = |p99: u64| json!({"p50": 500, "p90": 900, "p99": p99, "p999": p99, "max": p99, "count": 1000});
    json!({
        "scenario": "rooms", "pass": lost == 0,
        "config": {"about": "", "connections": 10, "duration_s": 1.0, "rate": 10.0,
            "transport": "ws", "client": "tidings", "instances": 1, "targets": [],
            "payload_bytes": 185, "cores": 2, "version": "0.1.0", "started_at": 0},
        "sla": [], "emission_us": latency(1000), "latency_us": latency(p99),
        "latency_by_group_us": {}, "latency_by_priority_us": {},
        "delivery": {"expected": 100, "delivered": 100 - lost, "lost": lost,
            "lost_acknowledged": 0, "told_by_gap": 0, "duplicated": 0, "out_of_order": 0,
            "unexpected": 0, "corrupt": 0, "ratio": (100 - lost) as f64 / 100.0, "losses": []},
        "publishes": {"due": 10, "acknowledged": 10, "failed": 0, "unanswered": 0},
        "connections": {"requested": 10, "established": 10, "at_end": 10, "by_transport": {},
            "connect_us": latency(1000)},
        "recovery": {"interrupted": 0, "recovered": 0, "gaps": 0, "time_us":
            {"p50": 0, "p90": 0, "p99": 0, "p999": 0, "max": 0, "count": 0}},
        "processes": [], "server_cpu_us_per_delivery": 6.0,
        "harness_lag_us": {"publish": latency(100), "task": latency(100)},
        "marks": [], "timeline": [], "latency_curve": []
    })
}

#[test]
fn compare_tells_better_from_worse() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str, report: Value| {
        let path = dir.path().join(name);
        std::fs::write(&path, report.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let base = file("base.json", report(4000, 0));
    let slower = file("slower.json", report(6000, 0));
    let lossy = file("lossy.json", report(1000, 1));

    assert_eq!(code(&harness(&["compare", &base, &base])), 0);
    assert_eq!(code(&harness(&["compare", &slower, &base])), 0, "better is no regression");
    let output = harness(&["compare", &base, &slower]);
    assert_eq!(code(&output), 1);
    let text = stdout(&output);
    let line = text.lines().find(|line| line.starts_with("delivery p99 ")).unwrap();
    assert!(line.contains("1.50") && line.contains("REGRESSION"), "{text}");
    assert_eq!(code(&harness(&["compare", &base, &slower, "--tolerance", "60"])), 0);
    assert_eq!(code(&harness(&["compare", &base, &lossy, "--tolerance", "1000"])), 1);

    let output = harness(&["compare", &base, &lossy, "--format", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["regression"], true);
    let broken = file("broken.json", json!({}));
    assert_eq!(code(&harness(&["compare", &base, &broken])), 2);
}
