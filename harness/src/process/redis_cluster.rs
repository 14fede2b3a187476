//! A private Redis Cluster, or a single Redis, of `redis-server` processes on free ports, with its
//! files in a temporary directory.
//!
//! Everything ends with the [`RedisCluster`], and with this process however that ends: a watchdog
//! process kills the nodes and removes the files when this one is gone.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::usage::Usage;

/// How many hash slots a cluster has.
const SLOTS: u16 = 16_384;

/// How long the nodes may take to find each other, or to do what they were asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often other ports are tried when some are taken in the meantime.
const ATTEMPTS: usize = 3;

/// After this long without an answer the nodes of a cluster take one of them for dead.
const NODE_TIMEOUT: Duration = Duration::from_millis(2000);

/// Kills the nodes, whose pids are in `DIRECTORY/*/pid`, once nobody holds the other end of its
/// standard input any more.
const WATCHDOG: &str = r#"cat >/dev/null
for file in "$1"/*/pid; do
  [ -s "$file" ] && kill -9 "$(cat "$file")" 2>/dev/null
done
rm -rf "$1""#;

/// Something about the cluster did not work.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// There is no `redis-server`.
    #[error("cannot run redis-server: {0}; install it (Debian: apt install redis-server)")]
    NotInstalled(io::Error),
    /// The machine did not allow something.
    #[error("Redis: {0}")]
    Io(#[from] io::Error),
    /// A node answered with an error, or not at all.
    #[error("Redis: {0}")]
    Command(#[from] redis::RedisError),
    /// It took too long.
    #[error("Redis: not within {PATIENCE:?}: {0}")]
    Late(String),
}

/// Nodes of Redis, in processes of their own.
pub struct RedisCluster {
    nodes: Vec<Node>,
    is_cluster: bool,
    moving: Option<Move>,
    directory: TempDir,
    watchdog: Option<(Child, ChildStdin)>,
}

/// A slot that is on its way from one node to another.
struct Move {
    slot: u16,
    from: usize,
    to: usize,
}

struct Node {
    port: u16,
    child: Option<Child>,
    /// What it used in earlier lives.
    past: NodeUsage,
    /// What it has used in this one, as last looked at.
    last: NodeUsage,
}

/// What a node has used since it was first started.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct NodeUsage {
    /// User and system time, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The most resident memory it ever had, in bytes.
    pub(crate) rss_peak_bytes: u64,
    /// How often it has carried out each command, also within scripts.
    pub(crate) commands: BTreeMap<String, u64>,
}

impl NodeUsage {
    fn add(&mut self, other: &Self) {
        self.cpu_seconds += other.cpu_seconds;
        self.rss_peak_bytes = self.rss_peak_bytes.max(other.rss_peak_bytes);
        for (command, calls) in &other.commands {
            *self.commands.entry(command.clone()).or_default() += calls;
        }
    }
}

impl RedisCluster {
    /// A cluster of three masters (nodes 0 to 2) and a replica for each (3 to 5).
    ///
    /// # Errors
    /// If `redis-server` is missing or the nodes do not find each other.
    pub async fn start() -> Result<Self, RedisError> {
        let cluster = Self::launch(6, true).await?;
        cluster.join().await?;
        Ok(cluster)
    }

    /// A single Redis that is not of a cluster.
    ///
    /// # Errors
    /// If `redis-server` is missing or does not start.
    pub async fn single() -> Result<Self, RedisError> {
        Self::launch(1, false).await
    }

    async fn launch(count: usize, is_cluster: bool) -> Result<Self, RedisError> {
        let mut attempt = 1;
        loop {
            match Self::try_launch(count, is_cluster).await {
                Err(RedisError::Late(_)) if attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }

    async fn try_launch(count: usize, is_cluster: bool) -> Result<Self, RedisError> {
        let directory = tempfile::Builder::new().prefix("tidings-redis-").tempdir()?;
        let watchdog = watchdog(directory.path())?;
        let mut nodes = Vec::with_capacity(count);
        // All are held until all are found: none is found twice.
        let ports = (0..count * 2)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<Vec<_>, _>>()?;
        let port = |n: usize| ports[n].local_addr().map(|addr| addr.port());
        for n in 0..count {
            let path = directory.path().join(n.to_string());
            std::fs::create_dir(&path)?;
            let (port, bus) = (port(2 * n)?, port(2 * n + 1)?);
            std::fs::write(path.join("redis.conf"), configuration(port, bus, is_cluster))?;
            let (past, last) = Default::default();
            nodes.push(Node { port, child: None, past, last });
        }
        drop(ports);
        let mut cluster =
            Self { nodes, is_cluster, moving: None, directory, watchdog: Some(watchdog) };
        for n in 0..count {
            cluster.restart(n).await?;
        }
        Ok(cluster)
    }

    /// Introduces the nodes to each other and shares the slots out.
    async fn join(&self) -> Result<(), RedisError> {
        let masters = self.nodes.len() / 2;
        for n in 0..self.nodes.len() {
            let _: () = self.ask(n, &["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await?;
            if n < masters {
                let (from, to) = share(n, masters);
                let (from, to) = (from.to_string(), to.to_string());
                let _: () = self.ask(n, &["CLUSTER", "ADDSLOTSRANGE", &from, &to]).await?;
            }
        }
        for n in 1..self.nodes.len() {
            let port = self.nodes[n].port.to_string();
            let bus = self.bus_port(n)?;
            let _: () = self.ask(0, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?;
        }
        let mut wait = Wait::new("all nodes know each other");
        while !wait.over(self.all_know_each_other().await)? {
            wait.pause().await;
        }
        for n in masters..self.nodes.len() {
            let master: String = self.ask(n - masters, &["CLUSTER", "MYID"]).await?;
            let mut wait = Wait::new("a replica knows its master");
            let replicate = ["CLUSTER", "REPLICATE", &master];
            while !wait.over(self.ask::<()>(n, &replicate).await.map(|()| true))? {
                wait.pause().await;
            }
        }
        self.settled().await
    }

    async fn all_know_each_other(&self) -> Result<bool, RedisError> {
        for n in 0..self.nodes.len() {
            if self.info(n, "cluster_known_nodes").await? != self.nodes.len().to_string() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn bus_port(&self, n: usize) -> Result<String, RedisError> {
        let path = self.directory.path().join(n.to_string()).join("redis.conf");
        let text = std::fs::read_to_string(path)?;
        let port = text.lines().find_map(|line| line.strip_prefix("cluster-port "));
        Ok(port.unwrap_or("0").to_owned())
    }

    /// The URLs of all nodes, with commas, as `--redis` takes them.
    pub fn urls(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(|node| url(node.port)).collect();
        urls.join(",")
    }

    /// How many nodes there are, up or not.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes, which is never so.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Waits until every node that is up sees all slots served by masters that are up, and every
    /// replica that is up follows its master.
    ///
    /// # Errors
    /// If it takes longer than a minute.
    pub async fn settled(&self) -> Result<(), RedisError> {
        let mut wait = Wait::new("the cluster is in order");
        while !wait.over(self.is_in_order().await)? {
            wait.pause().await;
        }
        Ok(())
    }

    async fn is_in_order(&self) -> Result<bool, RedisError> {
        for n in self.up() {
            if self.is_cluster && self.info(n, "cluster_state").await? != "ok" {
                return Ok(false);
            }
            let role = self.info(n, "role").await?;
            if role == "slave" && self.info(n, "master_link_status").await? != "up" {
                return Ok(false);
            }
        }
        if !self.is_cluster {
            return Ok(true);
        }
        let masters = self.masters().await?;
        let all_up = masters.iter().all(|n| self.is_up(*n));
        Ok(all_up && masters.len() >= self.nodes.len() / 2)
    }

    fn up(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].child.is_some())
    }

    /// The nodes that are masters of slots, as the first node that answers sees it.
    ///
    /// # Errors
    /// If none answers.
    pub async fn masters(&self) -> Result<Vec<usize>, RedisError> {
        let mut masters: Vec<usize> = self.slots().await?.into_iter().map(|(_, _, n)| n).collect();
        masters.sort_unstable();
        masters.dedup();
        Ok(masters)
    }

    /// The node that is the master of `slot`.
    ///
    /// # Errors
    /// If no node answers, or none has it.
    pub async fn owner(&self, slot: u16) -> Result<usize, RedisError> {
        let slots = self.slots().await?;
        let range = slots.iter().find(|(from, to, _)| (*from..=*to).contains(&slot));
        range.map(|(_, _, n)| *n).ok_or_else(|| RedisError::Late(format!("nobody has slot {slot}")))
    }

    async fn slots(&self) -> Result<Vec<(u16, u16, usize)>, RedisError> {
        let mut failed = RedisError::Late("no node is up".to_owned());
        for n in self.up() {
            match self.ask::<redis::Value>(n, &["CLUSTER", "SLOTS"]).await {
                Ok(slots) => return Ok(self.parse(&slots)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn parse(&self, slots: &redis::Value) -> Vec<(u16, u16, usize)> {
        use redis::Value::{Array, Int};
        let Array(ranges) = slots else { return Vec::new() };
        let range = |range: &redis::Value| {
            let Array(parts) = range else { return None };
            let [Int(from), Int(to), Array(master), ..] = parts.as_slice() else { return None };
            let [_, Int(port), ..] = master.as_slice() else { return None };
            let n = self.nodes.iter().position(|node| i64::from(node.port) == *port)?;
            Some((u16::try_from(*from).ok()?, u16::try_from(*to).ok()?, n))
        };
        ranges.iter().filter_map(range).collect()
    }

    /// Whether a node has been started and not been killed since.
    pub fn is_up(&self, n: usize) -> bool {
        self.nodes.get(n).is_some_and(|node| node.child.is_some())
    }

    /// Kills a node (SIGKILL).
    pub fn kill(&mut self, n: usize) {
        let Some(node) = self.nodes.get_mut(n) else { return };
        node.look_at_process();
        if let Some(mut child) = node.child.take() {
            let last = std::mem::take(&mut node.last);
            node.past.add(&last);
            // Fails only when it is gone already.
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_file(self.directory.path().join(n.to_string()).join("pid"));
        }
    }

    /// Starts a node that was killed again, with what it had on its disk, and waits until it
    /// answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn restart(&mut self, n: usize) -> Result<(), RedisError> {
        self.kill(n);
        let path = self.directory.path().join(n.to_string());
        let child = Command::new("redis-server")
            .arg("redis.conf")
            .current_dir(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal is for this process.
            .process_group(0)
            .spawn()
            .map_err(RedisError::NotInstalled)?;
        self.nodes[n].child = Some(child);
        let began = Instant::now();
        while self.ask::<String>(n, &["PING"]).await.is_err() {
            let ended =
                self.nodes[n].child.as_mut().is_none_or(|c| !matches!(c.try_wait(), Ok(None)));
            if ended || began.elapsed() > PATIENCE {
                self.kill(n);
                let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
                let end: Vec<_> = log.lines().rev().take(3).collect();
                return Err(RedisError::Late(format!("node {n} answers ({})", end.join("; "))));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Cuts a master off from its replicas: they lack what it is told from now on. Everybody else
    /// reaches it. Lasts until [`let_replicas_in`](Self::let_replicas_in), or until the node is
    /// restarted.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn cut_replicas(&self, n: usize) -> Result<(), RedisError> {
        let _: () = self.ask(n, &["ACL", "SETUSER", "default", "-psync", "-sync"]).await?;
        let _: u64 = self.ask(n, &["CLIENT", "KILL", "TYPE", "replica"]).await?;
        Ok(())
    }

    /// Lets the replicas of a node connect again.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn let_replicas_in(&self, n: usize) -> Result<(), RedisError> {
        self.ask(n, &["ACL", "SETUSER", "default", "+psync", "+sync"]).await
    }

    /// Makes a node refuse whatever needs memory, or lets it have memory again.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn set_full(&self, n: usize, full: bool) -> Result<(), RedisError> {
        // Less than an empty Redis has, so that it is too much already; 0 is without a limit.
        let limit = if full { "1" } else { "0" };
        self.ask(n, &["CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", "noeviction"]).await
    }

    /// From now on the nodes tell clients each other's ports alone: a client is to reach all of
    /// them by the host by which it reached one. So several hosts can lead to the same nodes. The
    /// nodes remember it when they are restarted.
    ///
    /// # Errors
    /// If one does not answer.
    pub async fn hide_hosts(&self) -> Result<(), RedisError> {
        for n in self.up() {
            let endpoint = ["cluster-preferred-endpoint-type", "unknown-endpoint"];
            let _: () = self.ask(n, &[&["CONFIG", "SET"], &endpoint[..]].concat()).await?;
            let _: () = self.ask(n, &["CONFIG", "REWRITE"]).await?;
        }
        Ok(())
    }

    /// The ports of the nodes.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.nodes.iter().map(|node| node.port)
    }

    /// Stops a node's process without ending it (SIGSTOP): it does not answer any more.
    pub fn pause(&self, n: usize) {
        self.signal(n, Signal::STOP);
    }

    /// Lets a node that was paused go on.
    pub fn resume(&self, n: usize) {
        self.signal(n, Signal::CONT);
    }

    fn signal(&self, n: usize, signal: Signal) {
        let child = self.nodes.get(n).and_then(|node| node.child.as_ref());
        if let Some(pid) = child.and_then(|c| i32::try_from(c.id()).ok()).and_then(Pid::from_raw) {
            // Fails only when it is gone.
            let _ = kill_process(pid, signal);
        }
    }

    /// Moves a slot with everything in it to another master, as resharding does.
    ///
    /// # Errors
    /// If a node refuses.
    pub async fn move_slot(&mut self, slot: u16, to: usize) -> Result<(), RedisError> {
        self.move_keys(slot, to).await?;
        self.finish_move().await
    }

    /// The first half of a slot's move: its keys are moved one by one. Clients are redirected with
    /// ASK until [`finish_move`](Self::finish_move).
    ///
    /// # Errors
    /// If a node refuses.
    pub async fn move_keys(&mut self, slot: u16, to: usize) -> Result<(), RedisError> {
        let from = self.owner(slot).await?;
        if from == to {
            return Ok(());
        }
        let number = slot.to_string();
        let ids: [String; 2] = [
            self.ask(from, &["CLUSTER", "MYID"]).await?,
            self.ask(to, &["CLUSTER", "MYID"]).await?,
        ];
        let set = ["CLUSTER", "SETSLOT", &number];
        let _: () = self.ask(to, &[&set[..], &["IMPORTING", &ids[0]]].concat()).await?;
        let _: () = self.ask(from, &[&set[..], &["MIGRATING", &ids[1]]].concat()).await?;
        self.moving = Some(Move { slot, from, to });
        let port = self.nodes[to].port.to_string();
        loop {
            let keys: Vec<String> =
                self.ask(from, &["CLUSTER", "GETKEYSINSLOT", &number, "10"]).await?;
            if keys.is_empty() {
                return Ok(());
            }
            for key in keys {
                let move_ = ["MIGRATE", "127.0.0.1", &port, &key, "0", "10000"];
                let _: redis::Value = self.ask(from, &move_).await?;
            }
        }
    }

    /// The second half of a slot's move: all nodes learn where it is. Does nothing if none was
    /// begun.
    ///
    /// # Errors
    /// If a node refuses.
    pub async fn finish_move(&mut self) -> Result<(), RedisError> {
        let Some(Move { slot, from, to }) = self.moving.take() else { return Ok(()) };
        let (number, owner): (_, String) =
            (slot.to_string(), self.ask(to, &["CLUSTER", "MYID"]).await?);
        for n in [to, from] {
            let _: () = self.ask(n, &["CLUSTER", "SETSLOT", &number, "NODE", &owner]).await?;
        }
        let mut wait = Wait::new("all know where the slot is");
        while !wait.over(self.all_see_at(slot, to).await)? {
            wait.pause().await;
        }
        Ok(())
    }

    async fn all_see_at(&self, slot: u16, owner: usize) -> Result<bool, RedisError> {
        for n in self.up() {
            let slots = self.parse(&self.ask(n, &["CLUSTER", "SLOTS"]).await?);
            if !slots.iter().any(|(a, b, n)| (*a..=*b).contains(&slot) && *n == owner) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What each node has used. A node that does not answer, or is killed before it is looked at
    /// again, keeps the counts of commands it had.
    pub(crate) async fn usage(&mut self) -> Vec<NodeUsage> {
        for n in 0..self.nodes.len() {
            if !self.is_up(n) {
                continue;
            }
            self.nodes[n].look_at_process();
            if let Ok(text) = self.ask::<String>(n, &["INFO", "cpu", "commandstats"]).await {
                let last = &mut self.nodes[n].last;
                last.commands = commands(&text);
                // To the microsecond, which /proc is not.
                last.cpu_seconds = cpu_seconds(&text).unwrap_or(last.cpu_seconds);
            }
        }
        let all = self.nodes.iter().map(|node| {
            let mut usage = node.past.clone();
            usage.add(&node.last);
            usage
        });
        all.collect()
    }

    /// The CPU time of all nodes, in seconds. Cheap enough to be asked several times a second.
    pub(crate) fn cpu_seconds(&mut self) -> f64 {
        self.nodes.iter_mut().map(Node::cpu_seconds).sum()
    }

    /// How often a command was called, on all nodes that are up together.
    ///
    /// # Errors
    /// If one does not answer.
    pub async fn calls(&self, command: &str) -> Result<u64, RedisError> {
        let mut calls = 0;
        for n in self.up() {
            let text: String = self.ask(n, &["INFO", "commandstats"]).await?;
            calls += commands(&text).get(command).copied().unwrap_or(0);
        }
        Ok(calls)
    }

    /// Sends a command to one node and waits for its answer.
    ///
    /// # Errors
    /// If the node answers with an error, or not at all.
    pub async fn ask<T: FromRedisValue>(&self, n: usize, words: &[&str]) -> Result<T, RedisError> {
        let mut connection = self.connection(n).await?;
        let mut command = redis::cmd(words.first().copied().unwrap_or_default());
        command.arg(&words[1..]);
        Ok(command.query_async(&mut connection).await?)
    }

    async fn connection(&self, n: usize) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(Duration::from_secs(15)));
        let client = Client::open(url(self.nodes[n].port))?;
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// A field of what a node tells of itself and of the cluster.
    async fn info(&self, n: usize, field: &str) -> Result<String, RedisError> {
        let words: &[&str] = if field.starts_with("cluster_") {
            &["CLUSTER", "INFO"]
        } else {
            &["INFO", "replication"]
        };
        let text: String = self.ask(n, words).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.unwrap_or_default().trim().to_owned())
    }
}

impl Node {
    fn look_at_process(&mut self) {
        if let Some(usage) = self.child.as_ref().and_then(|child| Usage::of(child.id())) {
            self.last.cpu_seconds = usage.cpu_seconds;
            self.last.rss_peak_bytes = usage.rss_peak_bytes;
        }
    }

    fn cpu_seconds(&mut self) -> f64 {
        self.look_at_process();
        self.past.cpu_seconds + self.last.cpu_seconds
    }
}

/// How often a node has carried out each command since it was started, from its INFO.
fn commands(info: &str) -> BTreeMap<String, u64> {
    let command = |line: &str| {
        let (command, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((command.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(command).collect()
}

/// The CPU time of a node since it was started, from its INFO.
fn cpu_seconds(info: &str) -> Option<f64> {
    let seconds = |key| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    let (system, user): (f64, f64) = (seconds("used_cpu_sys:")?, seconds("used_cpu_user:")?);
    Some(system + user)
}

/// Waiting for something, but not for ever.
struct Wait {
    what: &'static str,
    began: Instant,
}

impl Wait {
    fn new(what: &'static str) -> Self {
        Self { what, began: Instant::now() }
    }

    /// Whether it has come to pass; an error only once it has taken too long.
    fn over(&mut self, came: Result<bool, RedisError>) -> Result<bool, RedisError> {
        let problem = match came {
            Ok(true) => return Ok(true),
            Ok(false) => self.what.to_owned(),
            Err(error) => format!("{}: {error}", self.what),
        };
        if self.began.elapsed() > PATIENCE { Err(RedisError::Late(problem)) } else { Ok(false) }
    }

    async fn pause(&self) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        for n in 0..self.nodes.len() {
            self.kill(n);
        }
        // It has nothing left to do but to remove the directory, which is removed here.
        if let Some((mut watchdog, stdin)) = self.watchdog.take() {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
            drop(stdin);
        }
    }
}

fn watchdog(directory: &Path) -> Result<(Child, ChildStdin), RedisError> {
    let mut child = Command::new("sh")
        .args(["-c", WATCHDOG, "sh"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let none = || io::Error::other("the watchdog has no standard input");
    let mut stdin = child.stdin.take().ok_or_else(none)?;
    stdin.flush()?;
    Ok((child, stdin))
}

fn configuration(port: u16, bus: u16, is_cluster: bool) -> String {
    // After a diskless synchronisation a replica that says it is up gets nothing for a second more.
    let mut text = format!(
        "port {port}\nbind 127.0.0.1\nprotected-mode no\npidfile pid\nlogfile log\nsave \"\"\n\
         appendonly yes\nappendfsync everysec\nrepl-diskless-sync no\n"
    );
    if is_cluster {
        text += &format!(
            "cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout {}\n\
             cluster-replica-validity-factor 0\ncluster-require-full-coverage no\n\
             cluster-allow-replica-migration no\n",
            NODE_TIMEOUT.as_millis()
        );
    }
    text
}

/// The first and last slot of the n-th of `count` masters.
fn share(n: usize, count: usize) -> (u16, u16) {
    let slots = usize::from(SLOTS);
    ((n * slots / count) as u16, ((n + 1) * slots / count - 1) as u16)
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}
