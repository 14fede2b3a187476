//! Where the server is.

use std::fmt;

use crate::client::Transport;

/// The base URL of a server: scheme, host and an optional path in front of the server's own
/// paths. Each transport appends its own path to it.
///
/// ```
/// use tidings_core::client::Transport;
/// use tidings_core::endpoint::Endpoint;
/// let endpoint: Endpoint = "https://example.org/live".parse()?;
/// assert_eq!(endpoint.url(Transport::Ws), "wss://example.org/live/ws");
/// # Ok::<(), tidings_core::endpoint::BadUrl>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    secure: bool,
    authority: String,
    prefix: String,
}

/// The text is not the base URL of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the base URL of a server: {0}; it should look like https://example.org")]
pub struct BadUrl(&'static str);

impl Endpoint {
    /// Whether connections are encrypted.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The URL of a WebSocket at this path, which begins with a slash, in front of which the
    /// server's own stands; a query may follow it.
    pub fn ws_url(&self, path: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}{path}", self.authority, self.prefix)
    }

    /// The URL of an HTTP request; see [`ws_url`](Self::ws_url).
    pub fn http_url(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}{path}", self.authority, self.prefix)
    }

    /// The URL of the WebSocket for `transport`; the one of `ws` for [`Transport::Auto`].
    pub fn url(&self, transport: Transport) -> String {
        let path = match transport {
            Transport::Ws | Transport::Auto => "/ws",
            Transport::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        };
        self.ws_url(path)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl("it has no scheme"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(BadUrl("its scheme is none of http, https, ws and wss")),
        };
        if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(BadUrl("it contains white space"));
        }
        if rest.contains(['?', '#']) {
            return Err(BadUrl("it has a query or a fragment"));
        }
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.is_empty() || authority.starts_with(':') {
            return Err(BadUrl("it has no host"));
        }
        if authority.contains('@') {
            return Err(BadUrl("credentials do not belong into it, use a token"));
        }
        Ok(Self {
            secure,
            authority: authority.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_has_its_path() {
        for (text, ws) in [
            ("http://127.0.0.1:9000", "ws://127.0.0.1:9000/ws"),
            ("ws://h/", "ws://h/ws"),
            ("WSS://h/a/b/", "wss://h/a/b/ws"),
            ("https://[::1]:1", "wss://[::1]:1/ws"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.url(Transport::Ws), ws);
            assert_eq!(endpoint.to_string().parse(), Ok(endpoint.clone()));
        }
        let endpoint: Endpoint = "http://h".parse().unwrap();
        let url = endpoint.url(Transport::SocketIo);
        assert_eq!(url, "ws://h/socket.io/?EIO=4&transport=websocket");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, complaint) in [
            ("localhost:9000", "no scheme"),
            ("ftp://h", "scheme is none of"),
            ("http://", "no host"),
            ("http://:80", "no host"),
            ("http://me:secret@h", "credentials"),
            ("http://h/?a=1", "query"),
            ("http://h /x", "white space"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(complaint), "{text}: {error}");
            assert!(!error.contains("secret"));
        }
    }
}
