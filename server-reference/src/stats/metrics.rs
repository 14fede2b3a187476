//! What the server counts, for Prometheus: the text of `GET /metrics`.
//!
//! docs/operating.md says of each metric what it means; a test compares both.

use std::fmt::Write;

use tidings_core::Priority;

use super::latency::{BUCKETS, Cumulative};
use super::snapshot::{EventsStats, PriorityCounts, WebsocketStats};
use crate::app::App;
use crate::backplane::RedisStatus;

/// The media type of the text (Prometheus exposition format, version 0.0.4).
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as they are now.
pub(crate) fn metrics(app: &App) -> String {
    let (websocket, events) = (WebsocketStats::of(app), EventsStats::of(app));
    let mut text = Exposition::default();
    of_server(&mut text, &websocket);
    of_events(&mut text, &events, app.stats.received_bytes.get());
    let differ = app.event_schemas.that_differ().len();
    text.gauge("tidings_schemas_differ", "Other instances that declare other schemas.")
        .value(differ as f64);
    of_delivery(&mut text, app, &websocket);
    of_connections(&mut text, &websocket);
    let ends = app.tls.as_ref().and_then(|tls| tls.ends()).map(|ends| ends as f64);
    text.gauge(
        "tidings_tls_certificate_not_after_seconds",
        "When the certificate of this server ends, in seconds since the Unix epoch.",
    )
    .maybe(ends);
    of_backplane(&mut text, &websocket, &events);
    text.0
}

fn of_server(text: &mut Exposition, stats: &WebsocketStats) {
    let labels = [("name", stats.instance.as_str()), ("version", stats.version)];
    text.gauge("tidings_info", "Which server this is; always 1.").labelled(&labels, 1.0);
    text.gauge("tidings_uptime_seconds", "Since the start.").value(stats.uptime_s as f64);
    text.gauge("tidings_sessions", "Sessions that are connected.").value(stats.sessions as f64);
    text.gauge("tidings_subscriptions", "Subscriptions of those.")
        .value(stats.subscriptions as f64);
    let requests = stats.requests;
    text.counter("tidings_requests_total", "Requests of clients.").value(requests.total as f64);
    text.counter("tidings_requests_refused_total", "Those that were answered by an error.")
        .value(requests.refused as f64);
}

fn of_events(text: &mut Exposition, stats: &EventsStats, received_bytes: u64) {
    text.counter("tidings_published_total", "Events that clients published.")
        .by("priority", counts(&stats.published.by_priority));
    text.counter("tidings_publish_refused_total", "Publishes of clients that were refused.")
        .value(stats.published.refused as f64);
    text.counter("tidings_events_invalid_total", "Events that were not what their schemas say.")
        .value(stats.published.invalid as f64);
    text.counter("tidings_delivered_total", "Events handed to clients, one for each client.")
        .by("priority", counts(&stats.delivered.by_priority));
    text.counter("tidings_written_bytes_total", "Bytes written to clients.")
        .value(stats.delivered.bytes as f64);
    text.counter("tidings_received_bytes_total", "Bytes that came from clients over WebSockets.")
        .value(received_bytes as f64);
    let dropped = [("queue_low", stats.dropped.low), ("queue_volatile", stats.dropped.volatile)];
    text.counter("tidings_dropped_total", "Events that a full queue cost.").by("reason", dropped);
    let bus = stats.bus;
    text.counter("tidings_bus_emitted_total", "Events on the services' bus.")
        .value(bus.emitted as f64);
    text.counter("tidings_bus_panics_total", "Calls of listeners that panicked.")
        .value(bus.panicked as f64);
    text.gauge("tidings_bus_waiting", "Posted events that wait for the services' listeners.")
        .value(bus.posted as f64);
}

