//! Where a client finds its server, and by which carriers.

use std::fmt::Write;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::engineio::{Carrier, PROTOCOL};
use crate::io::{HttpHeaders, IoId};
use crate::rng::Rng;

/// How a client reaches an Engine.IO server.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// The path of Engine.IO on it, with a slash at its beginning. Default `/socket.io/`.
    pub path: String,
    /// Parameters for the server's application, which come after Engine.IO's own.
    pub query: Vec<(String, String)>,
    /// Headers that go with every request.
    pub headers: HttpHeaders,
    /// The carriers that may be used; the first one is tried first. Default: polling, websocket,
    /// as `socket.io-client` has it.
    pub transports: Vec<Carrier>,
    /// Whether a session that is carried by polling moves to a WebSocket when client and server
    /// have one. Default true.
    pub upgrade: bool,
    /// Whether the other carriers are tried when the first one cannot be opened. Default false,
    /// as `socket.io-client` has it.
    pub try_all_transports: bool,
    /// How long one carrier may take to open. Default 20 s.
    pub attempt_timeout: Duration,
    /// How long a session carried by polling may take to send its last words. Default 2 s.
    pub close_timeout: Duration,
    /// The largest HTTP body accepted from the server, in bytes. Default 16 MiB.
    pub max_body: usize,
}

impl TransportConfig {
    /// The defaults for a server.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            path: "/socket.io/".into(),
            query: Vec::new(),
            headers: HttpHeaders::default(),
            transports: vec![Carrier::Polling, Carrier::WebSocket],
            upgrade: true,
            try_all_transports: false,
            attempt_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(2),
            max_body: 16 << 20,
        }
    }

    /// The URL of a request or a WebSocket. The parameter `t` keeps caches on the way from
    /// answering in the server's place.
    pub(super) fn url(&self, carrier: Carrier, sid: Option<&str>, rng: &mut Rng) -> String {
        let mut path =
            format!("{}?EIO={PROTOCOL}&transport={}&t={}", self.path, carrier.name(), rng.id(8));
        let sid = sid.map(|sid| ("sid", sid));
        let query = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in sid.into_iter().chain(query) {
            path.push('&');
            escape(name, &mut path);
            path.push('=');
            escape(value, &mut path);
        }
        match carrier {
            Carrier::Polling => self.endpoint.http_url(&path),
            Carrier::WebSocket => self.endpoint.ws_url(&path),
        }
    }
}

/// Appends `text` as it may stand in a query (RFC 3986, section 2.3).
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// The ids of one connection.
#[derive(Debug)]
pub(super) struct Ids(Option<IoId>);

impl Ids {
    pub(super) const fn new(connection: u64) -> Self {
        Self(Some(IoId::first(connection)))
    }

    /// A fresh one; `None` when all are used.
    pub(super) const fn next(&mut self) -> Option<IoId> {
        let Some(id) = self.0 else { return None };
        self.0 = id.next();
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_escaped() {
        let mut config = TransportConfig::new("https://h/live".parse().unwrap());
        config.query = vec![("näme".into(), "a&b=c d".into())];
        let mut rng = Rng::new(1);
        let url = config.url(Carrier::Polling, Some("id"), &mut rng);
        let t = Rng::new(1).id(8);
        assert_eq!(
            url,
            format!(
                "https://h/live/socket.io/?EIO=4&transport=polling&t={t}\
                 &sid=id&n%C3%A4me=a%26b%3Dc%20d"
            )
        );
        let url = config.url(Carrier::WebSocket, None, &mut rng);
        assert!(url.starts_with("wss://h/live/socket.io/?EIO=4&transport=websocket&t="), "{url}");
    }
}
