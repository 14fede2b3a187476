//! Who clients are: settings of the [authenticator](crate::auth).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::{duration, size};

settings! {
    /// Who clients are, and what they may do: JSON Web Tokens. Nobody is authenticated as long as
    /// none of secret, secret_file and jwks is set; several of them may be.
    Auth {
        /// The secret that tokens are signed with (HS256); 32 random bytes or more. It is visible
        /// to whoever sees flags and variables: a file is better.
        secret: Secret = Secret::default(),
        /// A file with such secrets, one to a line: the old and the new one while they change.
        secret_file: String = String::new(),
        /// The keys that tokens are signed with, as a JSON Web Key Set: RS256, ES256, EdDSA and
        /// others, each key for the one algorithm that it is for. A file, or an https:// URL
        /// (http:// on this machine alone).
        jwks: String = String::new(),
        /// A file with the certificates (PEM) that the certificate of such a URL is to be signed
        /// by. Empty: those the system trusts.
        jwks_ca_file: String = String::new(),
        /// How often such a URL is asked; also when a token names a key that is not known, but then
        /// not within reload of the last time.
        #[serde(with = "duration")]
        jwks_refresh: Duration = Duration::from_secs(60),
        /// How long the answer may take.
        #[serde(with = "duration")]
        jwks_timeout: Duration = Duration::from_secs(5),
        /// The largest answer that is read.
        #[serde(with = "size")]
        jwks_max_bytes: usize = 256 * 1024,
        /// How often files are looked at; keys that are new or gone count from then on.
        #[serde(with = "duration")]
        reload: Duration = Duration::from_secs(5),
        /// Whom tokens must be for (claim aud), one of these; none: it is not looked at.
        audience: Vec<String> = Vec::new(),
        /// Who must have issued them (claim iss), one of these; none: it is not looked at.
        issuer: Vec<String> = Vec::new(),
        /// How far the clocks of issuers may be off, when times (exp, nbf) are compared.
        #[serde(with = "duration")]
        leeway: Duration = Duration::from_secs(10),
        /// For how long it is remembered that a token or a subject was revoked. Tokens must not be
        /// good for longer.
        #[serde(with = "duration")]
        revocations_kept: Duration = Duration::from_secs(30 * 24 * 60 * 60),
        /// How often instances compare what they know to be revoked.
        #[serde(with = "duration")]
        revocation_check: Duration = Duration::from_secs(2),
        /// Whether clients without a token are let in; they may do what the next four say.
        anonymous: bool = false,
        /// What may be received where a token has no claim subscribe: patterns; none: nothing.
        subscribe: Vec<String> = Vec::new(),
        /// What may be published and requested where a token has no claim publish.
        publish: Vec<String> = Vec::new(),
        /// Which records may be changed where a token has no claim mutate: patterns of the names
        /// of their events, such as "state.todos.*".
        mutate: Vec<String> = Vec::new(),
        /// Of which events what is sensitive (x-tidings-sensitive in their schema) may be seen where a
        /// token has no claim sensitive, or nobody is authenticated: patterns; none: of none.
        sensitive: Vec<String> = Vec::new(),
    }
}

impl Auth {
    /// Whether nobody is authenticated: no key is named.
    pub fn is_open(&self) -> bool {
        self.secret.is_empty() && self.secret_file.is_empty() && self.jwks.is_empty()
    }
}

/// What is shown of a secret.
const STARS: &str = "***";

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "String")]
pub struct Secret(String);

impl Secret {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is what is shown instead of one.
    pub(super) fn is_stars(&self) -> bool {
        self.0 == STARS
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { STARS })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(if self.is_empty() { "" } else { STARS })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn secrets_are_not_shown_and_what_is_shown_is_none() {
        let config = Config::default().with(|c| c.auth.secret = "hush".into());
        let shown = config.to_toml() + &format!("{config:?}");
        assert!(!shown.contains("hush") && shown.contains("secret = \"***\""), "{shown}");
        let read = Config::default().with(|c| c.auth.secret = "***".into());
        let error = read.validate().expect_err("nobody means that").to_string();
        assert!(error.starts_with("auth.secret: "), "{error}");
    }
}
