//! What a translation could not carry, by name.

use std::borrow::Cow;
use std::fmt;

macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One thing that was asked for and is carried only in part, or not at all.
        ///
        /// The list is closed and holds no caller text: the names appear in the `x-mcptb-loss`
        /// header and in records. `docs/wire/` says when each arises.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Loss { $($(#[$doc])* $name,)* }

        impl Loss {
            /// Every loss there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name on the wire and in records.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

losses! {
    /// Token counts are our estimate; the upstream reports none.
    UsageEstimated = "usage-estimated",
    /// `max_tokens` was lowered to the configured cap.
    MaxTokensClamped = "max-tokens-clamped",
    /// `top_p` has no field in MCP sampling.
    TopP = "top-p",
    /// `top_k` has no field in MCP sampling.
    TopK = "top-k",
    /// `frequency_penalty` has no field in MCP sampling.
    FrequencyPenalty = "frequency-penalty",
    /// `presence_penalty` has no field in MCP sampling.
    PresencePenalty = "presence-penalty",
    /// `logit_bias` has no field in MCP sampling.
    LogitBias = "logit-bias",
    /// `prediction` has no field in MCP sampling.
    Prediction = "prediction",
    /// A system message in mid-conversation became marked user text.
    SystemInPlace = "system-in-place",
    /// A trailing assistant message (prefill) is followed by a request to continue it.
    Prefill = "prefill",
    /// The conversation began with the assistant; a user turn was put before it.
    FirstTurn = "first-turn",
    /// Thinking blocks of an earlier answer were left out; the host did not make them.
    Reasoning = "reasoning",
    /// The wish for image resolution has no field in MCP sampling.
    ImageDetail = "image-detail",
    /// Speaker names of messages have no field in MCP sampling.
    MessageName = "message-name",
    /// The model hint was left out because this host fails on it.
    ModelHint = "model-hint",
    /// The host answered with a block that the caller's dialect has no place for.
    ReplyBlock = "reply-block",
    /// Hosted tools that the client lists by default are not run here.
    HostedTools = "hosted-tools",
    /// The host has no tools in sampling: they stand in the prompt, and calls are read from text.
    ToolsPrompted = "tools-prompted",
    /// A tool call was demanded and the model made none.
    ToolChoice = "tool-choice",
    /// One tool call at most was allowed and the model made several: only the first is passed on.
    ParallelToolCalls = "parallel-tool-calls",
    /// What looks like a tool call could not be read as one.
    ToolMarkup = "tool-markup",
    /// Arguments of a tool call were mended or changed to fit the schema.
    ToolArguments = "tool-arguments",
    /// `strict` of a tool is told to nobody: arguments may break the schema.
    ToolStrict = "tool-strict",
    /// The grammar of a free-text tool is told to the model, not enforced.
    ToolGrammar = "tool-grammar",
    /// A parameter of a tool whose schema is none is offered without one.
    ToolSchema = "tool-schema",
    /// A tool result without its call became text of the user.
    OrphanResult = "orphan-result",
    /// A tool call without its result got an empty one.
    UnansweredCall = "unanswered-call",
    /// Media that cannot be carried became a word in brackets.
    MediaOmitted = "media-omitted",
    /// The shape of the answer is asked for in the prompt and checked, not enforced by the model.
    OutputPrompted = "output-prompted",
    /// The first answer lacked the call or the shape asked for; the model was asked once more.
    OutputRepaired = "output-repaired",
    /// The answer is JSON, but does not match a schema that is not strict.
    OutputMismatch = "output-mismatch",
    /// A `pattern` of the schema cannot be checked in linear time, and was not.
    OutputPattern = "output-pattern",
    /// Something about the shape of the answer has no place in the upstream's dialect.
    OutputFormat = "output-format",
    /// A cache mark has no place in the upstream's dialect.
    CacheMark = "cache-mark",
    /// Fields or blocks that only the caller's dialect understands were left out.
    DialectFields = "dialect-fields",
    /// The name of a picture, file or sound has no place in the upstream's dialect.
    MediaName = "media-name",
    /// A tool has another name upstream, whose dialect has no namespaces or fewer characters.
    ToolName = "tool-name",
    /// A free-text tool became a function with one string.
    ToolFreeText = "tool-free-text",
    /// That a tool failed has no place in the upstream's dialect; what it said has.
    ToolError = "tool-error",
    /// Tools that may not be called in this turn are not shown to the model.
    AllowedTools = "allowed-tools",
    /// Blocks of a turn stand in the order that the upstream's dialect has.
    BlockOrder = "block-order",
    /// Stop sequences have no place in the upstream's dialect; the bridge cuts the answer itself.
    Stop = "stop",
    /// The temperature was lowered to the most that the upstream's dialect takes.
    Temperature = "temperature",
    /// The upstream's dialect has no such effort of reasoning.
    ReasoningEffort = "reasoning-effort",
    /// `max_tool_calls` is not counted.
    MaxToolCalls = "max-tool-calls",
    /// Log probabilities are reported by no host.
    Logprobs = "logprobs",
    /// Answers other than text are made by no host.
    Modalities = "modalities",
    /// `background` was ignored: the answer is made at once.
    Background = "background",
    /// `conversation` was ignored: conversations are not kept here.
    Conversation = "conversation",
    /// `prompt` was ignored: prompt templates are not kept here.
    PromptTemplate = "prompt-template",
    /// More replies were asked for than one call may have.
    Choices = "choices",
    /// A text to be completed became a message of the user.
    PromptAsMessage = "prompt-as-message",
    /// Of several replies the best was to be chosen: only as many as were wanted are made.
    BestOf = "best-of",
    /// The prompt was to be repeated before the reply.
    Echo = "echo",
    /// A text behind the reply was given: no model is told.
    Suffix = "suffix",
    /// No token was asked for: nothing was sampled, and the answer is empty.
    NoTokens = "no-tokens",
    /// An earlier response or item that the request points to is not kept here; it was left out.
    NotKept = "not-kept",
    /// Items of the history that only the provider can read, or that it made with its own tools,
    /// were left out.
    HostedItems = "hosted-items",
}

/// A set of [`Loss`], cheap to copy.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct LossSet(u64);

impl LossSet {
    /// Nothing lost.
    pub const EMPTY: Self = Self(0);

    /// Adds one.
    pub fn insert(&mut self, loss: Loss) {
        self.0 |= 1 << loss as u8;
    }

    /// Whether it holds `loss`.
    pub const fn contains(self, loss: Loss) -> bool {
        self.0 & (1 << loss as u8) != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set as bits, for places that hold it in an atomic.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set that [`bits`](Self::bits) came from.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether nothing is lost.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The losses in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Loss> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = usize::try_from(left.trailing_zeros()).ok()?;
            left &= left.wrapping_sub(1);
            // The number of a loss is its place in the list.
            Loss::ALL.get(lowest).copied()
        })
    }

    /// The names with commas between them, as in `x-mcptb-loss`.
    pub fn names(self) -> Cow<'static, str> {
        let mut losses = self.iter();
        match (losses.next(), losses.next()) {
            (None, _) => Cow::Borrowed(""),
            (Some(only), None) => Cow::Borrowed(only.as_str()),
            (Some(_), Some(_)) => Cow::Owned(self.to_string()),
        }
    }
}

