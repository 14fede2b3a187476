//! Base64 as of RFC 4648 section 4: the standard alphabet, with padding.
//!
//! Binary travels this way where a carrier has text alone: in HTTP polling and in JSON.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD: u8 = b'=';
const INVALID: u8 = 0xff;

/// The value of each character, or [`INVALID`].
const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values
};

/// How many characters `len` bytes become.
pub const fn encoded_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// Appends `data` as base64.
///
/// ```
/// let mut out = Vec::new();
/// tidings_core::base64::encode(b"light", &mut out);
/// assert_eq!(out, b"bGlnaHQ=");
/// ```
pub fn encode(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_len(data.len()));
    let digit = |bits: u32| ALPHABET[(bits & 63) as usize];
    let (triples, rest) = data.as_chunks::<3>();
    for [a, b, c] in triples {
        let bits = u32::from_be_bytes([0, *a, *b, *c]);
        out.extend([digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)]);
    }
    match rest {
        [a] => {
            let bits = u32::from(*a);
            out.extend([digit(bits >> 2), digit(bits << 4), PAD, PAD]);
        }
        [a, b] => {
            let bits = u32::from_be_bytes([0, 0, *a, *b]);
            out.extend([digit(bits >> 10), digit(bits >> 4), digit(bits << 2), PAD]);
        }
        _ => {}
    }
}

/// Reads base64; `None` if `text` is anything else: a foreign character, white space, missing
/// padding, or bits set that belong to no byte.
///
/// ```
/// assert_eq!(tidings_core::base64::decode(b"bGlnaHQ=").as_deref(), Some(&b"light"[..]));
/// assert_eq!(tidings_core::base64::decode(b"bGlnaHQ"), None);
/// ```
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (quads, []) = text.as_chunks::<4>() else { return None };
    let mut out = Vec::with_capacity(quads.len() * 3);
    let Some((last, whole)) = quads.split_last() else { return Some(out) };
    for quad in whole {
        let [_, a, b, c] = bits(*quad)?.to_be_bytes();
        out.extend([a, b, c]);
    }
    let (digits, len) = match *last {
        [a, b, PAD, PAD] => ([a, b, b'A', b'A'], 1),
        [a, b, c, PAD] => ([a, b, c, b'A'], 2),
        digits => (digits, 3),
    };
    let [_, bytes @ ..] = bits(digits)?.to_be_bytes();
    let (kept, dropped) = bytes.split_at(len);
    out.extend_from_slice(kept);
    dropped.iter().all(|byte| *byte == 0).then_some(out)
}

fn bits(digits: [u8; 4]) -> Option<u32> {
    let [a, b, c, d] = digits.map(|digit| VALUES[usize::from(digit)]);
    if (a | b | c | d) > 63 {
        return None;
    }
    Some(u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            encode(plain.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zg===", "=Zg=", "Zh==", "Zm9", "Zm 8", "Zm-_", "Zg==Zg=="] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(data: Vec<u8>) {
            let mut out = Vec::new();
            encode(&data, &mut out);
            prop_assert_eq!(out.len(), encoded_len(data.len()));
            prop_assert_eq!(decode(&out), Some(data));
        }

        #[test]
        fn what_is_decoded_was_the_only_spelling(text in "[A-Za-z0-9+/=]{0,12}") {
            if let Some(data) = decode(text.as_bytes()) {
                let mut out = Vec::new();
                encode(&data, &mut out);
                prop_assert_eq!(out, text.into_bytes());
            }
        }
    }
}
