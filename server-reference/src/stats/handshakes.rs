//! Connections of which nothing became, by what was wrong.

use super::Counter;

/// Why nothing became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedHandshake {
    /// It was no handshake of TLS, or none that could be agreed on.
    Tls,
    /// The handshake of TLS took longer than `tls.handshake`.
    TlsTimeout,
    /// HTTP where TLS is spoken.
    Plaintext,
    /// The first request was no HTTP, or its header too large.
    Http,
    /// The first request did not come within `timeouts.header_read`.
    HttpTimeout,
    /// A WebSocket that could not be opened: by its headers, its page, or its address.
    Upgrade,
}

impl FailedHandshake {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Tls, "tls"),
        (Self::TlsTimeout, "tls_timeout"),
        (Self::Plaintext, "plaintext"),
        (Self::Http, "http"),
        (Self::HttpTimeout, "http_timeout"),
        (Self::Upgrade, "upgrade"),
    ];
}

/// How many there were of each.
#[derive(Debug, Default)]
pub(super) struct FailedHandshakes([Counter; FailedHandshake::ALL.len()]);

impl FailedHandshakes {
    pub(super) fn add(&self, why: FailedHandshake) {
        self.0[why as usize].add(1);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FailedHandshake::ALL.into_iter().map(|(why, word)| (word, self.0[why as usize].get()))
    }
}
