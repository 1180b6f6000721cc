//! Numbers the blocks of an answer that is read from a stream.

use model::{Block, BlockKind, CompletionEvent, Failure, ToolCallInput};

use super::failed;

/// The most blocks that one answer may have.
const MAX_BLOCKS: u32 = 4096;

/// The blocks so far. They are strictly one after the other.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    started: u32,
    open: bool,
}

impl Blocks {
    /// Starts a block; the one before it is stopped.
    pub(crate) fn start(
        &mut self,
        kind: BlockKind,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        self.stop(out);
        if self.started == MAX_BLOCKS {
            return Err(failed("The upstream's answer has too many blocks."));
        }
        out.push(CompletionEvent::BlockStarted { at: self.started, kind });
        self.started += 1;
        self.open = true;
        Ok(())
    }

    /// Adds to the block that is open; nothing where none is.
    pub(crate) fn delta(&mut self, delta: String, out: &mut Vec<CompletionEvent>) {
        if self.open && !delta.is_empty() {
            out.push(CompletionEvent::BlockDelta { at: self.started.saturating_sub(1), delta });
        }
    }

    /// Stops the block that is open, if one is.
    pub(crate) fn stop(&mut self, out: &mut Vec<CompletionEvent>) {
        if std::mem::take(&mut self.open) {
            out.push(CompletionEvent::BlockStopped { at: self.started.saturating_sub(1) });
        }
    }

    /// Adds a block that has come whole. What an answer cannot hold is left out.
    pub(crate) fn whole(
        &mut self,
        block: Block,
        out: &mut Vec<CompletionEvent>,
    ) -> Result<(), Failure> {
        let (kind, delta) = match block {
            Block::Text(text) => (BlockKind::Text, text.text),
            Block::ToolCall(mut call) => {
                let delta = match &mut call.input {
                    ToolCallInput::Json(json) => json.as_str().to_owned(),
                    ToolCallInput::Broken(text) | ToolCallInput::Text(text) => std::mem::take(text),
                };
                (BlockKind::ToolCall(call), delta)
            }
            Block::Reasoning(mut reasoning) => {
                let delta = std::mem::take(&mut reasoning.text);
                (BlockKind::Reasoning(reasoning), delta)
            }
            Block::Opaque(opaque) => (BlockKind::Opaque(opaque), String::new()),
            Block::Media(_) | Block::ToolResult(_) => return Ok(()),
        };
        self.start(kind, out)?;
        self.delta(delta, out);
        self.stop(out);
        Ok(())
    }
}
