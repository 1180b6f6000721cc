//! Writes whole replies and the model list.

use model::{Block, Completion, Dialect, Reasoning, StopReason, ToolCall, ToolCallInput, Usage};

use crate::ReplyHead;
use crate::json::{compact, push_escaped, push_number, push_optional, push_string};

/// Appends the body of a reply that is not streamed.
pub fn write_reply(head: &ReplyHead, completion: &Completion, out: &mut Vec<u8>) {
    push_head(out, head);
    out.extend_from_slice(br#","content":["#);
    let mut first = true;
    for block in &completion.content {
        let before = out.len();
        if !first {
            out.push(b',');
        }
        if push_block(out, block) {
            first = false;
        } else {
            out.truncate(before);
        }
    }
    out.extend_from_slice(br#"],"container":null,"stop_reason":""#);
    out.extend_from_slice(stop_reason(completion.reason, completion.has_tool_calls()).as_bytes());
    out.extend_from_slice(br#"","stop_sequence":"#);
    push_optional(out, completion.stop_sequence.as_deref());
    out.extend_from_slice(br#","stop_details":null,"usage":"#);
    push_usage(out, head, completion.usage);
    out.push(b'}');
}

/// Appends what every reply begins with, up to and including `model`.
pub(super) fn push_head(out: &mut Vec<u8>, head: &ReplyHead) {
    out.extend_from_slice(br#"{"id":"msg_"#);
    out.extend_from_slice(head.id.hex().to_string().as_bytes());
    out.extend_from_slice(br#"","type":"message","role":"assistant","model":"#);
    push_string(out, &head.model);
}

/// Appends a block; false where the dialect has no place for it.
fn push_block(out: &mut Vec<u8>, block: &Block) -> bool {
    match block {
        // The real API refuses empty text blocks when they come back.
        Block::Text(text) if text.text.is_empty() => false,
        Block::Text(text) => {
            out.extend_from_slice(br#"{"type":"text","text":"#);
            push_string(out, &text.text);
            out.extend_from_slice(br#","citations":null}"#);
            true
        }
        Block::ToolCall(call) => {
            push_call_opening(out, call);
            out.extend_from_slice(input_object(&call.input).as_bytes());
            out.extend_from_slice(CALL_CLOSING);
            true
        }
        Block::Reasoning(reasoning) => match shown(reasoning) {
            Some(Shown::Signed(signature)) => {
                out.extend_from_slice(br#"{"type":"thinking","thinking":"#);
                push_string(out, &reasoning.text);
                out.extend_from_slice(br#","signature":"#);
                push_string(out, signature);
                out.push(b'}');
                true
            }
            Some(Shown::Redacted(text)) => {
                push_redacted(out, text);
                true
            }
            None => false,
        },
        Block::Media(_) | Block::ToolResult(_) | Block::Opaque(_) => false,
    }
}

/// What of a reasoning block may be shown. Thinking without a real signature would be refused
/// when the client sends it back.
pub(super) enum Shown<'a> {
    /// A thinking block with its signature.
    Signed(&'a str),
    /// A redacted block with its ciphertext.
    Redacted(&'a str),
}

/// What of a reasoning block may be shown, if anything.
pub(super) fn shown(reasoning: &Reasoning) -> Option<Shown<'_>> {
    if reasoning.dialect != Dialect::AnthropicMessages {
        return None;
    }
    let filled = |text: &&String| !text.is_empty();
    match (reasoning.signature.as_ref().filter(filled), reasoning.encrypted.as_ref().filter(filled))
    {
        (Some(signature), _) => Some(Shown::Signed(signature)),
        (None, Some(text)) => Some(Shown::Redacted(text)),
        (None, None) => None,
    }
}

/// Appends a whole redacted block.
pub(super) fn push_redacted(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(br#"{"type":"redacted_thinking","data":"#);
    push_string(out, text);
    out.push(b'}');
}

/// Ends what [`push_call_opening`] began.
pub(super) const CALL_CLOSING: &[u8] = br#","caller":{"type":"direct"}}"#;

/// Appends a tool call up to its `input`.
pub(super) fn push_call_opening(out: &mut Vec<u8>, call: &ToolCall) {
    out.extend_from_slice(br#"{"type":"tool_use","id":"#);
    push_string(out, &call.id);
    out.extend_from_slice(br#","name":"#);
    push_string(out, &call.name);
    out.extend_from_slice(br#","input":"#);
}

/// The input of a call as a JSON object, which is all that this dialect has: text and arguments
/// that are none stand under `input`.
pub(super) fn input_object(input: &ToolCallInput) -> String {
    let wrap = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = br#"{"input":"#.to_vec();
        write(&mut out);
        out.push(b'}');
        String::from_utf8_lossy(&out).into_owned()
    };
    match input {
        ToolCallInput::Json(json) if json.as_str().starts_with('{') => json.as_str().to_owned(),
        ToolCallInput::Json(json) => wrap(&|out| out.extend_from_slice(json.as_str().as_bytes())),
        ToolCallInput::Broken(text) => match compact(if text.is_empty() { "{}" } else { text }) {
            Some(json) if json.as_str().starts_with('{') => json.as_str().to_owned(),
            _ => wrap(&|out| push_string(out, text)),
        },
        ToolCallInput::Text(text) => wrap(&|out| {
            out.push(b'"');
            push_escaped(out, text);
            out.push(b'"');
        }),
    }
}

/// The stop reason in Anthropic's words. Tool calls decide over what the upstream reports.
pub(super) const fn stop_reason(reason: StopReason, has_calls: bool) -> &'static str {
    if has_calls {
        return "tool_use";
    }
    match reason {
        StopReason::EndTurn | StopReason::ToolUse => "end_turn",
        StopReason::StopSequence => "stop_sequence",
        StopReason::MaxTokens => "max_tokens",
        StopReason::Refusal => "refusal",
    }
}

/// Appends the usage object; counts are never zero.
pub(super) fn push_usage(out: &mut Vec<u8>, head: &ReplyHead, usage: Usage) {
    let cached = usage.cached_input.saturating_add(usage.cache_write);
    let input = match usage.input {
        0 if cached == 0 => head.input_tokens.max(1),
        input => input,
    };
    for (key, number) in [
        (r#"{"input_tokens":"#, input),
        (r#","cache_creation_input_tokens":"#, usage.cache_write),
        (r#","cache_read_input_tokens":"#, usage.cached_input),
        (r#","cache_creation":{"ephemeral_5m_input_tokens":"#, usage.cache_write),
        (r#","ephemeral_1h_input_tokens":0},"output_tokens":"#, usage.output.max(1)),
    ] {
        out.extend_from_slice(key.as_bytes());
        push_number(out, number);
    }
    out.extend_from_slice(
        br#","output_tokens_details":null,"server_tool_use":null,"inference_geo":null,"service_tier":"standard"}"#,
    );
}

/// Writes the answer of `POST /v1/messages/count_tokens`.
pub fn write_count(tokens: u64) -> Vec<u8> {
    let mut out = br#"{"input_tokens":"#.to_vec();
    push_number(&mut out, tokens);
    out.push(b'}');
    out
}

/// Writes a page of `GET /v1/models`; `more` says whether others follow.
pub fn write_models(models: &[&str], more: bool) -> Vec<u8> {
    let mut out = br#"{"data":["#.to_vec();
    for (at, id) in models.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_model(&mut out, id);
    }
    out.extend_from_slice(if more { br#"],"has_more":true"# } else { br#"],"has_more":false"# });
    out.extend_from_slice(br#","first_id":"#);
    push_optional(&mut out, models.first().copied());
    out.extend_from_slice(br#","last_id":"#);
    push_optional(&mut out, models.last().copied());
    out.push(b'}');
    out
}

/// Writes `GET /v1/models/{id}`.
pub fn write_model(id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    push_model(&mut out, id);
    out
}

fn push_model(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(br#"{"type":"model","id":"#);
    push_string(out, id);
    out.extend_from_slice(br#","display_name":"#);
    push_string(out, id);
    // The bridge knows none of these of a host's model; the SDKs want them to be there.
    out.extend_from_slice(
        br#","created_at":"2026-01-01T00:00:00Z","lifecycle":"active","max_input_tokens":200000,"max_tokens":64000}"#,
    );
}
