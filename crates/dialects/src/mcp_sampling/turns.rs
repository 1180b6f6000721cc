//! Puts a conversation into the order that MCP asks for.
//!
//! A turn of the assistant with tool calls must be followed by one turn of the user that holds
//! exactly the answers to them and nothing else (MCP specification, client/sampling, message
//! constraints; hosts answer `-32602` otherwise). Callers are freer: OpenAI's answers are messages
//! of their own, Anthropic's stand beside text, Claude Code puts system messages in between. So
//! answers are gathered, and whatever stands between a call and its answers moves behind them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use model::{
    Block, CompletionRequest, Failure, FailureKind, Loss, LossSet, Message, ParamsMode, Role,
    ToolCall, ToolResult,
};

use super::carried::{Carried, Place, carry, tell};

/// One turn as it goes to the host.
#[derive(Debug)]
pub(super) struct Turn<'r> {
    pub(super) role: Role,
    pub(super) said: Said<'r>,
}

/// What is said in a turn.
#[derive(Debug)]
pub(super) enum Said<'r> {
    /// Text or an image, alone in its turn.
    Block(Carried<'r>),
    /// Calls, with the text that announces them.
    Calls { texts: Vec<Cow<'r, str>>, calls: Vec<&'r ToolCall> },
    /// The answers to the calls of the turn before, in the order of the calls.
    Results(Vec<Answer<'r>>),
}

/// The answer to one call.
#[derive(Debug)]
pub(super) struct Answer<'r> {
    pub(super) call: &'r ToolCall,
    /// What the result holds that sampling can carry.
    pub(super) content: Vec<Carried<'r>>,
    pub(super) is_error: bool,
}

/// The conversation in order.
pub(super) fn turns<'r>(
    request: &'r CompletionRequest,
    losses: &mut LossSet,
) -> Result<Vec<Turn<'r>>, Failure> {
    let mut order = Order {
        turns: Vec::with_capacity(request.messages.len() + 2),
        open: None,
        mode: request.mode,
        losses,
    };
    for (index, message) in request.messages.iter().enumerate() {
        order.message(message, request.leading + index)?;
    }
    order.close()?;
    Ok(order.turns)
}

struct Order<'r, 'l> {
    turns: Vec<Turn<'r>>,
    /// Calls whose answers are still to come.
    open: Option<Open<'r>>,
    mode: ParamsMode,
    losses: &'l mut LossSet,
}

#[derive(Default)]
struct Open<'r> {
    texts: Vec<Cow<'r, str>>,
    calls: Vec<&'r ToolCall>,
    /// Ids of the calls without an answer.
    awaited: HashSet<&'r str>,
    answers: HashMap<&'r str, (Vec<Carried<'r>>, bool)>,
    /// What stands behind the calls and is no answer.
    later: Vec<Turn<'r>>,
    /// The message of the last call, in the caller's count.
    message: usize,
}

