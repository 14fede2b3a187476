//! The JSON scanner and writer against serde_json.

use proptest::prelude::*;
use serde_json::Value as Foreign;
use tidings_core::json::{self, Elements, ErrorKind, Kind, Value, Writer};

const DEPTH: usize = 100;

fn foreign_value() -> impl Strategy<Value = Foreign> {
    let scalar = prop_oneof![
        Just(Foreign::Null),
        any::<bool>().prop_map(Foreign::from),
        any::<u64>().prop_map(Foreign::from),
        any::<i64>().prop_map(Foreign::from),
        any::<f64>().prop_map(Foreign::from),
        text().prop_map(Foreign::from),
    ];
    scalar.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Foreign::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|members| Foreign::Object(members.into_iter().collect())),
        ]
    })
}

/// Strings in which quotes, backslashes and control characters are frequent.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::collection::vec(
            prop_oneof![Just('"'), Just('\\'), Just('\n'), Just('\u{1}'), Just('é'), any::<char>()],
            0..40
        )
        .prop_map(|chars| chars.into_iter().collect::<String>()),
        "[a-z.]{0,40}",
    ]
}

/// What a text means, read by our own iterators.
fn read(value: Value<'_>) -> Foreign {
    match value.kind() {
        Kind::Null => Foreign::Null,
        Kind::Bool => value.as_bool().expect("a bool").into(),
        Kind::Number => serde_json::from_str(value.raw()).expect("a number"),
        Kind::String => value.as_str().expect("a string").into_owned().into(),
        Kind::Array => value.array().expect("an array").map(read).collect(),
        Kind::Object => value
            .object()
            .expect("an object")
            .map(|(key, value)| (key.into_owned(), read(value)))
            .collect(),
    }
}

fn write(value: &Foreign, w: &mut Writer<'_>) {
    match value {
        Foreign::Null => w.null(),
        Foreign::Bool(b) => w.bool(*b),
        Foreign::Number(n) => match n.as_u64() {
            Some(n) => w.u64(n),
            None => w.raw(n.to_string().as_bytes()),
        },
        Foreign::String(s) => w.str(s),
        Foreign::Array(items) => {
            w.begin_array();
            items.iter().for_each(|item| write(item, w));
            w.end_array()
        }
        Foreign::Object(members) => {
            w.begin_object();
            for (key, value) in members {
                w.key(key);
                write(value, w);
            }
            w.end_object()
        }
    };
}

