//! Anthropic Messages, as we serve it and as we call it.
//!
//! Sources: the Anthropic API reference ("Messages", "Streaming", "Errors", the migration guide
//! of version 2026-10-21) and the accumulators of the official SDKs: every event needs its
//! `event:` line, block indexes are contiguous, and `usage` stands in both `message_start` and
//! `message_delta`.

mod client;
mod message;
mod raw;
mod reply;
mod server;
mod stream;
mod tool;
mod wire;

pub use client::{MessagesReader, read_failure, read_reply, write_request};
pub use reply::{write_count, write_model, write_models, write_reply};
pub use server::{ApiVersion, MessagesRequest, read_request, write_failure};
pub use stream::MessagesStream;
