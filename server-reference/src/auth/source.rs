//! Where the keys come from, and that they may change while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::fetched::Fetched;
use super::keys::{KeyRing, KeysError};
use crate::app::App;
use crate::config::{Auth, ConfigError, Secret};
use crate::shutdown::Phase;

/// Where the keys come from; all that are set count.
pub(super) struct Source {
    secret: Option<Secret>,
    secret_file: Option<PathBuf>,
    jwks: Option<KeySet>,
}

/// Where a key set is.
enum KeySet {
    File(PathBuf),
    At(Box<Fetched>),
}

impl Source {
    /// `None` if no key is set.
    pub(super) fn of(config: &Auth) -> Result<Option<Self>, ConfigError> {
        if config.is_open() {
            return Ok(None);
        }
        let path = |text: &String| (!text.is_empty()).then(|| PathBuf::from(text));
        let is_url = config.jwks.starts_with("https://") || config.jwks.starts_with("http://");
        let jwks = if is_url {
            Some(KeySet::At(Box::new(Fetched::new(config)?)))
        } else {
            path(&config.jwks).map(KeySet::File)
        };
        Ok(Some(Self {
            secret: (!config.secret.is_empty()).then(|| config.secret.clone()),
            secret_file: path(&config.secret_file),
            jwks,
        }))
    }

    /// The setting to look at when they cannot be read.
    pub(super) const fn setting(&self) -> &'static str {
        if self.jwks.is_some() { "auth.jwks" } else { "auth.secret_file" }
    }

    /// Reads all of them. May take as long as `auth.jwks_timeout`.
    pub(super) fn read(&self) -> Result<KeyRing, KeysError> {
        let mut keys = KeyRing::default();
        if let Some(secret) = &self.secret {
            keys.push_secret(secret.reveal());
        }
        if let Some(file) = &self.secret_file {
            let (path, text) = read(file)?;
            let secrets: Vec<_> =
                text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            if secrets.is_empty() {
                return Err(KeysError::NoSecret { path });
            }
            secrets.into_iter().for_each(|secret| keys.push_secret(secret));
        }
        match &self.jwks {
            None => {}
            Some(KeySet::File(file)) => {
                let (path, text) = read(file)?;
                keys.push_jwks(&path, &text)?;
            }
            Some(KeySet::At(fetched)) => keys.push_jwks(fetched.url(), &fetched.text()?)?,
        }
        Ok(keys)
    }

    /// A token names a key that is not known. Whether it may be known soon.
    pub(super) fn wish(&self) -> bool {
        match &self.jwks {
            Some(KeySet::At(fetched)) => {
                fetched.wish();
                true
            }
            Some(KeySet::File(_)) | None => false,
        }
    }

    const fn changes(&self) -> bool {
        self.secret_file.is_some() || self.jwks.is_some()
    }
}

fn read(file: &Path) -> Result<(String, String), KeysError> {
    let path = file.display().to_string();
    match std::fs::read_to_string(file) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(KeysError::Read { path, source }),
    }
}

/// Reads keys that may change again and again, for as long as the server runs.
pub(crate) async fn reload(app: Arc<App>) {
    if !app.authenticator.source.as_ref().is_some_and(Source::changes) {
        return;
    }
    let every: Duration = app.config.auth.reload;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = app.shutdown.reached(Phase::Over) => return,
        }
        let app = Arc::clone(&app);
        // A file may be on a disk that takes its time, and a URL takes some anyway.
        let _ = tokio::task::spawn_blocking(move || app.authenticator.reload()).await;
    }
}
