//! The REST interface as others use it: a client that knows only its description, Prometheus,
//! and services in other languages, as the documents have them.

mod issuer;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tidings::{Client, Transport};
use tidings_server::{Config, Server, auth};
use tidings_tests::example::root;
use tidings_tests::python;
use tokio::runtime::Runtime;

const SECRET: &str = "a secret that only the tests know";

/// A server that knows who its clients are, until the runtime is dropped.
fn serve(runtime: &Runtime) -> String {
    let config = Config::default().listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = config.with(|c| c.auth.secret = SECRET.into());
    let server = runtime.block_on(Server::builder().config(config).bind()).expect("a server");
    let url = format!("http://{}", server.local_addr());
    runtime.spawn(server.serve(std::future::pending()));
    url
}

fn token(subject: &str, claims: Value) -> String {
    let claims = claims.as_object().cloned().expect("an object");
    auth::issue(SECRET, subject, Duration::from_secs(600), claims).expect("a token")
}

fn admin() -> String {
    token("operator", json!({"admin": true, "subscribe": ["**"], "publish": ["**"]}))
}

/// What curl says of a URL.
fn curl(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    let output = curl.args(["--silent", "--show-error", "--fail"]).args(arguments).output();
    let output = output.expect("curl is missing: apt install curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Tries all that the description allows and much that it does not, and holds what comes against it.
fn schemathesis(url: &str, headers: Vec<String>) -> JoinHandle<Result<String, String>> {
    let description = format!("{url}/api/openapi.json");
    std::thread::spawn(move || {
        let mut command = python::program("schemathesis")?;
        let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";
        command.args(["run", &description, "--checks", checks, "--max-time", "10"]);
        command.args(["--phases", "examples,coverage,fuzzing", "--seed", "1"]);
        // A stream without end cannot be compared with anything.
        command.args(["--exclude-path", "/api/events/stream", "--request-timeout", "10"]);
        command.args(["--suppress-health-check", "all", "--no-color"]);
        for header in &headers {
            command.args(["--header", header]);
        }
        // It leaves notes of what it found where it runs.
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        command.env("NO_COLOR", "1").current_dir(&directory);
        python::run(&mut command)
    })
}

#[test]
fn the_interface_is_what_its_description_says() {
    let runtime = Runtime::new().expect("a runtime");
    let url = serve(&runtime);
    let description = curl(&[&format!("{url}/api/openapi.json")]);
    let description: Value = serde_json::from_str(&description).expect("JSON");
    let documented = read("docs/server.md");
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys() {
            let known = documented.contains(&format!("`{} {path}", method.to_uppercase()));
            assert!(known, "docs/server.md does not have {method} {path}");
        }
    }
    let runs = [
        schemathesis(&url, vec![format!("Authorization: Bearer {}", admin())]),
        schemathesis(&url, Vec::new()),
    ];
    for run in runs {
        let told = run.join().expect("no panic");
        let told = told.unwrap_or_else(|error| panic!("{error}"));
        assert!(told.contains("generated"), "nothing was tried: {told}");
    }
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c)).filter(|name| name.starts_with("tidings_"));
    words.map(str::to_owned).collect()
}

#[test]
fn metrics_are_those_that_are_documented() {
    let runtime = Runtime::new().expect("a runtime");
    let url = serve(&runtime);
    let bearer = format!("Authorization: Bearer {}", admin());
    let text = curl(&["--header", &bearer, &format!("{url}/metrics")]);
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exported: BTreeSet<_> =
        families.map(|family| family.split(' ').next().expect("a name").to_owned()).collect();
    let operating = read("docs/operating.md");
    let (_, operating) = operating.split_once("## Metrics").expect("the metrics");
    let (operating, _) = operating.split_once("## Upgrades").expect("their end");
    let table = operating.lines().filter(|line| line.starts_with("| `tidings_"));
    let documented: BTreeSet<_> =
        table.flat_map(|row| named(row.split(" | ").next().expect("a cell"))).collect();
    assert_eq!(exported, documented, "docs/operating.md and /metrics");
    // Alerts and the dashboard use nothing else; `tidings_delivery_seconds` is a histogram.
    let dashboard = read("deploy/grafana/tidings.json");
    serde_json::from_str::<Value>(&dashboard).expect("JSON");
    for name in named(operating).into_iter().chain(named(&dashboard)) {
        let family = name.strip_suffix("_bucket").unwrap_or(&name);
        assert!(exported.contains(family), "there is no {name}");
    }
    // Prometheus' own parser reads it.
    let mut parse = python::program("python").expect("Python");
    let script = "import sys\n\
                  from prometheus_client.parser import text_string_to_metric_families as parse\n\
                  print(len(list(parse(open(sys.argv[1]).read()))))";
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("metrics");
    std::fs::write(&file, &text).expect("written");
    let count = python::run(parse.args(["-c", script]).arg(&file)).expect("it is read");
    assert_eq!(count.trim(), exported.len().to_string());
}

