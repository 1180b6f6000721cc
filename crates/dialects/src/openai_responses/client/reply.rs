//! Reads whole responses.

use model::{
    Block, Completion, Dialect, Failure, Loss, LossSet, ModelName, Opaque, StopReason, Usage,
};
use serde_json::value::RawValue;

use super::super::items::{read_call, read_reasoning};
use super::super::wire;
use crate::calling::{failed, read_failure_in_stream, unreadable};
use crate::json::compact_raw;
use crate::lenient::Count;

/// Reads the body of a reply that is not streamed.
///
/// # Errors
/// [`model::FailureKind::UpstreamFailed`] where the body is no response, and the upstream's own
/// error where the response failed.
pub fn read_reply(body: &[u8]) -> Result<Completion, Failure> {
    let response: wire::ResponseObject<'_> = serde_json::from_slice(body).map_err(unreadable)?;
    check_failed(&response)?;
    let Some(output) = &response.output else {
        return Err(failed("The upstream's answer has no output."));
    };
    let mut said = Said::default();
    let mut content = Vec::with_capacity(output.len());
    for raw in output {
        content.append(&mut said.item(raw)?);
    }
    Ok(Completion {
        reason: said.reason(&response),
        content,
        stop_sequence: None,
        usage: read_usage(response.usage.as_ref()),
        losses: said.losses,
        model: ModelName::new(response.model.unwrap_or_default()),
    })
}

/// Turns a response that failed into its failure.
pub(super) fn check_failed(response: &wire::ResponseObject<'_>) -> Result<(), Failure> {
    let failed_word = matches!(response.status.as_deref(), Some("failed" | "cancelled"));
    match response.error {
        Some(error) => Err(read_failure_in_stream(&format!(r#"{{"error":{}}}"#, error.get()))),
        None if failed_word => Err(failed("The upstream gave the response up.")),
        None => Ok(()),
    }
}

/// What the items of a response say together.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) losses: LossSet,
    pub(super) refused: bool,
    has_calls: bool,
}

impl Said {
    /// Reads an item of the output: the texts of a message, or one block.
    pub(super) fn item(&mut self, raw: &RawValue) -> Result<Vec<Block>, Failure> {
        let head: wire::Head<'_> = serde_json::from_str(raw.get()).map_err(unreadable)?;
        let inside = |failure: Failure| {
            failed("The upstream's answer could not be read.").with_source(failure)
        };
        Ok(match head.kind.as_deref().unwrap_or_default() {
            "message" => {
                let item: wire::SaidItem<'_> =
                    serde_json::from_str(raw.get()).map_err(unreadable)?;
                let mut texts = Vec::new();
                for part in item.content.into_iter().flatten() {
                    self.refused |= part.refusal.is_some();
                    match part.text.or(part.refusal) {
                        Some(text) if text.is_empty() => {}
                        Some(text) => texts.push(Block::text(text)),
                        None => self.losses.insert(Loss::ReplyBlock),
                    }
                }
                texts
            }
            kind @ ("function_call" | "custom_tool_call") => {
                self.has_calls = true;
                let call = read_call(raw, "output", kind == "custom_tool_call").map_err(inside)?;
                vec![Block::ToolCall(call)]
            }
            "reasoning" => vec![Block::Reasoning(read_reasoning(raw, "output").map_err(inside)?)],
            kind => {
                let json = compact_raw(raw)
                    .ok_or_else(|| failed("The upstream's answer nests too deep."))?;
                let kind = kind.to_owned();
                vec![Block::Opaque(Opaque { dialect: Dialect::OpenAiResponses, kind, json })]
            }
        })
    }

    /// Why the response ended. Calls decide over what the upstream reports, but for its bound:
    /// arguments that are cut must be known as such.
    pub(super) fn reason(&self, response: &wire::ResponseObject<'_>) -> StopReason {
        let details = response.incomplete_details.as_ref();
        match details.and_then(|details| details.reason.as_deref()) {
            Some("max_output_tokens") => StopReason::MaxTokens,
            _ if self.has_calls => StopReason::ToolUse,
            Some(_) => StopReason::Refusal,
            None if self.refused => StopReason::Refusal,
            None => StopReason::EndTurn,
        }
    }
}

/// Reads the usage; input tokens include those of caches. Without any it is zero and marked as an
/// estimate, which whoever calls has to make.
pub(super) fn read_usage(usage: Option<&wire::Usage>) -> Usage {
    let Some(usage) = usage else {
        return Usage { estimated: true, ..Usage::default() };
    };
    let count = |count: Option<Count>| {
        count.and_then(|count| count.within(0, u64::MAX)).unwrap_or_default()
    };
    let input = usage.input_details.as_ref();
    let cached_input = count(input.and_then(|details| details.cached));
    let cache_write = count(input.and_then(|details| details.written));
    Usage {
        input: count(usage.input).saturating_sub(cached_input).saturating_sub(cache_write),
        output: count(usage.output),
        cached_input,
        cache_write,
        reasoning: count(usage.output_details.as_ref().and_then(|details| details.reasoning)),
        estimated: false,
    }
}
