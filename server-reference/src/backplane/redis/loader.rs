//! Older events, for clients whose place lies before what is in memory.
//!
//! However many clients want them, each chunk is read once: they wait for the same events, which
//! are put in front of the copy that all read.

use std::sync::Arc;
use std::time::Duration;

use tidings_core::lane::Offset;

use super::Inner;
use super::partition::{LaneState, Partition};
use super::reader::{Chunk, chunk};
use crate::backplane::memory::unix_micros;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// How far back somebody wants to read, and whether that is being seen to.
#[derive(Debug, Default)]
pub(super) struct Loading {
    running: bool,
    /// The earliest place that is waited for.
    wanted: Option<Offset>,
}

/// Somebody wants to read the lane from after `after`, which is not in memory.
pub(super) fn load(inner: &Arc<Inner>, partition: &Arc<Partition>, lane: usize, after: Offset) {
    let Some(state) = partition.lanes.get(lane) else { return };
    let mut loading = state.loading.lock();
    loading.wanted = Some(loading.wanted.map_or(after, |wanted| wanted.min(after)));
    if !loading.running {
        loading.running = true;
        let (inner_, partition) = (Arc::clone(inner), Arc::clone(partition));
        inner.spawn(async move {
            if let Some(state) = partition.lanes.get(lane) {
                run(&inner_, &partition, state).await;
            }
        });
    }
}

async fn run(inner: &Arc<Inner>, partition: &Partition, state: &LaneState) {
    while let Some(upto) = missing(state) {
        match chunk(inner, partition, state, "upto", upto).await {
            Ok(chunk) => {
                put_in_front(state, upto, chunk);
                inner.raise_loaded(state.lane);
            }
            Err(error) => {
                inner.health.trouble(&partition.titles[0], &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // Those who came last found it complete, or not read any more: they look again either way.
    inner.raise_loaded(state.lane);
}

/// Up to where older events are to be read; `None` if nothing that is wanted is missing.
fn missing(state: &LaneState) -> Option<Offset> {
    let mut loading = state.loading.lock();
    let log = state.log.lock();
    let missing = log.as_ref().filter(|log| !log.is_whole()).and_then(|log| {
        let floor = log.floor().offset;
        loading.wanted.is_some_and(|wanted| wanted < floor).then_some(floor)
    });
    if missing.is_none() {
        *loading = Loading::default();
    }
    missing
}

fn put_in_front(state: &LaneState, upto: Offset, chunk: Chunk) {
    let mut log = state.log.lock();
    let Some(log) = log.as_mut() else { return };
    // The copy was begun again meanwhile, or belongs to another history.
    if log.head().epoch != chunk.epoch || log.floor().offset != upto || log.is_whole() {
        return;
    }
    let start = (!chunk.is_full).then_some(chunk.floor);
    let entries = chunk.entries.into_iter().rev().filter_map(|(_, entry)| entry).collect();
    log.put_in_front(unix_micros() / 1000, entries, start);
}
