//! What a caller wants.

use crate::{Block, CacheMark, Json, LossSet, ModelAlias, Opaque};

/// One request for a completion, in no dialect's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompletionRequest {
    /// The model that the caller named.
    pub model: ModelAlias,
    /// Leading system and developer text.
    pub system: Vec<Block>,
    /// How many messages of the caller's list went to `system`: a failure that names a place in
    /// `messages` counts from there.
    pub leading: usize,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether and which tools must be called.
    pub tool_choice: ToolChoice,
    /// Whether several tools may be called in one turn; `None` where the caller did not say.
    pub parallel_tool_calls: Option<bool>,
    /// The shape of the answer.
    pub output: OutputFormat,
    /// Sampling parameters.
    pub params: GenerationParams,
    /// What becomes of parameters that cannot be carried.
    pub mode: ParamsMode,
    /// What reading the request could not carry and must be named in the answer.
    pub losses: LossSet,
    /// Fields that only the caller's own dialect understands.
    pub extras: Option<Opaque>,
}

/// Who speaks.
///
/// `OpenAI`'s `developer` is [`Role::System`]: no upstream tells the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions in the middle of a conversation; leading ones are in
    /// [`CompletionRequest::system`].
    System,
    /// The caller.
    User,
    /// The model.
    Assistant,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Vec<Block>,
    /// Fields of the turn that only the caller's own dialect understands: a speaker's name, an
    /// item's id, settings that begin with this turn.
    pub extras: Option<Opaque>,
}

impl Message {
    /// A turn that says `content` and nothing beside it.
    pub const fn new(role: Role, content: Vec<Block>) -> Self {
        Self { role, content, extras: None }
    }
}

/// What a tool takes.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolInput {
    /// JSON arguments by this JSON Schema; `None` means no arguments.
    Schema(Option<Json>),
    /// Free text (`OpenAI` custom tools), with its grammar object if any.
    FreeText(Option<Json>),
    /// A tool that the provider itself runs; only its own dialect knows it.
    Hosted(Opaque),
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// Namespace (Responses).
    pub namespace: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// What it takes.
    pub input: ToolInput,
    /// Whether the arguments must follow the schema to the letter.
    pub strict: Option<bool>,
    /// The caller's cache mark behind this tool.
    pub cache: Option<CacheMark>,
    /// Fields that only the caller's own dialect understands, such as `defer_loading` or the
    /// description of the namespace.
    pub extras: Option<Opaque>,
}

/// How a tool is called by name. A namespace may hold a tool of the same name as another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToolName {
    /// Namespace (Responses).
    pub namespace: Option<String>,
    /// Name inside it.
    pub name: String,
}

impl ToolName {
    /// The name of a tool outside all namespaces.
    pub fn new(name: impl Into<String>) -> Self {
        Self { namespace: None, name: name.into() }
    }
}

/// Whether and which tools must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// No tool may be called.
    None,
    /// Some tool must be called.
    Required,
    /// This tool must be called.
    Named(ToolName),
    /// Only these tools may be called.
    Allowed {
        /// Whether one of them must be called.
        required: bool,
        /// Their names.
        names: Vec<ToolName>,
    },
}

/// The shape of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OutputFormat {
    /// Any text.
    #[default]
    Text,
    /// A JSON object of any shape.
    JsonObject,
    /// JSON by a schema.
    JsonSchema {
        /// Name of the schema.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// The schema.
        schema: Json,
        /// Whether the answer must follow it to the letter.
        strict: Option<bool>,
    },
}

/// What becomes of parameters that cannot be carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ParamsMode {
    /// Whatever would be lost is refused.
    Strict,
    /// What would break the contract of the answer is refused, the rest is named as lost.
    #[default]
    Default,
    /// Nothing is refused that can be left out; all of it is named as lost.
    Lenient,
}

impl ParamsMode {
    /// Reads the word for a mode (`strict`, `default`, `lenient`), as in settings and headers.
    pub fn from_word(word: &str) -> Option<Self> {
        match word.trim() {
            "strict" => Some(Self::Strict),
            "default" => Some(Self::Default),
            "lenient" => Some(Self::Lenient),
            _ => None,
        }
    }
}

/// Sampling parameters. `None` means that the caller did not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationParams {
    /// Upper bound of the reply in tokens.
    pub max_tokens: Option<u64>,
    /// Temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Top-k sampling.
    pub top_k: Option<u64>,
    /// Texts that end the reply; they are not part of it.
    pub stop: Vec<String>,
    /// How many replies are wanted; `None` is one.
    pub choices: Option<u8>,
    /// Effort of reasoning, in the caller's word.
    pub reasoning_effort: Option<String>,
}
