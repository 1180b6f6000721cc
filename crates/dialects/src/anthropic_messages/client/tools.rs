//! Writes tools and tool choice.
//!
//! This dialect has functions and its own tools, no free text and no choice among several: a
//! free-text tool becomes a function with one string, and tools that may not be called are not
//! shown.

use std::borrow::Cow;
use std::collections::HashSet;

use model::{CompletionRequest, Dialect, Loss, LossSet, Tool, ToolChoice, ToolInput};

use crate::calling::{Names, is_typed, lose, own};
use crate::extras::fields;
use crate::json::{ObjectWriter, push_object};

/// The schema of a tool without arguments; the API asks for one.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

/// The schema of a free-text tool.
const FREE_TEXT: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#;

/// A tool by namespace and name.
type Name<'n> = (Option<&'n str>, &'n str);

/// Writes `tools` and `tool_choice`.
pub(super) fn write_tools(
    body: &mut ObjectWriter<'_>,
    request: &CompletionRequest,
    names: &Names<'_>,
    losses: &mut LossSet,
) {
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        match &tool.input {
            ToolInput::Hosted(opaque) if opaque.dialect != Dialect::AnthropicMessages => {
                losses.insert(Loss::HostedTools);
            }
            _ => tools.push(tool),
        }
    }
    let mut choice = &request.tool_choice;
    if let ToolChoice::Allowed { required, names: allowed } = choice {
        losses.insert(Loss::AllowedTools);
        let allowed: HashSet<Name<'_>> =
            allowed.iter().map(|name| (name.namespace.as_deref(), name.name.as_str())).collect();
        let is_allowed = |tool: &&Tool| is_allowed(tool, &allowed);
        if tools.iter().any(is_allowed) {
            tools.retain(is_allowed);
            choice = if *required { &ToolChoice::Required } else { &ToolChoice::Auto };
        } else {
            choice = &ToolChoice::None;
        }
    }
    let any = !tools.is_empty();
    if any {
        body.list("tools", tools, |out, tool| push_tool(out, tool, names, losses));
    }
    write_choice(body, choice, request.parallel_tool_calls.filter(|_| any), names, losses);
}

/// Whether a choice names this tool. It may leave out the namespace, and name a hosted tool by its
/// type.
fn is_allowed(tool: &Tool, allowed: &HashSet<Name<'_>>) -> bool {
    let by_type = match &tool.input {
        ToolInput::Hosted(opaque) => allowed.contains(&(None, opaque.kind.as_str())),
        ToolInput::Schema(_) | ToolInput::FreeText(_) => false,
    };
    by_type
        || allowed.contains(&(None, tool.name.as_str()))
        || allowed.contains(&(tool.namespace.as_deref(), tool.name.as_str()))
}

fn push_tool(out: &mut Vec<u8>, tool: &Tool, names: &Names<'_>, losses: &mut LossSet) {
    let mut description = tool.description.as_deref().map(Cow::Borrowed);
    let schema = match &tool.input {
        ToolInput::Hosted(opaque) => {
            out.extend_from_slice(opaque.json.as_str().as_bytes());
            return;
        }
        ToolInput::Schema(schema) => schema.as_ref().map_or(NO_ARGUMENTS, |schema| schema.as_str()),
        ToolInput::FreeText(format) => {
            losses.insert(Loss::ToolFreeText);
            if let Some(format) = format {
                losses.insert(Loss::ToolGrammar);
                let before = description.unwrap_or_default();
                let grammar = format!("{before}\n\nFormat of `input`: {}", format.as_str());
                description = Some(Cow::Owned(grammar.trim_start().to_owned()));
            }
            FREE_TEXT
        }
    };
    push_object(out, |object| {
        object.text("name", &names.of(tool.namespace.as_deref(), &tool.name, losses));
        object.some_text("description", description.as_deref());
        object.json("input_schema", schema);
        object.some_flag("strict", tool.strict);
        match &tool.cache {
            Some(mark) if is_typed(&mark.0) => object.json("cache_control", mark.0.as_str()),
            cache => lose(cache.as_ref(), Loss::CacheMark, losses),
        }
        let extras = own(tool.extras.as_ref(), Dialect::AnthropicMessages, losses);
        for (name, raw) in extras.map(fields).unwrap_or_default() {
            object.json(&name, raw.get());
        }
    });
}

/// Writes the choice; whether several calls may come at once is a part of it.
fn write_choice(
    body: &mut ObjectWriter<'_>,
    choice: &ToolChoice,
    parallel: Option<bool>,
    names: &Names<'_>,
    losses: &mut LossSet,
) {
    let (kind, name) = match choice {
        ToolChoice::Auto if parallel.is_none() => return,
        ToolChoice::Auto | ToolChoice::Allowed { .. } => ("auto", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Required => ("any", None),
        ToolChoice::Named(name) => ("tool", Some(name)),
    };
    body.object("tool_choice", |object| {
        object.text("type", kind);
        if let Some(name) = name {
            object.text("name", &names.of(name.namespace.as_deref(), &name.name, losses));
        }
        // Where no tool may be called it would be refused.
        let disabled = parallel.map(|parallel| !parallel).filter(|_| kind != "none");
        object.some_flag("disable_parallel_tool_use", disabled);
    });
}
