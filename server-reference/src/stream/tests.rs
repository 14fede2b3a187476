//! Encrypted connections over real sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tidings_core::server::FeedConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::connection::Connection;

/// A test that waits for what never comes fails here instead of hanging.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it never came")
}

/// Both ends of an encrypted connection.
async fn pair() -> (Stream, TlsStream<TcpStream>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let name = ServerName::try_from("localhost").expect("a name");
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let connector = TlsConnector::from(Arc::new(client));
    let (server, client) = tokio::join!(
        acceptor.accept(accepted.expect("a connection").0),
        connector.connect(name, connected.expect("a connection"))
    );
    let (socket, session) = server.expect("a handshake").into_inner();
    let (stream, mut client) = (Stream::secure(socket, session), client.expect("a handshake"));
    // What follows the handshake is out of the way then.
    stream.try_write(b"!").expect("written");
    assert_eq!(client.read_u8().await.expect("read"), b'!');
    (stream, client)
}

/// Writes until the socket takes no more, and gives what was written.
fn fill(stream: &Stream) -> Vec<u8> {
    let mut written = Vec::new();
    loop {
        let chunk = [written.len() as u8; 1000];
        match stream.try_write(&chunk) {
            Ok(taken) => written.extend_from_slice(&chunk[..taken]),
            Err(error) => {
                assert!(is_blocked(&error), "{error}");
                return written;
            }
        }
    }
}

#[tokio::test]
async fn what_the_socket_does_not_take_is_held_back_and_sent_later() {
    let (stream, mut client) = pair().await;
    let written = fill(&stream);
    assert!(stream.is_behind());
    assert!(is_blocked(&stream.try_write(b"more").expect_err("nothing more is taken")));
    let flushed = async {
        while stream.is_behind() {
            stream.writable().await.expect("open");
            match stream.try_flush() {
                Err(error) if is_blocked(&error) => {}
                result => result.expect("open"),
            }
        }
    };
    let mut got = vec![0; written.len()];
    let (_, read) = within(async { tokio::join!(flushed, client.read_exact(&mut got)) }).await;
    read.expect("all of it");
    assert_eq!(got, written);
}

#[tokio::test]
async fn a_connection_that_is_behind_says_so_although_nothing_is_queued() {
    let (stream, mut client) = pair().await;
    let connection = Connection::over_websocket(stream, Arc::new(FeedConfig::default()));
    let mut written = Vec::new();
    let mut number = 0_u32;
    loop {
        let frame = Bytes::from(number.to_be_bytes().repeat(500));
        written.extend_from_slice(&frame);
        connection.push_control(frame);
        if connection.flush().blocked {
            break;
        }
        number += 1;
    }
    assert!(connection.with_feed(|feed| feed.outbox().is_empty()), "TLS has taken it");
    assert!(connection.has_unwritten());
    let flushed = async {
        while connection.has_unwritten() {
            connection.writable().await.expect("open");
            connection.unblock();
            assert!(!connection.flush().broken);
        }
    };
    let mut got = vec![0; written.len()];
    let (_, read) = within(async { tokio::join!(flushed, client.read_exact(&mut got)) }).await;
    read.expect("all of it");
    assert_eq!(got, written);
    assert!(!connection.flush().blocked);
}

#[tokio::test]
async fn frames_written_together_are_one_record() {
    let (stream, client) = pair().await;
    let frames: Vec<_> = (0..50_u8).map(|number| [number; 100]).collect();
    let slices: Vec<_> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
    assert_eq!(stream.try_write_vectored(&slices).expect("written"), 5000);
    let (mut socket, _) = client.into_inner();
    // The header of a record: application data, the version, how long the rest is.
    let mut header = [0; 5];
    socket.read_exact(&mut header).await.expect("a record");
    assert_eq!(header[..3], [23, 3, 3]);
    assert!(u16::from_be_bytes([header[3], header[4]]) > 5000, "{header:?}");
}

#[tokio::test]
async fn what_was_decrypted_is_readable_although_the_socket_has_nothing() {
    let (stream, mut client) = pair().await;
    client.write_all(b"twelve bytes").await.expect("written");
    let mut got = Vec::new();
    while got.len() < 12 {
        within(stream.readable()).await.expect("open");
        let mut few = [0; 5];
        match stream.try_read(&mut few) {
            Err(error) if is_blocked(&error) => {}
            read => got.extend_from_slice(&few[..read.expect("open")]),
        }
    }
    assert_eq!(got, b"twelve bytes");
    assert!(is_blocked(&stream.try_read(&mut [0; 5]).expect_err("nothing is left")));
}

#[tokio::test]
async fn an_end_is_an_end_told_or_not() {
    for told in [true, false] {
        let (mut stream, mut client) = pair().await;
        client.write_all(b"last").await.expect("written");
        if told {
            client.shutdown().await.expect("closed");
        } else {
            client.into_inner().0.shutdown().await.expect("closed");
        }
        let mut got = Vec::new();
        within(stream.read_to_end(&mut got)).await.expect("an end");
        assert_eq!(got, b"last", "{told}");
        within(stream.readable()).await.expect("it stays at its end");
        assert_eq!(stream.try_read(&mut [0; 5]).expect("an end"), 0);
    }
    let (stream, mut client) = pair().await;
    stream.try_write(b"last").expect("written");
    drop(stream);
    let mut got = Vec::new();
    // A socket that was closed without having told TLS so is an error to rustls.
    within(client.read_to_end(&mut got)).await.expect("an end that was told");
    assert_eq!(got, b"last");
}

#[tokio::test]
async fn it_is_written_to_as_http_does_and_waits_for_the_socket() {
    let (mut stream, mut client) = pair().await;
    let sent: Vec<u8> = (0..20_u32 << 20).map(|number| number as u8).collect();
    let mut got = vec![0; sent.len()];
    let writing = async {
        stream.write_all(&sent).await.expect("written");
        stream.flush().await.expect("sent");
        assert!(!stream.is_behind());
        stream.shutdown().await.expect("closed");
    };
    let (_, read) = within(async { tokio::join!(writing, client.read_exact(&mut got)) }).await;
    read.expect("all of it");
    assert!(got == sent);
    assert_eq!(client.read(&mut [0]).await.expect("an end that was told"), 0);
}

#[tokio::test]
async fn what_is_no_tls_is_an_error_and_answered_with_an_alert() {
    let (mut stream, client) = pair().await;
    let (mut socket, _) = client.into_inner();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    let error = within(stream.read_u8()).await.expect_err("no TLS");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let mut header = [0; 5];
    within(socket.read_exact(&mut header)).await.expect("an alert");
    assert_eq!(header[0], 23, "it is encrypted");
    assert!(stream.try_write(b"more").is_err());
}
