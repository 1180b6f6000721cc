//! The objects of a text completions request. Every field is optional.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::lenient::{Count, TextOr, wire_object};

wire_object! {
    /// The request.
    Request<'a> {
        "model" => model: String,
        "prompt" => prompt: TextOr<&'a RawValue>,
        "suffix" => suffix: String,
        "max_tokens" => max_tokens: Count,
        "temperature" => temperature: f64,
        "top_p" => top_p: f64,
        "n" => n: Count,
        "best_of" => best_of: Count,
        "stop" => stop: TextOr<String>,
        "stream" => stream: bool,
        "stream_options" => stream_options: StreamOptions,
        "echo" => echo: bool,
        // A count; some clients send a truth value.
        "logprobs" => logprobs: IgnoredAny,
        "frequency_penalty" => frequency_penalty: f64,
        "presence_penalty" => presence_penalty: f64,
        "logit_bias" => logit_bias: &'a RawValue,
        // Carried for an upstream of the same dialect, without a look inside.
        "seed" => seed: &'a RawValue,
        "user" => user: &'a RawValue,
    }
}

wire_object! {
    StreamOptions { "include_usage" => include_usage: bool, }
}
