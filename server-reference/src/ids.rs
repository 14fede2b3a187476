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

/// What a session is called, which nobody else can guess. That of a subject ends with a digest of who
/// it is: whoever learns it cannot take it up as somebody else, at no instance.
///
/// # Panics
/// As [`random_id`].
pub(crate) fn session_id(subject: Option<&str>) -> String {
    match subject {
        None => random_id(),
        Some(subject) => format!("{}.{}", random_id(), digest_of(subject)),
    }
}

/// Whether a session that is called so can be this subject's.
pub(crate) fn is_session_of(session: &str, subject: Option<&str>) -> bool {
    match subject {
        None => !session.contains('.'),
        Some(subject) => {
            session.split_once('.').is_some_and(|(_, digest)| digest == digest_of(subject))
        }
    }
}

/// 120 bits of the digest of a text, from which it does not follow.
pub(crate) fn digest_of(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref()[..20].iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
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
    fn a_session_belongs_to_its_subject_alone() {
        let (anns, nobodys) = (session_id(Some("ann")), session_id(None));
        assert!(is_session_of(&anns, Some("ann")) && is_session_of(&nobodys, None));
        for (session, subject) in
            [(&anns, Some("ben")), (&anns, None), (&nobodys, Some("ann")), (&nobodys, Some(""))]
        {
            assert!(!is_session_of(session, subject), "{session} {subject:?}");
        }
        assert!(!anns.contains("ann"));
    }

    #[test]
    fn ids_differ_and_need_no_escaping() {
        let ids = [random_id(), random_id()];
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| id.len() == 20));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        assert!(ids.iter().all(|id| id.bytes().all(plain)));
    }
}
