//! The JSON scanner: what it accepts can be walked through and written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_core::json::{self, Elements, Kind, Value, Writer};

fn write(value: Value<'_>, w: &mut Writer<'_>) {
    match value.kind() {
        Kind::String => w.str(&value.as_str().expect("a string")),
        Kind::Array => {
            w.begin_array();
            value.array().expect("an array").for_each(|item| write(item, w));
            w.end_array()
        }
        Kind::Object => {
            w.begin_object();
            for (key, item) in value.object().expect("an object") {
                w.key(&key);
                write(item, w);
            }
            w.end_object()
        }
        Kind::Null | Kind::Bool | Kind::Number => w.raw(value.raw().as_bytes()),
    };
}

fuzz_target!(|data: &[u8]| {
    let elements = Elements::new(data, 32).and_then(Elements::finish);
    let Ok(value) = json::parse(data, 33) else { return };
    assert_eq!(elements.is_ok(), value.kind() == Kind::Array);
    let mut written = Vec::new();
    write(value, &mut Writer::new(&mut written));
    let again = json::parse(&written, 33).expect("our own text");
    let mut twice = Vec::new();
    write(again, &mut Writer::new(&mut twice));
    assert_eq!(written, twice);
});
