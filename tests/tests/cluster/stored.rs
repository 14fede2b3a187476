//! Events that instances on one Redis keep in one database.

use std::collections::BTreeSet;
use std::time::Duration;

use tidings_core::{Pattern, Payload};
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::store::EventQuery;
use tidings_server::{Config, Remote};

use super::instances::Instance;
use super::within;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_kept_once_also_when_an_instance_is_killed() {
    let redis = RedisCluster::single().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("tidings.db").display());
    let keeps = |config: &mut Config| {
        config.store.database = url.as_str().into();
        config.store.events = true;
        config.store.interval = Duration::from_millis(20);
        config.store.heartbeat = Duration::from_millis(200);
    };
    let one = Instance::start_with(&redis, "one", keeps).await;
    let two = Instance::start_with(&redis, "two", keeps).await;
    let emit = |instance: &Instance, numbers: std::ops::Range<u32>| {
        for number in numbers {
            let payload = Payload::Json(number.to_string().into());
            let name = format!("root{number}.x");
            instance.bus.emit(&instance.bus.event(name.as_str(), payload).unwrap());
        }
    };
    emit(&one, 0..200);
    emit(&two, 200..400);
    within(until_kept(&one.remote, 400)).await;
    two.kill();
    emit(&one, 400..600);
    within(until_kept(&one.remote, 600)).await;
    assert_eq!(one.remote.events_stats().store.unwrap().events_not_kept, 0);
}

/// Waits until all of these numbers are there, and fails if one is there twice.
async fn until_kept(remote: &Remote, numbers: u32) {
    loop {
        let mut query = EventQuery::new(Pattern::new("**").unwrap());
        query.limit = 1000;
        let page = remote.kept_events(&query).await.unwrap();
        let payload = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse::<u32>().unwrap();
        let found: Vec<u32> =
            page.events.iter().map(|kept| payload(kept.event.payload.bytes())).collect();
        let once: BTreeSet<u32> = found.iter().copied().collect();
        assert_eq!(found.len(), once.len(), "an event is there twice");
        if once.into_iter().eq(0..numbers) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
