use serde_json::{Value, json};

use super::*;

fn object(properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

#[test]
fn what_accepts_all_that_was_accepted_is_compatible() {
    let order = |total: Value| object(json!({"no": {"type": "integer"}, "total": total}), &["no"]);
    let list = |root: Value| {
        let node = object(json!({"value": root, "next": {"$ref": "#/$defs/Node"}}), &["value"]);
        json!({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    };
    let tagged = |names: &[&str]| {
        let one = |name: &&str| {
            object(json!({"kind": {"const": name}, "n": {"type": "integer"}}), &["kind"])
        };
        json!({"oneOf": names.iter().map(one).collect::<Vec<_>>()})
    };
    for (old, new) in [
        (json!(true), json!({"title": "Anything"})),
        (json!(false), json!({"type": "string"})),
        (
            order(json!({"type": "integer"})),
            order(json!({"type": "number", "description": "more"})),
        ),
        (order(json!({"minimum": 3, "type": "integer"})), order(json!({"minimum": 2.5}))),
        (order(json!({"exclusiveMaximum": 3})), order(json!({"maximum": 3}))),
        (order(json!({"enum": ["a"]})), order(json!({"enum": ["b", "a"]}))),
        (
            order(json!({"const": 7})),
            order(json!({"type": "integer", "multipleOf": 7, "maximum": 9})),
        ),
        (order(json!({"type": "boolean"})), order(json!({"enum": [true, false, null]}))),
        (order(json!({"type": "string", "minLength": 2})), order(json!({"minItems": 4}))),
        (order(json!({})), json!({"type": "object", "required": ["no"]})),
        // Where nothing else was allowed, something may be added.
        (
            object(json!({}), &[]),
            order(json!({"type": "string"}))
                .pointer("/properties")
                .map(|all| json!({"properties": all}))
                .unwrap(),
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}}),
            json!({"items": {"type": "number"}}),
        ),
        (
            json!({"prefixItems": [{"type": "integer"}], "items": false}),
            json!({"items": {"type": "number"}}),
        ),
        (
            json!({"type": ["string", "null"]}),
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ),
        (
            json!({"anyOf": [{"type": "string"}, {"const": 7}]}),
            json!({"type": ["string", "integer"]}),
        ),
        (
            json!({"allOf": [{"type": "string"}, {"maxLength": 3}]}),
            json!({"type": "string", "maxLength": 4}),
        ),
        (json!({"not": {"type": "null"}, "type": "string"}), json!({"not": {"type": "null"}})),
        (list(json!({"type": "integer"})), list(json!({"type": "number"}))),
        (tagged(&["a", "b"]), tagged(&["c", "b", "a"])),
        (
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "integer"}}}),
            json!({"$ref": "#/$defs/B", "$defs": {"B": {"type": "number"}}}),
        ),
    ] {
        assert_eq!(differences(&old, &new), [], "{old} to {new}");
    }
}

