//! Writes whole responses.

use model::{Block, CallId, Completion, Json, StopReason, Usage};

use super::Echo;
use super::item::{
    ItemKind, NO_ARGUMENTS, Output, Progress, escaped, push_call, push_message, push_opaque,
    push_reasoning, shows_reasoning, whole_input,
};
use crate::ReplyHead;
use crate::json::{push_number, push_string};

/// A response that is written and ended well.
#[derive(Debug)]
pub struct Written {
    /// The whole response object.
    pub json: Vec<u8>,
    pub(super) output: Output,
}

impl Written {
    /// Bytes of its output.
    pub fn output_bytes(&self) -> usize {
        self.output.json().len()
    }

    /// The items of its output, each for itself.
    pub fn items(&self) -> Vec<Json> {
        self.output.items()
    }
}

/// Writes the body of a reply that is not streamed. `now` is in seconds since the Unix epoch.
pub fn write_reply(head: &ReplyHead, echo: &Echo, now: u64, completion: &Completion) -> Written {
    let end = End::new(completion.reason, completion.has_tool_calls());
    let output = write_output(head.id, &completion.content, end);
    let mut json = Vec::with_capacity(1024 + echo.bytes() + output.json().len());
    let status = Status::Ended { end, now, usage: completion.usage };
    push_response(&mut json, head, echo, &status, output.json());
    Written { json, output }
}

fn write_output(call: CallId, content: &[Block], end: End) -> Output {
    let mut output = Output::default();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for block in content {
        let written = match block {
            Block::Text(text) if text.text.is_empty() => continue,
            Block::Text(text) => {
                parts.push(escaped(&text.text));
                continue;
            }
            Block::ToolCall(_) => true,
            Block::Reasoning(reasoning) => shows_reasoning(reasoning),
            Block::Opaque(opaque) => push_opaque(&mut Vec::new(), opaque),
            Block::Media(_) | Block::ToolResult(_) => false,
        };
        if written {
            close_message(&mut output, call, &mut parts, Progress::Done);
            add_block(&mut output, call, block);
        }
    }
    // A response without any item would break clients that look into the first one.
    if output.count() == 0 && parts.is_empty() {
        parts.push(Vec::new());
    }
    close_message(&mut output, call, &mut parts, end.last_item());
    output
}

fn close_message(output: &mut Output, call: CallId, parts: &mut Vec<Vec<u8>>, progress: Progress) {
    if !parts.is_empty() {
        let id = output.name(ItemKind::Message, None, call);
        output.add(|out| push_message(out, &id, progress, parts));
        parts.clear();
    }
}

fn add_block(output: &mut Output, call_id: CallId, block: &Block) {
    match block {
        Block::ToolCall(call) => {
            let kind = ItemKind::of(call);
            let id = output.name(kind, call.item_id.as_deref(), call_id);
            let mut input = whole_input(call);
            if kind == ItemKind::Function && input.is_empty() {
                input = NO_ARGUMENTS;
            }
            let input = escaped(input);
            output.add(|out| push_call(out, &id, call, Progress::Done, &input));
        }
        Block::Reasoning(reasoning) => {
            let id = output.name(ItemKind::Reasoning, reasoning.id.as_deref(), call_id);
            let text = escaped(&reasoning.text);
            output.add(|out| push_reasoning(out, &id, reasoning, Progress::Done, &text));
        }
        Block::Opaque(opaque) => {
            output.add(|out| {
                push_opaque(out, opaque);
            });
        }
        Block::Text(_) | Block::Media(_) | Block::ToolResult(_) => {}
    }
}

/// How a response ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    /// It was cut, for this reason of the wire.
    Incomplete(&'static str),
}

