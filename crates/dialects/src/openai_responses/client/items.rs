//! Writes the conversation as items: a turn becomes its thoughts, its message, its calls.

use model::{
    Block, CacheMark, CompletionRequest, Dialect, Json, Loss, LossSet, Media, MediaKind,
    MediaSource, Message, Reasoning, Role, ToolCall, ToolCallInput, ToolResult,
};

use super::write_kept;
use crate::calling::{is_typed, lose, own};
use crate::json::{ObjectWriter, push_list, push_object, push_string};

/// Writes `instructions` and `input`.
pub(super) fn write_conversation(
    body: &mut ObjectWriter<'_>,
    request: &CompletionRequest,
    losses: &mut LossSet,
) {
    let mut system = request.system.as_slice();
    if let [Block::Text(text)] = system
        && text.cache.is_none()
    {
        body.text("instructions", &text.text);
        system = &[];
    }
    let out = body.key("input");
    out.push(b'[');
    let mut items = Items { start: out.len(), out, losses };
    super::tools::push_item_tools(&mut items, request);
    if !system.is_empty() {
        let system: Vec<&Block> = system.iter().collect();
        items.message(Role::System, &system, None);
    }
    for message in &request.messages {
        items.turn(message);
    }
    items.out.push(b']');
}

/// The list of items that is being written.
pub(super) struct Items<'w> {
    out: &'w mut Vec<u8>,
    start: usize,
    losses: &'w mut LossSet,
}

impl Items<'_> {
    /// Begins the next item.
    pub(super) fn next(&mut self) -> &mut Vec<u8> {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        self.out
    }

    /// Names what was lost.
    pub(super) fn lose(&mut self, losses: LossSet) {
        *self.losses = self.losses.union(losses);
    }

    fn turn(&mut self, message: &Message) {
        let mut extras = own(message.extras.as_ref(), Dialect::OpenAiResponses, self.losses);
        let mut run: Vec<&Block> = Vec::new();
        for block in &message.content {
            if !self.has_place(block) {
                continue;
            }
            if matches!(block, Block::Text(_) | Block::Media(_)) {
                run.push(block);
                continue;
            }
            // Thoughts stand before the message that they led to, even where it is empty.
            let thinks = matches!(block, Block::Reasoning(_));
            if !run.is_empty() || (extras.is_some() && !thinks) {
                self.message(message.role, &std::mem::take(&mut run), extras.take());
            }
            self.block(block);
        }
        let empty = message.content.is_empty() && message.role != Role::Assistant;
        if !run.is_empty() || extras.is_some() || empty {
            self.message(message.role, &run, extras);
        }
    }

    /// Whether a block can be said here; empty text says nothing.
    fn has_place(&mut self, block: &Block) -> bool {
        match block {
            Block::Reasoning(thought) if thought.dialect != Dialect::OpenAiResponses => {
                self.losses.insert(Loss::Reasoning);
                false
            }
            Block::Opaque(opaque) if opaque.dialect != Dialect::OpenAiResponses => {
                self.losses.insert(Loss::DialectFields);
                false
            }
            Block::Text(text) => !text.text.is_empty() || text.cache.is_some(),
            _ => true,
        }
    }

    fn block(&mut self, block: &Block) {
        let mut losses = *self.losses;
        match block {
            Block::ToolCall(call) => push_call(self.next(), call, &mut losses),
            Block::ToolResult(result) => push_result(self.next(), result, &mut losses),
            Block::Reasoning(reasoning) => push_reasoning(self.next(), reasoning),
            Block::Opaque(opaque) => {
                self.next().extend_from_slice(opaque.json.as_str().as_bytes());
            }
            Block::Text(_) | Block::Media(_) => {}
        }
        *self.losses = losses;
    }

    fn message(&mut self, role: Role, blocks: &[&Block], extras: Option<&Json>) {
        let mut losses = *self.losses;
        let (role, text_kind) = match role {
            Role::System => ("system", "input_text"),
            Role::User => ("user", "input_text"),
            Role::Assistant => ("assistant", "output_text"),
        };
        push_object(self.next(), |item| {
            item.text("type", "message");
            item.text("role", role);
            push_content(item.key("content"), blocks, text_kind, &mut losses);
            write_kept(item, extras);
        });
        *self.losses = losses;
    }
}

/// Appends text as a string where there is nothing else, or a list of parts.
fn push_content(out: &mut Vec<u8>, blocks: &[&Block], text_kind: &str, losses: &mut LossSet) {
    if let [Block::Text(text)] = blocks
        && text.cache.is_none()
        && text_kind == "input_text"
    {
        push_string(out, &text.text);
        return;
    }
    let shown = blocks.iter().filter(|block| match block {
        Block::Text(text) => !text.text.is_empty() || text.cache.is_some(),
        block => {
            let is_media = matches!(block, Block::Media(_));
            if !is_media {
                losses.insert(Loss::DialectFields);
            }
            is_media
        }
    });
    let shown: Vec<&&Block> = shown.collect();
    push_list(out, shown, |out, block| {
        push_object(out, |part| match block {
            Block::Media(media) => write_media(part, media, text_kind, losses),
            Block::Text(text) => {
                part.text("type", text_kind);
                part.text("text", &text.text);
                if text_kind == "output_text" {
                    part.json("annotations", "[]");
                }
                write_cache(part, text.cache.as_ref(), losses);
            }
            _ => {}
        });
    });
}

