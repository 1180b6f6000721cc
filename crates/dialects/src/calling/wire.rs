//! The objects of an error.
//!
//! OpenAI, Anthropic and the servers that follow them differ little, so one struct reads all.

use serde_json::value::RawValue;

use crate::lenient::{TextOrObject, Word, wire_object};

wire_object! {
    /// The body of a reply that is no success.
    ErrorBody<'a> {
        "error" => error: TextOrObject<ErrorObject<'a>>,
        "message" => message: String,
        "detail" => detail: &'a RawValue,
    }
}

wire_object! {
    /// What is wrong. A code may be a number.
    ErrorObject<'a> {
        "type" => kind: Word<'a>,
        "code" => code: &'a RawValue,
        "message" => message: String,
        "param" => param: String,
    }
}
