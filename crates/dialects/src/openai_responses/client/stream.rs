//! Reads streamed responses.
//!
//! Text is passed on piece by piece; every other item is taken from the event that ends it, where
//! it stands whole. Lenient where servers differ: text that comes only with the end of its item,
//! or items that come only with the end of the response.

use std::collections::BTreeSet;

use model::{Block, BlockKind, CompletionEvent, Failure, LossSet, ModelName};
use serde_json::value::RawValue;

use super::super::wire;
use super::reply::{Said, check_failed, read_usage};
use crate::StreamReader;
use crate::calling::{Blocks, Held, broke_off, failed, read_failure_in_stream, unreadable};
use crate::sse::SseEvent;

/// One streamed answer.
#[derive(Debug, Default)]
pub struct ResponsesReader {
    started: bool,
    blocks: Blocks,
    /// The part whose text is being passed on: index of its item, and its own.
    open: Option<(i128, i128)>,
    /// Items whose text has been passed on in pieces.
    shown: BTreeSet<i128>,
    /// Items that ended while the text of another was open.
    waiting: Vec<Block>,
    any: bool,
    held: Held,
    said: Said,
    done: bool,
}

impl ResponsesReader {
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
        part: (i128, i128),
        text: String,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        if self.open != Some(part) {
            self.close(out)?;
            self.blocks.start(BlockKind::Text, out)?;
            self.open = Some(part);
            self.any = true;
            self.shown.insert(part.0);
        }
        self.blocks.delta(text, out);
        Ok(())
    }

    /// Ends the text that is open, and adds what has waited for it.
    fn close(&mut self, out: &mut Vec<CompletionEvent>) -> Result<(), Failure> {
        self.open = None;
        self.blocks.stop(out);
        for block in std::mem::take(&mut self.waiting) {
            self.blocks.whole(block, out)?;
        }
        Ok(())
    }

    fn item(
        &mut self,
        index: i128,
        raw: &RawValue,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        if self.open.is_some_and(|(open, _)| open == index) {
            self.close(out)?;
        }
        for block in self.said.item(raw)? {
            if matches!(block, Block::Text(_)) && self.shown.contains(&index) {
                continue;
            }
            self.any = true;
            if self.open.is_some() {
                self.held.count(raw.get().len())?;
                self.waiting.push(block);
            } else {
                self.blocks.whole(block, out)?;
            }
        }
        Ok(())
    }

    fn finish(
        &mut self,
        response: wire::ResponseObject<'_>,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        check_failed(&response)?;
        self.close(out)?;
        if !self.any {
            for (index, raw) in (0..).zip(response.output.iter().flatten()) {
                self.item(index, raw, out)?;
            }
        }
        let reason = self.said.reason(&response);
        self.start(response.model, out);
        out.push(CompletionEvent::Usage(read_usage(response.usage.as_ref())));
        out.push(CompletionEvent::Finished { reason, stop_sequence: None });
        self.done = true;
        Ok(())
    }
}

impl StreamReader for ResponsesReader {
    fn event(&mut self, event: &SseEvent, out: &mut Vec<CompletionEvent>) -> Result<(), Failure> {
        let text = event.data.trim();
        // Some servers end with the marker of Chat Completions.
        if self.done || text.is_empty() || text == "[DONE]" {
            return Ok(());
        }
        let read: wire::StreamEvent<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let index = read.output_index.map_or(0, |index| index.0);
        let part = (index, read.content_index.map_or(0, |index| index.0));
        match read.kind.as_deref().unwrap_or(&event.name) {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.start(read.response.and_then(|response| response.model), out);
            }
            "response.completed" | "response.incomplete" => {
                let mut response = read.response.ok_or_else(broke_off)?;
                self.start(response.model.take(), out);
                self.finish(response, out)?;
            }
            "response.failed" | "response.cancelled" => {
                let response = read.response.unwrap_or_default();
                check_failed(&response)?;
                return Err(failed("The upstream gave the response up."));
            }
            "error" => return Err(read_failure_in_stream(text)),
            kind if !self.started && kind.starts_with("response.output") => {
                return Err(failed("The events of the upstream's answer came out of order."));
            }
            kind @ ("response.output_text.delta" | "response.refusal.delta") => {
                self.said.refused |= kind == "response.refusal.delta";
                let delta = read.delta.map(|raw| serde_json::from_str::<String>(raw.get()));
                let delta = delta.transpose().map_err(unreadable)?.unwrap_or_default();
                self.piece(part, delta, out)?;
            }
            "response.output_text.done"
            | "response.refusal.done"
            | "response.content_part.done"
                if self.open == Some(part) =>
            {
                self.close(out)?;
            }
            "response.output_item.done" => {
                if let Some(raw) = read.item {
                    self.item(index, raw, out)?;
                }
            }
            // Repetitions, signs of life, and whatever may come later.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.done { Ok(()) } else { Err(broke_off()) }
    }
}
