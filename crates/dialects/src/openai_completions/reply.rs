//! Writes whole replies.

use model::{Block, Completion, StopReason, Usage};

use crate::ReplyHead;
use crate::json::{push_escaped, push_number, push_string};

/// Appends the body of a reply that is not streamed.
pub fn write_reply(head: &ReplyHead, completions: &[Completion], out: &mut Vec<u8>) {
    let mut usage = Usage::default();
    push_head(out, head);
    for (at, completion) in completions.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(br#"{"text":""#);
        for block in &completion.content {
            if let Block::Text(text) = block {
                push_escaped(out, &text.text);
            }
        }
        out.push(b'"');
        push_place(out, u64::try_from(at).unwrap_or(u64::MAX), Some(completion.reason));
        add(&mut usage, completion.usage);
    }
    out.extend_from_slice(br#"],"usage":"#);
    push_usage(out, head, usage);
    out.push(b'}');
}

/// Appends what every reply and chunk begins with, up to and including `"choices":[`.
pub(super) fn push_head(out: &mut Vec<u8>, head: &ReplyHead) {
    out.extend_from_slice(br#"{"id":"cmpl-"#);
    out.extend_from_slice(head.id.hex().to_string().as_bytes());
    out.extend_from_slice(br#"","object":"text_completion","created":"#);
    push_number(out, head.created);
    out.extend_from_slice(br#","model":"#);
    push_string(out, &head.model);
    out.extend_from_slice(br#","choices":["#);
}

/// Appends what stands behind the text of a choice, with its end.
pub(super) fn push_place(out: &mut Vec<u8>, choice: u64, reason: Option<StopReason>) {
    out.extend_from_slice(br#","index":"#);
    push_number(out, choice);
    out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
    out.extend_from_slice(match reason {
        None => b"null}".as_slice(),
        Some(StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse) => br#""stop"}"#,
        Some(StopReason::MaxTokens) => br#""length"}"#,
        Some(StopReason::Refusal) => br#""content_filter"}"#,
    });
}

/// Adds the tokens of one choice: each is a sampling of its own that reads the prompt.
pub(super) const fn add(sum: &mut Usage, usage: Usage) {
    let read = usage.input.saturating_add(usage.cached_input).saturating_add(usage.cache_write);
    sum.input = sum.input.saturating_add(read);
    sum.output = sum.output.saturating_add(usage.output);
}

/// Appends the usage object; counts are never zero.
pub(super) fn push_usage(out: &mut Vec<u8>, head: &ReplyHead, usage: Usage) {
    let prompt = if usage.input == 0 { head.input_tokens.max(1) } else { usage.input };
    let completion = usage.output.max(1);
    for (key, number) in [
        (r#"{"prompt_tokens":"#, prompt),
        (r#","completion_tokens":"#, completion),
        (r#","total_tokens":"#, prompt.saturating_add(completion)),
    ] {
        out.extend_from_slice(key.as_bytes());
        push_number(out, number);
    }
    out.push(b'}');
}
