//! Who somebody is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::denied::Denied;
use super::rights::{Rights, Stated};
use crate::clock::unix_micros;

/// Who somebody is, and what they may do, as a token has said. Cloning it is cheap. It does not show
/// the token.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    subject: Option<Arc<str>>,
    token_id: Option<String>,
    /// Seconds since the Unix epoch, as are those that follow.
    issued: Option<f64>,
    expires: Option<f64>,
    /// How much later than that it is ended.
    leeway: Duration,
    rights: Rights,
    others: BTreeMap<String, Value>,
}

/// What a token says.
#[derive(Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(flatten)]
    stated: Stated,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// A claim is not what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the claim {claim:?}: {source}")]
pub struct ClaimError {
    /// Which claim.
    pub claim: String,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

impl Identity {
    /// The identity of everybody, where nobody is authenticated.
    pub(super) fn anybody(defaults: &Rights) -> Self {
        Self::without_token(Rights::all(defaults))
    }

    /// Somebody without a token.
    pub(super) fn anonymous(rights: Rights) -> Self {
        Self::without_token(rights)
    }

    /// That of everybody.
    #[cfg(test)]
    pub(crate) fn in_tests() -> Self {
        Self::anybody(&Rights::default())
    }

    fn without_token(rights: Rights) -> Self {
        Self(Arc::new(Inner {
            subject: None,
            token_id: None,
            issued: None,
            expires: None,
            leeway: Duration::ZERO,
            rights,
            others: BTreeMap::new(),
        }))
    }

    /// Whom a verified token names.
    pub(super) fn of(claims: Claims, defaults: &Rights, leeway: Duration) -> Result<Self, Denied> {
        let Claims { sub, exp, jti, iat, stated, others } = claims;
        let rights = Rights::stated(&stated, defaults)
            .map_err(|(claim, expected)| Denied::Claim { claim: claim.to_owned(), expected })?;
        Ok(Self(Arc::new(Inner {
            subject: Some(sub.ok_or_else(|| Denied::Missing("sub".to_owned()))?.into()),
            token_id: jti,
            issued: iat,
            expires: Some(exp.ok_or_else(|| Denied::Missing("exp".to_owned()))?),
            leeway,
            rights,
            others,
        })))
    }

    /// Who it is: the claim `sub`. `None` without a token.
    pub fn subject(&self) -> Option<&Arc<str>> {
        self.0.subject.as_ref()
    }

    /// What the token is called: the claim `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.0.token_id.as_deref()
    }

    /// When the token was issued: the claim `iat`, in seconds since the Unix epoch.
    pub fn issued(&self) -> Option<f64> {
        self.0.issued
    }

    /// What may be done.
    pub fn rights(&self) -> &Rights {
        &self.0.rights
    }

    /// A claim that is not Tidings' own; `None` if the token has none of this name.
    ///
    /// # Errors
    /// When it is not what the type wants.
    pub fn claim<T: DeserializeOwned>(&self, claim: &str) -> Result<Option<T>, ClaimError> {
        let value = self.0.others.get(claim).cloned();
        value
            .map(serde_json::from_value)
            .transpose()
            .map_err(|source| ClaimError { claim: claim.to_owned(), source })
    }

    /// Whether it is the same subject's.
    pub(crate) fn is_same_subject(&self, other: &Self) -> bool {
        self.subject() == other.subject()
    }

    /// For how long its token is still good; `None` if it does not expire.
    pub(crate) fn expires_in(&self) -> Option<Duration> {
        self.0.expires.map(from_now)
    }

    /// How long from now it is ended; `None` if it is not.
    pub(crate) fn ends_in(&self) -> Option<Duration> {
        self.0.expires.map(|expires| from_now(expires + self.0.leeway.as_secs_f64()))
    }
}

/// How long from now a time comes, in seconds since the Unix epoch; at most a century.
fn from_now(time: f64) -> Duration {
    let left = (time - now()).clamp(0.0, 3.2e9);
    Duration::try_from_secs_f64(left).unwrap_or_default()
}

/// Seconds since the Unix epoch.
fn now() -> f64 {
    unix_micros() as f64 / 1e6
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("subject", &self.0.subject)
            .field("issued", &self.0.issued)
            .field("rights", &self.0.rights)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Identity {
    /// Whether it comes from the same token, presented once.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Identity {}
