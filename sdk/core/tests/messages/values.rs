//! Arbitrary JSON and payloads.

use bytes::Bytes;
use proptest::prelude::*;
use tidings_core::Payload;

pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        // Of a size that every writer spells without an exponent.
        any::<i32>().prop_map(|n| (f64::from(n) / 64.0).into()),
        any::<String>().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    });
    value.prop_map(|value| value.to_string())
}

pub(crate) fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        json_text().prop_map(|text| Payload::Json(text.into())),
        any::<Vec<u8>>().prop_map(|data| Payload::Binary(data.into())),
        // Objects that mean something to one protocol or the other.
        prop::sample::select(vec![
            r#"{"_placeholder":true,"num":0}"#,
            r#"{"$bin":"AAAA"}"#,
            r#"{"$esc":1}"#,
            r#"{"$bin":1,"$esc":2}"#,
        ])
        .prop_map(|text| Payload::Json(Bytes::from_static(text.as_bytes()))),
    ]
}
