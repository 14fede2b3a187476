//! Keywords that say something of a value by themselves.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{Difference, Place, has_references};

/// Keywords that are compared together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Object,
    Array,
    Ref,
    AllOf,
    AnyOf,
    OneOf,
    /// What has to be as it was.
    Same(&'static [&'static str]),
    /// What depends on all that is beside it.
    Open(&'static str),
    Plain(&'static str),
}

const PLAIN: [&str; 17] = [
    "type",
    "enum",
    "const",
    "required",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
];

/// Of these it is not found out what they imply.
const SAME: [&[&str]; 8] = [
    &["uniqueItems"],
    &["not"],
    &["if", "then", "else"],
    &["contains", "minContains", "maxContains"],
    &["dependentRequired"],
    &["dependentSchemas"],
    &["dependencies"],
    &["propertyNames"],
];

const OPEN: [&str; 4] =
    ["$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems"];

/// What a schema asks for; everything else in it are notes.
pub(super) fn groups(schema: &Map<String, Value>) -> Vec<Group> {
    let has = |keyword: &str| schema.contains_key(keyword);
    let mut groups: Vec<_> =
        PLAIN.into_iter().filter(|keyword| has(keyword)).map(Group::Plain).collect();
    let structures: [(Group, &[&str]); 6] = [
        (Group::Object, &["properties", "patternProperties", "additionalProperties"]),
        (Group::Array, &["items", "prefixItems"]),
        (Group::Ref, &["$ref"]),
        (Group::AllOf, &["allOf"]),
        (Group::AnyOf, &["anyOf"]),
        (Group::OneOf, &["oneOf"]),
    ];
    let structures = structures.into_iter().chain(SAME.map(|all| (Group::Same(all), all)));
    let structures = structures.filter(|(_, keywords)| keywords.iter().any(|keyword| has(keyword)));
    groups.extend(structures.map(|(group, _)| group));
    groups.extend(OPEN.into_iter().filter(|keyword| has(keyword)).map(Group::Open));
    groups
}

/// Which kinds of values a schema accepts, as far as its `type`, `const` or `enum` tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const OBJECT: Self = Self(1 << 6);
    pub(super) const ARRAY: Self = Self(1 << 5);
    pub(super) const STRING: Self = Self(1 << 4);
    /// Numbers, whole or not.
    pub(super) const NUMBER: Self = Self(0b1100);
    const INTEGER: Self = Self(0b100);
    const FINITE: Self = Self(0b11);
    const ALL: Self = Self(0x7f);

    pub(super) fn of(schema: &Map<String, Value>) -> Self {
        let named = match schema.get("type") {
            Some(Value::String(name)) => Self::named(name),
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                Self(names.fold(0, |all, name| all | Self::named(name).0))
            }
            _ => Self::ALL,
        };
        match values(schema) {
            Some(values) => {
                Self(named.0 & values.iter().fold(0, |all, one| all | Self::of_value(one).0))
            }
            None => named,
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "null" => Self(1),
            "boolean" => Self(2),
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ALL,
        }
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self(1),
            Value::Bool(_) => Self(2),
            // 1.0 is an integer.
            Value::Number(n) if n.as_f64().is_some_and(|n| n.fract() == 0.0) => Self::INTEGER,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// Whether some are among these.
    pub(super) const fn has(self, some: Self) -> bool {
        self.0 & some.0 != 0
    }

    const fn are_among(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }
}

/// The only values that it accepts, if it lists them.
pub(super) fn values(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => Some(vec![value.clone()]),
        (None, Some(Value::Array(values))) => Some(values.clone()),
        _ => None,
    }
}

/// Whether a schema that refers to nothing accepts a value.
pub(super) fn accepts(schema: &Value, value: &Value) -> Option<bool> {
    if has_references(schema) {
        return None;
    }
    let validator = jsonschema::options().should_validate_formats(true).build(schema).ok()?;
    Some(validator.is_valid(value))
}

/// Tries those values that the old schema lists; `None` if it lists none.
pub(super) fn listed(old: &Value, new: &Value, place: &Place) -> Option<Vec<Difference>> {
    let values = values(old.as_object()?)?;
    let mut found = Vec::new();
    for value in &values {
        if accepts(old, value)? && !accepts(new, value)? {
            let what = format!("{value} is not accepted any more");
            let keyword = ["enum", "const"].into_iter().find(|name| new.get(name).is_some());
            found.extend(place.differs(keyword.unwrap_or_default(), what));
        }
    }
    Some(found)
}

