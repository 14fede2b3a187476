//! Identifiers that nobody can guess.

/// Characters of identifiers: base64url, as in Socket.IO's own ids.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// An identifier of 20 base64url characters from the system's random source.
///
/// # Panics
/// If that source fails: an identifier that can be guessed is worse than none.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).expect("the system's random source answers");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

/// An identifier of so many hexadecimal digits (at most 64) from the system's random source.
///
/// # Panics
/// As [`random_id`].
pub(crate) fn random_hex(digits: usize) -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system's random source answers");
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_need_no_escaping() {
        let ids = [random_id(), random_id()];
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| id.len() == 20));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        assert!(ids.iter().all(|id| id.bytes().all(plain)));
    }
}
