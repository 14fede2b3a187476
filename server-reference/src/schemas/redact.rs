//! Values without what is sensitive in them, and what becomes of that when they are written back.

use tidings_core::json::{self, Kind, MAX_DEPTH, Value, Writer};
use tidings_core::link::Redact;
use tidings_core::state::{Document, wire};
use tidings_core::{Event, Pattern, PatternIndex, Payload};

use super::mask::{Mask, Place};

/// The member of a change's payload that is the record.
const RECORD: &str = "value";

impl Mask {
    /// Whether nothing of a value is to be seen.
    pub(crate) fn hides_all(&self) -> bool {
        self.hides(&self.root())
    }

    /// The value without what is sensitive. A member of an object is left out; what has no name to be
    /// left out by, an item whose place counts or the value as a whole, is `null`, as is a text that
    /// is no JSON.
    pub(crate) fn redacted(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match json::parse(text, MAX_DEPTH) {
            Ok(value) => self.write(value, &self.root(), &mut Writer::new(&mut out)),
            Err(_) => out.extend_from_slice(b"null"),
        }
        out
    }

    /// An object in whose member of this name a value is that may have something sensitive.
    fn redacted_in(&self, text: &[u8], name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        let Some(members) = json::parse(text, MAX_DEPTH).ok().and_then(Value::object) else {
            return b"null".to_vec();
        };
        w.begin_object();
        for (key, value) in members {
            w.key(&key);
            match key == name {
                true => self.write(value, &self.root(), &mut w),
                false => drop(w.raw(value.raw().as_bytes())),
            }
        }
        w.end_object();
        out
    }

    fn write(&self, value: Value<'_>, place: &Place, w: &mut Writer<'_>) {
        if place.is_empty() {
            w.raw(value.raw().as_bytes());
        } else if self.hides(place) {
            w.null();
        } else if let Some(members) = value.object() {
            w.begin_object();
            for (key, value) in members {
                let inside = self.member(place, &key);
                if !self.hides(&inside) {
                    self.write(value, &inside, w.key(&key));
                }
            }
            w.end_object();
        } else if let Some(items) = value.array() {
            w.begin_array();
            for (index, value) in items.enumerate() {
                self.write(value, &self.item(place, index), w);
            }
            w.end_array();
        } else {
            w.raw(value.raw().as_bytes());
        }
    }

    /// A record as it is to be when somebody has made it of `before` who does not see what is
    /// sensitive: where `after` has nothing in a sensitive place, it has what was there.
    ///
    /// # Errors
    /// If an array was changed that has something sensitive in it: which item is which cannot be
    /// told.
    pub(crate) fn kept(&self, before: &Document, after: &Document) -> Result<Document, String> {
        let wrong = |error: json::Error| error.to_string();
        let before = json::parse(before.bytes(), MAX_DEPTH).map_err(wrong)?;
        let after = json::parse(after.bytes(), MAX_DEPTH).map_err(wrong)?;
        let mut out = Vec::new();
        self.keep(Some(before), after, &self.root(), "", &mut Writer::new(&mut out))?;
        Document::parse(&out, MAX_DEPTH).map_err(|error| error.to_string())
    }

    fn keep(
        &self,
        before: Option<Value<'_>>,
        after: Value<'_>,
        place: &Place,
        at: &str,
        w: &mut Writer<'_>,
    ) -> Result<(), String> {
        match (after.kind(), before) {
            (Kind::Object, before) if !place.is_empty() => {
                w.begin_object();
                for (key, value) in after.object().into_iter().flatten() {
                    let inside = self.member(place, &key);
                    let before = before.and_then(|before| before.get(&key));
                    w.key(&key);
                    if self.hides(&inside) {
                        w.raw(value.raw().as_bytes());
                    } else {
                        self.keep(before, value, &inside, &format!("{at}/{key}"), w)?;
                    }
                }
                for (key, value) in before.and_then(Value::object).into_iter().flatten() {
                    let is_hidden = self.hides(&self.member(place, &key));
                    if is_hidden && after.get(&key).is_none() {
                        w.key(&key).raw(value.raw().as_bytes());
                    }
                }
                w.end_object();
            }
            (Kind::Array, Some(before))
                if !place.is_empty() && before != after && before.kind() == Kind::Array =>
            {
                let mut seen = Vec::new();
                self.write(before, place, &mut Writer::new(&mut seen));
                if seen == after.raw().as_bytes() {
                    w.raw(before.raw().as_bytes());
                } else if seen == before.raw().as_bytes() {
                    w.raw(after.raw().as_bytes());
                } else {
                    return Err(format!(
                        "{at} has items with parts that may not be seen: it cannot be changed \
                         without seeing them (claim sensitive)"
                    ));
                }
            }
            _ => drop(w.raw(after.raw().as_bytes())),
        }
        Ok(())
    }

