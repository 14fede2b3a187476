//! Names and patterns, divided by zero bytes: the first is the name. What the index finds is what
//! the patterns match one by one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_core::{Name, Pattern, PatternIndex};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut texts = text.split('\0');
    let name = texts.next().unwrap_or_default();
    if Name::check(name).is_err() {
        return;
    }
    let mut index = PatternIndex::new();
    let mut expected = Vec::new();
    for (number, text) in texts.take(64).enumerate() {
        let Ok(pattern) = Pattern::new(text) else { continue };
        assert_eq!(pattern.as_str(), text);
        if pattern.matches(name) {
            expected.push(number);
        }
        index.insert(&pattern, number);
    }
    let mut found = Vec::new();
    index.match_into(name, &mut found);
    found.sort_unstable();
    assert_eq!(found, expected);
});
