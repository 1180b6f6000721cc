//! Content blocks: the parts of a message.

use crate::{Dialect, Json};

/// One part of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Plain text.
    Text(Text),
    /// An image, audio or file.
    Media(Media),
    /// The model asks for a tool.
    ToolCall(ToolCall),
    /// The caller answers a tool call.
    ToolResult(ToolResult),
    /// The model's own thinking.
    Reasoning(Reasoning),
    /// Something that only its own dialect understands.
    Opaque(Opaque),
}

impl Block {
    /// A plain text block without a cache mark.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Text { text: text.into(), cache: None })
    }
}

/// Plain text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// The caller's cache mark behind this block.
    pub cache: Option<CacheMark>,
}

/// A mark that says: what stands up to here may be cached. Carries the dialect's own settings
/// (for example Anthropic's `{"type":"ephemeral","ttl":"1h"}`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMark(pub Json);

/// What a [`Media`] block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// A document or any other file.
    File,
}

/// Where the bytes of a [`Media`] block are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// In the request itself.
    Inline {
        /// MIME type as the caller named it.
        mime: String,
        /// The bytes in standard base64, checked for its alphabet, not decoded.
        base64: String,
    },
    /// Behind a URL. The bridge never fetches it.
    Url(String),
    /// Uploaded to the provider earlier, under this id.
    Id(String),
}

/// An image, audio or file.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Where its bytes are.
    pub source: MediaSource,
    /// File name or title, where the caller gave one.
    pub name: Option<String>,
    /// The caller's wish for resolution (`OpenAI` `detail`).
    pub detail: Option<String>,
    /// The caller's cache mark behind this block.
    pub cache: Option<CacheMark>,
}

/// Arguments of a tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolCallInput {
    /// JSON arguments of a function tool.
    Json(Json),
    /// JSON arguments that did not parse; a model wrote them. Kept as text, escaped by writers.
    Broken(String),
    /// Text of a custom (free-text) tool.
    Text(String),
}

/// The model asks for a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The id that the matching [`ToolResult`] repeats.
    pub id: String,
    /// The item id of the Responses dialect (`fc_…`), which differs from the call id.
    pub item_id: Option<String>,
    /// Tool name.
    pub name: String,
    /// Namespace of the tool (Responses `namespace` tools).
    pub namespace: Option<String>,
    /// Arguments.
    pub input: ToolCallInput,
    /// The caller's cache mark behind this block.
    pub cache: Option<CacheMark>,
}

/// The caller answers a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The id of the call that is answered.
    pub call_id: String,
    /// The item id of the Responses dialect (`fco_…`), where the caller gave one.
    pub item_id: Option<String>,
    /// What the tool returned: text, media or opaque blocks.
    pub content: Vec<Block>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// Whether a custom (free-text) tool answered.
    pub custom: bool,
    /// The caller's cache mark behind this block.
    pub cache: Option<CacheMark>,
}

/// The model's own thinking. It goes back only to the upstream that made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reasoning {
    /// The item id of the Responses dialect (`rs_…`).
    pub id: Option<String>,
    /// Summary parts (Responses), in order.
    pub summary: Vec<String>,
    /// Readable thinking, empty where only a signature or ciphertext came.
    pub text: String,
    /// Signature (Anthropic) that makes the text replayable.
    pub signature: Option<String>,
    /// Ciphertext: Anthropic `redacted_thinking.data`, Responses `encrypted_content`.
    pub encrypted: Option<String>,
    /// The dialect that the block came in.
    pub dialect: Dialect,
}

/// Something that only its own dialect understands: carried back to it, shown to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque {
    /// The dialect that understands it.
    pub dialect: Dialect,
    /// Its `type` on the wire.
    pub kind: String,
    /// The whole object.
    pub json: Json,
}
