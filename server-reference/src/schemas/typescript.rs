//! JSON Schema as TypeScript: the parts of it that are about shape. What is not understood is
//! `unknown`, which a caller has to check.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::Schema;
use super::mask::SENSITIVE;

const HEADER: &str =
    "// Written by `tidings-server schema --ts`: change the schemas, not this file.\n";

/// Where a schema keeps those it refers to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

pub(super) fn module(events: &[(String, Schema)], collections: &[(String, Vec<Schema>)]) -> String {
    let mut module = Module::default();
    let events: Vec<_> = events
        .iter()
        .map(|(pattern, schema)| (pattern, module.root(pattern, schema.as_value())))
        .collect();
    let collections: Vec<_> = collections
        .iter()
        .map(|(name, schemas)| {
            let types = schemas.iter().map(|schema| module.root(name, schema.as_value()));
            let types: Vec<_> = types.collect();
            let any = || "Record<string, unknown>".to_owned();
            (name, if types.is_empty() { any() } else { types.join(" & ") })
        })
        .collect();
    let mut out = HEADER.to_owned();
    for declaration in &module.declarations {
        out.push('\n');
        out.push_str(declaration);
    }
    map(&mut out, "What events carry, by name or pattern.", "Events", &events);
    map(&mut out, "The records of collections, by name.", "Collections", &collections);
    out
}

/// A map from names to types: an alias, because interfaces do not conform to index signatures.
fn map(out: &mut String, comment: &str, name: &str, entries: &[(&String, String)]) {
    let _ = write!(out, "\n/** {comment} */\nexport type {name} = {{\n");
    for (key, value) in entries {
        let _ = writeln!(out, "  {}: {value};", quoted(key));
    }
    out.push_str("};\n");
}

/// What is declared so far.
#[derive(Default)]
struct Module {
    declarations: Vec<String>,
    /// The names that are taken, and by what: a schema, and the one it is a part of.
    taken: BTreeMap<String, (Value, Value)>,
}

/// The names of the types that the parts of a schema refer to, by JSON pointer.
struct Root {
    names: BTreeMap<String, String>,
}

impl Module {
    /// Declares the types of a schema, and says what its own is called.
    fn root(&mut self, title: &str, schema: &Value) -> String {
        let given = schema.get("title").and_then(Value::as_str).unwrap_or(title);
        let (own, is_new) = self.take(given, schema, schema);
        let mut root = Root { names: BTreeMap::from([("#".to_owned(), own.clone())]) };
        if !is_new {
            return own;
        }
        let mut parts = Vec::new();
        for place in DEFINITIONS {
            let definitions = schema.get(place).and_then(Value::as_object);
            for (key, part) in definitions.into_iter().flatten() {
                let (name, is_new) = self.take(key, part, schema);
                root.names.insert(format!("#/{place}/{}", escaped(key)), name.clone());
                if is_new {
                    parts.push((name, part));
                }
            }
        }
        for (name, part) in parts {
            self.declarations.push(root.declaration(&name, part));
        }
        self.declarations.push(root.declaration(&own, schema));
        own
    }

    /// A name for a part of `root`: the same for the same, and never one for two.
    fn take(&mut self, wish: &str, part: &Value, root: &Value) -> (String, bool) {
        let wish = type_name(wish);
        let refers = part.to_string().contains("\"$ref\"");
        let identity = (part.clone(), if refers { root.clone() } else { Value::Null });
        let numbered = (2..).map(|n| format!("{wish}{n}"));
        for name in std::iter::once(wish.clone()).chain(numbered) {
            match self.taken.get(&name) {
                Some(other) if *other == identity => return (name, false),
                Some(_) => {}
                None if matches!(name.as_str(), "Events" | "Collections") => {}
                None => {
                    self.taken.insert(name.clone(), identity);
                    return (name, true);
                }
            }
        }
        unreachable!("there is always another number")
    }
}

impl Root {
    fn declaration(&self, name: &str, schema: &Value) -> String {
        let mut out = comment(schema, "");
        match schema.as_object() {
            Some(object) if is_plain_object(object) => {
                let _ = writeln!(out, "export interface {name} {}", self.fields(object, ""));
            }
            _ => {
                let _ = writeln!(out, "export type {name} = {};", self.of(schema, ""));
            }
        }
        out
    }

