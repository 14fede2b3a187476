//! Sensitive places, as people read them.

use super::{Mask, Place, escaped};

/// How many places are told, and how deep they may be.
const MAX: usize = 100;
const MAX_DEPTH: usize = 16;

impl Mask {
    /// The sensitive places as JSON pointers, with `*` for any item, or any member that is not named;
    /// empty for the value itself. Not more than a page has room for.
    pub(in crate::schemas) fn places(&self) -> Vec<String> {
        let mut places = Vec::new();
        self.add_places(&self.root(), "", 0, &mut places);
        places.sort_unstable();
        places.dedup();
        places
    }

    fn add_places(&self, place: &Place, at: &str, depth: usize, places: &mut Vec<String>) {
        if place.is_empty() || places.len() >= MAX || depth > MAX_DEPTH {
            return;
        }
        if self.hides(place) {
            return places.push(at.to_owned());
        }
        let mut named: Vec<&str> = Vec::new();
        let (mut others, mut items) = (Vec::new(), Vec::new());
        for node in place.iter().map(|node| &self.0[*node]) {
            named.extend(node.properties.keys().map(String::as_str));
            others.extend(&node.other_properties);
            others.extend(node.patterns.iter().map(|(_, node)| node));
            items.extend(node.first_items.iter().chain(&node.other_items).chain(&node.items));
        }
        named.sort_unstable();
        named.dedup();
        for name in named {
            let below = format!("{at}/{}", escaped(name));
            self.add_places(&self.member(place, name), &below, depth + 1, places);
        }
        for inside in [others, items] {
            let inside = self.place(inside.into_iter().copied());
            self.add_places(&inside, &format!("{at}/*"), depth + 1, places);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::schemas::Schema;

    #[test]
    fn sensitive_places_are_told_as_pointers() {
        let secret = json!({"x-tidings-sensitive": true});
        let places =
            |schema: Value| Schema::new(&schema).expect("a schema").mask().map(|m| m.places());
        let schema = json!({
            "properties": {
                "card": secret, "no": {"type": "integer"}, "a/b": {"items": secret},
                "to": {"$ref": "#/$defs/address"}, "lines": {"items": {"properties": {"price": secret}}},
            },
            "additionalProperties": {"properties": {"x": secret}},
            "$defs": {"address": {"properties": {"email": secret, "next": {"$ref": "#/$defs/address"}}}},
        });
        let told = places(schema).expect("some");
        assert_eq!(told[..4], ["/*/x", "/a~1b/*", "/card", "/lines/*/price"]);
        assert_eq!(told[4..6], ["/to/email", "/to/next/email"], "and so on");
        assert_eq!(places(secret.clone()).expect("all of it"), [""]);
        assert_eq!(places(json!({"type": "object"})), None);
    }
}
