//! MessagePack against rmpv, and its translation against serde_json.

use proptest::prelude::*;
use rmpv::Value as Foreign;
use serde_json::Value as Json;
use tidings_core::msgpack::{self, Error, Reader, Token, Value, Writer, from_json, to_json};

const DEPTH: usize = 100;
const LEN: usize = 1 << 20;

fn foreign_value() -> impl Strategy<Value = Foreign> {
    let len = || prop_oneof![0..40_usize, 250..260_usize, Just(70_000_usize)];
    let scalar = prop_oneof![
        Just(Foreign::Nil),
        any::<bool>().prop_map(Foreign::from),
        any::<u64>().prop_map(Foreign::from),
        any::<i64>().prop_map(Foreign::from),
        (-200..70_000_i64).prop_map(Foreign::from),
        any::<f32>().prop_map(Foreign::from),
        any::<f64>().prop_map(Foreign::from),
        any::<String>().prop_map(Foreign::from),
        len().prop_map(|len| Foreign::from("x".repeat(len))),
        len().prop_map(|len| Foreign::from(vec![7; len])),
        (any::<i8>(), prop::sample::select(vec![0, 1, 2, 3, 4, 8, 16, 17, 300, 70_000_usize]))
            .prop_map(|(kind, len)| Foreign::Ext(kind, vec![7; len])),
    ];
    scalar.prop_recursive(4, 40, 20, |inner| {
        let key = prop_oneof![9 => any::<String>().prop_map(Foreign::from), 1 => inner.clone()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Foreign::from),
            prop::collection::vec((key, inner), 0..20).prop_map(Foreign::from),
        ]
    })
}

fn foreign_bytes(value: &Foreign) -> Vec<u8> {
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, value).expect("a vector takes everything");
    out
}

/// What our view of a value shows.
fn read(value: Value<'_>) -> Foreign {
    match value.token() {
        Token::Nil => Foreign::Nil,
        Token::Bool(b) => b.into(),
        Token::Unsigned(n) => n.into(),
        Token::Negative(n) => n.into(),
        Token::Float(n) => n.into(),
        Token::Str(s) => s.into(),
        Token::Bin(b) => b.into(),
        Token::Ext(kind, content) => Foreign::Ext(kind, content.to_vec()),
        Token::Array(_) => Foreign::Array(value.array().expect("an array").map(read).collect()),
        Token::Map(_) => {
            let members = value.map().expect("a map");
            Foreign::Map(members.map(|(key, value)| (read(key), read(value))).collect())
        }
    }
}

/// The same with floats of 32 bits widened and NaNs alike, so that values can be compared.
fn normal(value: &Foreign) -> Foreign {
    match value {
        Foreign::F32(n) => normal(&Foreign::F64((*n).into())),
        Foreign::F64(n) if n.is_nan() => Foreign::from("NaN"),
        Foreign::Array(items) => items.iter().map(normal).collect::<Vec<_>>().into(),
        Foreign::Map(members) => {
            members.iter().map(|(k, v)| (normal(k), normal(v))).collect::<Vec<_>>().into()
        }
        other => other.clone(),
    }
}

