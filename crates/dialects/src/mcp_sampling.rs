//! MCP `sampling/createMessage`: an MCP host's model as an upstream.
//!
//! What it is: [`write_request`] makes the `params` of the call, [`read_result`] and
//! [`read_error`] read what comes back. What it is *not*: JSON-RPC (that is the crate `mcp`) or
//! the choice of a host.
//!
//! Sampling carries far less than the public dialects, and hosts carry less than the protocol
//! allows. What cannot be carried is refused with the name of the field, or carried
//! approximately and named as a [`model::Loss`]; `docs/wire/mcp-sampling.md` holds the table.

mod carried;
mod client;
mod faults;
mod messages;
mod reply;
mod surrogates;
mod tools;
mod turns;
mod wire;

pub use client::write_request;
pub use faults::{HostFault, read_error, read_error_about};
pub use reply::read_result;

use model::{Completion, CompletionRequest};

use crate::ToolTable;
use crate::prompted_tools::ToolPrompt;
use crate::structured_output::OutputCheck;

/// What is asked of a host.
#[derive(Debug)]
pub struct Asking<'r> {
    /// What the caller wants.
    pub request: &'r CompletionRequest,
    /// How tools, and calls in the history, are written.
    pub tools: ToolUse<'r>,
    /// The shape of the answer, where one is asked for.
    pub output: Option<&'r OutputCheck>,
    /// What is said after the conversation, when the first answer would not do.
    pub follow_up: Option<FollowUp<'r>>,
}

impl<'r> Asking<'r> {
    /// A request without tools, calls in its history, and a shape of the answer.
    pub const fn plain(request: &'r CompletionRequest) -> Self {
        Self { request, tools: ToolUse::None, output: None, follow_up: None }
    }
}

/// How tools are written.
#[derive(Debug)]
pub enum ToolUse<'r> {
    /// There are none, and the history holds no calls.
    None,
    /// In the fields that MCP has for them (2025-11-25, where the host declared `sampling.tools`).
    Native(&'r ToolTable<'r>),
    /// In the prompt.
    Prompted {
        /// The tools.
        table: &'r ToolTable<'r>,
        /// Their words.
        prompt: &'r ToolPrompt<'r>,
    },
}

/// Another word with the model about its answer.
#[derive(Clone, Copy, Debug)]
pub struct FollowUp<'r> {
    /// The answer that would not do.
    pub answer: &'r str,
    /// What is asked now.
    pub then: &'r str,
}

/// What a host was found or told to be able to carry, and what the operator wants of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingOptions {
    /// `maxTokens` where the caller gives none; the protocol requires the field.
    pub default_max_tokens: u64,
    /// Upper bound of `maxTokens`, in tokens.
    pub max_tokens_cap: Option<u64>,
    /// Whether the caller's model name may be sent as a hint. Some hosts fail on any
    /// `modelPreferences`.
    pub hints: bool,
    /// The operator's wishes for the choice of a model.
    pub priorities: Priorities,
    /// Asks for a task-augmented call that the host keeps for this many milliseconds.
    pub task_ttl_ms: Option<u64>,
}

/// The operator's wishes for the choice of a model, each from 0 to 1; `None` is not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Priorities {
    /// How much capable models are preferred.
    pub intelligence: Option<f64>,
    /// How much fast models are preferred.
    pub speed: Option<f64>,
    /// How much cheap models are preferred.
    pub cost: Option<f64>,
}

/// What a host answered.
#[derive(Clone, Debug, PartialEq)]
pub enum SamplingReply {
    /// An answer. Hosts report no usage, so it is zero here; see [`crate::tokens`].
    Completion(Completion),
    /// A refusal dressed as a success (GitHub Copilot CLI).
    Cancelled,
    /// The host works on it as a task; the answer is fetched with `tasks/result`.
    Task {
        /// The host's id of the task.
        id: String,
    },
}
