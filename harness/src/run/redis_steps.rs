//! Steps that happen to Redis itself.

use tidings_core::Partitioning;

use crate::process::redis_cluster::{RedisCluster, RedisError};
use crate::scenario::{Action, Scenario, Step};

/// Does to Redis what a step says; tells what that was, where the step does not say it.
pub(super) async fn begin(
    scenario: &Scenario,
    step: &Step,
    redis: &mut RedisCluster,
) -> Result<Option<String>, RedisError> {
    match step.action {
        Action::PauseRedis => (0..redis.len()).for_each(|n| redis.pause(n)),
        Action::FillRedis => {
            for n in redis.masters().await? {
                redis.set_full(n, true).await?;
            }
        }
        Action::RestartRedis => {
            for n in 0..redis.len() {
                if !redis.is_up(n) {
                    redis.restart(n).await?;
                }
            }
            redis.settled().await?;
            return Ok(Some("all nodes of Redis are up and in order".to_owned()));
        }
        Action::MoveSlot => {
            let slot = slot(scenario, redis).await?;
            let owner = redis.owner(slot).await?;
            let masters = redis.masters().await?;
            let Some(other) = masters.into_iter().find(|n| *n != owner) else { return Ok(None) };
            redis.move_keys(slot, other).await?;
            if step.lasts().is_some() {
                return Ok(Some(format!("the keys of slot {slot} are at node {other}")));
            }
            redis.finish_move().await?;
            return Ok(Some(format!("slot {slot} is at node {other}")));
        }
        Action::CutReplicas => {
            let master = redis.owner(slot(scenario, redis).await?).await?;
            redis.cut_replicas(master).await?;
            return Ok(Some(format!("node {master} of Redis has no replica")));
        }
        _ => {
            let master = redis.owner(slot(scenario, redis).await?).await?;
            // What it has counted goes with it.
            redis.usage().await;
            redis.kill(master);
            return Ok(Some(format!("node {master} of Redis is dead")));
        }
    }
    Ok(None)
}

/// Undoes what a step has done to Redis; tells what is so again.
pub(super) async fn end(step: &Step, redis: &mut RedisCluster) -> Result<&'static str, RedisError> {
    let up = (0..redis.len()).filter(|n| redis.is_up(*n)).collect::<Vec<_>>();
    match step.action {
        Action::CutReplicas => {
            for n in up {
                redis.let_replicas_in(n).await?;
            }
            Ok("replicas follow again")
        }
        Action::FillRedis => {
            for n in up {
                redis.set_full(n, false).await?;
            }
            Ok("Redis has memory again")
        }
        Action::MoveSlot => {
            redis.finish_move().await?;
            Ok("all know where the slot is")
        }
        _ => {
            up.into_iter().for_each(|n| redis.resume(n));
            Ok("Redis goes on")
        }
    }
}

/// The hash slot of the first thing that is published.
async fn slot(scenario: &Scenario, redis: &RedisCluster) -> Result<u16, RedisError> {
    let setting =
        |section: &str, key: &str| scenario.server.get(section)?.as_table()?.get(key).cloned();
    let count = setting("partitions", "count").and_then(|count| count.as_integer());
    let count = count.and_then(|count| u16::try_from(count).ok());
    let mut partitioning = Partitioning::new(count.unwrap_or(Partitioning::DEFAULT_COUNT));
    if let Some(toml::Value::Table(depths)) = setting("partitions", "depths") {
        for (root, depth) in depths {
            let depth = depth.as_integer().and_then(|depth| usize::try_from(depth).ok());
            partitioning = partitioning.with_depth(root, depth.unwrap_or(1));
        }
    }
    let name = scenario.publish.first().map(|publish| publish.name.as_str()).unwrap_or_default();
    let name = name.replace("{client}", "0").replace("{room}", "0");
    // The prefix does not count: the braces do.
    let key = format!("{{p{}}}", partitioning.of_name(&name));
    let node = redis.masters().await?.first().copied().unwrap_or(0);
    redis.ask(node, &["CLUSTER", "KEYSLOT", &key]).await
}
