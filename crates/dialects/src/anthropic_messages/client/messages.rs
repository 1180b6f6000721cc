//! Writes the messages and content blocks of a request.

use model::{
    Block, CacheMark, Dialect, Loss, LossSet, Media, MediaKind, MediaSource, Message, Reasoning,
    Role, ToolCall, ToolCallInput, ToolResult,
};

use super::super::reply::{Shown, input_object, push_redacted, shown};
use crate::calling::{Names, is_typed, lose, own};
use crate::extras::fields;
use crate::json::{ObjectWriter, push_list, push_object, push_string};
use crate::media;

/// Appends the list of messages. One of which nothing is left is left out: the API refuses it.
pub(super) fn push_messages(
    out: &mut Vec<u8>,
    messages: &[Message],
    names: &Names<'_>,
    losses: &mut LossSet,
) {
    let mut kept = Vec::with_capacity(messages.len());
    for message in messages {
        let mut content = Vec::new();
        push_content(&mut content, &message.content, names, losses);
        let extras = own(message.extras.as_ref(), Dialect::AnthropicMessages, losses);
        if content != b"[]" || extras.is_some() {
            kept.push((message.role, content, extras));
        }
    }
    push_list(out, kept, |out, (role, content, extras)| {
        push_object(out, |message| {
            message.text(
                "role",
                match role {
                    Role::System => "system",
                    Role::User => "user",
                    Role::Assistant => "assistant",
                },
            );
            message.key("content").extend_from_slice(&content);
            for (name, raw) in extras.map(fields).unwrap_or_default() {
                message.json(&name, raw.get());
            }
        });
    });
}

/// Appends content: text as a string where there is nothing else, or a list of blocks.
pub(super) fn push_content(
    out: &mut Vec<u8>,
    blocks: &[Block],
    names: &Names<'_>,
    losses: &mut LossSet,
) {
    if let [Block::Text(text)] = blocks
        && text.cache.is_none()
        && !text.text.is_empty()
    {
        push_string(out, &text.text);
        return;
    }
    out.push(b'[');
    let start = out.len();
    for block in blocks {
        let before = out.len();
        if before > start {
            out.push(b',');
        }
        if !push_block(out, block, names, losses) {
            out.truncate(before);
        }
    }
    out.push(b']');
}

/// Appends a block; false where the dialect has no place for it.
fn push_block(out: &mut Vec<u8>, block: &Block, names: &Names<'_>, losses: &mut LossSet) -> bool {
    match block {
        // The API refuses empty text.
        Block::Text(text) if text.text.is_empty() => {
            lose(text.cache.as_ref(), Loss::CacheMark, losses);
            return false;
        }
        Block::Text(text) => push_object(out, |object| {
            object.text("type", "text");
            object.text("text", &text.text);
            write_cache(object, text.cache.as_ref(), losses);
        }),
        Block::Media(media) => push_object(out, |object| write_media(object, media, losses)),
        Block::ToolCall(call) => push_object(out, |object| {
            write_call(object, call, names, losses);
        }),
        Block::ToolResult(result) => push_object(out, |object| {
            write_result(object, result, names, losses);
        }),
        Block::Reasoning(reasoning) => {
            let known = push_reasoning(out, reasoning);
            if !known {
                losses.insert(Loss::Reasoning);
            }
            return known;
        }
        Block::Opaque(opaque) if opaque.dialect == Dialect::AnthropicMessages => {
            out.extend_from_slice(opaque.json.as_str().as_bytes());
        }
        Block::Opaque(_) => {
            losses.insert(Loss::DialectFields);
            return false;
        }
    }
    true
}

/// Appends thinking that its maker will know again; one without a signature would be refused.
fn push_reasoning(out: &mut Vec<u8>, reasoning: &Reasoning) -> bool {
    match shown(reasoning) {
        Some(Shown::Signed(signature)) => push_object(out, |object| {
            object.text("type", "thinking");
            object.text("thinking", &reasoning.text);
            object.text("signature", signature);
        }),
        Some(Shown::Redacted(text)) => push_redacted(out, text),
        None => return false,
    }
    true
}

fn write_cache(object: &mut ObjectWriter<'_>, cache: Option<&CacheMark>, losses: &mut LossSet) {
    match cache {
        Some(mark) if is_typed(&mark.0) => object.json("cache_control", mark.0.as_str()),
        cache => lose(cache, Loss::CacheMark, losses),
    }
}

fn write_media(object: &mut ObjectWriter<'_>, media: &Media, losses: &mut LossSet) {
    match media.kind {
        MediaKind::Audio => {
            losses.insert(Loss::MediaOmitted);
            object.text("type", "text");
            object.text("text", "[audio omitted]");
            return write_cache(object, media.cache.as_ref(), losses);
        }
        MediaKind::Image => {
            object.text("type", "image");
            lose(media.name.as_ref(), Loss::MediaName, losses);
        }
        MediaKind::File => {
            object.text("type", "document");
            object.some_text("title", media.name.as_deref());
        }
    }
    object.object("source", |source| match &media.source {
        MediaSource::Url(url) => {
            source.text("type", "url");
            source.text("url", url);
        }
        MediaSource::Id(id) => {
            source.text("type", "file");
            source.text("file_id", id);
        }
        MediaSource::Inline { mime, base64 } => {
            // Documents in base64 may only be PDF; plain text has a form of its own.
            let text = (mime == "text/plain").then(|| media::decode(base64)).flatten();
            source.text("type", if text.is_some() { "text" } else { "base64" });
            source.text("media_type", mime);
            source.text("data", text.as_deref().unwrap_or(base64));
        }
    });
    lose(media.detail.as_ref(), Loss::ImageDetail, losses);
    write_cache(object, media.cache.as_ref(), losses);
}

fn write_call(
    object: &mut ObjectWriter<'_>,
    call: &ToolCall,
    names: &Names<'_>,
    losses: &mut LossSet,
) {
    lose(call.item_id.as_ref(), Loss::DialectFields, losses);
    match &call.input {
        ToolCallInput::Json(json) if json.as_str().starts_with('{') => {}
        ToolCallInput::Json(_) | ToolCallInput::Broken(_) => losses.insert(Loss::ToolArguments),
        ToolCallInput::Text(_) => losses.insert(Loss::ToolFreeText),
    }
    object.text("type", "tool_use");
    object.text("id", &call.id);
    object.text("name", &names.of(call.namespace.as_deref(), &call.name, losses));
    object.json("input", &input_object(&call.input));
    write_cache(object, call.cache.as_ref(), losses);
}

fn write_result(
    object: &mut ObjectWriter<'_>,
    result: &ToolResult,
    names: &Names<'_>,
    losses: &mut LossSet,
) {
    lose(result.item_id.as_ref(), Loss::DialectFields, losses);
    if result.custom {
        losses.insert(Loss::ToolFreeText);
    }
    object.text("type", "tool_result");
    object.text("tool_use_id", &result.call_id);
    if !result.content.is_empty() {
        push_content(object.key("content"), &result.content, names, losses);
    }
    object.some_flag("is_error", result.is_error.then_some(true));
    write_cache(object, result.cache.as_ref(), losses);
}
