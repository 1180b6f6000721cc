//! OpenAI Responses.
//!
//! What it is: [`read_request`] translates items to the model. What it is *not*: the door; writing
//! responses and their events, and keeping earlier ones, belongs to it.

mod client;
mod items;
mod server;
mod tools;
mod wire;

pub use client::{ResponsesReader, read_failure, read_reply, write_request};
pub use server::read_request;

use model::CompletionRequest;

/// A request of this dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponsesRequest {
    /// What is wanted. `previous_response_id` is not resolved in it.
    pub request: CompletionRequest,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// Whether the response may be kept for later requests; the dialect's default is yes.
    pub store: bool,
    /// The response whose conversation this one continues.
    pub previous_response_id: Option<String>,
}
