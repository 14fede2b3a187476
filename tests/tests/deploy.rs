//! What lies in deploy/ is valid, and fits what the server expects.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use tidings_server::cli::Cli;
use tidings_server::{Config, Server};
use tidings_tests::example::root;
use tidings_tests::python;

/// The oldest version with the `sleep` that the pods use before they stop, and a recent one.
const KUBERNETES: [&str; 2] = ["1.30", "1.37"];

fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

fn manifests() -> Vec<PathBuf> {
    let directories = [deploy("kubernetes"), deploy("kubernetes/redis")];
    let files = directories.iter().flat_map(|directory| std::fs::read_dir(directory).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let is_manifest = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "yaml")
            && path.file_stem().is_some_and(|name| name != "kustomization")
    };
    paths.filter(is_manifest).collect()
}

fn yaml(path: &Path) -> Value {
    let print = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let mut python = python::program("python").unwrap();
    serde_json::from_str(&python::run(python.args(["-c", print]).arg(path)).unwrap()).unwrap()
}

/// The configuration of a server that is started with these arguments and variables.
fn resolve(arguments: &[&str], environment: HashMap<String, String>) -> Config {
    let words = std::iter::once("tidings-server").chain(arguments.iter().copied());
    let config = Cli::try_parse_from(words).unwrap().options.resolve(environment).unwrap();
    config.validate().unwrap();
    config
}

fn kubernetes_config() -> Config {
    let file = deploy("kubernetes/tidings.toml");
    resolve(&["--config", file.to_str().unwrap()], HashMap::new())
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

#[test]
fn the_manifests_are_valid_and_have_no_unknown_fields() {
    let manifests = manifests();
    assert!(manifests.len() >= 11, "{manifests:?}");
    for version in KUBERNETES {
        let mut validate = python::program("kubernetes-validate").unwrap();
        validate.args(["--strict", "--kubernetes-version", version]).args(&manifests);
        python::run(&mut validate).unwrap();
    }
}

#[test]
fn every_manifest_is_part_of_the_customization() {
    let (all, redis) = (deploy("kubernetes"), deploy("kubernetes/redis"));
    for path in manifests() {
        let directory = path.parent().unwrap();
        assert!(directory == all || directory == redis);
        let customization = yaml(&directory.join("kustomization.yaml"));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(words(&customization["resources"]).contains(&name), "{name} is left out");
    }
}

#[test]
fn pods_have_the_time_to_move_their_clients() {
    let pod = &yaml(&deploy("kubernetes/deployment.yaml"))["spec"]["template"]["spec"];
    let before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    let drain = kubernetes_config().timeouts.drain.as_secs();
    assert!(grace >= before + drain + 5, "{grace} s are too few for {before} s and {drain} s");
}

#[tokio::test]
async fn the_probes_ask_what_the_server_answers() {
    let server = Server::builder().config(Config::default().listen("127.0.0.1:0".parse().unwrap()));
    let server = server.bind().await.unwrap();
    let address = server.local_addr();
    let serving = tokio::spawn(server.serve(std::future::pending()));
    let pod = &yaml(&deploy("kubernetes/deployment.yaml"))["spec"]["template"]["spec"];
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = pod["containers"][0][probe]["httpGet"]["path"].as_str().unwrap().to_owned();
        let asking = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = asking.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{probe}: {answer}");
    }
    serving.abort();
}

/// A Redis that ends with the test.
struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        // It has ended by itself if it did not like its configuration.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn redis_takes_its_configuration() {
    let configuration = std::fs::read_to_string(deploy("kubernetes/redis/redis.conf")).unwrap();
    let directory = std::env::temp_dir().join(format!("tidings-deploy-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    // The bus has the port 10000 above, unless it is told another.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, bus) = (free(), free());
    let here = configuration
        .replace("include /run/redis/password.conf", "requirepass word")
        .replace("port 6379", &format!("port {port}\ncluster-port {bus}\nbind 127.0.0.1"))
        .replace("dir /data", &format!("dir {}", directory.display()));
    std::fs::write(directory.join("redis.conf"), here).unwrap();
    let started = Command::new("redis-server")
        .arg(directory.join("redis.conf"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server is missing: apt install redis-server");
    let mut redis = Redis(started);
    let answer = (0..1000).find_map(|_| {
        assert!(redis.0.try_wait().unwrap().is_none(), "it does not like its configuration");
        std::thread::sleep(Duration::from_millis(10));
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"AUTH word\r\nCONFIG GET maxmemory-policy\r\nQUIT\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    drop(redis);
    std::fs::remove_dir_all(directory).unwrap();
    let answer = answer.expect("it never answered");
    assert!(answer.contains("noeviction"), "{answer}");
}

#[test]
fn pm2_starts_instances_on_ports_of_their_own() {
    let print = format!(
        "console.log(JSON.stringify(require({:?}).apps))",
        deploy("ecosystem.config.cjs").canonicalize().unwrap()
    );
    let mut node = Command::new("node");
    let node = node.args(["-e", &print]).env("INSTANCES", "3").output();
    let apps = node.expect("node is missing: apt install nodejs").stdout;
    let apps: Vec<Value> = serde_json::from_slice(&apps).unwrap();
    let mut ports = Vec::new();
    for app in &apps {
        let variables = app["env"].as_object().unwrap().iter();
        let variables = variables.map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()));
        let config = resolve(&[], variables.collect());
        assert!(!config.redis.urls.is_empty() && !config.instance.is_empty());
        let patience = Duration::from_millis(app["kill_timeout"].as_u64().unwrap());
        assert!(patience > config.timeouts.drain, "{patience:?}");
        ports.push(config.listen.port());
    }
    assert_eq!(ports, [9000, 9001, 9002]);
}

#[test]
fn compose_starts_servers_that_share_a_redis() {
    let compose = yaml(&deploy("compose.yaml"));
    let service = &compose["services"]["tidings"];
    let config = resolve(&words(&service["command"]), HashMap::new());
    assert_eq!(config.redis.urls.iter().collect::<Vec<_>>(), ["redis://redis:6379"]);
    assert_eq!(config.listen.port(), 9000);
    let grace = service["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap();
    assert!(grace.parse::<u64>().unwrap() > config.timeouts.drain.as_secs());
}