impl FromIterator<Loss> for LossSet {
    fn from_iter<I: IntoIterator<Item = Loss>>(losses: I) -> Self {
        let mut set = Self::EMPTY;
        for loss in losses {
            set.insert(loss);
        }
        set
    }
}

impl fmt::Display for LossSet {
    /// The names with commas between them, as in `x-mcptb-loss`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, loss) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(loss.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for LossSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Loss, LossSet};

    #[test]
    fn every_loss_has_a_bit_and_a_name_of_its_own() {
        assert!(Loss::ALL.len() <= 64);
        let all: LossSet = Loss::ALL.iter().copied().collect();
        assert!(all.iter().eq(Loss::ALL.iter().copied()));
        for loss in Loss::ALL {
            assert!(LossSet::from_iter([*loss]).iter().eq([*loss]));
        }
        let mut names: Vec<_> = Loss::ALL.iter().map(|loss| loss.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Loss::ALL.len());
    }

    #[test]
    fn prints_as_a_header() {
        let set: LossSet = [Loss::TopP, Loss::UsageEstimated].into_iter().collect();
        assert_eq!(set.to_string(), "usage-estimated, top-p");
        assert_eq!(LossSet::EMPTY.to_string(), "");
        for set in [set, LossSet::EMPTY, LossSet::from_iter([Loss::TopP])] {
            assert_eq!(set.names(), set.to_string());
        }
    }
}
