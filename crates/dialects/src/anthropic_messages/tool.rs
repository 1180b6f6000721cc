//! Tools, tool choice and the shape of the answer in a Messages request.

use model::{
    CacheMark, Dialect, Failure, Opaque, OutputFormat, Tool, ToolChoice, ToolInput, ToolName,
};

use super::raw::RawText;
use super::wire;
use crate::extras::from_rest;
use crate::json::compact_raw;
use crate::lenient::{FieldProblem, PathStyle};
use crate::uncarried::Uncarried;

const STYLE: PathStyle = PathStyle::Dots;

/// Reads `tools`. `body` is the request, for tools that are carried as they are.
pub(super) fn read_tools(
    tools: Option<Vec<wire::Tool<'_>>>,
    body: &str,
    uncarried: &Uncarried,
) -> Result<Vec<Tool>, Failure> {
    let mut read = Vec::new();
    let mut raw = RawText::new(body);
    for (at, tool) in tools.into_iter().flatten().enumerate() {
        let name = |name: Option<String>| {
            name.ok_or_else(|| STYLE.refuse(FieldProblem::Missing, &format!("tools.{at}.name"), ""))
        };
        let cache = tool.cache_control.and_then(compact_raw).map(CacheMark);
        read.push(match tool.kind.as_deref() {
            None | Some("custom") => {
                let schema = match tool.input_schema {
                    Some(raw) if !raw.get().starts_with('{') => {
                        let path = format!("tools.{at}.input_schema");
                        let why = "expected a JSON Schema object";
                        return Err(STYLE.refuse(FieldProblem::WrongType, &path, why));
                    }
                    raw => raw.and_then(compact_raw),
                };
                Tool {
                    extras: from_rest(Dialect::AnthropicMessages, "tool", &tool.rest),
                    name: name(tool.name)?,
                    namespace: None,
                    description: tool.description,
                    input: ToolInput::Schema(schema),
                    strict: tool.strict,
                    cache,
                }
            }
            Some(kind) => {
                uncarried.check_strict(|| format!("tools.{at}"))?;
                Tool {
                    name: tool.name.unwrap_or_else(|| kind.to_owned()),
                    namespace: None,
                    description: tool.description,
                    input: ToolInput::Hosted(read_hosted(kind, at, &mut raw)?),
                    strict: tool.strict,
                    cache,
                    extras: None,
                }
            }
        });
    }
    Ok(read)
}

/// Keeps a tool that Anthropic defines as it is.
fn read_hosted(kind: &str, at: usize, raw: &mut RawText<'_>) -> Result<Opaque, Failure> {
    let json = raw.tool(at)?;
    let json = json.ok_or_else(|| {
        STYLE.refuse(FieldProblem::BadValue, &format!("tools.{at}"), "the tool cannot be carried")
    })?;
    Ok(Opaque { dialect: Dialect::AnthropicMessages, kind: kind.to_owned(), json })
}

/// Reads `tool_choice`: the choice, and whether several tools may be called at once.
pub(super) fn read_tool_choice(
    choice: Option<wire::ToolChoice<'_>>,
) -> Result<(ToolChoice, Option<bool>), Failure> {
    let Some(choice) = choice else {
        return Ok((ToolChoice::Auto, None));
    };
    let parallel = choice.disable_parallel_tool_use.map(|disabled| !disabled);
    let read = match choice.kind.as_deref() {
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => ToolChoice::Named(ToolName::new(
            choice
                .name
                .ok_or_else(|| STYLE.refuse(FieldProblem::Missing, "tool_choice.name", ""))?,
        )),
        Some(other) => {
            let why = format!("{other:?} is not one of 'auto', 'any', 'tool' and 'none'");
            return Err(STYLE.refuse(FieldProblem::BadValue, "tool_choice.type", &why));
        }
        None => return Err(STYLE.refuse(FieldProblem::Missing, "tool_choice.type", "")),
    };
    Ok((read, parallel))
}

/// Reads `output_config.format`, or `output_format` as beta clients call it.
pub(super) fn read_output(
    format: Option<wire::Format<'_>>,
    path: &str,
) -> Result<OutputFormat, Failure> {
    let Some(format) = format else {
        return Ok(OutputFormat::Text);
    };
    match format.kind.as_deref() {
        Some("text") => Ok(OutputFormat::Text),
        Some("json_schema") => {
            let schema = format.schema.and_then(compact_raw).ok_or_else(|| {
                STYLE.refuse(FieldProblem::Missing, &format!("{path}.schema"), "")
            })?;
            Ok(OutputFormat::JsonSchema {
                name: format.name,
                description: None,
                schema,
                // This dialect knows no other: the real API constrains the model.
                strict: Some(true),
            })
        }
        Some(other) => {
            let why = format!("{other:?} is not 'json_schema'");
            Err(STYLE.refuse(FieldProblem::BadValue, &format!("{path}.type"), &why))
        }
        None => Err(STYLE.refuse(FieldProblem::Missing, &format!("{path}.type"), "")),
    }
}