    /// Whether an object names something sensitive of a record.
    pub(crate) fn is_touched_by(&self, fields: &[u8]) -> bool {
        let fields = json::parse(fields, MAX_DEPTH);
        fields.map_or(true, |fields| self.touches(fields, &self.root()))
    }

    fn touches(&self, fields: Value<'_>, place: &Place) -> bool {
        fields.object().into_iter().flatten().any(|(key, value)| {
            let inside = self.member(place, &key);
            self.hides(&inside) || self.touches(value, &inside)
        })
    }
}

/// What is sensitive in events.
#[derive(Debug, Default)]
pub(super) struct Sensitive(PatternIndex<Part>);

#[derive(Debug, Clone)]
enum Part {
    /// In the payload.
    Payload(Mask),
    /// In the record that the payload tells of.
    Record(Mask),
}

impl Sensitive {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the payloads of events.
    pub(super) fn add(&mut self, pattern: &Pattern, mask: &Mask) {
        self.0.insert(pattern, Part::Payload(mask.clone()));
    }

    /// In the records of a collection.
    pub(super) fn add_collection(&mut self, name: &str, mask: &Mask) {
        // A collection's name is one segment of an event's: this is a pattern.
        if let Ok(pattern) = Pattern::new(wire::changes_pattern(name)) {
            self.0.insert(&pattern, Part::Record(mask.clone()));
        }
    }
}