fn of_delivery(text: &mut Exposition, app: &App, stats: &WebsocketStats) {
    let queued = stats.queued_bytes;
    let control = [("control", queued.control)];
    text.gauge("tidings_queued_bytes", "Bytes that wait for clients.")
        .by("queue", counts(&queued.by_priority).into_iter().chain(control));
    let latency = app.shard_stats().fold(Cumulative::default(), |mut sum, shard| {
        sum += shard.latency.cumulative();
        sum
    });
    text.histogram(
        "tidings_delivery_seconds",
        "From an event's append to its write to sockets, of those that were handed out live.",
        &latency,
    );
    let recovery = stats.recovery;
    text.counter("tidings_sessions_begun_total", "Sessions that began.")
        .value(recovery.begun as f64);
    text.counter("tidings_sessions_resumed_total", "Times that a session went on.")
        .value(recovery.resumed as f64);
    text.counter("tidings_recovered_total", "Events read from the log for one session.")
        .value(recovery.recovered as f64);
    text.counter("tidings_fell_behind_total", "Times a lane of a session fell back to the log.")
        .value(recovery.fell_behind as f64);
    text.counter("tidings_gaps_total", "Gaps that clients were told of.")
        .value(recovery.gaps as f64);
    let each = || stats.shards.iter().enumerate();
    let shards = each().map(|(number, shard)| (number.to_string(), shard.sessions));
    text.gauge("tidings_shard_sessions", "Sessions of each shard.").by("shard", shards);
    let shards = each().map(|(number, shard)| (number.to_string(), shard.delivered.total));
    text.counter("tidings_shard_delivered_total", "Events handed out by each shard.")
        .by("shard", shards);
    let lags = app.shards.iter().enumerate();
    let lags =
        lags.map(|(number, shard)| (number.to_string(), shard.lag(&*app.backplane).as_secs_f64()));
    text.gauge("tidings_shard_lag_seconds", "How old the oldest event is that was not handed out.")
        .by("shard", lags);
}

fn of_connections(text: &mut Exposition, stats: &WebsocketStats) {
    let connections = &stats.connections;
    let open = [
        ("ws", connections.ws),
        ("socketio", connections.socketio),
        ("sse", connections.sse),
        ("http", connections.http),
    ];
    text.gauge("tidings_connections", "Open connections.")
        .by("transport", open.map(|(transport, open)| (transport, open as u64)));
    text.gauge("tidings_connections_max", "How many there may be.").value(connections.max as f64);
    text.counter("tidings_connections_accepted_total", "Connections let in.")
        .value(connections.accepted as f64);
    let refused = [
        ("all", connections.refused),
        ("address", connections.refused_by_address),
        ("rate", connections.refused_by_rate),
    ];
    text.counter("tidings_connections_refused_total", "Those turned away: there were too many.")
        .by("reason", refused);
    let failed = connections.failed_handshakes.iter().map(|(why, n)| (*why, *n));
    text.counter("tidings_handshakes_failed_total", "Connections of which nothing became.")
        .by("reason", failed);
    let closed = connections.closed.iter().map(|(code, n)| (code.to_string(), *n));
    text.counter("tidings_connections_closed_total", "Those closed for what the client did.")
        .by("code", closed);
    let denied = connections.denied.iter().map(|(reason, n)| (*reason, *n));
    text.counter("tidings_denied_total", "Clients and requests not let in: their tokens.")
        .by("reason", denied);
}

fn of_backplane(text: &mut Exposition, stats: &WebsocketStats, events: &EventsStats) {
    let of_priority = |priority: Priority| {
        let lanes = events.lanes.iter().filter(|lane| lane.priority == priority.as_str());
        lanes.fold((0, 0), |(n, bytes), lane| (n + lane.events, bytes + lane.bytes))
    };
    let log = Priority::URGENT_FIRST.map(|priority| (priority.as_str(), of_priority(priority)));
    text.gauge("tidings_log_events", "Events of the log that are in memory.")
        .by("priority", log.map(|(priority, (n, _))| (priority, n as u64)));
    text.gauge("tidings_log_bytes", "Bytes of those.")
        .by("priority", log.map(|(priority, (_, bytes))| (priority, bytes as u64)));
    let backplane = &stats.backplane;
    text.gauge("tidings_backplane_ready", "1: the log has been reached since the start.")
        .value(f64::from(u8::from(backplane.ready)));
    let trouble = backplane.trouble.as_ref().map_or(0, |trouble| trouble.for_ms);
    text.gauge(
        "tidings_backplane_trouble_seconds",
        "For how long the log does not work; 0: it does.",
    )
    .value(trouble as f64 / 1e3);
    let redis = backplane.redis.as_ref();
    let of_redis = |of: fn(&RedisStatus) -> u64| redis.map(of).map(|value| value as f64);
    text.gauge("tidings_backplane_waiting", "Publishes that wait for Redis.")
        .maybe(of_redis(|redis| redis.waiting as u64));
    text.gauge("tidings_backplane_waiting_bytes", "Bytes of those.")
        .maybe(of_redis(|redis| redis.waiting_bytes as u64));
    text.gauge("tidings_backplane_partitions", "Partitions that are read here.")
        .maybe(of_redis(|redis| redis.partitions_read as u64));
    text.gauge("tidings_backplane_instances", "Instances that are alive.")
        .maybe(of_redis(|redis| redis.instances.len() as u64));
    text.counter("tidings_backplane_appended_total", "Events appended to Redis.")
        .maybe(of_redis(|redis| redis.appended));
    text.counter("tidings_backplane_append_calls_total", "Calls that appended them.")
        .maybe(of_redis(|redis| redis.append_calls));
    text.counter("tidings_backplane_refused_total", "Publishes refused: Redis was away.")
        .maybe(of_redis(|redis| redis.refused));
    text.counter("tidings_backplane_notified_total", "Events that came by notification.")
        .maybe(of_redis(|redis| redis.notified));
    text.counter("tidings_backplane_reads_total", "Reads of the log in Redis.")
        .maybe(of_redis(|redis| redis.reads));
    text.counter("tidings_backplane_put_back_total", "Events put back after a failover.")
        .maybe(of_redis(|redis| redis.put_back));
    text.counter("tidings_backplane_missed_total", "Lanes that lacked what another master took.")
        .maybe(of_redis(|redis| redis.missed));
    let members = &stats.members;
    let messages = [("told", members.told), ("heard", members.heard), ("lost", members.lost)];
    text.counter("tidings_member_messages_total", "What applications of Socket.IO tell others.")
        .by("what", messages);
}

