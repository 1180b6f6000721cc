//! The objects of a Chat Completions request.
//!
//! Only what we read stands here; every field is optional, and objects that differ by their
//! `type` are one struct with the fields of all kinds, so that nothing has to be held back until
//! the type is known.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::lenient::{Count, TextOr, TextOrObject, Word, wire_object};

wire_object! {
    /// The request.
    Request<'a> {
        "model" => model: String,
        "messages" => messages: Vec<Message<'a>>,
        "tools" => tools: Vec<Tool<'a>>,
        "functions" => functions: Vec<Function<'a>>,
        "tool_choice" => tool_choice: TextOrObject<ToolChoice<'a>>,
        "function_call" => function_call: TextOrObject<Named>,
        "parallel_tool_calls" => parallel_tool_calls: bool,
        "response_format" => response_format: ResponseFormat<'a>,
        "max_tokens" => max_tokens: Count,
        "max_completion_tokens" => max_completion_tokens: Count,
        "temperature" => temperature: f64,
        "top_p" => top_p: f64,
        "top_k" => top_k: Count,
        "frequency_penalty" => frequency_penalty: f64,
        "presence_penalty" => presence_penalty: f64,
        "logit_bias" => logit_bias: &'a RawValue,
        "stop" => stop: TextOr<String>,
        "n" => n: Count,
        "logprobs" => logprobs: bool,
        "top_logprobs" => top_logprobs: Count,
        "modalities" => modalities: Vec<Word<'a>>,
        "audio" => audio: IgnoredAny,
        "prediction" => prediction: &'a RawValue,
        "reasoning_effort" => reasoning_effort: String,
        "stream" => stream: bool,
        "stream_options" => stream_options: StreamOptions,
        // Carried for an upstream of the same dialect, without a look inside.
        "seed" => seed: &'a RawValue,
        "user" => user: &'a RawValue,
        "metadata" => metadata: &'a RawValue,
        "store" => store: &'a RawValue,
        "service_tier" => service_tier: &'a RawValue,
        "verbosity" => verbosity: &'a RawValue,
        "safety_identifier" => safety_identifier: &'a RawValue,
        "prompt_cache_key" => prompt_cache_key: &'a RawValue,
        "prompt_cache_options" => prompt_cache_options: &'a RawValue,
        "prompt_cache_retention" => prompt_cache_retention: &'a RawValue,
        "web_search_options" => web_search_options: &'a RawValue,
        "moderation" => moderation: &'a RawValue,
    }
}

wire_object! {
    StreamOptions { "include_usage" => include_usage: bool, }
}

wire_object! {
    /// A message of any role.
    Message<'a> {
        "role" => role: Word<'a>,
        "content" => content: TextOr<Part<'a>>,
        "name" => name: Word<'a>,
        "refusal" => refusal: String,
        "reasoning_content" => reasoning_content: String,
        "tool_calls" => tool_calls: Vec<ToolCall<'a>>,
        "tool_call_id" => tool_call_id: String,
        "function_call" => function_call: FunctionCall,
        "audio" => audio: Id,
    } rest
}

wire_object! {
    Id { "id" => id: String, }
}

wire_object! {
    Named { "name" => name: String, }
}

wire_object! {
    /// A content part of any type.
    Part<'a> {
        "type" => kind: Word<'a>,
        "text" => text: String,
        "refusal" => refusal: String,
        "image_url" => image_url: TextOrObject<ImageUrl>,
        "input_audio" => input_audio: InputAudio,
        "file" => file: File,
        "prompt_cache_breakpoint" => prompt_cache_breakpoint: &'a RawValue,
    }
}

wire_object! {
    ImageUrl { "url" => url: String, "detail" => detail: String, }
}

wire_object! {
    InputAudio { "data" => data: String, "format" => format: String, }
}

wire_object! {
    File {
        "file_data" => bytes: String,
        "file_id" => id: String,
        "filename" => name: String,
    }
}

