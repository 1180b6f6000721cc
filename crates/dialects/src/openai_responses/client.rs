//! Writes requests to an upstream that speaks this dialect, and reads what it answers.
//!
//! The whole conversation goes along with every request, so the upstream is asked to keep
//! nothing. The dialect has no stop sequences and no top-k.

use std::time::Duration;

use model::{CompletionRequest, Dialect, Failure, Json, Loss, LossSet, OutputFormat};
use serde_json::value::RawValue;

use crate::calling::{self, own};
use crate::extras::fields;
use crate::json::{ObjectWriter, compact_raw};

mod items;
mod reply;
mod stream;
mod tools;

pub use reply::read_reply;
pub use stream::ResponsesReader;

/// The name of a schema whose caller gave it none; the API asks for one.
const UNNAMED: &str = "output";

/// Fields that were kept of the request and are written together with others.
const SHARED: [&str; 3] = ["tools", "text", "reasoning"];

/// Appends the body of `POST /v1/responses` that asks for `request`; returns what the dialect
/// cannot say.
pub fn write_request(request: &CompletionRequest, stream: bool, out: &mut Vec<u8>) -> LossSet {
    let mut losses = LossSet::EMPTY;
    let params = &request.params;
    let extras = own(request.extras.as_ref(), Dialect::OpenAiResponses, &mut losses);
    let kept = extras.map(fields).unwrap_or_default();
    let mut body = ObjectWriter::new(out);
    body.text("model", request.model.as_str());
    items::write_conversation(&mut body, request, &mut losses);
    tools::write_tools(&mut body, request, find(&kept, "tools"), &mut losses);
    body.some_flag("parallel_tool_calls", request.parallel_tool_calls);
    body.some_number("max_output_tokens", params.max_tokens);
    body.some_float("temperature", params.temperature);
    body.some_float("top_p", params.top_p);
    if params.top_k.is_some() {
        losses.insert(Loss::TopK);
    }
    if !params.stop.is_empty() {
        losses.insert(Loss::Stop);
    }
    write_text(&mut body, &request.output, find(&kept, "text").as_ref());
    let reasoning = find(&kept, "reasoning");
    if params.reasoning_effort.is_some() || reasoning.is_some() {
        body.object("reasoning", |object| {
            object.some_text("effort", params.reasoning_effort.as_deref());
            write_kept(object, reasoning.as_ref());
        });
    }
    body.json("store", "false");
    if stream {
        body.json("stream", "true");
    }
    for (name, raw) in kept.iter().filter(|(name, _)| !SHARED.contains(&name.as_str())) {
        body.json(name, raw.get());
    }
    body.end();
    losses
}

fn find(kept: &[(String, &RawValue)], field: &str) -> Option<Json> {
    kept.iter().find(|(name, _)| name == field).and_then(|(_, raw)| compact_raw(raw))
}

/// Writes the fields of an object that were kept beside those that were read.
fn write_kept(object: &mut ObjectWriter<'_>, kept: Option<&Json>) {
    for (name, raw) in kept.map(fields).unwrap_or_default() {
        object.json(&name, raw.get());
    }
}

/// Writes `text`: the shape of the answer, and what was kept beside it.
fn write_text(body: &mut ObjectWriter<'_>, output: &OutputFormat, kept: Option<&Json>) {
    if *output == OutputFormat::Text && kept.is_none() {
        return;
    }
    body.object("text", |text| {
        match output {
            OutputFormat::Text => {}
            OutputFormat::JsonObject => text.json("format", r#"{"type":"json_object"}"#),
            OutputFormat::JsonSchema { name, description, schema, strict } => {
                text.object("format", |format| {
                    format.text("type", "json_schema");
                    format.text("name", name.as_deref().unwrap_or(UNNAMED));
                    format.some_text("description", description.as_deref());
                    format.json("schema", schema.as_str());
                    format.some_flag("strict", *strict);
                });
            }
        }
        write_kept(text, kept);
    });
}

/// Reads the reply of a call that was no success. `retry_after` is what its header asks for.
pub fn read_failure(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    calling::read_failure(status, retry_after, body)
}
