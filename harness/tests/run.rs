//! Whole runs, with servers in processes of their own. They judge delivery, never latency.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_tidings-harness");

/// A scenario of twenty clients in rooms of five; `more` is added to it.
fn scenario(dir: &TempDir, duration: &str, more: &str) -> String {
    let text = format!(
        r#"
        name = "test"
        about = "rooms for a test"
        connections = 20
        duration = "{duration}"
        warmup = "0s"
        drain = "60s"

        [server.partitions]
        depths = {{ rooms = 2 }}

        [[group]]
        name = "members"
        weight = 1
        room_size = 5
        subscribe = ["rooms.{{room}}.message"]

        [[group]]
        name = "wildcards"
        count = 2
        subscribe = ["rooms.*.message", "rooms.**"]

        [[publish]]
        from = "members"
        name = "rooms.{{room}}.message"
        rate = 50

        [sla]
        delivered_ratio = 1
        harness_lag_p99_ms = 60000

        {more}
        "#
    );
    let path = dir.path().join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn run(args: &[&str]) -> Output {
    Command::new(BINARY).arg("run").args(args).output().unwrap()
}

/// Runs and reads the one JSON object on standard output.
fn run_json(args: &[&str]) -> (i32, Value) {
    let output = run(&[args, &["--format", "json"]].concat());
    let code = output.status.code().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (code, json)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn sla<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["sla"].as_array().unwrap();
    all.iter().find(|sla| sla["name"] == name).unwrap_or_else(|| panic!("no {name} in {all:?}"))
}

#[test]
fn a_run_delivers_everything_and_reports_it() {
    let dir = TempDir::new().unwrap();
    let file = scenario(&dir, "1s", "");
    let out = dir.path().join("out");
    for transport in ["ws", "socketio", "mixed"] {
        let (code, report) =
            run_json(&[&file, "--transport", transport, "--report", out.to_str().unwrap()]);
        assert_eq!(code, 0, "{transport}: {report}");
        assert_eq!(report["pass"], true);
        let d = &report["delivery"];
        // 50 events: each to its room of five (the last of three) and to two wildcards.
        assert_eq!(report["publishes"]["due"], 50);
        assert!(number(&d["expected"]) > 250, "{d}");
        assert_eq!(d["expected"], d["delivered"]);
        for nothing in ["lost", "duplicated", "out_of_order", "unexpected", "corrupt"] {
            assert_eq!(d[nothing], 0, "{transport}: {nothing}");
        }
        assert_eq!(d["ratio"], 1.0);
        assert_eq!(report["config"]["transport"], transport);
        for latency in ["emission_us", "latency_us"] {
            for part in ["p50", "p90", "p99", "p999", "max", "count"] {
                assert!(number(&report[latency][part]) > 0, "{latency}.{part}");
            }
        }
        let roles: Vec<_> =
            report["processes"].as_array().unwrap().iter().map(|p| p["role"].clone()).collect();
        assert_eq!(roles, ["server 0", "harness"]);
        let server = &report["processes"][0];
        assert!(server["cpu_seconds"].is_f64() && number(&server["rss_peak_bytes"]) > 0);
        assert!(server["rss_per_connection_bytes"].is_u64());
        for sla in report["sla"].as_array().unwrap() {
            assert!(sla["name"].is_string() && sla["unit"].is_string());
            assert!(sla["limit"].is_f64() && sla["measured"].is_f64());
            assert_eq!(sla["pass"], true, "{sla}");
        }
        let machine = &report["machine"];
        assert!(number(&machine["cores"]) > 0, "{machine}");
        for part in ["steal_percent", "cpu_busy_percent", "others_percent"] {
            let percent = machine[part].as_f64().unwrap();
            assert!((0.0..=100.0).contains(&percent), "{part} {percent}");
        }
        assert_eq!(report["disturbances"], serde_json::json!([]), "nothing was missed");
        assert_eq!(report["connections"]["established"], 20);
        assert_eq!(report["recovery"]["interrupted"], 0);
        let written: Value =
            serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
        assert_eq!(written, report, "the file has the same object");
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script"));
    for address in ["src=", "href=", "url(", "@import"] {
        assert!(!page.contains(address), "the page needs nothing else, but has {address}");
    }
}

#[test]
fn people_get_a_table_without_colours_in_a_pipe() {
    let dir = TempDir::new().unwrap();
    let output = run(&[&scenario(&dir, "500ms", "")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("All SLAs hold.") && text.contains("delivered_ratio"), "{text}");
    assert!(!text.contains('\x1b'));
    assert!(!String::from_utf8(output.stderr).unwrap().contains('\x1b'));
}

#[test]
fn cuts_and_switches_lose_and_double_nothing() {
    let dir = TempDir::new().unwrap();
    let steps = r#"
        [[step]]
        at = "500ms"
        action = "cut-clients"
        for = "300ms"

        [[step]]
        at = "1500ms"
        action = "switch-transport"

        [[step]]
        at = "2s"
        action = "cut-clients"
        group = "wildcards"
    "#;
    let (code, report) = run_json(&[&scenario(&dir, "3s", steps)]);
    assert_eq!(code, 0, "{report}");
    assert!(number(&report["recovery"]["interrupted"]) >= 20, "{}", report["recovery"]);
    assert_eq!(report["recovery"]["interrupted"], report["recovery"]["recovered"]);
    let texts: Vec<_> =
        report["marks"].as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap()).collect();
    assert_eq!(
        texts,
        [
            "cut-clients for 300ms",
            "connections possible again",
            "switch-transport",
            "cut-clients of wildcards"
        ]
    );
}

#[test]
fn a_server_stopped_in_the_middle_fails_the_run_and_the_report_says_what_was_lost() {
    for action in ["stop-server", "kill-server"] {
        let dir = TempDir::new().unwrap();
        let step = format!("[[step]]\nat = \"700ms\"\naction = \"{action}\"");
        let (code, report) = run_json(&[&scenario(&dir, "2s", &step)]);
        assert_eq!(code, 1, "{action}: {report}");
        assert_eq!(report["pass"], false);
        let d = &report["delivery"];
        assert!(number(&d["lost"]) > 100 && number(&d["delivered"]) > 20, "{action}: {d}");
        assert_eq!(number(&d["lost"]) + number(&d["delivered"]), number(&d["expected"]));
        let loss = &d["losses"][0];
        assert_eq!(loss["group"], "members");
        assert!(loss["name"].as_str().unwrap().starts_with("rooms."), "{loss}");
        assert!(number(&loss["first"]) <= number(&loss["last"]));
        for missed in ["lost", "delivered_ratio"] {
            assert_eq!(sla(&report, missed)["pass"], false, "{missed}");
        }
        assert_eq!(sla(&report, "server_crashes")["pass"], true, "it was asked to");
        assert_eq!(report["marks"][0]["text"], action);
    }
}

#[test]
fn what_a_slow_client_misses_is_told_and_nobody_else_notices() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("slow.toml");
    let text = r#"
        name = "slow"
        about = "two clients on narrow links"
        connections = 12
        duration = "3s"
        warmup = "0s"
        drain = "60s"

        [server.queues]
        low = "2 KiB"

        [server.socket]
        notsent_lowat = "2 KiB"

        [[group]]
        name = "slow"
        count = 2
        subscribe = ["ticks.**"]
        bytes_per_second = 4000

        [[group]]
        name = "fast"
        weight = 1
        subscribe = ["ticks.**"]

        [[publish]]
        from = "fast"
        name = "ticks.low"
        rate = 100
        priority = "low"

        [[publish]]
        from = "fast"
        name = "ticks.high"
        rate = 10
        priority = "high"

        [sla]
        harness_lag_p99_ms = 60000

        [sla.group.fast]
        missing = 0

        [sla.priority.high]
        missing = 0
    "#;
    std::fs::write(&file, text).unwrap();
    let (code, report) = run_json(&[file.to_str().unwrap()]);
    assert_eq!(code, 0, "{report}");
    let d = &report["delivery"];
    assert!(number(&d["told_by_gap"]) > 50, "{d}");
    assert_eq!(d["lost"], 0);
    assert!(number(&report["recovery"]["gaps"]) >= 2);
    assert!(d["ratio"].as_f64().unwrap() < 1.0, "what was told is missing all the same");
}

/// A run in the background whose servers are known.
struct Background {
    harness: Child,
    server: Pid,
    log: BufReader<std::process::ChildStderr>,
}

impl Background {
    /// Starts and waits until events flow.
    fn start(args: &[&str]) -> Self {
        let mut harness = Command::new(BINARY)
            .arg("run")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(harness.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("delivered/s") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the harness ended early");
        }
        let server = child_of(harness.id());
        Self { harness, server, log }
    }

    fn finish(mut self) -> (i32, String, String) {
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        let output = self.harness.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), log)
    }
}

