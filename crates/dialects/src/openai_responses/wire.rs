//! The structs of the wire.
//!
//! Items and tools are read in two steps, type first: `output` alone has three shapes by type,
//! and items that the model carries whole must not fail on a field that nobody reads.

use model::{Dialect, Failure, Opaque};
use serde::Deserialize;
use serde::de::MapAccess;
use serde_json::value::RawValue;

use crate::extras::{Rest, keep};
use crate::json;
use crate::lenient::{Count, FieldProblem, PathStyle, TextOr, WireObject, Word, wire_object};

/// How this dialect writes paths.
pub(super) const STYLE: PathStyle = PathStyle::Brackets;

/// The body of a request.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    pub(super) model: Option<String>,
    pub(super) input: Option<TextOr<&'a RawValue>>,
    pub(super) instructions: Option<TextOr<&'a RawValue>>,
    pub(super) tools: Option<Vec<&'a RawValue>>,
    pub(super) tool_choice: Option<&'a RawValue>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) max_output_tokens: Option<Count>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_logprobs: Option<Count>,
    pub(super) text: Option<TextSettings<'a>>,
    pub(super) reasoning: Option<ReasoningSettings<'a>>,
    pub(super) store: Option<bool>,
    pub(super) stream: Option<bool>,
    pub(super) background: Option<bool>,
    pub(super) previous_response_id: Option<String>,
    pub(super) conversation: Option<&'a RawValue>,
    pub(super) prompt: Option<&'a RawValue>,
    /// What nobody but this dialect reads, by name.
    pub(super) extras: Rest<'a>,
}

impl<'de: 'a, 'a> WireObject<'de> for Body<'a> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "model" => self.model = map.next_value()?,
            "input" => self.input = map.next_value()?,
            "instructions" => self.instructions = map.next_value()?,
            "tools" => self.tools = map.next_value()?,
            "tool_choice" => self.tool_choice = map.next_value()?,
            "parallel_tool_calls" => self.parallel_tool_calls = map.next_value()?,
            "max_output_tokens" => self.max_output_tokens = map.next_value()?,
            "temperature" => self.temperature = map.next_value()?,
            "top_p" => self.top_p = map.next_value()?,
            "top_logprobs" => self.top_logprobs = map.next_value()?,
            "text" => self.text = map.next_value()?,
            "reasoning" => self.reasoning = map.next_value()?,
            "store" => self.store = map.next_value()?,
            "stream" => self.stream = map.next_value()?,
            "background" => self.background = map.next_value()?,
            "previous_response_id" => self.previous_response_id = map.next_value()?,
            "conversation" => self.conversation = map.next_value()?,
            "prompt" => self.prompt = map.next_value()?,
            _ => keep(&mut self.extras, key, map)?,
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(crate::lenient::ObjectVisitor(std::marker::PhantomData))
    }
}

wire_object! {
    /// `text`.
    TextSettings<'a> {
        "format" => format: Format<'a>,
    } rest
}

wire_object! {
    /// `text.format`.
    Format<'a> {
        "type" => kind: Word<'a>,
        "name" => name: String,
        "description" => description: String,
        "schema" => schema: &'a RawValue,
        "strict" => strict: bool,
    }
}

wire_object! {
    /// `reasoning`.
    ReasoningSettings<'a> {
        "effort" => effort: String,
    } rest
}

wire_object! {
    /// What tells one item, part or tool from another.
    Head<'a> {
        "type" => kind: Word<'a>,
        "role" => role: Word<'a>,
    }
}

wire_object! {
    /// What an item is called by.
    Identified {
        "id" => id: String,
    }
}

wire_object! {
    /// `message`, also without its type.
    MessageItem<'a> {
        "role" => role: Word<'a>,
        "content" => content: TextOr<&'a RawValue>,
    } rest
}

wire_object! {
    /// A part of a message or of a tool's output.
    Part<'a> {
        "type" => kind: Word<'a>,
        "text" => text: String,
        "refusal" => refusal: String,
        "image_url" => image_url: String,
        "detail" => detail: String,
        "file_id" => file_id: String,
        "file_url" => file_url: String,
        "file_data" => file_data: String,
        "filename" => filename: String,
        "input_audio" => input_audio: InputAudio,
        "prompt_cache_breakpoint" => cache: &'a RawValue,
    }
}

wire_object! {
    /// `input_audio` of a part.
    InputAudio {
        "data" => audio: String,
        "format" => format: String,
    }
}

wire_object! {
    /// `function_call` and `custom_tool_call`.
    CallItem {
        "id" => id: String,
        "call_id" => call_id: String,
        "name" => name: String,
        "namespace" => namespace: String,
        "arguments" => arguments: String,
        "input" => input: String,
    }
}

wire_object! {
    /// `function_call_output` and `custom_tool_call_output`.
    OutputItem<'a> {
        "id" => id: String,
        "call_id" => call_id: String,
        "output" => output: TextOr<&'a RawValue>,
    }
}

