//! Who clients are, and what they may do.
//!
//! Every entrance, whatever it is, hands the token it was given to the one `Authenticator` and
//! gets an [`Identity`] or a [`Denied`]. There is no other way to an identity, and nothing that acts
//! for a client can be made without one.

mod crypto;
mod denied;
mod fetched;
mod identity;
mod issue;
mod keys;
mod revocations;
mod rights;
mod source;

use std::sync::Arc;

use jsonwebtoken::{Validation, decode, decode_header};
use parking_lot::RwLock;

pub use self::denied::Denied;
use self::identity::Claims;
pub use self::identity::{ClaimError, Identity};
pub use self::issue::{IssueError, issue};
use self::keys::KeyRing;
use self::revocations::Revocations;
pub use self::revocations::Revoked;
pub use self::rights::Rights;
use self::source::Source;
pub(crate) use self::source::reload;
use crate::config::{Auth, ConfigError};

/// The one place where it is found out who somebody is.
pub(crate) struct Authenticator {
    /// Where the keys come from; `None` if nobody is authenticated.
    source: Option<Source>,
    keys: RwLock<Arc<KeyRing>>,
    config: Auth,
    /// What those may do whose token does not say.
    defaults: Rights,
    revocations: Revocations,
}

impl Authenticator {
    /// Reads the keys; those at a URL may take as long as `auth.jwks_timeout`.
    pub(crate) fn new(config: &Auth) -> Result<Self, ConfigError> {
        let invalid = |key, message| ConfigError::Invalid { key, message };
        crypto::install();
        let source = Source::of(config)?;
        let keys = match &source {
            None => KeyRing::default(),
            Some(source) => {
                source.read().map_err(|error| invalid(source.setting(), error.to_string()))?
            }
        };
        let defaults = Rights::defaults(config).map_err(|(key, message)| invalid(key, message))?;
        let (keys, config) = (RwLock::new(Arc::new(keys)), config.clone());
        let revocations = Revocations::new(config.revocations_kept);
        Ok(Self { source, keys, config, defaults, revocations })
    }

    /// Whether nobody is authenticated: everybody may do everything, and see all but what is sensitive.
    pub(crate) const fn is_open(&self) -> bool {
        self.source.is_none()
    }

    /// What is not good any more before its time.
    pub(crate) const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Who presents this token.
    pub(crate) fn identify(&self, token: Option<&str>) -> Result<Identity, Denied> {
        if self.is_open() {
            return Ok(Identity::anybody(&self.defaults));
        }
        match token {
            Some(token) => self.verify(token),
            None if self.config.anonymous => Ok(Identity::anonymous(self.defaults.clone())),
            None => Err(Denied::NoToken),
        }
    }

    fn verify(&self, token: &str) -> Result<Identity, Denied> {
        let header = decode_header(token).map_err(|error| denied::of_header(&error))?;
        if header.crit.is_some() {
            return Err(Denied::Critical);
        }
        let keys = Arc::clone(&self.keys.read());
        let mut denied = Denied::UnknownKey;
        let candidates = keys.candidates(header.kid.as_deref(), header.alg);
        let candidates = candidates.map_err(|denied| match (denied, &self.source) {
            (Denied::UnknownKey, Some(source)) if source.wish() => Denied::KeyNotYet,
            (denied, _) => denied,
        })?;
        for key in candidates {
            match decode::<Claims>(token, &key.decoding, &self.validation(header.alg)) {
                Ok(data) => {
                    let identity = Identity::of(data.claims, &self.defaults, self.config.leeway)?;
                    let is_revoked = self.revocations.covers(&identity);
                    return if is_revoked { Err(Denied::Revoked) } else { Ok(identity) };
                }
                Err(error) => denied = denied::of(&error),
            }
            // Without a name for its key, a token may have been signed with any that fits.
            if denied != Denied::Signature {
                break;
            }
        }
        Err(denied)
    }

    fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        let Auth { audience, issuer, leeway, .. } = &self.config;
        validation.leeway = leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if audience.is_empty() {
            validation.validate_aud = false;
        } else {
            validation.set_audience(audience);
            required.push("aud");
        }
        if !issuer.is_empty() {
            validation.set_issuer(issuer);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    /// Reads the keys again, if they have changed. Those that cannot be read leave what there was.
    fn reload(&self) {
        let Some(source) = &self.source else { return };
        match source.read() {
            Ok(keys) if keys == **self.keys.read() => {}
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "keys of tokens have changed");
                *self.keys.write() = Arc::new(keys);
            }
            Err(error) => {
                tracing::error!(%error, "keys of tokens cannot be read; the old ones stay");
            }
        }
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
