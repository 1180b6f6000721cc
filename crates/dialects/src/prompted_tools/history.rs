//! Writes calls and results of earlier turns in the markup that the model is asked to write.

use std::borrow::Cow;

use model::{ToolCall, ToolCallInput};
use serde_json::Value;

use super::ToolPrompt;
use super::arguments::{Form, write_value};
use super::relaxed;
use super::shape::Shape;
use super::tag::push_attribute;
use super::tree::Tree;

/// Keys up to this length stand in tags; input with a longer one is written as a whole.
const MAX_KEY: usize = 128;

/// Steps in schemas for the calls of a whole history. A long one with wide schemas would else hold
/// its thread; the calls behind that say how each of their values is written.
const STEPS: u32 = 200_000;

/// What writing one history may still cost. Each history begins with a new one, so that the same
/// calls are written the same way while it grows.
#[derive(Debug)]
pub struct HistorySteps(u32);

impl Default for HistorySteps {
    fn default() -> Self {
        Self(STEPS)
    }
}

pub(super) fn push_calls(
    prompt: &ToolPrompt<'_>,
    calls: &[&ToolCall],
    steps: &mut HistorySteps,
    out: &mut String,
) {
    if calls.is_empty() {
        return;
    }
    let nonce = prompt.nonce.as_str();
    new_line(out);
    for part in ["<tool_calls_", nonce, ">\n"] {
        out.push_str(part);
    }
    for call in calls {
        push_call(prompt, call, steps, out);
    }
    out.push_str(prompt.stop());
}

fn push_call(prompt: &ToolPrompt<'_>, call: &ToolCall, steps: &mut HistorySteps, out: &mut String) {
    let name = prompt.table.name_of(call);
    out.push_str("<call");
    push_named(prompt, "name", &name, out);
    if !call.id.is_empty() {
        push_named(prompt, "id", &call.id, out);
    }
    out.push_str(">\n");
    match &call.input {
        ToolCallInput::Text(text) => push_argument(prompt, Some("input"), None, text, out),
        ToolCallInput::Broken(text) => push_argument(prompt, None, None, text, out),
        ToolCallInput::Json(json) => match relaxed::read_start(json.as_str()).map(|read| read.tree)
        {
            Some(Tree::Object(members)) if members.iter().all(|(key, _)| key.len() <= MAX_KEY) => {
                let schema = prompt.table.find(&name).and_then(|wanted| {
                    let mut entries = prompt.table.entries().iter();
                    prompt.schema(entries.position(|entry| std::ptr::eq(entry, wanted))?)
                });
                let shape = Shape::within(schema.unwrap_or(&Value::Null), steps.0);
                for (key, value) in &members {
                    let (text, form) = write_value(value, key, &shape);
                    push_argument(prompt, Some(key), form, &text, out);
                }
                steps.0 = shape.left();
            }
            _ => push_argument(prompt, None, Some(Form::Json), json.as_str(), out),
        },
    }
    out.push_str("</call>\n");
}

fn push_argument(
    prompt: &ToolPrompt<'_>,
    name: Option<&str>,
    form: Option<Form>,
    text: &str,
    out: &mut String,
) {
    let nonce = prompt.nonce.as_str();
    out.push_str("<arg_");
    out.push_str(nonce);
    if let Some(name) = name {
        push_named(prompt, "name", name, out);
    }
    match form {
        Some(Form::Json) => out.push_str(" type=\"json\""),
        Some(Form::Text) => out.push_str(" type=\"string\""),
        None => {}
    }
    out.push('>');
    // The reader takes one line break off at both ends.
    let lines = text.contains('\n');
    if lines {
        out.push('\n');
    }
    out.push_str(&prompt.escape(text));
    if lines {
        out.push('\n');
    }
    for part in ["</arg_", nonce, ">\n"] {
        out.push_str(part);
    }
}

pub(super) fn push_result(
    prompt: &ToolPrompt<'_>,
    call: &ToolCall,
    text: &str,
    is_error: bool,
    out: &mut String,
) {
    new_line(out);
    out.push_str("<tool_result_");
    out.push_str(prompt.nonce.as_str());
    if !call.id.is_empty() {
        push_named(prompt, "id", &call.id, out);
    }
    push_named(prompt, "name", &prompt.table.name_of(call), out);
    if is_error {
        out.push_str(" is_error=\"true\"");
    }
    out.push_str(">\n");
    if !text.is_empty() {
        out.push_str(&prompt.escape(text));
        out.push('\n');
    }
    for part in ["</tool_result_", prompt.nonce.as_str(), ">"] {
        out.push_str(part);
    }
}

fn push_named(prompt: &ToolPrompt<'_>, name: &str, value: &str, out: &mut String) {
    for part in [" ", name, "=\""] {
        out.push_str(part);
    }
    let value: Cow<'_, str> = prompt.escape(value);
    push_attribute(out, &value);
    out.push('"');
}

fn new_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}
