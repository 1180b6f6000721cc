//! Writes tools, tool choice and the shape of the answer.

use model::{
    CompletionRequest, Dialect, Loss, LossSet, OutputFormat, Tool, ToolChoice, ToolInput, ToolName,
};

use crate::calling::{Names, lose, own};
use crate::extras::fields;
use crate::json::{ObjectWriter, push_object};

/// The name of a schema whose caller gave it none; the API asks for one.
const UNNAMED: &str = "output";

/// Writes `tools`, `tool_choice` and `parallel_tool_calls`.
pub(super) fn write_tools(
    body: &mut ObjectWriter<'_>,
    request: &CompletionRequest,
    names: &Names<'_>,
    losses: &mut LossSet,
) {
    let hosted_elsewhere = |tool: &&Tool| matches!(&tool.input, ToolInput::Hosted(opaque) if opaque.dialect != Dialect::OpenAiChat);
    let (foreign, tools): (Vec<&Tool>, Vec<&Tool>) =
        request.tools.iter().partition(hosted_elsewhere);
    if !foreign.is_empty() {
        losses.insert(Loss::HostedTools);
    }
    if !tools.is_empty() {
        body.list("tools", tools, |out, tool| push_tool(out, tool, names, losses));
    }
    match &request.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => body.text("tool_choice", "none"),
        ToolChoice::Required => body.text("tool_choice", "required"),
        ToolChoice::Named(name) => {
            push_named(body.key("tool_choice"), name, names, losses);
        }
        ToolChoice::Allowed { required, names: allowed } => {
            body.object("tool_choice", |choice| {
                choice.text("type", "allowed_tools");
                choice.object("allowed_tools", |list| {
                    list.text("mode", if *required { "required" } else { "auto" });
                    list.list("tools", allowed, |out, name| {
                        push_named(out, name, names, losses);
                    });
                });
            });
        }
    }
    body.some_flag("parallel_tool_calls", request.parallel_tool_calls);
}

fn push_tool(out: &mut Vec<u8>, tool: &Tool, names: &Names<'_>, losses: &mut LossSet) {
    if let ToolInput::Hosted(opaque) = &tool.input {
        out.extend_from_slice(opaque.json.as_str().as_bytes());
        return;
    }
    lose(tool.cache.as_ref(), Loss::CacheMark, losses);
    let name = names.of(tool.namespace.as_deref(), &tool.name, losses);
    let kept = own(tool.extras.as_ref(), Dialect::OpenAiChat, losses).map(fields);
    // Fields of the object around the function were kept under `tool`.
    let (around, inside): (Vec<_>, Vec<_>) =
        kept.into_iter().flatten().partition(|(name, _)| name == "tool");
    let (kind, field, detail) = match &tool.input {
        ToolInput::Schema(schema) => ("function", "parameters", schema.as_ref()),
        ToolInput::FreeText(format) => ("custom", "format", format.as_ref()),
        ToolInput::Hosted(_) => return,
    };
    push_object(out, |object| {
        object.text("type", kind);
        object.object(kind, |inner| {
            inner.text("name", &name);
            inner.some_text("description", tool.description.as_deref());
            if let Some(detail) = detail {
                inner.json(field, detail.as_str());
            }
            inner.some_flag("strict", tool.strict);
            for (name, raw) in inside {
                inner.json(&name, raw.get());
            }
        });
        for (_, raw) in around {
            if let Some(json) = crate::json::compact_raw(raw) {
                for (name, raw) in fields(&json) {
                    object.json(&name, raw.get());
                }
            }
        }
    });
}

fn push_named(out: &mut Vec<u8>, name: &ToolName, names: &Names<'_>, losses: &mut LossSet) {
    let kind = if names.is_free_text(name) { "custom" } else { "function" };
    let flat = names.of(name.namespace.as_deref(), &name.name, losses);
    push_object(out, |object| {
        object.text("type", kind);
        object.object(kind, |inner| inner.text("name", &flat));
    });
}

/// Writes `response_format`.
pub(super) fn write_output(body: &mut ObjectWriter<'_>, output: &OutputFormat) {
    match output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => body.json("response_format", r#"{"type":"json_object"}"#),
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            body.object("response_format", |format| {
                format.text("type", "json_schema");
                format.object("json_schema", |inner| {
                    inner.text("name", name.as_deref().unwrap_or(UNNAMED));
                    inner.some_text("description", description.as_deref());
                    inner.json("schema", schema.as_str());
                    inner.some_flag("strict", *strict);
                });
            });
        }
    }
}
