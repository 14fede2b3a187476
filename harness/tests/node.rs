//! Runs with servers on Node beside those of Tidings.

use std::process::Command;

use serde_json::Value;

/// Runs the scenario node-mixed with another adapter, for a few clients.
fn run(adapter: &str, mode: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let scenario = include_str!("../scenarios/node-mixed.toml")
        .replace("adapter = \"sharded\"", &format!("adapter = \"{adapter}\""))
        .replace("mode = \"dynamic\"", &format!("mode = \"{mode}\""))
        .replace("[sla]", "[sla]\nharness_lag_p99_ms = 60000");
    let file = directory.path().join("scenario.toml");
    std::fs::write(&file, scenario).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidings-harness"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .args(["run", file.to_str().unwrap(), "--connections", "40", "--rate", "50"])
        .args(["--duration", "2s", "--format", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_is_said_on_node_or_tidings_is_heard_on_both() {
    for (adapter, mode) in
        [("classic", "dynamic"), ("sharded", "dynamic-private"), ("sharded", "static")]
    {
        let report = run(adapter, mode);
        // A hundred events, each in a room of ten whose members are on four servers.
        assert_eq!(report["publishes"]["acknowledged"], 100, "{adapter} {mode}");
        let delivery = &report["delivery"];
        assert_eq!(delivery["expected"], 1000, "{adapter} {mode}");
        assert_eq!(delivery["delivered"], 1000, "{adapter} {mode}");
        assert_eq!(report["config"]["client"], "socketio");
        let processes = report["processes"].as_array().unwrap();
        let roles: Vec<_> = processes.iter().map(|it| it["role"].as_str().unwrap()).collect();
        assert_eq!(
            roles[..4],
            ["server 0", "server 1", "server 2 (Node)", "server 3 (Node)"],
            "{adapter} {mode}"
        );
    }
}
