//! Writes turns as the array of messages, and tools natively.
//!
//! Hosts drop or cut messages whose content is an array (older VS Code drops them, goose reads
//! the first text only), so several blocks become several messages of the same role. Only calls
//! and results stand in arrays: a host that takes tools has to take those.

use std::borrow::Cow;

use model::{Failure, FailureKind, Role, ToolCall, ToolCallInput, ToolInput};
use serde_json::value::RawValue;

use super::ToolUse;
use super::carried::Carried;
use super::turns::{Answer, Said, Turn};
use super::wire::TopLevel;
use crate::ToolTable;
use crate::json::push_string;
use crate::prompted_tools::HistorySteps;

/// Appends the array of messages.
pub(super) fn push_messages(turns: &[Turn<'_>], tools: &ToolUse<'_>, out: &mut Vec<u8>) {
    let mut messages = Messages { out, any: false };
    let mut steps = HistorySteps::default();
    for turn in turns {
        match (&turn.said, tools) {
            (Said::Block(carried), _) => messages.one(turn.role, carried),
            (Said::Calls { texts, calls }, ToolUse::Native(table)) => {
                messages.calls(texts, calls, table);
            }
            (Said::Results(answers), ToolUse::Native(_)) => messages.results(answers),
            (Said::Calls { texts, calls }, ToolUse::Prompted { prompt, .. }) => {
                let mut all = texts.join("\n\n");
                if !all.is_empty() {
                    all.push_str("\n\n");
                }
                prompt.push_calls(calls, &mut steps, &mut all);
                messages.text(Role::Assistant, &all);
            }
            (Said::Results(answers), ToolUse::Prompted { prompt, .. }) => {
                let mut all = String::new();
                for answer in answers {
                    let text = text_of(&answer.content);
                    prompt.push_result(answer.call, &text, answer.is_error, &mut all);
                }
                messages.text(Role::User, &all);
                for answer in answers {
                    answer
                        .content
                        .iter()
                        .filter(|carried| matches!(carried, Carried::Image { .. }))
                        .for_each(|image| messages.one(Role::User, image));
                }
            }
            // There are no calls without a way to write them: see `ToolUse`.
            (Said::Calls { texts, .. }, ToolUse::None) => {
                for text in texts {
                    messages.text(Role::Assistant, text);
                }
            }
            (Said::Results(answers), ToolUse::None) => answers
                .iter()
                .flat_map(|answer| &answer.content)
                .for_each(|carried| messages.one(Role::User, carried)),
        }
    }
    messages.out.push(b']');
}

fn text_of(content: &[Carried<'_>]) -> String {
    let mut all = String::new();
    for carried in content {
        let text = match carried {
            Carried::Text(text) => text.as_ref(),
            Carried::Image { .. } => "[image: in the next message]",
        };
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(text);
    }
    all
}

struct Messages<'o> {
    out: &'o mut Vec<u8>,
    any: bool,
}

impl Messages<'_> {
    fn open(&mut self, role: Role) {
        self.out.push(if self.any { b',' } else { b'[' });
        self.any = true;
        self.out.extend_from_slice(match role {
            Role::Assistant => b"{\"role\":\"assistant\",\"content\":".as_slice(),
            Role::User | Role::System => b"{\"role\":\"user\",\"content\":".as_slice(),
        });
    }

    fn text(&mut self, role: Role, text: &str) {
        self.open(role);
        push_text(self.out, text);
        self.out.push(b'}');
    }

    fn one(&mut self, role: Role, carried: &Carried<'_>) {
        self.open(role);
        push_carried(self.out, carried);
        self.out.push(b'}');
    }

    /// A turn of the model with its calls, as one array.
    fn calls(&mut self, texts: &[Cow<'_, str>], calls: &[&ToolCall], table: &ToolTable<'_>) {
        self.open(Role::Assistant);
        self.out.push(b'[');
        for text in texts {
            push_text(self.out, text);
            self.out.push(b',');
        }
        for (at, call) in calls.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
            push_string(self.out, &call.id);
            self.out.extend_from_slice(b",\"name\":");
            push_string(self.out, &table.name_of(call));
            self.out.extend_from_slice(b",\"input\":");
            push_input(self.out, &call.input);
            self.out.push(b'}');
        }
        self.out.extend_from_slice(b"]}");
    }

    /// The answers to those calls, as one array of nothing else.
    fn results(&mut self, answers: &[Answer<'_>]) {
        self.open(Role::User);
        self.out.push(b'[');
        for (at, answer) in answers.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(b"{\"type\":\"tool_result\",\"toolUseId\":");
            push_string(self.out, &answer.call.id);
            self.out.extend_from_slice(b",\"content\":[");
            for (at, carried) in answer.content.iter().enumerate() {
                if at > 0 {
                    self.out.push(b',');
                }
                push_carried(self.out, carried);
            }
            self.out.push(b']');
            if answer.is_error {
                self.out.extend_from_slice(b",\"isError\":true");
            }
            self.out.push(b'}');
        }
        self.out.extend_from_slice(b"]}");
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
    push_string(out, text);
    out.push(b'}');
}

fn push_carried(out: &mut Vec<u8>, carried: &Carried<'_>) {
    match carried {
        Carried::Text(text) => push_text(out, text),
        Carried::Image { mime, base64 } => {
            out.extend_from_slice(b"{\"type\":\"image\",\"data\":");
            push_string(out, base64);
            out.extend_from_slice(b",\"mimeType\":");
            push_string(out, mime);
            out.push(b'}');
        }
    }
}

/// Appends the input of a call, which is an object in MCP: anything else stands under `input`.
fn push_input(out: &mut Vec<u8>, input: &ToolCallInput) {
    match input {
        ToolCallInput::Json(json) if json.as_str().starts_with('{') => {
            out.extend_from_slice(json.as_str().as_bytes());
        }
        ToolCallInput::Json(json) => {
            out.extend_from_slice(b"{\"input\":");
            out.extend_from_slice(json.as_str().as_bytes());
            out.push(b'}');
        }
        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => {
            out.extend_from_slice(b"{\"input\":");
            push_string(out, text);
            out.push(b'}');
        }
    }
}

/// Appends `tools` and `toolChoice`.
///
/// MCP has no choice of one tool: then only that one is offered. Where none may be called all are
/// offered all the same, because providers refuse a history with calls of tools that they were
/// not told of.
pub(super) fn push_tools(table: &ToolTable<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
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
                    Some(schema) => push_schema(out, schema.as_str(), &tool.name)?,
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

/// Appends an input schema. MCP demands `"type":"object"` at its top, which callers may leave out.
fn push_schema(out: &mut Vec<u8>, schema: &str, name: &str) -> Result<(), Failure> {
    let top: TopLevel<'_> = serde_json::from_str(schema).unwrap_or_default();
    match top.kind.map(RawValue::get) {
        Some("\"object\"") => out.extend_from_slice(schema.as_bytes()),
        None => {
            out.extend_from_slice(b"{\"type\":\"object\"");
            let rest = schema.strip_prefix('{').unwrap_or("}");
            if !rest.starts_with('}') {
                out.push(b',');
            }
            out.extend_from_slice(rest.as_bytes());
        }
        Some(_) => {
            let name: String = name.chars().take(80).collect();
            let why = format!("The schema of the tool `{name}` must be of type \"object\".");
            return Err(Failure::new(FailureKind::BadRequest, why).with_param("tools"));
        }
    }
    Ok(())
}
