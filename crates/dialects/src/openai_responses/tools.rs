//! Translates tools and the choice among them.

use model::{Dialect, Failure, Json, Loss, Tool, ToolChoice, ToolInput, ToolName};
use serde_json::value::RawValue;

use super::wire::{Choice, Head, ToolEntry, compact_at, missing, opaque, parse_at, unknown};
use crate::extras::Extras;
use crate::lenient::Word;
use crate::uncarried::Uncarried;

/// What stands around a tool and is kept in its extras.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around<'a> {
    /// Name of the namespace.
    pub(super) namespace: Option<&'a str>,
    /// The namespace without its tools.
    pub(super) space: Option<&'a Json>,
    /// The item that brought the tool, without its tools.
    pub(super) item: Option<&'a Json>,
}

/// Reads a list of tools; those of a namespace follow each other with its name. `item` is what
/// stands beside the list where it is one of an item.
pub(super) fn read_tools(
    raws: &[&RawValue],
    at: &str,
    item: Option<&Json>,
    tools: &mut Vec<Tool>,
) -> Result<(), Failure> {
    for (index, raw) in raws.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let kind = read_kind(raw, &at)?;
        let around = Around { item, ..Around::default() };
        if &*kind != "namespace" {
            tools.push(read_tool(raw, &kind, &at, around)?);
            continue;
        }
        let entry: ToolEntry<'_> = parse_at(raw, &at)?;
        let name = entry.name.ok_or_else(|| missing(&format!("{at}.name")))?;
        let mut space = Extras::default();
        if let Some(description) = &entry.description {
            space.text("description", description);
        }
        space.rest_but(&entry.rest, &["type"]);
        let space = space.finish(Dialect::OpenAiResponses, "namespace");
        let around = Around {
            namespace: Some(&name),
            space: space.as_ref().map(|space| &space.json),
            ..around
        };
        for (index, raw) in entry.tools.iter().flatten().enumerate() {
            let at = format!("{at}.tools[{index}]");
            tools.push(read_tool(raw, &read_kind(raw, &at)?, &at, around)?);
        }
    }
    Ok(())
}

fn read_kind<'a>(raw: &'a RawValue, at: &str) -> Result<Word<'a>, Failure> {
    let head: Head<'_> = parse_at(raw, at)?;
    head.kind.ok_or_else(|| missing(&format!("{at}.type")))
}

fn read_tool(raw: &RawValue, kind: &str, at: &str, around: Around<'_>) -> Result<Tool, Failure> {
    let mut extras = Extras::default();
    let tool = if kind == "function" || kind == "custom" {
        let entry: ToolEntry<'_> = parse_at(raw, at)?;
        extras.rest_but(&entry.rest, &["type"]);
        let compact = |raw: Option<&RawValue>, field: &str| {
            raw.map(|raw| compact_at(raw, &format!("{at}.{field}"))).transpose()
        };
        Tool {
            name: entry.name.ok_or_else(|| missing(&format!("{at}.name")))?,
            namespace: around.namespace.map(str::to_owned),
            description: entry.description,
            input: if kind == "custom" {
                ToolInput::FreeText(compact(entry.format, "format")?)
            } else {
                ToolInput::Schema(compact(entry.parameters, "parameters")?)
            },
            strict: entry.strict,
            cache: None,
            extras: None,
        }
    } else {
        Tool {
            name: kind.to_owned(),
            namespace: around.namespace.map(str::to_owned),
            description: None,
            input: ToolInput::Hosted(opaque(kind, raw, at)?),
            strict: None,
            cache: None,
            extras: None,
        }
    };
    for (name, json) in [("namespace", around.space), ("item", around.item)] {
        if let Some(json) = json {
            extras.json(name, json.as_str());
        }
    }
    Ok(Tool { extras: extras.finish(Dialect::OpenAiResponses, "tool"), ..tool })
}

/// Reads `tool_choice`.
pub(super) fn read_choice(
    raw: &RawValue,
    uncarried: &mut Uncarried,
) -> Result<ToolChoice, Failure> {
    const AT: &str = "tool_choice";
    if raw.get().starts_with('"') {
        let word: String = parse_at(raw, AT)?;
        return match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            other => Err(unknown(AT, other, "auto, none, required or an object")),
        };
    }
    let choice: Choice<'_> = parse_at(raw, AT)?;
    match choice.kind.as_deref() {
        Some("function" | "custom") => choice
            .name
            .map(|name| {
                let namespace = choice.namespace;
                ToolChoice::Named(ToolName { namespace, name })
            })
            .ok_or_else(|| missing("tool_choice.name")),
        Some("allowed_tools") => Ok(ToolChoice::Allowed {
            required: choice.mode.as_deref() == Some("required"),
            names: choice
                .tools
                .unwrap_or_default()
                .into_iter()
                .filter_map(|tool| {
                    let namespace = tool.namespace;
                    let name = tool.name.or(tool.kind)?;
                    Some(ToolName { namespace, name })
                })
                .collect(),
        }),
        Some(hosted) => {
            let why = format!("forces the hosted tool `{hosted}`, which is not run here");
            uncarried.refuse(Loss::HostedTools, AT, &why)?;
            Ok(ToolChoice::Auto)
        }
        None => Err(missing("tool_choice.type")),
    }
}