    /// The type of a value, written so that it can stand in a union.
    fn of(&self, schema: &Value, indent: &str) -> String {
        let Value::Object(schema) = schema else {
            return if *schema == Value::Bool(false) { "never" } else { "unknown" }.to_owned();
        };
        let mut all = Vec::new();
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = self.names.get(reference);
            all.push(name.cloned().unwrap_or_else(|| "unknown".to_owned()));
        }
        if let Some(value) = schema.get("const") {
            all.push(literal(value));
        } else if let Some(Value::Array(values)) = schema.get("enum") {
            all.push(union(values.iter().map(literal)));
        } else if let Some(own) = self.by_type(schema, indent) {
            all.push(own);
        }
        for alternatives in ["anyOf", "oneOf"] {
            if let Some(Value::Array(parts)) = schema.get(alternatives) {
                all.push(union(parts.iter().map(|part| self.of(part, indent))));
            }
        }
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            all.extend(parts.iter().map(|part| self.of(part, indent)));
        }
        all.retain(|part| part != "unknown");
        match all.len() {
            0 => "unknown".to_owned(),
            1 => all.swap_remove(0),
            _ => all.iter().map(|part| grouped(part)).collect::<Vec<_>>().join(" & "),
        }
    }

    fn by_type(&self, schema: &Map<String, Value>, indent: &str) -> Option<String> {
        match schema.get("type") {
            Some(Value::String(name)) => Some(self.typed(name, schema, indent)),
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                Some(union(names.map(|name| self.typed(name, schema, indent))))
            }
            _ if schema.contains_key("properties") => Some(self.typed("object", schema, indent)),
            _ if schema.contains_key("items") => Some(self.typed("array", schema, indent)),
            _ => None,
        }
    }

    fn typed(&self, name: &str, schema: &Map<String, Value>, indent: &str) -> String {
        match name {
            "integer" | "number" => "number".to_owned(),
            "string" | "boolean" | "null" => name.to_owned(),
            "array" => self.array(schema, indent),
            "object" => self.fields(schema, indent),
            _ => "unknown".to_owned(),
        }
    }

    fn array(&self, schema: &Map<String, Value>, indent: &str) -> String {
        let items = schema.get("items");
        let Some(Value::Array(first)) = schema.get("prefixItems") else {
            let item = items.map_or_else(|| "unknown".to_owned(), |items| self.item(items, indent));
            return format!("{}[]", grouped(&item));
        };
        let mut parts: Vec<_> = first.iter().map(|item| self.item(item, indent)).collect();
        match items {
            Some(Value::Bool(false)) => {}
            None if schema.get("maxItems").and_then(Value::as_u64) == Some(first.len() as u64) => {}
            items => {
                let rest = items.map_or_else(|| "unknown".to_owned(), |all| self.item(all, indent));
                parts.push(format!("...{}[]", grouped(&rest)));
            }
        }
        format!("[{}]", parts.join(", "))
    }

    /// The type of an item of an array; one that is sensitive is `null` for those who may not see it.
    fn item(&self, schema: &Value, indent: &str) -> String {
        match (self.of(schema, indent), is_sensitive(schema)) {
            (item, true) if item != "unknown" => union([item, "null".to_owned()].into_iter()),
            (item, _) => item,
        }
    }

    fn fields(&self, schema: &Map<String, Value>, indent: &str) -> String {
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties: Vec<_> = properties.into_iter().flatten().collect();
        let others = schema.get("additionalProperties");
        if properties.is_empty() {
            let value = others.map_or_else(|| "unknown".to_owned(), |all| self.of(all, indent));
            return format!("Record<string, {value}>");
        }
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |key: &str| required.is_some_and(|all| all.iter().any(|one| one == key));
        let inner = format!("{indent}  ");
        let mut out = "{\n".to_owned();
        for (key, value) in properties {
            // What is sensitive is left out for those who may not see it.
            let mark = if is_required(key) && !is_sensitive(value) { "" } else { "?" };
            let (key, value_type) = (property(key), self.of(value, &inner));
            let _ = writeln!(out, "{}{inner}{key}{mark}: {value_type};", comment(value, &inner));
        }
        if others.is_some_and(|others| *others != Value::Bool(false)) {
            // Every named property has to conform to it, which only `unknown` is sure to allow.
            let _ = writeln!(out, "{inner}[key: string]: unknown;");
        }
        let _ = write!(out, "{indent}}}");
        out
    }
}

fn is_sensitive(schema: &Value) -> bool {
    schema.get(SENSITIVE).and_then(Value::as_bool) == Some(true)
}

/// Whether an interface says all of it.
fn is_plain_object(schema: &Map<String, Value>) -> bool {
    let beside = ["$ref", "anyOf", "oneOf", "allOf", "enum", "const"];
    schema.get("properties").and_then(Value::as_object).is_some_and(|all| !all.is_empty())
        && schema.get("type").is_none_or(|name| name == "object")
        && beside.iter().all(|key| !schema.contains_key(*key))
}

fn union(parts: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for part in parts {
        if !all.contains(&part) {
            all.push(part);
        }
    }
    if all.is_empty() { "never".to_owned() } else { all.join(" | ") }
}

/// In brackets if it is an alternative or a combination.
fn grouped(part: &str) -> String {
    let mut depth = 0_u32;
    let is_open = |c: char| {
        match c {
            '{' | '[' | '(' | '<' => depth += 1,
            '}' | ']' | ')' | '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(c, '|' | '&')
    };
    if part.chars().any(is_open) { format!("({part})") } else { part.to_owned() }
}

/// JSON is a type, too: that of the value itself.
fn literal(value: &Value) -> String {
    value.to_string()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn property(key: &str) -> String {
    let mut letters = key.chars();
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '$';
    let is_word =
        letters.next().is_some_and(starts) && letters.all(|c| starts(c) || c.is_ascii_digit());
    if is_word { key.to_owned() } else { quoted(key) }
}

/// `orders.*.created` and `order created` are `OrdersCreated` and `OrderCreated`.
fn type_name(wish: &str) -> String {
    let words = wish.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = String::new();
    for word in words {
        name.push_str(&word[..1].to_ascii_uppercase());
        name.push_str(&word[1..]);
    }
    match name.chars().next() {
        None => "Payload".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{name}"),
        Some(_) => name,
    }
}

/// A segment of a JSON pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn comment(schema: &Value, indent: &str) -> String {
    let Some(text) = schema.get("description").and_then(Value::as_str) else {
        return String::new();
    };
    let text = text.trim().replace("*/", "*\\/");
    if !text.contains('\n') {
        return format!("{indent}/** {text} */\n");
    }
    let lines = text.lines().map(|line| format!("{indent} * {}\n", line.trim()));
    format!("{indent}/**\n{}{indent} */\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests;
