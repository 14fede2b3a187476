//! Looks at a run a few times a second: the timeline, and the sums.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tidings_core::Priority;
use tokio::sync::Mutex;

use super::fleet::Fleet;
use crate::latency::Latencies;
use crate::machine::Reading;
use crate::process::Usage;
use crate::report::{Machine, Point};
use crate::score::{Class, Counters, Score};

/// How often a point is added to the timeline of a run of up to [`FINE_POINTS`] of them.
const INTERVAL: Duration = Duration::from_millis(250);

/// Longer runs keep every second point, then every fourth, and so on.
const FINE_POINTS: usize = 480;

/// Everything measured so far, summed up.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) deliveries: BTreeMap<Class, Latencies>,
    pub(super) emissions: [Latencies; Priority::COUNT],
    pub(super) timeline: Vec<Point>,
    /// What the machine did in the window, where the system tells.
    pub(super) machine: Option<Machine>,
}

/// Adds up what is measured, interval by interval.
pub(super) struct Sampler {
    score: Arc<Score>,
    fleet: Arc<Mutex<Fleet>>,
    start_us: u64,
    /// In which the machine is watched, on the run's clock.
    window_us: RangeInclusive<u64>,
    /// The first and the last look at the machine in the window.
    machine: Option<(Seen, Seen)>,
    interval: Duration,
    sums: Sums,
    before: Before,
    /// What was measured since the last point.
    open: (Latencies, Latencies),
}

/// The machine at one moment.
#[derive(Clone, Copy)]
struct Seen {
    reading: Reading,
    /// CPU time of all processes of the run; `None` if there are some it has not started.
    own_cpu_seconds: Option<f64>,
}

#[derive(Default)]
struct Before {
    at_us: u64,
    published: u64,
    delivered: u64,
    server_cpu: f64,
    redis_cpu: f64,
    harness_cpu: f64,
    server_rss: u64,
}

impl Sampler {
    /// A sampler for a schedule that starts at `start_us`; latencies count in `window_us`.
    pub(super) fn new(
        score: Arc<Score>,
        fleet: Arc<Mutex<Fleet>>,
        start_us: u64,
        window_us: RangeInclusive<u64>,
    ) -> Self {
        Self {
            score,
            fleet,
            start_us,
            window_us,
            machine: None,
            interval: INTERVAL,
            sums: Sums::default(),
            before: Before { at_us: start_us, ..Before::default() },
            open: Default::default(),
        }
    }

    /// How long until it should look again.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Looks; returns the newest point.
    pub(super) async fn look(&mut self) -> Point {
        for (class, latencies) in self.score.take_deliveries() {
            self.open.0.add(&latencies);
            self.sums.deliveries.entry(class).or_default().add(&latencies);
        }
        for (sum, recorder) in self.sums.emissions.iter_mut().zip(&self.score.emission) {
            let latencies = recorder.take();
            if latencies.count() > 0 {
                self.open.1.add(&latencies);
                sum.add(&latencies);
            }
        }
        // A server that is being started or stopped keeps the fleet busy: its last figures stand.
        let mut all_own = false;
        let mut redis_cpu = self.before.redis_cpu;
        let servers = self.fleet.try_lock().ok().map(|mut fleet| {
            all_own = fleet.owned().count() == fleet.len();
            redis_cpu = fleet.redis_cpu_seconds();
            fleet.usage()
        });
        let harness = Usage::of(std::process::id()).unwrap_or_default();
        let c = &self.score.counters;
        let now = Before {
            at_us: self.score.clock.now_us(),
            published: Counters::get(&c.published),
            delivered: Counters::get(&c.delivered),
            server_cpu: servers.as_ref().map_or(self.before.server_cpu, |all| {
                all.iter().map(|(_, usage)| usage.cpu_seconds).sum()
            }),
            redis_cpu,
            harness_cpu: harness.cpu_seconds,
            server_rss: servers.map_or(self.before.server_rss, |all| {
                all.iter().map(|(_, usage)| usage.rss_bytes).sum()
            }),
        };
        if self.window_us.contains(&now.at_us)
            && let Some(reading) = Reading::now()
        {
            let own_cpu_seconds =
                all_own.then_some(now.server_cpu + now.redis_cpu + now.harness_cpu);
            let seen = Seen { reading, own_cpu_seconds };
            self.machine = Some((self.machine.map_or(seen, |(first, _)| first), seen));
        }
        let seconds = now.at_us.saturating_sub(self.before.at_us).max(1) as f64 / 1e6;
        let (delivery, emission) = std::mem::take(&mut self.open);
        let cpu = |now: f64, before: f64| {
            if before > 0.0 { ((now - before) / seconds).max(0.0) } else { 0.0 }
        };
        let point = Point {
            at_ms: now.at_us.saturating_sub(self.start_us) / 1000,
            connected: Counters::get(&c.connected),
            published: now.published - self.before.published,
            delivered: now.delivered - self.before.delivered,
            outstanding: Counters::get(&c.expected).saturating_sub(now.delivered),
            p50_us: delivery.quantile_us(0.5),
            p99_us: delivery.quantile_us(0.99),
            max_us: delivery.quantile_us(1.0),
            emission_p99_us: emission.quantile_us(0.99),
            server_cpu: cpu(now.server_cpu, self.before.server_cpu),
            redis_cpu: cpu(now.redis_cpu, self.before.redis_cpu),
            harness_cpu: cpu(now.harness_cpu, self.before.harness_cpu),
            server_rss_bytes: now.server_rss,
        };
        self.before = now;
        self.sums.timeline.push(point);
        if self.sums.timeline.len() > FINE_POINTS {
            self.sums.timeline = thinned(&self.sums.timeline);
            self.interval *= 2;
        }
        point
    }

    /// The sums at the end.
    pub(super) fn finish(self) -> Sums {
        let machine = self.machine.map(|(first, last)| {
            let own = first.own_cpu_seconds.zip(last.own_cpu_seconds).map(|(a, b)| b - a);
            first.reading.until(&last.reading, own)
        });
        Sums { machine, ..self.sums }
    }
}

/// Half as many points, each standing for two.
fn thinned(points: &[Point]) -> Vec<Point> {
    points
        .chunks(2)
        .filter_map(|pair| {
            let (first, last) = (pair.first()?, pair.last()?);
            let mut both = *last;
            if pair.len() == 2 {
                both.published += first.published;
                both.delivered += first.delivered;
                both.p50_us = both.p50_us.max(first.p50_us);
                both.p99_us = both.p99_us.max(first.p99_us);
                both.max_us = both.max_us.max(first.max_us);
                both.emission_p99_us = both.emission_p99_us.max(first.emission_p99_us);
                both.server_cpu = (both.server_cpu + first.server_cpu) / 2.0;
                both.redis_cpu = (both.redis_cpu + first.redis_cpu) / 2.0;
                both.harness_cpu = (both.harness_cpu + first.harness_cpu) / 2.0;
            }
            Some(both)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_counts_and_its_worst() {
        let points: Vec<_> = (0..5)
            .map(|n| Point { at_ms: n, delivered: 10, max_us: n, ..Point::default() })
            .collect();
        let half = thinned(&points);
        assert_eq!(half.iter().map(|p| p.delivered).collect::<Vec<_>>(), [20, 20, 10]);
        assert_eq!(
            half.iter().map(|p| (p.at_ms, p.max_us)).collect::<Vec<_>>(),
            [(1, 1), (3, 3), (4, 4)]
        );
    }
}
