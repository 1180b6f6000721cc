//! A finished reply, and the fold that makes it from events.

use std::fmt;

use crate::{
    Block, BlockKind, CompletionEvent, LossSet, ModelName, StopReason, Text, ToolCallInput, Usage,
};

/// A finished reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The model that answered.
    pub model: ModelName,
    /// The reply: text, tool calls, reasoning, and blocks that only one dialect understands.
    pub content: Vec<Block>,
    /// Why it ended.
    pub reason: StopReason,
    /// The stop sequence that was hit, where it is known.
    pub stop_sequence: Option<String>,
    /// Tokens.
    pub usage: Usage,
    /// What the upstream could not carry.
    pub losses: LossSet,
}

impl Completion {
    /// The text of all text blocks, joined.
    pub fn text(&self) -> String {
        let mut all = String::new();
        for block in &self.content {
            if let Block::Text(Text { text, .. }) = block {
                all.push_str(text);
            }
        }
        all
    }

    /// Whether any block is a tool call.
    pub fn has_tool_calls(&self) -> bool {
        self.content.iter().any(|block| matches!(block, Block::ToolCall(_)))
    }

    /// Takes the reply apart into its events; [`Fold`] is the inverse.
    ///
    /// Blocks that an answer cannot hold (media, tool results) are left out: readers of upstream
    /// replies never make them. Cache marks are the caller's and are not carried.
    pub fn into_events(self) -> Vec<CompletionEvent> {
        let mut events = Vec::with_capacity(3 + 3 * self.content.len());
        events.push(CompletionEvent::Started { model: self.model, losses: self.losses });
        let mut at = 0;
        for block in self.content {
            let (kind, delta) = match block {
                Block::Text(text) => (BlockKind::Text, text.text),
                Block::ToolCall(mut call) => {
                    let delta = match &mut call.input {
                        ToolCallInput::Json(json) => json.as_str().to_owned(),
                        ToolCallInput::Broken(text) | ToolCallInput::Text(text) => {
                            std::mem::take(text)
                        }
                    };
                    (BlockKind::ToolCall(call), delta)
                }
                Block::Reasoning(mut reasoning) => {
                    let delta = std::mem::take(&mut reasoning.text);
                    (BlockKind::Reasoning(reasoning), delta)
                }
                Block::Opaque(opaque) => (BlockKind::Opaque(opaque), String::new()),
                Block::Media(_) | Block::ToolResult(_) => continue,
            };
            events.push(CompletionEvent::BlockStarted { at, kind });
            if !delta.is_empty() {
                events.push(CompletionEvent::BlockDelta { at, delta });
            }
            events.push(CompletionEvent::BlockStopped { at });
            at += 1;
        }
        events.push(CompletionEvent::Usage(self.usage));
        events.push(CompletionEvent::Finished {
            reason: self.reason,
            stop_sequence: self.stop_sequence,
        });
        events
    }
}

/// An event that breaks the grammar of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// The stream ended without `Finished`.
    NotFinished,
    /// An event came where it may not stand.
    OutOfOrder,
}

impl fmt::Display for StreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFinished => "the answer broke off before its end",
            Self::OutOfOrder => "the answer's events came out of order",
        })
    }
}

impl std::error::Error for StreamFault {}

/// Folds events to a [`Completion`].
#[derive(Debug, Default)]
pub struct Fold {
    model: Option<ModelName>,
    losses: LossSet,
    content: Vec<Block>,
    open: Option<(u32, Block)>,
    usage: Usage,
    finished: Option<(StopReason, Option<String>)>,
}

impl Fold {
    /// An empty fold.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `Finished` has been seen.
    pub const fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// Takes the next event.
    pub fn push(&mut self, event: CompletionEvent) -> Result<(), StreamFault> {
        if self.finished.is_some() {
            return Err(StreamFault::OutOfOrder);
        }
        let started = self.model.is_some();
        match event {
            CompletionEvent::Started { model, losses } if !started => {
                self.model = Some(model);
                self.losses = losses;
            }
            CompletionEvent::BlockStarted { at, kind }
                if started && self.open.is_none() && at as usize == self.content.len() =>
            {
                let block = match kind {
                    BlockKind::Text => Block::Text(Text::default()),
                    BlockKind::ToolCall(call) => Block::ToolCall(call),
                    BlockKind::Reasoning(reasoning) => Block::Reasoning(reasoning),
                    BlockKind::Opaque(opaque) => Block::Opaque(opaque),
                };
                self.open = Some((at, block));
            }
            CompletionEvent::BlockDelta { at, delta } => match &mut self.open {
                Some((open, block)) if *open == at => append(block, delta)?,
                _ => return Err(StreamFault::OutOfOrder),
            },
            CompletionEvent::BlockStopped { at } => match self.open.take() {
                Some((open, block)) if open == at => self.content.push(block),
                _ => return Err(StreamFault::OutOfOrder),
            },
            CompletionEvent::Usage(usage) if started => self.usage = usage,
            CompletionEvent::Finished { reason, stop_sequence }
                if started && self.open.is_none() =>
            {
                self.finished = Some((reason, stop_sequence));
            }
            CompletionEvent::Started { .. }
            | CompletionEvent::BlockStarted { .. }
            | CompletionEvent::Usage(_)
            | CompletionEvent::Finished { .. } => return Err(StreamFault::OutOfOrder),
        }
        Ok(())
    }

    /// Ends the fold.
    pub fn finish(self) -> Result<Completion, StreamFault> {
        match (self.model, self.finished) {
            (Some(model), Some((reason, stop_sequence))) => Ok(Completion {
                model,
                content: self.content,
                reason,
                stop_sequence,
                usage: self.usage,
                losses: self.losses,
            }),
            _ => Err(StreamFault::NotFinished),
        }
    }
}

/// Appends a piece to the open block, moving it where it is the first.
fn append(block: &mut Block, delta: String) -> Result<(), StreamFault> {
    let text = match block {
        Block::Text(text) => &mut text.text,
        Block::Reasoning(reasoning) => &mut reasoning.text,
        Block::ToolCall(call) => match &mut call.input {
            ToolCallInput::Broken(text) | ToolCallInput::Text(text) => text,
            ToolCallInput::Json(_) => {
                // The whole JSON stands in the opening event already; pieces only repeat it.
                return Ok(());
            }
        },
        Block::Media(_) | Block::ToolResult(_) | Block::Opaque(_) => {
            return Err(StreamFault::OutOfOrder);
        }
    };
    if text.is_empty() {
        *text = delta;
    } else {
        text.push_str(&delta);
    }
    Ok(())
}
