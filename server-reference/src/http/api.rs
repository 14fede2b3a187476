//! The REST interface: each endpoint is routed and described at once, so that none is there that
//! the description (OpenAPI 3.1, `GET /api/openapi.json`) does not have.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::header;
use axum::routing::{MethodFilter, get, on};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::problem;
use crate::app::App;

/// Where the description is.
const DESCRIPTION: &str = "/api/openapi.json";

/// Where it has its types.
const TYPES: &str = "/components/schemas";

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Anybody,
    /// Whoever is let in.
    Callers,
    Operators,
}

/// Gives the schema of a type.
type Typed = fn(&mut SchemaGenerator) -> Value;

fn typed<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().into()
}

/// What an endpoint answers with a status.
#[derive(Debug, Clone, Copy)]
struct Answer {
    status: u16,
    what: &'static str,
    /// The media type, and the type of what is JSON.
    content: Option<(&'static str, Option<Typed>)>,
}

/// An endpoint as it is described.
#[derive(Debug)]
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    who: Who,
    in_path: Option<(&'static str, &'static str)>,
    in_headers: Vec<(&'static str, &'static str)>,
    query: Option<Typed>,
    body: Option<Typed>,
    answers: Vec<Answer>,
}

impl Operation {
    fn new(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            who: Who::Anybody,
            in_path: None,
            in_headers: Vec::new(),
            query: None,
            body: None,
            answers: Vec::new(),
        }
    }

    pub(super) fn get(path: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, summary)
    }

    pub(super) fn post(path: &'static str, summary: &'static str) -> Self {
        Self::new("post", path, summary)
    }

    pub(super) fn put(path: &'static str, summary: &'static str) -> Self {
        Self::new("put", path, summary)
    }

    pub(super) fn delete(path: &'static str, summary: &'static str) -> Self {
        Self::new("delete", path, summary)
    }

    /// For whoever is let in.
    pub(super) fn for_callers(mut self) -> Self {
        self.who = Who::Callers;
        self.fails(&[401, 429])
    }

    /// For those whose tokens have the claim `admin`.
    pub(super) fn for_operators(mut self) -> Self {
        self.who = Who::Operators;
        self.fails(&[401, 403, 429])
    }

    /// It has this part in its path.
    pub(super) const fn part(mut self, name: &'static str, what: &'static str) -> Self {
        self.in_path = Some((name, what));
        self
    }

    /// It reads this header.
    pub(super) fn header(mut self, name: &'static str, what: &'static str) -> Self {
        self.in_headers.push((name, what));
        self
    }

    /// The members of the type are its parameters.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(typed::<T>);
        self.fails(&[400])
    }

    /// It takes this as JSON.
    pub(super) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(typed::<T>);
        self.fails(&[400, 408, 413, 415])
    }

    /// It answers this as JSON.
    pub(super) fn answers<T: JsonSchema>(self, status: u16, what: &'static str) -> Self {
        self.answer(status, what, Some(("application/json", Some(typed::<T>))))
    }

    /// It answers something else.
    pub(super) fn answers_text(self, media: &'static str, what: &'static str) -> Self {
        self.answer(200, what, Some((media, None)))
    }

    /// It answers nothing besides the status.
    pub(super) fn answers_nothing(self, status: u16, what: &'static str) -> Self {
        self.answer(status, what, None)
    }

    /// It answers a problem with any of these.
    pub(super) fn fails(self, statuses: &[u16]) -> Self {
        let content = Some((problem::MEDIA_TYPE, Some(typed::<problem::Body<'_>> as Typed)));
        statuses
            .iter()
            .fold(self, |operation, status| operation.answer(*status, reason(*status), content))
    }

    fn answer(
        mut self,
        status: u16,
        what: &'static str,
        content: Option<(&'static str, Option<Typed>)>,
    ) -> Self {
        self.answers.retain(|known| known.status != status);
        self.answers.push(Answer { status, what, content });
        self
    }

    fn filter(&self) -> MethodFilter {
        match self.method {
            "post" => MethodFilter::POST,
            "put" => MethodFilter::PUT,
            "delete" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        }
    }
}

/// What is asked leaves out what it does not say: `null` is none of the values of a member.
fn without_null(schema: &mut Value) {
    let is_null = |schema: &Value| *schema == "null" || schema["type"] == "null";
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(without_null);
            for several in ["type", "anyOf"] {
                let Some(Value::Array(all)) = members.get_mut(several) else { continue };
                all.retain(|one| !is_null(one));
                if let [only] = all.as_mut_slice() {
                    let only = only.take();
                    members.remove(several);
                    match only {
                        Value::Object(only) => members.extend(only),
                        only => drop(members.insert(several.to_owned(), only)),
                    }
                }
            }
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// What a status means for every endpoint.
const fn reason(status: u16) -> &'static str {
    match status {
        400 => "Something in the request is not right.",
        401 => "There is no token, or it is not good (any more).",
        403 => "The token does not allow it.",
        404 => "There is none.",
        408 => "The body did not come in time.",
        409 => "It contradicts what there is; the detail says what to do.",
        413 => "It is too large, or there is too much.",
        415 => "The body is not declared as JSON.",
        422 => "What was sent is not what it must be: for an event, what its schema says.",
        429 => "Too many, too fast.",
        503 => "It does not work at the moment: try again later.",
        504 => "The log did not answer in time: what was asked may have happened or not.",
        _ => "It failed.",
    }
}

/// The endpoints so far.
pub(super) struct Api {
    router: Router<Arc<App>>,
    paths: Map<String, Value>,
    /// Of what is asked, and of what is answered: a member that may be left out is not the same as
    /// one that may be missing.
    asked: SchemaGenerator,
    told: SchemaGenerator,
}

impl Api {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = TYPES.into();
            settings.meta_schema = None;
        });
        Self {
            router: Router::new(),
            paths: Map::new(),
            asked: settings.clone().for_deserialize().into_generator(),
            told: settings.for_serialize().into_generator(),
        }
    }

    /// With one more.
    pub(super) fn at<H, T>(mut self, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let filter = operation.filter();
        self.describe(&operation);
        self.router = self.router.route(operation.path, on(filter, handler));
        self
    }

    /// All of them, and what describes them.
    pub(super) fn finish(mut self) -> Router<Arc<App>> {
        let summary = "This description of the REST interface, as OpenAPI 3.1";
        let own = Operation::get(DESCRIPTION, summary);
        self.describe(&own.answers::<Map<String, Value>>(200, "The description."));
        let mut types = self.asked.take_definitions(true);
        types.values_mut().for_each(without_null);
        types.append(&mut self.told.take_definitions(true));
        let description = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Tidings",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Publishing and reading events, and operating the server. See docs/server.md.",
            },
            "paths": self.paths,
            "components": {
                "schemas": types,
                "securitySchemes": {
                    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                },
            },
        });
        let text = description.to_string();
        let describe = || async move { ([(header::CONTENT_TYPE, "application/json")], text) };
        self.router.route(DESCRIPTION, get(describe))
    }

    fn describe(&mut self, operation: &Operation) {
        let mut described = json!({
            "summary": operation.summary,
            "parameters": self.parameters(operation),
            "responses": self.responses(operation),
        });
        if operation.who != Who::Anybody {
            described["security"] = json!([{"token": []}]);
        }
        if let Some(body) = operation.body {
            let schema = body(&mut self.asked);
            described["requestBody"] =
                json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
        let path = self.paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described;
    }

    fn parameters(&mut self, operation: &Operation) -> Vec<Value> {
        let part = operation.in_path.iter().map(|(name, what)| {
            let schema = json!({"type": "string", "minLength": 1});
            json!({"name": name, "in": "path", "required": true, "description": what, "schema": schema})
        });
        let headers = operation.in_headers.iter().map(|(name, what)| {
            json!({"name": name, "in": "header", "description": what, "schema": {"type": "string"}})
        });
        let mut parameters: Vec<_> = part.chain(headers).collect();
        let mut query = operation.query.map(|query| self.members(query)).unwrap_or_default();
        without_null(&mut query);
        let required = query["required"].as_array().cloned().unwrap_or_default();
        let members = query["properties"].as_object().into_iter().flatten();
        parameters.extend(members.map(|(name, schema)| {
            let mut schema = schema.clone();
            let what = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let required = required.iter().any(|required| required == name);
            json!({"name": name, "in": "query", "required": required, "description": what, "schema": schema})
        }));
        parameters
    }

    /// The members of a type of parameters: it is none of the types of the interface itself.
    fn members(&mut self, query: Typed) -> Value {
        let reference = query(&mut self.asked);
        let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        name.and_then(|name| self.asked.definitions_mut().remove(name)).unwrap_or_default()
    }

    fn responses(&mut self, operation: &Operation) -> Map<String, Value> {
        let mut answers = operation.answers.clone();
        answers.sort_by_key(|answer| answer.status);
        let described = answers.into_iter().map(|Answer { status, what, content }| {
            let mut response = json!({"description": what});
            if let Some((media, schema)) = content {
                let schema = schema
                    .map_or_else(|| json!({"type": "string"}), |schema| schema(&mut self.told));
                let mut content = Map::new();
                content.insert(media.to_owned(), json!({"schema": schema}));
                response["content"] = content.into();
            }
            (status.to_string(), response)
        });
        described.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_left_out_is_not_null() {
        let mut schema = json!({"properties": {
            "a": {"type": ["integer", "null"], "minimum": 1},
            "b": {"anyOf": [{"$ref": "#/x"}, {"type": "null"}], "description": "B"},
            "c": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
            "d": true,
        }});
        without_null(&mut schema);
        let expected = json!({"properties": {
            "a": {"type": "integer", "minimum": 1},
            "b": {"$ref": "#/x", "description": "B"},
            "c": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
            "d": true,
        }});
        assert_eq!(schema, expected);
    }
}
