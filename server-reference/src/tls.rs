//! The server's end of TLS: its certificate, which may change while it runs, and handshakes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use ring::digest::{Context, Digest, SHA256};
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::app::App;
use crate::config::{self, ConfigError};
use crate::shutdown::Phase;
use crate::stream::Stream;

/// Encrypts connections.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    reload: Duration,
    /// How long a handshake may take.
    limit: Duration,
    loaded: RwLock<Loaded>,
}

/// What new connections are encrypted with.
struct Loaded {
    /// Of what was in the files.
    digest: Digest,
    /// When the first of its certificates ends, in seconds since the Unix epoch, if that can be read.
    ends: Option<i64>,
    config: Arc<ServerConfig>,
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error("cannot read {path}: {source}")]
    Read { setting: &'static str, path: String, source: io::Error },
    #[error("{path} is to have certificates in PEM, the server's own first: {source}")]
    NoCertificate { path: String, source: pem::Error },
    #[error("{path} is to have a private key in PEM, not encrypted: {source}")]
    NoKey { path: String, source: pem::Error },
    #[error(
        "{key} is not the key of the first certificate in {certificate}: the server's own \
         certificate comes first, then those that vouch for it"
    )]
    Mismatch { certificate: String, key: String },
    #[error("{certificate} and {key} cannot be used: {source}")]
    Unusable { certificate: String, key: String, source: rustls::Error },
}

impl CertificateError {
    /// The setting to look at.
    const fn setting(&self) -> &'static str {
        match self {
            Self::Read { setting, .. } => setting,
            Self::NoCertificate { .. } | Self::Unusable { .. } => "tls.certificate",
            Self::NoKey { .. } | Self::Mismatch { .. } => "tls.key",
        }
    }
}

/// No encrypted connection has come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The client speaks HTTP without TLS.
    #[error("the client does not speak TLS")]
    Plaintext(TcpStream),
    #[error("it was not done within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Tls {
    /// `None` if no certificate is set.
    pub(crate) fn new(config: &config::Tls) -> Result<Option<Self>, ConfigError> {
        if !config.is_on() {
            return Ok(None);
        }
        let (certificate, key) = (PathBuf::from(&config.certificate), PathBuf::from(&config.key));
        let loaded = Files::read(&certificate, &key).and_then(|files| files.load());
        let loaded = loaded.map_err(|error| ConfigError::Invalid {
            key: error.setting(),
            message: error.to_string(),
        })?;
        let (reload, limit) = (config.reload, config.handshake);
        Ok(Some(Self { certificate, key, reload, limit, loaded: RwLock::new(loaded) }))
    }

    /// When the certificate ends, or the first of those that vouch for it, in seconds since the Unix
    /// epoch; `None` if that cannot be read.
    pub(crate) fn ends(&self) -> Option<i64> {
        self.loaded.read().ends
    }

    /// Does the handshake of a connection.
    pub(crate) async fn handshake(&self, socket: TcpStream) -> Result<Stream, HandshakeError> {
        let done = tokio::time::timeout(self.limit, self.begin(socket)).await;
        done.unwrap_or(Err(HandshakeError::TimedOut(self.limit)))
    }

    async fn begin(&self, socket: TcpStream) -> Result<Stream, HandshakeError> {
        let mut first = [0];
        // An alert of TLS would mean nothing to whoever says `GET`.
        if socket.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
            return Err(HandshakeError::Plaintext(socket));
        }
        let config = Arc::clone(&self.loaded.read().config);
        let (socket, session) = TlsAcceptor::from(config).accept(socket).await?.into_inner();
        Ok(Stream::secure(socket, session))
    }

    /// Reads the files again. What cannot be used leaves what there was.
    fn reload(&self) {
        let files = Files::read(&self.certificate, &self.key);
        let loaded = match files {
            Ok(files) if files.digest().as_ref() == self.loaded.read().digest.as_ref() => return,
            files => files.and_then(|files| files.load()),
        };
        match loaded {
            Ok(loaded) => {
                tracing::info!("the certificate has changed; new connections get the new one");
                *self.loaded.write() = loaded;
            }
            Err(error) => {
                let setting = error.setting();
                tracing::error!(setting, %error, "the certificate cannot be read; the old one stays");
            }
        }
    }
}

