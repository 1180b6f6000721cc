//! The OpenAPI document: its paths from the table of routes, its schemas written by hand.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Answer;
use super::refused::Refused;
use super::routes::{Door, ROUTES, Route, Takes};

/// What stands in bodies. Tests hold every reply to it.
const SCHEMAS: &str = include_str!("schemas.json");

/// `GET /admin/v1/openapi.json`.
pub(super) fn document() -> Result<Answer, Refused> {
    let schemas: Value = serde_json::from_str(SCHEMAS).map_err(|_| Refused::internal())?;
    let mut paths = Map::new();
    for route in &ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mcptb admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Keys, tenants and the record of calls. Times are RFC 3339 in UTC, \
                durations are words like `7d` or `1h 30m`, money is decimal dollars in strings. \
                Unknown fields and parameters are refused by name.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "api_key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            },
        },
        "security": [{ "bearer": [] }, { "api_key": [] }],
    });
    Answer::new(StatusCode::OK, &document)
}

fn schema(takes: Takes) -> Value {
    match takes {
        Takes::Text => json!({ "type": "string" }),
        Takes::Whole(least, most, usual) => {
            json!({ "type": "integer", "minimum": least, "maximum": most, "default": usual })
        }
        Takes::Word(words) => json!({ "type": "string", "enum": words }),
    }
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route
        .query
        .iter()
        .map(|known| {
            json!({
                "name": known.name,
                "in": "query",
                "description": known.about,
                "schema": schema(known.takes),
            })
        })
        .collect();
    if route.path.contains("{id}") {
        parameters.push(json!({
            "name": "id",
            "in": "path",
            "required": true,
            "schema": { "type": "string" },
        }));
    }
    let content = |schema: &str| {
        let schema = format!("#/components/schemas/{schema}");
        json!({ "application/json": { "schema": { "$ref": schema } } })
    };
    let mut operation = json!({
        "operationId": route.operation.name(),
        "summary": route.about,
        "tags": [match route.door {
            Door::Admin => "administrators",
            Door::Children => "holders of keys that may make child keys",
        }],
        "parameters": parameters,
        "responses": {
            route.operation.status().to_string(): {
                "description": "Done.",
                "content": content(route.reply),
            },
            "default": { "description": "Refused.", "content": content("Error") },
        },
    });
    if let (Some(body), Some(operation)) = (route.body, operation.as_object_mut()) {
        operation.insert("requestBody".to_owned(), json!({ "content": content(body) }));
    }
    operation
}
