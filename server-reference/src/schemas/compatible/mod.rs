//! Whether a new version of a schema accepts every value that the old one accepts.
//!
//! A new schema is a conjunction of what its keywords say. The old one has to imply each of them: by
//! its own keywords, by what it refers to, by one of `allOf`, or by every one of `anyOf` or `oneOf`.
//! That is decided by keyword, and never in favour of the new schema where it is not certain.

mod disjoint;
mod keywords;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use self::keywords::{Group, Kinds, groups};

/// How many steps a comparison may take; what is not found out by then is undecided.
const MAX_STEPS: usize = 50_000;

/// How deep it may go.
const MAX_DEPTH: usize = 96;

/// The dialect that is understood, if a schema names one.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Why a new version of a schema is not known to accept all that the old one accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where in a value: a JSON pointer, with `*` for any item or any other member; empty for the value
    /// itself.
    pub at: String,
    /// The keyword of the new schema that may refuse what was accepted: a JSON pointer into it.
    pub rule: String,
    /// What is different.
    pub what: String,
    /// Whether there is no saying if the schemas are compatible; otherwise they are not.
    pub undecided: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, rule, what, undecided } = self;
        let at = if at.is_empty() { "the value itself" } else { at };
        let sort = if *undecided { "undecided: " } else { "" };
        write!(f, "{at}: {sort}{what} (rule {rule})")
    }
}

/// Why not every value that `old` accepts is known to be accepted by `new`; nothing: each is.
pub(super) fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    if old == new {
        return Vec::new();
    }
    let place = Place::default();
    for (which, schema) in [("old", old), ("new", new)] {
        let dialect = schema.get("$schema").and_then(Value::as_str).unwrap_or(DIALECT);
        if dialect.trim_end_matches('#') != DIALECT {
            let what = format!("the {which} schema is of another dialect than {DIALECT}");
            return place.undecided("$schema", what);
        }
        if schema.as_object().into_iter().flatten().any(|(_, inner)| mentions(inner, "$id")) {
            let what = format!("the {which} schema has an $id inside, which changes what is meant");
            return place.undecided("$id", what);
        }
    }
    Comparison { old, new, assumed: Vec::new(), steps: 0 }.check(old, new, &place)
}

/// A place in values, and in the new schema.
#[derive(Debug, Clone, Default)]
struct Place {
    at: String,
    rule: String,
    depth: usize,
}

impl Place {
    /// Inside a value, and the schema of what is there.
    fn inside(&self, at: &str, rule: &str) -> Self {
        let at = format!("{}/{}", self.at, escaped(at));
        Self { at, rule: format!("{}/{rule}", self.rule), depth: self.depth + 1 }
    }

    /// The same value, and another schema of it.
    fn same(&self, rule: &str) -> Self {
        let rule = format!("{}/{rule}", self.rule);
        Self { at: self.at.clone(), rule, depth: self.depth + 1 }
    }

    /// The same value, and the schema that is referred to.
    fn referred(&self, pointer: &str) -> Self {
        Self { at: self.at.clone(), rule: pointer.to_owned(), depth: self.depth + 1 }
    }

    fn differs(&self, keyword: &str, what: impl Into<String>) -> Vec<Difference> {
        self.difference(keyword, what.into(), false)
    }

    fn undecided(&self, keyword: &str, what: impl Into<String>) -> Vec<Difference> {
        self.difference(keyword, what.into(), true)
    }

    fn difference(&self, keyword: &str, what: String, undecided: bool) -> Vec<Difference> {
        let rule = match keyword {
            "" => self.rule.clone(),
            keyword => format!("{}/{}", self.rule, escaped(keyword)),
        };
        vec![Difference { at: self.at.clone(), rule, what, undecided }]
    }
}

/// Two schemas that are compared.
struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    /// What is being shown of references, of the old schema and the new, and so holds further inside.
    assumed: Vec<(String, String)>,
    steps: usize,
}

