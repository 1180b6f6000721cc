//! What sampling carries of single content blocks: text and inline images.
//!
//! Everything else becomes text where that says the same, is left out where it says nothing to
//! another model, and is refused by name otherwise.

use std::borrow::Cow;

use model::{
    Block, Dialect, Failure, FailureKind, Loss, LossSet, Media, MediaKind, MediaSource, Opaque,
    ParamsMode,
};
use serde_json::Value;

use crate::{hosted_items, media};

/// A block as sampling has it.
#[derive(Debug, PartialEq)]
pub(super) enum Carried<'r> {
    Text(Cow<'r, str>),
    Image { mime: &'r str, base64: &'r str },
}

/// Where a block stands in the request, for error messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The message, in the caller's own count.
    pub(super) message: usize,
    /// The block in it.
    pub(super) block: usize,
    /// The block inside a tool result.
    pub(super) inner: Option<usize>,
}

impl Place {
    fn refuse(self, what: &str) -> Failure {
        let Self { message, block, inner } = self;
        let param = match inner {
            None => format!("messages[{message}].content[{block}]"),
            Some(inner) => format!("messages[{message}].content[{block}].content[{inner}]"),
        };
        let message = format!("{param} {what}");
        Failure::new(FailureKind::Unsupported, message).with_param(param)
    }
}

/// Carries what is neither a tool call nor a tool result; `None` for what is left out.
pub(super) fn carry<'r>(
    block: &'r Block,
    place: Place,
    mode: ParamsMode,
    losses: &mut LossSet,
) -> Result<Option<Carried<'r>>, Failure> {
    match block {
        Block::Text(text) if text.text.is_empty() => Ok(None),
        Block::Text(text) => Ok(Some(Carried::Text(Cow::Borrowed(&text.text)))),
        Block::Media(media) => match carry_media(media, place) {
            Err(_) if mode == ParamsMode::Lenient => {
                losses.insert(Loss::MediaOmitted);
                Ok(Some(Carried::Text(Cow::Borrowed(omitted(media.kind)))))
            }
            carried => carried.map(Some),
        },
        Block::Reasoning(_) => {
            losses.insert(Loss::Reasoning);
            Ok(None)
        }
        Block::Opaque(opaque) => carry_opaque(opaque, place, mode, losses),
        Block::ToolCall(_) | Block::ToolResult(_) => {
            Err(place.refuse("is a tool call or a tool result where none may stand."))
        }
    }
}

/// What lenient instructions say of a block that is no text, for they can hold nothing else.
pub(super) fn tell<'r>(
    block: &'r Block,
    place: Place,
    losses: &mut LossSet,
) -> Result<Cow<'r, str>, Failure> {
    Ok(match carry(block, place, ParamsMode::Lenient, losses)? {
        Some(Carried::Text(text)) => text,
        Some(Carried::Image { .. }) => {
            losses.insert(Loss::MediaOmitted);
            Cow::Borrowed(omitted(MediaKind::Image))
        }
        None => Cow::Borrowed(""),
    })
}

const fn omitted(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "[image omitted]",
        MediaKind::Audio => "[audio omitted]",
        MediaKind::File => "[file omitted]",
    }
}

fn carry_media(media: &Media, place: Place) -> Result<Carried<'_>, Failure> {
    match (media.kind, &media.source) {
        (MediaKind::Audio, _) => Err(place.refuse("is audio, which hosts cannot read.")),
        (MediaKind::File, MediaSource::Inline { mime, base64 }) if is_text(mime, media) => {
            let text = media::decode(base64)
                .ok_or_else(|| place.refuse("is a text file that is not UTF-8."))?;
            Ok(Carried::Text(Cow::Owned(document(media.name.as_deref(), &text))))
        }
        (MediaKind::File, _) => Err(place.refuse(
            "is a file; MCP sampling carries only text and images, and of files those of plain \
             text that stand in the request itself.",
        )),
        (MediaKind::Image, MediaSource::Url(_)) => {
            Err(place
                .refuse("is a URL; the bridge fetches no URL, send the image itself as base64."))
        }
        (MediaKind::Image, MediaSource::Id(_)) => {
            Err(place.refuse("is the id of an uploaded file; send the image itself as base64."))
        }
        (MediaKind::Image, MediaSource::Inline { mime, base64 }) => {
            Ok(Carried::Image { mime, base64 })
        }
    }
}

