//! Identifiers that nobody can guess.

use std::io;

/// Characters of identifiers: base64url, as in Socket.IO's own ids.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// An identifier of `len` base64url characters, 6 bits of the system's randomness each.
pub(crate) fn random_id(len: usize) -> io::Result<String> {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_need_no_escaping() {
        let ids = [random_id(20).expect("randomness"), random_id(20).expect("randomness")];
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| id.len() == 20));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        assert!(ids.iter().all(|id| id.bytes().all(plain)));
    }
}