impl Comparison<'_> {
    /// Why `new` may refuse what `old` accepts.
    fn check(&mut self, old: &Value, new: &Value, place: &Place) -> Vec<Difference> {
        self.steps += 1;
        if self.steps > MAX_STEPS || place.depth > MAX_DEPTH {
            return place.undecided("", "the schemas are too intricate to compare");
        }
        if *old == Value::Bool(false) || self.mean_the_same(old, new) {
            return Vec::new();
        }
        let members = match new {
            Value::Object(members) => members,
            Value::Bool(true) => return Vec::new(),
            Value::Bool(false) => return place.differs("", "nothing is accepted any more"),
            _ => return place.undecided("", "it is no schema"),
        };
        if let Some(found) = keywords::listed(old, new, place) {
            return found;
        }
        let groups = groups(members);
        groups.into_iter().flat_map(|group| self.implies(old, group, members, place)).collect()
    }

    /// Why not all that `old` accepts is known to be what this group of keywords asks for.
    fn implies(
        &mut self,
        old: &Value,
        group: Group,
        new: &Map<String, Value>,
        place: &Place,
    ) -> Vec<Difference> {
        self.steps += 1;
        if self.steps > MAX_STEPS || place.depth > MAX_DEPTH {
            return place.undecided("", "the schemas are too intricate to compare");
        }
        let none = Map::new();
        let members = match old {
            Value::Object(members) => members,
            Value::Bool(false) => return Vec::new(),
            _ => &none,
        };
        let mut found = match is_said_elsewhere(members, group) {
            true => place.undecided("", "what this asks for was not asked for"),
            false => self.implied_by_own(members, group, new, place),
        };
        // What the parts of the old schema imply has been looked at for these.
        if found.is_empty() || matches!(group, Group::Ref | Group::AllOf) {
            return found;
        }
        let place = &Place { depth: place.depth + 1, ..place.clone() };
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            let Some(target) = resolve(self.old, reference) else {
                let what = format!("the old schema refers to {reference:?}, which is not followed");
                return place.undecided("", what);
            };
            let target = target.clone();
            found = self.implies(&target, group, new, place);
            if found.is_empty() {
                return found;
            }
        }
        let parts = |keyword| members.get(keyword).and_then(Value::as_array).cloned();
        for part in parts("allOf").into_iter().flatten() {
            if self.implies(&part, group, new, place).is_empty() {
                return Vec::new();
            }
        }
        for keyword in ["anyOf", "oneOf"] {
            let Some(parts) = parts(keyword).filter(|parts| !parts.is_empty()) else { continue };
            let mut missing = parts.iter().map(|part| self.implies(part, group, new, place));
            match missing.find(|found| !found.is_empty()) {
                None => return Vec::new(),
                Some(missing) => found = missing,
            }
        }
        if let (Group::AnyOf | Group::OneOf, Some(Value::Array(types))) =
            (group, members.get("type"))
        {
            let of_type = |one: &Value| {
                let mut members = members.clone();
                members.insert("type".to_owned(), one.clone());
                Value::Object(members)
            };
            let split: Vec<_> = types.iter().map(of_type).collect();
            if split.len() > 1
                && split.iter().all(|old| self.implies(old, group, new, place).is_empty())
            {
                return Vec::new();
            }
        }
        found
    }

    /// The same, by the keywords beside each other alone.
    fn implied_by_own(
        &mut self,
        old: &Map<String, Value>,
        group: Group,
        new: &Map<String, Value>,
        place: &Place,
    ) -> Vec<Difference> {
        let kinds = Kinds::of(old);
        match group {
            Group::Object if kinds.has(Kinds::OBJECT) => self.members(old, new, place),
            Group::Array if kinds.has(Kinds::ARRAY) => self.items(old, new, place),
            Group::Object | Group::Array => Vec::new(),
            Group::Ref => self.reference(old, new, place),
            Group::AllOf => {
                let old = Value::Object(old.clone());
                let parts = each(new, "allOf").enumerate();
                let wrong = |(n, part)| self.check(&old, part, &place.same(&format!("allOf/{n}")));
                parts.flat_map(wrong).collect()
            }
            Group::AnyOf => {
                let old = Value::Object(old.clone());
                let place = place.same("anyOf");
                let mut parts = each(new, "anyOf");
                if parts.any(|part| self.check(&old, part, &place).is_empty()) {
                    return Vec::new();
                }
                place.undecided("", "no single alternative accepts all that was accepted")
            }
            Group::OneOf => {
                let old = Value::Object(old.clone());
                let place = place.same("oneOf");
                let fits: Vec<_> = each(new, "oneOf")
                    .filter(|part| !self.are_disjoint(&old, part, place.depth))
                    .collect();
                match fits.as_slice() {
                    [only] if self.check(&old, only, &place).is_empty() => Vec::new(),
                    _ => place.undecided("", "no single alternative accepts all that was accepted"),
                }
            }
            Group::Same(keywords) => {
                let same = |keyword: &&str| match (old.get(*keyword), new.get(*keyword)) {
                    (Some(old), Some(new)) => self.mean_the_same(old, new),
                    (old, new) => old.is_none() && new.is_none(),
                };
                if keywords.iter().all(same) {
                    return Vec::new();
                }
                place.undecided(keywords[0], format!("{} is not what it was", keywords[0]))
            }
            Group::Open(keyword) => {
                place.undecided(keyword, format!("what {keyword} means depends on all around it"))
            }
            Group::Plain(keyword) => keywords::compare(keyword, kinds, old, new, place),
        }
    }

    /// Members of an object.
    fn members(
        &mut self,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        place: &Place,
    ) -> Vec<Difference> {
        let all = Value::Bool(true);
        let (had, has) = (properties(old), properties(new));
        let patterns =
            [old, new].map(|schema| schema.get("patternProperties").filter(|all| !is_empty(all)));
        if patterns.iter().any(Option::is_some) {
            let same = match patterns {
                [Some(old), Some(new)] => self.mean_the_same(old, new),
                // What the old one asks of some names is no matter if the new one asks nothing.
                [Some(_), None] if has.is_empty() && !new.contains_key("additionalProperties") => {
                    return Vec::new();
                }
                _ => false,
            };
            let named = |all: &Map<String, Value>| all.keys().cloned().collect::<Vec<_>>();
            if !same || named(had) != named(has) {
                let what = "which of its members these patterns mean cannot be told";
                return place.undecided("patternProperties", what);
            }
        }
        let others = |schema: &Map<String, Value>| {
            schema.get("additionalProperties").unwrap_or(&all).clone()
        };
        let (had_others, has_others) = (others(old), others(new));
        let mut found = Vec::new();
        for (name, new) in has {
            let inside = place.inside(name, &format!("properties/{}", escaped(name)));
            match had.get(name) {
                Some(old) => found.extend(self.check(old, new, &inside)),
                None => {
                    let wrong = self.check(&had_others, new, &inside);
                    found.extend(wrong.into_iter().map(|mut one| {
                        one.what += "; the old schema let it be anything: it has no \
                                     additionalProperties = false";
                        one
                    }));
                }
            }
        }
        for (name, old) in had.iter().filter(|(name, _)| !has.contains_key(*name)) {
            let inside = place.inside(name, "additionalProperties");
            found.extend(self.check(old, &has_others, &inside));
        }
        found.extend(self.check(
            &had_others,
            &has_others,
            &place.inside("*", "additionalProperties"),
        ));
        found
    }

    /// Items of an array.
    fn items(
        &mut self,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        place: &Place,
    ) -> Vec<Difference> {
        let all = Value::Bool(true);
        let first = |schema: &Map<String, Value>| {
            schema.get("prefixItems").and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let (had, has) = (first(old), first(new));
        let rest = |schema: &Map<String, Value>| schema.get("items").unwrap_or(&all).clone();
        let (had_rest, has_rest) = (rest(old), rest(new));
        let mut found = Vec::new();
        for n in 0..had.len().max(has.len()) {
            let rule = if n < has.len() { format!("prefixItems/{n}") } else { "items".to_owned() };
            let inside = place.inside(&n.to_string(), &rule);
            let (old, new) = (had.get(n).unwrap_or(&had_rest), has.get(n).unwrap_or(&has_rest));
            found.extend(self.check(old, new, &inside));
        }
        found.extend(self.check(&had_rest, &has_rest, &place.inside("*", "items")));
        found
    }

    fn reference(
        &mut self,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        place: &Place,
    ) -> Vec<Difference> {
        let reference = new.get("$ref").and_then(Value::as_str).unwrap_or_default();
        let Some(target) = resolve(self.new, reference).cloned() else {
            let what = format!("{reference:?} is not followed");
            return place.undecided("$ref", what);
        };
        let pair = old.get("$ref").and_then(Value::as_str);
        let pair = pair.map(|old| (old.to_owned(), reference.to_owned()));
        if pair.as_ref().is_some_and(|pair| self.assumed.contains(pair)) {
            return Vec::new();
        }
        let known = self.assumed.len();
        // What is shown with the help of keywords beside the reference does not hold without them.
        self.assumed.extend(pair.filter(|_| groups(old) == [Group::Ref]));
        let place = place.referred(reference.trim_start_matches('#'));
        let found = self.check(&Value::Object(old.clone()), &target, &place);
        self.assumed.truncate(known);
        found
    }

    /// Whether two parts are the same text and so mean the same. What they refer to must be, too.
    fn mean_the_same(&self, old: &Value, new: &Value) -> bool {
        old == new
            && (!has_references(old)
                || ["$defs", "definitions"].iter().all(|place| {
                    let (old, new) = (self.old.get(place), self.new.get(place));
                    old == new && old.is_none_or(refers_to_definitions)
                }) && refers_to_definitions(old))
    }
}

