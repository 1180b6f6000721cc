//! Writes tools and tool choice.
//!
//! Tools of a namespace that follow each other share one entry; tools that an item brought go
//! back into one. The list of a caller of this dialect was kept as it came, and is written like
//! that as long as it says the same.

use std::collections::HashSet;

use model::{
    CompletionRequest, Dialect, Json, Loss, LossSet, Tool, ToolChoice, ToolInput, ToolName,
};
use serde_json::value::RawValue;

use super::super::tools::read_tools;
use super::items::Items;
use super::{find, write_kept};
use crate::calling::{Names, lose, own};
use crate::extras::fields;
use crate::json::{ObjectWriter, push_list, push_object};

/// The item that brings tools again when it is read.
const SEARCH: &str = r#""tool_search_output""#;

/// Writes `tools` and `tool_choice`. `kept` are the tools as they came.
pub(super) fn write_tools(
    body: &mut ObjectWriter<'_>,
    request: &CompletionRequest,
    kept: Option<Json>,
    losses: &mut LossSet,
) {
    let tools: Vec<&Tool> = request
        .tools
        .iter()
        .filter(|tool| item_of(tool).is_none())
        .filter(|tool| is_known(tool, losses))
        .collect();
    match kept.filter(|kept| says_the_same(kept, &tools)) {
        Some(kept) => body.json("tools", kept.as_str()),
        None if tools.is_empty() => {}
        None => push_tools(body.key("tools"), &tools, losses),
    }
    write_choice(body, request);
}

/// Hosted tools of other dialects have no place.
fn is_known(tool: &Tool, losses: &mut LossSet) -> bool {
    let foreign = matches!(&tool.input, ToolInput::Hosted(opaque)
        if opaque.dialect != Dialect::OpenAiResponses);
    if foreign {
        losses.insert(Loss::HostedTools);
    }
    !foreign
}

/// What the item that brought a tool said beside it.
fn item_of(tool: &Tool) -> Option<Json> {
    beside(tool, "item")
}

fn beside(tool: &Tool, field: &str) -> Option<Json> {
    let extras = tool.extras.as_ref().filter(|e| e.dialect == Dialect::OpenAiResponses)?;
    find(&fields(&extras.json), field)
}

/// Appends the items that brought tools; a search's result stands in the conversation itself.
pub(super) fn push_item_tools(items: &mut Items<'_>, request: &CompletionRequest) {
    let mut group: Vec<&Tool> = Vec::new();
    let mut of: Option<Json> = None;
    for tool in &request.tools {
        let item = item_of(tool).filter(|item| {
            !fields(item).iter().any(|(name, raw)| name == "type" && raw.get() == SEARCH)
        });
        if item != of {
            push_item(items, of.as_ref(), &group);
            group.clear();
            of = item;
        }
        group.push(tool);
    }
    push_item(items, of.as_ref(), &group);
}

fn push_item(items: &mut Items<'_>, of: Option<&Json>, tools: &[&Tool]) {
    let Some(of) = of else { return };
    let mut losses = LossSet::EMPTY;
    push_object(items.next(), |item| {
        write_kept(item, Some(of));
        push_tools(item.key("tools"), tools, &mut losses);
    });
    items.lose(losses);
}

fn says_the_same(kept: &Json, tools: &[&Tool]) -> bool {
    let Ok(raws) = serde_json::from_str::<Vec<&RawValue>>(kept.as_str()) else { return false };
    let mut read = Vec::new();
    read_tools(&raws, "tools", None, &mut read).is_ok() && read.iter().eq(tools.iter().copied())
}

fn push_tools(out: &mut Vec<u8>, tools: &[&Tool], losses: &mut LossSet) {
    let space =
        |tool: &Tool| tool.namespace.as_ref().map(|name| (name.clone(), beside(tool, "namespace")));
    let groups = tools.chunk_by(|one, other| {
        let of = space(one);
        of.is_some() && of == space(other)
    });
    push_list(out, groups, |out, group| match group.first().and_then(|tool| space(tool)) {
        // Tools outside of namespaces each stand alone.
        None => group.iter().for_each(|tool| push_tool(out, tool, losses)),
        Some((name, kept)) => push_object(out, |object| {
            object.text("type", "namespace");
            object.text("name", &name);
            write_kept(object, kept.as_ref());
            object.list("tools", group, |out, tool| push_tool(out, tool, losses));
        }),
    });
}

fn push_tool(out: &mut Vec<u8>, tool: &Tool, losses: &mut LossSet) {
    let (kind, field, detail) = match &tool.input {
        ToolInput::Schema(schema) => ("function", "parameters", schema.as_ref()),
        ToolInput::FreeText(format) => ("custom", "format", format.as_ref()),
        ToolInput::Hosted(opaque) => {
            out.extend_from_slice(opaque.json.as_str().as_bytes());
            return;
        }
    };
    lose(tool.cache.as_ref(), Loss::CacheMark, losses);
    let extras = own(tool.extras.as_ref(), Dialect::OpenAiResponses, losses);
    push_object(out, |object| {
        object.text("type", kind);
        object.text("name", &tool.name);
        object.some_text("description", tool.description.as_deref());
        match detail {
            Some(detail) => object.json(field, detail.as_str()),
            None if kind == "function" => object.json(field, "null"),
            None => {}
        }
        match tool.strict {
            // Left out, it would count as true here and as false everywhere else.
            None if kind == "function" => object.json("strict", "null"),
            strict => object.some_flag("strict", strict),
        }
        for (name, raw) in extras.map(fields).unwrap_or_default() {
            if name != "namespace" && name != "item" {
                object.json(&name, raw.get());
            }
        }
    });
}

fn write_choice(body: &mut ObjectWriter<'_>, request: &CompletionRequest) {
    let names = Names::new(request);
    let hosted: HashSet<&str> = request
        .tools
        .iter()
        .filter(|tool| matches!(tool.input, ToolInput::Hosted(_)))
        .map(|tool| tool.name.as_str())
        .collect();
    let push_named = |out: &mut Vec<u8>, name: &ToolName| {
        push_object(out, |object| {
            if name.namespace.is_none() && hosted.contains(name.name.as_str()) {
                object.text("type", &name.name);
                return;
            }
            object.text("type", if names.is_free_text(name) { "custom" } else { "function" });
            object.text("name", &name.name);
            object.some_text("namespace", name.namespace.as_deref());
        });
    };
    match &request.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => body.text("tool_choice", "none"),
        ToolChoice::Required => body.text("tool_choice", "required"),
        ToolChoice::Named(name) => push_named(body.key("tool_choice"), name),
        ToolChoice::Allowed { required, names } => body.object("tool_choice", |choice| {
            choice.text("type", "allowed_tools");
            choice.text("mode", if *required { "required" } else { "auto" });
            choice.list("tools", names, |out, name| push_named(out, name));
        }),
    }
}
