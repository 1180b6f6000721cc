//! Translates tools and the choice among them.

use model::{Failure, Tool, ToolChoice, ToolInput};
use serde_json::value::RawValue;

use super::wire::{Choice, Head, STYLE, ToolEntry, compact_at, missing, opaque, parse_at, unknown};

/// Reads a list of tools; those of a namespace follow each other with its name.
pub(super) fn read_tools(
    raws: &[&RawValue],
    at: &str,
    tools: &mut Vec<Tool>,
) -> Result<(), Failure> {
    for (index, raw) in raws.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let head: Head<'_> = parse_at(raw, &at)?;
        let kind = head.kind.ok_or_else(|| missing(&format!("{at}.type")))?;
        if &*kind == "namespace" {
            let entry: ToolEntry<'_> = parse_at(raw, &at)?;
            let name = entry.name.ok_or_else(|| missing(&format!("{at}.name")))?;
            let inner = entry.tools.unwrap_or_default();
            for (index, raw) in inner.iter().enumerate() {
                let at = format!("{at}.tools[{index}]");
                let head: Head<'_> = parse_at(raw, &at)?;
                let kind = head.kind.ok_or_else(|| missing(&format!("{at}.type")))?;
                let mut tool = read_tool(raw, &kind, &at)?;
                tool.namespace = Some(name.clone());
                tools.push(tool);
            }
        } else {
            tools.push(read_tool(raw, &kind, &at)?);
        }
    }
    Ok(())
}

fn read_tool(raw: &RawValue, kind: &str, at: &str) -> Result<Tool, Failure> {
    if kind != "function" && kind != "custom" {
        return Ok(Tool {
            name: kind.to_owned(),
            namespace: None,
            description: None,
            input: ToolInput::Hosted(opaque(kind, raw, at)?),
            strict: None,
            cache: None,
        });
    }
    let entry: ToolEntry<'_> = parse_at(raw, at)?;
    let input = if kind == "custom" {
        let format = entry
            .format
            .map(|raw| compact_at(raw, &format!("{at}.format")))
            .transpose()?;
        ToolInput::FreeText(format)
    } else {
        let schema = entry
            .parameters
            .map(|raw| compact_at(raw, &format!("{at}.parameters")))
            .transpose()?;
        ToolInput::Schema(schema)
    };
    Ok(Tool {
        name: entry.name.ok_or_else(|| missing(&format!("{at}.name")))?,
        namespace: None,
        description: entry.description,
        input,
        strict: entry.strict,
        cache: None,
    })
}

/// Reads `tool_choice`.
pub(super) fn read_choice(raw: &RawValue) -> Result<ToolChoice, Failure> {
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
            .map(ToolChoice::Named)
            .ok_or_else(|| missing("tool_choice.name")),
        Some("allowed_tools") => Ok(ToolChoice::Allowed {
            required: choice.mode.as_deref() == Some("required"),
            names: choice
                .tools
                .unwrap_or_default()
                .into_iter()
                .filter_map(|tool| tool.name.or(tool.kind))
                .collect(),
        }),
        Some(hosted) => Err(STYLE.unsupported(
            AT,
            &format!("forces the hosted tool `{hosted}`, not run here"),
        )),
        None => Err(missing("tool_choice.type")),
    }
}
