//! Encrypted connections.

use std::sync::Arc;

use futures_util::StreamExt;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tidings::Advice;
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Decrypts what comes for `server`. Returns the URL to be used and the certificate to be trusted.
async fn encrypt(server: &Server) -> (String, CertificateDer<'static>) {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let plain = server.address;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut inside = TcpStream::connect(plain).await.unwrap();
                // A client that does not trust us hangs up here.
                if let Ok(mut outside) = acceptor.accept(stream).await {
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }
            });
        }
    });
    (url, certificate)
}

#[tokio::test]
async fn a_certificate_that_is_trusted_connects() {
    let server = Server::start().await;
    let (url, certificate) = encrypt(&server).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    for transport in BOTH {
        let client =
            Client::builder(&url).transport(transport).tls(config.clone()).build().unwrap();
        let mut numbers = within(client.subscribe::<u32>("numbers")).await.unwrap();
        within(client.publish("numbers", &7)).await.unwrap();
        assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, 7);
    }
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_does_not() {
    let server = Server::start().await;
    let (url, _) = encrypt(&server).await;
    let client = Client::builder(&url).transport(Transport::Ws).build().unwrap();
    let status = until(&client, State::Reconnecting).await;
    assert!(status.reason.contains("certificate"), "{status:?}");
    assert_eq!(status.code.advice(), Advice::Retry);
}
