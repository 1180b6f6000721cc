//! Writes tools natively.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use model::{Failure, FailureKind, Loss, LossSet, ParamsMode, ToolInput};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::ToolTable;
use crate::json::push_string;

/// Appends `tools` and `toolChoice`.
///
/// MCP has no choice of one tool: then only that one is offered. Where none may be called all are
/// offered all the same, because providers refuse a history with calls of tools that they were
/// not told of.
pub(super) fn push_tools(
    table: &ToolTable<'_>,
    mode: ParamsMode,
    losses: &mut LossSet,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let forbidden = !table.any_callable();
    let mut opened = false;
    for entry in table.entries().iter().filter(|entry| forbidden || entry.callable) {
        out.extend_from_slice(if opened { b"," } else { b",\"tools\":[" });
        opened = true;
        out.extend_from_slice(b"{\"name\":");
        push_string(out, &entry.name);
        let tool = entry.tool;
        match &tool.input {
            ToolInput::Schema(schema) => {
                if let Some(description) = &tool.description {
                    out.extend_from_slice(b",\"description\":");
                    push_string(out, description);
                }
                out.extend_from_slice(b",\"inputSchema\":");
                match schema {
                    Some(schema) => push_schema(out, schema.as_str(), &tool.name, mode, losses)?,
                    None => out.extend_from_slice(b"{\"type\":\"object\",\"properties\":{}}"),
                }
            }
            // A free-text tool is a function with one string; its grammar is told in words.
            ToolInput::FreeText(grammar) => {
                let mut description = tool.description.clone().unwrap_or_default();
                if let Some(grammar) = grammar {
                    description.push_str("\n\nThe input must follow this grammar: ");
                    description.push_str(grammar.as_str());
                }
                out.extend_from_slice(b",\"description\":");
                push_string(out, description.trim());
                out.extend_from_slice(FREE_TEXT);
            }
            ToolInput::Hosted(_) => {}
        }
        out.push(b'}');
    }
    if !opened {
        return Ok(());
    }
    out.push(b']');
    if forbidden {
        out.extend_from_slice(b",\"toolChoice\":{\"mode\":\"none\"}");
    } else if table.must_call() {
        out.extend_from_slice(b",\"toolChoice\":{\"mode\":\"required\"}");
    }
    Ok(())
}

const FREE_TEXT: &[u8] = br#","inputSchema":{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool as plain text."}},"required":["input"]}"#;

/// What of a tool's schema MCP has rules for.
#[derive(Debug, Default, Deserialize)]
struct TopLevel<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
}

/// Appends an input schema. MCP demands `"type":"object"` at its top, which callers may leave out,
/// and objects as the schemas of its parameters (`inputSchema` of `Tool` in the specification):
/// hosts refuse the whole request otherwise.
fn push_schema(
    out: &mut Vec<u8>,
    schema: &str,
    tool: &str,
    mode: ParamsMode,
    losses: &mut LossSet,
) -> Result<(), Failure> {
    let top: TopLevel<'_> = serde_json::from_str(schema).unwrap_or_default();
    let edits = match top.properties {
        Some(properties) => edits(schema, properties, tool, mode, losses)?,
        None => Vec::new(),
    };
    let mut at = 0;
    match top.kind.map(RawValue::get) {
        Some("\"object\"") => {}
        None => {
            out.extend_from_slice(b"{\"type\":\"object\"");
            at = 1;
            if !schema.starts_with("{}") {
                out.push(b',');
            }
        }
        Some(_) => {
            let why =
                format!("The schema of the tool `{}` must be of type \"object\".", shown(tool));
            return Err(bad_tools(why));
        }
    }
    for (range, instead) in edits {
        push_slice(out, schema, at..range.start);
        out.extend_from_slice(instead.as_bytes());
        at = range.end;
    }
    push_slice(out, schema, at..schema.len());
    Ok(())
}

fn push_slice(out: &mut Vec<u8>, text: &str, range: Range<usize>) {
    out.extend_from_slice(text.get(range).unwrap_or_default().as_bytes());
}

/// What must stand in the place of parameters whose schema is no object.
fn edits(
    schema: &str,
    properties: &RawValue,
    tool: &str,
    mode: ParamsMode,
    losses: &mut LossSet,
) -> Result<Vec<(Range<usize>, &'static str)>, Failure> {
    let mut edits = Vec::new();
    let mut check = |name: &str, value: &RawValue| {
        let instead = match value.get() {
            object if object.starts_with('{') => return Ok(()),
            "true" => "{}",
            "false" => r#"{"not":{}}"#,
            _ if mode == ParamsMode::Lenient => {
                losses.insert(Loss::ToolSchema);
                "{}"
            }
            _ => {
                let (tool, name) = (shown(tool), shown(name));
                return Err(bad_tools(format!(
                    "The schema of the tool `{tool}` has no JSON Schema for `{name}`."
                )));
            }
        };
        // The value is a part of the schema's text.
        let start = value.get().as_ptr().addr().saturating_sub(schema.as_ptr().addr());
        edits.push((start..start + value.get().len(), instead));
        Ok(())
    };
    match serde_json::from_str::<Members<'_>>(properties.get()) {
        Ok(Members(members)) => {
            members.iter().try_for_each(|(name, value)| check(name, value))?;
        }
        Err(_) => check("properties", properties)?,
    }
    Ok(edits)
}

/// The members of an object in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The caller's own word, but not a whole book of it.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn bad_tools(why: String) -> Failure {
    Failure::new(FailureKind::BadRequest, why).with_param("tools")
}
