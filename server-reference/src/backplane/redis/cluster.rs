//! The nodes, which of them has which slot, and calls that find their way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::{Mutex, RwLock};
use redis::{Client, ErrorKind, PushKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::watch;

use super::health::Health;
use super::node::{Link, Node, Open, Pushed};
use super::options::{self, Options};
use super::script::Call;
use super::topology::{self, Owner, Topology};

/// How often a call follows a redirection before it is given up.
const MAX_REDIRECTIONS: usize = 4;

/// The least time between two questions for the topology.
const REFRESH_PAUSE: Duration = Duration::from_millis(50);

/// How many nodes are asked for the topology at once when something does not work, and how many
/// when all seems well.
const ASKED: usize = 10;
const GLANCED: usize = 2;

/// How long the other nodes have to answer after the first one did.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// Which connection of a node a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Commands,
    Critical,
}

/// The nodes of a cluster, or the only one.
pub(super) struct Cluster {
    options: Arc<Options>,
    seeds: Vec<Client>,
    nodes: Mutex<BTreeMap<String, Arc<Node>>>,
    topology: RwLock<Arc<Topology>>,
    /// Counts the changes of the topology.
    changes: watch::Sender<u64>,
    /// When the topology was last asked for.
    refreshed: tokio::sync::Mutex<Option<Instant>>,
    /// Counts the glances: each is at other nodes.
    glances: AtomicUsize,
    pushed: Pushed,
    health: Arc<Health>,
}

/// The answer to a call, and the connection it came by.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) open: Open,
}

impl Cluster {
    pub(super) fn new(
        options: Arc<Options>,
        seeds: Vec<Client>,
        pushed: Pushed,
        health: Arc<Health>,
    ) -> Self {
        Self {
            options,
            seeds,
            nodes: Mutex::default(),
            topology: RwLock::default(),
            changes: watch::Sender::new(0),
            refreshed: tokio::sync::Mutex::default(),
            glances: AtomicUsize::new(0),
            pushed,
            health,
        }
    }

