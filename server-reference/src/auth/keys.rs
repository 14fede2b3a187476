//! The keys with which tokens may be signed, each for the algorithms it is meant for.

use std::io;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use ring::digest;

use super::denied::Denied;

/// RFC 7518 asks for as many bytes of a secret for HS256.
const SECRET_BYTES: usize = 32;

/// The keys that are good now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyRing(Vec<Key>);

/// One key, pinned to its algorithm: a token that names another one is refused, whatever it says.
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
    /// To tell it from others without keeping it twice.
    digest: digest::Digest,
}

/// The keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    /// It cannot be fetched.
    #[error("cannot fetch {url}: {source}")]
    Fetch { url: String, source: Box<ureq::Error> },
    /// It is no key set.
    #[error("{path} is no JSON Web Key Set, {{\"keys\": [...]}}: {source}")]
    NotJwks { path: String, source: serde_json::Error },
    /// A key in it is broken.
    #[error("{path}: key {number}: {source}")]
    Key { path: String, number: usize, source: jsonwebtoken::errors::Error },
    /// Nothing in it can be used.
    #[error(
        "{path} has no key that tokens can be checked with: RSA, EC (P-256, P-384), OKP (Ed25519) or oct"
    )]
    NoKeys { path: String },
    /// It is empty.
    #[error("{path} has no secret: write one to a line")]
    NoSecret { path: String },
}

impl KeyRing {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// With this secret, for HS256.
    pub(super) fn push_secret(&mut self, secret: &str) {
        if secret.len() < SECRET_BYTES {
            tracing::warn!(
                bytes = secret.len(),
                "a secret of fewer than {SECRET_BYTES} bytes can be guessed from a token: use a random one"
            );
        }
        self.0.push(Key {
            id: None,
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            digest: digest::digest(&digest::SHA256, secret.as_bytes()),
        });
    }

    /// With the keys of a key set that are for signatures and of a kind that is known.
    pub(super) fn push_jwks(&mut self, path: &str, text: &str) -> Result<(), KeysError> {
        let path = || path.to_owned();
        let set: JwkSet = serde_json::from_str(text)
            .map_err(|source| KeysError::NotJwks { path: path(), source })?;
        let before = self.len();
        for (number, jwk) in set.keys.iter().enumerate() {
            let Some(algorithm) = algorithm(jwk) else { continue };
            let decoding = DecodingKey::from_jwk(jwk).map_err(|source| KeysError::Key {
                path: path(),
                number,
                source,
            })?;
            let written = serde_json::to_vec(jwk).unwrap_or_default();
            let digest = digest::digest(&digest::SHA256, &written);
            self.0.push(Key { id: jwk.common.key_id.clone(), algorithm, decoding, digest });
        }
        if self.len() == before { Err(KeysError::NoKeys { path: path() }) } else { Ok(()) }
    }

    /// The keys that a token may be signed with which names this key, if any, and this algorithm.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<&Key>, Denied> {
        let named: Vec<&Key> = match id {
            Some(id) if self.0.iter().any(|key| key.id.as_deref() == Some(id)) => {
                self.0.iter().filter(|key| key.id.as_deref() == Some(id)).collect()
            }
            // A key that has no name may be the one that is named.
            Some(_) => self.0.iter().filter(|key| key.id.is_none()).collect(),
            None => self.0.iter().collect(),
        };
        if named.is_empty() {
            return Err(Denied::UnknownKey);
        }
        let fitting: Vec<&Key> =
            named.into_iter().filter(|key| key.algorithm == algorithm).collect();
        if fitting.is_empty() { Err(Denied::Algorithm) } else { Ok(fitting) }
    }
}

/// The one algorithm that a key is for: what it says, or the usual one of its kind.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
        return None;
    }
    let usual = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Algorithm::ES256,
            EllipticCurve::P384 => Algorithm::ES384,
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    match jwk.common.key_algorithm {
        None => Some(usual),
        // One that is not of its kind is a mistake, or a trap.
        Some(stated) => {
            let stated = Algorithm::try_from(stated).ok()?;
            let is_ec = matches!(usual, Algorithm::ES256 | Algorithm::ES384);
            let fits = if is_ec { stated == usual } else { stated.family() == usual.family() };
            fits.then_some(stated)
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.algorithm == other.algorithm
            && self.digest.as_ref() == other.digest.as_ref()
    }
}

impl Eq for Key {}