/// The first block of a document in this language.
fn block(document: &str, language: &str) -> String {
    let begin = format!("```{language}\n");
    let (_, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {language}"));
    rest.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn services_in_other_languages_publish_as_it_is_documented() {
    let runtime = Runtime::new().expect("a runtime");
    let url = serve(&runtime);
    let document = read("docs/services.md");
    let directory = tempfile::tempdir().expect("a directory");
    let publisher = token("orders", json!({"publish": ["orders.**"]}));
    let subscriber = token("ann", json!({"subscribe": ["orders.**"]}));
    let client = Client::builder(&url).transport(Transport::Ws);
    let client = client.auth(move || std::future::ready(Ok(subscriber.clone())));
    let client = runtime.block_on(async { client.build() }).expect("a client");
    let mut orders =
        runtime.block_on(client.subscribe::<Value>("orders.**")).expect("it may subscribe");
    for (language, program, file) in [
        ("sh", "sh", "publish.sh"),
        ("js", "node", "publish.mjs"),
        ("python", "python3", "publish.py"),
    ] {
        let path = directory.path().join(file);
        std::fs::write(&path, block(&document, language)).expect("written");
        let mut run = Command::new(program);
        run.arg(&path).env("TIDINGS_URL", &url).env("TIDINGS_TOKEN", &publisher);
        // Twice: it is published once.
        for _ in 0..2 {
            python::run(&mut run).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }
    let next = async {
        let mut got = Vec::new();
        while got.len() < 4 {
            let order = futures_util::StreamExt::next(&mut orders).await.expect("it goes on");
            let order = order.expect("an event");
            got.push(format!("{} {}", order.meta.name, order.value["no"]));
        }
        got.sort();
        got
    };
    let got = runtime.block_on(next);
    let expected = [
        "orders.eu.created 17",
        "orders.eu.created 18",
        "orders.eu.created 19",
        "orders.eu.paid 19",
    ];
    assert_eq!(got, expected);
}

#[test]
fn a_trace_goes_from_a_request_to_subscribers() {
    let runtime = Runtime::new().expect("a runtime");
    let url = serve(&runtime);
    let admin = admin();
    let own = admin.clone();
    let client = Client::builder(&url).auth(move || std::future::ready(Ok(own.clone())));
    let client = runtime.block_on(async { client.build() }).expect("a client");
    let mut events = runtime.block_on(client.subscribe::<Value>("a")).expect("it may subscribe");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    curl(&[
        "--header",
        &format!("Authorization: Bearer {admin}"),
        "--header",
        "Content-Type: application/json",
        "--header",
        &format!("traceparent: {trace}"),
        "--header",
        "tracestate: vendor=1",
        "--data",
        r#"[{"name": "a", "payload": 1, "headers": {"k": "v"}}, {"name": "a", "payload": 2, "headers": {"traceparent": "own"}}]"#,
        &format!("{url}/api/events"),
    ]);
    let mut next = || {
        let event = runtime.block_on(futures_util::StreamExt::next(&mut events));
        let event = event.expect("it goes on").expect("an event");
        let get = |key: &str| event.meta.headers.get(key).map(str::to_owned);
        (get("k"), get("traceparent"), get("tracestate"))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(next(), (text("v"), text(trace), text("vendor=1")));
    assert_eq!(next(), (None, text("own"), None), "what an event says itself counts");
}