impl<'r> Order<'r, '_> {
    fn message(&mut self, message: &'r Message, index: usize) -> Result<(), Failure> {
        match message.role {
            Role::Assistant => self.assistant(&message.content, index),
            Role::User => self.user(&message.content, index),
            Role::System => self.system_in_place(&message.content, index),
        }
    }

    fn assistant(&mut self, content: &'r [Block], index: usize) -> Result<(), Failure> {
        let has_calls = content.iter().any(|block| matches!(block, Block::ToolCall(_)));
        // A turn of the model may come in several messages; its calls belong together as long as
        // nothing was said in between.
        let goes_on =
            self.open.as_ref().is_some_and(|open| open.answers.is_empty() && open.later.is_empty());
        if !goes_on {
            self.close()?;
        }
        let mut texts = Vec::new();
        for (block_at, block) in content.iter().enumerate() {
            if let Block::ToolCall(call) = block {
                let open = self.open.get_or_insert_default();
                open.message = index;
                open.calls.push(call);
                if !open.awaited.insert(&call.id) && self.mode != ParamsMode::Lenient {
                    return Err(same_id(call, index));
                }
                continue;
            }
            let place = Place { message: index, block: block_at, inner: None };
            match carry(block, place, self.mode, self.losses)? {
                Some(Carried::Text(text)) if has_calls || goes_on => texts.push(text),
                Some(carried) => self.turns.push(Turn::block(Role::Assistant, carried)),
                None => {}
            }
        }
        if let Some(open) = &mut self.open {
            open.texts.append(&mut texts);
        }
        Ok(())
    }

    fn user(&mut self, content: &'r [Block], index: usize) -> Result<(), Failure> {
        for (block_at, block) in content.iter().enumerate() {
            if let Block::ToolResult(result) = block {
                self.result(result, index, block_at)?;
                continue;
            }
            let place = Place { message: index, block: block_at, inner: None };
            if let Some(carried) = carry(block, place, self.mode, self.losses)? {
                self.push(Turn::block(Role::User, carried));
            }
        }
        Ok(())
    }

    fn result(
        &mut self,
        result: &'r ToolResult,
        message: usize,
        block: usize,
    ) -> Result<(), Failure> {
        let mut content = Vec::with_capacity(result.content.len());
        for (inner, part) in result.content.iter().enumerate() {
            let place = Place { message, block, inner: Some(inner) };
            content.extend(carry(part, place, self.mode, self.losses)?);
        }
        if let Some(open) = &mut self.open
            && open.awaited.remove(result.call_id.as_str())
        {
            open.answers.insert(&result.call_id, (content, result.is_error));
            return Ok(());
        }
        // An answer to nothing: its text is still worth reading.
        self.losses.insert(Loss::OrphanResult);
        let id: String = result.call_id.chars().filter(|c| !c.is_control()).take(80).collect();
        let head = Cow::Owned(format!("[result of an earlier tool call, {id}]"));
        self.push(Turn::block(Role::User, Carried::Text(head)));
        for carried in content {
            self.push(Turn::block(Role::User, carried));
        }
        Ok(())
    }

    /// Turns instructions in mid-conversation into marked user text.
    ///
    /// Sampling knows only user and assistant, and strict hosts fail the whole call on any other
    /// role; the mark is the one that Claude Code itself uses for such text.
    fn system_in_place(&mut self, content: &[Block], index: usize) -> Result<(), Failure> {
        let mut all = String::new();
        for (block_at, block) in content.iter().enumerate() {
            let text = if let Block::Text(text) = block {
                Cow::Borrowed(text.text.as_str())
            } else if self.mode == ParamsMode::Lenient {
                let place = Place { message: index, block: block_at, inner: None };
                tell(block, place, self.losses)?
            } else {
                let param = format!("messages[{index}].content[{block_at}]");
                let why = format!("{param} is not text; a system message holds only text.");
                return Err(Failure::new(FailureKind::Unsupported, why).with_param(param));
            };
            if text.is_empty() {
                continue;
            }
            all.push_str(if all.is_empty() { "<system-reminder>\n" } else { "\n\n" });
            all.push_str(&text);
        }
        if !all.is_empty() {
            all.push_str("\n</system-reminder>");
            self.losses.insert(Loss::SystemInPlace);
            self.push(Turn::block(Role::User, Carried::Text(Cow::Owned(all))));
        }
        Ok(())
    }

    /// Adds a turn behind the answers that are still to come.
    fn push(&mut self, turn: Turn<'r>) {
        match &mut self.open {
            Some(open) => open.later.push(turn),
            None => self.turns.push(turn),
        }
    }

    /// Writes the open calls, their answers and what stood between.
    fn close(&mut self) -> Result<(), Failure> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let mut answers = Vec::with_capacity(open.calls.len());
        for call in &open.calls {
            let (content, is_error) = match open.answers.remove(call.id.as_str()) {
                Some(answer) => answer,
                None if self.mode == ParamsMode::Lenient => {
                    self.losses.insert(Loss::UnansweredCall);
                    let text = Cow::Borrowed("(no result: the call was cancelled)");
                    (vec![Carried::Text(text)], true)
                }
                None => return Err(unanswered(call, open.message)),
            };
            answers.push(Answer { call, content, is_error });
        }
        let calls = Said::Calls { texts: open.texts, calls: open.calls };
        self.turns.push(Turn { role: Role::Assistant, said: calls });
        self.turns.push(Turn { role: Role::User, said: Said::Results(answers) });
        self.turns.append(&mut open.later);
        Ok(())
    }
}

impl<'r> Turn<'r> {
    fn block(role: Role, carried: Carried<'r>) -> Self {
        Self { role, said: Said::Block(carried) }
    }
}

fn same_id(call: &ToolCall, message: usize) -> Failure {
    let id: String = call.id.chars().take(80).collect();
    let why = format!(
        "messages[{message}] holds two tool calls with the id `{id}`: the ids of a turn must differ."
    );
    Failure::new(FailureKind::BadRequest, why).with_param(format!("messages[{message}]"))
}

fn unanswered(call: &ToolCall, message: usize) -> Failure {
    let cut = |text: &str| text.chars().take(80).collect::<String>();
    let (id, name) = (cut(&call.id), cut(&call.name));
    let why = format!(
        "messages[{message}] calls a tool whose result is missing: every tool call must be \
         answered in the next message. No result for call `{id}` of `{name}`."
    );
    Failure::new(FailureKind::BadRequest, why).with_param(format!("messages[{message}]"))
}
