//! Writes requests to an upstream that speaks this dialect, and reads what it answers.
//!
//! The body is one of version 2023-06-01, which has `temperature`, `top_p` and `top_k`. The API
//! asks for `max_tokens`: whoever calls sees to it that the request has one.

use std::time::Duration;

use model::{CompletionRequest, Dialect, Failure, Json, Loss, LossSet, OutputFormat};

use crate::calling::{self, Names, own};
use crate::extras::fields;
use crate::json::{ObjectWriter, compact_raw, push_string};

mod messages;
mod reply;
mod stream;
mod tools;

pub use reply::read_reply;
pub use stream::MessagesReader;

/// The highest temperature of this dialect.
const MAX_TEMPERATURE: f64 = 1.0;

/// Efforts of other dialects that this one does not have.
const OTHER_EFFORTS: [&str; 2] = ["none", "minimal"];

/// Appends the body of `POST /v1/messages` that asks for `request`; returns what the dialect
/// cannot say.
pub fn write_request(request: &CompletionRequest, stream: bool, out: &mut Vec<u8>) -> LossSet {
    let mut losses = LossSet::EMPTY;
    let names = Names::new(request);
    let params = &request.params;
    let mut body = ObjectWriter::new(out);
    body.text("model", request.model.as_str());
    body.some_number("max_tokens", params.max_tokens);
    if !request.system.is_empty() {
        messages::push_content(body.key("system"), &request.system, &names, &mut losses);
    }
    messages::push_messages(body.key("messages"), &request.messages, &names, &mut losses);
    tools::write_tools(&mut body, request, &names, &mut losses);
    let temperature = params.temperature.map(|temperature| {
        if temperature > MAX_TEMPERATURE {
            losses.insert(Loss::Temperature);
        }
        temperature.min(MAX_TEMPERATURE)
    });
    body.some_float("temperature", temperature);
    body.some_float("top_p", params.top_p);
    body.some_number("top_k", params.top_k);
    if !params.stop.is_empty() {
        body.list("stop_sequences", &params.stop, |out, stop| push_string(out, stop));
    }
    if stream {
        body.json("stream", "true");
    }
    let extras = own(request.extras.as_ref(), Dialect::AnthropicMessages, &mut losses);
    let kept = extras.map(fields).unwrap_or_default();
    let config = kept.iter().find(|(name, _)| name == "output_config");
    let config = config.and_then(|(_, raw)| compact_raw(raw));
    write_config(&mut body, request, config.as_ref(), &mut losses);
    for (name, raw) in kept.iter().filter(|(name, _)| name != "output_config") {
        body.json(name, raw.get());
    }
    body.end();
    losses
}

/// Writes `output_config`: the effort, the shape of the answer, and what was kept of it.
fn write_config(
    body: &mut ObjectWriter<'_>,
    request: &CompletionRequest,
    kept: Option<&Json>,
    losses: &mut LossSet,
) {
    let effort = request.params.reasoning_effort.as_deref().filter(|effort| {
        let known = !OTHER_EFFORTS.contains(effort);
        if !known {
            losses.insert(Loss::ReasoningEffort);
        }
        known
    });
    let schema = match &request.output {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => {
            losses.insert(Loss::OutputFormat);
            None
        }
        // Every schema is strict here.
        OutputFormat::JsonSchema { name, description, schema, strict: _ } => {
            if name.is_some() || description.is_some() {
                losses.insert(Loss::OutputFormat);
            }
            Some(schema)
        }
    };
    if effort.is_none() && schema.is_none() && kept.is_none() {
        return;
    }
    body.object("output_config", |config| {
        config.some_text("effort", effort);
        if let Some(schema) = schema {
            config.object("format", |format| {
                format.text("type", "json_schema");
                format.json("schema", schema.as_str());
            });
        }
        for (name, raw) in kept.map(fields).unwrap_or_default() {
            config.json(&name, raw.get());
        }
    });
}

/// Reads the reply of a call that was no success. `retry_after` is what its header asks for.
pub fn read_failure(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    calling::read_failure(status, retry_after, body)
}