impl End {
    /// Tool calls decide over what the upstream reports. Only a real cut is incomplete, because
    /// Codex gives such a turn up.
    pub(super) const fn new(reason: StopReason, has_calls: bool) -> Self {
        if has_calls {
            return Self::Completed;
        }
        match reason {
            StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => Self::Completed,
            StopReason::MaxTokens => Self::Incomplete("max_output_tokens"),
            StopReason::Refusal => Self::Incomplete("content_filter"),
        }
    }

    /// The event that ends a stream.
    pub(super) const fn event(self) -> &'static str {
        match self {
            Self::Completed => "response.completed",
            Self::Incomplete(_) => "response.incomplete",
        }
    }

    /// How far a message has come that stands last.
    pub(super) const fn last_item(self) -> Progress {
        match self {
            Self::Completed => Progress::Done,
            Self::Incomplete(_) => Progress::Cut,
        }
    }
}

/// How far a response has come.
#[derive(Debug)]
pub(super) enum Status<'a> {
    Open,
    Ended { end: End, now: u64, usage: Usage },
    Failed { code: &'a str, message: &'a str },
}

/// Appends the whole response object. `output` is its items with commas between them.
pub(super) fn push_response(
    out: &mut Vec<u8>,
    head: &ReplyHead,
    echo: &Echo,
    status: &Status<'_>,
    output: &[u8],
) {
    out.extend_from_slice(br#"{"id":"resp_"#);
    out.extend_from_slice(head.id.hex().to_string().as_bytes());
    out.extend_from_slice(br#"","object":"response","created_at":"#);
    push_number(out, head.created);
    let (word, completed_at, incomplete) = match status {
        Status::Open => ("in_progress", None, None),
        Status::Failed { .. } => ("failed", None, None),
        Status::Ended { end: End::Completed, now, .. } => ("completed", Some(*now), None),
        Status::Ended { end: End::Incomplete(why), .. } => ("incomplete", None, Some(*why)),
    };
    out.extend_from_slice(br#","completed_at":"#);
    match completed_at {
        Some(now) => push_number(out, now),
        None => out.extend_from_slice(b"null"),
    }
    for part in [r#","status":""#, word, r#"","error":"#] {
        out.extend_from_slice(part.as_bytes());
    }
    match status {
        Status::Failed { code, message } => {
            out.extend_from_slice(br#"{"code":"#);
            push_string(out, code);
            out.extend_from_slice(br#","message":"#);
            push_string(out, message);
            out.push(b'}');
        }
        Status::Open | Status::Ended { .. } => out.extend_from_slice(b"null"),
    }
    match incomplete {
        Some(why) => {
            for part in [r#","incomplete_details":{"reason":""#, why, r#""}"#] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        None => out.extend_from_slice(br#","incomplete_details":null"#),
    }
    out.extend_from_slice(br#","model":"#);
    push_string(out, &head.model);
    out.extend_from_slice(br#","output":["#);
    out.extend_from_slice(output);
    out.push(b']');
    echo.push(out);
    out.extend_from_slice(br#","usage":"#);
    match status {
        Status::Ended { usage, .. } => push_usage(out, head, *usage),
        Status::Open | Status::Failed { .. } => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Appends the usage object. Input tokens include cached ones, the model's do not.
fn push_usage(out: &mut Vec<u8>, head: &ReplyHead, usage: Usage) {
    let read = usage.input.saturating_add(usage.cached_input).saturating_add(usage.cache_write);
    let input = if read == 0 { head.input_tokens.max(1) } else { read };
    let output = usage.output.max(1);
    for (key, number) in [
        (r#"{"input_tokens":"#, input),
        (r#","input_tokens_details":{"cached_tokens":"#, usage.cached_input),
        (r#","cache_write_tokens":"#, usage.cache_write),
        (r#"},"output_tokens":"#, output),
        (r#","output_tokens_details":{"reasoning_tokens":"#, usage.reasoning),
        (r#"},"total_tokens":"#, input.saturating_add(output)),
    ] {
        out.extend_from_slice(key.as_bytes());
        push_number(out, number);
    }
    out.push(b'}');
}