wire_object! {
    /// A call in an assistant message.
    ToolCall<'a> {
        "id" => id: String,
        "type" => kind: Word<'a>,
        "function" => function: FunctionCall,
        "custom" => custom: CustomCall,
    }
}

wire_object! {
    FunctionCall { "name" => name: String, "arguments" => arguments: String, }
}

wire_object! {
    CustomCall { "name" => name: String, "input" => input: String, }
}

wire_object! {
    Tool<'a> {
        "type" => kind: Word<'a>,
        "function" => function: Function<'a>,
        "custom" => custom: Custom<'a>,
    } rest
}

wire_object! {
    Function<'a> {
        "name" => name: String,
        "description" => description: String,
        "parameters" => parameters: &'a RawValue,
        "strict" => strict: bool,
    } rest
}

wire_object! {
    Custom<'a> {
        "name" => name: String,
        "description" => description: String,
        "format" => format: &'a RawValue,
    } rest
}

wire_object! {
    ToolChoice<'a> {
        "type" => kind: Word<'a>,
        "function" => function: Named,
        "custom" => custom: Named,
        "allowed_tools" => allowed_tools: AllowedTools<'a>,
    }
}

wire_object! {
    AllowedTools<'a> { "mode" => mode: Word<'a>, "tools" => tools: Vec<AllowedTool>, }
}

wire_object! {
    AllowedTool { "function" => function: Named, "custom" => custom: Named, "name" => name: String, }
}

wire_object! {
    ResponseFormat<'a> { "type" => kind: Word<'a>, "json_schema" => json_schema: JsonSchema<'a>, }
}

wire_object! {
    JsonSchema<'a> {
        "name" => name: String,
        "description" => description: String,
        "schema" => schema: &'a RawValue,
        "strict" => strict: bool,
    }
}

wire_object! {
    /// The tools as raw text, read only when one is of a type that we do not know.
    RawTools<'a> { "tools" => tools: Vec<&'a RawValue>, }
}

wire_object! {
    /// A whole reply, or a chunk of a streamed one.
    Reply<'a> {
        "model" => model: String,
        "choices" => choices: Vec<Choice<'a>>,
        "usage" => usage: Usage,
        "error" => error: &'a RawValue,
    }
}

wire_object! {
    /// One of the replies; chunks have a `delta`.
    Choice<'a> {
        "index" => index: Count,
        "message" => message: Said<'a>,
        "delta" => delta: Said<'a>,
        "finish_reason" => finish_reason: Word<'a>,
    }
}

wire_object! {
    /// What the model said, or one more piece of it.
    Said<'a> {
        "content" => content: TextOr<Part<'a>>,
        "refusal" => refusal: String,
        "reasoning_content" => reasoning_content: String,
        // Another name for it; some servers put an object there.
        "reasoning" => reasoning: TextOrObject<Nothing>,
        "tool_calls" => tool_calls: Vec<SaidCall<'a>>,
        "function_call" => function_call: SaidFunction<'a>,
    }
}

wire_object! {
    /// An object of which nothing is read.
    Nothing {}
}

wire_object! {
    /// A call, or one more piece of it.
    SaidCall<'a> {
        "index" => index: Count,
        "id" => id: String,
        "type" => kind: Word<'a>,
        "function" => function: SaidFunction<'a>,
        "custom" => custom: CustomCall,
    }
}

wire_object! {
    /// A function call. The arguments are JSON text; some servers put the object itself there.
    SaidFunction<'a> { "name" => name: String, "arguments" => arguments: &'a RawValue, }
}

wire_object! {
    Usage {
        "prompt_tokens" => prompt_tokens: Count,
        "completion_tokens" => completion_tokens: Count,
        "prompt_tokens_details" => prompt_details: UsageDetails,
        "completion_tokens_details" => completion_details: UsageDetails,
    }
}

wire_object! {
    UsageDetails {
        "cached_tokens" => cached: Count,
        "cache_write_tokens" => written: Count,
        "reasoning_tokens" => reasoning: Count,
    }
}
