//! Names of models and of wire formats.

use std::fmt;

/// The wire format that a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// OpenAI Chat Completions.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// Anthropic Messages.
    AnthropicMessages,
}

impl Dialect {
    /// A short stable name for logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::AnthropicMessages => "anthropic-messages",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The model name that a caller uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModelAlias(String);

impl ModelAlias {
    /// The prototype's one model name; it still means "whatever the host chooses".
    pub const PROTOTYPE: &'static str = "mcp-external-sampling";

    /// The same for Claude Code, which lists only models with `claude` or `anthropic` in their
    /// names.
    pub const FOR_CLAUDE_CODE: &'static str = "claude-mcp-auto";

    /// Wraps a name as the caller sent it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as sent, possibly empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the caller leaves the choice to the host: `auto`, empty, the prototype's name, or
    /// the one for Claude Code.
    pub fn is_auto(&self) -> bool {
        Self::means_auto(&self.0)
    }

    /// The same for a name that is not wrapped.
    pub fn means_auto(name: &str) -> bool {
        matches!(name.trim(), "" | "auto" | Self::PROTOTYPE | Self::FOR_CLAUDE_CODE)
    }
}

/// The model name that an upstream reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModelName(String);

impl ModelName {
    /// Wraps a name as the upstream sent it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name, possibly empty where the upstream named none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
