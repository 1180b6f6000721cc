//! Messages and content blocks of a Messages request.

use model::{
    Block, CacheMark, CompletionRequest, Dialect, Failure, Json, Media, MediaKind, MediaSource,
    Message, Opaque, Reasoning, Role, Text, ToolCall, ToolCallInput, ToolResult,
};
use serde_json::value::RawValue;

use super::ApiVersion;
use super::raw::RawText;
use super::wire;
use crate::extras::from_rest;
use crate::json::compact_raw;
use crate::lenient::{FieldProblem, PathStyle, TextOr, TextOrObject};
use crate::media;

const STYLE: PathStyle = PathStyle::Dots;

/// Claude Code puts a line that changes with every call before its system prompt; it says nothing
/// to a model and defeats every prompt cache.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// Blocks that only Anthropic understands: results of tools that it runs itself, and references.
const OPAQUE: [&str; 6] = [
    "search_result",
    "server_tool_use",
    "mcp_tool_use",
    "container_upload",
    "compaction",
    "tool_reference",
];

/// Reads `system` and `messages`. `body` is the request, for blocks that are carried as they are.
pub(super) fn read_conversation(
    system: Option<TextOr<wire::Block<'_>>>,
    messages: Vec<wire::Message<'_>>,
    version: ApiVersion,
    body: &str,
    request: &mut CompletionRequest,
) -> Result<(), Failure> {
    let mut reader = Reader { version, raw: RawText::new(body) };
    if let Some(system) = system {
        request.system = reader.read_system(system)?;
    }
    request.messages.reserve(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let extras = from_rest(Dialect::AnthropicMessages, "message", &message.rest);
        let (role, content) = reader.read_message(message, at)?;
        if role == Role::System && request.messages.is_empty() {
            request.system.extend(content);
            request.leading += 1;
        } else {
            request.messages.push(Message { role, content, extras });
        }
    }
    Ok(())
}

struct Reader<'a> {
    version: ApiVersion,
    raw: RawText<'a>,
}

/// Where a block stands; written out only where something is wrong.
#[derive(Clone, Copy)]
enum Place {
    System { block: usize },
    Message { message: usize, block: usize, role: Role },
    Result { message: usize, block: usize, inner: usize },
}

impl Place {
    fn path(self) -> String {
        match self {
            Self::System { block } => format!("system.{block}"),
            Self::Message { message, block, .. } => format!("messages.{message}.content.{block}"),
            Self::Result { message, block, inner } => {
                format!("messages.{message}.content.{block}.content.{inner}")
            }
        }
    }

    fn refuse(self, problem: FieldProblem, field: &str, why: &str) -> Failure {
        STYLE.refuse(problem, &format!("{}.{field}", self.path()), why)
    }

    fn required<T>(self, value: Option<T>, field: &str) -> Result<T, Failure> {
        value.ok_or_else(|| self.refuse(FieldProblem::Missing, field, ""))
    }
}

