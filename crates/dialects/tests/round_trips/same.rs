//! What two requests may differ in without saying anything else.

use model::{Block, CompletionRequest, LossSet, Message};

/// The request without what belongs to the caller's bookkeeping: how many of its messages were
/// instructions, what reading it lost, and how many replies it wants (whoever calls an upstream
/// asks once for each).
pub(crate) fn asked(mut request: CompletionRequest) -> CompletionRequest {
    request.leading = 0;
    request.losses = LossSet::EMPTY;
    request.params.choices = None;
    request
}

/// As [`asked`], with turns in one form: empty text says nothing, and neighbouring messages of one
/// role are one turn, unless the second has fields of its own.
pub(crate) fn meant(request: CompletionRequest) -> CompletionRequest {
    let mut request = asked(request);
    drop_empty(&mut request.system);
    let mut turns: Vec<Message> = Vec::new();
    for mut message in request.messages {
        drop_empty(&mut message.content);
        if message.content.is_empty() && message.extras.is_none() {
            continue;
        }
        match turns.last_mut() {
            Some(last) if last.role == message.role && joins(last, &message) => {
                last.content.append(&mut message.content);
                last.extras = last.extras.take().or(message.extras);
            }
            _ => turns.push(message),
        }
    }
    request.messages = turns;
    request
}

/// Thoughts stand before the message that they led to, and the fields are that message's.
fn joins(last: &Message, next: &Message) -> bool {
    let thinks = last.content.iter().all(|block| matches!(block, Block::Reasoning(_)));
    next.extras.is_none() || (last.extras.is_none() && thinks)
}

fn drop_empty(blocks: &mut Vec<Block>) {
    blocks.retain(
        |block| !matches!(block, Block::Text(text) if text.text.is_empty() && text.cache.is_none()),
    );
    for block in blocks {
        if let Block::ToolResult(result) = block {
            drop_empty(&mut result.content);
        }
    }
}
