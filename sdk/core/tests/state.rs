//! Records, patches, policies, undo: one rule at a time. What they do together is for
//! `state_simulation`.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_core::state::draft::{Draft, Part};
use tidings_core::state::{
    Asked, Change, Collection, Document, Edit, Judged, Keep, Key, Limits, Load, MutateError,
    Mutation, MutationId, Notice, Op, Outcome, Patch, Policy, Reason, Resolution, Rules, Store,
    StoreConfig, Verdict, Version, wire,
};

fn document(value: &Value) -> Document {
    Document::parse(value.to_string().as_bytes(), 32).unwrap()
}

fn patch(value: &Value) -> Patch {
    Patch::parse(value.to_string().as_bytes(), 32).unwrap()
}

fn value(document: &Document) -> Value {
    serde_json::from_str(document.as_str()).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

#[test]
fn patches_are_those_of_rfc_7396() {
    // Appendix A, as far as both are objects; members that are null are absent here.
    for (target, change, result) in [
        (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
        (json!({"a":"b"}), json!({"a":null}), json!({})),
        (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
        (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
        (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
        (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
        (json!({"e":null}), json!({"a":1}), json!({"a":1})),
        (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
    ] {
        assert_eq!(value(&document(&target).patched(&patch(&change))), result, "{target} {change}");
    }
}

#[test]
fn a_record_has_one_text() {
    let text = br#" { "b" : [ 1, {"y":2, "x":null} ], "a" : "\u00e9\/\n", "c": null, "a": 1.0 } "#;
    let record = Document::parse(text, 8).unwrap();
    assert_eq!(record.as_str(), r#"{"a":1.0,"b":[1,{"x":null,"y":2}]}"#);
    let escaped = Document::parse(br#"{"\u0061":"\u00e9\/\u000a"}"#, 8).unwrap();
    assert_eq!(escaped.as_str(), "{\"a\":\"é/\\n\"}");
    for (bad, says) in [
        ("[1]", "a record must be a JSON object, this is an array"),
        ("{\"a\":}", "a JSON value was expected at byte 5"),
        ("{\"a\":[[[[]]]]}", "nested deeper than 4"),
    ] {
        let error = Document::parse(bad.as_bytes(), 4).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

fn any_record() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        "[a-c\"\\\\\u{e9}]{0,2}".prop_map(Value::from),
    ];
    let field = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[a-d]", field, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_to_the_other(from in any_record(), to in any_record()) {
        let (from, to) = (document(&from), document(&to));
        prop_assert_eq!(&from.patched(&from.patch_to(&to)), &to);
        prop_assert_eq!(from == to, from.patch_to(&to).is_empty());
    }

    #[test]
    fn what_was_takes_a_patch_back(record in any_record(), change in any_record()) {
        let (record, change) = (document(&record), patch(&change));
        let changed = record.patched(&change);
        prop_assert_eq!(&changed.patched(&changed.reverted(&record, &changed)), &record);
    }

    #[test]
    fn a_record_reads_as_it_was_written(record in any_record()) {
        prop_assert_eq!(value(&document(&record)), record);
    }
}

/// A collection with one record, `{"n": 1, "a": "x", "b": "x"}` under `k`.
struct Scene {
    collection: Collection,
    now_us: u64,
}

impl Scene {
    fn new(policy: Policy, limits: Limits) -> Self {
        let mut scene =
            Self { collection: Collection::new(policy, limits, 1000), now_us: 2_000_000 };
        let record = document(&json!({"n": 1, "a": "x", "b": "x"}));
        assert!(scene.is_accepted("maker", 0, Edit::Insert(record)));
        scene
    }

    fn version(&self) -> Option<Version> {
        self.collection.get("k").map(|record| record.stamp.version)
    }

    fn judge(&mut self, client: &str, time: u64, base: Option<Version>, edit: Edit) -> Judged {
        self.now_us += 1_000_000;
        let was = Some(patch(&json!({"n": 1, "a": "x", "b": "x"})));
        let id = Some(MutationId { client: client.into(), seq: self.now_us });
        let ops = vec![Op { key: key("k"), base, was, edit }];
        self.collection.mutate(self.now_us, Mutation { id, time, ops })
    }

    fn is_accepted(&mut self, client: &str, time: u64, edit: Edit) -> bool {
        let base = self.version();
        matches!(&*self.judge(client, time, base, edit).verdict, Verdict::Accepted { .. })
    }
}

/// What becomes of it when somebody else has set `a` to `y` since: the record, and the outcome.
fn meet(policy: &Policy, time: u64, edit: Edit) -> (Option<Value>, Option<Outcome>) {
    let mut scene = Scene::new(policy.clone(), Limits::default());
    let base = scene.version();
    assert!(scene.is_accepted("other", 3000, Edit::Update(patch(&json!({"a": "y"})))));
    let verdict = scene.judge("me", time, base, edit).verdict;
    let outcome = match &*verdict {
        Verdict::Accepted { conflicts, .. } => conflicts.first().map(|c| c.outcome),
        Verdict::Rejected(rejection) => match &rejection.reason {
            Reason::Conflict(conflict) => Some(conflict.outcome),
            other => panic!("{other}"),
        },
        Verdict::Forgotten => panic!("it was never seen"),
    };
    (scene.collection.get("k").map(|record| value(&record.value)), outcome)
}

#[test]
fn each_policy_decides_in_its_own_way() {
    let theirs = json!({"n": 1, "a": "y", "b": "x"});
    let update = |a: &str| Edit::Update(patch(&json!({"a": a, "b": "z"})));
    let other_field = || Edit::Update(patch(&json!({"b": "z"})));
    let replace = || Edit::Replace(document(&json!({"n": 2, "a": "x"})));
    let custom = Policy::Custom(Arc::new(|conflict| match &conflict.mine {
        Some(mine) => Resolution::Merged(conflict.theirs.patched(&patch(&json!({
            "a": format!("{}+{}", value(&conflict.theirs)["a"], value(mine)["a"])
        })))),
        None => Resolution::Theirs,
    }));
    use Outcome::{Merged, Mine, Theirs};
    for (policy, time, edit, record, outcome) in [
        (Policy::Merge, 1, update("z"), json!({"n": 1, "a": "z", "b": "z"}), Some(Merged)),
        (Policy::Merge, 1, update("y"), json!({"n": 1, "a": "y", "b": "z"}), None),
        (Policy::Merge, 1, other_field(), json!({"n": 1, "a": "y", "b": "z"}), None),
        (Policy::Merge, 1, replace(), json!({"n": 2, "a": "y"}), None),
        (Policy::Merge, 1, Edit::Delete, theirs.clone(), Some(Theirs)),
        (Policy::ServerWins, 1, other_field(), theirs.clone(), Some(Theirs)),
        (Policy::ClientWins, 1, other_field(), json!({"n": 1, "a": "y", "b": "z"}), Some(Mine)),
        (Policy::ClientWins, 1, replace(), json!({"n": 2, "a": "x"}), Some(Mine)),
        (Policy::LastWriteWins, 3001, replace(), json!({"n": 2, "a": "x"}), Some(Mine)),
        (Policy::LastWriteWins, 2999, replace(), theirs.clone(), Some(Theirs)),
        (
            custom.clone(),
            1,
            update("z"),
            json!({"n": 1, "a": "\"y\"+\"z\"", "b": "x"}),
            Some(Merged),
        ),
        (custom, 1, Edit::Delete, theirs, Some(Theirs)),
    ] {
        let what = format!("{policy:?} at {time}: {edit:?}");
        assert_eq!(meet(&policy, time, edit), (Some(record), outcome), "{what}");
    }
    let (gone, outcome) = meet(&Policy::ClientWins, 1, Edit::Delete);
    assert_eq!((gone, outcome), (None, Some(Mine)));
}

#[test]
fn increments_never_conflict() {
    for name in ["merge", "server-wins", "client-wins", "last-write-wins"] {
        let (record, outcome) = meet(
            &name.parse().unwrap(),
            1,
            Edit::Increment(patch(&json!({"n": -3, "more": {"deep": 2}}))),
        );
        let expected = json!({"n": -2, "a": "y", "b": "x", "more": {"deep": 2}});
        assert_eq!((record, outcome), (Some(expected), None), "{name}");
    }
    assert!("custom".parse::<Policy>().is_err(), "it has to be given as a function");
}

#[test]
fn what_is_not_possible_is_rejected_with_the_reason() {
    let limits = Limits { max_records: 2, max_record_bytes: 60, max_ops: 2, ..Limits::default() };
    let mut scene = Scene::new(Policy::Merge, limits);
    let version = scene.collection.version();
    let mut rejected = |ops: Vec<(&str, Edit)>| {
        let op = |(at, edit)| Op { key: key(at), base: None, was: None, edit };
        let ops = ops.into_iter().map(op).collect();
        let judged = scene.collection.mutate(5_000_000, Mutation { id: None, time: 0, ops });
        assert!(judged.changes.is_empty());
        match &*judged.verdict {
            Verdict::Rejected(rejection) => rejection.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let small = || Edit::Insert(document(&json!({"a": 1})));
    for (ops, says) in [
        (vec![("k", small())], "k: it exists already"),
        (vec![("new", small()), ("gone", Edit::Delete)], "gone: there is no such record"),
        (vec![("gone", Edit::Update(patch(&json!({}))))], "gone: there is no such record"),
        (vec![("k", Edit::Increment(patch(&json!({"a": 1}))))], "a is \"x\", not a whole number"),
        (vec![("k", Edit::Increment(patch(&json!({"n": i64::MAX}))))], "n would become too large"),
        (
            vec![("k", Edit::Update(patch(&json!({"b": "x".repeat(60)}))))],
            "would have 82 bytes, 60 are allowed (max_record_bytes)",
        ),
        (vec![("l", small()), ("m", small())], "the collection has 2 records (max_records)"),
        (vec![("l", small()), ("m", small()), ("n", small())], "at most 2 ops (max_ops)"),
    ] {
        let message = rejected(ops);
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(scene.collection.version(), version, "nothing has changed");
}

#[test]
fn a_mutation_that_comes_twice_has_one_effect_and_one_answer() {
    let mut scene = Scene::new(Policy::Merge, Limits { max_verdicts: 2, ..Limits::default() });
    let mut send = |seq, amount: i64| {
        let edit = Edit::Increment(patch(&json!({"n": amount})));
        let id = Some(MutationId { client: "me".into(), seq });
        let ops = vec![Op { key: key("k"), base: None, was: None, edit }];
        scene.collection.mutate(9_000_000, Mutation { id, time: 0, ops })
    };
    let first = send(1, 1);
    assert_eq!(first.changes.len(), 1);
    let again = send(1, 1);
    assert_eq!((again.changes.len(), &again.verdict), (0, &first.verdict));
    send(2, 1);
    send(5, 1);
    assert_eq!(*send(1, 1).verdict, Verdict::Forgotten, "only two are remembered");
    assert_eq!(*send(4, 1).verdict, Verdict::Forgotten, "they come in order, so it was before");
    assert_eq!(value(&scene.collection.get("k").unwrap().value)["n"], 4);
}

#[test]
fn verdicts_that_take_too_much_room_are_forgotten_the_oldest_first() {
    let limits = Limits { max_verdict_bytes: 300, ..Limits::default() };
    let mut scene = Scene::new(Policy::Merge, limits);
    let mut send = |seq, title: &str| {
        let edit = Edit::Insert(document(&json!({"title": title})));
        let op = Op { key: key("k"), base: Some(Version(1)), was: None, edit };
        let id = Some(MutationId { client: "me".into(), seq });
        scene.now_us += 1;
        let mutation = Mutation { id, time: 0, ops: vec![op] };
        scene.collection.mutate(scene.now_us, mutation).verdict
    };
    let verdicts: Vec<_> = (1..=5).map(|seq| send(seq, "x")).collect();
    let bytes = wire::write_one_verdict(&verdicts[0]).len();
    assert!(bytes < 300 && bytes * 5 > 300, "{bytes} bytes each");
    assert_eq!(*send(1, "x"), Verdict::Forgotten);
    assert_eq!(send(5, "x"), verdicts[4]);
}

/// A store that has loaded the scene's collection.
fn store(scene: &Scene, name: &str) -> Store {
    let mut store = Store::new(StoreConfig::new(name));
    load(&mut store, scene);
    store
}

fn load(store: &mut Store, scene: &Scene) {
    let mut next = Some(store.begin_load(10));
    while let Some(load) = next {
        next = store.loaded(&load, scene.collection.load(&load));
    }
}

/// Sends all that is pending; gives back what is published.
fn send(store: &mut Store, scene: &mut Scene) -> Vec<Change> {
    store.stored(store.next_seq() - 1);
    let mut changes = Vec::new();
    while let Some(batch) = store.next_batch() {
        let mut judge = |mutation: &Arc<Mutation>| {
            let judged = scene.collection.mutate(8_000_000, (**mutation).clone());
            changes.extend(judged.changes);
            (mutation.id.as_ref().unwrap().seq, (*judged.verdict).clone())
        };
        let verdicts: Vec<_> = batch.iter().map(&mut judge).collect();
        store.answer(verdicts);
    }
    changes
}

fn update(field: &str, to: &str) -> (Key, Edit) {
    (key("k"), Edit::Update(patch(&json!({field: to}))))
}

#[test]
fn what_is_shown_is_what_is_confirmed_and_what_is_pending() {
    let mut scene = Scene::new(Policy::Merge, Limits::default());
    let mut mine = store(&scene, "me");
    let mut others = store(&scene, "other");
    mine.mutate(1, [update("a", "mine")]).unwrap();
    assert_eq!(value(mine.get("k").unwrap()), json!({"n": 1, "a": "mine", "b": "x"}));
    others.mutate(1, [update("b", "theirs")]).unwrap();
    for change in send(&mut others, &mut scene) {
        mine.confirm(change.clone());
        others.confirm(change);
    }
    assert_eq!(value(mine.get("k").unwrap()), json!({"n": 1, "a": "mine", "b": "theirs"}));
    assert_eq!(mine.take_changed().into_iter().collect::<Vec<_>>(), [key("k")]);
    for change in send(&mut mine, &mut scene) {
        mine.confirm(change);
    }
    let told: Vec<_> = std::iter::from_fn(|| mine.poll_notice()).collect();
    assert!(
        matches!(&told[..], [
            Notice::Acknowledged { seq: 1, version: Some(_), conflicts },
            Notice::Observed { seq: 1 },
        ] if conflicts.is_empty()),
        "{told:?}"
    );
    assert_eq!((mine.pending(), mine.is_pending("k")), (0, false));
}

#[test]
fn what_is_shown_is_what_the_server_will_make_of_it() {
    // Deletions hold; other changes are marked if they have met somebody else's.
    let policy = Policy::Custom(Arc::new(|conflict| match &conflict.mine {
        None => Resolution::Mine,
        Some(mine) => Resolution::Merged(mine.patched(&patch(&json!({"met": true})))),
    }));
    let mut scene = Scene::new(policy.clone(), Limits::default());
    let mut mine = Store::new(StoreConfig { policy, ..StoreConfig::new("me") });
    load(&mut mine, &scene);
    let mut others = store(&scene, "other");
    let new = document(&json!({"a": "new"}));
    for edit in [Edit::Delete, Edit::Insert(new)] {
        mine.mutate(1, [(key("k"), edit)]).unwrap();
    }
    mine.mutate(1, [update("a", "newer")]).unwrap();
    others.mutate(1, [update("b", "theirs")]).unwrap();
    for change in send(&mut others, &mut scene) {
        mine.confirm(change);
    }
    // Only the deletion meets their change: the record it leaves is this client's own.
    let expected = json!({"a": "newer"});
    assert_eq!(value(mine.get("k").unwrap()), expected);
    for change in send(&mut mine, &mut scene) {
        mine.confirm(change);
        assert_eq!(value(mine.get("k").unwrap()), expected);
    }
    assert_eq!(value(&scene.collection.get("k").unwrap().value), expected);
}

#[test]
fn many_changes_of_one_record_are_taken_up_and_taken_back_at_once() {
    const MANY: u64 = 2000;
    let mut scene = Scene::new(Policy::Merge, Limits::default());
    let mut before = store(&scene, "me");
    for n in 1..=MANY {
        before.mutate(1, [(key("k"), Edit::Increment(patch(&json!({"n": n}))))]).unwrap();
    }
    let mutations = (1..=MANY).map(|seq| Mutation::clone(before.mutation(seq).unwrap()));
    let mut mine = Store::new(StoreConfig::new("me"));
    mine.restore(mutations);
    load(&mut mine, &scene);
    let sum = 1 + MANY * (MANY + 1) / 2;
    assert_eq!(value(mine.get("k").unwrap())["n"], sum);
    // They meet a record that is another one, and is no number.
    let other = Edit::Replace(document(&json!({"n": "none"})));
    for change in scene.judge("other", 1, None, other).changes {
        mine.confirm(change);
    }
    assert_eq!(value(mine.get("k").unwrap())["n"], "none");
    assert!(send(&mut mine, &mut scene).is_empty());
    assert_eq!((mine.pending(), mine.is_pending("k")), (0, false));
}

#[test]
fn a_rejected_mutation_is_taken_back_as_a_whole_and_others_stay() {
    let mut scene = Scene::new(Policy::Merge, Limits::default());
    let mut mine = store(&scene, "me");
    let new = || Edit::Insert(document(&json!({"a": "new"})));
    assert!(matches!(mine.mutate(1, [(key("k"), new())]), Err(MutateError::Rejected(_))));
    mine.mutate(1, [(key("l"), new()), update("a", "with it")]).unwrap();
    mine.mutate(1, [update("b", "after")]).unwrap();
    // Somebody else was first.
    let op = Op { key: key("l"), base: None, was: None, edit: new() };
    let mutation = Mutation { id: None, time: 0, ops: vec![op] };
    scene.collection.mutate(7_000_000, mutation);
    for change in send(&mut mine, &mut scene) {
        mine.confirm(change);
    }
    assert!(matches!(
        mine.poll_notice(),
        Some(Notice::Rejected { seq: 1, rejection }) if rejection.reason == Reason::Exists
    ));
    assert_eq!(value(mine.get("k").unwrap()), json!({"n": 1, "a": "x", "b": "after"}));
    assert!(mine.can_undo_redo().0, "the other one can still be undone");
}

#[test]
fn undo_leaves_alone_what_others_have_changed_since() {
    let mut scene = Scene::new(Policy::Merge, Limits::default());
    let mut mine = store(&scene, "me");
    let both = Edit::Update(patch(&json!({"a": "mine", "b": "mine"})));
    mine.mutate(1, [(key("k"), both)]).unwrap();
    mine.mutate(1, [(key("k"), Edit::Increment(patch(&json!({"n": 5}))))]).unwrap();
    for change in send(&mut mine, &mut scene) {
        mine.confirm(change);
    }
    let mut others = store(&scene, "other");
    others.mutate(1, [update("b", "theirs")]).unwrap();
    for change in send(&mut others, &mut scene) {
        mine.confirm(change);
    }
    mine.undo(1).unwrap().unwrap();
    assert_eq!(value(mine.get("k").unwrap()), json!({"n": 1, "a": "mine", "b": "theirs"}));
    mine.undo(1).unwrap().unwrap();
    assert_eq!(value(mine.get("k").unwrap()), json!({"n": 1, "a": "x", "b": "theirs"}));
    assert_eq!(mine.undo(1), Ok(None));
    mine.redo(1).unwrap().unwrap();
    mine.redo(1).unwrap().unwrap();
    assert_eq!(value(mine.get("k").unwrap()), json!({"n": 6, "a": "mine", "b": "theirs"}));
    assert_eq!(mine.redo(1), Ok(None));
}

#[test]
fn a_store_is_bounded() {
    let scene = Scene::new(Policy::Merge, Limits::default());
    let config = StoreConfig { max_pending: 2, ..StoreConfig::new("me") };
    let mut store = Store::new(config);
    load(&mut store, &scene);
    store.mutate(1, [update("a", "1")]).unwrap();
    store.mutate(1, [update("a", "2")]).unwrap();
    let error = store.mutate(1, [update("a", "3")]).unwrap_err();
    assert!(error.to_string().starts_with("2 mutations of "), "{error}");
    assert_eq!(value(store.get("k").unwrap())["a"], "2");
}

#[test]
fn only_what_is_stored_is_sent_and_batches_are_bounded() {
    let scene = Scene::new(Policy::Merge, Limits::default());
    let config = StoreConfig { max_batch: 2, ..StoreConfig::new("me") };
    let mut store = Store::new(config);
    load(&mut store, &scene);
    for n in 1..=4 {
        assert_eq!(store.mutate(1, [update("a", &n.to_string())]), Ok(n));
    }
    assert_eq!(store.next_batch(), None);
    store.stored(3);
    let numbers = |batch: Option<Vec<Arc<Mutation>>>| -> Vec<u64> {
        batch.into_iter().flatten().map(|m| m.id.as_ref().unwrap().seq).collect()
    };
    assert_eq!(numbers(store.next_batch()), [1, 2]);
    assert_eq!(numbers(store.next_batch()), [0; 0], "one batch at a time");
    store.unanswered();
    assert_eq!(numbers(store.next_batch()), [1, 2], "the same again");
    let accepted = Verdict::Accepted { version: Version(9), conflicts: Vec::new() };
    store.answer([(1, accepted)]);
    assert_eq!(numbers(store.next_batch()), [2, 3], "what has no answer, and what follows");
}

#[test]
fn a_client_that_was_away_gets_what_has_changed() {
    let limits = Limits { max_deletions: 1, ..Limits::default() };
    let mut scene = Scene::new(Policy::Merge, limits);
    let mut mine = store(&scene, "me");
    let at = |at: &str, edit| Op { key: key(at), base: None, was: None, edit };
    let mut change = |ops| {
        scene.now_us += 1;
        scene.collection.mutate(scene.now_us, Mutation { id: None, time: 0, ops });
    };
    let record = || Edit::Insert(document(&json!({"a": 1})));
    change(vec![at("l", record()), at("m", record())]);
    change(vec![at("k", Edit::Delete)]);
    let begun = mine.begin_load(10);
    let page = scene.collection.load(&begun);
    let keys: Vec<_> = page.changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!((keys, page.reset), (vec!["l", "m", "k"], false));
    assert_eq!(mine.loaded(&begun, page), None);
    let keys: Vec<_> = mine.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["l", "m"]);

    let mut change = |ops| {
        scene.now_us += 1;
        scene.collection.mutate(scene.now_us, Mutation { id: None, time: 0, ops });
    };
    change(vec![at("l", Edit::Delete)]);
    change(vec![at("m", Edit::Delete), at("n", record())]);
    let page = scene.collection.load(&mine.begin_load(10));
    assert!(page.reset, "one of two deletions is forgotten, so everything is sent");
    load(&mut mine, &scene);
    assert_eq!(mine.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["n"]);
    let fresh = scene.collection.load(&Load { limit: 10, ..Load::default() });
    assert!(!fresh.reset);
}

#[test]
fn a_change_that_was_put_back_late_is_taken_in_and_brings_back_nothing_that_was_deleted() {
    let mut scene = Scene::new(Policy::Merge, Limits::default());
    let mut mine = store(&scene, "me");
    let mut change = |at: &str, edit| {
        let op = Op { key: key(at), base: None, was: None, edit };
        scene.now_us += 1;
        let mutation = Mutation { id: None, time: 0, ops: vec![op] };
        scene.collection.mutate(scene.now_us, mutation).changes.remove(0)
    };
    let record = || Edit::Insert(document(&json!({"a": 1})));
    let late = [change("l", record()), change("m", record())];
    mine.confirm(change("n", record()));
    mine.confirm(change("m", Edit::Delete));
    late.into_iter().for_each(|change| mine.confirm(change));
    assert_eq!(mine.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["k", "l", "n"]);
}

#[test]
fn a_server_that_was_restored_is_believed_although_it_is_older() {
    let insert = |scene: &mut Scene, at: &str, n: u64| {
        let edit = Edit::Insert(document(&json!({ "n": n })));
        let op = Op { key: key(at), base: None, was: None, edit };
        scene.now_us += 1;
        let mutation = Mutation { id: None, time: 0, ops: vec![op] };
        scene.collection.mutate(scene.now_us, mutation).changes
    };
    let mut restored = Scene::new(Policy::Merge, Limits::default());
    insert(&mut restored, "a", 1);
    let mut lost = Scene::new(Policy::Merge, Limits::default());
    lost.now_us += 1_000_000;
    insert(&mut lost, "a", 2);
    insert(&mut lost, "b", 2);
    let mut mine = store(&lost, "me");
    mine.mutate(1, [(key("a"), Edit::Update(patch(&json!({"n": 3}))))]).unwrap();
    // The server has taken it, and nobody has seen it.
    send(&mut mine, &mut lost);
    let begun = mine.begin_load(1);
    mine.confirm(insert(&mut restored, "d", 4).remove(0));
    let mut next = Some(begun);
    while let Some(load) = next {
        let page = restored.collection.load(&load);
        next = mine.loaded(&load, page);
        assert!(mine.get("a").is_some(), "what is there again was never away");
    }
    let shown: Vec<_> = mine.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let there = restored.collection.iter();
    let there: Vec<_> = there.map(|(key, record)| (key.as_str(), record.value.clone())).collect();
    assert_eq!(shown, there);
    assert_eq!(mine.pending(), 0);
}

#[test]
fn what_a_page_says_is_deleted_does_not_come_back_with_an_older_change() {
    let mut scene = Scene::new(Policy::Merge, Limits::default());
    let mut mine = store(&scene, "me");
    let mut change = |edit| {
        let op = Op { key: key("l"), base: None, was: None, edit };
        scene.now_us += 1;
        let mutation = Mutation { id: None, time: 0, ops: vec![op] };
        scene.collection.mutate(scene.now_us, mutation).changes
    };
    let mut log = change(Edit::Insert(document(&json!({"a": 1}))));
    log.extend(change(Edit::Delete));
    log.extend(change(Edit::Insert(document(&json!({"a": 2})))));
    log.extend(change(Edit::Delete));
    // The load is quicker than the log, which has all that was on its pages, too.
    load(&mut mine, &scene);
    for change in log {
        mine.confirm(change);
        assert_eq!(mine.get("l"), None);
    }
}

#[test]
fn keys_end_the_names_of_events() {
    for good in ["a", "user.17", "Grün", "a b"] {
        assert!(Key::new(good).is_ok(), "{good}");
    }
    for (bad, says) in [("", "at least one character"), ("a.*", "`*`"), ("a\nb", "control")] {
        let error = Key::new(bad).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let long = "x".repeat(129);
    assert_eq!(
        Key::new(long).unwrap_err().to_string(),
        "a key has at most 128 bytes, this has 129"
    );
}

#[test]
fn what_is_forbidden_is_rejected_and_remembered() {
    let mutation = |seq| {
        let edit = Edit::Insert(document(&json!({})));
        let op = Op { key: key(&format!("k{seq}")), base: None, was: None, edit };
        let id = Some(MutationId { client: "ann".into(), seq });
        Mutation { id, time: 0, ops: vec![op] }
    };
    let forbidden = Asked { refused: Some("not you".into()), ..mutation(1).into() };
    let rules = Rules::default();
    let mut collection = Collection::with_rules(rules.clone(), 1);
    let mut draft = Draft::new(&rules, Part::default());
    for judge in [
        &mut |asked: Asked| collection.mutate(2, asked).verdict as Arc<Verdict>,
        &mut |asked: Asked| draft.judge(2, asked),
    ] as [&mut dyn FnMut(Asked) -> Arc<Verdict>; 2]
    {
        let verdict = judge(forbidden.clone());
        match &*verdict {
            Verdict::Rejected(rejection) => {
                assert_eq!(rejection.to_string(), "k1: not you");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(*judge(mutation(2).into()), Verdict::Accepted { .. }));
        assert_eq!(judge(mutation(1).into()), verdict, "it has had its verdict");
    }
    let commit = draft.finish();
    assert_eq!((commit.changes.len(), commit.verdicts.len()), (1, 2));
}

#[test]
fn what_has_to_stay_stays_whatever_an_op_says() {
    let document = |text: &str| Document::parse(text.as_bytes(), 8).unwrap();
    let keep = Keep::new(|key, before, after| match before {
        _ if **key == *"b" => Err("b is not to be touched".to_owned()),
        None => Ok(after),
        Some(before) => {
            let secret = Patch::parse(br#"{"secret": 0}"#, 8).unwrap();
            Ok(after.patched(&before.fields_of(&secret)))
        }
    });
    let mutation = |seq, key: &str, edit| {
        let op = Op { key: Key::new(key).unwrap(), base: None, was: None, edit };
        let id = Some(MutationId { client: "ann".into(), seq });
        let mutation = Mutation { id, time: 0, ops: vec![op] };
        Asked { keep: Some(keep.clone()), ..mutation.into() }
    };
    let rules = Rules::default();
    let mut collection = Collection::with_rules(rules.clone(), 1);
    let mut draft = Draft::new(&rules, Part::default());
    let mut values = Vec::new();
    for (seq, key, edit) in [
        (1, "a", Edit::Insert(document(r#"{"secret": 7}"#))),
        (2, "a", Edit::Replace(document(r#"{"title": "tea"}"#))),
        (3, "b", Edit::Insert(document("{}"))),
    ] {
        let asked = mutation(seq, key, edit);
        let judged = collection.mutate(2, asked.clone());
        assert_eq!(matches!(*draft.judge(2, asked), Verdict::Accepted { .. }), seq < 3);
        values.extend(judged.changes.into_iter().map(|change| change.value.unwrap()));
    }
    let kept = [r#"{"secret":7}"#, r#"{"secret":7,"title":"tea"}"#];
    assert_eq!(values.iter().map(Document::as_str).collect::<Vec<_>>(), kept);
    let drafted = draft.finish().changes;
    let drafted: Vec<_> = drafted.iter().map(|change| change.value.clone().unwrap()).collect();
    assert_eq!(drafted, values);
}
