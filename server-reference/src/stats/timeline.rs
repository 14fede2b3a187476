//! The last minutes of an instance, second by second.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{InstanceStats, Latency, NameRate, PriorityCounts, WebsocketStats};
use crate::app::App;
use crate::clock::unix_micros;

/// How many seconds are kept.
pub(crate) const SECONDS: usize = 600;

/// What was counted and how things were, once a second.
#[derive(Debug, Default)]
pub(crate) struct Timeline(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// What the values of a moment are.
    columns: Vec<String>,
    moments: VecDeque<Moment>,
    before: Option<(Instant, Vec<u64>)>,
    latest: Option<Arc<WebsocketStats>>,
}

#[derive(Debug, Clone)]
struct Moment {
    /// In seconds since the Unix epoch.
    at: u64,
    values: Box<[u64]>,
}

type Named = Vec<(String, u64)>;

/// What only grows: told per second.
fn counted(app: &App, stats: &WebsocketStats) -> Named {
    let mut counts = Named::new();
    let (offered, volatile) = app.stats.offered.counts();
    by_priority(&mut counts, "published", PriorityCounts::new(offered, volatile));
    by_priority(&mut counts, "delivered", stats.delivered.by_priority);
    let rest = [
        ("refused", app.stats.refused.get()),
        ("invalid", app.event_schemas.violations()),
        ("written_bytes", stats.delivered.bytes),
        ("received_bytes", app.stats.received_bytes.get()),
        ("dropped.low", stats.dropped.low),
        ("dropped.volatile", stats.dropped.volatile),
        ("begun", stats.recovery.begun),
        ("resumed", stats.recovery.resumed),
        ("recovered", stats.recovery.recovered),
        ("fell_behind", stats.recovery.fell_behind),
        ("gaps", stats.recovery.gaps),
        ("accepted", stats.connections.accepted),
        ("denied", stats.connections.denied.values().sum()),
        ("requests", stats.requests.total),
    ];
    counts.extend(rest.map(|(name, value)| (name.to_owned(), value)));
    counts
}

/// How things are.
fn measured(app: &App, stats: &WebsocketStats) -> Named {
    let mut values = Named::new();
    by_priority(&mut values, "queued", stats.queued_bytes.by_priority);
    let latency = Latency::of_last_second(app.shard_stats().map(|shard| &shard.latency));
    let redis = stats.backplane.redis.as_ref();
    let echo = app.echo.as_ref().and_then(|echo| echo.took()).unwrap_or_default();
    let rest = [
        ("queued.control", stats.queued_bytes.control),
        ("connections.ws", stats.connections.ws as u64),
        ("connections.socketio", stats.connections.socketio as u64),
        ("connections.sse", stats.connections.sse as u64),
        ("connections.http", stats.connections.http as u64),
        ("sessions", stats.sessions),
        ("subscriptions", stats.subscriptions),
        ("latency.p50", latency.p50),
        ("latency.p90", latency.p90),
        ("latency.p99", latency.p99),
        ("latency.max", latency.max),
        ("latency.count", latency.count),
        ("backplane.echo", u64::try_from(echo.as_micros()).unwrap_or(u64::MAX)),
        ("backplane.waiting", redis.map_or(0, |redis| redis.waiting as u64)),
        ("backplane.trouble", u64::from(stats.backplane.trouble.is_some())),
    ];
    values.extend(rest.map(|(name, value)| (name.to_owned(), value)));
    values
}

fn by_priority(into: &mut Named, what: &str, counts: PriorityCounts) {
    let PriorityCounts { low, normal, high, critical, volatile } = counts;
    let named = [
        ("low", low),
        ("normal", normal),
        ("high", high),
        ("critical", critical),
        ("volatile", volatile),
    ];
    into.extend(named.map(|(priority, count)| (format!("{what}.{priority}"), count)));
}

impl Timeline {
    /// Another second has passed.
    pub(super) fn note(&self, app: &App) {
        let now = Instant::now();
        let at = (unix_micros() + 500_000) / 1_000_000;
        let stats = WebsocketStats::of(app);
        let counted = counted(app, &stats);
        let measured = measured(app, &stats);
        let totals: Vec<u64> = counted.iter().map(|(_, count)| *count).collect();
        let mut kept = self.0.lock();
        let before = kept.before.replace((now, totals));
        kept.latest = Some(Arc::new(stats));
        // What is told per second needs a moment before.
        let Some((then, before)) = before else { return };
        let seconds = now.duration_since(then).as_secs_f64();
        let rates = counted.iter().zip(before).map(|((_, count), before)| {
            let grown = count.saturating_sub(before) as f64;
            if seconds > 0.0 { (grown / seconds).round() as u64 } else { 0 }
        });
        let values = rates.chain(measured.iter().map(|(_, value)| *value)).collect();
        if kept.columns.is_empty() {
            kept.columns = counted.into_iter().chain(measured).map(|(name, _)| name).collect();
        }
        if kept.moments.len() == SECONDS {
            kept.moments.pop_front();
        }
        kept.moments.push_back(Moment { at, values });
    }

    /// How things were last.
    pub(super) fn latest(&self) -> Option<Arc<WebsocketStats>> {
        self.0.lock().latest.clone()
    }

    /// The last so many seconds.
    pub(super) fn last(&self, seconds: usize) -> History {
        let kept = self.0.lock();
        let from = kept.moments.len().saturating_sub(seconds);
        History {
            columns: kept.columns.clone(),
            moments: kept.moments.range(from..).cloned().collect(),
        }
    }
}

/// What was counted and how things were, second by second. Serialized as a map of columns: `at`, the
/// seconds since the Unix epoch, and for each value the list of what it was then, or one number if it
/// was the same all the time.
#[derive(Debug, Clone)]
pub struct History {
    columns: Vec<String>,
    moments: Vec<Moment>,
}

impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len() + 1))?;
        let at: Vec<u64> = self.moments.iter().map(|moment| moment.at).collect();
        map.serialize_entry("at", &at)?;
        for (index, column) in self.columns.iter().enumerate() {
            let values: Vec<u64> = self
                .moments
                .iter()
                .filter_map(|moment| moment.values.get(index).copied())
                .collect();
            match values.first() {
                Some(first) if values.iter().all(|value| value == first) => {
                    map.serialize_entry(column, first)?;
                }
                _ => map.serialize_entry(column, &values)?,
            }
        }
        map.end()
    }
}

impl InstanceStats {
    /// How it is, and how it was in the last so many seconds.
    pub(crate) fn of(app: &App, seconds: usize) -> Self {
        let latest = app.stats.timeline.latest();
        let stats = latest.map_or_else(|| WebsocketStats::of(app), Arc::unwrap_or_clone);
        let names: Vec<NameRate> = app.stats.offered.names.rates();
        Self {
            now_ms: unix_micros() / 1000,
            stats,
            names,
            marks: app.stats.marks(),
            history: app.stats.timeline.last(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_stay_the_same_are_one_number() {
        let moment = |at, values: [u64; 2]| Moment { at, values: values.into() };
        let history = History {
            columns: vec!["a".into(), "b".into()],
            moments: vec![moment(7, [1, 5]), moment(8, [2, 5])],
        };
        let json = serde_json::to_value(&history).unwrap();
        assert_eq!(json, serde_json::json!({"at": [7, 8], "a": [1, 2], "b": 5}));
    }
}
