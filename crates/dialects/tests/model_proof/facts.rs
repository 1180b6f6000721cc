//! The facts that a request holds, as the model has them.

use std::collections::BTreeSet;
use std::path::Path;

use model::{
    Block, CacheMark, CompletionRequest, Json, Media, MediaKind, MediaSource, Reasoning, Role,
    Tool, ToolCall, ToolCallInput, ToolInput,
};
use serde_json::Value;

/// What a request holds, one line for each thing.
#[derive(Debug, Default)]
pub(crate) struct Facts(pub(crate) Vec<String>);

impl Facts {
    pub(crate) fn add(&mut self, fact: String) {
        self.0.push(fact);
    }

    /// Empty text is no fact: some clients send it beside tool calls, and readers may drop it.
    pub(crate) fn text(&mut self, role: &str, text: &str) {
        if !text.is_empty() {
            self.add(format!("{role} says {text:?}"));
        }
    }

    pub(crate) fn media(&mut self, role: &str, kind: &str, source: &str) {
        self.add(format!("{role} shows {kind} {source}"));
    }

    pub(crate) fn call(&mut self, id: &str, item: &str, name: &str, input: &str) {
        self.add(format!("call {id} {item} {name} {input}"));
    }

    pub(crate) fn request(&mut self, request: &CompletionRequest) {
        self.blocks("system", &request.system);
        for message in &request.messages {
            let role = match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            self.blocks(role, &message.content);
        }
        for tool in &request.tools {
            self.tool(tool);
        }
    }

    fn tool(&mut self, tool: &Tool) {
        let space = tool.namespace.as_deref().unwrap_or("-");
        let description = tool.description.as_deref().unwrap_or("-");
        let input = match &tool.input {
            ToolInput::Schema(schema) => format!("schema {}", sorted(schema.as_ref())),
            ToolInput::FreeText(format) => format!("text {}", sorted(format.as_ref())),
            ToolInput::Hosted(opaque) => {
                self.add(format!(
                    "hosted {} {}",
                    opaque.kind,
                    sorted(Some(&opaque.json))
                ));
                return;
            }
        };
        let strict = tool.strict;
        self.add(format!(
            "tool {space} {} {description:?} {strict:?} {input}",
            tool.name
        ));
        self.cache(tool.cache.as_ref());
    }

    fn cache(&mut self, mark: Option<&CacheMark>) {
        if let Some(CacheMark(json)) = mark {
            self.add(format!("cache {}", sorted(Some(json))));
        }
    }

    fn blocks(&mut self, role: &str, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Text(text) => {
                    self.text(role, &text.text);
                    self.cache(text.cache.as_ref());
                }
                Block::Media(media) => {
                    self.media(role, kind_of(media), &source_of(media));
                    self.cache(media.cache.as_ref());
                }
                Block::ToolCall(call) => {
                    let name = match &call.namespace {
                        Some(space) => format!("{space}/{}", call.name),
                        None => call.name.clone(),
                    };
                    let input = match &call.input {
                        ToolCallInput::Json(json) => sorted(Some(json)),
                        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => {
                            format!("{text:?}")
                        }
                    };
                    self.call(
                        &call.id,
                        call.item_id.as_deref().unwrap_or("-"),
                        &name,
                        &input,
                    );
                    self.cache(call.cache.as_ref());
                }
                Block::ToolResult(result) => {
                    self.add(format!(
                        "result {} custom={} error={}",
                        result.call_id, result.custom, result.is_error
                    ));
                    self.blocks(&format!("result {}", result.call_id), &result.content);
                    self.cache(result.cache.as_ref());
                }
                Block::Reasoning(reasoning) => self.reasoning(reasoning),
                Block::Opaque(opaque) => {
                    self.add(format!(
                        "opaque {} {}",
                        opaque.kind,
                        sorted(Some(&opaque.json))
                    ));
                }
            }
        }
    }

    pub(crate) fn reasoning(&mut self, reasoning: &Reasoning) {
        self.add(format!(
            "thinks id={:?} summary={:?} text={:?} signature={:?} encrypted={:?}",
            reasoning.id,
            reasoning.summary,
            reasoning.text,
            reasoning.signature,
            reasoning.encrypted
        ));
    }
}

fn kind_of(media: &Media) -> &'static str {
    match media.kind {
        MediaKind::Image => "image",
        MediaKind::Audio => "audio",
        MediaKind::File => "file",
    }
}

fn source_of(media: &Media) -> String {
    match &media.source {
        MediaSource::Inline { mime, base64 } => format!("{mime} {base64}"),
        MediaSource::Url(url) => format!("url {url}"),
        MediaSource::Id(id) => format!("id {id}"),
    }
}

/// JSON with its keys sorted, so that both walks write it alike; [`verbatim`] proves the order.
fn sorted(json: Option<&Json>) -> String {
    json.map_or_else(
        || "none".to_owned(),
        |json| {
            serde_json::from_str::<Value>(json.as_str())
                .unwrap()
                .to_string()
        },
    )
}

/// Checks that JSON which is carried whole stands in the body byte by byte, white space aside.
pub(crate) fn verbatim(request: &CompletionRequest, body: &str, file: &Path) {
    let mut strings = BTreeSet::new();
    collect_strings(&serde_json::from_str(body).unwrap(), &mut strings);
    let body = without_white_space(body);
    let check = |json: &Json| {
        assert!(
            body.contains(json.as_str()),
            "{}: {json:?} was changed",
            file.display()
        );
    };
    for tool in &request.tools {
        match &tool.input {
            ToolInput::Schema(json) | ToolInput::FreeText(json) => json.iter().for_each(check),
            ToolInput::Hosted(opaque) => check(&opaque.json),
        }
    }
    for block in request.messages.iter().flat_map(|message| &message.content) {
        match block {
            Block::Opaque(opaque) => check(&opaque.json),
            // Arguments of the OpenAI dialects stand as a string inside the body.
            Block::ToolCall(ToolCall {
                input: ToolCallInput::Json(json),
                ..
            }) => {
                assert!(
                    body.contains(json.as_str()) || strings.contains(json.as_str()),
                    "{}: {json:?} was changed",
                    file.display()
                );
            }
            _ => {}
        }
    }
}

/// Adds all strings inside a value, as JSON without white space.
fn collect_strings(value: &Value, strings: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            strings.insert(without_white_space(text));
        }
        Value::Array(list) => list
            .iter()
            .for_each(|value| collect_strings(value, strings)),
        Value::Object(map) => map
            .values()
            .for_each(|value| collect_strings(value, strings)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Removes white space outside strings.
fn without_white_space(json: &str) -> String {
    let mut out = String::new();
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if inside || !c.is_ascii_whitespace() {
            out.push(c);
        }
        if escaped {
            escaped = false;
        } else if inside && c == '\\' {
            escaped = true;
        } else if c == '"' {
            inside = !inside;
        }
    }
    out
}