    /// Tells changes of the topology.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Who has which slot, as far as is known.
    pub(super) fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.read())
    }

    /// The master that has `slot`.
    ///
    /// # Errors
    /// If none is known; the topology has been asked for.
    pub(super) async fn owner(&self, slot: u16) -> RedisResult<(Owner, Arc<Node>)> {
        for attempt in 0..2 {
            if let Some(owner) = self.topology().owner(slot) {
                return Ok((owner.clone(), self.node(&owner.address)?));
            }
            if attempt == 0 {
                self.refresh().await;
            }
        }
        Err(RedisError::from((ErrorKind::ClusterConnectionNotFound, "no node has the slot")))
    }

    /// The node with this address.
    ///
    /// # Errors
    /// If it is no address.
    pub(super) fn node(&self, address: &str) -> RedisResult<Arc<Node>> {
        let mut nodes = self.nodes.lock();
        if let Some(node) = nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let none = || RedisError::from((ErrorKind::Client, "a node has no address"));
        let (host, port) = address.rsplit_once(':').ok_or_else(none)?;
        let port = port.parse().map_err(|_| none())?;
        let seed = self.seeds.first().ok_or_else(none)?;
        let client = options::sibling(seed, host, port)?;
        let pushed = Arc::clone(&self.pushed);
        let node = Arc::new(Node::new(address.to_owned(), &client, &self.options, pushed));
        nodes.insert(address.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    /// Makes a call to the master of `slot`.
    ///
    /// # Errors
    /// If it could not be made now, or may have been made without an answer. The topology has
    /// been asked for where that may help.
    pub(super) async fn call(&self, slot: u16, way: Way, call: &Call) -> RedisResult<Answer> {
        let mut known = true;
        let mut asked: Option<Arc<Node>> = None;
        let mut last = None;
        for _ in 0..MAX_REDIRECTIONS {
            let asking = asked.take();
            let node = match &asking {
                Some(node) => Arc::clone(node),
                None => self.owner(slot).await?.1,
            };
            let link = if way == Way::Critical { &node.critical } else { &node.commands };
            let error = match self.send(link, call, known, asking.is_some()).await {
                Ok(answer) => {
                    self.health.well(&node.title);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Server(ServerErrorKind::NoScript) => {
                    known = false;
                    asked = asking;
                }
                ErrorKind::Server(ServerErrorKind::Moved) => self.refresh().await,
                ErrorKind::Server(ServerErrorKind::Ask) => {
                    let address = topology::redirected_to(&error, &node.address);
                    asked = Some(self.node(&address)?);
                }
                ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::TryAgain) => {
                    return Err(error);
                }
                _ => {
                    self.health.trouble(&node.title, &error);
                    self.refresh().await;
                    return Err(error);
                }
            }
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| RedisError::from((ErrorKind::Client, "redirected in circles"))))
    }

    async fn send(
        &self,
        link: &Link,
        call: &Call,
        known: bool,
        asking: bool,
    ) -> RedisResult<Answer> {
        let mut open = link.open().await?;
        let command = call.command(known);
        let result = if asking {
            let mut both = redis::pipe();
            both.cmd("ASKING").add_command(command);
            let answers = open.connection.send_packed_commands(&both, 0, 2).await;
            answers.map(|mut answers| answers.pop().unwrap_or_default())
        } else {
            open.connection.send_packed_command(&command).await
        };
        match result.and_then(Value::extract_error) {
            Ok(value) => Ok(Answer { value, open }),
            Err(error) => {
                if error.is_io_error() {
                    link.give_up(&open).await;
                }
                Err(error)
            }
        }
    }

    /// Publishes to a sharded channel on the node at `address`, once.
    pub(super) async fn pass_on(
        &self,
        address: &str,
        channel: &str,
        message: &[u8],
    ) -> RedisResult<()> {
        let node = self.node(address)?;
        let mut open = node.commands.open().await?;
        let command = redis::cmd("SPUBLISH").arg(channel).arg(message).to_owned();
        open.connection.send_packed_command(&command).await.and_then(Value::extract_error)?;
        Ok(())
    }

    /// Subscribes to a sharded channel on `node`. What comes is pushed until the connection
    /// closes or Redis ends the subscription.
    pub(super) async fn subscribe(&self, node: &Node, channel: &str) -> RedisResult<Open> {
        let mut open = node.subscriber.open().await?;
        let command = redis::cmd("SSUBSCRIBE").arg(channel).to_owned();
        let result = open.connection.send_packed_command(&command).await;
        match result.and_then(Value::extract_error) {
            Ok(Value::Push { kind: PushKind::SSubscribe, .. }) => Ok(open),
            // Redis ended another subscription in the same moment: which answer is whose is not
            // known for certain any more.
            Ok(_) => {
                Err(RedisError::from((ErrorKind::Client, "the subscription was not confirmed")))
            }
            Err(error) => {
                if error.is_io_error() {
                    node.subscriber.give_up(&open).await;
                }
                self.refresh().await;
                Err(error)
            }
        }
    }

    /// Asks for the topology, unless somebody has just done so.
    pub(super) async fn refresh(&self) {
        let asked = Instant::now();
        let mut refreshed = self.refreshed.lock().await;
        if let Some(at) = *refreshed {
            if at >= asked {
                return;
            }
            let since = at.elapsed();
            if since < REFRESH_PAUSE {
                tokio::time::sleep(REFRESH_PAUSE - since).await;
            }
        }
        let began = Instant::now();
        let mut asked = self.known(0, ASKED);
        let seeds = self.seeds.iter().take(ASKED).cloned();
        asked.extend(seeds.map(|seed| Asked::Seed(Box::new(seed))));
        if let Err(error) = self.look(asked).await {
            match error {
                Some(error) => self.health.trouble("Redis", &error),
                None => self.health.trouble("Redis", &"no node answers"),
            }
        }
        *refreshed = Some(began);
    }

    /// Asks a few nodes, other ones each time: what has changed without anything having failed is
    /// noticed, and all instances together cost the nodes little.
    pub(super) async fn glance(&self) {
        let turn = self.glances.fetch_add(1, Ordering::Relaxed);
        let asked = self.known(turn.wrapping_mul(GLANCED), GLANCED);
        let alone = self.refreshed.lock().await;
        let seen = self.look(asked).await;
        drop(alone);
        if seen.is_err() {
            self.refresh().await;
        }
    }

    /// `count` of the known nodes at most, from the one with this number on.
    fn known(&self, first: usize, count: usize) -> Vec<Asked> {
        let topology = self.topology();
        let known: BTreeSet<&str> = topology.addresses().collect();
        let chosen = known.iter().cycle().skip(first % known.len().max(1));
        let chosen = chosen.take(count.min(known.len()));
        chosen.filter_map(|address| self.node(address).ok()).map(Asked::Known).collect()
    }

    /// Asks some nodes for the topology, and notes what has changed; fails if none answers.
    async fn look(&self, asked: Vec<Asked>) -> Result<(), Option<RedisError>> {
        let found = self.ask_for_topology(asked).await?;
        self.health.well("Redis");
        let mut topology = self.topology.write();
        let Some(next) = topology.next(found) else { return Ok(()) };
        let masters: BTreeSet<_> = next.masters().collect();
        tracing::info!(?masters, "Redis has this topology");
        let addresses: BTreeSet<String> = next.addresses().map(str::to_owned).collect();
        self.nodes.lock().retain(|address, _| addresses.contains(address));
        self.health.keep(&addresses);
        *topology = Arc::new(next);
        drop(topology);
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    /// What the best informed of the nodes that answer soon says.
    async fn ask_for_topology(&self, asked: Vec<Asked>) -> Result<Topology, Option<RedisError>> {
        let timeout = self.options.connect_timeout;
        let mut asking: FuturesUnordered<_> =
            asked.into_iter().map(|asked| ask(asked, timeout)).collect();
        let mut best: Option<Topology> = None;
        let mut until = Instant::now() + self.options.connect_timeout;
        let mut error = None;
        loop {
            let next = tokio::time::timeout_at(until.into(), asking.next()).await;
            match next {
                Ok(Some(Ok(found))) => {
                    if best.is_none() {
                        until = until.min(Instant::now() + STRAGGLERS);
                    }
                    if best.as_ref().is_none_or(|best| found.epoch > best.epoch) {
                        best = Some(found);
                    }
                }
                Ok(Some(Err(failed))) => error = Some(failed),
                Ok(None) | Err(_) => break,
            }
        }
        best.ok_or(error)
    }
}

enum Asked {
    Known(Arc<Node>),
    Seed(Box<Client>),
}

async fn ask(asked: Asked, timeout: Duration) -> RedisResult<Topology> {
    match asked {
        Asked::Known(node) => {
            let mut open = node.commands.open().await?;
            let found = Topology::ask(&mut open.connection, &node.address).await;
            if found.as_ref().is_err_and(RedisError::is_io_error) {
                node.commands.give_up(&open).await;
            }
            found
        }
        Asked::Seed(client) => {
            let address = client.get_connection_info().addr().to_string();
            let config = redis::AsyncConnectionConfig::new()
                .set_connection_timeout(Some(timeout))
                .set_response_timeout(Some(timeout));
            let mut connection =
                client.get_multiplexed_async_connection_with_config(&config).await?;
            Topology::ask(&mut connection, &address).await
        }
    }
}
