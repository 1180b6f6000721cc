//! What an upstream says while it answers.

use crate::{LossSet, ModelName, Opaque, Reasoning, ToolCall};

/// One step of an answer. A finished reply is the fold of its events ([`crate::Fold`]).
#[derive(Clone, Debug, PartialEq)]
pub enum CompletionEvent {
    /// The answer begins. Always first.
    Started {
        /// The model that answers, as the upstream names it.
        model: ModelName,
        /// What the upstream could not carry, as far as known now.
        losses: LossSet,
    },
    /// A block begins. Blocks are strictly one after the other, numbered from 0.
    BlockStarted {
        /// Its number.
        at: u32,
        /// What it is.
        kind: BlockKind,
    },
    /// More of the open block: text, thinking, or a piece of a tool call's JSON.
    BlockDelta {
        /// Its number.
        at: u32,
        /// The piece.
        delta: String,
    },
    /// The open block ends.
    BlockStopped {
        /// Its number.
        at: u32,
    },
    /// Tokens, cumulative: a later report replaces an earlier one.
    Usage(Usage),
    /// The answer ends. Always last; a stream without it is a failure, not a short answer.
    Finished {
        /// Why.
        reason: StopReason,
        /// The stop sequence that was hit, where it is known.
        stop_sequence: Option<String>,
    },
}

/// What kind of block begins.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockKind {
    /// Text; deltas append to it.
    Text,
    /// A tool call. JSON arguments stand here whole where they are known (deltas then repeat them
    /// for streaming writers); otherwise the input is empty text and deltas append to it.
    ToolCall(ToolCall),
    /// Thinking; deltas append to its text.
    Reasoning(Reasoning),
    /// Something that only its own dialect understands. It stands here whole; no deltas follow.
    Opaque(Opaque),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// The model was done.
    EndTurn,
    /// A stop sequence was hit.
    StopSequence,
    /// The token bound was hit.
    MaxTokens,
    /// The model wants tools run.
    ToolUse,
    /// A filter or the model itself refused.
    Refusal,
}

impl StopReason {
    /// A short stable name for logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::StopSequence => "stop_sequence",
            Self::MaxTokens => "max_tokens",
            Self::ToolUse => "tool_use",
            Self::Refusal => "refusal",
        }
    }
}

/// Tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, those from a cache not included.
    pub input: u64,
    /// Tokens written, those of reasoning included.
    pub output: u64,
    /// Tokens read from a cache.
    pub cached_input: u64,
    /// Tokens written to a cache.
    pub cache_write: u64,
    /// Tokens of reasoning.
    pub reasoning: u64,
    /// Whether these are our estimates because the upstream reports none.
    pub estimated: bool,
}
