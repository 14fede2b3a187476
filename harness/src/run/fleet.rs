//! The servers of a run: processes of its own, or addresses it was given.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use serde::Serialize;

use super::RunError;
use super::redis_links::RedisLinks;
use crate::process::redis_cluster::RedisCluster;
use crate::process::{APPLICATION, BackplaneCounts, Program, ServerProcess, Usage, check_health};
use crate::scenario::{Concern, Node, Redis, Scenario};

/// How long a server that was given may take to answer that it is well.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// All servers of a run, and the Redis that joins them if the run has started it.
pub(crate) struct Fleet {
    servers: Vec<Member>,
    redis: Option<RedisCluster>,
    /// Their ways to it, where the scenario disturbs them.
    redis_links: Option<RedisLinks>,
}

enum Member {
    Own(Box<ServerProcess>),
    Given { url: String, addr: Option<SocketAddr> },
}

impl Fleet {
    /// Starts the servers of a scenario, and first what joins them.
    pub(crate) async fn start(program: Program, scenario: &Scenario) -> Result<Self, RunError> {
        let redis = match &scenario.redis {
            Redis::Cluster => Some(RedisCluster::start().await?),
            Redis::None | Redis::At(_) => None,
        };
        let disturbed =
            scenario.step.iter().any(|step| step.action.concerns() == Concern::RedisLinks);
        let redis_links = match &redis {
            Some(redis) if disturbed => Some(RedisLinks::start(redis, scenario.instances).await?),
            _ => None,
        };
        let urls = |n| match (&scenario.redis, &redis_links) {
            (Redis::At(urls), _) => Some(urls.clone()),
            (_, Some(links)) => Some(links.urls(n)),
            (_, None) => redis.as_ref().map(RedisCluster::urls),
        };
        let threads = threads(scenario.instances);
        let mut servers = Vec::with_capacity(scenario.instances);
        for n in 0..scenario.instances {
            let program = if on_node(scenario, n) { Program::Node } else { program };
            let role = match program {
                Program::Serve => format!("server {n}"),
                Program::Node => format!("server {n} (Node)"),
                Program::Floor => "floor".to_owned(),
            };
            let redis = urls(n);
            let settings = match (program, &scenario.node, &redis) {
                (Program::Node, Some(node), Some(redis)) => settings_on_node(node, redis),
                _ => settings(scenario, n, redis.as_deref()).to_string(),
            };
            let server = ServerProcess::start(role, program, settings, threads).await?;
            servers.push(Member::Own(Box::new(server)));
        }
        Ok(Self { servers, redis, redis_links })
    }

    /// The Redis that the run has started.
    pub(crate) fn redis(&mut self) -> Option<&mut RedisCluster> {
        self.redis.as_mut()
    }

    /// The ways of its servers to Redis, where the scenario disturbs them.
    pub(super) fn redis_links(&self) -> Option<&RedisLinks> {
        self.redis_links.as_ref()
    }

    /// Servers that run already; each must answer that it is well.
    pub(crate) async fn given(urls: &[String]) -> Result<Self, RunError> {
        let mut servers = Vec::with_capacity(urls.len());
        for url in urls {
            let addr = plain_address(url)?;
            if let Some(addr) = addr {
                check_health(addr, HEALTH_PATIENCE)
                    .await
                    .map_err(|problem| RunError::Target { url: url.clone(), problem })?;
            }
            servers.push(Member::Given { url: url.trim_end_matches('/').to_owned(), addr });
        }
        Ok(Self { servers, redis: None, redis_links: None })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The base URL of one.
    pub(crate) fn url(&self, n: usize) -> Option<String> {
        Some(match self.servers.get(n)? {
            Member::Own(server) => format!("http://{}", server.addr()),
            Member::Given { url, .. } => url.clone(),
        })
    }

    /// The address of one, if a plain TCP connection reaches it.
    pub(crate) fn addr(&self, n: usize) -> Option<SocketAddr> {
        match self.servers.get(n)? {
            Member::Own(server) => Some(server.addr()),
            Member::Given { addr, .. } => *addr,
        }
    }

    /// One that the run has started, to stop or restart it.
    pub(crate) fn own(&mut self, n: usize) -> Option<&mut ServerProcess> {
        match self.servers.get_mut(n)? {
            Member::Own(server) => Some(&mut **server),
            Member::Given { .. } => None,
        }
    }

    /// All that the run has started.
    pub(crate) fn owned(&mut self) -> impl Iterator<Item = &mut ServerProcess> {
        self.servers.iter_mut().filter_map(|member| match member {
            Member::Own(server) => Some(&mut **server),
            Member::Given { .. } => None,
        })
    }

    /// What each of its own servers has used.
    pub(crate) fn usage(&mut self) -> Vec<(String, Usage)> {
        self.owned().map(|server| (server.role().to_owned(), server.usage())).collect()
    }

    /// What its own servers have counted of their work with Redis, together.
    pub(crate) async fn backplane(&mut self) -> BackplaneCounts {
        let mut sum = BackplaneCounts::default();
        for server in self.owned() {
            sum = sum + server.backplane().await;
        }
        sum
    }

    /// The CPU time of the Redis that the run has started, in seconds.
    pub(crate) fn redis_cpu_seconds(&mut self) -> f64 {
        self.redis.as_mut().map_or(0.0, RedisCluster::cpu_seconds)
    }

    /// Those that have ended without having been asked to, told once.
    pub(crate) fn unexpected_ends(&mut self) -> Vec<String> {
        self.owned().filter_map(ServerProcess::unexpected_end).collect()
    }

    /// Whether some server may still answer.
    pub(crate) fn any_up(&mut self) -> bool {
        self.servers.iter().any(|member| match member {
            Member::Own(server) => server.pid().is_some(),
            Member::Given { .. } => true,
        })
    }

    /// Stops all of its own.
    pub(crate) async fn stop(&mut self) {
        for server in self.owned() {
            server.stop().await;
        }
    }
}

/// How many threads each of several servers has: together they have one for each core. With more they
/// would only take turns more often.
fn threads(servers: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / servers.max(1)).max(1)
}

