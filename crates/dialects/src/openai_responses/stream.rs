//! Writes a streamed response as events.
//!
//! The grammar repeats itself: the end of a part, of an item and of the response each show the
//! text once more, so it is kept until the end, in its escaped form.

use std::mem;

use model::{
    BlockKind, CompletionEvent, Failure, FailureKind, Reasoning, StopReason, StreamFault, ToolCall,
    ToolCallInput, Usage,
};

use super::Echo;
use super::failure::{push_error_event, response_code, response_message};
use super::frames::{Frames, Place};
use super::item::{
    ItemKind, NO_ARGUMENTS, Output, Progress, escaped, push_call, push_message, push_opaque,
    push_part, push_reasoning, push_summary, push_thought, shows_reasoning, whole_input,
};
use super::reply::{End, Status, Written, push_response};
use crate::{ReplyHead, StreamWriter};

/// One streamed response. It has one choice; events of others are not written.
#[derive(Debug)]
pub struct ResponsesStream {
    head: ReplyHead,
    echo: Echo,
    /// Seconds since the Unix epoch, asked once, at the end.
    clock: fn() -> u64,
    frames: Frames,
    /// The message that is open: text that follows text is another part of it.
    message: Option<Message>,
    block: Open,
    output: Output,
    has_calls: bool,
    usage: Usage,
    end: Option<End>,
}

/// A message whose end has not been written.
#[derive(Debug)]
struct Message {
    id: String,
    /// The escaped texts of its parts.
    parts: Vec<Vec<u8>>,
}

/// The block that is open.
#[derive(Debug, Default)]
enum Open {
    /// None, or one that this dialect has no place for, or one that has been written whole.
    #[default]
    Hidden,
    /// Text of which nothing has come: its part is opened with its first piece.
    EmptyText,
    /// The last part of the message.
    Text,
    Call(Box<OpenCall>),
    Reasoning(Box<Thought>),
}

#[derive(Debug)]
struct OpenCall {
    id: String,
    made: ToolCall,
    /// Arguments or input, escaped.
    input: Vec<u8>,
    /// Whether the input stood in the opening event, so that deltas only repeat it.
    whole: bool,
}

#[derive(Debug)]
struct Thought {
    id: String,
    reasoning: Reasoning,
    /// Its text, escaped.
    text: Vec<u8>,
}

impl ResponsesStream {
    /// A stream. `clock` gives seconds since the Unix epoch.
    pub fn new(head: ReplyHead, echo: Echo, clock: fn() -> u64) -> Self {
        Self {
            head,
            echo,
            clock,
            frames: Frames::default(),
            message: None,
            block: Open::Hidden,
            output: Output::default(),
            has_calls: false,
            usage: Usage::default(),
            end: None,
        }
    }

    /// How many bytes the output of an answer has whose end is known and not written yet.
    pub fn finished_bytes(&self) -> Option<usize> {
        self.end.map(|_| self.output.json().len())
    }

    /// Says that the response is not kept, although that was asked for.
    pub fn not_kept(&mut self) {
        self.echo.store = false;
    }

    /// Writes the end of a stream that has finished, and returns the response; `None`, and
    /// nothing is written, where it has not.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Option<Written> {
        let end = self.end.take()?;
        let status = Status::Ended { end, now: (self.clock)(), usage: self.usage };
        let output = mem::take(&mut self.output);
        let mut json = Vec::with_capacity(1024 + self.echo.bytes() + output.json().len());
        push_response(&mut json, &self.head, &self.echo, &status, output.json());
        out.reserve(json.len() + 128);
        self.frames.push(out, end.event(), |out| {
            out.extend_from_slice(br#","response":"#);
            out.extend_from_slice(&json);
        });
        Some(Written { json, output })
    }

