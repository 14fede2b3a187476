use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::*;

/// What `schema` alone becomes, as the type of a payload called `X`.
fn of(schema: &Value) -> String {
    let root = Root { names: BTreeMap::from([("#".to_owned(), "X".to_owned())]) };
    root.of(schema, "")
}

#[test]
fn shapes_become_types() {
    for (schema, expected) in [
        (json!(true), "unknown"),
        (json!(false), "never"),
        (json!({}), "unknown"),
        (json!({"type": "integer", "minimum": 0}), "number"),
        (json!({"type": ["string", "null"]}), "string | null"),
        (json!({"enum": ["a\"b", 1, null]}), r#""a\"b" | 1 | null"#),
        (json!({"const": "a"}), "\"a\""),
        (json!({"type": "array"}), "unknown[]"),
        (json!({"type": "array", "items": {"type": ["string", "null"]}}), "(string | null)[]"),
        (json!({"items": {"const": "a|b"}}), "(\"a|b\")[]"),
        (
            json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "items": false}),
            "[string, number]",
        ),
        (
            json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "number"}}),
            "[string, ...number[]]",
        ),
        (json!({"type": "object"}), "Record<string, unknown>"),
        (
            json!({"type": "object", "additionalProperties": {"type": "number"}}),
            "Record<string, number>",
        ),
        (json!({"anyOf": [{"type": "string"}, {"type": "number"}]}), "string | number"),
        (
            json!({"allOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"$ref": "#"}]}),
            "(string | null) & X",
        ),
        (json!({"$ref": "http://example.com"}), "unknown"),
        (json!({"type": "string", "not": {"const": ""}}), "string"),
        (
            json!({"properties": {"a": {"type": "string"}, "b c": {"type": "null"}}, "required": ["a"]}),
            "{\n  a: string;\n  \"b c\"?: null;\n}",
        ),
        (
            json!({"properties": {"a": {"type": "string", "x-tidings-sensitive": true}}, "required": ["a"]}),
            "{\n  a?: string;\n}",
        ),
        (json!({"items": {"type": "string", "x-tidings-sensitive": true}}), "(string | null)[]"),
    ] {
        assert_eq!(of(&schema), expected, "{schema}");
    }
}

#[derive(Serialize, JsonSchema)]
#[allow(dead_code)]
enum Region {
    Eu,
    Us,
}

/// An order has been placed.
#[derive(Serialize, JsonSchema)]
#[allow(dead_code)]
struct OrderCreated {
    /// In cents.
    total: u32,
    region: Region,
    note: Option<String>,
    items: Vec<Item>,
}

#[derive(Serialize, JsonSchema)]
#[allow(dead_code)]
struct Item {
    name: String,
}

#[test]
fn rust_types_and_files_become_one_module() {
    let order = Schema::of::<OrderCreated>().unwrap();
    let other = json!({
        "properties": {"item": {"$ref": "#/$defs/Item"}},
        "$defs": {"Item": {"type": "string"}},
    });
    let events = [
        ("orders.*.created".to_owned(), order.clone()),
        ("orders.*.repeated".to_owned(), order),
        ("items.*".to_owned(), Schema::new(&other).unwrap()),
    ];
    let collections = [("todos".to_owned(), Vec::new())];
    let expected = r#"// Written by `tidings-server schema --ts`: change the schemas, not this file.

export interface Item {
  name: string;
}

export type Region = "Eu" | "Us";

/** An order has been placed. */
export interface OrderCreated {
  items: Item[];
  note: string | null;
  region: Region;
  /** In cents. */
  total: number;
}

export type Item2 = string;

export interface Items {
  item?: Item2;
}

/** What events carry, by name or pattern. */
export type Events = {
  "orders.*.created": OrderCreated;
  "orders.*.repeated": OrderCreated;
  "items.*": Items;
};

/** The records of collections, by name. */
export type Collections = {
  "todos": Record<string, unknown>;
};
"#;
    assert_eq!(module(&events, &collections), expected);
}

#[test]
fn a_comment_cannot_be_left_and_names_are_kept_apart() {
    let schema = json!({"title": "events", "description": "a */ b\nc", "type": "string"});
    let text = module(&[("1.a".into(), Schema::new(&schema).unwrap())], &[]);
    assert!(text.contains("/**\n * a *\\/ b\n * c\n */\nexport type Events2 = string;"), "{text}");
    assert_eq!(type_name("7.*"), "_7");
    assert_eq!(type_name("**"), "Payload");
}
