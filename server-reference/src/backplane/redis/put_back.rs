//! Putting back what a failover has lost.
//!
//! A master that dies takes with it what its replica did not have yet. Every instance that has read
//! or published some of it puts it back, each event at the place it had, so that nobody who has had
//! it notices. All may do so at once: what is there already is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use tidings_core::lane::Offset;

use super::Inner;
use super::cluster::Way;
use super::entry::encode;
use super::partition::{LaneState, Partition};
use super::reader::texts;
use super::writer::{append_call, is_fresh};
use crate::backplane::memory::unix_micros;

/// How far back a failover can have lost something. Replication lags by far less.
const WINDOW: Duration = Duration::from_secs(60);

/// How many events one call puts back.
const BATCH: usize = 128;

/// An event as it was published.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) producer: Arc<str>,
    pub(super) number: u64,
    pub(super) event: Arc<[u8]>,
}

/// Puts back what the lane lacks of what is known here.
pub(super) async fn put_back(
    inner: &Arc<Inner>,
    partition: &Partition,
    state: &LaneState,
) -> RedisResult<()> {
    let _alone = state.putting_back.lock().await;
    let known: Vec<_> = known(state).into_iter().collect();
    let mut count = 0;
    for batch in known.chunks(BATCH) {
        let mut call = append_call(inner, partition, state, true);
        for (offset, published) in batch {
            call.push(published.producer.as_bytes());
            call.push(published.number.to_string());
            call.push(offset.0.to_string());
            call.push(&*published.event);
        }
        let answer = inner.cluster.call(partition.slot, Way::Commands, &call).await?;
        count += texts(answer.value)?.iter().skip(3).filter(|text| is_fresh(text)).count();
    }
    if count > 0 {
        tracing::warn!(lane = %state.lane, count, "put back events that a failover had lost");
        inner.counts.put_back.add(count as u64);
    }
    Ok(())
}

/// What is known here of the lane's last minute: what was read, and what was published here.
fn known(state: &LaneState) -> BTreeMap<Offset, Published> {
    let since_ms = (unix_micros() / 1000).saturating_sub(WINDOW.as_millis() as u64);
    let epoch = state.known().epoch;
    let mut known = state.writing.lock().recent(epoch, Offset(since_ms * 1000));
    if let Some(log) = state.log.lock().as_ref().filter(|log| log.head().epoch == epoch) {
        for logged in log.recent(since_ms) {
            if let Some((producer, number)) = logged.publisher() {
                known.entry(logged.offset()).or_insert_with(|| Published {
                    producer: Arc::clone(producer),
                    number: *number,
                    event: encode(logged.event()).into(),
                });
            }
        }
    }
    known
}
