//! Schemas that no value conforms to both of.

use serde_json::{Map, Value};

use super::keywords::{Kinds, accepts, values};
use super::{Comparison, MAX_DEPTH, MAX_STEPS, properties, resolve};

impl Comparison<'_> {
    /// Whether it is certain that nothing which the old schema accepts is accepted by the new one.
    pub(super) fn are_disjoint(&mut self, old: &Value, new: &Value, depth: usize) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS || depth > MAX_DEPTH {
            return false;
        }
        let (Value::Object(a), Value::Object(b)) = (old, new) else {
            return *old == Value::Bool(false) || *new == Value::Bool(false);
        };
        if let Some(target) = referred(self.old, a)
            && self.are_disjoint(&target, new, depth + 1)
        {
            return true;
        }
        if let Some(target) = referred(self.new, b)
            && self.are_disjoint(old, &target, depth + 1)
        {
            return true;
        }
        let (kinds, other_kinds) = (Kinds::of(a), Kinds::of(b));
        if !kinds.has(other_kinds) {
            return true;
        }
        let none_of = |values: Option<Vec<Value>>, other: &Value| {
            values.is_some_and(|all| all.iter().all(|one| accepts(other, one) == Some(false)))
        };
        if none_of(values(a), new) || none_of(values(b), old) {
            return true;
        }
        let is_object =
            |schema: &Map<String, Value>| schema.get("type").is_some_and(|name| name == "object");
        if !is_object(a) || !is_object(b) {
            return false;
        }
        if requires_what_is_none(a, b) || requires_what_is_none(b, a) {
            return true;
        }
        let both = required(a).filter(|name| required(b).any(|other| other == *name));
        let (a, b) = (properties(a), properties(b));
        both.filter_map(|name| Some((a.get(name)?, b.get(name)?)))
            .any(|(old, new)| self.are_disjoint(old, new, depth + 1))
    }
}

fn referred(root: &Value, schema: &Map<String, Value>) -> Option<Value> {
    resolve(root, schema.get("$ref")?.as_str()?).cloned()
}

fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether one of the members that the one requires is none that the other one allows.
fn requires_what_is_none(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    other.get("additionalProperties") == Some(&Value::Bool(false))
        && !other.contains_key("patternProperties")
        && required(one).any(|name| !properties(other).contains_key(name))
}
