//! A server that encrypts by itself.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::network::Running;
use super::*;

/// Puts a certificate and its key there.
fn certify(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

#[tokio::test]
async fn clients_of_both_transports_speak_tls_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certify(directory.path())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trusting = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let trusting = Arc::new(trusting);
    let path = |name| directory.path().join(name).display().to_string();
    let change = |config: &mut tidings_server::Config| {
        (config.tls.certificate, config.tls.key) = (path("chain.pem"), path("key.pem"));
    };
    let running = Running::declaring(ANY.parse().unwrap(), change, Vec::new(), |_| {}).await;
    let url = format!("https://localhost:{}", running.address.port());
    let received = Received::default();
    let mut clients = Vec::new();
    for transport in BOTH {
        let client = Client::builder(&url).transport(transport).tls(trusting.clone());
        clients.push(client.build().unwrap());
    }
    let names = ["numbers.0".to_owned(), "numbers.1".to_owned()];
    within(clients[1].on("numbers.*", note(&received))).await.unwrap().detach();
    for number in 0..200_u32 {
        for (client, name) in clients.iter().zip(&names) {
            within(client.publish(&**name, &number)).await.unwrap();
        }
    }
    complete(&received, &names, 200).await;
    running.stop().await;
}