#[test]
fn what_is_refused_now_is_named_with_place_and_rule() {
    let told = |old: Value, new: Value| {
        let found = differences(&old, &new);
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let closed = |properties: Value, required: &[&str]| object(properties, required);
    let n = |schema: Value| closed(json!({"n": schema}), &[]);
    for (old, new, expected) in [
        (
            json!({}),
            json!({"type": "object"}),
            "the value itself: the type is \"object\", and was any type (rule /type)",
        ),
        (
            n(json!({"type": "number"})),
            n(json!({"type": "integer"})),
            "/n: the type is \"integer\", and was \"number\" (rule /properties/n/type)",
        ),
        (
            n(json!({})),
            closed(json!({"n": {}}), &["n"]),
            "the value itself: \"n\" is required, and was not (rule /required)",
        ),
        (
            n(json!({"enum": [1, 2]})),
            n(json!({"enum": [2]})),
            "/n: 1 is not accepted any more (rule /properties/n/enum)",
        ),
        (
            n(json!({"type": "string"})),
            n(json!({"const": "a"})),
            "/n: only some values are accepted any more (rule /properties/n/const)",
        ),
        (
            n(json!({"minimum": 1})),
            n(json!({"minimum": 2})),
            "/n: minimum is 2, and it was 1 (rule /properties/n/minimum)",
        ),
        (
            n(json!({"maximum": 3})),
            n(json!({"exclusiveMaximum": 3})),
            "/n: exclusiveMaximum is 3, and it was 3 (rule /properties/n/exclusiveMaximum)",
        ),
        (
            n(json!({})),
            n(json!({"maxLength": 3})),
            "/n: maxLength is 3, and there was none (rule /properties/n/maxLength)",
        ),
        (
            n(json!({})),
            closed(json!({}), &[]),
            "/n: nothing is accepted any more (rule /additionalProperties)",
        ),
        (
            json!({"type": "object"}),
            json!({"properties": {"a/b": {"type": "string"}}}),
            "/a~1b: the type is \"string\", and was any type; the old schema let it be anything: it has no \
             additionalProperties = false (rule /properties/a~1b/type)",
        ),
        (
            json!({"items": {}}),
            json!({"items": {"type": "null"}}),
            "/*: the type is \"null\", and was any type (rule /items/type)",
        ),
        (
            json!({"$ref": "#/$defs/A", "$defs": {"A": {}}}),
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "null"}}}),
            "the value itself: the type is \"null\", and was any type (rule /$defs/A/type)",
        ),
        (
            json!({"type": "array", "items": {"$ref": "#"}}),
            json!({"type": "array", "items": {"$ref": "#"}, "maxItems": 3}),
            "the value itself: maxItems is 3, and there was none (rule /maxItems)\n\
             /*: maxItems is 3, and there was none (rule /maxItems)",
        ),
        (
            n(json!({"pattern": "^a"})),
            n(json!({"pattern": "^b"})),
            "/n: undecided: pattern is \"^b\", and was \"^a\" (rule /properties/n/pattern)",
        ),
        (
            json!({}),
            json!({"not": {"type": "null"}}),
            "the value itself: undecided: not is not what it was (rule /not)",
        ),
        (
            json!({"type": "string"}),
            json!({"oneOf": [{"type": "string"}, {"maxLength": 3}]}),
            "the value itself: undecided: no single alternative accepts all that was accepted (rule /oneOf)",
        ),
        (
            json!({"properties": {"a": {}}, "unevaluatedProperties": false}),
            json!({"unevaluatedProperties": false}),
            "the value itself: undecided: what unevaluatedProperties means depends on all around it (rule /unevaluatedProperties)",
        ),
        (
            json!({"patternProperties": {"^a": {}}, "additionalProperties": false}),
            closed(json!({}), &[]),
            "the value itself: undecided: which of its members these patterns mean cannot be told (rule /patternProperties)\n\
             the value itself: the type is \"object\", and was any type (rule /type)",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            json!({}),
            "the value itself: undecided: the old schema is of another dialect than https://json-schema.org/draft/2020-12/schema (rule /$schema)",
        ),
    ] {
        let mut lines: Vec<_> = expected.lines().collect();
        lines.sort_unstable();
        let told = told(old.clone(), new.clone());
        let mut found: Vec<_> = told.lines().collect();
        found.sort_unstable();
        assert_eq!(found, lines, "{old} to {new}");
    }
}

/// Numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 | 3 => json!(self.below(5)),
            4 => json!(self.below(8) as f64 / 2.0),
            5 => json!("abcd"[..self.below(5) as usize]),
            6 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let count = self.below(4);
                let members = (0..count).map(|_| (self.name(), self.value(depth - 1)));
                members.collect::<Map<_, _>>().into()
            }
        }
    }

    fn name(&mut self) -> String {
        "abc"[self.below(3) as usize..][..1].to_owned()
    }

    fn schemas(&mut self, depth: u32) -> Value {
        (0..=self.below(2)).map(|_| self.schema(depth)).collect()
    }

    fn schema(&mut self, depth: u32) -> Value {
        let mut schema = Map::new();
        if self.below(8) == 0 {
            return json!(self.below(3) > 0);
        }
        for _ in 0..self.below(4) {
            let (keyword, value) = self.keyword(depth);
            schema.insert(keyword.to_owned(), value);
        }
        schema.into()
    }

    fn keyword(&mut self, depth: u32) -> (&'static str, Value) {
        let types = ["object", "object", "array", "string", "integer", "number", "null"];
        let bounds = [
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
        ];
        match self.below(if depth == 0 { 7 } else { 16 }) {
            0 | 1 => ("type", json!(types[self.below(7) as usize])),
            2 => ("type", json!(["null", types[self.below(6) as usize]])),
            3 => ("enum", (0..=self.below(3)).map(|_| self.value(1)).collect()),
            4 => ("required", json!([self.name()])),
            5 => ("multipleOf", json!(1 + self.below(3))),
            6 => (bounds[self.below(10) as usize], json!(self.below(5))),
            7 | 8 => {
                let all = (0..=self.below(2)).map(|_| (self.name(), self.schema(depth - 1)));
                ("properties", all.collect::<Map<_, _>>().into())
            }
            9 => ("additionalProperties", self.schema(depth - 1)),
            10 => ("items", self.schema(depth - 1)),
            11 => ("prefixItems", self.schemas(depth - 1)),
            12 => ("allOf", self.schemas(depth - 1)),
            13 => ("anyOf", self.schemas(depth - 1)),
            14 => ("oneOf", self.schemas(depth - 1)),
            _ => ("patternProperties", json!({"^[ab]": self.schema(depth - 1)})),
        }
    }

    /// Another version of a schema: something in it is new or gone.
    fn change(&mut self, schema: &Value, depth: u32) -> Value {
        let Value::Object(members) = schema else { return self.schema(depth) };
        let mut members = members.clone();
        for (_, inner) in &mut members {
            if depth > 0 && inner.is_object() && self.below(2) == 0 {
                *inner = match inner.as_object() {
                    Some(named)
                        if named.keys().all(|name| name.len() == 1) && !named.is_empty() =>
                    {
                        let change = |(name, one): (&String, &Value)| {
                            (name.clone(), self.change(one, depth - 1))
                        };
                        named.iter().map(change).collect::<Map<_, _>>().into()
                    }
                    _ => self.change(inner, depth - 1),
                };
            }
        }
        match self.below(3) {
            0 => drop(members.pop_first_of(self.below(4) as usize)),
            1 => {
                let (keyword, value) = self.keyword(depth);
                members.insert(keyword.to_owned(), value);
            }
            _ => {}
        }
        members.into()
    }
}

trait Without {
    fn pop_first_of(&mut self, n: usize) -> Option<Value>;
}

impl Without for Map<String, Value> {
    fn pop_first_of(&mut self, n: usize) -> Option<Value> {
        let name = self.keys().nth(n)?.clone();
        self.remove(&name)
    }
}

/// What is called compatible is: no value that the old schema accepts is refused by the new one.
#[test]
fn nothing_that_was_accepted_is_refused_by_what_is_called_compatible() {
    let mut dice = Dice(7);
    let (mut compatible, mut tried, mut refused) = (0, 0, 0);
    for _ in 0..4000 {
        let old = dice.schema(2);
        let new = if dice.below(4) == 0 { dice.schema(2) } else { dice.change(&old, 2) };
        let build =
            |schema: &Value| jsonschema::options().should_validate_formats(true).build(schema);
        let (Ok(a), Ok(b)) = (build(&old), build(&new)) else { continue };
        if old == new {
            continue;
        }
        let found = differences(&old, &new);
        for _ in 0..60 {
            let value = dice.value(2);
            if !a.is_valid(&value) {
                continue;
            }
            if found.is_empty() {
                assert!(b.is_valid(&value), "{value} by\n{old} and\n{new}");
                tried += 1;
            } else if !b.is_valid(&value) {
                refused += 1;
                break;
            }
        }
        compatible += usize::from(found.is_empty());
    }
    assert!(compatible > 400 && tried > 5000 && refused > 400, "{compatible} {tried} {refused}");
}