/// Whether the n-th server runs Socket.IO on Node.
fn on_node(scenario: &Scenario, n: usize) -> bool {
    let nodes = scenario.node.as_ref().map_or(0, |node| node.servers);
    n + nodes >= scenario.instances
}

/// The settings of the n-th server.
fn settings(scenario: &Scenario, n: usize, redis: Option<&str>) -> toml::Table {
    let mut settings = scenario.server.clone();
    let Some(urls) = redis else { return settings };
    let shards = || i64::try_from(threads(scenario.instances)).unwrap_or(1).into();
    settings.entry("shards").or_insert_with(shards);
    settings.entry("instance").or_insert_with(|| format!("server-{n}").into());
    put(&mut settings, "redis", "urls", urls);
    put(&mut settings, "redis", "prefix", prefix());
    if let Some(node) = &scenario.node {
        put(&mut settings, "node_adapter", "kind", node.adapter);
        put(&mut settings, "node_adapter", "mode", node.mode);
        put(&mut settings, "node_adapter", "prefix", prefix());
    }
    settings
}

/// Puts a setting into a section. What is no section is left alone: the server says so.
fn put(settings: &mut toml::Table, section: &str, key: &str, value: impl Serialize) {
    let section = settings.entry(section).or_insert_with(|| toml::Table::new().into());
    if let (Some(section), Ok(value)) = (section.as_table_mut(), toml::Value::try_from(value)) {
        section.insert(key.to_owned(), value);
    }
}

/// What earlier runs left in a Redis that lives on is not this run's.
fn prefix() -> String {
    format!("tidings-harness-{}", std::process::id())
}

/// The settings of a server on Node.
fn settings_on_node(node: &Node, redis: &str) -> String {
    let settings = serde_json::json!({
        "redis": redis,
        "adapter": node.adapter,
        "mode": node.mode,
        "prefix": prefix(),
        "namespace": APPLICATION,
    });
    settings.to_string()
}

/// The address of `http://` and `ws://` URLs; `None` for the encrypted ones.
fn plain_address(url: &str) -> Result<Option<SocketAddr>, RunError> {
    let wrong = |problem: String| RunError::Target { url: url.to_owned(), problem };
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| wrong("is no URL: write http://HOST:PORT".to_owned()))?;
    match scheme {
        "https" | "wss" => return Ok(None),
        "http" | "ws" => {}
        other => return Err(wrong(format!("has scheme {other:?}: use http, https, ws or wss"))),
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let mut found = authority.to_socket_addrs().map_err(|e| wrong(e.to_string()))?;
    found.next().map(Some).ok_or_else(|| wrong("has no address".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_urls_have_addresses() {
        let addr = |url| plain_address(url).ok().flatten().map(|addr| addr.to_string());
        assert_eq!(addr("http://127.0.0.1:9000/"), Some("127.0.0.1:9000".into()));
        assert_eq!(addr("ws://127.0.0.1"), Some("127.0.0.1:80".into()));
        assert_eq!(addr("http://[::1]:9000"), Some("[::1]:9000".into()));
        assert_eq!(addr("https://example.org"), None);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["127.0.0.1:9000", "ftp://127.0.0.1"] {
            let message = plain_address(url).unwrap_err().to_string();
            assert!(message.contains(url) && message.contains("http"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_target_that_does_not_answer_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        assert!(matches!(Fleet::given(&[url]).await, Err(RunError::Target { .. })));
    }
}
