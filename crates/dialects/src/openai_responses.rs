//! OpenAI Responses, as we serve it and as we call it.
//!
//! A turn of the model is several items here and one message in the model; the reader joins them
//! and the writers take them apart again. Sources: the OpenAI API reference ("Responses"), the
//! accumulators of the official SDKs, which check that ids, indexes and sequence numbers hold
//! together, and Codex.
//!
//! What it is *not*: a place that keeps responses. Who keeps them is asked through [`Earlier`],
//! and what is kept are items as they stand on the wire, so that a continued conversation is read
//! as if the caller had sent all of it.

mod client;
mod echo;
mod failure;
mod frames;
mod item;
mod items;
mod kept;
mod reply;
mod server;
mod stream;
mod tools;
mod wire;

pub use client::{ResponsesReader, read_failure, read_reply, write_request};
pub use echo::Echo;
pub use failure::{no_such_response, write_failure};
pub use kept::{KeptItem, name_input, name_output, write_deleted, write_input_tokens, write_items};
pub use reply::{Written, write_reply};
pub use server::{read_continued, read_count, read_request};
pub use stream::ResponsesStream;

use model::{CompletionRequest, Failure, Json};

/// A request of this dialect.
#[derive(Debug)]
pub struct ResponsesRequest {
    /// What is wanted, the conversation that it continues included.
    pub request: CompletionRequest,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// Whether the response may be kept for later requests; the dialect's default is yes.
    pub store: bool,
    /// The response whose conversation this one continues.
    pub previous_response_id: Option<String>,
    /// What the response repeats of the request.
    pub echo: Echo,
    /// The caller's own items as they came, for keeping; empty where nothing is to be kept.
    pub items: Vec<Json>,
}

/// What is kept of earlier responses, as one caller may see it.
pub trait Earlier {
    /// The items of the conversation up to and with this response, oldest first; `None` where
    /// there is no such response, or no more.
    ///
    /// # Errors
    /// The conversation does not fit.
    fn conversation(&mut self, response: &str) -> Result<Option<Vec<Json>>, Failure>;

    /// One item by its id; `None` where there is none.
    ///
    /// # Errors
    /// The item does not fit.
    fn item(&mut self, id: &str) -> Result<Option<Json>, Failure>;
}
