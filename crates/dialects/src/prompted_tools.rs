//! Tool calling by prompt, for upstreams that know no tools.
//!
//! The tools stand in the system prompt, the model answers in markup that carries a nonce, and the
//! calls are read from its text. Pure functions: who sends the prompt, gives calls their ids and
//! says that a call was demanded and not made is somebody else. `docs/wire/prompted-tools.md` has
//! the format, what is read beside it, and the rules of safety.
//!
//! Start with [`ToolPrompt`]. Invariants: reading never panics and is linear but for bounded
//! look-ups; no markup of ours is left in the text; a call in foreign markup is never one that
//! stands in the request; reading the markup of a call gives back that call.

mod arguments;
mod coerce;
mod copied;
mod draft;
mod foreign;
mod history;
mod instructions;
mod names;
mod nonce;
mod own;
mod relaxed;
mod schema_text;
mod shape;
mod tag;
mod tree;

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use memchr::memmem;
use model::{Block, CompletionRequest, Loss, LossSet, ToolCall, ToolInput};
use serde_json::Value;

use crate::ToolTable;
use copied::Copied;
use nonce::Nonce;

pub use history::HistorySteps;
pub use nonce::NonceSecret;

/// The tools of one request as a prompt, and the way back from the model's text.
pub struct ToolPrompt<'r> {
    request: &'r CompletionRequest,
    table: &'r ToolTable<'r>,
    nonce: Nonce,
    stop: String,
    /// The schema of each tool of the table, read when it is first asked for.
    schemas: Vec<OnceLock<Option<Value>>>,
}

/// What a reply says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptedReply {
    /// The text without markup.
    pub text: String,
    /// The calls, under the caller's own names. Their ids are empty.
    pub calls: Vec<ToolCall>,
    /// What could not be read as it was meant.
    pub losses: LossSet,
}

impl fmt::Debug for ToolPrompt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the caller's texts nor the nonce belong into a log.
        f.debug_struct("ToolPrompt").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

impl<'r> ToolPrompt<'r> {
    /// The prompt for a request. `key` names who asks: the nonces of two callers differ.
    pub fn new(
        request: &'r CompletionRequest,
        table: &'r ToolTable<'r>,
        secret: &NonceSecret,
        key: &str,
    ) -> Self {
        let nonce = Nonce::new(secret, key, request, table);
        let stop = format!("</tool_calls_{}>", nonce.as_str());
        let schemas = std::iter::repeat_with(OnceLock::new).take(table.entries().len()).collect();
        Self { request, table, nonce, stop, schemas }
    }

    /// What is appended to the system prompt: the rules, the tools that may be called, an example
    /// and whether a call is demanded. Without such tools it explains the markup of the history,
    /// and is empty where there is none.
    pub fn instructions(&self) -> String {
        if self.table.any_callable() {
            instructions::write(self)
        } else if self.has_history() {
            instructions::write_for_history(self)
        } else {
            String::new()
        }
    }

    /// Two lines for the end of the last user message, because hosts may drop the system prompt.
    /// Empty where no tool may be called.
    pub fn reminder(&self) -> String {
        if self.table.any_callable() { instructions::write_reminder(self) } else { String::new() }
    }

    /// The stop sequence: the tag that ends the calls.
    pub fn stop(&self) -> &str {
        &self.stop
    }

    /// The text of a user, tool, system or assistant, with the nonce made harmless in it.
    ///
    /// [`read`](Self::read) undoes it where the model repeats such a text.
    pub fn escape<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.nonce.escape(text)
    }

    /// Appends the calls of one assistant turn as one block of markup.
    pub fn push_calls(&self, calls: &[&ToolCall], steps: &mut HistorySteps, out: &mut String) {
        history::push_calls(self, calls, steps, out);
    }

    /// Appends the result of a call: what of it is text, and whether the tool failed.
    pub fn push_result(&self, call: &ToolCall, text: &str, is_error: bool, out: &mut String) {
        history::push_result(self, call, text, is_error, out);
    }

    /// Reads the whole text of a reply. A closing tag that the stop sequence cut off is not missed.
    pub fn read(&self, text: &str) -> PromptedReply {
        let copied = Copied::new(self.request);
        let (text, cut) = self.without_cut_opening(text);
        let mut reply = if memmem::find(text.as_bytes(), self.nonce.as_str().as_bytes()).is_some() {
            own::read(self, text, &copied)
        } else if matches!(self.nonce.unescape(text), Cow::Owned(_)) {
            // Markup with the nonce split as in what the model was shown is quoted from there.
            let losses = [Loss::ToolMarkup].into_iter().collect();
            PromptedReply { text: text.to_owned(), calls: Vec::new(), losses }
        } else {
            foreign::read(self, text, &copied)
        };
        if cut {
            reply.losses.insert(Loss::ToolMarkup);
        }
        if let Cow::Owned(plain) = self.nonce.unescape(&reply.text) {
            reply.text = plain;
        }
        reply
    }

    /// The text without the beginning of an opening tag that the end of the reply cuts off.
    fn without_cut_opening<'t>(&self, text: &'t str) -> (&'t str, bool) {
        let opening = self.stop.replacen('/', "", 1);
        let Some(at) = text.rfind("<tool_calls_") else { return (text, false) };
        let tail = text.get(at..).unwrap_or_default();
        // A digit of the nonce at least: all before it could be anybody's.
        let begun = tail.len() > "<tool_calls_".len() && tail.len() < opening.len();
        if begun && opening.starts_with(tail) {
            (text.get(..at).unwrap_or_default().trim_end(), true)
        } else {
            (text, false)
        }
    }

    fn has_history(&self) -> bool {
        self.request.messages.iter().any(|message| {
            let marked = |block: &Block| matches!(block, Block::ToolCall(_) | Block::ToolResult(_));
            message.content.iter().any(marked)
        })
    }

    /// The schema of a tool by its place in the table.
    fn schema(&self, at: usize) -> Option<&Value> {
        let slot = self.schemas.get(at)?;
        slot.get_or_init(|| match &self.table.entries().get(at)?.tool.input {
            ToolInput::Schema(Some(json)) => serde_json::from_str(json.as_str()).ok(),
            ToolInput::Schema(None) | ToolInput::FreeText(_) | ToolInput::Hosted(_) => None,
        })
        .as_ref()
    }
}
