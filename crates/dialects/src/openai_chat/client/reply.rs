//! Reads whole replies.

use model::{
    Block, Completion, Dialect, Failure, Loss, LossSet, ModelName, Reasoning, StopReason, ToolCall,
    ToolCallInput, Usage,
};
use serde_json::value::RawValue;

use super::super::message::read_arguments;
use super::super::wire;
use crate::calling::{failed, read_failure_in_stream, unreadable};
use crate::lenient::{Count, TextOr, TextOrObject};

/// Reads the body of a reply that is not streamed; of several choices the first.
///
/// # Errors
/// [`model::FailureKind::UpstreamFailed`] where the body is no reply, and the upstream's own error
/// where it reports one in a success, as some do.
pub fn read_reply(body: &[u8]) -> Result<Completion, Failure> {
    let reply: wire::Reply<'_> = serde_json::from_slice(body).map_err(unreadable)?;
    let choice = reply.choices.into_iter().flatten().next();
    let Some(choice) = choice else {
        if let Some(error) = reply.error {
            return Err(read_error(error));
        }
        return Err(failed("The upstream's answer holds no choice."));
    };
    let said = choice.message.unwrap_or_default();
    let mut losses = LossSet::EMPTY;
    let mut content = Vec::new();
    content.extend(read_thought(said.reasoning_content, said.reasoning).map(thought));
    let refusal = said.refusal.filter(|text| !text.is_empty());
    let refused = refusal.is_some();
    content.extend(refusal.map(Block::text));
    for text in read_texts(said.content, &mut losses) {
        content.push(Block::text(text));
    }
    for call in said.tool_calls.into_iter().flatten() {
        content.push(Block::ToolCall(read_call(call)?));
    }
    if let Some(call) = said.function_call {
        let call = wire::SaidCall { function: Some(call), ..wire::SaidCall::default() };
        content.push(Block::ToolCall(read_call(call)?));
    }
    let has_calls = content.iter().any(|block| matches!(block, Block::ToolCall(_)));
    Ok(Completion {
        model: ModelName::new(reply.model.unwrap_or_default()),
        reason: read_reason(choice.finish_reason.as_deref(), has_calls, refused),
        content,
        stop_sequence: None,
        usage: read_usage(reply.usage),
        losses,
    })
}

/// An error inside of a success.
pub(super) fn read_error(error: &RawValue) -> Failure {
    read_failure_in_stream(&format!(r#"{{"error":{}}}"#, error.get()))
}

/// The thinking of a reply or chunk, whichever name it has.
pub(super) fn read_thought(
    content: Option<String>,
    other: Option<TextOrObject<wire::Nothing>>,
) -> Option<String> {
    let other = match other {
        Some(TextOrObject::Text(text)) => Some(text),
        Some(TextOrObject::Object(_)) | None => None,
    };
    content.or(other).filter(|text| !text.is_empty())
}

/// A thought that stands whole.
pub(super) const fn thought(text: String) -> Block {
    Block::Reasoning(Reasoning {
        id: None,
        summary: Vec::new(),
        text,
        signature: None,
        encrypted: None,
        dialect: Dialect::OpenAiChat,
    })
}

/// The texts of a reply or chunk that are not empty.
pub(super) fn read_texts(
    content: Option<TextOr<wire::Part<'_>>>,
    losses: &mut LossSet,
) -> Vec<String> {
    let mut texts = Vec::new();
    match content {
        None => {}
        Some(TextOr::Text(text)) => texts.push(text),
        Some(TextOr::Items(parts)) => {
            for part in parts {
                match part.text.or(part.refusal) {
                    Some(text) => texts.push(text),
                    None => losses.insert(Loss::ReplyBlock),
                }
            }
        }
    }
    texts.retain(|text| !text.is_empty());
    texts
}

fn read_call(call: wire::SaidCall<'_>) -> Result<ToolCall, Failure> {
    let (name, input) = if call.kind.as_deref() == Some("custom") {
        let custom = call.custom.unwrap_or_default();
        (custom.name, ToolCallInput::Text(custom.input.unwrap_or_default()))
    } else {
        let function = call.function.unwrap_or_default();
        (function.name, read_arguments(arguments(function.arguments)))
    };
    finish_call(call.id.unwrap_or_default(), name.unwrap_or_default(), input)
}

/// A call that is whole. Nobody could run one without a name.
pub(super) fn finish_call(
    id: String,
    name: String,
    input: ToolCallInput,
) -> Result<ToolCall, Failure> {
    if name.is_empty() {
        return Err(failed("The upstream's answer holds a tool call without a name."));
    }
    Ok(ToolCall { id, item_id: None, name, namespace: None, input, cache: None })
}

/// The text of arguments, or of a piece of them.
pub(super) fn arguments(raw: Option<&RawValue>) -> String {
    let Some(raw) = raw.map(RawValue::get) else { return String::new() };
    if raw.starts_with('"') {
        serde_json::from_str(raw).unwrap_or_default()
    } else {
        raw.to_owned()
    }
}

/// Why the reply ended. Calls decide over what the upstream reports, but for its bound: arguments
/// that are cut must be known as such.
pub(super) fn read_reason(word: Option<&str>, has_calls: bool, refused: bool) -> StopReason {
    match word {
        Some("length") => StopReason::MaxTokens,
        _ if has_calls => StopReason::ToolUse,
        Some("content_filter") => StopReason::Refusal,
        _ if refused => StopReason::Refusal,
        _ => StopReason::EndTurn,
    }
}

/// Reads the usage; OpenAI's prompt tokens include those of caches. Without any it is zero and
/// marked as an estimate, which whoever calls has to make.
pub(super) fn read_usage(usage: Option<wire::Usage>) -> Usage {
    let Some(usage) = usage else {
        return Usage { estimated: true, ..Usage::default() };
    };
    let count = |count: Option<Count>| {
        count.and_then(|count| count.within(0, u64::MAX)).unwrap_or_default()
    };
    let prompt = usage.prompt_details.unwrap_or_default();
    let completion = usage.completion_details.unwrap_or_default();
    let cached_input = count(prompt.cached);
    let cache_write = count(prompt.written);
    Usage {
        input: count(usage.prompt_tokens).saturating_sub(cached_input).saturating_sub(cache_write),
        output: count(usage.completion_tokens),
        cached_input,
        cache_write,
        reasoning: count(completion.reasoning),
        estimated: false,
    }
}
