//! Reads requests.

use std::collections::HashSet;

use model::{
    CompletionRequest, Dialect, Failure, GenerationParams, Loss, ModelAlias, Opaque, OutputFormat,
    Tool, ToolChoice, ToolName,
};
use serde_json::value::RawValue;

use super::ResponsesRequest;
use super::items::Conversation;
use super::tools::{read_choice, read_tools};
use super::wire::{Body, Format, STYLE, compact_at, missing, unknown};
use crate::extras::Extras;
use crate::json;
use crate::lenient::{self, FieldProblem};

/// Reads the body of `POST /v1/responses`.
///
/// Fails with a 400 that names the field. What only a stateful server can honour
/// (`background`, `conversation`, `prompt`) is refused; `previous_response_id` is handed on.
pub fn read_request(body: &[u8]) -> Result<ResponsesRequest, Failure> {
    let text = json::check_body(body)?;
    let body: Body<'_> = lenient::parse(text, STYLE)?;
    refuse_what_needs_state(&body)?;

    let mut losses = model::LossSet::EMPTY;
    let params = read_params(&body)?;
    if params.top_p.is_some_and(|top_p| (top_p - 1.0).abs() > f64::EPSILON) {
        losses.insert(Loss::TopP);
    }
    let extras = keep_extras(&body)?;
    let mut conversation = Conversation::default();
    if body.input.is_none() && body.previous_response_id.is_none() && body.instructions.is_none() {
        return Err(missing("input"));
    }
    if let Some(instructions) = body.instructions {
        conversation.instruct(instructions)?;
    }
    if let Some(input) = body.input {
        conversation.read(input)?;
    }
    let mut tools = Vec::new();
    read_tools(&body.tools.unwrap_or_default(), "tools", None, &mut tools)?;
    tools.append(&mut conversation.tools);
    add_found(&mut tools, conversation.found);

    let request = CompletionRequest {
        model: ModelAlias::new(body.model.unwrap_or_default()),
        system: conversation.system,
        leading: conversation.leading,
        messages: conversation.messages,
        tools,
        tool_choice: body.tool_choice.map_or(Ok(ToolChoice::Auto), read_choice)?,
        parallel_tool_calls: body.parallel_tool_calls,
        output: match body.text.and_then(|text| text.format) {
            Some(format) => read_format(format)?,
            None => OutputFormat::Text,
        },
        params,
        mode: model::ParamsMode::Default,
        losses: losses.union(conversation.losses),
        extras,
    };
    Ok(ResponsesRequest {
        request,
        stream: body.stream.unwrap_or(false),
        store: body.store.unwrap_or(true),
        previous_response_id: body.previous_response_id,
    })
}

/// Adds tools that a search found, unless they are in the list.
fn add_found(tools: &mut Vec<Tool>, found: Vec<Tool>) {
    if found.is_empty() {
        return;
    }
    let name =
        |tool: &Tool| ToolName { namespace: tool.namespace.clone(), name: tool.name.clone() };
    let mut known: HashSet<ToolName> = tools.iter().map(name).collect();
    tools.extend(found.into_iter().filter(|tool| known.insert(name(tool))));
}

fn refuse_what_needs_state(body: &Body<'_>) -> Result<(), Failure> {
    if body.background == Some(true) {
        return Err(STYLE.unsupported("background", "is not supported: responses are made at once"));
    }
    if body.conversation.is_some() {
        return Err(STYLE.unsupported("conversation", "is not supported: send the items as input"));
    }
    if body.prompt.is_some() {
        return Err(STYLE.unsupported("prompt", "is not supported: send its text as instructions"));
    }
    if body.top_logprobs.is_some_and(|count| count.0 != 0) {
        return Err(STYLE.unsupported("top_logprobs", "is not supported: no upstream reports them"));
    }
    Ok(())
}

fn read_params(body: &Body<'_>) -> Result<GenerationParams, Failure> {
    let bad = |path: &str, why: &str| STYLE.refuse(FieldProblem::BadValue, path, why);
    let max_tokens = body
        .max_output_tokens
        .map(|count| {
            count
                .within(1, u64::MAX)
                .ok_or_else(|| bad("max_output_tokens", "expected a whole number from 1"))
        })
        .transpose()?;
    if body.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
        return Err(bad("temperature", "expected a number from 0 to 2"));
    }
    if body.top_p.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return Err(bad("top_p", "expected a number from 0 to 1"));
    }
    Ok(GenerationParams {
        max_tokens,
        temperature: body.temperature,
        top_p: body.top_p,
        top_k: None,
        stop: Vec::new(),
        choices: None,
        reasoning_effort: body.reasoning.as_ref().and_then(|reasoning| reasoning.effort.clone()),
    })
}

fn read_format(format: Format<'_>) -> Result<OutputFormat, Failure> {
    match format.kind.as_deref() {
        None | Some("text") => Ok(OutputFormat::Text),
        Some("json_object") => Ok(OutputFormat::JsonObject),
        Some("json_schema") => {
            let schema = format.schema.ok_or_else(|| missing("text.format.schema"))?;
            Ok(OutputFormat::JsonSchema {
                name: format.name,
                description: format.description,
                schema: compact_at(schema, "text.format.schema")?,
                strict: format.strict,
            })
        }
        Some(other) => Err(unknown("text.format.type", other, "text, json_object or json_schema")),
    }
}

/// Keeps what the response repeats or only this dialect's own upstreams understand.
///
/// `tools` stay here as they came, too: the response repeats them.
fn keep_extras(body: &Body<'_>) -> Result<Option<Opaque>, Failure> {
    let mut extras = Extras::default();
    extras.rest(&body.extras);
    if let Some(tools) = &body.tools {
        extras.json("tools", &compact_list(tools)?);
    }
    if let Some(text) = &body.text {
        extras.object("text", &text.rest);
    }
    if let Some(reasoning) = &body.reasoning {
        extras.object("reasoning", &reasoning.rest);
    }
    Ok(extras.finish(Dialect::OpenAiResponses, "request"))
}

fn compact_list(raws: &[&RawValue]) -> Result<String, Failure> {
    let mut list = String::from("[");
    for (index, raw) in raws.iter().enumerate() {
        if index > 0 {
            list.push(',');
        }
        list.push_str(compact_at(raw, &format!("tools[{index}]"))?.as_str());
    }
    list.push(']');
    Ok(list)
}
