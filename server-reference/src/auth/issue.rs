//! Tokens for trying things out.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use super::crypto;
use crate::clock::unix_micros;

/// A token cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot be signed: {0}")]
pub struct IssueError(#[from] jsonwebtoken::errors::Error);

/// Makes a token: a JWT signed with `secret` (HS256) for `subject`, good from now on for `good_for`,
/// with these further claims. For trying things out, and for services that share the secret.
///
/// ```
/// use std::time::Duration;
/// use serde_json::json;
/// let claims = json!({"subscribe": ["orders.*"]}).as_object().cloned().unwrap_or_default();
/// let token = tidings_server::auth::issue("a secret of 32 bytes, or longer.", "ann", Duration::from_secs(600), claims)?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), tidings_server::auth::IssueError>(())
/// ```
///
/// # Errors
/// When it cannot be signed.
pub fn issue(
    secret: &str,
    subject: &str,
    good_for: Duration,
    claims: Map<String, Value>,
) -> Result<String, IssueError> {
    crypto::install();
    let now = unix_micros() / 1_000_000;
    let mut all = Map::from_iter([
        ("sub".to_owned(), json!(subject)),
        ("iat".to_owned(), json!(now)),
        ("exp".to_owned(), json!(now.saturating_add(good_for.as_secs()))),
    ]);
    all.extend(claims);
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(encode(&Header::new(Algorithm::HS256), &all, &key)?)
}
