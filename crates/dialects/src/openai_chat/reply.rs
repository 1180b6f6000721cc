//! Writes whole replies and the model list.

use model::{Block, Completion, StopReason, ToolCall, ToolCallInput, Usage};

use super::CallForm;
use crate::ReplyHead;
use crate::json::{push_escaped, push_number, push_string};

/// Appends the body of a reply that is not streamed.
///
/// Besides OpenAI's own fields it holds `text` (the text of the first choice) and `request_id`
/// (the id of the call), which callers of the prototype read.
pub fn write_reply(head: &ReplyHead, completions: &[Completion], out: &mut Vec<u8>) {
    write_reply_as(CallForm::ToolCalls, head, completions, out);
}

/// As [`write_reply`], with tool calls in the form that the caller looks for.
pub fn write_reply_as(
    calls: CallForm,
    head: &ReplyHead,
    completions: &[Completion],
    out: &mut Vec<u8>,
) {
    let mut usage = Usage::default();
    push_head(out, head, "chat.completion");
    out.extend_from_slice(br#","choices":["#);
    for (at, completion) in completions.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_choice(out, at, calls, completion);
        add(&mut usage, completion.usage);
    }
    out.extend_from_slice(br#"],"usage":"#);
    push_usage(out, head, usage);
    out.extend_from_slice(br#","service_tier":"default","text":""#);
    for block in completions.first().map(|first| first.content.as_slice()).unwrap_or_default() {
        if let Block::Text(text) = block {
            push_escaped(out, &text.text);
        }
    }
    out.extend_from_slice(br#"","request_id":""#);
    out.extend_from_slice(head.id.to_string().as_bytes());
    out.extend_from_slice(b"\"}");
}

/// Appends what every reply and chunk begins with, up to and including `model`.
pub(super) fn push_head(out: &mut Vec<u8>, head: &ReplyHead, object: &str) {
    out.extend_from_slice(br#"{"id":"chatcmpl-"#);
    out.extend_from_slice(head.id.hex().to_string().as_bytes());
    out.extend_from_slice(br#"","object":""#);
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(br#"","created":"#);
    push_number(out, head.created);
    out.extend_from_slice(br#","model":"#);
    push_string(out, &head.model);
}

fn push_choice(out: &mut Vec<u8>, at: usize, form: CallForm, completion: &Completion) {
    let calls: Vec<&ToolCall> = completion
        .content
        .iter()
        .filter_map(|block| match block {
            Block::ToolCall(call) => Some(call),
            _ => None,
        })
        .collect();
    let has_text = completion
        .content
        .iter()
        .any(|block| matches!(block, Block::Text(text) if !text.text.is_empty()));
    out.extend_from_slice(br#"{"index":"#);
    push_number(out, u64::try_from(at).unwrap_or(u64::MAX));
    out.extend_from_slice(br#","message":{"role":"assistant","content":"#);
    if has_text || calls.is_empty() {
        out.push(b'"');
        for block in &completion.content {
            if let Block::Text(text) = block {
                push_escaped(out, &text.text);
            }
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(br#","refusal":null,"annotations":[]"#);
    if let (CallForm::FunctionCall, Some(call)) = (form, calls.first()) {
        out.extend_from_slice(br#","function_call":{"name":"#);
        push_string(out, &call.name);
        out.extend_from_slice(br#","arguments":"#);
        push_string(out, input_text(call));
        out.push(b'}');
    } else if !calls.is_empty() {
        out.extend_from_slice(br#","tool_calls":["#);
        for (at, call) in calls.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_call(out, call);
        }
        out.push(b']');
    }
    out.extend_from_slice(br#"},"logprobs":null,"finish_reason":""#);
    out.extend_from_slice(finish_reason(completion.reason, form, !calls.is_empty()).as_bytes());
    out.extend_from_slice(b"\"}");
}

fn push_call(out: &mut Vec<u8>, call: &ToolCall) {
    push_call_opening(out, call);
    push_escaped(out, input_text(call));
    out.extend_from_slice(b"\"}}");
}

fn input_text(call: &ToolCall) -> &str {
    match &call.input {
        ToolCallInput::Json(json) => json.as_str(),
        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => text,
    }
}

/// Appends a call up to the opening quote of its arguments or input.
pub(super) fn push_call_opening(out: &mut Vec<u8>, call: &ToolCall) {
    let (kind, field) = match call.input {
        ToolCallInput::Text(_) => ("custom", "input"),
        ToolCallInput::Json(_) | ToolCallInput::Broken(_) => ("function", "arguments"),
    };
    out.extend_from_slice(br#"{"id":"#);
    push_string(out, &call.id);
    for part in [r#","type":""#, kind, r#"",""#, kind, r#"":{"name":"#] {
        out.extend_from_slice(part.as_bytes());
    }
    push_string(out, &call.name);
    for part in [r#",""#, field, r#"":""#] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The stop reason in OpenAI's words. Tool calls decide over what the upstream reports.
pub(super) const fn finish_reason(
    reason: StopReason,
    form: CallForm,
    has_calls: bool,
) -> &'static str {
    if has_calls {
        return match form {
            CallForm::ToolCalls => "tool_calls",
            CallForm::FunctionCall => "function_call",
        };
    }
    match reason {
        StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => "stop",
        StopReason::MaxTokens => "length",
        StopReason::Refusal => "content_filter",
    }
}

/// Adds the tokens of one choice. Each choice is a sampling of its own that reads the prompt, so
/// the prompt counts once per choice.
pub(super) const fn add(sum: &mut Usage, usage: Usage) {
    sum.input = sum.input.saturating_add(usage.input);
    sum.output = sum.output.saturating_add(usage.output);
    sum.cached_input = sum.cached_input.saturating_add(usage.cached_input);
    sum.cache_write = sum.cache_write.saturating_add(usage.cache_write);
    sum.reasoning = sum.reasoning.saturating_add(usage.reasoning);
}

/// Appends the usage object. OpenAI's prompt tokens include cached ones, the model's do not.
pub(super) fn push_usage(out: &mut Vec<u8>, head: &ReplyHead, usage: Usage) {
    let read = usage.input.saturating_add(usage.cached_input).saturating_add(usage.cache_write);
    let prompt = if read == 0 { head.input_tokens.max(1) } else { read };
    let completion = usage.output.max(1);
    for (key, number) in [
        (r#"{"prompt_tokens":"#, prompt),
        (r#","completion_tokens":"#, completion),
        (r#","total_tokens":"#, prompt.saturating_add(completion)),
        (r#","prompt_tokens_details":{"cached_tokens":"#, usage.cached_input),
        (r#","audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"#, usage.reasoning),
    ] {
        out.extend_from_slice(key.as_bytes());
        push_number(out, number);
    }
    out.extend_from_slice(
        br#","audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
    );
}

/// The body of `GET /v1/chat/completions`: nothing is stored here, so no page holds anything.
pub const EMPTY_LIST: &str =
    r#"{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}"#;

/// Writes `GET /v1/models`. `created` is in seconds since the Unix epoch.
pub fn write_models(models: &[&str], created: u64) -> Vec<u8> {
    let mut out = br#"{"object":"list","data":["#.to_vec();
    for (at, id) in models.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_model(&mut out, id, created);
    }
    out.extend_from_slice(b"]}");
    out
}

/// Writes `GET /v1/models/{id}`. `created` is in seconds since the Unix epoch.
pub fn write_model(id: &str, created: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    push_model(&mut out, id, created);
    out
}

fn push_model(out: &mut Vec<u8>, id: &str, created: u64) {
    out.extend_from_slice(br#"{"id":"#);
    push_string(out, id);
    out.extend_from_slice(br#","object":"model","created":"#);
    push_number(out, created);
    out.extend_from_slice(br#","owned_by":"mcptb"}"#);
}
