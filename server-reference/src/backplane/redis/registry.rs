//! Which instances are alive, and whether Redis is.

use std::sync::Arc;

use tidings_core::log::shared::parse_number;

use super::cluster::Way;
use super::script::{BEAT, Call};
use super::{Inner, calls, keys};
use crate::backplane::InstanceInfo;

/// An instance that has not said anything for so many heartbeats counts as dead.
const MISSED: u32 = 4;

/// Waits until Redis has been reached: until it is known where all lanes stand.
pub(super) async fn reach(inner: Arc<Inner>) {
    for partition in &inner.partitions {
        // The sender lives in the partition, so waiting cannot fail.
        let _ = partition.known.subscribe().wait_for(|known| *known).await;
    }
    inner.health.reached();
}

/// Says again and again that this instance is alive, and learns of the others. Notices too when
/// Redis is away although nobody publishes.
pub(super) async fn beat(inner: Arc<Inner>) {
    let mut beats = tokio::time::interval(inner.options.heartbeat);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        match once(&inner).await {
            Ok(instances) => {
                inner.health.well("heartbeat");
                *inner.instances.lock() = instances;
            }
            Err(error) => inner.health.trouble("heartbeat", &error),
        }
        inner.cluster.glance().await;
    }
}

async fn once(inner: &Inner) -> redis::RedisResult<Vec<InstanceInfo>> {
    let (sessions, connections) = *inner.figures.lock();
    let info = InstanceInfo {
        instance: inner.options.instance.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms: inner.started_ms,
        seen_ms: 0,
        sessions,
        connections,
    };
    let told = serde_json::to_string(&info).unwrap_or_default();
    let key = keys::instances(&inner.options.prefix);
    let slot = keys::slot(&key);
    let dead_after = inner.options.heartbeat * MISSED;
    let call =
        Call::new(&BEAT, [key]).arg(&inner.options.instance).arg(told).arg(dead_after.as_millis());
    let answer = inner.cluster.call(slot, Way::Commands, &call).await?;
    let texts = calls::texts(answer.value)?;
    let mut instances: Vec<InstanceInfo> = texts
        .chunks_exact(2)
        .filter_map(|pair| {
            let mut info: InstanceInfo = serde_json::from_slice(&pair[1]).ok()?;
            info.seen_ms = parse_number(&pair[0])?;
            Some(info)
        })
        .collect();
    instances.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(instances)
}