    /// Appends an event that shows a response which has not ended well, or not yet.
    fn push_open(&mut self, out: &mut Vec<u8>, name: &str, status: &Status<'_>) {
        let Self { frames, head, echo, .. } = self;
        frames.push(out, name, |out| {
            out.extend_from_slice(br#","response":"#);
            push_response(out, head, echo, status, b"");
        });
    }

    /// Adds an item that is done, and says so.
    fn close_item(&mut self, out: &mut Vec<u8>, item: impl FnOnce(&mut Vec<u8>)) {
        let at = self.output.count();
        let item = self.output.add(item);
        self.frames.item(out, "response.output_item.done", at, |out| out.extend_from_slice(item));
    }

    fn close_message(&mut self, progress: Progress, out: &mut Vec<u8>) {
        if let Some(Message { id, parts }) = self.message.take() {
            self.close_item(out, |out| push_message(out, &id, progress, &parts));
        }
    }

    /// Opens the next part of the message, and the message where none is open.
    fn open_part(&mut self, out: &mut Vec<u8>) {
        let at = self.output.count();
        let frames = &mut self.frames;
        let message = self.message.get_or_insert_with(|| {
            let id = self.output.name(ItemKind::Message, None, self.head.id);
            frames.item(out, "response.output_item.added", at, |out| {
                push_message(out, &id, Progress::Open, &[]);
            });
            Message { id, parts: Vec::new() }
        });
        let place = Place::of_part(at, &message.id, message.parts.len());
        frames.part(out, "response.content_part.added", &place, |out| push_part(out, b""));
        message.parts.push(Vec::new());
        self.block = Open::Text;
    }

    fn text_delta(&mut self, delta: &str, out: &mut Vec<u8>) {
        let Some(Message { id, parts }) = &mut self.message else { return };
        let last = parts.len().saturating_sub(1);
        let Some(text) = parts.last_mut() else { return };
        let place = Place::of_part(self.output.count(), id, last);
        let name = "response.output_text.delta";
        self.frames.deltas(out, name, &place, delta, text, br#","logprobs":[]"#);
    }

    fn close_part(&mut self, out: &mut Vec<u8>) {
        let Some(Message { id, parts }) = &self.message else { return };
        let Some(text) = parts.last() else { return };
        let place = Place::of_part(self.output.count(), id, parts.len().saturating_sub(1));
        let name = "response.output_text.done";
        self.frames.text(out, name, &place, "text", text, br#","logprobs":[]"#);
        self.frames.part(out, "response.content_part.done", &place, |out| push_part(out, text));
    }

    fn start_block(&mut self, kind: BlockKind, out: &mut Vec<u8>) {
        self.block = match kind {
            BlockKind::Text => Open::EmptyText,
            BlockKind::ToolCall(call) => {
                self.close_message(Progress::Done, out);
                self.start_call(call, out)
            }
            BlockKind::Reasoning(reasoning) if shows_reasoning(&reasoning) => {
                self.close_message(Progress::Done, out);
                self.start_reasoning(reasoning, out)
            }
            BlockKind::Opaque(opaque) => {
                let mut item = Vec::new();
                if push_opaque(&mut item, &opaque) {
                    self.close_message(Progress::Done, out);
                    let at = self.output.count();
                    self.frames.item(out, "response.output_item.added", at, |out| {
                        out.extend_from_slice(&item);
                    });
                    self.close_item(out, |out| out.extend_from_slice(&item));
                }
                Open::Hidden
            }
            BlockKind::Reasoning(_) => Open::Hidden,
        };
    }

    fn start_call(&mut self, call: ToolCall, out: &mut Vec<u8>) -> Open {
        self.has_calls = true;
        let at = self.output.count();
        let id = self.output.name(ItemKind::of(&call), call.item_id.as_deref(), self.head.id);
        self.frames.item(out, "response.output_item.added", at, |out| {
            push_call(out, &id, &call, Progress::Open, b"");
        });
        let whole = matches!(call.input, ToolCallInput::Json(_));
        let mut open = OpenCall { id, made: call, input: Vec::new(), whole };
        let given = whole_input(&open.made).to_owned();
        self.input_delta(&mut open, &given, out);
        Open::Call(Box::new(open))
    }

    fn input_delta(&mut self, open: &mut OpenCall, delta: &str, out: &mut Vec<u8>) {
        let name = match ItemKind::of(&open.made) {
            ItemKind::Custom => "response.custom_tool_call_input.delta",
            _ => "response.function_call_arguments.delta",
        };
        let place = Place::of_item(self.output.count(), &open.id);
        self.frames.deltas(out, name, &place, delta, &mut open.input, b"");
    }

    fn close_call(&mut self, mut open: OpenCall, out: &mut Vec<u8>) {
        let custom = ItemKind::of(&open.made) == ItemKind::Custom;
        if !custom && open.input.is_empty() {
            self.input_delta(&mut open, NO_ARGUMENTS, out);
        }
        let OpenCall { id, made, input, .. } = open;
        let place = Place::of_item(self.output.count(), &id);
        if custom {
            let name = "response.custom_tool_call_input.done";
            self.frames.text(out, name, &place, "input", &input, b"");
        } else {
            let mut tail = br#","name":""#.to_vec();
            tail.append(&mut escaped(&made.name));
            tail.push(b'"');
            let name = "response.function_call_arguments.done";
            self.frames.text(out, name, &place, "arguments", &input, &tail);
        }
        self.close_item(out, |out| push_call(out, &id, &made, Progress::Done, &input));
    }

    fn start_reasoning(&mut self, mut reasoning: Reasoning, out: &mut Vec<u8>) -> Open {
        let at = self.output.count();
        let id = self.output.name(ItemKind::Reasoning, reasoning.id.as_deref(), self.head.id);
        self.frames.item(out, "response.output_item.added", at, |out| {
            push_reasoning(out, &id, &reasoning, Progress::Open, b"");
        });
        for (index, summary) in reasoning.summary.iter().enumerate() {
            let place = Place::of_summary(at, &id, index);
            let name = "response.reasoning_summary_part.added";
            self.frames.part(out, name, &place, |out| push_summary(out, ""));
            let mut text = Vec::with_capacity(summary.len());
            let name = "response.reasoning_summary_text.delta";
            self.frames.deltas(out, name, &place, summary, &mut text, b"");
            let name = "response.reasoning_summary_text.done";
            self.frames.text(out, name, &place, "text", &text, b"");
            let name = "response.reasoning_summary_part.done";
            self.frames.part(out, name, &place, |out| push_summary(out, summary));
        }
        let given = mem::take(&mut reasoning.text);
        let mut open = Thought { id, reasoning, text: Vec::new() };
        self.thought_delta(&mut open, &given, out);
        Open::Reasoning(Box::new(open))
    }

    fn thought_delta(&mut self, open: &mut Thought, delta: &str, out: &mut Vec<u8>) {
        if delta.is_empty() {
            return;
        }
        let place = Place::of_part(self.output.count(), &open.id, 0);
        if open.text.is_empty() {
            let name = "response.content_part.added";
            self.frames.part(out, name, &place, |out| push_thought(out, b""));
        }
        let name = "response.reasoning_text.delta";
        self.frames.deltas(out, name, &place, delta, &mut open.text, b"");
    }

    fn close_reasoning(&mut self, open: &Thought, out: &mut Vec<u8>) {
        let Thought { id, reasoning, text } = open;
        if !text.is_empty() {
            let place = Place::of_part(self.output.count(), id, 0);
            let name = "response.reasoning_text.done";
            self.frames.text(out, name, &place, "text", text, b"");
            let name = "response.content_part.done";
            self.frames.part(out, name, &place, |out| push_thought(out, text));
        }
        self.close_item(out, |out| push_reasoning(out, id, reasoning, Progress::Done, text));
    }

    fn block_delta(&mut self, delta: &str, out: &mut Vec<u8>) {
        if delta.is_empty() {
            return;
        }
        if matches!(self.block, Open::EmptyText) {
            self.open_part(out);
        }
        match mem::take(&mut self.block) {
            Open::Text => {
                self.text_delta(delta, out);
                self.block = Open::Text;
            }
            Open::Call(mut open) => {
                if !open.whole {
                    self.input_delta(&mut open, delta, out);
                }
                self.block = Open::Call(open);
            }
            Open::Reasoning(mut open) => {
                self.thought_delta(&mut open, delta, out);
                self.block = Open::Reasoning(open);
            }
            Open::Hidden | Open::EmptyText => {}
        }
    }

    fn stop_block(&mut self, out: &mut Vec<u8>) {
        match mem::take(&mut self.block) {
            Open::Hidden | Open::EmptyText => {}
            Open::Text => self.close_part(out),
            Open::Call(open) => self.close_call(*open, out),
            Open::Reasoning(open) => self.close_reasoning(&open, out),
        }
    }

    fn finished(&mut self, reason: StopReason, out: &mut Vec<u8>) {
        let end = End::new(reason, self.has_calls);
        // A response without any item would break clients that look into the first one.
        if self.output.count() == 0 && self.message.is_none() {
            self.open_part(out);
            self.stop_block(out);
        }
        self.close_message(end.last_item(), out);
        self.end = Some(end);
    }
}

impl StreamWriter for ResponsesStream {
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.push_open(out, "response.created", &Status::Open);
        self.push_open(out, "response.in_progress", &Status::Open);
    }

    fn event(&mut self, choice: u8, event: CompletionEvent, out: &mut Vec<u8>) {
        if choice != 0 {
            return;
        }
        match event {
            CompletionEvent::Started { .. } => {}
            CompletionEvent::BlockStarted { kind, .. } => self.start_block(kind, out),
            CompletionEvent::BlockDelta { delta, .. } => self.block_delta(&delta, out),
            CompletionEvent::BlockStopped { .. } => self.stop_block(out),
            CompletionEvent::Usage(usage) => self.usage = usage,
            CompletionEvent::Finished { reason, .. } => self.finished(reason, out),
        }
    }

    /// Repeats an event that clients know: a comment does not reset the timer of Codex.
    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        self.push_open(out, "response.in_progress", &Status::Open);
    }

    /// Writes both events that tell of it: the SDKs raise the first, Codex looks for the second.
    fn failure(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.echo.store = false;
        self.frames.push(out, "error", |out| push_error_event(failure, out));
        let message = response_message(failure);
        let status = Status::Failed { code: response_code(failure), message: &message };
        self.push_open(out, "response.failed", &status);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.finish(out).is_none() {
            // A stream without its end is a failure, not a short answer.
            let fault = StreamFault::NotFinished;
            self.failure(&Failure::new(FailureKind::UpstreamFailed, fault.to_string()), out);
        }
    }
}