fn counts(counts: &PriorityCounts) -> [(&'static str, u64); Priority::COUNT + 1] {
    let PriorityCounts { low, normal, high, critical, volatile } = *counts;
    [
        ("low", low),
        ("normal", normal),
        ("high", high),
        ("critical", critical),
        ("volatile", volatile),
    ]
}

/// The text, so far.
#[derive(Default)]
struct Exposition(String);

/// A metric whose samples follow.
struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    fn family(&mut self, kind: &str, name: &'static str, help: &str) -> Family<'_> {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text: &mut self.0, name }
    }

    fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family("gauge", name, help)
    }

    fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family("counter", name, help)
    }

    fn histogram(&mut self, name: &'static str, help: &str, latencies: &Cumulative) {
        let family = self.family("histogram", name, help);
        let mut sum = 0;
        for (bound, count) in BUCKETS.iter().zip(latencies.counts) {
            sum += count;
            let bound = *bound as f64 / 1e6;
            let _ = writeln!(family.text, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let (count, seconds) = (latencies.count(), latencies.sum as f64 / 1e6);
        let _ = write!(
            family.text,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {seconds}\n{name}_count {count}\n"
        );
    }
}

impl Family<'_> {
    fn value(self, value: f64) {
        self.labelled(&[], value);
    }

    fn maybe(self, value: Option<f64>) {
        value.into_iter().for_each(|value| write_sample(self.text, self.name, &[], value));
    }

    /// One sample for each value of a label.
    fn by<L: AsRef<str>, N: Number>(self, label: &str, samples: impl IntoIterator<Item = (L, N)>) {
        for (value, number) in samples {
            write_sample(self.text, self.name, &[(label, value.as_ref())], number.as_f64());
        }
    }

    fn labelled(self, labels: &[(&str, &str)], value: f64) {
        write_sample(self.text, self.name, labels, value);
    }
}

/// What a sample can be.
trait Number {
    fn as_f64(&self) -> f64;
}

impl Number for u64 {
    fn as_f64(&self) -> f64 {
        *self as f64
    }
}

impl Number for f64 {
    fn as_f64(&self) -> f64 {
        *self
    }
}

fn write_sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    text.push_str(name);
    for (index, (label, value)) in labels.iter().enumerate() {
        let separator = if index == 0 { '{' } else { ',' };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{separator}{label}=\"{value}\"");
    }
    let end = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(text, "{end} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut text = Exposition::default();
        text.gauge("a", "Of things.").labelled(&[("b", "x\"y\\\n"), ("c", "")], 1.5);
        text.counter("d", "More.").by("e", [("f", 2_u64)]);
        text.gauge("g", "None.").maybe(None);
        let expected = "# HELP a Of things.\n# TYPE a gauge\na{b=\"x\\\"y\\\\\\n\",c=\"\"} 1.5\n\
                        # HELP d More.\n# TYPE d counter\nd{e=\"f\"} 2\n\
                        # HELP g None.\n# TYPE g gauge\n";
        assert_eq!(text.0, expected);
    }

    #[test]
    fn buckets_count_all_that_is_not_longer() {
        let mut latencies = Cumulative::default();
        [50, 100, 101, 20_000_000].into_iter().for_each(|micros| latencies.record(micros));
        let mut text = Exposition::default();
        text.histogram("l", "Latencies.", &latencies);
        let lines: Vec<_> = text.0.lines().skip(2).collect();
        assert_eq!(lines[..2], ["l_bucket{le=\"0.0001\"} 2", "l_bucket{le=\"0.00025\"} 3"]);
        let last = &lines[lines.len() - 3..];
        assert_eq!(last, ["l_bucket{le=\"+Inf\"} 4", "l_sum 20.000251", "l_count 4"]);
    }
}
