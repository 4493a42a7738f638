//! The description of `/v1`, made of the table of routes and of the types that they read and write.

use axum::Json;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::routes::{Answer, Route, Takes, V1};

/// What every route may answer beside what it says.
const REFUSALS: [(&str, &str); 7] = [
    ("400", "it is not asked as it should be"),
    ("404", "there is no such thing, or it is not the caller's"),
    ("408", "the body took too long to arrive"),
    ("409", "it contradicts what there is"),
    ("413", "the body is too large"),
    ("429", "too much, or too often: Retry-After says when to come again"),
    ("503", "the store does not answer, or the server stops"),
];

/// `GET /v1/openapi.json`: for everybody, since it says nothing of what there is.
pub async fn openapi() -> Json<Value> {
    Json(of_v1())
}

/// By itself, since the table names the handler above.
fn of_v1() -> Value {
    description(V1)
}

/// Describes some routes, as OpenAPI 3.1 has it.
fn description(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in routes {
        let shape = &route.shape;
        let mut parameters: Vec<Value> = placeholders(route.path).map(placeholder).collect();
        if let Some(query) = shape.query {
            parameters.extend(fields(query(&mut schemas)));
        }
        let mut responses = Map::new();
        for (status, answer) in shape.answers {
            let content = match answer {
                Answer::Nothing => json!({}),
                Answer::Json(schema) => json!({ "application/json": { "schema": schema(&mut schemas) } }),
                Answer::Other(kinds) => kinds.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect(),
            };
            let mut response = json!({ "description": route.what });
            if content != json!({}) {
                response["content"] = content;
            }
            responses.insert(status.to_string(), response);
        }
        let closed = (route.takes != Takes::Nothing).then_some([
            ("401", "no key was sent, or none of this server's"),
            ("403", "the key does not permit it, or its tenant is suspended"),
        ]);
        for (status, why) in REFUSALS.into_iter().chain(closed.into_iter().flatten()) {
            responses.insert(
                status.into(),
                json!({
                    "description": why,
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } },
                }),
            );
        }
        let mut operation = json!({
            "summary": route.what,
            "operationId": identifier(route),
            "parameters": parameters,
            "responses": responses,
        });
        if let Some(body) = shape.body {
            let schema = body(&mut schemas);
            let kind = if shape.form { "multipart/form-data" } else { "application/json" };
            operation["requestBody"] = json!({ "required": true, "content": { kind: { "schema": schema } } });
        }
        match route.takes {
            Takes::Nothing => operation["security"] = json!([]),
            Takes::Scope(scope) => operation["description"] = format!("It takes a key with the scope {scope}.").into(),
            Takes::Key | Takes::Link => {}
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    let mut components: Map<String, Value> = schemas.take_definitions(true);
    components.insert("Refusal".into(), json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": { "type": "string", "description": "whose fault it is and what to do, in a sentence" } },
    }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vitrine",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What administers a server of Vitrine and looks at its jobs.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "key": [] }],
    })
}

/// Names a route as programming languages name functions.
fn identifier(route: &Route) -> String {
    let words = route.path.trim_start_matches("/v1/").split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{}_{}", route.method.to_lowercase(), words.join("_"))
}

fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn placeholder(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

/// Returns the parameters that the fields of a type are.
fn fields(schema: schemars::Schema) -> Vec<Value> {
    let whole = schema.to_value();
    let properties = whole["properties"].as_object().cloned().unwrap_or_default();
    let one = |(name, mut schema): (String, Value)| {
        // Of what may be left out, null is not a way to say so here.
        if let Some(kinds) = schema["type"].as_array() {
            schema["type"] = kinds.iter().find(|kind| *kind != "null").cloned().unwrap_or_default();
        }
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut parameter = json!({ "name": name, "in": "query", "required": false, "schema": schema });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    };
    properties.into_iter().map(one).collect()
}
