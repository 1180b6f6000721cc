//! Tools, tool choice and the shape of the answer in a Chat Completions request.

use model::{Dialect, Failure, Opaque, OutputFormat, Tool, ToolChoice, ToolInput, ToolName};

use super::message::required;
use super::wire;
use crate::extras::{Extras, Rest};
use crate::json::compact_raw;
use crate::lenient::{FieldProblem, PathStyle, TextOrObject, parse};
use crate::uncarried::Uncarried;

const STYLE: PathStyle = PathStyle::Brackets;

/// Reads `tools` and the deprecated `functions`. `body` is the request, for tools that are
/// carried as they are.
pub(super) fn read_tools(
    tools: Option<Vec<wire::Tool<'_>>>,
    functions: Option<Vec<wire::Function<'_>>>,
    body: &str,
    uncarried: &Uncarried,
) -> Result<Vec<Tool>, Failure> {
    let mut read = Vec::new();
    let mut raws = None;
    for (at, tool) in tools.into_iter().flatten().enumerate() {
        let path = format!("tools[{at}]");
        read.push(match tool.kind.as_deref() {
            None | Some("function") => {
                let path = format!("{path}.function");
                read_function(tool.function.unwrap_or_default(), &tool.rest, &path)?
            }
            Some("custom") => {
                let custom = tool.custom.unwrap_or_default();
                Tool {
                    extras: read_extras(&custom.rest, &tool.rest),
                    name: required(custom.name, &path, "custom.name")?,
                    namespace: None,
                    description: custom.description,
                    input: ToolInput::FreeText(custom.format.and_then(compact_raw)),
                    strict: None,
                    cache: None,
                }
            }
            Some(kind) => {
                uncarried.check_strict(|| path)?;
                read_hosted(kind, at, body, &mut raws)?
            }
        });
    }
    for (at, function) in functions.into_iter().flatten().enumerate() {
        read.push(read_function(function, &Rest::default(), &format!("functions[{at}]"))?);
    }
    Ok(read)
}

/// What only this dialect understands of a tool: fields of the function or custom tool, and those
/// of the object around it under `tool`.
fn read_extras(inner: &Rest<'_>, outer: &Rest<'_>) -> Option<Opaque> {
    let mut extras = Extras::default();
    extras.rest(inner);
    extras.object("tool", outer);
    extras.finish(Dialect::OpenAiChat, "tool")
}

fn read_function(
    function: wire::Function<'_>,
    outer: &Rest<'_>,
    path: &str,
) -> Result<Tool, Failure> {
    let schema = match function.parameters {
        Some(raw) if !raw.get().starts_with('{') => {
            let path = format!("{path}.parameters");
            return Err(STYLE.refuse(
                FieldProblem::WrongType,
                &path,
                "expected a JSON Schema object",
            ));
        }
        raw => raw.and_then(compact_raw),
    };
    Ok(Tool {
        extras: read_extras(&function.rest, outer),
        name: required(function.name, path, "name")?,
        namespace: None,
        description: function.description,
        input: ToolInput::Schema(schema),
        strict: function.strict,
        cache: None,
    })
}

/// Keeps a tool of an unknown type as it is; only now its raw text is looked for. `raws` are all
/// tools as raw text once they have been read.
fn read_hosted<'a>(
    kind: &str,
    at: usize,
    body: &'a str,
    raws: &mut Option<wire::RawTools<'a>>,
) -> Result<Tool, Failure> {
    let read = match raws.take() {
        Some(read) => read,
        None => parse(body, STYLE)?,
    };
    let json = raws
        .insert(read)
        .tools
        .as_ref()
        .and_then(|tools| tools.get(at).copied())
        .and_then(compact_raw);
    let json = json.ok_or_else(|| {
        STYLE.refuse(FieldProblem::BadValue, &format!("tools[{at}]"), "it cannot be carried")
    })?;
    let kind = kind.to_owned();
    Ok(Tool {
        name: kind.clone(),
        namespace: None,
        description: None,
        input: ToolInput::Hosted(Opaque { dialect: Dialect::OpenAiChat, kind, json }),
        strict: None,
        cache: None,
        extras: None,
    })
}

