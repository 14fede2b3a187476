//! What the types of settings cannot say: ranges, and settings that contradict each other.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri};
use ipnet::IpNet;
use tidings_core::Pattern;
use tidings_core::json::MAX_DEPTH;
use tidings_core::socketio::Namespace;

use super::{Config, ConfigError, KIB, without_password};

/// Clocks that are further off are broken.
const MAX_LEEWAY: Duration = Duration::from_secs(60 * 60);

type Checked = Result<(), ConfigError>;

fn invalid(key: &'static str, message: impl Into<String>) -> Checked {
    Err(ConfigError::Invalid { key, message: message.into() })
}

impl Config {
    /// Checks what the types cannot: ranges, and settings that contradict each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_auth()?;
        self.check_listen()?;
        self.check_tls()?;
        self.check_paths()?;
        self.check_engineio()?;
        self.check_cors()?;
        self.check_cookie()?;
        self.check_partitions()?;
        self.check_limits()?;
        self.check_front()?;
        self.check_redis()?;
        self.check_node_adapter()?;
        self.check_store()?;
        self.check_ranges()
    }

    fn check_auth(&self) -> Checked {
        if self.auth.secret.is_stars() {
            let message = "is what is shown instead of a secret: write the secret itself";
            return invalid("auth.secret", message);
        }
        if self.auth.leeway > MAX_LEEWAY {
            return invalid("auth.leeway", "must be at most 1 h");
        }
        Ok(())
    }

    fn check_listen(&self) -> Checked {
        if !self.auth.is_open() || self.insecure || self.listen.ip().is_loopback() {
            return Ok(());
        }
        let message = format!(
            "nothing authenticates clients, so {} would be open to everyone who reaches it; set \
             auth.secret_file, --auth-secret or --auth-jwks, listen on a loopback address such as \
             127.0.0.1:{}, or say --insecure (insecure = true) if a proxy or firewall guards it",
            self.listen,
            self.listen.port()
        );
        invalid("listen", message)
    }

    fn check_tls(&self) -> Checked {
        let missing = match (self.tls.certificate.is_empty(), self.tls.key.is_empty()) {
            (false, true) => ("tls.key", "the file with the private key of tls.certificate"),
            (true, false) => ("tls.certificate", "the file with the certificate of tls.key"),
            _ => return Ok(()),
        };
        invalid(missing.0, format!("is missing: TLS needs it too, {}", missing.1))
    }

    fn check_paths(&self) -> Checked {
        let paths = &self.paths;
        for (key, path) in
            [("paths.websocket", &paths.websocket), ("paths.socketio", &paths.socketio)]
        {
            let plain =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
            if !path.starts_with('/') || path.len() < 2 || !path.chars().all(plain) {
                return invalid(key, "must be a path such as \"/ws\", of letters, digits, /-_.~");
            }
            let is_in = |taken| {
                path.strip_prefix(taken)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if ["/api", "/admin"].into_iter().any(is_in) {
                return invalid(key, "must not begin with /api/ or /admin/, which are taken");
            }
            if path.contains("//") {
                return invalid(key, "must not have two slashes in a row");
            }
        }
        if paths.websocket.trim_end_matches('/') == paths.socketio.trim_end_matches('/') {
            return invalid("paths.websocket", "must differ from paths.socketio");
        }
        Ok(())
    }

    fn check_engineio(&self) -> Checked {
        let transports = &self.engineio.transports;
        if transports.is_empty() {
            return invalid("engineio.transports", "must name at least one transport");
        }
        let known = |name: &String| matches!(name.as_str(), "polling" | "websocket");
        match transports.iter().find(|name| !known(name)) {
            Some(name) => {
                let message = format!("{name:?} is none: write \"polling\" and \"websocket\"");
                invalid("engineio.transports", message)
            }
            None => Ok(()),
        }
    }

    fn check_cors(&self) -> Checked {
        let cors = &self.cors;
        check_origins("cors.origins", &cors.origins)?;
        let all = cors.origins.iter().any(|origin| origin == "*");
        if all && cors.credentials {
            let message = "browsers send credentials to named origins only: list them in \
                           cors.origins instead of \"*\"";
            return invalid("cors.credentials", message);
        }
        let names = [
            ("cors.methods", &cors.methods),
            ("cors.allowed_headers", &cors.allowed_headers),
            ("cors.exposed_headers", &cors.exposed_headers),
        ];
        for (key, list) in names {
            if let Some(name) = list.iter().find(|name| !is_token(name)) {
                return invalid(key, format!("{name:?} is no name of a method or header"));
            }
        }
        Ok(())
    }

    fn check_cookie(&self) -> Checked {
        let cookie = &self.cookie;
        if !cookie.name.is_empty() && !is_token(&cookie.name) {
            return invalid("cookie.name", "must be letters, digits and !#$%&'*+-.^_`|~");
        }
        for (key, value) in [("cookie.path", &cookie.path), ("cookie.domain", &cookie.domain)] {
            if HeaderValue::from_str(value).is_err() || value.contains([';', ' ', ',']) {
                return invalid(key, "must have no spaces, semicolons or commas");
            }
        }
        if !matches!(cookie.same_site.as_str(), "" | "lax" | "strict" | "none") {
            return invalid("cookie.same_site", "must be lax, strict, none or empty");
        }
        Ok(())
    }

    fn check_partitions(&self) -> Checked {
        if Namespace::new(&self.namespaces.tidings).is_none() {
            return invalid("namespaces.tidings", "must begin with a slash and have no comma");
        }
        if !(1..=16_384).contains(&self.partitions.count) {
            return invalid("partitions.count", "must be from 1 to 16384");
        }
        if self.partitions.depths.values().any(|depth| !(1..=16).contains(depth)) {
            return invalid("partitions.depths", "a depth must be from 1 to 16");
        }
        Ok(())
    }

    fn check_redis(&self) -> Checked {
        let redis = &self.redis;
        for url in redis.urls.iter() {
            if !url.starts_with("redis://") && !url.starts_with("rediss://") {
                let shown = without_password(url);
                let message =
                    format!("{shown:?} is none: write redis://HOST:PORT or rediss://HOST:PORT");
                return invalid("redis.urls", message);
            }
        }
        let plain = |c: char| c.is_ascii_graphic() && c != '{' && c != '}';
        if redis.prefix.is_empty() || !redis.prefix.chars().all(plain) {
            return invalid("redis.prefix", "must be letters, digits and signs other than braces");
        }
        if redis.replica_timeout >= redis.command_timeout {
            return invalid("redis.replica_timeout", "must be shorter than redis.command_timeout");
        }
        Ok(())
    }

    fn check_node_adapter(&self) -> Checked {
        let adapter = &self.node_adapter;
        if adapter.prefix.is_empty() {
            return invalid("node_adapter.prefix", "must not be empty; Node's is \"socket.io\"");
        }
        if adapter.max_message > adapter.max_waiting {
            let message = "must be at least node_adapter.max_message";
            return invalid("node_adapter.max_waiting", message);
        }
        Ok(())
    }

    fn check_store(&self) -> Checked {
        let store = &self.store;
        let url = store.database.reveal();
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        let is_one = match scheme {
            "sqlite" => !rest.trim_start_matches('/').is_empty(),
            "postgres" | "postgresql" => rest.starts_with("//"),
            _ => url.is_empty(),
        };
        if !is_one {
            let message = format!(
                "{:?} is no database: write sqlite:tidings.db (a file), sqlite::memory: or \
                 postgres://USER@HOST/DATABASE",
                store.database.to_string()
            );
            return invalid("store.database", message);
        }
        if url.contains(":***@") || url.contains("password=***") {
            let message = "has what is shown instead of a password: write the password itself, or \
                           leave it out and set PGPASSWORD or PGPASSFILE";
            return invalid("store.database", message);
        }
        if store.events && url.is_empty() {
            let message = "needs a database to keep them in: set store.database (--database) to \
                           sqlite:tidings.db or postgres://USER@HOST/DATABASE";
            return invalid("store.events", message);
        }
        if store.interval > store.heartbeat {
            return invalid("store.interval", "must be at most store.heartbeat");
        }
        for pattern in &store.keep {
            if let Err(error) = Pattern::new(pattern.as_str()) {
                return invalid("store.keep", format!("{pattern:?}: {error}"));
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Checked {
        if self.limits.max_frame < self.limits.max_payload {
            return invalid("limits.max_frame", "must be at least limits.max_payload");
        }
        if u32::try_from(self.limits.max_frame).is_err() {
            return invalid("limits.max_frame", "must be less than 4 GiB");
        }
        if self.limits.max_header < 8 * KIB {
            return invalid("limits.max_header", "must be at least 8 KiB");
        }
        if self.limits.max_depth > MAX_DEPTH {
            return invalid("limits.max_depth", "must be at most 128");
        }
        Ok(())
    }

    fn check_front(&self) -> Checked {
        for network in &self.proxies.trusted {
            if network_of(network).is_none() {
                let message = format!(
                    "{network:?} is no address: write one such as \"10.0.0.7\", or a network such \
                     as \"10.0.0.0/8\""
                );
                return invalid("proxies.trusted", message);
            }
        }
        if !self.proxies.header.is_empty() && !is_token(&self.proxies.header) {
            let message = "must be the name of a header, such as \"x-forwarded-for\"";
            return invalid("proxies.header", message);
        }
        check_origins("pages.origins", &self.pages.origins)
    }

    fn check_ranges(&self) -> Checked {
        let at_least_one = [
            ("shards", self.shards),
            ("node_adapter.max_message", self.node_adapter.max_message),
            ("node_adapter.max_answers", self.node_adapter.max_answers),
            ("node_adapter.max_requests", self.node_adapter.max_requests),
            ("retention.max_events", self.retention.max_events),
            ("retention.max_bytes", self.retention.max_bytes),
            ("producers.max", self.producers.max),
            ("queues.low", self.queues.low),
            ("queues.normal", self.queues.normal),
            ("queues.high", self.queues.high),
            ("queues.critical", self.queues.critical),
            ("queues.volatile", self.queues.volatile),
            ("queues.control", self.queues.control),
            ("queues.application", self.queues.application),
            ("queues.volatile_events", self.queues.volatile_events),
            ("limits.max_connections", self.limits.max_connections),
            ("limits.max_payload", self.limits.max_payload),
            ("limits.max_depth", self.limits.max_depth),
            ("limits.max_subscriptions", self.limits.max_subscriptions),
            ("limits.max_in_flight", self.limits.max_in_flight),
            ("limits.max_requests", self.limits.max_requests),
            ("limits.max_batch", self.limits.max_batch),
            ("limits.publish_rate", self.limits.publish_rate as usize),
            ("limits.publish_burst", self.limits.publish_burst as usize),
            ("limits.wrong_tokens_rate", self.limits.wrong_tokens_rate as usize),
            ("limits.wrong_tokens_burst", self.limits.wrong_tokens_burst as usize),
            ("limits.max_looked_at", self.limits.max_looked_at),
            ("limits.history_rate", self.limits.history_rate as usize),
            ("limits.history_burst", self.limits.history_burst as usize),
            (
                "limits.connection_burst_per_address",
                self.limits.connection_burst_per_address as usize,
            ),
            ("limits.connections_per_subject", self.limits.connections_per_subject),
            ("limits.subscriptions_per_subject", self.limits.subscriptions_per_subject),
            ("limits.requests_per_subject", self.limits.requests_per_subject),
            ("limits.publish_rate_per_subject", self.limits.publish_rate_per_subject as usize),
            ("limits.publish_burst_per_subject", self.limits.publish_burst_per_subject as usize),
            ("schemas.max_bytes", self.schemas.max_bytes),
            ("polling.max_response", self.polling.max_response),
            ("namespaces.max_pending_events", self.namespaces.max_pending_events),
            ("recovery.max_packets", self.recovery.max_packets),
            ("recovery.max_bytes", self.recovery.max_bytes),
            ("recovery.max_sessions", self.recovery.max_sessions),
            ("recovery.max_sent", self.recovery.max_sent),
            ("socket.backlog", self.socket.backlog as usize),
            ("redis.buffer", self.redis.buffer),
            ("store.max_bytes", self.store.max_bytes),
            ("store.queue", self.store.queue),
            ("store.session_queue", self.store.session_queue),
            ("store.connections", self.store.connections),
            ("store.max_looked_at", self.store.max_looked_at),
        ];
        if let Some((key, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return invalid(key, "must be at least 1");
        }
        let more_than_zero: [(&'static str, Duration); 31] = [
            ("schemas.compare", self.schemas.compare),
            ("schemas.removals_kept", self.schemas.removals_kept),
            ("auth.revocations_kept", self.auth.revocations_kept),
            ("auth.revocation_check", self.auth.revocation_check),
            ("auth.reload", self.auth.reload),
            ("auth.jwks_refresh", self.auth.jwks_refresh),
            ("auth.jwks_timeout", self.auth.jwks_timeout),
            ("tls.reload", self.tls.reload),
            ("tls.handshake", self.tls.handshake),
            ("retention.max_age", self.retention.max_age),
            ("producers.ttl", self.producers.ttl),
            ("heartbeat.ping_interval", self.heartbeat.ping_interval),
            ("heartbeat.ping_timeout", self.heartbeat.ping_timeout),
            ("timeouts.hello", self.timeouts.hello),
            ("timeouts.header_read", self.timeouts.header_read),
            ("timeouts.body_read", self.timeouts.body_read),
            ("timeouts.upgrade", self.timeouts.upgrade),
            ("timeouts.request", self.timeouts.request),
            ("redis.connect_timeout", self.redis.connect_timeout),
            ("redis.publish_timeout", self.redis.publish_timeout),
            ("redis.replica_timeout", self.redis.replica_timeout),
            ("redis.check_interval", self.redis.check_interval),
            ("redis.heartbeat", self.redis.heartbeat),
            ("node_adapter.request_timeout", self.node_adapter.request_timeout),
            ("store.max_age", self.store.max_age),
            ("store.sessions_max_age", self.store.sessions_max_age),
            ("store.sweep_interval", self.store.sweep_interval),
            ("store.interval", self.store.interval),
            ("store.timeout", self.store.timeout),
            ("store.retry", self.store.retry),
            ("store.heartbeat", self.store.heartbeat),
        ];
        if let Some((key, _)) = more_than_zero.iter().find(|(_, value)| value.is_zero()) {
            return invalid(key, "must be longer than zero");
        }
        Ok(())
    }
}

/// Whether this is what browsers send as `Origin`: scheme, host and perhaps a port. `null` is
/// what sandboxed pages and files send.
fn check_origins(key: &'static str, origins: &[String]) -> Checked {
    if let Some(origin) = origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
        let message = format!(
            "{origin:?} is no origin: write scheme, host and port, as in \"https://example.com\" or \
             \"http://localhost:3000\", or \"*\" for all"
        );
        return invalid(key, message);
    }
    if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
        return invalid(key, "\"*\" means all origins: write it alone");
    }
    Ok(())
}

/// The network that this names: an address is one of its own.
pub(crate) fn network_of(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn is_origin(text: &str) -> bool {
    let plain = |uri: &Uri| {
        uri.scheme().is_some()
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
            && !text.ends_with('/')
            && uri.path() == "/"
    };
    text == "null" || text.parse::<Uri>().is_ok_and(|uri| plain(&uri))
}

fn is_token(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tidings_core::link::ServerLinkConfig;

    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        Config::default().with(change).validate().expect_err("must be refused").to_string()
    }

    #[test]
    fn defaults_are_valid_and_listen_on_loopback() {
        let config = Config::default();
        config.validate().expect("defaults are valid");
        assert!(config.listen.ip().is_loopback());
    }

    #[test]
    fn an_open_address_needs_to_be_asked_for() {
        let open: SocketAddr = "0.0.0.0:9000".parse().expect("an address");
        assert!(refused(|c| c.listen = open).contains("--insecure"));
        Config::default()
            .listen(open)
            .with(|c| c.insecure = true)
            .validate()
            .expect("it was asked for");
    }

    #[test]
    fn values_out_of_range_are_named() {
        assert!(refused(|c| c.partitions.count = 0).starts_with("partitions.count:"));
        assert!(refused(|c| c.shards = 0).starts_with("shards:"));
        assert!(refused(|c| c.limits.max_frame = 10).starts_with("limits.max_frame:"));
        assert!(refused(|c| c.paths.websocket = "ws".into()).starts_with("paths.websocket:"));
        assert!(refused(|c| c.paths.websocket = "/{x}".into()).starts_with("paths.websocket:"));
        assert!(refused(|c| c.paths.websocket = "/api/x".into()).starts_with("paths.websocket:"));
        assert!(refused(|c| c.paths.socketio = "/a//b".into()).starts_with("paths.socketio:"));
        assert!(refused(|c| c.paths.websocket = "/socket.io".into()).contains("differ"));
        assert!(refused(|c| c.timeouts.hello = Duration::ZERO).starts_with("timeouts.hello:"));
        assert!(refused(|c| c.redis.prefix = "{x}".into()).starts_with("redis.prefix:"));
        assert!(refused(|c| c.tls.certificate = "a.pem".into()).starts_with("tls.key: is missing"));
        assert!(refused(|c| c.tls.key = "a.pem".into()).starts_with("tls.certificate: is missing"));
        assert!(refused(|c| c.redis.urls = "http://a".into()).starts_with("redis.urls:"));
        assert!(
            refused(|c| c.redis.replica_timeout = Duration::from_secs(9))
                .starts_with("redis.replica_timeout:")
        );
        assert!(
            refused(|c| *c.partitions.depths.entry("a".into()).or_default() = 0)
                .starts_with("partitions.depths:")
        );
    }

    #[test]
    fn origins_are_what_browsers_send() {
        let with = |origins: &[&str]| {
            let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
            Config::default().with(|c| c.cors.origins = origins)
        };
        let good = ["https://example.com", "http://localhost:3000", "http://[::1]:80", "null"];
        with(&good).validate().expect("origins");
        with(&["*"]).validate().expect("all");
        for wrong in ["", "example.com", "https://example.com/", "https://a/b", "https://u@a", "/"]
        {
            let error = with(&[wrong]).validate().expect_err(wrong).to_string();
            assert!(error.starts_with("cors.origins:"), "{error}");
        }
        with(&["*", "https://a"]).validate().expect_err("all and one more");
        let open = with(&["*"]).with(|c| c.cors.credentials = true);
        assert!(open.validate().expect_err("a trap").to_string().starts_with("cors.credentials:"));
        assert!(refused(|c| c.cors.methods = vec!["GE T".into()]).starts_with("cors.methods:"));
    }

    #[test]
    fn transports_and_cookies_are_checked() {
        assert!(refused(|c| c.engineio.transports.clear()).starts_with("engineio.transports:"));
        let unknown = refused(|c| c.engineio.transports = vec!["webtransport".into()]);
        assert!(unknown.contains("webtransport"), "{unknown}");
        assert!(refused(|c| c.cookie.name = "a b".into()).starts_with("cookie.name:"));
        assert!(refused(|c| c.cookie.path = "/;x".into()).starts_with("cookie.path:"));
        assert!(refused(|c| c.cookie.same_site = "Lax".into()).starts_with("cookie.same_site:"));
    }

    #[test]
    fn links_are_configured_as_they_are_by_themselves() {
        let mut expected = ServerLinkConfig::default();
        expected.socketio.application = true;
        assert_eq!(Config::default().link(), expected);
    }

    #[test]
    fn depths_reach_the_partitioning() {
        let partitioning = Config::default().partition_depth("rooms", 2).partitioning();
        assert_eq!(partitioning.of_pattern("rooms.*"), None);
    }
}