fn same_verdict(text: &[u8]) {
    let ours = json::parse(text, DEPTH);
    match (ours, serde_json::from_slice::<Foreign>(text)) {
        (Ok(ours), Ok(foreign)) => assert_eq!(read(ours), foreign),
        (Err(_), Err(_)) => {}
        // We keep numbers as text and do not ask whether a double can hold them.
        (Ok(_), Err(e)) if e.to_string().starts_with("number out of range") => {}
        (ours, foreign) => {
            panic!("{:?}: {ours:?} but serde_json {foreign:?}", String::from_utf8_lossy(text))
        }
    }
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_the_same(value in foreign_value(), pretty: bool) {
        let text = if pretty {
            serde_json::to_vec_pretty(&value)
        } else {
            serde_json::to_vec(&value)
        }.expect("it is JSON");
        let ours = json::parse(&text, DEPTH).expect("valid");
        prop_assert_eq!(read(ours), value);
    }

    #[test]
    fn what_we_write_is_read_the_same_by_serde_json(value in foreign_value()) {
        let mut out = Vec::new();
        write(&value, &mut Writer::new(&mut out));
        prop_assert_eq!(String::from_utf8(out), serde_json::to_string(&value).map_err(|_| unreachable!()));
    }

    #[test]
    fn damaged_texts_get_the_same_verdict(
        value in foreign_value(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4),
    ) {
        let mut text = serde_json::to_vec(&value).expect("it is JSON");
        for (at, edit) in edits {
            let at = at.index(text.len() + 1);
            match edit {
                Damage::Insert(bytes) => { text.splice(at..at, bytes.iter().copied()); }
                Damage::Remove => { text.splice(at.min(text.len())..(at + 1).min(text.len()), []); }
                Damage::Cut => text.truncate(at),
            }
        }
        same_verdict(&text);
    }

    #[test]
    fn arbitrary_bytes_get_the_same_verdict(text in prop::collection::vec(any::<u8>(), 0..80)) {
        same_verdict(&text);
    }

    #[test]
    fn arbitrary_json_characters_get_the_same_verdict(text in r#"[\[\]{},:"\\u0-9a-fA-FtrueflsEe+. -]{0,30}"#) {
        same_verdict(text.as_bytes());
    }

    #[test]
    fn string_escapes_get_the_same_verdict(inner in r#"(\\u[dD][89a-fA-F][0-9a-f]{2}|\\u[0-9a-f]{4}|\\["\\/bfnrtx]|[a-z"é\n]){0,12}"#) {
        same_verdict(format!("\"{inner}\"").as_bytes());
    }

    #[test]
    fn numbers_get_the_same_verdict(text in "-?[0-9]{0,25}([.][0-9]{0,5})?([eE][+-]?[0-9]{0,3})?") {
        same_verdict(text.as_bytes());
        let foreign = serde_json::from_str::<u64>(&text).ok().filter(|_| !text.contains(['.', 'e', 'E', '-']));
        if let Ok(value) = json::parse(text.as_bytes(), DEPTH) {
            prop_assert_eq!(value.as_u64(), foreign);
        }
    }

    #[test]
    fn lengths_are_told_before_writing(value in text(), number: u64) {
        let mut out = Vec::new();
        Writer::new(&mut out).str(&value);
        prop_assert_eq!(out.len(), json::escaped_len(&value));
        out.clear();
        Writer::new(&mut out).u64(number);
        prop_assert_eq!(out.len(), json::number_len(number));
    }

    #[test]
    fn elements_agree_with_parse(text in r#" ?\[?[\[\]{},:"a0 ]{0,12}\]? ?"#) {
        let elements = Elements::new(text.as_bytes(), DEPTH).and_then(|mut elements| {
            let mut all = Vec::new();
            while let Some(element) = elements.read()? {
                all.push(element);
            }
            Ok(all)
        });
        let parsed = json::parse(text.as_bytes(), DEPTH).ok().and_then(|v| v.array());
        prop_assert_eq!(elements.ok(), parsed.map(Iterator::collect));
    }
}

#[derive(Debug, Clone)]
enum Damage {
    Insert(&'static [u8]),
    Remove,
    Cut,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        prop::sample::select(vec![
            &b"\""[..],
            b"\\",
            b"[",
            b"]",
            b"{",
            b"}",
            b",",
            b":",
            b" ",
            b"\n",
            b"0",
            b"-",
            b".",
            b"e",
            b"\\u",
            b"\\ud800",
            b"\\udc00",
            b"null",
            b"\x00",
            b"\x1f",
            b"\xff",
            b"\xc3\xa9",
            b"\xc3",
            b"/",
        ])
        .prop_map(Damage::Insert),
        Just(Damage::Remove),
        Just(Damage::Cut),
    ]
}

#[test]
fn depth_is_bounded_without_recursion() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(json::parse(b"7", 0).is_ok());
    assert!(json::parse(&nested(64), 64).is_ok());
    let error = json::parse(&nested(65), 64).expect_err("too deep");
    assert_eq!((error.kind, error.at), (ErrorKind::TooDeep { limit: 64 }, 64));
    assert_eq!(error.to_string(), "the value is nested deeper than 64 levels at byte 64");
    assert!(json::parse(&nested(128), usize::MAX).is_ok());
    assert!(json::parse(&nested(1_000_000), usize::MAX).is_err());
    assert!(Elements::new(&nested(65), 64).and_then(Elements::finish).is_ok(), "per element");
    assert!(Elements::new(&nested(66), 64).and_then(Elements::finish).is_err());
}

#[test]
fn elements_before_an_error_are_given() {
    let mut elements = Elements::new(br#"["pub", 7, nil]"#, DEPTH).expect("an array");
    assert_eq!(elements.read().expect("ok").and_then(|v| v.as_str()).as_deref(), Some("pub"));
    assert_eq!(elements.read().expect("ok").and_then(|v| v.as_u64()), Some(7));
    let error = elements.read().expect_err("not a value");
    assert_eq!((error.kind, error.at), (ErrorKind::ExpectedValue, 11));
    assert_eq!(elements.read(), Err(error), "and again");
}

#[test]
fn the_last_of_equal_keys_counts() {
    let object = json::parse(br#"{"a":1,"b":2,"\u0061":3}"#, DEPTH).expect("valid");
    assert_eq!(object.get("a").and_then(Value::as_u64), Some(3));
    assert_eq!(object.get("c"), None);
}