/// What JSON can say of a value.
fn as_json(value: &Foreign) -> Option<Json> {
    Some(match value {
        Foreign::Nil => Json::Null,
        Foreign::Boolean(b) => (*b).into(),
        Foreign::Integer(n) => n.as_u64().map(Json::from).or(n.as_i64().map(Json::from))?,
        Foreign::F32(n) => serde_json::Number::from_f64((*n).into())?.into(),
        Foreign::F64(n) => serde_json::Number::from_f64(*n)?.into(),
        Foreign::String(s) => s.as_str()?.into(),
        Foreign::Binary(_) | Foreign::Ext(..) => return None,
        Foreign::Array(items) => items.iter().map(as_json).collect::<Option<Vec<_>>>()?.into(),
        Foreign::Map(members) => Json::Object(
            members
                .iter()
                .map(|(k, v)| Some((k.as_str()?.to_owned(), as_json(v)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

fn from_foreign_json(value: &Json) -> Foreign {
    match value {
        Json::Null => Foreign::Nil,
        Json::Bool(b) => (*b).into(),
        Json::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => n.into(),
            (_, Some(n)) => n.into(),
            _ => n.as_f64().expect("a double").into(),
        },
        Json::String(s) => s.as_str().into(),
        Json::Array(items) => items.iter().map(from_foreign_json).collect::<Vec<_>>().into(),
        Json::Object(members) => members
            .iter()
            .map(|(k, v)| (k.as_str().into(), from_foreign_json(v)))
            .collect::<Vec<_>>()
            .into(),
    }
}

fn json_value() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
        (0..70_000_usize).prop_map(|len| "x".repeat(len).into()),
    ];
    scalar.prop_recursive(4, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Json::from),
            prop::collection::vec((any::<String>(), inner), 0..20)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_rmpv_writes_we_read(value in foreign_value()) {
        let bytes = foreign_bytes(&value);
        let ours = msgpack::parse(&bytes, DEPTH).expect("valid");
        prop_assert_eq!(normal(&read(ours)), normal(&value));
    }

    #[test]
    fn what_we_translate_rmpv_reads(value in json_value()) {
        let mut out = Vec::new();
        from_json(value.to_string().as_bytes(), &mut out, DEPTH).expect("it can be carried");
        let foreign = rmpv::decode::read_value(&mut &out[..]).expect("valid");
        prop_assert_eq!(&foreign, &from_foreign_json(&value));
        prop_assert_eq!(out, foreign_bytes(&foreign), "in the shortest form");
    }

    #[test]
    fn json_survives_the_way_there_and_back(value in json_value()) {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let text = value.to_string();
        from_json(text.as_bytes(), &mut there, DEPTH).expect("it can be carried");
        to_json(&mut Reader::new(&there), &mut back, DEPTH, LEN).expect("it came from JSON");
        let back: Json = serde_json::from_slice(&back).expect("JSON");
        prop_assert_eq!(back, value);
    }

    #[test]
    fn what_json_can_say_is_said(value in foreign_value()) {
        let bytes = foreign_bytes(&value);
        let mut out = Vec::new();
        let mut reader = Reader::new(&bytes);
        match (to_json(&mut reader, &mut out, DEPTH, LEN), as_json(&value)) {
            (Ok(()), Some(json)) => {
                let ours: Json = serde_json::from_slice(&out).expect("JSON");
                prop_assert_eq!(ours, json);
                prop_assert!(reader.rest().is_empty());
            }
            (Err(Error::Binary | Error::Extension(_) | Error::Key | Error::NotFinite), None) => {}
            (Err(Error::TooLarge { .. }), _) => {}
            (ours, foreign) => panic!("{ours:?} but {foreign:?}"),
        }
    }

    #[test]
    fn arbitrary_bytes_get_the_same_verdict(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut rest = &bytes[..];
        let foreign = rmpv::decode::read_value_with_max_depth(&mut rest, DEPTH);
        let foreign = foreign.ok().filter(|_| rest.is_empty());
        match (msgpack::parse(&bytes, DEPTH), foreign) {
            (Ok(ours), Some(foreign)) => prop_assert_eq!(normal(&read(ours)), normal(&foreign)),
            // It keeps strings that are not UTF-8 as bytes, and takes 0xC1 for nil.
            (Err(Error::Utf8 | Error::Reserved), Some(_)) | (Err(_), None) => {}
            (ours, foreign) => panic!("{ours:?} but {foreign:?}"),
        }
        let mut out = Vec::new();
        let _ = to_json(&mut Reader::new(&bytes), &mut out, DEPTH, 100);
        prop_assert!(out.len() < 600, "limited: {}", out.len());
    }

    #[test]
    fn single_steps_agree_with_rmpv(number: i64, bytes in prop::collection::vec(any::<u8>(), 0..300), kind: i8) {
        let mut out = Vec::new();
        Writer::new(&mut out).i64(number).bin(&bytes).ext(kind, &bytes).bool(true).nil();
        let mut rest = &out[..];
        let mut next = || rmpv::decode::read_value(&mut rest).expect("valid");
        prop_assert_eq!(next(), Foreign::from(number));
        prop_assert_eq!(next(), Foreign::from(&bytes[..]));
        prop_assert_eq!(next(), Foreign::Ext(kind, bytes.clone()));
        prop_assert_eq!(next(), Foreign::from(true));
        prop_assert_eq!(next(), Foreign::Nil);
    }

    #[test]
    fn malformed_json_is_refused(text in r#"[\[\]{},:"a0-9. ]{0,20}"#) {
        let valid = tidings_core::json::parse(text.as_bytes(), DEPTH).is_ok();
        match from_json(text.as_bytes(), &mut Vec::new(), DEPTH) {
            Ok(()) | Err(Error::Number { .. }) => prop_assert!(valid, "{}", text),
            Err(_) => prop_assert!(!valid, "{}", text),
        }
    }
}

#[test]
fn numbers_that_cannot_be_carried_are_named() {
    let mut out = Vec::new();
    for (text, at) in [("[1,18446744073709551616]", 3), ("-9223372036854775809", 0), ("1e999", 0)] {
        let error = from_json(text.as_bytes(), &mut out, DEPTH).expect_err(text);
        assert_eq!(error, Error::Number { at });
        assert!(error.to_string().contains(&format!("byte {at}")), "{error}");
    }
    out.clear();
    from_json(b"-0", &mut out, DEPTH).expect("a double");
    assert_eq!(Reader::new(&out).token(), Ok(Token::Float(-0.0)));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xC0]].concat();
    let text = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    let mut out = Vec::new();
    assert!(msgpack::parse(&nested(64), 64).is_ok());
    assert_eq!(msgpack::parse(&nested(65), 64), Err(Error::TooDeep { limit: 64 }));
    assert_eq!(msgpack::parse(&nested(1_000_000), 1 << 30), Err(Error::TooDeep { limit: 128 }));
    assert!(to_json(&mut Reader::new(&nested(64)), &mut out, 64, LEN).is_ok());
    let error = to_json(&mut Reader::new(&nested(1_000_000)), &mut out, usize::MAX, LEN);
    assert_eq!(error, Err(Error::TooDeep { limit: 128 }));
    assert!(from_json(text(64).as_bytes(), &mut out, 64).is_ok());
    assert!(from_json(text(65).as_bytes(), &mut out, 64).is_err());
}

/// What comes after a value that is too deep can still be read.
#[test]
fn a_value_too_deep_is_skipped_whole() {
    let deep = [vec![0x92; 10], vec![0x01; 11]].concat();
    let bytes = [&deep[..], &[0x07]].concat();
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.skip(5), Err(Error::TooDeep { limit: 5 }));
    assert_eq!(reader.token(), Ok(Token::Unsigned(7)));
}
