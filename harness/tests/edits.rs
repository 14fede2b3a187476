//! Whole runs with edits of shared records. They judge what becomes of the edits, never latency.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_tidings-harness");

/// Six clients edit four records, of which half lose their connection on the way, and two watch;
/// `more` is added to it.
fn scenario(dir: &TempDir, policy: &str, more: &str) -> String {
    let text = format!(
        r#"
        name = "test"
        about = "edits for a test"
        connections = 8
        duration = "3s"
        warmup = "0s"
        drain = "120s"
        {more}

        [server.collections.board]
        policy = "{policy}"

        [[group]]
        name = "travellers"
        count = 3
        collection = "board"

        [[group]]
        name = "office"
        weight = 1
        collection = "board"

        [[group]]
        name = "readers"
        count = 2
        collection = "board"

        [[edit]]
        from = "travellers"
        rate = 20
        records = 4

        [[edit]]
        from = "office"
        rate = 20
        records = 4

        [[step]]
        at = "800ms"
        action = "cut-clients"
        group = "travellers"
        for = "1s"

        [sla]
        harness_lag_p99_ms = 60000
        "#
    );
    let path = dir.path().join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn run(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(BINARY).arg("run").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn run_json(args: &[&str]) -> (i32, Value) {
    let (code, out, log) = run(&[args, &["--format", "json"]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{log}")))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn everybody_ends_up_with_the_same_and_no_acknowledged_edit_is_lost() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let file = scenario(&dir, "merge", "");
    let (code, report) = run_json(&[&file, "--report", out.to_str().unwrap()]);
    assert_eq!(code, 0, "{report}");
    let edits = &report["edits"];
    assert_eq!(edits["due"], 120);
    assert_eq!(edits["acknowledged"], 120, "merging rejects no edit: {edits}");
    assert!(number(&edits["made_offline"]) > 3, "{edits}");
    assert!(number(&edits["conflicts"]["merged"]) > 0, "titles have clashed: {edits}");
    assert_eq!(edits["compared"], 8);
    for nothing in ["lost", "repeated", "unanswered", "diverged", "rejected"] {
        assert_eq!(edits[nothing], 0, "{nothing}");
    }
    for latency in ["acknowledged_us", "visible_us", "visible_offline_us"] {
        assert!(number(&edits[latency]["p99"]) > 0, "{latency}: {edits}");
    }
    assert!(number(&report["recovery"]["interrupted"]) >= 3);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Edits of shared records") && page.contains("conflicts merged"));
    for address in ["src=", "href=", "url(", "@import"] {
        assert!(!page.contains(address), "the page needs nothing else, but has {address}");
    }
}

#[test]
fn what_the_policy_rejects_has_no_effect_and_is_counted() {
    let dir = TempDir::new().unwrap();
    let (code, out, log) = run(&[&scenario(&dir, "server-wins", "")]);
    assert_eq!(code, 0, "{out}\n{log}");
    let balance = out.lines().find(|line| line.starts_with("edits 120 ")).unwrap();
    assert!(!balance.contains("rejected 0 "), "{balance}");
    assert!(out.contains("conflicts: merged 0   mine 0   theirs "), "{out}");
    assert!(out.contains("lost 0   repeated 0   the same as the server in every byte: 8 of 8"));
    assert!(out.contains("edits visible to others"), "{out}");
}

#[test]
fn three_servers_agree_although_one_is_killed() {
    let dir = TempDir::new().unwrap();
    let file = scenario(&dir, "merge", "instances = 3\nredis = \"cluster\"");
    let text = std::fs::read_to_string(&file).unwrap();
    let step = |at: &str, action: &str| {
        format!("[[step]]\nat = \"{at}\"\naction = \"{action}\"\nserver = 0\n")
    };
    let steps = step("1s", "kill-server") + &step("2s", "restart-server");
    std::fs::write(&file, text.replace("[sla]", &format!("{steps}\n[sla]"))).unwrap();
    let (code, report) = run_json(&[&file]);
    assert_eq!(code, 0, "{report}");
    let edits = &report["edits"];
    assert_eq!((&edits["acknowledged"], &edits["lost"]), (&120.into(), &0.into()), "{edits}");
    assert_eq!(edits["compared"], 10, "the other two servers as well: {edits}");
    assert_eq!(edits["diverged"], 0);
}

#[test]
fn a_server_that_forgets_fails_the_run() {
    let dir = TempDir::new().unwrap();
    let file = scenario(&dir, "merge", "");
    let text = std::fs::read_to_string(&file).unwrap();
    let restart = "[[step]]\nat = \"2s\"\naction = \"restart-server\"\n[sla]";
    std::fs::write(&file, text.replace("[sla]", restart)).unwrap();
    let (code, report) = run_json(&[&file]);
    assert_eq!(code, 1, "records are in the memory of the one server: {report}");
    assert!(number(&report["edits"]["lost"]) > 0, "{}", report["edits"]);
}
