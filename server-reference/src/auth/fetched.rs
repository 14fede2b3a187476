//! A key set that is fetched from whoever issues the tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::keys::KeysError;
use crate::config::{Auth, ConfigError};

const SETTING: &str = "auth.jwks";

/// Where it is, and what it was last.
pub(super) struct Fetched {
    url: String,
    agent: Agent,
    max_bytes: u64,
    refresh: Duration,
    last: Mutex<Option<Last>>,
    wished: AtomicBool,
}

struct Last {
    tried: Instant,
    text: String,
}

impl Fetched {
    /// From the URL of the configuration.
    ///
    /// # Errors
    /// If whoever is on the way could change what comes, or certificates cannot be read.
    pub(super) fn new(config: &Auth) -> Result<Self, ConfigError> {
        let url = config.jwks.clone();
        if !url.starts_with("https://") && !is_loopback(&url) {
            return Err(invalid(
                SETTING,
                "http:// is for this machine alone: whoever is on the way could send keys of his \
                 own; use https://, or a file",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(roots(config)?)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(config.jwks_timeout))
            // Where keys come from is what the configuration says, and nothing else.
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("tidings-server/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let max_bytes = config.jwks_max_bytes as u64;
        let (last, wished) = (Mutex::new(None), AtomicBool::new(false));
        Ok(Self { url, agent, max_bytes, refresh: config.jwks_refresh, last, wished })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Somebody has a token of a key that is not in it: it is fetched again at the next look.
    pub(super) fn wish(&self) {
        self.wished.store(true, Ordering::Relaxed);
    }

    /// What it is now, or was when it could be had last.
    ///
    /// # Errors
    /// If it could never be had.
    pub(super) fn text(&self) -> Result<String, KeysError> {
        let mut last = self.last.lock();
        let wished = self.wished.swap(false, Ordering::Relaxed);
        if let Some(last) = &*last
            && !wished
            && last.tried.elapsed() < self.refresh
        {
            return Ok(last.text.clone());
        }
        match (self.fetch(), &mut *last) {
            (Ok(text), last) => {
                *last = Some(Last { tried: Instant::now(), text: text.clone() });
                Ok(text)
            }
            (Err(error), Some(last)) => {
                tracing::error!(%error, "keys of tokens cannot be fetched; the old ones stay");
                last.tried = Instant::now();
                Ok(last.text.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn fetch(&self) -> Result<String, KeysError> {
        let failed = |source| KeysError::Fetch { url: self.url.clone(), source: Box::new(source) };
        let mut answer = self.agent.get(&self.url).call().map_err(failed)?;
        if answer.status() != 200 {
            return Err(failed(ureq::Error::StatusCode(answer.status().as_u16())));
        }
        let body = answer.body_mut().with_config().limit(self.max_bytes);
        body.read_to_string().map_err(failed)
    }
}

/// Whether what is asked is on this machine.
fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback())
}

fn roots(config: &Auth) -> Result<RootCerts, ConfigError> {
    let certificates: Vec<Certificate<'static>> = if config.jwks_ca_file.is_empty() {
        let found = rustls_native_certs::load_native_certs();
        let owned = |der: &[u8]| Certificate::from_der(der).to_owned();
        found.certs.iter().map(|der| owned(der)).collect()
    } else {
        let path = &config.jwks_ca_file;
        let text = std::fs::read(path).map_err(|error| {
            invalid("auth.jwks_ca_file", format!("cannot read {path}: {error}"))
        })?;
        let items = parse_pem(&text).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        let certificates: Vec<_> = items.collect();
        if certificates.is_empty() {
            return Err(invalid("auth.jwks_ca_file", format!("{path} has no certificate (PEM)")));
        }
        certificates
    };
    Ok(RootCerts::new_with_certs(&certificates))
}

fn invalid(key: &'static str, message: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key, message: message.into() }
}