/// The one child of a process.
fn child_of(parent: u32) -> Pid {
    for entry in std::fs::read_dir("/proc").unwrap() {
        let Ok(stat) = std::fs::read_to_string(entry.unwrap().path().join("stat")) else {
            continue;
        };
        let after = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().nth(1).unwrap();
        if after == parent.to_string() {
            return Pid::from_raw(stat.split_whitespace().next().unwrap().parse().unwrap())
                .unwrap();
        }
    }
    panic!("{parent} has no child");
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// Waits until a process is gone; processes that are never gone make the test run for ever.
fn await_end(process: Pid) {
    while test_kill_process(process).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn a_server_that_dies_by_itself_is_reported_as_a_crash() {
    let dir = TempDir::new().unwrap();
    let run = Background::start(&[&scenario(&dir, "3s", ""), "--format", "json"]);
    kill_process(run.server, Signal::KILL).unwrap();
    let (code, out, log) = run.finish();
    assert_eq!(code, 1, "{log}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(sla(&report, "server_crashes")["measured"], 1.0);
    assert!(number(&report["delivery"]["lost"]) > 0);
    let mark = &report["marks"][0];
    assert_eq!(mark["kind"], "fault");
    assert!(mark["text"].as_str().unwrap().contains("signal 9"), "{mark}");
}

#[test]
fn an_interrupted_run_leaves_no_server_behind() {
    let dir = TempDir::new().unwrap();
    let run = Background::start(&[&scenario(&dir, "10m", "")]);
    let server = run.server;
    kill_process(pid(&run.harness), Signal::INT).unwrap();
    let (code, out, log) = run.finish();
    assert_eq!((code, out.as_str()), (2, ""), "{log}");
    assert!(log.contains("interrupted"), "{log}");
    await_end(server);
}

#[test]
fn a_killed_harness_leaves_no_server_behind() {
    let dir = TempDir::new().unwrap();
    let mut run = Background::start(&[&scenario(&dir, "10m", "")]);
    let server = run.server;
    run.harness.kill().unwrap();
    run.harness.wait().unwrap();
    await_end(server);
}

#[test]
fn the_bare_write_loop_runs_beside() {
    let dir = TempDir::new().unwrap();
    let (code, report) = run_json(&[&scenario(&dir, "1s", ""), "--transport", "ws", "--floor"]);
    assert_eq!(code, 0, "{report}");
    let floor = &report["floor"];
    assert_eq!(floor["delivered_ratio"], 1.0);
    assert!(floor["ratio_p99"].as_f64().unwrap() > 0.0);
    assert_eq!(report["processes"][0]["role"], "server 0", "the server's figures, not the loop's");
}

#[test]
fn up_starts_servers_for_others_to_use() {
    let dir = TempDir::new().unwrap();
    let mut up = Command::new(BINARY)
        .arg("up")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(up.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let server = child_of(up.id());
    let (code, report) = run_json(&[&scenario(&dir, "500ms", ""), "--target", url.trim()]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["config"]["targets"][0], url.trim());
    assert_eq!(report["processes"].as_array().unwrap().len(), 1, "others' processes are not read");
    kill_process(pid(&up), Signal::INT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(0));
    await_end(server);
}

#[test]
fn faults_on_the_way_to_redis_and_in_it_lose_and_double_nothing() {
    let dir = TempDir::new().unwrap();
    let steps = r#"
        [[step]]
        at = "300ms"
        action = "stall-redis"
        server = 0
        for = "700ms"

        [[step]]
        at = "500ms"
        action = "cut-redis"
        server = 1
        for = "500ms"

        [[step]]
        at = "1500ms"
        action = "delay-redis"
        by = "20ms"
        for = "500ms"

        [[step]]
        at = "2s"
        action = "fill-redis"
        for = "300ms"

        [[step]]
        at = "2500ms"
        action = "move-slot"
        for = "300ms"

        [[step]]
        at = "2500ms"
        action = "cut-replicas"
        for = "500ms"

        [[step]]
        at = "3s"
        action = "pause-server"
        server = 0
        for = "300ms"
    "#;
    let file = scenario(&dir, "4s", steps);
    let text = std::fs::read_to_string(&file).unwrap();
    let clustered = "connections = 20\ninstances = 2\nredis = \"cluster\"";
    std::fs::write(&file, text.replace("connections = 20", clustered)).unwrap();
    let (code, report) = run_json(&[&file]);
    assert_eq!(code, 0, "{report}");
    let texts: Vec<_> =
        report["marks"].as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap()).collect();
    for undone in [
        "server 0 reaches Redis as before",
        "server 1 reaches Redis as before",
        "servers reach Redis as before",
        "Redis has memory again",
        "all know where the slot is",
        "replicas follow again",
        "server 0 goes on again",
    ] {
        assert!(texts.contains(&undone), "{undone} in {texts:?}");
    }
}

#[test]
fn attackers_are_refused_and_nobody_else_notices() {
    let kinds = [
        ("connections", 40, "HTTP 429"),
        ("publishes", 2000, "nack 102"),
        ("giants", 40, "HTTP 413"),
        ("malformed", 100, "close 4500"),
        ("slow-readers", 5, "HTTP 101"),
        ("half-open", 20, "close 4005"),
        ("tokens", 40, "HTTP 429"),
        ("subscriptions", 400, "suberr 304"),
    ];
    let attack = |(kind, rate, _)| format!("[[attack]]\nkind = \"{kind}\"\nrate = {rate}\n");
    let attacks: String = kinds.into_iter().map(attack).collect();
    let settings = r#"
        [server.auth]
        secret = "that nobody guesses, and that is long"
        anonymous = true
        subscribe = ["**"]
        publish = ["**"]

        [server.limits]
        connections_per_address = 20
        publish_rate = 200
        publish_burst = 200
        max_subscriptions = 100

        [server.timeouts]
        hello = "500ms"
    "#;
    let dir = tempfile::tempdir().unwrap();
    let (code, report) = run_json(&[&scenario(&dir, "3s", &format!("{settings}\n{attacks}"))]);
    assert_eq!(code, 0, "{:#}", report["sla"]);
    for (attack, (kind, _, answer)) in report["attacks"].as_array().unwrap().iter().zip(kinds) {
        assert_eq!(attack["kind"], kind);
        assert!(attack["answers"][answer].as_u64() > Some(0), "{answer}: {attack:#}");
    }
    assert_eq!(report["attacks"].as_array().unwrap().len(), kinds.len());
}