/// Reads `tool_choice`, or the deprecated `function_call`.
pub(super) fn read_tool_choice(
    choice: Option<TextOrObject<wire::ToolChoice<'_>>>,
    legacy: Option<TextOrObject<wire::Named>>,
) -> Result<ToolChoice, Failure> {
    match (choice, legacy) {
        (None, None) => Ok(ToolChoice::Auto),
        (Some(TextOrObject::Text(word)), _) => read_word(&word, "tool_choice"),
        (None, Some(TextOrObject::Text(word))) => read_word(&word, "function_call"),
        (None, Some(TextOrObject::Object(named))) => {
            required(named.name, "function_call", "name").map(one)
        }
        (Some(TextOrObject::Object(choice)), _) => {
            match choice.kind.as_deref() {
                None | Some("function") => {
                    let name = choice.function.and_then(|named| named.name);
                    required(name, "tool_choice", "function.name").map(one)
                }
                Some("custom") => {
                    let name = choice.custom.and_then(|named| named.name);
                    required(name, "tool_choice", "custom.name").map(one)
                }
                Some("allowed_tools") => read_allowed(choice.allowed_tools.unwrap_or_default()),
                Some(other) => Err(STYLE
                    .unsupported("tool_choice", &format!("of type {other:?} cannot be forced"))),
            }
        }
    }
}

/// This dialect has no namespaces.
fn one(name: String) -> ToolChoice {
    ToolChoice::Named(ToolName::new(name))
}

fn read_word(word: &str, path: &str) -> Result<ToolChoice, Failure> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" | "any" => Ok(ToolChoice::Required),
        other => {
            let why = format!("{other:?} is not one of 'none', 'auto' and 'required'");
            Err(STYLE.refuse(FieldProblem::BadValue, path, &why))
        }
    }
}

fn read_allowed(allowed: wire::AllowedTools<'_>) -> Result<ToolChoice, Failure> {
    let required_mode = match allowed.mode.as_deref() {
        None | Some("auto") => false,
        Some("required") => true,
        Some(other) => {
            let why = format!("{other:?} is not one of 'auto' and 'required'");
            let path = "tool_choice.allowed_tools.mode";
            return Err(STYLE.refuse(FieldProblem::BadValue, path, &why));
        }
    };
    let mut names = Vec::new();
    for (at, tool) in allowed.tools.into_iter().flatten().enumerate() {
        let name = tool.function.or(tool.custom).and_then(|named| named.name).or(tool.name);
        let path = format!("tool_choice.allowed_tools.tools[{at}]");
        names.push(ToolName::new(required(name, &path, "function.name")?));
    }
    Ok(ToolChoice::Allowed { required: required_mode, names })
}

/// Reads `response_format`.
pub(super) fn read_output(
    format: Option<wire::ResponseFormat<'_>>,
) -> Result<OutputFormat, Failure> {
    let Some(format) = format else {
        return Ok(OutputFormat::Text);
    };
    match format.kind.as_deref() {
        Some("text") => Ok(OutputFormat::Text),
        Some("json_object") => Ok(OutputFormat::JsonObject),
        Some("json_schema") => {
            let given = format.json_schema.unwrap_or_default();
            let path = "response_format.json_schema";
            let schema = given.schema.and_then(compact_raw);
            Ok(OutputFormat::JsonSchema {
                name: given.name,
                description: given.description,
                schema: required(schema, path, "schema")?,
                strict: given.strict,
            })
        }
        Some(other) => {
            let why = format!("{other:?} is not one of 'text', 'json_object' and 'json_schema'");
            Err(STYLE.refuse(FieldProblem::BadValue, "response_format.type", &why))
        }
        None => Err(STYLE.refuse(FieldProblem::Missing, "response_format.type", "")),
    }
}
