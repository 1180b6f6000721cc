//! Reads streamed replies.
//!
//! Calls are told apart by their index, and pieces of several may come in turns, so they are
//! gathered and follow the text. Lenient where servers differ: an index that is missing or always
//! zero, an id or a name that is repeated, usage in every chunk.

use std::collections::BTreeMap;

use model::{Block, BlockKind, CompletionEvent, Failure, LossSet, ModelName, Reasoning};

use super::super::message::read_arguments;
use super::super::wire;
use super::reply::{
    arguments, finish_call, read_error, read_reason, read_texts, read_thought, read_usage, thought,
};
use crate::StreamReader;
use crate::calling::{Blocks, Held, broke_off, failed, unreadable};
use crate::sse::SseEvent;

/// The most calls of one answer.
const MAX_CALLS: usize = 1024;

/// One streamed answer; of several choices the first.
#[derive(Debug, Default)]
pub struct ChatReader {
    started: bool,
    blocks: Blocks,
    open: Open,
    calls: Vec<Gathered>,
    /// The call that pieces with an index belong to.
    by_index: BTreeMap<i128, usize>,
    held: Held,
    finish_reason: Option<String>,
    refused: bool,
    counted: bool,
    done: bool,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    None,
    Text,
    Thought,
}

#[derive(Debug, Default)]
struct Gathered {
    id: String,
    name: String,
    custom: bool,
    input: String,
}

impl ChatReader {
    /// A reader of one stream.
    pub fn new() -> Self {
        Self::default()
    }

    fn start(&mut self, model: Option<String>, out: &mut Vec<CompletionEvent>) {
        if !std::mem::replace(&mut self.started, true) {
            let model = ModelName::new(model.unwrap_or_default());
            out.push(CompletionEvent::Started { model, losses: LossSet::EMPTY });
        }
    }

    fn piece(
        &mut self,
        kind: Open,
        text: String,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        if self.open != kind {
            let started = match thought(String::new()) {
                Block::Reasoning(reasoning) if kind == Open::Thought => {
                    BlockKind::Reasoning(Reasoning { ..reasoning })
                }
                _ => BlockKind::Text,
            };
            self.blocks.start(started, out)?;
            self.open = kind;
        }
        self.blocks.delta(text, out);
        Ok(())
    }

    fn said(
        &mut self,
        said: wire::Said<'_>,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        if let Some(text) = read_thought(said.reasoning_content, said.reasoning) {
            self.piece(Open::Thought, text, out)?;
        }
        // Losses are named when a stream begins; those of a part that comes later have no place.
        let mut unnamed = LossSet::EMPTY;
        for text in read_texts(said.content, &mut unnamed) {
            self.piece(Open::Text, text, out)?;
        }
        if let Some(text) = said.refusal.filter(|text| !text.is_empty()) {
            self.refused = true;
            self.piece(Open::Text, text, out)?;
        }
        for call in said.tool_calls.into_iter().flatten() {
            self.call_piece(call)?;
        }
        if let Some(function) = said.function_call {
            let call = wire::SaidCall { function: Some(function), ..wire::SaidCall::default() };
            self.call_piece(call)?;
        }
        Ok(())
    }

    fn call_piece(&mut self, piece: wire::SaidCall<'_>) -> Result<(), Failure> {
        let custom = piece.kind.as_deref() == Some("custom") || piece.custom.is_some();
        let (name, input) = match (piece.custom, piece.function) {
            (Some(part), _) => (part.name, part.input.unwrap_or_default()),
            (None, function) => {
                let function = function.unwrap_or_default();
                (function.name, arguments(function.arguments))
            }
        };
        let index = piece.index.map(|index| index.0);
        let id = piece.id.unwrap_or_default();
        let at = match index {
            Some(index) => self.by_index.get(&index).copied(),
            None => self.calls.len().checked_sub(1),
        };
        let known = at.and_then(|at| self.calls.get_mut(at)).filter(|call| {
            // Some servers give every call the same index; a new id with a name is a new call.
            id.is_empty() || call.id.is_empty() || call.id == id || name.is_none()
        });
        if let Some(call) = known {
            self.held.push(&mut call.input, &input)?;
            if call.id.is_empty() {
                call.id = id;
            }
            if call.name.is_empty() {
                call.name = name.unwrap_or_default();
            }
            call.custom |= custom;
            return Ok(());
        }
        if self.calls.len() == MAX_CALLS {
            return Err(failed("The upstream's answer has too many tool calls."));
        }
        if let Some(index) = index {
            self.by_index.insert(index, self.calls.len());
        }
        self.held.count(input.len())?;
        self.calls.push(Gathered { id, name: name.unwrap_or_default(), custom, input });
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<CompletionEvent>) -> Result<(), Failure> {
        let reason = self.finish_reason.take().ok_or_else(broke_off)?;
        self.start(None, out);
        self.blocks.stop(out);
        let reason = read_reason(Some(&reason), !self.calls.is_empty(), self.refused);
        for call in std::mem::take(&mut self.calls) {
            let input = if call.custom {
                model::ToolCallInput::Text(call.input)
            } else {
                read_arguments(call.input)
            };
            let call = finish_call(call.id, call.name, input)?;
            self.blocks.whole(Block::ToolCall(call), out)?;
        }
        if !self.counted {
            out.push(CompletionEvent::Usage(read_usage(None)));
        }
        out.push(CompletionEvent::Finished { reason, stop_sequence: None });
        self.done = true;
        Ok(())
    }
}

impl StreamReader for ChatReader {
    fn event(&mut self, event: &SseEvent, out: &mut Vec<CompletionEvent>) -> Result<(), Failure> {
        let text = event.data.trim();
        if self.done || text.is_empty() {
            return Ok(());
        }
        if text == "[DONE]" {
            return self.finish(out);
        }
        let chunk: wire::Reply<'_> = serde_json::from_str(text).map_err(unreadable)?;
        if let Some(error) = chunk.error {
            return Err(read_error(error));
        }
        let choices = chunk.choices.unwrap_or_default();
        // A first chunk of nothing but filter results names no model.
        if !choices.is_empty() || chunk.model.as_ref().is_some_and(|model| !model.is_empty()) {
            self.start(chunk.model, out);
        }
        for choice in choices {
            if choice.index.is_some_and(|index| index.0 != 0) {
                continue;
            }
            if let Some(said) = choice.delta.or(choice.message) {
                self.said(said, out)?;
            }
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finish_reason = Some((*reason).to_owned());
            }
        }
        if chunk.usage.is_some() && self.started {
            self.counted = true;
            out.push(CompletionEvent::Usage(read_usage(chunk.usage)));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.done { Ok(()) } else { Err(broke_off()) }
    }
}
