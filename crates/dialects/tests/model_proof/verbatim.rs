//! Proves that what is carried whole is carried byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use model::{Block, CompletionRequest, Json, Opaque, ToolCall, ToolCallInput, ToolInput};
use serde_json::Value;
use serde_json::value::RawValue;

/// Checks that JSON which is carried whole stands in the body byte by byte, white space aside.
pub(crate) fn verbatim(request: &CompletionRequest, body: &str, file: &Path) {
    let mut strings = BTreeSet::new();
    collect_strings(&serde_json::from_str(body).unwrap(), &mut strings);
    let body = without_white_space(body);
    let check = |json: &Json| {
        assert!(body.contains(json.as_str()), "{}: {json:?} was changed", file.display());
    };
    let extras = |extras: &Option<Opaque>| {
        if let Some(extras) = extras {
            pieces(extras.json.as_str(), &body, file);
        }
    };
    extras(&request.extras);
    for tool in &request.tools {
        extras(&tool.extras);
        match &tool.input {
            ToolInput::Schema(json) | ToolInput::FreeText(json) => json.iter().for_each(check),
            ToolInput::Hosted(opaque) => check(&opaque.json),
        }
    }
    for message in &request.messages {
        extras(&message.extras);
    }
    for block in request.messages.iter().flat_map(|message| &message.content) {
        match block {
            Block::Opaque(opaque) => check(&opaque.json),
            // Arguments of the OpenAI dialects stand as a string inside the body.
            Block::ToolCall(ToolCall { input: ToolCallInput::Json(json), .. }) => {
                assert!(
                    body.contains(json.as_str()) || strings.contains(json.as_str()),
                    "{}: {json:?} was changed",
                    file.display()
                );
            }
            _ => {}
        }
    }
}

/// Checks that an object which was put together holds only pieces of the body.
fn pieces(json: &str, body: &str, file: &Path) {
    if body.contains(json) {
        return;
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json)
        .unwrap_or_else(|_| panic!("{}: {json} was changed", file.display()));
    for (name, value) in fields {
        let field = format!("{}:{}", Value::String(name), value.get());
        if !body.contains(&field) {
            pieces(value.get(), body, file);
        }
    }
}

/// Adds all strings inside a value, as JSON without white space.
fn collect_strings(value: &Value, strings: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            strings.insert(without_white_space(text));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_strings(value, strings)),
        Value::Object(map) => map.values().for_each(|value| collect_strings(value, strings)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Removes white space outside strings.
fn without_white_space(json: &str) -> String {
    let mut out = String::new();
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if inside || !c.is_ascii_whitespace() {
            out.push(c);
        }
        if escaped {
            escaped = false;
        } else if inside && c == '\\' {
            escaped = true;
        } else if c == '"' {
            inside = !inside;
        }
    }
    out
}