fn write_cache(part: &mut ObjectWriter<'_>, cache: Option<&CacheMark>, losses: &mut LossSet) {
    match cache {
        None => {}
        Some(mark) if is_typed(&mark.0) => losses.insert(Loss::CacheMark),
        Some(mark) => part.json("prompt_cache_breakpoint", mark.0.as_str()),
    }
}

fn write_media(part: &mut ObjectWriter<'_>, media: &Media, text_kind: &str, losses: &mut LossSet) {
    match (media.kind, &media.source) {
        (MediaKind::Image, source) => {
            part.text("type", "input_image");
            match source {
                MediaSource::Id(id) => part.text("file_id", id),
                source => part.text("image_url", &url(source)),
            }
            part.some_text("detail", media.detail.as_deref());
            lose(media.name.as_ref(), Loss::MediaName, losses);
        }
        (MediaKind::File, source) => {
            part.text("type", "input_file");
            match source {
                MediaSource::Id(id) => part.text("file_id", id),
                MediaSource::Url(url) => part.text("file_url", url),
                MediaSource::Inline { .. } => part.text("file_data", &url(source)),
            }
            part.some_text("filename", media.name.as_deref());
            lose(media.detail.as_ref(), Loss::ImageDetail, losses);
        }
        (MediaKind::Audio, MediaSource::Inline { mime, base64 }) => {
            let format = match mime.strip_prefix("audio/").unwrap_or(mime) {
                "mpeg" => "mp3",
                other => other,
            };
            part.text("type", "input_audio");
            part.object("input_audio", |audio| {
                audio.text("data", base64);
                audio.text("format", format);
            });
            lose(media.name.as_ref(), Loss::MediaName, losses);
            lose(media.detail.as_ref(), Loss::ImageDetail, losses);
        }
        (MediaKind::Audio, MediaSource::Url(_) | MediaSource::Id(_)) => {
            losses.insert(Loss::MediaOmitted);
            part.text("type", text_kind);
            part.text("text", "[audio omitted]");
        }
    }
    write_cache(part, media.cache.as_ref(), losses);
}

fn url(source: &MediaSource) -> String {
    match source {
        MediaSource::Inline { mime, base64 } => format!("data:{mime};base64,{base64}"),
        MediaSource::Url(url) | MediaSource::Id(url) => url.clone(),
    }
}

fn push_call(out: &mut Vec<u8>, call: &ToolCall, losses: &mut LossSet) {
    lose(call.cache.as_ref(), Loss::CacheMark, losses);
    let (kind, field, input) = match &call.input {
        ToolCallInput::Json(json) => ("function_call", "arguments", json.as_str()),
        ToolCallInput::Broken(text) => ("function_call", "arguments", text.as_str()),
        ToolCallInput::Text(text) => ("custom_tool_call", "input", text.as_str()),
    };
    push_object(out, |item| {
        item.text("type", kind);
        item.some_text("id", call.item_id.as_deref());
        item.text("call_id", &call.id);
        item.text("name", &call.name);
        item.some_text("namespace", call.namespace.as_deref());
        item.text(field, input);
    });
}

fn push_result(out: &mut Vec<u8>, result: &ToolResult, losses: &mut LossSet) {
    lose(result.cache.as_ref(), Loss::CacheMark, losses);
    if result.is_error {
        losses.insert(Loss::ToolError);
    }
    let blocks: Vec<&Block> = result.content.iter().collect();
    push_object(out, |item| {
        let kind = if result.custom { "custom_tool_call_output" } else { "function_call_output" };
        item.text("type", kind);
        item.some_text("id", result.item_id.as_deref());
        item.text("call_id", &result.call_id);
        if blocks.is_empty() {
            item.text("output", "");
        } else {
            push_content(item.key("output"), &blocks, "input_text", losses);
        }
    });
}

fn push_reasoning(out: &mut Vec<u8>, reasoning: &Reasoning) {
    push_object(out, |item| {
        item.text("type", "reasoning");
        item.some_text("id", reasoning.id.as_deref());
        item.list("summary", &reasoning.summary, |out, text| {
            push_object(out, |part| {
                part.text("type", "summary_text");
                part.text("text", text);
            });
        });
        if !reasoning.text.is_empty() {
            item.list("content", [&reasoning.text], |out, text| {
                push_object(out, |part| {
                    part.text("type", "reasoning_text");
                    part.text("text", text);
                });
            });
        }
        item.some_text("encrypted_content", reasoning.encrypted.as_deref());
    });
}
