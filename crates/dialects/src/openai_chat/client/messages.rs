//! Writes the messages of a request.
//!
//! A turn has one shape here: thoughts, then text and media, then calls; each tool result is a
//! message of its own that stands before what else the caller says. Blocks in another order are
//! moved, and named as [`Loss::BlockOrder`].

use model::{
    Block, CacheMark, CompletionRequest, Dialect, Loss, LossSet, Media, MediaKind, MediaSource,
    Message, Opaque, Role, ToolCall, ToolCallInput, ToolResult,
};

use crate::calling::{Names, is_typed, lose, own};
use crate::extras::fields;
use crate::json::{ObjectWriter, push_list, push_object, push_string};

/// Appends the list of messages.
pub(super) fn push_messages(
    out: &mut Vec<u8>,
    request: &CompletionRequest,
    names: &Names<'_>,
    losses: &mut LossSet,
) {
    out.push(b'[');
    let mut writer = Writer { start: out.len(), out, names, losses };
    if !request.system.is_empty() {
        let blocks: Vec<&Block> = request.system.iter().collect();
        writer.plain("system", &blocks, None);
    }
    for message in &request.messages {
        writer.message(message);
    }
    out.push(b']');
}

struct Writer<'w> {
    out: &'w mut Vec<u8>,
    /// Where the list begins.
    start: usize,
    names: &'w Names<'w>,
    losses: &'w mut LossSet,
}

impl Writer<'_> {
    fn message(&mut self, message: &Message) {
        let extras = message.extras.as_ref();
        match message.role {
            Role::Assistant => self.assistant(message),
            Role::System => {
                let blocks: Vec<&Block> = message.content.iter().collect();
                self.plain("system", &blocks, extras);
            }
            Role::User => {
                let is_result = |block: &&Block| matches!(block, Block::ToolResult(_));
                let (results, rest): (Vec<&Block>, Vec<&Block>) =
                    message.content.iter().partition(is_result);
                if message.content.iter().skip(results.len()).any(|block| is_result(&block)) {
                    self.losses.insert(Loss::BlockOrder);
                }
                let alone = rest.is_empty();
                for (at, result) in results.iter().enumerate() {
                    let last = alone && at + 1 == results.len();
                    if let Block::ToolResult(result) = result {
                        self.result(result, extras.filter(|_| last));
                    }
                }
                if !alone || results.is_empty() {
                    self.plain("user", &rest, extras);
                }
            }
        }
    }

    /// Begins a message; [`Self::close`] ends it.
    fn open(&mut self) -> ObjectWriter<'_> {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        ObjectWriter::new(self.out)
    }

    fn plain(&mut self, role: &str, blocks: &[&Block], extras: Option<&Opaque>) {
        let mut losses = *self.losses;
        let mut message = self.open();
        message.text("role", role);
        push_content(message.key("content"), &parts(blocks, &mut losses), &mut losses);
        close(message, extras, &mut losses);
        *self.losses = losses;
    }

    fn result(&mut self, result: &ToolResult, extras: Option<&Opaque>) {
        let mut losses = *self.losses;
        lose(result.item_id.as_ref(), Loss::DialectFields, &mut losses);
        lose(result.cache.as_ref(), Loss::CacheMark, &mut losses);
        if result.is_error {
            losses.insert(Loss::ToolError);
        }
        let blocks: Vec<&Block> = result.content.iter().collect();
        let mut message = self.open();
        message.text("role", "tool");
        message.text("tool_call_id", &result.call_id);
        push_content(message.key("content"), &parts(&blocks, &mut losses), &mut losses);
        close(message, extras, &mut losses);
        *self.losses = losses;
    }

    fn assistant(&mut self, message: &Message) {
        let mut losses = *self.losses;
        let names = self.names;
        let turn = Turn::new(&message.content, &mut losses);
        let extras = own(message.extras.as_ref(), Dialect::OpenAiChat, &mut losses);
        if turn.is_empty() && extras.is_none() {
            // The API refuses a turn of the model that holds nothing.
            *self.losses = losses;
            return;
        }
        let mut object = self.open();
        object.text("role", "assistant");
        if turn.said.is_empty() {
            object.json("content", "null");
        } else {
            push_content(object.key("content"), &turn.said, &mut losses);
        }
        if !turn.thought.is_empty() {
            object.text("reasoning_content", &turn.thought);
        }
        if let Some(id) = turn.audio {
            object.object("audio", |audio| audio.text("id", id));
        }
        if !turn.calls.is_empty() {
            object.list("tool_calls", turn.calls, |out, call| {
                push_call(out, call, names, &mut losses);
            });
        }
        close(object, message.extras.as_ref(), &mut losses);
        *self.losses = losses;
    }
}

/// Ends a message with the fields that were kept of it.
fn close(mut message: ObjectWriter<'_>, extras: Option<&Opaque>, losses: &mut LossSet) {
    if let Some(extras) = own(extras, Dialect::OpenAiChat, losses) {
        for (name, raw) in fields(extras) {
            message.json(&name, raw.get());
        }
    }
    message.end();
}

/// What the model said in one turn, by its places on the wire.
#[derive(Default)]
struct Turn<'m> {
    thought: String,
    said: Vec<&'m Block>,
    audio: Option<&'m str>,
    calls: Vec<&'m ToolCall>,
}

impl<'m> Turn<'m> {
    const fn is_empty(&self) -> bool {
        self.thought.is_empty()
            && self.said.is_empty()
            && self.audio.is_none()
            && self.calls.is_empty()
    }

