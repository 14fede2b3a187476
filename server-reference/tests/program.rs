//! The program: its command line, its configuration, how it starts and stops.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDINGS_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    program().args(arguments).envs(environment.iter().copied()).output().expect("it runs")
}

/// Runs with what must be refused; returns what it says.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(arguments, environment);
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{says}");
    assert!(output.stdout.is_empty());
    says
}

fn printed_config(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(arguments, environment);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn config_prints_what_is_in_effect_and_can_be_read_back() {
    let directory = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let first = directory.join("first.toml");
    std::fs::write(&first, "[limits]\nmax_depth = 7\nmax_in_flight = 8\n").expect("written");
    let first = first.to_str().expect("a plain path");
    let printed = printed_config(
        &["config", "--set", "limits.max_in_flight=9", "--listen", "127.0.0.1:7000"],
        &[("TIDINGS_CONFIG", first), ("TIDINGS_QUEUES_LOW", "1 KiB")],
    );
    for line in
        ["listen = \"127.0.0.1:7000\"", "max_depth = 7", "max_in_flight = 9", "low = \"1 KiB\""]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line} in {printed}");
    }
    let second = directory.join("second.toml");
    std::fs::write(&second, &printed).expect("written");
    let again =
        printed_config(&["--config", second.to_str().expect("a plain path"), "config"], &[]);
    assert_eq!(again, printed);
}

#[test]
fn a_token_that_it_makes_lets_in() {
    let secret = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("secret-of-tokens");
    std::fs::write(
        &secret,
        "an older secret, not used any more\na secret of 32 bytes, or longer.\n",
    )
    .expect("written");
    let set = format!("auth.secret_file={}", secret.display());
    let made = run(&["token", "ann", "--admin", "--subscribe", "orders.**", "--set", &set], &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = String::from_utf8(made.stdout).expect("text");
    let (mut child, address, _log) = start(&["--set", &set]);
    let ask = |token: &str| {
        get_with(&address, "/api/websocket/stats", &format!("Authorization: Bearer {token}\r\n"))
    };
    assert!(ask(token.trim()).starts_with("HTTP/1.1 200"));
    assert!(ask("nonsense").starts_with("HTTP/1.1 401"));
    signal(&child, "TERM");
    child.wait().expect("it ends");

    let says = refused(&["token", "ann"], &[]);
    assert!(says.contains("auth.secret_file=FILE"), "{says}");
    let says = refused(&["token", "ann", "--publish", "", "--set", &set], &[]);
    assert!(says.contains("--publish \"\""), "{says}");
    let says = refused(&["token", "ann", "--good-for", "soon"], &[]);
    assert!(says.contains("\"5 min\""), "{says}");
}

#[test]
fn help_teaches() {
    let output = run(&["--help"], &[]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout);
    for part in
        ["--listen", "--config", "--insecure", "TIDINGS_", "SIGTERM", "tidings-server config"]
    {
        assert!(help.contains(part), "{part} in {help}");
    }
}

#[test]
fn wrong_settings_end_with_2_and_are_named() {
    assert!(refused(&["--listen", "9000"], &[]).contains("--listen"));
    assert!(refused(&["--listen", "0.0.0.0:9000"], &[]).contains("--insecure"));
    assert!(refused(&["--redis", "http://localhost"], &[]).contains("redis.urls"));
    assert!(refused(&["--node-adapter", "streams"], &[]).contains("`classic`"));
    let alone = refused(&["--node-adapter", "classic", "--listen", "127.0.0.1:0"], &[]);
    assert!(alone.contains("node_adapter.kind") && alone.contains("--redis"), "{alone}");
    assert!(refused(&["--nonsense"], &[]).contains("--nonsense"));
    assert!(refused(&["--set", "nonsense=1"], &[]).contains("nonsense"));
    assert!(refused(&["--set", "nonsense"], &[]).contains("KEY=VALUE"));
    assert!(refused(&["--config", "/does/not/exist.toml"], &[]).contains("/does/not/exist.toml"));
    assert!(refused(&["--log", "a=b=c"], &[]).contains("a=b=c"));
    assert!(refused(&[], &[("TIDINGS_NONSENSE", "1")]).contains("TIDINGS_NONSENSE"));
    assert!(refused(&[], &[("TIDINGS_SHARDS", "0")]).contains("shards"));
    let keys = refused(&["--auth-jwks", "/does/not/exist.json", "--listen", "127.0.0.1:0"], &[]);
    assert!(keys.contains("auth.jwks") && keys.contains("/does/not/exist.json"), "{keys}");
    let secret = [("TIDINGS_AUTH_SECRET", "hunter2"), ("TIDINGS_SHARDS", "0")];
    assert!(!refused(&[], &secret).contains("hunter2"));
}

/// Starts it on a free port; returns it, its address and the rest of its log.
fn start(options: &[&str]) -> (Child, String, BufReader<impl Read + use<>>) {
    let mut child = program()
        .args(["--listen", "127.0.0.1:0", "--instance", "one"])
        .args(options)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("its log"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    assert!(!line.contains('\x1b'), "no colours in a pipe: {line:?}");
    let address = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("address="))
        .unwrap_or_else(|| panic!("the address in {line:?}"))
        .to_owned();
    (child, address, log)
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
}

#[test]
fn signals_stop_it_in_good_order() {
    for name in ["TERM", "INT"] {
        let (mut child, address, mut log) = start(&[]);
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream
            .write_all(b"GET /api/websocket/health HTTP/1.1\r\nHost: test\r\n\r\n")
            .expect("written");
        let mut status = [0; 15];
        stream.read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200 OK");
        signal(&child, name);
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
        let mut rest = String::new();
        log.read_to_string(&mut rest).expect("its log");
        assert!(rest.contains("going away"), "{rest}");
        TcpStream::connect(&address).expect_err("it does not listen any more");
    }
}

#[test]
fn an_address_in_use_ends_with_1() {
    let (mut child, address, _log) = start(&[]);
    let output = run(&["--listen", &address], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address));
    signal(&child, "TERM");
    child.wait().expect("it ends");
}

