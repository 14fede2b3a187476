//! The log itself: two instances of the backplane, without servers.

use std::sync::Arc;

use tidings_core::event::{Headers, Payload};
use tidings_core::lane::{Lane, Place};
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::message::{Gap, Position};
use tidings_core::server::LogReader;
use tidings_core::{Event, Partitioning, Priority};
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::Config;
use tidings_server::backplane::{Backplane, Producer, Published, RedisBackplane, Signal};

use super::instances::config;
use super::{until, within};

fn event(name: &str, priority: Priority) -> Event {
    Event {
        name: name.into(),
        payload: Payload::Json("1".into()),
        id: Arc::default(),
        priority,
        time: 0,
        headers: Headers::NONE,
    }
}

async fn backplane(config: &Config) -> RedisBackplane {
    let backplane = RedisBackplane::new(config).unwrap();
    until("Redis is reached", || backplane.status().ready).await;
    backplane
}

async fn publish(on: &RedisBackplane, name: &str, seq: u64) -> Position {
    let producer = Producer { id: Arc::from("p"), number: seq, sends_again: true };
    match on.publish(event(name, Priority::Normal), Some(producer)) {
        Published::Now(result) => result.unwrap(),
        Published::Later(answer) => within(answer).await.unwrap(),
    }
}

/// Makes the lanes of `name` readable, as a subscription does.
async fn prepare(on: &RedisBackplane, name: &str) -> Arc<Signal> {
    let partition = on.partitioning().of_name(name);
    if let Some(prepared) = on.prepare(&mut std::iter::once(partition)) {
        within(prepared).await;
    }
    let signal = Arc::new(Signal::new(on.partitioning(), 10));
    on.attach(signal.clone());
    signal.set_interest(partition, true);
    signal
}

