//! Where the keys come from, and that they may change while the server runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::keys::{KeyRing, KeysError};
use crate::app::App;
use crate::config::{Auth, Secret};
use crate::shutdown::Phase;

/// Where the keys come from; all that are set count.
#[derive(Clone)]
pub(super) struct Source {
    secret: Option<Secret>,
    secret_file: Option<PathBuf>,
    jwks: Option<PathBuf>,
}

impl Source {
    /// `None` if no key is set.
    pub(super) fn of(config: &Auth) -> Option<Self> {
        let path = |text: &String| (!text.is_empty()).then(|| PathBuf::from(text));
        let source = Self {
            secret: (!config.secret.is_empty()).then(|| config.secret.clone()),
            secret_file: path(&config.secret_file),
            jwks: path(&config.jwks),
        };
        let is_set =
            source.secret.is_some() || source.secret_file.is_some() || source.jwks.is_some();
        is_set.then_some(source)
    }

    /// The setting to look at when they cannot be read.
    pub(super) const fn setting(&self) -> &'static str {
        if self.jwks.is_some() { "auth.jwks" } else { "auth.secret_file" }
    }

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
        if let Some(file) = &self.jwks {
            let (path, text) = read(file)?;
            keys.push_jwks(&path, &text)?;
        }
        Ok(keys)
    }

    const fn changes(&self) -> bool {
        self.secret_file.is_some() || self.jwks.is_some()
    }
}

fn read(file: &PathBuf) -> Result<(String, String), KeysError> {
    let path = file.display().to_string();
    match std::fs::read_to_string(file) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(KeysError::Read { path, source }),
    }
}

/// Reads files with keys again and again, for as long as the server runs.
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
        // A file may be on a disk that takes its time.
        let _ = tokio::task::spawn_blocking(move || app.authenticator.reload()).await;
    }
}
