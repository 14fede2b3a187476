//! Which places of a value are sensitive, as its schema says: found once, when it is declared.

mod places;

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::SchemaError;

/// The keyword of a schema whose values are sensitive.
pub(super) const SENSITIVE: &str = "x-tidings-sensitive";

/// Where a schema keeps those it refers to: they say nothing until it does.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Keywords whose values are no schemas, but examples of what those describe.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

/// Which places of a value are sensitive.
///
/// A place is sensitive if any of the schemas that speak of it says so, whichever of several
/// alternatives the value conforms to: what is doubtful is hidden.
#[derive(Debug, Clone)]
pub(crate) struct Mask(Arc<[Node]>);

/// Schemas that speak of one place of a value, as far as something is sensitive there or below, by
/// number and in order. None: nothing is.
pub(super) type Place = Vec<usize>;

/// One schema, and which ones speak of what is inside.
#[derive(Debug, Default)]
struct Node {
    is_sensitive: bool,
    /// Whether it is sensitive, or one that it leads to.
    leads: bool,
    /// Schemas of the same value.
    same: Vec<usize>,
    properties: BTreeMap<String, usize>,
    patterns: Vec<(Validator, usize)>,
    other_properties: Vec<usize>,
    first_items: Vec<usize>,
    other_items: Vec<usize>,
    /// Schemas of any item.
    items: Vec<usize>,
}

impl Node {
    fn inner(&self) -> impl Iterator<Item = usize> {
        let named = self.properties.values().chain(self.patterns.iter().map(|(_, node)| node));
        let items = self.first_items.iter().chain(&self.other_items).chain(&self.items);
        self.same.iter().chain(named).chain(&self.other_properties).chain(items).copied()
    }
}

impl Mask {
    /// What a schema declares sensitive; `None` if nothing.
    ///
    /// # Errors
    /// If it is declared where it would have no effect.
    pub(super) fn of(schema: &Value) -> Result<Option<Self>, SchemaError> {
        if !is_mentioned(schema) {
            return Ok(None);
        }
        let mut reading = Reading { schema, nodes: Vec::new(), known: BTreeMap::new() };
        reading.node(String::new())?;
        reading.check_all_read(schema, "")?;
        let mut nodes = reading.nodes;
        loop {
            let leads = |node: &Node| node.is_sensitive || node.inner().any(|n| nodes[n].leads);
            let found: Vec<bool> = nodes.iter().map(leads).collect();
            if nodes.iter().map(|node| node.leads).eq(found.iter().copied()) {
                break;
            }
            nodes.iter_mut().zip(found).for_each(|(node, leads)| node.leads = leads);
        }
        Ok(nodes[0].leads.then(|| Self(nodes.into())))
    }

    /// The value as a whole.
    pub(super) fn root(&self) -> Place {
        self.place(std::iter::once(0))
    }

    /// A member of an object.
    pub(super) fn member(&self, of: &Place, key: &str) -> Place {
        let name = || Value::from(key);
        self.place(of.iter().flat_map(|node| {
            let node = &self.0[*node];
            let named = node.properties.get(key).copied();
            let like = node.patterns.iter().filter(|(pattern, _)| pattern.is_valid(&name()));
            let mut inside: Vec<usize> = named.into_iter().chain(like.map(|(_, n)| *n)).collect();
            if inside.is_empty() {
                inside.extend(&node.other_properties);
            }
            inside
        }))
    }

    /// An item of an array.
    pub(super) fn item(&self, of: &Place, index: usize) -> Place {
        self.place(of.iter().flat_map(|node| {
            let node = &self.0[*node];
            let here = match node.first_items.get(index) {
                Some(item) => std::slice::from_ref(item),
                None => &node.other_items,
            };
            here.iter().chain(&node.items).copied()
        }))
    }

    /// Whether the place is sensitive itself.
    pub(super) fn hides(&self, place: &Place) -> bool {
        place.iter().any(|node| self.0[*node].is_sensitive)
    }

    /// Of these schemas, and those that speak of the same value, the ones that matter.
    fn place(&self, schemas: impl Iterator<Item = usize>) -> Place {
        let mut place = Place::new();
        let mut open: Vec<usize> = schemas.collect();
        while let Some(node) = open.pop() {
            if let (true, Err(at)) = (self.0[node].leads, place.binary_search(&node)) {
                place.insert(at, node);
                open.extend(&self.0[node].same);
            }
        }
        place
    }
}

/// Whether the keyword is anywhere in it.
fn is_mentioned(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            members.contains_key(SENSITIVE) || members.values().any(is_mentioned)
        }
        Value::Array(elements) => elements.iter().any(is_mentioned),
        _ => false,
    }
}

fn wrong(at: &str, message: impl Into<String>) -> SchemaError {
    let at = if at.is_empty() { "/" } else { at };
    SchemaError::Schema { at: at.to_owned(), message: message.into() }
}

