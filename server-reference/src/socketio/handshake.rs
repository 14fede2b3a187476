//! What a client said when it connected.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tidings_core::engineio::request::decode_query;

use super::args::ArgsError;
use crate::auth::Identity;

/// The HTTP request with which a connection began; all sockets of the connection share it.
#[derive(Debug)]
pub(crate) struct Opening {
    headers: HeaderMap,
    uri: Uri,
    address: SocketAddr,
    at: SystemTime,
}

impl Default for Opening {
    /// What is known of a connection that began before there were namespaces.
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let (headers, uri) = Default::default();
        Self { headers, uri, address, at: SystemTime::now() }
    }
}

impl Opening {
    pub(crate) fn new(headers: &HeaderMap, uri: &Uri, address: SocketAddr) -> Arc<Self> {
        let at = SystemTime::now();
        Arc::new(Self { headers: headers.clone(), uri: uri.clone(), address, at })
    }
}

/// What a client said when it connected: Node's `socket.handshake`.
#[derive(Debug, Clone)]
pub struct Handshake {
    opening: Arc<Opening>,
    auth: Option<Bytes>,
    identity: Identity,
}

impl Handshake {
    pub(crate) const fn new(
        opening: Arc<Opening>,
        auth: Option<Bytes>,
        identity: Identity,
    ) -> Self {
        Self { opening, auth, identity }
    }

    /// Who the client is, as the token said with which it connected.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The headers of the HTTP request with which the connection began.
    pub fn headers(&self) -> &HeaderMap {
        &self.opening.headers
    }

    /// The URL of that request: the path and the query.
    pub fn uri(&self) -> &Uri {
        &self.opening.uri
    }

    /// The members of that URL's query, decoded; of members of the same name the last one.
    pub fn query(&self) -> BTreeMap<String, String> {
        let query = self.opening.uri.query().unwrap_or_default();
        decode_query(query).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
    }

    /// Where the connection comes from; behind a proxy that is the proxy. 0.0.0.0 if it began
    /// before the application had a namespace; headers and URL are empty then.
    pub fn address(&self) -> SocketAddr {
        self.opening.address
    }

    /// When the connection began.
    pub fn time(&self) -> SystemTime {
        self.opening.at
    }

    /// The JSON of the `auth` that the client gave for the namespace; `{}` if it gave none.
    pub fn auth_json(&self) -> &[u8] {
        self.auth.as_deref().unwrap_or(b"{}")
    }

    /// The `auth` that the client gave for the namespace.
    ///
    /// # Errors
    /// When it is not what the type wants.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        serde_json::from_slice(self.auth_json())
            .map_err(|error| ArgsError::new(format!("auth: {error}")))
    }
}