wire_object! {
    /// `reasoning`.
    ReasoningItem<'a> {
        "id" => id: String,
        "summary" => summary: Vec<Part<'a>>,
        "content" => content: Vec<Part<'a>>,
        "encrypted_content" => encrypted_content: String,
    }
}

wire_object! {
    /// `additional_tools` and `tool_search_output`: tools that stand among the items (Codex with
    /// newer models).
    ToolsItem<'a> {
        "tools" => tools: Vec<&'a RawValue>,
    } rest
}

wire_object! {
    /// `function`, `custom` and `namespace` tools.
    ToolEntry<'a> {
        "name" => name: String,
        "description" => description: String,
        "parameters" => parameters: &'a RawValue,
        "format" => format: &'a RawValue,
        "strict" => strict: bool,
        "tools" => tools: Vec<&'a RawValue>,
    } rest
}

wire_object! {
    /// `tool_choice` as an object.
    Choice<'a> {
        "type" => kind: Word<'a>,
        "name" => name: String,
        "namespace" => namespace: String,
        "mode" => mode: Word<'a>,
        "tools" => tools: Vec<ChoiceTool>,
    }
}

wire_object! {
    /// A tool of `allowed_tools`; a hosted one has only a type.
    ChoiceTool {
        "type" => kind: String,
        "name" => name: String,
        "namespace" => namespace: String,
    }
}

/// Parses a nested value, naming it by its path in the body.
pub(super) fn parse_at<'a, T: Deserialize<'a>>(raw: &'a RawValue, at: &str) -> Result<T, Failure> {
    serde_json::from_str(raw.get()).map_err(|_| {
        let mut again = serde_json::Deserializer::from_str(raw.get());
        let (path, why) = match serde_path_to_error::deserialize::<_, T>(&mut again) {
            Err(error) if error.path().iter().len() > 0 => {
                (format!("{at}.{}", error.path()), error.inner().to_string())
            }
            Err(error) => (at.to_owned(), error.inner().to_string()),
            Ok(_) => (at.to_owned(), "unreadable".to_owned()),
        };
        let why = why.rfind(" at line ").and_then(|end| why.get(..end)).unwrap_or(&why);
        STYLE.refuse(FieldProblem::WrongType, &path, why)
    })
}

/// Keeps a whole object for its own dialect.
pub(super) fn opaque(kind: &str, raw: &RawValue, at: &str) -> Result<Opaque, Failure> {
    Ok(Opaque {
        dialect: Dialect::OpenAiResponses,
        kind: kind.to_owned(),
        json: compact_at(raw, at)?,
    })
}

/// Removes the white space of a value that is carried as it is.
pub(super) fn compact_at(raw: &RawValue, at: &str) -> Result<model::Json, Failure> {
    json::compact(raw.get())
        .ok_or_else(|| STYLE.refuse(FieldProblem::BadValue, at, "it is nested too deep"))
}

/// A 400 for a field that must be there.
pub(super) fn missing(path: &str) -> Failure {
    STYLE.refuse(FieldProblem::Missing, path, "")
}

/// A 400 for a value that is not among the known ones.
pub(super) fn unknown(path: &str, value: &str, known: &str) -> Failure {
    // The caller's own word is shown, but not a whole book of it.
    let shown: String = value.chars().take(80).collect();
    STYLE.refuse(
        FieldProblem::BadValue,
        path,
        &format!("unknown value `{shown}`, expected {known}"),
    )
}

wire_object! {
    /// A response: a whole reply, and what a stream's first and last events hold.
    ResponseObject<'a> {
        "model" => model: String,
        "status" => status: Word<'a>,
        "output" => output: Vec<&'a RawValue>,
        "incomplete_details" => incomplete_details: Incomplete<'a>,
        "error" => error: &'a RawValue,
        "usage" => usage: Usage,
    }
}

wire_object! {
    /// Why a response is not whole.
    Incomplete<'a> {
        "reason" => reason: Word<'a>,
    }
}

wire_object! {
    /// Tokens.
    Usage {
        "input_tokens" => input: Count,
        "input_tokens_details" => input_details: UsageDetails,
        "output_tokens" => output: Count,
        "output_tokens_details" => output_details: UsageDetails,
    }
}

wire_object! {
    /// Of which some are of these kinds.
    UsageDetails {
        "cached_tokens" => cached: Count,
        "cache_write_tokens" => written: Count,
        "reasoning_tokens" => reasoning: Count,
    }
}

wire_object! {
    /// A message of the model.
    SaidItem<'a> {
        "content" => content: Vec<Part<'a>>,
    }
}

wire_object! {
    /// An event of a stream, of any type.
    StreamEvent<'a> {
        "type" => kind: Word<'a>,
        "output_index" => output_index: Count,
        "content_index" => content_index: Count,
        "delta" => delta: &'a RawValue,
        "item" => item: &'a RawValue,
        "response" => response: ResponseObject<'a>,
    }
}
