//! Reads the result of a sampling request.

use model::{
    Block, Completion, Failure, FailureKind, Loss, LossSet, ModelName, Retry, StopReason, ToolCall,
    ToolCallInput, Usage,
};

use super::wire::{Content, ContentBlock, SamplingResult};
use super::{SamplingReply, surrogates};

/// Reads the `result` of `sampling/createMessage` or `tasks/result`.
///
/// Lenient, because hosts differ: VS Code sends no stop reason, others an array, a bare string
/// or no model. Blocks that an answer has no place for are left out and named as
/// [`Loss::ReplyBlock`]. Fails with [`FailureKind::UpstreamFailed`], not to be
/// retried, if there is no content at all.
pub fn read_result(json: &[u8]) -> Result<SamplingReply, Failure> {
    let unreadable = |error: serde_json::Error| {
        no_answer("The MCP host's answer could not be read.").with_source(error)
    };
    match serde_json::from_slice(json) {
        Ok(result) => read(result),
        Err(error) => match surrogates::mend(json) {
            Some(mended) => read(serde_json::from_slice(&mended).map_err(unreadable)?),
            None => Err(unreadable(error)),
        },
    }
}

fn read(result: SamplingResult<'_>) -> Result<SamplingReply, Failure> {
    if let Some(reason) = &result.stop_reason
        && is_cancelled(reason)
    {
        return Ok(SamplingReply::Cancelled);
    }
    match (result.content, result.task.and_then(|task| task.id)) {
        (Some(content), _) => {
            let mut losses = LossSet::EMPTY;
            let content = read_blocks(content, &mut losses);
            let reason = read_reason(result.stop_reason.as_deref(), &content);
            Ok(SamplingReply::Completion(Completion {
                model: ModelName::new(result.model.unwrap_or_default()),
                content,
                reason,
                stop_sequence: None,
                usage: Usage::default(),
                losses,
            }))
        }
        (None, Some(id)) => Ok(SamplingReply::Task { id }),
        (None, None) => Err(no_answer("The MCP host's answer has no content.")),
    }
}

/// The sampling is paid for; the next one would be as well.
fn no_answer(why: &str) -> Failure {
    Failure::new(FailureKind::UpstreamFailed, why).with_retry(Retry::Never)
}

/// GitHub Copilot CLI answers a refusal with a success whose stop reason is `cancelled`.
fn is_cancelled(reason: &str) -> bool {
    reason.eq_ignore_ascii_case("cancelled") || reason.eq_ignore_ascii_case("canceled")
}

fn read_blocks(content: Content<'_>, losses: &mut LossSet) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(content.0.len());
    for block in content.0 {
        match block.and_then(read_block) {
            Some(Block::Text(text)) if text.text.is_empty() => {}
            Some(block) => blocks.push(block),
            None => losses.insert(Loss::ReplyBlock),
        }
    }
    blocks
}

/// Reads a block, or `None` for what an answer has no place for.
fn read_block(block: ContentBlock<'_>) -> Option<Block> {
    match block.kind.as_deref() {
        Some("text") | None => block.text.map(Block::text),
        Some("tool_use") => {
            let text = block.input.map_or("{}", serde_json::value::RawValue::get);
            let input = match crate::json::compact(text) {
                Some(json) => ToolCallInput::Json(json),
                None => ToolCallInput::Broken(text.to_owned()),
            };
            Some(Block::ToolCall(ToolCall {
                // Some hosts give none; whoever passes the call on has to.
                id: block.id.unwrap_or_default(),
                item_id: None,
                name: block.name?,
                namespace: None,
                input,
                cache: None,
            }))
        }
        Some(_) => None,
    }
}

/// Reads the stop reason, an open list: the protocol names four, hosts pass on their provider's.
///
/// A tool call in the answer decides alone, because clients that are told of a call must find
/// one and the other way round.
fn read_reason(reason: Option<&str>, content: &[Block]) -> StopReason {
    if content.iter().any(|block| matches!(block, Block::ToolCall(_))) {
        return StopReason::ToolUse;
    }
    match reason {
        None => StopReason::EndTurn,
        Some("stopSequence" | "stop_sequence") => StopReason::StopSequence,
        Some("maxTokens" | "max_tokens" | "length") => StopReason::MaxTokens,
        Some(other) => {
            let other = other.to_ascii_lowercase();
            if ["filter", "refus", "safety"].iter().any(|word| other.contains(word)) {
                StopReason::Refusal
            } else {
                StopReason::EndTurn
            }
        }
    }
}