/// Why the old keywords do not imply the new schema's one.
pub(super) fn compare(
    keyword: &'static str,
    kinds: Kinds,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    place: &Place,
) -> Vec<Difference> {
    let (had, Some(has)) = (old.get(keyword), new.get(keyword)) else { return Vec::new() };
    let about = match keyword {
        "required" | "minProperties" | "maxProperties" => Kinds::OBJECT,
        "minItems" | "maxItems" => Kinds::ARRAY,
        "minLength" | "maxLength" | "pattern" | "format" => Kinds::STRING,
        "type" | "enum" | "const" => Kinds::ALL,
        _ => Kinds::NUMBER,
    };
    if !kinds.has(about) {
        return Vec::new();
    }
    match keyword {
        "type" => {
            if kinds.are_among(Kinds::of(&only("type", has))) {
                return Vec::new();
            }
            let had = had.map_or_else(|| "any type".to_owned(), ToString::to_string);
            place.differs(keyword, format!("the type is {has}, and was {had}"))
        }
        "enum" | "const" => {
            let all = values(&only(keyword, has)).unwrap_or_default();
            let had = values(old).or_else(|| {
                kinds.are_among(Kinds::FINITE).then(|| {
                    let each = [Value::Null, Value::Bool(false), Value::Bool(true)];
                    each.into_iter().filter(|one| Kinds::of_value(one).are_among(kinds)).collect()
                })
            });
            match had {
                Some(had) if had.iter().all(|value| all.contains(value)) => Vec::new(),
                Some(_) => place.differs(keyword, "not all values that were accepted are"),
                None => place.differs(keyword, "only some values are accepted any more"),
            }
        }
        "required" => {
            let names = |value: Option<&Value>| -> Vec<String> {
                let names = value.and_then(Value::as_array).into_iter().flatten();
                names.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            let had = names(had);
            let more = names(Some(has)).into_iter().filter(|name| !had.contains(name));
            more.flat_map(|name| {
                place.differs(keyword, format!("{name:?} is required, and was not"))
            })
            .collect()
        }
        "pattern" | "format" => match had {
            Some(had) if had == has => Vec::new(),
            Some(had) => place.undecided(keyword, format!("{keyword} is {has}, and was {had}")),
            None => place.differs(keyword, format!("{keyword} is {has}, and there was none")),
        },
        "multipleOf" => match (had.and_then(Value::as_u64), has.as_u64()) {
            (Some(old), Some(new)) if new > 0 && old.is_multiple_of(new) => Vec::new(),
            (_, Some(1)) if kinds.are_among(Kinds(Kinds::INTEGER.0 | !Kinds::NUMBER.0)) => {
                Vec::new()
            }
            _ if had == Some(has) => Vec::new(),
            _ => place.undecided(keyword, format!("it must be a multiple of {has}")),
        },
        _ => bound(keyword, old, has, place),
    }
}

/// A bound, from below or above.
fn bound(
    keyword: &'static str,
    old: &Map<String, Value>,
    has: &Value,
    place: &Place,
) -> Vec<Difference> {
    let Some(limit) = has.as_number() else {
        return place.undecided(keyword, format!("{has} is no bound"));
    };
    // With which of the old ones the new one keeps, and whether it may be the same number.
    let (kept_by, tightens): (&[(&str, bool)], Ordering) = match keyword {
        "minimum" => (&[("minimum", true), ("exclusiveMinimum", true)], Ordering::Less),
        "exclusiveMinimum" => (&[("minimum", false), ("exclusiveMinimum", true)], Ordering::Less),
        "maximum" => (&[("maximum", true), ("exclusiveMaximum", true)], Ordering::Greater),
        "exclusiveMaximum" => {
            (&[("maximum", false), ("exclusiveMaximum", true)], Ordering::Greater)
        }
        "minLength" => (&[("minLength", true)], Ordering::Less),
        "minItems" => (&[("minItems", true)], Ordering::Less),
        "minProperties" => (&[("minProperties", true)], Ordering::Less),
        "maxLength" => (&[("maxLength", true)], Ordering::Greater),
        "maxItems" => (&[("maxItems", true)], Ordering::Greater),
        _ => (&[("maxProperties", true)], Ordering::Greater),
    };
    let is_count = !keyword.ends_with("inimum") && !keyword.ends_with("aximum");
    if is_count && tightens == Ordering::Less && limit.as_f64() == Some(0.0) {
        return Vec::new();
    }
    let is_kept = kept_by.iter().any(|(other, same)| {
        old.get(*other).and_then(Value::as_number).is_some_and(|old| {
            match compared(old, limit) {
                Some(Ordering::Equal) => *same,
                // The old bound is the tighter one.
                Some(order) => order == tightens.reverse(),
                None => false,
            }
        })
    });
    if is_kept {
        return Vec::new();
    }
    let had = kept_by.iter().find_map(|(name, _)| old.get(*name));
    let had = had.map_or_else(|| "there was none".to_owned(), |had| format!("it was {had}"));
    place.differs(keyword, format!("{keyword} is {limit}, and {had}"))
}

fn compared(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn only(keyword: &str, value: &Value) -> Map<String, Value> {
    Map::from_iter([(keyword.to_owned(), value.clone())])
}
