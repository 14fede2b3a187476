//! Encrypted connections: settings of the TLS that the server speaks itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;

settings! {
    /// TLS, by the server itself: all connections are encrypted when certificate and key are set.
    Tls {
        /// The file with the server's certificate, followed by those that vouch for it (PEM).
        certificate: String = String::new(),
        /// The file with its private key (PEM, not encrypted).
        key: String = String::new(),
        /// How often the files are looked at; connections that begin later get what is new.
        #[serde(with = "duration")]
        reload: Duration = Duration::from_secs(60),
        /// From the opening of a connection to the end of its handshake; then it is closed.
        #[serde(with = "duration")]
        handshake: Duration = Duration::from_secs(10),
        /// For how long browsers that were shown a page use nothing but TLS for the host and all of
        /// its ports (Strict-Transport-Security); 0 s: they are not told to.
        #[serde(with = "duration")]
        strict_transport: Duration = Duration::from_secs(180 * 24 * 60 * 60),
    }
}

impl Tls {
    /// Whether connections are encrypted.
    pub fn is_on(&self) -> bool {
        !self.certificate.is_empty()
    }
}
