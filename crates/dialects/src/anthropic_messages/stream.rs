//! Writes a streamed reply as events.

use model::{
    BlockKind, CompletionEvent, Failure, FailureKind, StopReason, StreamFault, ToolCall,
    ToolCallInput, Usage,
};

use super::reply::{
    CALL_CLOSING, Shown, input_object, push_call_opening, push_head, push_redacted, push_usage,
    shown, stop_reason,
};
use super::server::write_failure;
use crate::json::{push_number, push_optional, push_string};
use crate::sse::{close_frame, pieces};
use crate::{ReplyHead, StreamWriter};

/// One streamed Messages reply. It has one choice; events of others are not written.
#[derive(Debug)]
pub struct MessagesStream {
    head: ReplyHead,
    done_marker: bool,
    /// How many blocks have been started on the wire.
    blocks: u64,
    open: Open,
    has_calls: bool,
    usage: Usage,
    finished: bool,
}

/// The block that is open.
#[derive(Debug, Default)]
enum Open {
    /// None, or one that this dialect has no place for.
    #[default]
    Hidden,
    /// Text of which nothing has come: it is started with its first piece, because an empty text
    /// block is refused when the client sends it back.
    EmptyText,
    Text,
    /// Thinking, with the signature that ends it.
    Thinking(String),
    /// A call whose input is gathered, because it may have to be wrapped to be an object.
    Gathering(ToolCallInput),
    /// A block that has been written whole but for its end.
    Written,
}

impl MessagesStream {
    /// A stream. With `done_marker` it ends with `data: [DONE]` as the prototype's did.
    pub const fn new(head: ReplyHead, done_marker: bool) -> Self {
        Self {
            head,
            done_marker,
            blocks: 0,
            open: Open::Hidden,
            has_calls: false,
            usage: Usage {
                input: 0,
                output: 0,
                cached_input: 0,
                cache_write: 0,
                reasoning: 0,
                estimated: true,
            },
            finished: false,
        }
    }