    fn new(content: &'m [Block], losses: &mut LossSet) -> Self {
        let mut turn = Self::default();
        let mut last = 0;
        for block in content {
            let place = match block {
                Block::Reasoning(reasoning) if reasoning.dialect != Dialect::OpenAiChat => {
                    losses.insert(Loss::Reasoning);
                    continue;
                }
                Block::Reasoning(reasoning) if reasoning.text.is_empty() => continue,
                Block::Reasoning(reasoning) => {
                    if !turn.thought.is_empty() {
                        losses.insert(Loss::BlockOrder);
                        turn.thought.push('\n');
                    }
                    turn.thought.push_str(&reasoning.text);
                    0
                }
                Block::Text(text) if text.text.is_empty() && text.cache.is_none() => continue,
                Block::Media(Media {
                    kind: MediaKind::Audio,
                    source: MediaSource::Id(id),
                    name: None,
                    cache: None,
                    ..
                }) if turn.audio.is_none() => {
                    turn.audio = Some(id);
                    2
                }
                Block::Text(_) | Block::Media(_) => {
                    turn.said.push(block);
                    1
                }
                Block::ToolCall(call) => {
                    turn.calls.push(call);
                    3
                }
                Block::ToolResult(_) | Block::Opaque(_) => {
                    losses.insert(Loss::DialectFields);
                    continue;
                }
            };
            if place < last {
                losses.insert(Loss::BlockOrder);
            }
            last = last.max(place);
        }
        turn
    }
}

/// The blocks of a message that have a place in its content.
fn parts<'b>(blocks: &[&'b Block], losses: &mut LossSet) -> Vec<&'b Block> {
    let mut parts = Vec::with_capacity(blocks.len());
    for &block in blocks {
        match block {
            Block::Text(text) if text.text.is_empty() && text.cache.is_none() => {}
            Block::Text(_) | Block::Media(_) => parts.push(block),
            Block::Reasoning(_) => losses.insert(Loss::Reasoning),
            Block::ToolCall(_) | Block::ToolResult(_) | Block::Opaque(_) => {
                losses.insert(Loss::DialectFields);
            }
        }
    }
    parts
}

/// Appends text as a string where there is nothing else, or a list of parts.
fn push_content(out: &mut Vec<u8>, parts: &[&Block], losses: &mut LossSet) {
    match parts {
        [] => out.extend_from_slice(b"\"\""),
        [Block::Text(text)] if text.cache.is_none() => push_string(out, &text.text),
        parts => push_list(out, parts, |out, block| {
            push_object(out, |part| match block {
                Block::Text(text) => {
                    part.text("type", "text");
                    part.text("text", &text.text);
                    write_cache(part, text.cache.as_ref(), losses);
                }
                Block::Media(media) => write_media(part, media, losses),
                _ => {}
            });
        }),
    }
}

fn write_cache(part: &mut ObjectWriter<'_>, cache: Option<&CacheMark>, losses: &mut LossSet) {
    match cache {
        None => {}
        Some(mark) if is_typed(&mark.0) => losses.insert(Loss::CacheMark),
        Some(mark) => part.json("prompt_cache_breakpoint", mark.0.as_str()),
    }
}

fn write_media(part: &mut ObjectWriter<'_>, media: &Media, losses: &mut LossSet) {
    let image = media.kind == MediaKind::Image;
    match (media.kind, &media.source) {
        (MediaKind::Image, MediaSource::Inline { .. } | MediaSource::Url(_)) => {
            part.text("type", "image_url");
            part.object("image_url", |image| {
                image.text("url", &url(&media.source));
                image.some_text("detail", media.detail.as_deref());
            });
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
        }
        (MediaKind::File, MediaSource::Inline { .. } | MediaSource::Id(_)) => {
            part.text("type", "file");
            part.object("file", |file| {
                match &media.source {
                    MediaSource::Id(id) => file.text("file_id", id),
                    source => file.text("file_data", &url(source)),
                }
                file.some_text("filename", media.name.as_deref());
            });
        }
        (kind, _) => {
            losses.insert(Loss::MediaOmitted);
            part.text("type", "text");
            part.text("text", omitted(kind));
            return write_cache(part, media.cache.as_ref(), losses);
        }
    }
    lose(media.detail.as_ref().filter(|_| !image), Loss::ImageDetail, losses);
    let named = media.kind == MediaKind::File;
    lose(media.name.as_ref().filter(|_| !named), Loss::MediaName, losses);
    write_cache(part, media.cache.as_ref(), losses);
}

/// The word that stands for media without a place.
const fn omitted(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "[image omitted]",
        MediaKind::Audio => "[audio omitted]",
        MediaKind::File => "[file omitted]",
    }
}

fn url(source: &MediaSource) -> String {
    match source {
        MediaSource::Inline { mime, base64 } => format!("data:{mime};base64,{base64}"),
        MediaSource::Url(url) | MediaSource::Id(url) => url.clone(),
    }
}

fn push_call(out: &mut Vec<u8>, call: &ToolCall, names: &Names<'_>, losses: &mut LossSet) {
    lose(call.item_id.as_ref(), Loss::DialectFields, losses);
    lose(call.cache.as_ref(), Loss::CacheMark, losses);
    let name = names.of(call.namespace.as_deref(), &call.name, losses);
    let (kind, field, input) = match &call.input {
        ToolCallInput::Json(json) => ("function", "arguments", json.as_str()),
        ToolCallInput::Broken(text) => ("function", "arguments", text.as_str()),
        ToolCallInput::Text(text) => ("custom", "input", text.as_str()),
    };
    push_object(out, |object| {
        object.text("id", &call.id);
        object.text("type", kind);
        object.object(kind, |inner| {
            inner.text("name", &name);
            inner.text(field, input);
        });
    });
}
