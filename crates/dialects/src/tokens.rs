//! Estimates of tokens, because MCP hosts report no usage and their tokenizers are unknown.
//!
//! What it is: a count by runs of letters, digits, marks and white space, whose costs were fitted
//! once against the `o200k_base` encoding; no vocabulary is loaded. What it is *not*: exact. The
//! measured error is in `docs/wire/tokens.md` and a test holds it.
//!
//! Invariant: appending text never lowers a count. Every cost is charged for what has been seen
//! and never taken back, so the tables hold no negative number.

mod scan;
mod weights;

use model::{
    Block, Completion, CompletionRequest, MediaKind, OutputFormat, ToolCallInput, ToolInput,
};

use scan::{Class, Sink, scan};

/// What a message costs on top of its text: its role and its two ends.
const PER_MESSAGE: u64 = 4;

/// What opens the reply, once per request.
const PER_REQUEST: u64 = 3;

/// What a picture costs whose size is not known without decoding it.
const PER_IMAGE: u64 = 1600;

/// What a tool costs on top of its name, description and schema.
const PER_TOOL: u64 = 8;

/// Estimates the tokens of a text; 0 only for the empty text.
pub fn estimate_text(text: &str) -> u64 {
    let mut sum = Sum(0);
    scan(text, &mut sum);
    // A lone blank waits for the word that takes it, but a text is never free.
    sum.0.div_ceil(weights::UNIT).max(u64::from(!text.is_empty()))
}

/// Estimates the tokens that a request makes the model read, at least 1.
pub fn estimate_input(request: &CompletionRequest) -> u64 {
    let mut total = PER_REQUEST;
    if !request.system.is_empty() {
        total += PER_MESSAGE + blocks(&request.system);
    }
    for message in &request.messages {
        total += PER_MESSAGE + blocks(&message.content);
    }
    for tool in &request.tools {
        total += PER_TOOL + estimate_text(&tool.name);
        total += tool.description.as_deref().map_or(0, estimate_text);
        total += match &tool.input {
            ToolInput::Schema(json) | ToolInput::FreeText(json) => {
                json.as_ref().map_or(0, |json| estimate_text(json.as_str()))
            }
            ToolInput::Hosted(opaque) => estimate_text(opaque.json.as_str()),
        };
    }
    if let OutputFormat::JsonSchema { schema, description, .. } = &request.output {
        total += estimate_text(schema.as_str());
        total += description.as_deref().map_or(0, estimate_text);
    }
    total
}

/// Estimates the tokens that a reply holds, at least 1.
pub fn estimate_output(completion: &Completion) -> u64 {
    blocks(&completion.content).max(1)
}

/// Makes an estimate that leans high, for clients that compact their history by it.
///
/// Anthropic's tokenizers split finer than `o200k_base`; a count that is too low makes a client
/// overrun the model's context, one that is too high only makes it compact earlier.
pub fn lean_high(tokens: u64) -> u64 {
    tokens.saturating_add(tokens.div_ceil(4))
}

fn blocks(blocks: &[Block]) -> u64 {
    blocks.iter().map(block).sum()
}

fn block(block: &Block) -> u64 {
    match block {
        Block::Text(text) => estimate_text(&text.text),
        Block::Media(media) => match media.kind {
            MediaKind::Image | MediaKind::Audio | MediaKind::File => PER_IMAGE,
        },
        Block::ToolCall(call) => {
            let input = match &call.input {
                ToolCallInput::Json(json) => json.as_str(),
                ToolCallInput::Broken(text) | ToolCallInput::Text(text) => text,
            };
            PER_MESSAGE + estimate_text(&call.name) + estimate_text(input)
        }
        Block::ToolResult(result) => PER_MESSAGE + blocks(&result.content),
        Block::Reasoning(reasoning) => {
            let summary: u64 = reasoning.summary.iter().map(|part| estimate_text(part)).sum();
            summary + estimate_text(&reasoning.text)
        }
        Block::Opaque(opaque) => estimate_text(opaque.json.as_str()),
    }
}

/// Adds up the costs of the runs of a text.
struct Sum(u64);

impl Sink for Sum {
    #[inline]
    fn run(&mut self, class: Class, length: usize) {
        self.0 += weights::cost(class, length);
    }
}