/// What it answers to a GET, header and body.
fn get(address: &str, path: &str) -> String {
    get_with(address, path, "")
}

/// The same with further headers.
fn get_with(address: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_demo_has_its_pages_and_the_package() {
    let package = tempfile::tempdir().expect("a directory");
    let option = format!("--demo={}", package.path().display());
    let message = refused(&[&option], &[]);
    assert!(message.contains("bindings/js/build") && message.contains("--demo=DIR"), "{message}");

    std::fs::write(package.path().join("index.js"), "the package").expect("written");
    std::fs::create_dir(package.path().join("parts")).expect("made");
    std::fs::write(package.path().join("parts/a.wasm"), "a part").expect("written");
    std::fs::write(package.path().join("notes.txt"), "private").expect("written");
    let (mut child, address, _log) = start(&[&option]);
    let page = get(&address, "/demo/");
    assert!(
        page.contains("content-security-policy: default-src 'none'; script-src 'self' "),
        "{page}"
    );
    assert!(page.contains("content-type: text/html; charset=utf-8\r\n"), "{page}");
    for (path, part) in [
        ("/", "location: /demo/\r\n"),
        ("/demo", "location: /demo/\r\n"),
        ("/demo/board.js", "text/javascript; charset=utf-8\r\n"),
        ("/demo/client/index.js", "\r\n\r\nthe package"),
        ("/demo/client/parts/a.wasm", "application/wasm\r\n"),
        ("/demo/client/notes.txt", "HTTP/1.1 404"),
        ("/demo/client/../../../etc/passwd", "HTTP/1.1 404"),
        ("/api/websocket/health", "\"ready\":true"),
    ] {
        let answer = get(&address, path);
        assert!(answer.contains(part), "{path}: {part} in {answer}");
    }
    signal(&child, "TERM");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn it_says_where_it_encrypts_and_what_it_cannot_encrypt_with() {
    let directory = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let certificate = format!("tls.certificate={}", file("chain.pem", made.cert.pem()));
    let key = format!("tls.key={}", file("key.pem", made.signing_key.serialize_pem()));

    let says = refused(&["--set", &certificate], &[]);
    assert!(says.contains("tls.key: is missing"), "{says}");
    let says = refused(&["--set", &certificate, "--set", "tls.key=nowhere.pem"], &[]);
    assert!(says.contains("tls.key: cannot read nowhere.pem"), "{says}");

    let mut child = program()
        .args(["--listen", "127.0.0.1:0", "--set", &certificate, "--set", &key])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let log = child.stderr.as_mut().expect("its log");
    BufReader::new(log).read_line(&mut line).expect("a line");
    signal(&child, "TERM");
    child.wait().expect("it ends");
    assert!(line.contains("url=https://127.0.0.1:"), "{line}");
}

#[test]
fn schemas_are_printed_as_json_and_as_typescript() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tidings.toml");
    let text = "[events.\"orders.*.created\"]\nschema = '{\"properties\": {\"total\": \
                {\"type\": \"integer\"}}}'\n[collections.todos]";
    std::fs::write(&file, text).expect("written");
    let arguments = ["schema", "--config", file.to_str().expect("a plain path")];
    let json = run(&arguments, &[]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let order = &json["events"]["orders.*.created"]["properties"];
    assert_eq!(order["total"]["type"], "integer", "{json}");
    assert_eq!(json["collections"]["todos"]["type"], "object", "{json}");
    let module = run(&[&arguments[..], &["--ts"]].concat(), &[]);
    let module = String::from_utf8(module.stdout).expect("text");
    assert!(module.contains("\"orders.*.created\": OrdersCreated;"), "{module}");

    let unfinished = text.replace("}}}'", "}}'");
    std::fs::write(&file, unfinished).expect("written");
    let output = run(&arguments, &[]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("orders.*.created.schema: the schema is no JSON"), "{message}");
}

#[test]
fn versions_of_a_schema_are_compared_for_continuous_integration() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let old = file("old.json", r#"{"properties": {"total": {"type": "integer"}}}"#);
    let wider = file("wider.json", r#"{"properties": {"total": {"type": "number"}}}"#);
    let output = run(&["schema", "check", &old, &wider], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = run(&["schema", "check", &wider, &old], &[]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    let expected =
        "/total: the type is \"integer\", and was \"number\" (rule /properties/total/type)";
    assert!(message.contains(expected), "{message}");
    let output = run(&["schema", "check", &old, "nowhere.json"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("nowhere.json: cannot read"), "{message}");
}

#[test]
fn the_documented_settings_are_the_ones_there_are() {
    let documentation = include_str!("../../docs/server.md");
    let block = documentation.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```"));
    let (documented, _) = block.expect("a block of TOML");
    let printed = printed_config(&["config", "--shards", "2"], &[]);
    assert_eq!(documented, printed, "put what `tidings-server config` prints into docs/server.md");
}