impl Reader<'_> {
    fn read_system(&mut self, system: TextOr<wire::Block<'_>>) -> Result<Vec<Block>, Failure> {
        let blocks = match system {
            TextOr::Text(text) if text.is_empty() => Vec::new(),
            TextOr::Text(text) => vec![Block::text(text)],
            TextOr::Items(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, block)| self.read_block(block, Place::System { block: at }))
                .collect::<Result<_, _>>()?,
        };
        Ok(without_billing(blocks))
    }

    fn read_message(
        &mut self,
        message: wire::Message<'_>,
        at: usize,
    ) -> Result<(Role, Vec<Block>), Failure> {
        let role = match message.role.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some(other) => {
                let why = format!("{other:?} is not one of 'user', 'assistant' and 'system'");
                return Err(STYLE.refuse(
                    FieldProblem::BadValue,
                    &format!("messages.{at}.role"),
                    &why,
                ));
            }
            None => {
                return Err(STYLE.refuse(
                    FieldProblem::Missing,
                    &format!("messages.{at}.role"),
                    "",
                ));
            }
        };
        let content = match message.content {
            None => {
                let path = format!("messages.{at}.content");
                return Err(STYLE.refuse(FieldProblem::Missing, &path, ""));
            }
            Some(TextOr::Text(text)) if text.is_empty() => Vec::new(),
            Some(TextOr::Text(text)) => vec![Block::text(text)],
            Some(TextOr::Items(items)) => {
                let mut blocks = Vec::with_capacity(items.len());
                for (block_at, block) in items.into_iter().enumerate() {
                    let place = Place::Message { message: at, block: block_at, role };
                    blocks.push(self.read_block(block, place)?);
                }
                blocks
            }
        };
        let content = if role == Role::System { without_billing(content) } else { content };
        Ok((role, content))
    }

    fn read_block(&mut self, block: wire::Block<'_>, place: Place) -> Result<Block, Failure> {
        let Some(kind) = block.kind.as_deref() else {
            return Err(place.refuse(FieldProblem::Missing, "type", ""));
        };
        let cache = block.cache_control.and_then(compact_raw).map(CacheMark);
        let strict = self.version == ApiVersion::V2026_10_21;
        match kind {
            "text" => {
                let by_user = matches!(place, Place::Message { role: Role::User, .. });
                if strict && by_user && block.citations.is_some_and(has_items) {
                    let why = "citations are not allowed on text blocks of user messages";
                    return Err(place.refuse(FieldProblem::BadValue, "citations", why));
                }
                Ok(Block::Text(Text { text: place.required(block.text, "text")?, cache }))
            }
            "image" => read_media(block, MediaKind::Image, cache, place),
            "document" => {
                if strict && matches!(place, Place::Message { role: Role::Assistant, .. }) {
                    let why = "document blocks are not allowed in assistant messages";
                    return Err(place.refuse(FieldProblem::BadValue, "type", why));
                }
                if is_rich_document(&block) {
                    return self.read_opaque(kind, place);
                }
                read_media(block, MediaKind::File, cache, place)
            }
            "tool_use" => Ok(Block::ToolCall(ToolCall {
                id: place.required(block.id, "id")?,
                item_id: None,
                name: place.required(block.name, "name")?,
                namespace: None,
                input: read_input(block.input, place)?,
                cache,
            })),
            "tool_result" => self.read_tool_result(block, cache, place),
            "thinking" => Ok(reasoning(
                place.required(block.thinking, "thinking")?,
                block.signature.filter(|signature| !signature.is_empty()),
                None,
            )),
            "redacted_thinking" => {
                Ok(reasoning(String::new(), None, Some(place.required(block.data, "data")?)))
            }
            opaque if OPAQUE.contains(&opaque) || opaque.ends_with("_tool_result") => {
                self.read_opaque(opaque, place)
            }
            other => {
                let why = format!("{other:?} is not a known type of content block");
                Err(place.refuse(FieldProblem::BadValue, "type", &why))
            }
        }
    }

    fn read_tool_result(
        &mut self,
        block: wire::Block<'_>,
        cache: Option<CacheMark>,
        place: Place,
    ) -> Result<Block, Failure> {
        let Place::Message { message, block: block_at, .. } = place else {
            let why = "tool results stand directly in a message";
            return Err(place.refuse(FieldProblem::BadValue, "type", why));
        };
        let content = match block.content {
            None => Vec::new(),
            Some(wire::Content::Text(text)) if text.is_empty() => Vec::new(),
            Some(wire::Content::Text(text)) => vec![Block::text(text)],
            Some(wire::Content::Blocks(items)) => items
                .into_iter()
                .enumerate()
                .map(|(inner, item)| {
                    self.read_block(item, Place::Result { message, block: block_at, inner })
                })
                .collect::<Result<_, _>>()?,
            Some(wire::Content::Object) => {
                let why = "expected a string or an array of blocks";
                return Err(place.refuse(FieldProblem::WrongType, "content", why));
            }
        };
        Ok(Block::ToolResult(ToolResult {
            call_id: place.required(block.tool_use_id, "tool_use_id")?,
            item_id: None,
            content,
            is_error: block.is_error.unwrap_or(false),
            custom: false,
            cache,
        }))
    }

    /// Keeps a block as it is.
    fn read_opaque(&mut self, kind: &str, place: Place) -> Result<Block, Failure> {
        let json = match place {
            Place::System { block } => self.raw.system(block)?,
            Place::Message { message, block, .. } => self.raw.block(message, block)?,
            Place::Result { message, block, inner } => self.raw.inner(message, block, inner)?,
        };
        let json = json.ok_or_else(|| {
            place.refuse(FieldProblem::BadValue, "type", "the block cannot be carried")
        })?;
        let kind = kind.to_owned();
        Ok(Block::Opaque(Opaque { dialect: Dialect::AnthropicMessages, kind, json }))
    }
}

