//! MessagePack: what can be said in JSON is said the same on the way back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_core::msgpack::{self, Reader, from_json, to_json};

fuzz_target!(|data: &[u8]| {
    let checked = msgpack::parse(data, 32);
    let mut text = Vec::new();
    let mut reader = Reader::new(data);
    if to_json(&mut reader, &mut text, 32, 4096).is_err() {
        assert!(text.len() <= 4096 + 6 * data.len());
        return;
    }
    assert_eq!(checked.is_ok(), reader.rest().is_empty());
    let mut bytes = Vec::new();
    from_json(&text, &mut bytes, 32).expect("it came from MessagePack");
    let mut again = Vec::new();
    to_json(&mut Reader::new(&bytes), &mut again, 32, usize::MAX).expect("our own bytes");
    assert_eq!(text, again);
});
