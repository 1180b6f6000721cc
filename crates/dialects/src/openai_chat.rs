//! OpenAI Chat Completions, as we serve it and as we call it.
//!
//! Sources: the OpenAI API reference ("Chat Completions") and the accumulators of the official
//! SDKs, which are stricter than the reference: a role, an id or a name that comes twice is
//! concatenated, and a list entry without its index is an error.

mod client;
mod message;
mod reply;
mod server;
mod stream;
mod tool;
mod wire;

pub use crate::openai_failure::write_failure;
pub use client::{ChatReader, read_failure, read_reply, write_request};
pub use reply::{EMPTY_LIST, write_model, write_models, write_reply, write_reply_as};
pub use server::{CallForm, ChatRequest, read_request};
pub use stream::ChatStream;