/// Reads a schema part by part. A part is named by its JSON pointer.
struct Reading<'a> {
    schema: &'a Value,
    nodes: Vec<Node>,
    known: BTreeMap<String, usize>,
}

impl Reading<'_> {
    fn node(&mut self, at: String) -> Result<usize, SchemaError> {
        if let Some(known) = self.known.get(&at) {
            return Ok(*known);
        }
        let number = self.nodes.len();
        self.nodes.push(Node::default());
        self.known.insert(at.clone(), number);
        let part = self.schema.pointer(&at).ok_or_else(|| wrong(&at, "there is no such part"))?;
        if let Value::Object(part) = part {
            self.nodes[number] = self.read(part, &at)?;
        }
        Ok(number)
    }

    fn read(&mut self, part: &Map<String, Value>, at: &str) -> Result<Node, SchemaError> {
        let mut node = Node::default();
        for (keyword, value) in part {
            let below = format!("{at}/{}", escaped(keyword));
            match keyword.as_str() {
                SENSITIVE => {
                    node.is_sensitive =
                        value.as_bool().ok_or_else(|| wrong(&below, "must be true or false"))?;
                }
                "$ref" => node.same.push(self.referred(value, &below)?),
                "if" | "then" | "else" => node.same.push(self.node(below)?),
                "allOf" | "anyOf" | "oneOf" => node.same.extend(self.list(value, &below)?),
                "dependentSchemas" | "dependencies" => {
                    node.same.extend(self.map(value, &below)?.into_iter().map(|(_, n)| n));
                }
                "properties" => node.properties.extend(self.map(value, &below)?),
                "patternProperties" => {
                    for (pattern, part) in self.map(value, &below)? {
                        // The one that knows which names conform.
                        let names = jsonschema::validator_for(&json!({"pattern": pattern}));
                        let names = names.map_err(|error| wrong(&below, error.to_string()))?;
                        node.patterns.push((names, part));
                    }
                }
                "additionalProperties" | "unevaluatedProperties" => {
                    node.other_properties.push(self.node(below)?);
                }
                "items" if value.is_array() => node.first_items = self.list(value, &below)?,
                "prefixItems" => node.first_items = self.list(value, &below)?,
                "items" | "additionalItems" | "unevaluatedItems" => {
                    node.other_items.push(self.node(below)?);
                }
                "contains" => node.items.push(self.node(below)?),
                _ => {}
            }
        }
        Ok(node)
    }

    fn list(&mut self, value: &Value, at: &str) -> Result<Vec<usize>, SchemaError> {
        let parts = 0..value.as_array().map_or(0, Vec::len);
        parts.map(|part| self.node(format!("{at}/{part}"))).collect()
    }

    fn map(&mut self, value: &Value, at: &str) -> Result<Vec<(String, usize)>, SchemaError> {
        let keys = value.as_object().into_iter().flat_map(Map::keys);
        keys.map(|key| Ok((key.clone(), self.node(format!("{at}/{}", escaped(key)))?))).collect()
    }

    fn referred(&mut self, value: &Value, at: &str) -> Result<usize, SchemaError> {
        let reference = value.as_str().unwrap_or_default();
        let own = self.schema.get("$id").and_then(Value::as_str).unwrap_or_default();
        let fragment = reference.strip_prefix(own).unwrap_or(reference);
        match fragment.strip_prefix('#').map(decoded) {
            Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => self.node(pointer),
            _ => Err(wrong(
                at,
                format!(
                    "{reference:?} cannot be followed to find what is sensitive: where \
                     {SENSITIVE} is used, write a reference as \"#/$defs/...\""
                ),
            )),
        }
    }

    /// Complains of what is declared sensitive in a part that speaks of no place of the value.
    fn check_all_read(&self, value: &Value, at: &str) -> Result<(), SchemaError> {
        let check = |(key, value): (String, &Value)| {
            let below = format!("{at}/{}", escaped(&key));
            self.check_all_read(value, &below)
        };
        match value {
            Value::Object(members) => {
                if members.get(SENSITIVE).is_some_and(Value::is_boolean)
                    && !self.known.contains_key(at)
                {
                    let message = format!(
                        "{SENSITIVE} has no effect here: write it where a property, an item or \
                         the whole value is described"
                    );
                    return Err(wrong(at, message));
                }
                let is_unused = |key: &str| {
                    let below = format!("{at}/{}", escaped(key));
                    at.rsplit('/').next().is_some_and(|name| DEFINITIONS.contains(&name))
                        && !self.known.contains_key(&below)
                };
                let members = members.iter().filter(|(key, _)| !VALUES.contains(&key.as_str()));
                let members = members.filter(|(key, _)| !is_unused(key));
                members.map(|(key, value)| (key.clone(), value)).try_for_each(check)
            }
            Value::Array(elements) => {
                let mut elements = elements.iter().enumerate();
                elements.try_for_each(|(n, value)| check((n.to_string(), value)))
            }
            _ => Ok(()),
        }
    }
}

