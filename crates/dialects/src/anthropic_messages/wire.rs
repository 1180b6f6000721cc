//! The objects of a Messages request.
//!
//! Every field is optional, and blocks of all types are one struct. A field that differs by type
//! (`content`, `source`) takes each of its forms.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::lenient::{Count, TextOr, TextOrObject, Word, wire_object};

wire_object! {
    /// The request.
    Request<'a> {
        "model" => model: String,
        "messages" => messages: Vec<Message<'a>>,
        "system" => system: TextOr<Block<'a>>,
        "max_tokens" => max_tokens: Count,
        "stream" => stream: bool,
        "stop_sequences" => stop_sequences: Vec<String>,
        "temperature" => temperature: f64,
        "top_p" => top_p: f64,
        "top_k" => top_k: Count,
        "tools" => tools: Vec<Tool<'a>>,
        "tool_choice" => tool_choice: ToolChoice<'a>,
        "output_config" => output_config: OutputConfig<'a>,
        "output_format" => output_format: Format<'a>,
        "thread" => thread: IgnoredAny,
        // Carried for an upstream of the same dialect, without a look inside.
        "thinking" => thinking: &'a RawValue,
        "metadata" => metadata: &'a RawValue,
        "cache_control" => cache_control: &'a RawValue,
        "context_management" => context_management: &'a RawValue,
        "container" => container: &'a RawValue,
        "mcp_servers" => mcp_servers: &'a RawValue,
        "service_tier" => service_tier: &'a RawValue,
        "speed" => speed: &'a RawValue,
        "inference_geo" => inference_geo: &'a RawValue,
        "diagnostics" => diagnostics: &'a RawValue,
    }
}

wire_object! {
    Message<'a> { "role" => role: Word<'a>, "content" => content: TextOr<Block<'a>>, } rest
}

wire_object! {
    /// A content block of any type.
    Block<'a> {
        "type" => kind: Word<'a>,
        "cache_control" => cache_control: &'a RawValue,
        "text" => text: String,
        "citations" => citations: &'a RawValue,
        "source" => source: TextOrObject<Source<'a>>,
        "title" => title: String,
        "context" => context: String,
        "id" => id: String,
        "name" => name: String,
        "input" => input: &'a RawValue,
        "tool_use_id" => tool_use_id: String,
        "content" => content: Content<'a>,
        "is_error" => is_error: bool,
        "thinking" => thinking: String,
        "signature" => signature: String,
        "data" => data: String,
    }
}

wire_object! {
    /// Where the bytes of an image or document are.
    Source<'a> {
        "type" => kind: Word<'a>,
        "media_type" => media_type: String,
        "data" => data: String,
        "url" => url: String,
        "file_id" => file_id: String,
    }
}

wire_object! {
    Tool<'a> {
        "type" => kind: Word<'a>,
        "name" => name: String,
        "description" => description: String,
        "input_schema" => input_schema: &'a RawValue,
        "strict" => strict: bool,
        "cache_control" => cache_control: &'a RawValue,
    } rest
}

wire_object! {
    ToolChoice<'a> {
        "type" => kind: Word<'a>,
        "name" => name: String,
        "disable_parallel_tool_use" => disable_parallel_tool_use: bool,
    }
}

wire_object! {
    OutputConfig<'a> { "effort" => effort: String, "format" => format: Format<'a>, } rest
}

wire_object! {
    Format<'a> {
        "type" => kind: Word<'a>,
        "name" => name: String,
        "schema" => schema: &'a RawValue,
    }
}

/// The `content` of a block: text or blocks for tool results, an object for results of tools that
/// the provider runs, which are carried as they are.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Text(String),
    Blocks(Vec<Block<'a>>),
    Object,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of blocks")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Content<'de>, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Content<'de>, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content<'de>, A::Error> {
                let mut blocks = Vec::new();
                while let Some(block) = items.next_element()? {
                    blocks.push(block);
                }
                Ok(Content::Blocks(blocks))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Content::Object)
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

wire_object! {
    /// The request as raw text, read only when something must be carried as it is.
    RawRequest<'a> {
        "messages" => messages: Vec<RawMessage<'a>>,
        "system" => system: TextOr<&'a RawValue>,
        "tools" => tools: Vec<&'a RawValue>,
    }
}

wire_object! {
    /// A message, or a block with blocks inside.
    RawMessage<'a> { "content" => content: TextOr<&'a RawValue>, }
}

wire_object! {
    /// A whole reply, and the message that a stream begins with.
    Reply<'a> {
        "model" => model: String,
        "content" => content: Vec<&'a RawValue>,
        "stop_reason" => stop_reason: Word<'a>,
        "stop_sequence" => stop_sequence: String,
        "usage" => usage: Usage,
        "error" => error: &'a RawValue,
    }
}

wire_object! {
    /// Tokens. Each is cumulative where it comes more than once.
    Usage {
        "input_tokens" => input: Count,
        "output_tokens" => output: Count,
        "cache_creation_input_tokens" => written: Count,
        "cache_read_input_tokens" => cached: Count,
    }
}

wire_object! {
    /// An event of a stream, of any type.
    StreamEvent<'a> {
        "type" => kind: Word<'a>,
        "index" => index: Count,
        "message" => message: Reply<'a>,
        "content_block" => content_block: &'a RawValue,
        "delta" => delta: Delta<'a>,
        "usage" => usage: Usage,
    }
}

wire_object! {
    /// One more piece of a block, or the end of the message.
    Delta<'a> {
        "text" => text: String,
        "partial_json" => partial_json: String,
        "thinking" => thinking: String,
        "signature" => signature: String,
        "stop_reason" => stop_reason: Word<'a>,
        "stop_sequence" => stop_sequence: String,
    }
}