    /// Starts a block with the object that `block` writes.
    fn start_block(&mut self, out: &mut Vec<u8>, block: impl FnOnce(&mut Vec<u8>)) {
        let start = open_event(out, "content_block_start");
        out.extend_from_slice(br#","index":"#);
        push_number(out, self.blocks);
        out.extend_from_slice(br#","content_block":"#);
        block(out);
        out.push(b'}');
        close_frame(out, start);
        self.blocks += 1;
    }

    /// Appends one delta of the block started last; `kind` and `field` name it.
    fn push_delta(&self, out: &mut Vec<u8>, kind: &str, field: &str, piece: &str) {
        let start = open_event(out, "content_block_delta");
        out.extend_from_slice(br#","index":"#);
        push_number(out, self.blocks.saturating_sub(1));
        for part in [r#","delta":{"type":""#, kind, r#"",""#, field, r#"":"#] {
            out.extend_from_slice(part.as_bytes());
        }
        push_string(out, piece);
        out.extend_from_slice(b"}}");
        close_frame(out, start);
    }

    fn push_deltas(&self, out: &mut Vec<u8>, kind: &str, field: &str, text: &str) {
        // Room for the whole burst: a host's answer comes in one delta.
        out.reserve(text.len() + (text.len() / 40 + 1) * 136);
        for piece in pieces(text) {
            self.push_delta(out, kind, field, piece);
        }
    }

    fn block_started(&mut self, kind: BlockKind, out: &mut Vec<u8>) {
        self.open = match kind {
            BlockKind::Text => Open::EmptyText,
            BlockKind::Reasoning(reasoning) => match shown(&reasoning) {
                None => Open::Hidden,
                Some(Shown::Redacted(text)) => {
                    self.start_block(out, |out| push_redacted(out, text));
                    Open::Written
                }
                Some(Shown::Signed(signature)) => {
                    self.start_block(out, |out| {
                        out.extend_from_slice(
                            br#"{"type":"thinking","thinking":"","signature":""}"#,
                        );
                    });
                    Open::Thinking(signature.to_owned())
                }
            },
            BlockKind::ToolCall(call) => self.call_started(call, out),
            BlockKind::Opaque(_) => Open::Hidden,
        };
    }

    fn call_started(&mut self, call: ToolCall, out: &mut Vec<u8>) -> Open {
        self.has_calls = true;
        self.start_block(out, |out| {
            push_call_opening(out, &call);
            out.extend_from_slice(b"{}");
            out.extend_from_slice(CALL_CLOSING);
        });
        self.push_delta(out, "input_json_delta", "partial_json", "");
        match call.input {
            // The whole JSON is here; the deltas that repeat it are skipped.
            input @ ToolCallInput::Json(_) => {
                self.push_input(out, &input);
                Open::Written
            }
            input => Open::Gathering(input),
        }
    }

    /// Appends the input of a call. An empty object is what the start of the block says already.
    fn push_input(&self, out: &mut Vec<u8>, input: &ToolCallInput) {
        let object = input_object(input);
        if object != "{}" {
            self.push_deltas(out, "input_json_delta", "partial_json", &object);
        }
    }

    fn block_delta(&mut self, delta: &str, out: &mut Vec<u8>) {
        if delta.is_empty() {
            return;
        }
        if matches!(self.open, Open::EmptyText) {
            self.start_block(out, |out| {
                out.extend_from_slice(br#"{"type":"text","text":"","citations":null}"#);
            });
            self.open = Open::Text;
        }
        match &mut self.open {
            Open::Text => self.push_deltas(out, "text_delta", "text", delta),
            Open::Thinking(_) => self.push_deltas(out, "thinking_delta", "thinking", delta),
            Open::Gathering(ToolCallInput::Broken(text) | ToolCallInput::Text(text)) => {
                text.push_str(delta);
            }
            Open::Hidden | Open::EmptyText | Open::Written | Open::Gathering(_) => {}
        }
    }

    fn block_stopped(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.open) {
            Open::Hidden | Open::EmptyText => return,
            Open::Text | Open::Written => {}
            Open::Thinking(signature) => {
                self.push_delta(out, "signature_delta", "signature", &signature);
            }
            Open::Gathering(input) => self.push_input(out, &input),
        }
        let start = open_event(out, "content_block_stop");
        out.extend_from_slice(br#","index":"#);
        push_number(out, self.blocks.saturating_sub(1));
        out.push(b'}');
        close_frame(out, start);
    }

    fn push_end(&mut self, reason: StopReason, stop_sequence: Option<&str>, out: &mut Vec<u8>) {
        self.finished = true;
        let start = open_event(out, "message_delta");
        out.extend_from_slice(br#","delta":{"stop_reason":""#);
        out.extend_from_slice(stop_reason(reason, self.has_calls).as_bytes());
        out.extend_from_slice(br#"","stop_sequence":"#);
        push_optional(out, stop_sequence);
        out.extend_from_slice(br#","stop_details":null,"container":null},"usage":"#);
        push_usage(out, &self.head, self.usage);
        out.push(b'}');
        close_frame(out, start);
    }
}

impl StreamWriter for MessagesStream {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let start = open_event(out, "message_start");
        out.extend_from_slice(br#","message":"#);
        push_head(out, &self.head);
        out.extend_from_slice(
            br#","content":[],"container":null,"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":"#,
        );
        push_usage(out, &self.head, Usage::default());
        out.extend_from_slice(b"}}");
        close_frame(out, start);
        self.keep_alive(out);
    }

    fn event(&mut self, choice: u8, event: CompletionEvent, out: &mut Vec<u8>) {
        if choice != 0 {
            return;
        }
        match event {
            CompletionEvent::Started { .. } => {}
            CompletionEvent::BlockStarted { kind, .. } => self.block_started(kind, out),
            CompletionEvent::BlockDelta { delta, .. } => self.block_delta(&delta, out),
            CompletionEvent::BlockStopped { .. } => self.block_stopped(out),
            CompletionEvent::Usage(usage) => self.usage = usage,
            CompletionEvent::Finished { reason, stop_sequence } => {
                self.push_end(reason, stop_sequence.as_deref(), out);
            }
        }
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n");
    }

    fn failure(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        let start = out.len();
        out.append(&mut write_failure(failure, self.head.id).1);
        close_frame(out, start);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if !self.finished {
            // A stream without its end is a failure, not a short answer.
            let fault = StreamFault::NotFinished;
            self.failure(&Failure::new(FailureKind::UpstreamFailed, fault.to_string()), out);
            return;
        }
        out.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
        if self.done_marker {
            out.extend_from_slice(b"data: [DONE]\n\n");
        }
    }
}

/// Appends the `event:` line and the payload up to its `type`; returns where the payload begins.
fn open_event(out: &mut Vec<u8>, name: &str) -> usize {
    for part in ["event: ", name, "\ndata: "] {
        out.extend_from_slice(part.as_bytes());
    }
    let start = out.len();
    for part in [r#"{"type":""#, name, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
    start
}
