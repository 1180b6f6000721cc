//! Wire formats to and from the model.
//!
//! What it is: pure functions over bytes; each dialect has `wire.rs` (the structs of the wire),
//! `server.rs` where we serve it (read requests, write replies, events and failures) and
//! `client.rs` where we call it. What it is *not*: I/O, policy, or a converter between two
//! dialects: a dialect is translated to the model and never names another one.
//!
//! Start with the `server.rs` of a dialect and [`StreamWriter`].
//!
//! Invariants: readers never panic and bound their depth; a writer never puts a raw line break
//! into a frame; what cannot be carried is refused by name or named as a [`model::Loss`].

pub mod anthropic_messages;
mod calling;
pub mod digest;
mod extras;
pub mod hosted_items;
pub mod json;
mod lenient;
pub mod mcp_sampling;
mod media;
pub mod openai_chat;
pub mod openai_completions;
mod openai_failure;
mod openai_params;
pub mod openai_responses;
pub mod prompted_tools;
mod reply;
pub mod sse;
pub mod stream;
pub mod structured_output;
pub mod tokens;
pub mod tool_table;
mod uncarried;

pub use prompted_tools::{HistorySteps, NonceSecret, PromptedReply, ToolPrompt};
pub use reply::ReplyHead;
pub use stream::{StreamReader, StreamWriter};
pub use tool_table::{ToolEntry, ToolTable};
