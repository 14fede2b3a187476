//! What the backplane has to know.

use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use redis::{RedisConnectionInfo, TlsCertificates};
use tidings_core::Partitioning;
use tidings_core::log::shared::Settings;

use crate::config::{Config, ConfigError};
use crate::ids::random_id;

/// How the backplane works; see the settings of the same names.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// This instance's name.
    pub(super) instance: String,
    /// Tells its volatile events from those of others, whatever they are called.
    pub(super) tag: String,
    pub(super) prefix: String,
    pub(super) partitioning: Partitioning,
    /// How partitions work.
    pub(super) settings: Arc<Settings>,
    pub(super) connect_timeout: Duration,
    pub(super) command_timeout: Duration,
    pub(super) replica_timeout: Duration,
    pub(super) buffer: usize,
    pub(super) heartbeat: Duration,
}

impl Options {
    pub(super) fn new(config: &Config) -> Self {
        let redis = &config.redis;
        Self {
            instance: config.instance.clone(),
            tag: random_id(),
            prefix: redis.prefix.clone(),
            partitioning: config.partitioning(),
            settings: Arc::new(Settings {
                retention: config.log_retention(),
                publish_timeout: redis.publish_timeout,
                check_interval: redis.check_interval,
                linger: redis.linger,
                settle: redis.settle,
            }),
            connect_timeout: redis.connect_timeout,
            command_timeout: redis.command_timeout,
            replica_timeout: redis.replica_timeout,
            buffer: redis.buffer,
            heartbeat: redis.heartbeat,
        }
    }
}

/// The clients of the seeds: one for each URL.
///
/// # Errors
/// Names the URL (without its password) or file that is no good.
pub(super) fn seeds(config: &Config) -> Result<Vec<Client>, ConfigError> {
    let redis = &config.redis;
    let invalid = |key, message: String| ConfigError::Invalid { key, message };
    let password = match redis.password_file.as_str() {
        "" => None,
        path => Some(read(path).map_err(|message| invalid("redis.password_file", message))?),
    };
    let authority = match redis.ca_file.as_str() {
        "" => None,
        path => Some(read(path).map_err(|message| invalid("redis.ca_file", message))?),
    };
    let mut seeds = Vec::new();
    for url in redis.urls.iter() {
        let wrong = |what: &str| {
            let shown = crate::config::without_password(url);
            invalid(
                "redis.urls",
                format!("{shown} {what}: write redis://HOST:PORT or rediss://HOST:PORT"),
            )
        };
        let info = url.into_connection_info().map_err(|_| wrong("is no Redis URL"))?;
        if !matches!(info.addr(), ConnectionAddr::Tcp(..) | ConnectionAddr::TcpTls { .. }) {
            return Err(wrong("is no network address"));
        }
        let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if !redis.username.is_empty() {
            settings = settings.set_username(&redis.username);
        }
        if let Some(password) = &password {
            settings = settings.set_password(password.trim_end());
        }
        seeds.push(client(info.set_redis_settings(settings), authority.as_deref()).map_err(
            |error| {
                invalid("redis.urls", format!("{}: {error}", crate::config::without_password(url)))
            },
        )?);
    }
    if seeds.is_empty() {
        return Err(invalid("redis.urls", "must name at least one Redis".to_owned()));
    }
    Ok(seeds)
}

fn client(info: ConnectionInfo, authority: Option<&str>) -> redis::RedisResult<Client> {
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Client::open(info);
    }
    // Fails when the process has chosen one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root_cert = authority.map(|pem| pem.as_bytes().to_vec());
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

/// The client of another node of the same cluster: reached like the seed.
pub(super) fn sibling(seed: &Client, host: &str, port: u16) -> redis::RedisResult<Client> {
    let info = seed.get_connection_info();
    let addr = match info.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    Client::open(info.clone().set_addr(addr).set_redis_settings(settings(info)))
}

fn settings(info: &ConnectionInfo) -> RedisConnectionInfo {
    info.redis_settings().clone()
}