/// What is in the two files.
struct Files {
    /// What they are called, for errors.
    names: [String; 2],
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let read = |setting, path: &Path| {
            let failed = |source| {
                let path = path.display().to_string();
                CertificateError::Read { setting, path, source }
            };
            std::fs::read(path).map_err(failed)
        };
        Ok(Self {
            names: [certificate.display().to_string(), key.display().to_string()],
            certificate: read("tls.certificate", certificate)?,
            key: read("tls.key", key)?,
        })
    }

    fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        for text in [&self.certificate, &self.key] {
            context.update(&text.len().to_be_bytes());
            context.update(text);
        }
        context.finish()
    }

    fn load(&self) -> Result<Loaded, CertificateError> {
        let [certificate, key] = &self.names;
        let no_certificate =
            |source| CertificateError::NoCertificate { path: certificate.clone(), source };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(no_certificate)?;
        if chain.is_empty() {
            return Err(no_certificate(pem::Error::NoItemsFound));
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| CertificateError::NoKey { path: key.clone(), source })?;
        let parsed = chain.iter().filter_map(|der| X509Certificate::from_der(der).ok());
        let ends = parsed.map(|(_, parsed)| parsed.validity().not_after.timestamp()).min();
        let config = server_config(chain, private).map_err(|source| {
            let (certificate, key) = (certificate.clone(), key.clone());
            match source {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    CertificateError::Mismatch { certificate, key }
                }
                source => CertificateError::Unusable { certificate, key, source },
            }
        })?;
        Ok(Loaded { digest: self.digest(), ends, config: Arc::new(config) })
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Clients that come back, perhaps all at once, cost no signature each, and no memory until then.
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

/// Looks at the files again and again, for as long as the server runs.
pub(crate) async fn reload(app: Arc<App>) {
    let Some(every) = app.tls.as_ref().map(|tls| tls.reload) else { return };
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = app.shutdown.reached(Phase::Over) => return,
        }
        let app = Arc::clone(&app);
        // They may be on a disk that takes its time.
        let _ = tokio::task::spawn_blocking(move || app.tls.as_ref().map(Tls::reload)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Made(tempfile::TempDir);

    impl Made {
        fn new() -> Self {
            let made = Self(tempfile::tempdir().expect("a directory"));
            made.renew();
            made
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).expect("written");
        }

        fn renew(&self) {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
            self.write("chain.pem", &made.cert.pem());
            self.write("key.pem", &made.signing_key.serialize_pem());
        }

        fn config(&self) -> config::Tls {
            let path = |name| self.path(name).display().to_string();
            let mut config = config::Tls::default();
            (config.certificate, config.key) = (path("chain.pem"), path("key.pem"));
            config
        }

        fn load(&self) -> Tls {
            Tls::new(&self.config()).expect("it is good").expect("it is on")
        }

        #[track_caller]
        fn refused(&self) -> String {
            Tls::new(&self.config()).err().expect("it is refused").to_string()
        }
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_and_which_it_is() {
        let made = Made::new();
        let key = fs::read_to_string(made.path("key.pem")).expect("it is there");
        made.renew();
        made.write("key.pem", &key);
        let says = made.refused();
        assert!(says.starts_with("tls.key: ") && says.contains("not the key of"), "{says}");
        made.write("key.pem", "nothing");
        let says = made.refused();
        assert!(says.starts_with("tls.key: ") && says.contains("private key in PEM"), "{says}");
        made.write("chain.pem", &key);
        let says = made.refused();
        assert!(says.starts_with("tls.certificate: ") && says.contains("chain.pem"), "{says}");
        fs::remove_file(made.path("chain.pem")).expect("removed");
        let says = made.refused();
        assert!(says.starts_with("tls.certificate: cannot read "), "{says}");
        assert!(Tls::new(&config::Tls::default()).is_ok_and(|tls| tls.is_none()));
    }

    #[test]
    fn files_that_have_changed_are_taken_if_they_are_good() {
        let made = Made::new();
        let tls = made.load();
        let config = || Arc::clone(&tls.loaded.read().config);
        let first = config();
        tls.reload();
        assert!(Arc::ptr_eq(&first, &config()), "nothing has changed");
        let key = fs::read_to_string(made.path("key.pem")).expect("it is there");
        made.renew();
        let renewed = fs::read_to_string(made.path("key.pem")).expect("it is there");
        made.write("key.pem", &key);
        tls.reload();
        assert!(Arc::ptr_eq(&first, &config()), "the key is not there yet");
        fs::remove_file(made.path("key.pem")).expect("removed");
        tls.reload();
        assert!(Arc::ptr_eq(&first, &config()), "there is none");
        made.write("key.pem", &renewed);
        tls.reload();
        assert!(!Arc::ptr_eq(&first, &config()), "both are there");
    }
}