/// Reads all after a place, waiting for what is not in memory.
async fn read(
    on: &RedisBackplane,
    lane: Lane,
    after: Place,
) -> (Vec<Arc<LoggedEvent>>, Option<Gap>) {
    let mut events = Vec::new();
    within(async {
        loop {
            match on.read(lane, after, usize::MAX, &mut events) {
                Read::Done(gap) => return (std::mem::take(&mut events), gap),
                Read::Later => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_sent_again_to_another_instance_has_one_effect_and_one_place() {
    let redis = RedisCluster::single().await.unwrap();
    let a = backplane(&config(&redis, "a")).await;
    let b = backplane(&config(&redis, "b")).await;
    let mut positions = Vec::new();
    for seq in [1, 2, 4, 5] {
        positions.push(publish(&a, "x", seq).await);
    }
    for (seq, position) in [1, 2, 4, 5].into_iter().zip(&positions) {
        assert_eq!(publish(&b, "x", seq).await, *position, "{seq}");
    }
    // One that was refused in passing is no duplicate because it comes late.
    let late = publish(&b, "x", 3).await;
    assert!(positions.iter().all(|position| position.offset < late.offset));
    assert_eq!(publish(&a, "x", 3).await, late);
    let (events, gap) = read(&b, late.lane, Place::default()).await;
    let numbers: Vec<_> = events.iter().map(|e| e.publisher().unwrap().1).collect();
    assert_eq!((numbers, gap), (vec![1, 2, 4, 5, 3], None));
    assert_eq!(b.status().redis.unwrap().duplicates, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_retained_is_a_gap_and_its_publish_still_recognised() {
    let redis = RedisCluster::single().await.unwrap();
    let mut few = config(&redis, "a");
    few.retention.max_events = 100;
    let a = backplane(&few).await;
    let first = publish(&a, "x", 1).await;
    for seq in 2..=300 {
        publish(&a, "x", seq).await;
    }
    assert_eq!(publish(&a, "x", 1).await.offset.0, 0, "known, its place not");
    let b = backplane(&few).await;
    let epoch = b.head(first.lane).epoch;
    let (events, gap) = read(&b, first.lane, Place { epoch, offset: first.offset }).await;
    let gap = gap.expect("a gap");
    assert_eq!((gap.from, gap.epoch), (first.offset, epoch));
    assert!(events.len() <= 116 && events.len() >= 100, "{}", events.len());
    let (all, none) = read(&b, first.lane, Place::default()).await;
    assert_eq!((all.len(), none), (events.len(), None));
    assert_eq!(all[0].offset().0.min(gap.to.0), gap.to.0, "the gap ends before the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_was_silent_until_its_events_expired_tells_a_gap() {
    let redis = RedisCluster::single().await.unwrap();
    let a = backplane(&config(&redis, "a")).await;
    let before = publish(&a, "x", 1).await;
    publish(&a, "x", 2).await;
    let stream = format!("tidings:{{p{}}}:normal", before.lane.partition());
    let kept: i64 = redis.ask(0, &["PTTL", &stream]).await.unwrap();
    assert!(kept > 300_000, "longer than the retention, but not for ever: {kept}");
    let _: () = redis.ask(0, &["DEL", &stream]).await.unwrap();
    let after = publish(&a, "x", 3).await;
    let b = backplane(&config(&redis, "b")).await;
    let place = Place { epoch: b.head(before.lane).epoch, offset: before.offset };
    let (events, gap) = read(&b, before.lane, place).await;
    assert!(gap.is_some_and(|gap| gap.from == before.offset && gap.to < after.offset), "{gap:?}");
    assert_eq!(events.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_somebody_wants_is_read_and_no_longer_than_that() {
    let redis = RedisCluster::single().await.unwrap();
    let mut impatient = config(&redis, "a");
    impatient.redis.linger = std::time::Duration::from_millis(300);
    let a = backplane(&impatient).await;
    assert_eq!(a.status().redis.unwrap().partitions_read, 0);
    let signal = prepare(&a, "x").await;
    assert_eq!(a.status().redis.unwrap().partitions_read, 1);
    let position = publish(&a, "x", 1).await;
    until("it has come by notice", || a.head(position.lane).offset == position.offset).await;
    let elsewhere = ["y", "z", "v", "w"].into_iter().find(|name| {
        let partitioning: &Partitioning = a.partitioning();
        partitioning.of_name(name) != partitioning.of_name("x")
    });
    publish(&a, elsewhere.unwrap(), 1).await;
    assert_eq!(a.status().redis.unwrap().notified, 1, "the other one was not sent here");
    signal.set_interest(position.lane.partition(), false);
    until("it is not read any more", || a.status().redis.unwrap().partitions_read == 0).await;
    let channels: Vec<String> = redis.ask(0, &["PUBSUB", "SHARDCHANNELS"]).await.unwrap();
    assert!(channels.is_empty(), "{channels:?}");
    publish(&a, "x", 2).await;
    prepare(&a, "x").await;
    let after = Place { epoch: a.head(position.lane).epoch, offset: position.offset };
    assert_eq!(read(&a, position.lane, after).await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_everything_is_another_history() {
    let redis = RedisCluster::single().await.unwrap();
    let a = backplane(&config(&redis, "a")).await;
    let _signal = prepare(&a, "x").await;
    let before = publish(&a, "x", 1).await;
    let epoch = a.head(before.lane).epoch;
    let _: () = redis.ask(0, &["FLUSHALL"]).await.unwrap();
    until("the new history is known", || a.head(before.lane).epoch != epoch).await;
    let after = publish(&a, "x", 2).await;
    assert!(after.offset > before.offset, "offsets do not run backwards");
    until("it is read", || a.head(after.lane).offset == after.offset).await;
    let (events, gap) = read(&a, before.lane, Place { epoch, offset: before.offset }).await;
    assert!(gap.is_some_and(|gap| gap.epoch == a.head(before.lane).epoch));
    assert_eq!(events.last().unwrap().offset(), after.offset);
}
