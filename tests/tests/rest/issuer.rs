//! Tokens of an issuer elsewhere, whose keys the server fetches and which change.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidings_server::{Config, Server};
use tidings_tests::node;
use tokio::runtime::Runtime;

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(60);

const ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

/// A process that runs tests/node/issuer.js; ended when this is dropped.
struct Issuer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    certificate: String,
    _directory: TempDir,
}

impl Issuer {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let certificate = file("cert.pem", made.cert.pem());
        let key = file("key.pem", made.signing_key.serialize_pem());
        let mut command = node::script("issuer.js").expect("Node");
        command.args([&certificate, &key]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output, certificate, _directory: directory }
    }

    fn told(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    fn renew(&mut self) -> Value {
        self.input.write_all(b"\n").expect("it reads");
        self.told()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // It has ended already, at worst.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the server says to who presents this token.
fn status(url: &str, token: &Value) -> String {
    let bearer = format!("Authorization: Bearer {}", token.as_str().expect("a token"));
    let target = format!("{url}/api/events?pattern=orders.**");
    let arguments = ["--output", "/dev/null", "--write-out", "%{http_code}", "--header", &bearer];
    let mut curl = std::process::Command::new("curl");
    let output = curl.arg("--silent").args(arguments).arg(target).output();
    let output = output.expect("curl is missing: apt install curl");
    String::from_utf8(output.stdout).expect("text")
}

async fn bind(change: impl FnOnce(&mut Config)) -> Result<Server, String> {
    let mut config = Config::default().listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    change(&mut config);
    Server::builder().config(config).bind().await.map_err(|error| error.to_string())
}

#[test]
fn keys_of_an_issuer_are_fetched_and_its_new_ones_when_they_are_needed() {
    let mut issuer = Issuer::start();
    let told = issuer.told();
    let jwks = told["url"].as_str().expect("a URL").to_owned();
    let runtime = Runtime::new().expect("a runtime");
    let refused = |jwks: String| runtime.block_on(bind(|config| config.auth.jwks = jwks)).err();
    let error = refused(jwks.clone()).expect("nobody trusts that certificate");
    assert!(error.contains("auth.jwks: cannot fetch https://127.0.0.1"), "{error}");
    let error = refused(jwks.replace("https://127.0.0.1", "http://10.0.0.1")).expect("not safe");
    assert!(error.contains("use https://"), "{error}");

    let server = runtime.block_on(bind(|config| {
        config.auth.jwks = jwks;
        config.auth.jwks_ca_file = issuer.certificate.clone();
        config.auth.jwks_refresh = Duration::from_secs(3600);
        config.auth.reload = Duration::from_millis(50);
        config.limits.wrong_tokens_burst = 1000;
    }));
    let server = server.expect("a server");
    let url = format!("http://{}", server.local_addr());
    runtime.spawn(server.serve(std::future::pending()));
    let old = &told["tokens"];
    for algorithm in ALGORITHMS {
        assert_eq!(status(&url, &old[algorithm]), "200", "{algorithm}");
    }

    // Nobody asks for an hour, unless somebody comes with a new key.
    let new = issuer.renew();
    assert_eq!(status(&url, &old["RS256"]), "200", "nothing has changed here yet");
    assert_eq!(status(&url, &new["tokens"]["RS256"]), "429", "to try again");
    let begun = Instant::now();
    while status(&url, &new["tokens"]["RS256"]) != "200" {
        assert!(begun.elapsed() < PATIENCE, "the new keys never came");
    }
    for algorithm in ALGORITHMS {
        assert_eq!(status(&url, &new["tokens"][algorithm]), "200", "{algorithm}");
        assert_ne!(status(&url, &old[algorithm]), "200", "{algorithm}: its key is gone");
    }
}
