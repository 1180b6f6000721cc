//! Reads whole replies.

use model::{
    Block, Completion, Dialect, Failure, Json, Loss, LossSet, ModelName, Opaque, Reasoning,
    StopReason, ToolCall, ToolCallInput, Usage,
};
use serde_json::value::RawValue;

use super::super::wire;
use crate::calling::{failed, read_failure_in_stream, unreadable};
use crate::json::{compact, compact_raw};
use crate::lenient::Count;

/// Reads the body of a reply that is not streamed.
///
/// # Errors
/// [`model::FailureKind::UpstreamFailed`] where the body is no reply, and the upstream's own error
/// where it reports one in a success.
pub fn read_reply(body: &[u8]) -> Result<Completion, Failure> {
    let reply: wire::Reply<'_> = serde_json::from_slice(body).map_err(unreadable)?;
    let Some(blocks) = reply.content else {
        if reply.error.is_some() {
            return Err(read_failure_in_stream(&String::from_utf8_lossy(body)));
        }
        return Err(failed("The upstream's answer has no content."));
    };
    let mut losses = LossSet::EMPTY;
    let mut content = Vec::with_capacity(blocks.len());
    for raw in blocks {
        let block: wire::Block<'_> = serde_json::from_str(raw.get()).map_err(unreadable)?;
        // Where a text was found is for its own dialect alone.
        if block.citations.is_some_and(|raw| !matches!(raw.get(), "[]" | "null")) {
            losses.insert(Loss::ReplyBlock);
        }
        match read_block(block, raw)? {
            Block::Text(text) if text.text.is_empty() => {}
            block => content.push(block),
        }
    }
    let has_calls = content.iter().any(|block| matches!(block, Block::ToolCall(_)));
    Ok(Completion {
        model: ModelName::new(reply.model.unwrap_or_default()),
        reason: read_reason(reply.stop_reason.as_deref(), has_calls),
        content,
        stop_sequence: reply.stop_sequence,
        usage: Counts::default().add(reply.usage).usage(),
        losses,
    })
}

/// Reads a block; what is not known here is kept for its own dialect.
fn read_block(block: wire::Block<'_>, raw: &RawValue) -> Result<Block, Failure> {
    let kind = block.kind.as_deref().unwrap_or_default();
    Ok(match kind {
        "text" => Block::text(block.text.unwrap_or_default()),
        "tool_use" => {
            let input = block.input.map_or("{}", RawValue::get);
            let (id, name) = (block.id.unwrap_or_default(), block.name.unwrap_or_default());
            Block::ToolCall(read_call(id, name, input)?)
        }
        "thinking" => {
            let signature = block.signature.filter(|signature| !signature.is_empty());
            thought(block.thinking.unwrap_or_default(), signature, None)
        }
        "redacted_thinking" => thought(String::new(), None, block.data),
        kind => opaque(kind, compact_raw(raw))?,
    })
}

/// A block that only this dialect understands.
pub(super) fn opaque(kind: &str, json: Option<Json>) -> Result<Block, Failure> {
    let json = json.ok_or_else(|| failed("The upstream's answer nests too deep."))?;
    let kind = kind.to_owned();
    Ok(Block::Opaque(Opaque { dialect: Dialect::AnthropicMessages, kind, json }))
}

/// A call that is whole. Nobody could run one without a name.
pub(super) fn read_call(id: String, name: String, input: &str) -> Result<ToolCall, Failure> {
    if name.is_empty() {
        return Err(failed("The upstream's answer holds a tool call without a name."));
    }
    let text = if input.trim_ascii().is_empty() { "{}" } else { input };
    let input = match compact(text) {
        Some(json) => ToolCallInput::Json(json),
        None => ToolCallInput::Broken(input.to_owned()),
    };
    Ok(ToolCall { id, item_id: None, name, namespace: None, input, cache: None })
}

/// A thought that is whole.
pub(super) const fn thought(
    text: String,
    signature: Option<String>,
    encrypted: Option<String>,
) -> Block {
    Block::Reasoning(Reasoning {
        id: None,
        summary: Vec::new(),
        text,
        signature,
        encrypted,
        dialect: Dialect::AnthropicMessages,
    })
}

/// Why the reply ended. Calls decide over what the upstream reports, but for its bound: arguments
/// that are cut must be known as such.
pub(super) fn read_reason(word: Option<&str>, has_calls: bool) -> StopReason {
    match word {
        Some("max_tokens" | "model_context_window_exceeded") => StopReason::MaxTokens,
        _ if has_calls => StopReason::ToolUse,
        Some("stop_sequence") => StopReason::StopSequence,
        Some("refusal") => StopReason::Refusal,
        Some("tool_use") => StopReason::ToolUse,
        _ => StopReason::EndTurn,
    }
}

/// Tokens as reported so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    known: bool,
    usage: Usage,
}

impl Counts {
    /// Takes a report; what it leaves out stays as it was.
    pub(super) fn add(mut self, report: Option<wire::Usage>) -> Self {
        let Some(report) = report else { return self };
        self.known = true;
        let set = |field: &mut u64, count: Option<Count>| {
            if let Some(count) = count.and_then(|count| count.within(0, u64::MAX)) {
                *field = count;
            }
        };
        set(&mut self.usage.input, report.input);
        set(&mut self.usage.output, report.output);
        set(&mut self.usage.cached_input, report.cached);
        set(&mut self.usage.cache_write, report.written);
        self
    }

    /// The tokens. Without a report they are zero and marked as an estimate, which whoever calls
    /// has to make.
    pub(super) const fn usage(self) -> Usage {
        Usage { estimated: !self.known, ..self.usage }
    }
}
