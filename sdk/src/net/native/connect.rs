//! Reaching a server by TCP, encrypted where its URL says so.

use std::io;

use tidings_core::message::{Close, CloseCode};
use tokio::net::TcpStream;

use super::handshake::Address;
use super::stream::Stream;

/// How connections are encrypted.
#[cfg(feature = "tls")]
pub(crate) type TlsConfig = std::sync::Arc<rustls::ClientConfig>;
/// Without the feature `tls` there is nothing to configure.
#[cfg(not(feature = "tls"))]
#[derive(Debug, Clone)]
pub(crate) enum TlsConfig {}

/// Connects to a server.
pub(super) async fn connect(address: &Address, tls: Option<TlsConfig>) -> Result<Stream, Close> {
    let tcp = TcpStream::connect((&*address.host, address.port)).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    if address.secure { encrypt(tcp, address, tls).await } else { Ok(Stream::Plain(tcp)) }
}

#[cfg(feature = "tls")]
async fn encrypt(
    tcp: TcpStream,
    address: &Address,
    tls: Option<TlsConfig>,
) -> Result<Stream, Close> {
    let tls = match tls {
        Some(tls) => tls,
        None => default_tls()?,
    };
    let name = rustls::pki_types::ServerName::try_from(address.host.clone())
        .map_err(|error| Close::new(CloseCode::UNSUPPORTED, error.to_string()))?;
    let stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await;
    Ok(Stream::Tls(Box::new(stream.map_err(unreachable)?)))
}

#[cfg(not(feature = "tls"))]
async fn encrypt(_: TcpStream, _: &Address, _: Option<TlsConfig>) -> Result<Stream, Close> {
    let reason = "encryption needs the feature `tls` of the crate `tidings`";
    Err(Close::new(CloseCode::UNSUPPORTED, reason))
}

/// Certificates are checked against Mozilla's roots.
#[cfg(feature = "tls")]
fn default_tls() -> Result<TlsConfig, Close> {
    let roots: rustls::RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Close::new(CloseCode::UNSUPPORTED, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config.into())
}

fn unreachable(error: io::Error) -> Close {
    Close::new(CloseCode::ABNORMAL, format!("cannot connect: {error}"))
}