/// Whether a file is plain text, by its type or, where that says nothing, by its name.
fn is_text(mime: &str, media: &Media) -> bool {
    let named = || {
        let name = media.name.as_deref().unwrap_or_default();
        name.rsplit_once('.').is_some_and(|(_, end)| {
            ["txt", "md", "csv", "json", "xml", "yaml", "yml", "toml", "log"]
                .iter()
                .any(|known| end.eq_ignore_ascii_case(known))
        })
    };
    mime.starts_with("text/")
        || mime == "application/json"
        || (mime == "application/octet-stream" && named())
}

/// A document as marked text, with its name.
fn document(name: Option<&str>, text: &str) -> String {
    let name: String = name
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '<' | '>'))
        .take(200)
        .collect();
    if name.is_empty() {
        format!("<document>\n{text}\n</document>")
    } else {
        format!("<document name=\"{name}\">\n{text}\n</document>")
    }
}

/// Carries what only the caller's own dialect understands: as text where it holds text that a
/// model can read. Records of tools that the provider ran say nothing to another model.
fn carry_opaque<'r>(
    opaque: &'r Opaque,
    place: Place,
    mode: ParamsMode,
    losses: &mut LossSet,
) -> Result<Option<Carried<'r>>, Failure> {
    let text = |text: String| Ok(Some(Carried::Text(Cow::Owned(text))));
    if opaque.dialect == Dialect::OpenAiResponses {
        losses.insert(Loss::HostedItems);
        return Ok(hosted_items::as_text(opaque).map(|told| Carried::Text(Cow::Owned(told))));
    }
    match opaque.kind.as_str() {
        "tool_reference" => text(format!("Tool found: {}", string(&object(opaque), "tool_name"))),
        "search_result" => {
            let object = object(opaque);
            let title = format!("{} {}", string(&object, "title"), string(&object, "source"));
            text(document(Some(title.trim()), &texts(object.get("content"))))
        }
        "document" => {
            let object = object(opaque);
            let source = object.get("source");
            let kind = source.and_then(|source| source.get("type")).and_then(Value::as_str);
            let inside = match kind {
                Some("text") => source.map(|source| string(source, "data").to_owned()),
                Some("content") => source.map(|source| texts(source.get("content"))),
                _ => None,
            };
            match inside {
                Some(inside) => {
                    let context = string(&object, "context");
                    let inside =
                        if context.is_empty() { inside } else { format!("{context}\n\n{inside}") };
                    text(document(Some(string(&object, "title")), &inside))
                }
                None if mode == ParamsMode::Lenient => {
                    losses.insert(Loss::MediaOmitted);
                    text(omitted(MediaKind::File).to_owned())
                }
                None => {
                    Err(place.refuse("is a document that is not text, which no host can read."))
                }
            }
        }
        // A summary that stands for earlier turns: its text is all that is left of them.
        "compaction" if !texts(object(opaque).get("content")).is_empty() => {
            text(texts(object(opaque).get("content")))
        }
        kind if is_hosted_record(kind) => {
            losses.insert(Loss::HostedItems);
            Ok(None)
        }
        _ if mode == ParamsMode::Lenient => {
            losses.insert(Loss::HostedItems);
            Ok(None)
        }
        kind => {
            let kind: String = kind.chars().take(60).collect();
            Err(place.refuse(&format!("is of type `{kind}`, which MCP sampling cannot carry.")))
        }
    }
}

/// Whether a block records what a tool of the provider did.
fn is_hosted_record(kind: &str) -> bool {
    matches!(kind, "server_tool_use" | "mcp_tool_use") || kind.ends_with("_tool_result")
}

fn object(opaque: &Opaque) -> Value {
    serde_json::from_str(opaque.json.as_str()).unwrap_or_default()
}

fn string<'v>(object: &'v Value, name: &str) -> &'v str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A string, or the texts of a list of blocks.
fn texts(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => {
            let texts: Vec<&str> = blocks.iter().map(|block| string(block, "text")).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}
