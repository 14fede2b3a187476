//! What the server tells when it opens a conversation.

use std::time::Duration;

use bytes::Bytes;

use crate::json::{self, Value, Writer};
use crate::spelling::millis;

/// Nesting accepted in the handshake: an object with an array, and room for what may be added.
const MAX_DEPTH: usize = 16;

/// The JSON object of the open packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Names the conversation in later HTTP requests.
    pub sid: String,
    /// The carriers the client may move to.
    pub upgrades: Vec<String>,
    /// How often the server sends a ping. Milliseconds on the wire.
    pub ping_interval: Duration,
    /// How long a ping or its answer may be late. Milliseconds on the wire.
    pub ping_timeout: Duration,
    /// The largest HTTP body the server accepts, in bytes, if it says so.
    pub max_payload: Option<u32>,
}

/// The open packet does not hold a handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It is not JSON.
    #[error("the open packet is not JSON: {0}")]
    Json(#[from] json::Error),
    /// A field is missing or of another type.
    #[error("the open packet needs the field `{field}`: {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

impl Handshake {
    /// The JSON of the open packet.
    pub fn to_json(&self) -> Bytes {
        let mut out = Vec::with_capacity(128);
        let mut w = Writer::new(&mut out);
        w.begin_object().key("sid").str(&self.sid).key("upgrades").begin_array();
        for name in &self.upgrades {
            w.str(name);
        }
        w.end_array();
        w.key("pingInterval").u64(millis(self.ping_interval));
        w.key("pingTimeout").u64(millis(self.ping_timeout));
        if let Some(max) = self.max_payload {
            w.key("maxPayload").u64(max.into());
        }
        w.end_object();
        out.into()
    }

    /// Reads the JSON of an open packet. Unknown fields are ignored.
    ///
    /// # Errors
    /// When it is not JSON, or a field that is needed is missing.
    pub fn from_json(json: &[u8]) -> Result<Self, HandshakeError> {
        let value = json::parse(json, MAX_DEPTH)?;
        let millis = |field| {
            let millis = value.get(field).and_then(Value::as_u64);
            let expected = "a whole number of milliseconds";
            millis.map(Duration::from_millis).ok_or(HandshakeError::Field { field, expected })
        };
        let sid = value.get("sid").and_then(Value::as_str);
        let sid = sid.ok_or(HandshakeError::Field { field: "sid", expected: "a string" })?;
        let upgrades = value.get("upgrades").and_then(Value::array);
        Ok(Self {
            sid: sid.into_owned(),
            upgrades: upgrades
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str().map(String::from))
                .collect(),
            ping_interval: millis("pingInterval")?,
            ping_timeout: millis("pingTimeout")?,
            max_payload: value.get("maxPayload").and_then(Value::as_u32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let field = |json: &str| match Handshake::from_json(json.as_bytes()) {
            Err(HandshakeError::Field { field, .. }) => Some(field),
            _ => None,
        };
        assert_eq!(field("[]"), Some("sid"));
        assert_eq!(field(r#"{"sid":7}"#), Some("sid"));
        assert_eq!(field(r#"{"sid":"x"}"#), Some("pingInterval"));
        assert_eq!(field(r#"{"sid":"x","pingInterval":1.5}"#), Some("pingInterval"));
        assert_eq!(field(r#"{"sid":"x","pingInterval":1}"#), Some("pingTimeout"));
        assert!(matches!(Handshake::from_json(b"sid"), Err(HandshakeError::Json(_))));
        let least = Handshake::from_json(br#"{"sid":"x","pingInterval":1,"pingTimeout":2}"#);
        assert_eq!(least.map(|h| (h.upgrades, h.max_payload)), Ok((vec![], None)));
    }
}