impl Redact for Sensitive {
    fn redact(&self, event: &Event) -> Option<Payload> {
        let mut redacted: Option<Vec<u8>> = None;
        self.0.for_each_match(&event.name, |part| {
            let text = match (&redacted, &event.payload) {
                (Some(text), _) => text,
                (None, Payload::Json(text)) => &**text,
                // It was checked nowhere: nothing is known of what is in it.
                (None, Payload::Binary(_)) => b"null",
            };
            redacted = Some(match part {
                Part::Payload(mask) => mask.redacted(text),
                Part::Record(mask) => mask.redacted_in(text, RECORD),
            });
        });
        redacted.map(|text| Payload::Json(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_core::state::Change;
    use tidings_core::{Headers, Priority};

    use super::*;
    use crate::schemas::Schema;

    /// `card`, `to.email`, `items[].price` and `codes[]` are sensitive.
    fn mask() -> Mask {
        let secret = json!({"x-tidings-sensitive": true});
        let schema = json!({"properties": {
            "card": secret,
            "to": {"properties": {"email": secret}},
            "items": {"items": {"properties": {"price": secret}}},
            "codes": {"items": secret},
        }});
        Schema::new(&schema).unwrap().mask().unwrap().clone()
    }

    fn redacted(text: &str) -> String {
        String::from_utf8(mask().redacted(text.as_bytes())).unwrap()
    }

    #[test]
    fn members_are_left_out_and_items_are_null_and_the_rest_is_as_it_was() {
        let text = r#"{"id": 1.50, "card": {"no": [1]}, "to": {"name": "\u00e9", "email": "e"},
            "items": [{"price": 1e400, "n": 2}, 3], "codes": [1, 2], "more": {"card": 5}}"#;
        let seen = r#"{"id":1.50,"to":{"name":"\u00e9"},"items":[{"n":2},3],"codes":[null,null],"more":{"card": 5}}"#;
        assert_eq!(redacted(text), seen);
        assert_eq!(redacted(r#"{"card":1,"c\u0061rd":2,"card":3}"#), "{}", "however it is written");
        for whole in ["7", "[1]", "null", r#"{"to":"x"}"#] {
            assert_eq!(redacted(whole), whole);
        }
        assert_eq!(redacted("{"), "null");
    }

    #[test]
    fn what_is_not_seen_is_kept_unless_something_else_is_said() {
        let before = r#"{"card":"c","items":[{"n":1,"price":5}],"to":{"email":"e","name":"n"}}"#;
        let document = |text: &str| Document::parse(text.as_bytes(), MAX_DEPTH).unwrap();
        let kept = |after: &str| {
            mask().kept(&document(before), &document(after)).map(|kept| kept.as_str().to_owned())
        };
        // As it was seen, whole and in part; with something new; with something in its place.
        assert_eq!(kept(r#"{"items":[{"n":1}],"to":{"name":"n"}}"#).unwrap(), before);
        assert_eq!(kept(before).unwrap(), before);
        let renamed = r#"{"card":"c","to":{"email":"e","name":"m"}}"#;
        assert_eq!(kept(r#"{"to":{"name":"m"}}"#).unwrap(), renamed);
        let written = r#"{"card":"d","to":{"email":"f"}}"#;
        assert_eq!(kept(written).unwrap(), written);
        assert_eq!(kept(r#"{"to":7}"#).unwrap(), r#"{"card":"c","to":7}"#);
        assert_eq!(kept("{}").unwrap(), r#"{"card":"c"}"#, "with what could be seen it goes");
        // Which item is which?
        let error = kept(r#"{"items":[{"n":1},{"n":2}]}"#).unwrap_err();
        assert!(error.starts_with("/items has items with parts that may not be seen"), "{error}");
        let (none, some) =
            (document(r#"{"items":[{"n":1}]}"#), document(r#"{"items":[{"price":1}]}"#));
        assert_eq!(mask().kept(&none, &some).unwrap(), some, "there was nothing to keep");
    }

    #[test]
    fn what_is_sensitive_can_be_named() {
        assert!(mask().is_touched_by(br#"{"to": {"email": 1}}"#));
        assert!(mask().is_touched_by(br#"{"card": {"n": 1}}"#));
        assert!(!mask().is_touched_by(br#"{"to": {"name": 1}, "email": 2}"#));
    }

    #[test]
    fn events_are_redacted_by_all_that_is_known_of_them() {
        let event = |name: &str, payload| Event {
            name: name.into(),
            payload,
            id: std::sync::Arc::default(),
            priority: Priority::Normal,
            time: 0,
            headers: Headers::NONE,
        };
        let secret = |name: &str| {
            let schema = json!({"properties": {name: {"x-tidings-sensitive": true}}});
            Schema::new(&schema).unwrap().mask().unwrap().clone()
        };
        let mut sensitive = Sensitive::default();
        sensitive.add(&Pattern::new("orders.**").unwrap(), &secret("a"));
        sensitive.add(&Pattern::new("orders.eu").unwrap(), &secret("b"));
        sensitive.add_collection("users", &secret("a"));
        let json = |text: &'static str| Payload::Json(text.into());
        let all = json(r#"{"a":1,"b":2,"c":3}"#);
        let seen = |name: &str, payload| sensitive.redact(&event(name, payload));
        assert_eq!(seen("orders.eu", all.clone()), Some(json(r#"{"c":3}"#)));
        assert_eq!(seen("orders.us", all.clone()), Some(json(r#"{"b":2,"c":3}"#)));
        assert_eq!(seen("others", all.clone()), None);
        assert_eq!(seen("orders.us", Payload::Binary("x".into())), Some(Payload::NULL));
        let value = Some(Document::parse(all.bytes(), 8).unwrap());
        let change = Change {
            key: tidings_core::state::Key::new("ann").unwrap(),
            value,
            stamp: tidings_core::state::Stamp::default(),
        };
        let seen = seen("state.users.ann", Payload::Json(wire::write_change(&change).into()));
        let seen = wire::read_change(seen.unwrap().bytes()).unwrap();
        assert_eq!(seen.value.as_ref().unwrap().as_str(), r#"{"b":2,"c":3}"#);
        assert_eq!(seen.stamp, change.stamp);
    }
}
