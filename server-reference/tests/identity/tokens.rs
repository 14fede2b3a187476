//! Tokens of every kind, made by hand: whoever attacks does not use our library.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

pub(crate) const SECRET: &str = "a secret that only the tests know";

/// Seconds since the Unix epoch, so much later than now.
pub(crate) fn at(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    i64::try_from(now).expect("a time") + offset
}

/// A token of `ann` for this server, good for ten minutes, with these claims besides or instead.
pub(crate) fn token(claims: Value) -> String {
    signed(SECRET, r#"{"alg":"HS256","typ":"JWT"}"#, claims)
}

/// The same with another secret, or another header.
pub(crate) fn signed(secret: &str, header: &str, claims: Value) -> String {
    let mut all = json!({"sub": "ann", "aud": "tests", "exp": at(600)});
    for (claim, value) in claims.as_object().expect("an object") {
        all[claim] = value.clone();
    }
    let message =
        format!("{}.{}", url_safe(header.as_bytes()), url_safe(all.to_string().as_bytes()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    format!("{message}.{}", url_safe(ring::hmac::sign(&key, message.as_bytes()).as_ref()))
}

fn url_safe(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    tidings_core::base64::encode(bytes, &mut text);
    let text = String::from_utf8(text).expect("base64");
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// A configuration that takes them.
pub(crate) fn config() -> tidings_server::Config {
    tidings_server::Config::default().with(|c| {
        c.auth.secret = SECRET.into();
        c.auth.audience = vec!["tests".to_owned()];
        c.auth.leeway = Duration::ZERO;
    })
}
