//! Writes a streamed reply as chunks.

use model::{BlockKind, CompletionEvent, Failure, FailureKind, StopReason, StreamFault, Usage};

use super::reply::{add, push_head, push_place, push_usage};
use crate::json::push_string;
use crate::openai_failure::write_failure;
use crate::sse::{close_frame, pieces};
use crate::{ReplyHead, StreamWriter};

/// One streamed text completion.
#[derive(Debug)]
pub struct TextStream {
    head: ReplyHead,
    include_usage: bool,
    /// A chunk up to and including `"choices":[`.
    opening: Vec<u8>,
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    /// Whether the open block is text; this dialect has no place for any other.
    in_text: bool,
    usage: Usage,
    finished: bool,
}

impl TextStream {
    /// A stream with as many choices as `head` says. With `include_usage` a usage chunk ends it.
    pub fn new(head: ReplyHead, include_usage: bool) -> Self {
        let mut opening = b"data: ".to_vec();
        push_head(&mut opening, &head);
        let choices = (0..head.choices.max(1)).map(|_| Choice::default()).collect();
        Self { head, include_usage, opening, choices }
    }

    fn push_chunk(&self, out: &mut Vec<u8>, choice: u8, text: &str, reason: Option<StopReason>) {
        let start = out.len();
        out.extend_from_slice(&self.opening);
        out.extend_from_slice(br#"{"text":"#);
        push_string(out, text);
        push_place(out, choice.into(), reason);
        out.extend_from_slice(if self.include_usage { br#"],"usage":null}"# } else { b"]}" });
        close_frame(out, start);
    }
}

impl StreamWriter for TextStream {
    fn begin(&mut self, out: &mut Vec<u8>) {
        for choice in 0..self.head.choices.max(1) {
            self.push_chunk(out, choice, "", None);
        }
    }

    fn event(&mut self, choice: u8, event: CompletionEvent, out: &mut Vec<u8>) {
        let Some(state) = self.choices.get_mut(usize::from(choice)) else {
            return;
        };
        match event {
            CompletionEvent::Started { .. } => {}
            CompletionEvent::BlockStarted { kind, .. } => {
                state.in_text = matches!(kind, BlockKind::Text);
            }
            CompletionEvent::BlockDelta { delta, .. } => {
                if state.in_text {
                    // Room for the whole burst: a host's answer comes in one delta.
                    out.reserve(delta.len() + (delta.len() / 40 + 1) * (self.opening.len() + 80));
                    for piece in pieces(&delta) {
                        self.push_chunk(out, choice, piece, None);
                    }
                }
            }
            CompletionEvent::BlockStopped { .. } => state.in_text = false,
            CompletionEvent::Usage(usage) => state.usage = usage,
            CompletionEvent::Finished { reason, .. } => {
                state.finished = true;
                self.push_chunk(out, choice, "", Some(reason));
            }
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
            for choice in &self.choices {
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
