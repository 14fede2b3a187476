//! Payloads of collections as they are documented, and what is said about bad ones. That all
//! good ones come out as they went in is seen in `state_simulation`.

use tidings_core::state::wire::{
    change_name, read_change, read_load, read_loaded, read_mutate, read_verdicts, write_change,
};
use tidings_core::state::{Asked, Edit, Limits, Load, MutationId, Version};

#[test]
fn a_mutation_needs_no_more_than_its_ops() {
    let json = br#"{"ops": [{"op": "update", "key": "tea", "patch": {"done": true, "by": null}}]}"#;
    let asked = read_mutate(json, &Limits::default()).unwrap();
    let [Asked { mutation, refused: None, .. }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((&mutation.id, mutation.time), (&None, 0));
    let op = &mutation.ops[0];
    assert_eq!((&*op.key, op.base, &op.was), ("tea", None, &None));
    assert!(
        matches!(&op.edit, Edit::Update(patch) if patch.as_str() == r#"{"by":null,"done":true}"#)
    );
}

#[test]
fn a_load_needs_nothing() {
    let everything = Load { limit: usize::MAX, ..Load::default() };
    assert_eq!(read_load(b"null"), Ok(everything.clone()));
    assert_eq!(read_load(b"{}"), Ok(everything.clone()));
    let since = Load { after: Version(7), began: Version(7), ..everything };
    assert_eq!(read_load(br#"{"after": 7}"#), Ok(since));
}

#[test]
fn a_change_is_written_as_documented() {
    let json = r#"{"key":"tea","version":5,"value":{"done":true},"time":3,"since":2,"client":"c","seq":1}"#;
    let change = read_change(json.as_bytes()).unwrap();
    assert_eq!(write_change(&change), json.as_bytes());
    let deletion = read_change(br#"{"key":"tea","version":6,"value":null,"more":1}"#).unwrap();
    assert_eq!(deletion.value, None);
    assert_eq!(change_name("todos", &change.key), "state.todos.tea");
}

#[test]
fn bad_payloads_are_refused_with_what_is_wrong_and_where() {
    let limits = Limits { max_depth: 2, ..Limits::default() };
    for (json, says) in [
        ("[]", "payload: must be an object"),
        ("{", "payload: the JSON text ends before it is complete at byte 1"),
        ("{}", "payload: must have mutations, an array, or the ops of one mutation"),
        (r#"{"mutations":{}}"#, "mutations: must be an array"),
        (r#"{"mutations":[1]}"#, "mutations[0]: must be an object"),
        (r#"{"mutations":[{}]}"#, "mutations[0].ops: is missing"),
        (r#"{"ops":[]}"#, "ops: must not be empty"),
        (
            &format!(r#"{{"client":"{}","ops":[]}}"#, "x".repeat(129)),
            "client: has at most 128 bytes, this has 129",
        ),
        (r#"{"ops":[{}]}"#, "ops[0].op: is missing"),
        (
            r#"{"ops":[{"op":"upsert"}]}"#,
            r#"ops[0].op: "upsert" is none: write insert, update, replace, delete or increment"#,
        ),
        (r#"{"ops":[{"op":"delete"}]}"#, "ops[0].key: is missing"),
        (
            r#"{"ops":[{"op":"delete","key":"a.*"}]}"#,
            "ops[0].key: not a key: segment 2 is `*`, which only a pattern may contain: \
             an event's name says exactly what happened",
        ),
        (r#"{"seq":1,"ops":[{"op":"delete","key":"a"}]}"#, "seq: needs a client that counts"),
        (r#"{"client":"c","ops":[{"op":"delete","key":"a"}]}"#, "seq: is missing: a client counts"),
        (r#"{"client":"c","seq":0,"ops":[]}"#, "seq: counts from 1"),
        (
            r#"{"client":"c","seq":9007199254740992,"ops":[]}"#,
            "seq: must be at most 9007199254740991",
        ),
    ] {
        assert_eq!(read_mutate(json.as_bytes(), &limits).unwrap_err().to_string(), says, "{json}");
    }
    for (json, says) in [
        (
            r#"{"ops":[{"op":"insert","key":"a","value":[]}]}"#,
            "ops[0].value: a record must be a JSON object, this is an array",
        ),
        (
            r#"{"ops":[{"op":"insert","key":"a","value":{"a":{"b":{}}}}]}"#,
            "ops[0].value: the value is nested deeper than 2 levels at byte 10",
        ),
        (r#"{"ops":[{"op":"delete","key":"a","base":-1}]}"#, "ops[0].base: must be a whole number"),
        (
            r#"{"ops":[{"op":"delete","key":"b"},{"op":"upsert","key":"a"}]}"#,
            r#"ops[1].op: "upsert" is none: write insert, update, replace, delete or increment"#,
        ),
    ] {
        let asked = read_mutate(json.as_bytes(), &limits).unwrap();
        let [Asked { mutation, refused: Some(why), .. }] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((&*mutation.ops[0].key, why.as_str()), ("a", says), "{json}");
    }
    for json in [&b"7"[..], br#"{"after":"x"}"#] {
        assert!(read_load(json).is_err());
    }
    for json in
        [&b"{}"[..], br#"{"results":[{"version":1}]}"#, br#"{"results":[{"seq":1,"rejected":{}}]}"#]
    {
        assert!(read_verdicts(json).is_err());
    }
    for json in [&b"{}"[..], br#"{"policy":"merge","version":1,"changes":[{}]}"#] {
        assert!(read_loaded(json).is_err());
    }
    assert!(read_change(br#"{"key":"a"}"#).is_err(), "without a version it says nothing");
}

#[test]
fn a_mutation_that_is_not_understood_costs_the_others_nothing() {
    let json = br#"{"client": "c", "mutations": [
        {"seq": 1, "ops": [{"op": "delete", "key": "a"}]},
        {"seq": 2, "ops": [{"op": "upsert", "key": "b"}]},
        {"seq": 3, "ops": [{"op": "delete", "key": "c"}]}
    ]}"#;
    let asked = read_mutate(json, &Limits::default()).unwrap();
    let refused: Vec<_> = asked.iter().map(|asked| asked.refused.is_some()).collect();
    assert_eq!(refused, [false, true, false]);
    let id = Some(MutationId { client: "c".into(), seq: 2 });
    assert_eq!(asked[1].mutation.id, id, "its verdict is remembered");
}
