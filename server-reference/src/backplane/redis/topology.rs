//! Which node has which slots.

use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

const LAST_SLOT: u16 = 16_383;

/// Who has the slots of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The master, as HOST:PORT.
    pub(super) address: String,
    /// Its replicas that are up, as HOST:PORT.
    pub(super) replicas: Vec<String>,
    /// When it took the slots over from another master, if it was seen to.
    pub(super) since: Option<Instant>,
}

/// Which node has which slots, as one of them said.
#[derive(Debug, Clone, Default)]
pub(super) struct Topology {
    ranges: Vec<(u16, u16, Owner)>,
    /// How well informed the node was: the cluster's epoch as it knew it.
    pub(super) epoch: u64,
}

impl Topology {
    /// Asks a node, which was reached at `address`. A node that is not of a cluster has all slots.
    pub(super) async fn ask(
        connection: &mut MultiplexedConnection,
        address: &str,
    ) -> RedisResult<Self> {
        let slots = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
        let slots = connection.send_packed_command(&slots).await.and_then(Value::extract_error);
        let slots = match slots {
            Ok(slots) => slots,
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError) => {
                let owner =
                    Owner { address: address.to_owned(), replicas: Vec::new(), since: None };
                return Ok(Self { ranges: vec![(0, LAST_SLOT, owner)], epoch: 0 });
            }
            Err(error) => return Err(error),
        };
        let info = redis::cmd("CLUSTER").arg("INFO").to_owned();
        let info = connection.send_packed_command(&info).await?;
        let info: String = redis::from_redis_value(info)?;
        let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
        let ranges = parse(slots, host_of(address)).ok_or_else(|| {
            RedisError::from((ErrorKind::Parse, "CLUSTER SLOTS is not understood"))
        })?;
        if ranges.is_empty() {
            return Err(RedisError::from((ErrorKind::Client, "the node knows of no slots")));
        }
        Ok(Self { ranges, epoch: epoch.and_then(|text| text.trim().parse().ok()).unwrap_or(0) })
    }

    /// Who has `slot`.
    pub(super) fn owner(&self, slot: u16) -> Option<&Owner> {
        let range = self.ranges.iter().find(|(from, to, _)| (*from..=*to).contains(&slot));
        range.map(|(_, _, owner)| owner)
    }

    /// The masters.
    pub(super) fn masters(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().map(|(_, _, owner)| owner.address.as_str())
    }

    /// All nodes.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        let replicas = self.ranges.iter().flat_map(|(_, _, owner)| &owner.replicas);
        self.masters().chain(replicas.map(String::as_str))
    }

    /// The topology that follows this one when a node says `found`; `None` if nothing has changed
    /// or `found` is older.
    pub(super) fn next(&self, mut found: Self) -> Option<Self> {
        if found.epoch < self.epoch {
            return None;
        }
        let now = Instant::now();
        for (from, _, owner) in &mut found.ranges {
            owner.since = match self.owner(*from) {
                Some(before) if before.address == owner.address => before.since,
                Some(_) => Some(now),
                None => None,
            };
        }
        found.ranges.sort_by_key(|(from, _, _)| *from);
        (found.ranges != self.ranges).then_some(found)
    }
}

fn parse(slots: Value, host: &str) -> Option<Vec<(u16, u16, Owner)>> {
    let Value::Array(ranges) = slots else { return None };
    let mut parsed = Vec::with_capacity(ranges.len());
    for range in ranges {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(from), Value::Int(to), nodes @ ..] = parts.as_slice() else { return None };
        let mut addresses = nodes.iter().map(|node| address(node, host));
        let address = addresses.next()??;
        let replicas = addresses.collect::<Option<_>>()?;
        let owner = Owner { address, replicas, since: None };
        parsed.push((u16::try_from(*from).ok()?, u16::try_from(*to).ok()?, owner));
    }
    Some(parsed)
}

/// HOST:PORT of a node; where it does not name its host it is the one that was asked.
fn address(node: &Value, asked: &str) -> Option<String> {
    let Value::Array(parts) = node else { return None };
    let [name, Value::Int(port), ..] = parts.as_slice() else { return None };
    let name = match name {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text,
        Value::Nil => "",
        _ => return None,
    };
    Some(format!("{}:{port}", if name.is_empty() || name == "?" { asked } else { name }))
}

/// HOST:PORT of the node that a redirection leads to; where it does not name the host it is that of
/// the node at `asked`, which gave it.
pub(super) fn redirected_to(redirection: &RedisError, asked: &str) -> String {
    let (to, _slot) = redirection.redirect_node().unwrap_or_default();
    match to.strip_prefix(':') {
        Some(port) => format!("{}:{port}", host_of(asked)),
        None => to.to_owned(),
    }
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64) -> Value {
        Value::Array(vec![
            Value::BulkString(host.as_bytes().to_vec()),
            Value::Int(port),
            Value::BulkString(b"id".to_vec()),
            Value::Array(vec![]),
        ])
    }

    fn topology(first: &str, epoch: u64) -> Topology {
        let range = |from, to, node| {
            Value::Array(vec![Value::Int(from), Value::Int(to), node, self::node("r", 9)])
        };
        let slots =
            Value::Array(vec![range(100, 16_383, node("", 2)), range(0, 99, node(first, 1))]);
        Topology { ranges: parse(slots, "asked").unwrap(), epoch }
    }

    #[test]
    fn slots_have_owners() {
        let topology = Topology::default().next(topology("a", 1)).unwrap();
        assert_eq!(topology.owner(99).unwrap().address, "a:1");
        assert_eq!(topology.owner(100).unwrap().address, "asked:2");
        assert_eq!(topology.owner(0).unwrap().replicas, ["r:9"]);
        assert_eq!(topology.owner(0).unwrap().since, None);
    }

    #[test]
    fn redirections_lead_to_a_host_or_to_another_port_of_the_same() {
        for (answer, to) in [("-ASK 17 b:7", "b:7"), ("-ASK 17 :7", "asked:7")] {
            let answer = redis::parse_redis_value(format!("{answer}\r\n").as_bytes());
            let error = answer.unwrap().extract_error().unwrap_err();
            assert_eq!(redirected_to(&error, "asked:1"), to);
        }
    }

    #[test]
    fn takeovers_are_seen_and_old_news_is_not_heard() {
        let before = Topology::default().next(topology("a", 5)).unwrap();
        assert!(before.next(topology("a", 6)).is_none(), "nothing has changed");
        assert!(before.next(topology("b", 4)).is_none(), "older");
        let after = before.next(topology("b", 6)).unwrap();
        assert!(after.owner(0).unwrap().since.is_some());
        assert!(after.owner(100).unwrap().since.is_none());
    }
}
