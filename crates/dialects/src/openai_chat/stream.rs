//! Writes a streamed reply as chunks.

use std::mem;

use model::{
    BlockKind, CompletionEvent, Failure, FailureKind, StopReason, StreamFault, ToolCallInput, Usage,
};

use super::CallForm;
use super::reply::{add, finish_reason, push_call_opening, push_head, push_usage};
use crate::json::{push_number, push_string};
use crate::openai_failure::write_failure;
use crate::sse::{close_frame, pieces};
use crate::{ReplyHead, StreamWriter};

/// One streamed Chat Completions reply.
#[derive(Debug)]
pub struct ChatStream {
    head: ReplyHead,
    include_usage: bool,
    calls: CallForm,
    /// A chunk up to and including `"choices":[`.
    opening: Vec<u8>,
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    calls: u64,
    block: Open,
    usage: Usage,
    finished: bool,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    /// None, or one that this dialect has no place for.
    #[default]
    Hidden,
    Text,
    Arguments,
    CustomInput,
}

impl ChatStream {
    /// A stream with as many choices as `head` says. With `include_usage` a usage chunk ends it.
    pub fn new(head: ReplyHead, include_usage: bool) -> Self {
        let mut opening = b"data: ".to_vec();
        push_head(&mut opening, &head, "chat.completion.chunk");
        opening.extend_from_slice(br#","service_tier":"default","choices":["#);
        let choices = (0..head.choices.max(1)).map(|_| Choice::default()).collect();
        Self { head, include_usage, calls: CallForm::ToolCalls, opening, choices }
    }

    /// The same stream with tool calls in the form that the caller looks for.
    #[must_use]
    pub const fn with_calls(mut self, calls: CallForm) -> Self {
        self.calls = calls;
        self
    }

    /// Appends a chunk of one choice whose `delta` is written by `delta`.
    fn push_chunk(
        &self,
        out: &mut Vec<u8>,
        choice: u8,
        finish: Option<&str>,
        delta: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = out.len();
        out.extend_from_slice(&self.opening);
        out.extend_from_slice(br#"{"index":"#);
        push_number(out, choice.into());
        out.extend_from_slice(br#","delta":{"#);
        delta(out);
        match finish {
            None => out.extend_from_slice(br#"},"logprobs":null,"finish_reason":null}]"#),
            Some(reason) => {
                out.extend_from_slice(br#"},"logprobs":null,"finish_reason":""#);
                out.extend_from_slice(reason.as_bytes());
                out.extend_from_slice(br#""}]"#);
            }
        }
        out.extend_from_slice(if self.include_usage { br#","usage":null}"# } else { b"}" });
        close_frame(out, start);
    }

    fn push_text(&self, out: &mut Vec<u8>, choice: u8, text: &str) {
        // Room for the whole burst: a host's answer comes in one delta.
        out.reserve(text.len() + (text.len() / 40 + 1) * (self.opening.len() + 112));
        for piece in pieces(text) {
            self.push_chunk(out, choice, None, |out| {
                out.extend_from_slice(br#""content":"#);
                push_string(out, piece);
            });
        }
    }

    /// Appends pieces of a call's arguments or custom input.
    fn push_input(&self, out: &mut Vec<u8>, choice: u8, call: u64, custom: bool, text: &str) {
        for piece in pieces(text) {
            self.push_chunk(out, choice, None, |out| {
                if self.calls == CallForm::FunctionCall {
                    out.extend_from_slice(br#""function_call":{"arguments":"#);
                    push_string(out, piece);
                    out.push(b'}');
                    return;
                }
                out.extend_from_slice(br#""tool_calls":[{"index":"#);
                push_number(out, call);
                out.extend_from_slice(if custom {
                    br#","custom":{"input":"#
                } else {
                    br#","function":{"arguments":"#
                });
                push_string(out, piece);
                out.extend_from_slice(b"}}]");
            });
        }
    }

    fn start_block(&mut self, choice: u8, kind: &BlockKind, out: &mut Vec<u8>) {
        let Some(state) = self.choices.get_mut(usize::from(choice)) else {
            return;
        };
        let call = match kind {
            BlockKind::Text => {
                state.block = Open::Text;
                return;
            }
            BlockKind::Reasoning(_) | BlockKind::Opaque(_) => {
                state.block = Open::Hidden;
                return;
            }
            BlockKind::ToolCall(call) => call,
        };
        let at = state.calls;
        state.calls += 1;
        let legacy = self.calls == CallForm::FunctionCall;
        if legacy && at > 0 {
            // There is room for one, and more than one was not allowed.
            state.block = Open::Hidden;
            return;
        }
        state.block = match call.input {
            // The whole JSON is here; the deltas that repeat it are skipped.
            ToolCallInput::Json(_) => Open::Hidden,
            ToolCallInput::Broken(_) => Open::Arguments,
            ToolCallInput::Text(_) => Open::CustomInput,
        };
        self.push_chunk(out, choice, None, |out| {
            if legacy {
                out.extend_from_slice(br#""function_call":{"name":"#);
                push_string(out, &call.name);
                out.extend_from_slice(br#","arguments":""}"#);
                return;
            }
            out.extend_from_slice(br#""tool_calls":[{"index":"#);
            push_number(out, at);
            let mut opening = Vec::new();
            push_call_opening(&mut opening, call);
            // The index comes first, where the object itself would begin.
            out.push(b',');
            out.extend_from_slice(opening.get(1..).unwrap_or_default());
            out.extend_from_slice(br#""}}]"#);
        });
        if let ToolCallInput::Json(json) = &call.input {
            self.push_input(out, choice, at, false, json.as_str());
        }
    }

    fn finish(&mut self, choice: u8, reason: StopReason, out: &mut Vec<u8>) {
        let Some(state) = self.choices.get_mut(usize::from(choice)) else {
            return;
        };
        state.finished = true;
        let reason = finish_reason(reason, self.calls, state.calls > 0);
        self.push_chunk(out, choice, Some(reason), |_| {});
    }
}

impl StreamWriter for ChatStream {
    fn begin(&mut self, out: &mut Vec<u8>) {
        for choice in 0..self.head.choices.max(1) {
            self.push_chunk(out, choice, None, |out| {
                out.extend_from_slice(br#""role":"assistant","content":"","refusal":null"#);
            });
        }
    }

    fn event(&mut self, choice: u8, event: CompletionEvent, out: &mut Vec<u8>) {
        let Some(state) = self.choices.get_mut(usize::from(choice)) else {
            return;
        };
        match event {
            CompletionEvent::Started { .. } => {}
            CompletionEvent::BlockStarted { kind, .. } => self.start_block(choice, &kind, out),
            CompletionEvent::BlockDelta { delta, .. } => {
                let (block, call) = (state.block, state.calls.saturating_sub(1));
                match block {
                    Open::Hidden => {}
                    Open::Text => self.push_text(out, choice, &delta),
                    Open::Arguments => self.push_input(out, choice, call, false, &delta),
                    Open::CustomInput => self.push_input(out, choice, call, true, &delta),
                }
            }
            CompletionEvent::BlockStopped { .. } => state.block = Open::Hidden,
            CompletionEvent::Usage(usage) => state.usage = usage,
            CompletionEvent::Finished { reason, .. } => self.finish(choice, reason, out),
        }
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": keepalive\n\n");
    }

    fn failure(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"data: ");
        out.append(&mut write_failure(failure).1);
        close_frame(out, start);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.choices.iter().any(|choice| !choice.finished) {
            // A stream without its end is a failure, not a short answer.
            let fault = StreamFault::NotFinished;
            self.failure(&Failure::new(FailureKind::UpstreamFailed, fault.to_string()), out);
            return;
        }
        if self.include_usage {
            let mut usage = Usage::default();
            for choice in mem::take(&mut self.choices) {
                add(&mut usage, choice.usage);
            }
            let start = out.len();
            out.extend_from_slice(&self.opening);
            out.extend_from_slice(br#"],"usage":"#);
            push_usage(out, &self.head, usage);
            out.push(b'}');
            close_frame(out, start);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