/// A segment of a JSON pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// What a fragment of a URI stands for.
fn decoded(fragment: &str) -> String {
    let form = format!("={}", fragment.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(form.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the place with these keys and indices is hidden, or one above it.
    fn hides(schema: Value, path: &[&str]) -> bool {
        let Some(mask) = Mask::of(&schema).unwrap() else { return false };
        let mut place = mask.root();
        path.iter().any(|step| {
            place = match step.parse() {
                Ok(index) => mask.item(&place, index),
                Err(_) => mask.member(&place, step),
            };
            mask.hides(&place)
        })
    }

    fn secret() -> Value {
        json!({"type": "string", SENSITIVE: true})
    }

    #[test]
    fn every_way_to_speak_of_a_place_is_followed() {
        let is = |schema: Value, hidden: &[&str], shown: &[&str]| {
            assert!(hides(schema.clone(), hidden), "{hidden:?} by {schema}");
            assert!(!hides(schema.clone(), shown), "{shown:?} by {schema}");
        };
        is(json!({"properties": {"a": secret()}}), &["a"], &["b"]);
        let nested = json!({"properties": {"a": {"properties": {"b": secret(), "c": {}}}}});
        is(nested, &["a", "b"], &["a", "c"]);
        let patterns = json!({"patternProperties": {"^x_": secret()}, "properties": {"x": {}}});
        is(patterns.clone(), &["x_1"], &["x"]);
        is(patterns, &["x_1"], &["1x_"]);
        let others = json!({"properties": {"a": {}}, "additionalProperties": secret()});
        is(others, &["b"], &["a"]);
        is(json!({"items": {"properties": {"a": secret()}}}), &["3", "a"], &["3", "b"]);
        let tuple =
            json!({"prefixItems": [{}, secret()], "items": {"properties": {"a": secret()}}});
        is(tuple.clone(), &["1"], &["0"]);
        is(tuple, &["2", "a"], &["0", "a"]);
        is(json!({"items": [secret(), {}]}), &["0"], &["1"]);
        is(json!({"contains": {"properties": {"a": secret()}}}), &["0", "a"], &["0", "b"]);
        let referred = json!({
            "properties": {"a~/b c": {"$ref": "#/$defs/a~0~1b%20c"}, "d": {"$ref": "#/$defs/d"}},
            "$defs": {"a~/b c": secret(), "d": {}, "unused": secret()},
        });
        is(referred, &["a~/b c"], &["d"]);
        let tree = json!({
            "$ref": "#/$defs/tree",
            "$defs": {"tree": {"properties": {
                "of": {"items": {"$ref": "#/$defs/tree"}},
                "note": secret(),
            }}},
        });
        is(tree, &["of", "0", "of", "7", "note"], &["of", "0", "title"]);
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let parts = json!([{"properties": {"b": {}}}, {"properties": {"a": secret()}}]);
            is(json!({keyword: parts}), &["a"], &["b"]);
        }
        for keyword in ["if", "then", "else"] {
            is(json!({keyword: {"properties": {"a": secret()}}}), &["a"], &["b"]);
        }
        let dependent = json!({"dependentSchemas": {"b": {"properties": {"a": secret()}}}});
        is(dependent, &["a"], &["b"]);
        let whole = Mask::of(&secret()).unwrap().unwrap();
        assert!(whole.hides(&whole.root()));
    }

    #[test]
    fn fields_of_rust_types_can_be_sensitive() {
        #[derive(schemars::JsonSchema)]
        #[allow(dead_code)]
        struct Order {
            total: u32,
            #[schemars(extend("x-tidings-sensitive" = true))]
            to: Option<Address>,
        }
        #[derive(schemars::JsonSchema)]
        #[allow(dead_code)]
        struct Address {
            town: String,
        }
        let schema = crate::schemas::Schema::of::<Order>().unwrap();
        assert!(hides(schema.as_value().clone(), &["to"]));
        assert!(!hides(schema.as_value().clone(), &["total"]));
    }

    #[test]
    fn nothing_sensitive_is_no_mask() {
        for schema in [
            json!({"properties": {"a": {}}}),
            json!(true),
            json!({"properties": {"a": {SENSITIVE: false}}}),
            json!({"$defs": {"unused": secret()}}),
        ] {
            assert!(Mask::of(&schema).unwrap().is_none(), "{schema}");
        }
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        for (schema, says) in [
            (json!({"properties": {"a": {SENSITIVE: "yes"}}}), "/properties/a/x-tidings-sensitive"),
            (json!({"not": {"properties": {"a": secret()}}}), "/not/properties/a: x-tidings"),
            (json!({"propertyNames": secret()}), "/propertyNames: x-tidings-sensitive has no"),
            (
                json!({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor", SENSITIVE: true}}}),
                "/$ref: \"#anchor\" cannot be followed",
            ),
            (json!({"$ref": "#/$defs/b", "$defs": {"a": secret()}}), "/$defs/b: there is no such"),
        ] {
            let error = Mask::of(&schema).map(drop).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