/// Takes the billing line off instructions, wherever among them it stands; a block that holds
/// nothing else goes with it.
fn without_billing(mut blocks: Vec<Block>) -> Vec<Block> {
    blocks.retain_mut(|block| {
        let Block::Text(Text { text, .. }) = block else { return true };
        if !text.trim_start().starts_with(BILLING_HEADER) {
            return true;
        }
        let start = text.len() - text.trim_start().len();
        let line = text.get(start..).and_then(|rest| rest.find('\n')).unwrap_or(text.len());
        text.drain(..text.len().min(start + line));
        let rest = text.trim_start_matches(['\r', '\n']).len();
        text.drain(..text.len() - rest);
        !text.trim_ascii().is_empty()
    });
    blocks
}

/// Whether a document says more than the model's media block can hold.
fn is_rich_document(block: &wire::Block<'_>) -> bool {
    let of_blocks = match &block.source {
        Some(TextOrObject::Object(source)) => source.kind.as_deref() == Some("content"),
        _ => false,
    };
    let cited = block.citations.is_some_and(|raw| {
        compact_raw(raw).is_some_and(|json| json.as_str().contains(r#""enabled":true"#))
    });
    of_blocks || cited || block.context.as_ref().is_some_and(|context| !context.is_empty())
}

/// Whether a JSON array holds anything.
fn has_items(raw: &RawValue) -> bool {
    compact_raw(raw).is_some_and(|json| json.as_str() != "[]")
}

fn read_media(
    block: wire::Block<'_>,
    kind: MediaKind,
    cache: Option<CacheMark>,
    place: Place,
) -> Result<Block, Failure> {
    let source = match block.source {
        Some(TextOrObject::Object(source)) => source,
        Some(TextOrObject::Text(_)) => {
            return Err(place.refuse(FieldProblem::WrongType, "source", "expected an object"));
        }
        None => return Err(place.refuse(FieldProblem::Missing, "source", "")),
    };
    let family = if kind == MediaKind::Image { "image/" } else { "" };
    let source = match source.kind.as_deref() {
        Some("base64") => {
            let mime = place.required(source.media_type, "source.media_type")?;
            let bytes = place.required(source.data, "source.data")?;
            media::read_base64(mime, bytes, family)
                .map_err(|why| place.refuse(FieldProblem::BadValue, "source", why))?
        }
        Some("text") if kind == MediaKind::File => {
            let text = place.required(source.data, "source.data")?;
            let mime = source.media_type.unwrap_or_else(|| "text/plain".to_owned());
            MediaSource::Inline { mime, base64: media::encode(&text) }
        }
        Some("url") => MediaSource::Url(place.required(source.url, "source.url")?),
        Some("file") => MediaSource::Id(place.required(source.file_id, "source.file_id")?),
        Some(other) => {
            let why = format!("{other:?} is not a known type of source");
            return Err(place.refuse(FieldProblem::BadValue, "source.type", &why));
        }
        None => return Err(place.refuse(FieldProblem::Missing, "source.type", "")),
    };
    Ok(Block::Media(Media { kind, source, name: block.title, detail: None, cache }))
}

fn read_input(input: Option<&RawValue>, place: Place) -> Result<ToolCallInput, Failure> {
    let json = match input {
        None => Json::from_compact("{}"),
        Some(raw) if raw.get().starts_with('{') => compact_raw(raw),
        Some(_) => {
            return Err(place.refuse(FieldProblem::WrongType, "input", "expected an object"));
        }
    };
    json.map(ToolCallInput::Json)
        .ok_or_else(|| place.refuse(FieldProblem::BadValue, "input", "it cannot be carried"))
}

fn reasoning(text: String, signature: Option<String>, encrypted: Option<String>) -> Block {
    Block::Reasoning(Reasoning {
        id: None,
        summary: Vec::new(),
        text,
        signature,
        encrypted,
        dialect: Dialect::AnthropicMessages,
    })
}