/// Whether a schema says nothing of members, or of items, by itself, but perhaps by its parts.
fn is_said_elsewhere(schema: &Map<String, Value>, group: Group) -> bool {
    let own: &[&str] = match group {
        Group::Object => &["properties", "patternProperties", "additionalProperties"],
        Group::Array => &["items", "prefixItems"],
        _ => return false,
    };
    let has = |keyword: &&str| schema.contains_key(*keyword);
    let kinds = Kinds::of(schema);
    let is_about = kinds.has(if group == Group::Object { Kinds::OBJECT } else { Kinds::ARRAY });
    is_about && !own.iter().any(has) && ["$ref", "allOf", "anyOf", "oneOf"].iter().any(has)
}

fn each<'a>(schema: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'a Value> {
    schema.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

fn properties(schema: &Map<String, Value>) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// What `#` and `#/...` are in a schema.
fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    // Percent-encoded ones, and names, are none of our pointers.
    (!pointer.contains('%')).then(|| root.pointer(pointer)).flatten()
}

/// Whether a member of this name is anywhere.
fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(key, inner)| key == name || mentions(inner, name))
        }
        Value::Array(items) => items.iter().any(|inner| mentions(inner, name)),
        _ => false,
    }
}

fn has_references(value: &Value) -> bool {
    ["$ref", "$dynamicRef", "$recursiveRef"].iter().any(|name| mentions(value, name))
}

/// Whether all that is referred to is in the definitions.
fn refers_to_definitions(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().all(|(key, inner)| match (key.as_str(), inner) {
            ("$ref", Value::String(to)) => {
                to.starts_with("#/$defs/") || to.starts_with("#/definitions/")
            }
            ("$dynamicRef" | "$recursiveRef", _) => false,
            _ => refers_to_definitions(inner),
        }),
        Value::Array(items) => items.iter().all(refers_to_definitions),
        _ => true,
    }
}

/// A segment of a JSON pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
