//! Reads streamed replies.

use model::{Block, BlockKind, CompletionEvent, Failure, LossSet, ModelName};
use serde_json::value::RawValue;

use super::super::wire;
use super::reply::{Counts, opaque, read_call, read_reason, thought};
use crate::StreamReader;
use crate::calling::{Blocks, Held, broke_off, failed, read_failure_in_stream, unreadable};
use crate::extras::fields;
use crate::json::{ObjectWriter, compact, compact_raw};
use crate::sse::SseEvent;

/// One streamed answer.
#[derive(Debug, Default)]
pub struct MessagesReader {
    started: bool,
    blocks: Blocks,
    /// The block that is open, with its index.
    open: Option<(i128, Open)>,
    has_calls: bool,
    held: Held,
    counts: Counts,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    done: bool,
}

/// A block that is open; all but text are gathered until they are whole.
#[derive(Debug)]
enum Open {
    Text,
    Call {
        id: String,
        name: String,
        whole: String,
        input: String,
    },
    Thought {
        text: String,
        signature: String,
    },
    Redacted(String),
    /// One that only this dialect understands.
    Other {
        kind: String,
        json: String,
        input: String,
    },
}

impl MessagesReader {
    /// A reader of one stream.
    pub fn new() -> Self {
        Self::default()
    }

    fn start_block(
        &mut self,
        index: i128,
        raw: &RawValue,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        if self.open.is_some() || !self.started {
            return Err(out_of_order());
        }
        self.held.count(raw.get().len())?;
        let block: wire::Block<'_> = serde_json::from_str(raw.get()).map_err(unreadable)?;
        let open = match block.kind.as_deref().unwrap_or_default() {
            "text" => {
                self.blocks.start(BlockKind::Text, out)?;
                self.blocks.delta(block.text.unwrap_or_default(), out);
                Open::Text
            }
            "tool_use" => Open::Call {
                id: block.id.unwrap_or_default(),
                name: block.name.unwrap_or_default(),
                whole: block.input.map(|raw| raw.get().to_owned()).unwrap_or_default(),
                input: String::new(),
            },
            "thinking" => Open::Thought {
                text: block.thinking.unwrap_or_default(),
                signature: block.signature.unwrap_or_default(),
            },
            "redacted_thinking" => Open::Redacted(block.data.unwrap_or_default()),
            kind => Open::Other {
                kind: kind.to_owned(),
                json: raw.get().to_owned(),
                input: String::new(),
            },
        };
        self.open = Some((index, open));
        Ok(())
    }

    fn delta(
        &mut self,
        index: i128,
        delta: wire::Delta<'_>,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        let Some((open_index, open)) = &mut self.open else { return Err(out_of_order()) };
        if *open_index != index {
            return Err(out_of_order());
        }
        match open {
            Open::Text => self.blocks.delta(delta.text.unwrap_or_default(), out),
            Open::Call { input, .. } | Open::Other { input, .. } => {
                self.held.push(input, &delta.partial_json.unwrap_or_default())?;
            }
            Open::Thought { text, signature } => {
                self.held.push(text, &delta.thinking.unwrap_or_default())?;
                self.held.push(signature, &delta.signature.unwrap_or_default())?;
            }
            Open::Redacted(_) => {}
        }
        Ok(())
    }

    fn stop_block(&mut self, index: i128, out: &mut Vec<CompletionEvent>) -> Result<(), Failure> {
        let open = match self.open.take() {
            Some((open_index, open)) if open_index == index => open,
            _ => return Err(out_of_order()),
        };
        let block = match open {
            Open::Text => {
                self.blocks.stop(out);
                return Ok(());
            }
            Open::Call { id, name, whole, input } => {
                self.has_calls = true;
                Block::ToolCall(read_call(
                    id,
                    name,
                    if input.is_empty() { &whole } else { &input },
                )?)
            }
            Open::Thought { text, signature } => {
                thought(text, Some(signature).filter(|signature| !signature.is_empty()), None)
            }
            Open::Redacted(text) => thought(String::new(), None, Some(text)),
            Open::Other { kind, json, input } => opaque(&kind, with_input(&json, &input))?,
        };
        self.blocks.whole(block, out)
    }

    fn finish(&mut self, out: &mut Vec<CompletionEvent>) -> Result<(), Failure> {
        let reason = self.stop_reason.take().filter(|_| self.open.is_none());
        let reason = reason.ok_or_else(broke_off)?;
        out.push(CompletionEvent::Usage(self.counts.usage()));
        out.push(CompletionEvent::Finished {
            reason: read_reason(Some(&reason), self.has_calls),
            stop_sequence: self.stop_sequence.take(),
        });
        self.done = true;
        Ok(())
    }
}

impl StreamReader for MessagesReader {
    fn event(&mut self, event: &SseEvent, out: &mut Vec<CompletionEvent>) -> Result<(), Failure> {
        let text = event.data.trim();
        // Some servers end with OpenAI's marker.
        if self.done || text.is_empty() || text == "[DONE]" {
            return Ok(());
        }
        let read: wire::StreamEvent<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let index = read.index.map_or(0, |index| index.0);
        match read.kind.as_deref().unwrap_or(&event.name) {
            "message_start" if !self.started => {
                let message = read.message.unwrap_or_default();
                self.started = true;
                out.push(CompletionEvent::Started {
                    model: ModelName::new(message.model.unwrap_or_default()),
                    losses: LossSet::EMPTY,
                });
                self.counts = self.counts.add(message.usage);
                out.push(CompletionEvent::Usage(self.counts.usage()));
            }
            "content_block_start" => {
                let raw = read.content_block.ok_or_else(out_of_order)?;
                self.start_block(index, raw, out)?;
            }
            "content_block_delta" => self.delta(index, read.delta.unwrap_or_default(), out)?,
            "content_block_stop" => self.stop_block(index, out)?,
            "message_delta" => {
                self.counts = self.counts.add(read.usage);
                let delta = read.delta.unwrap_or_default();
                if let Some(reason) = delta.stop_reason {
                    self.stop_reason = Some((*reason).to_owned());
                }
                self.stop_sequence = delta.stop_sequence.or(self.stop_sequence.take());
            }
            "message_stop" if self.started => self.finish(out)?,
            "message_start" | "message_stop" => return Err(out_of_order()),
            "error" => return Err(read_failure_in_stream(text)),
            // Signs of life, and whatever may come later.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.done { Ok(()) } else { Err(broke_off()) }
    }
}

fn out_of_order() -> Failure {
    failed("The events of the upstream's answer came out of order.")
}

/// A block with the input that was streamed behind its start.
fn with_input(json: &str, input: &str) -> Option<model::Json> {
    let whole = compact(json)?;
    if input.is_empty() {
        return Some(whole);
    }
    let input = compact(input)?;
    let mut out = Vec::with_capacity(json.len() + input.as_str().len());
    let mut object = ObjectWriter::new(&mut out);
    for (name, raw) in fields(&whole).into_iter().filter(|(name, _)| name != "input") {
        object.json(&name, compact_raw(raw)?.as_str());
    }
    object.json("input", input.as_str());
    object.end();
    compact(std::str::from_utf8(&out).ok()?)
}
