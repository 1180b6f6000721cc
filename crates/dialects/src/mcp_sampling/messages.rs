//! Writes turns as the array of messages.
//!
//! Hosts drop or cut messages whose content is an array (older VS Code drops them, goose reads
//! the first text only), so several blocks become several messages of the same role. Only calls
//! and results stand in arrays: a host that takes tools has to take those.

use std::borrow::Cow;

use model::{Role, ToolCall, ToolCallInput};

use super::ToolUse;
use super::carried::Carried;
use super::turns::{Answer, Said, Turn};
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
