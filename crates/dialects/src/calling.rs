//! What the clients of all dialects share: names that upstreams take, fields that go back to the
//! dialect they came from, and bounds on what a stream makes us hold.

use std::borrow::Cow;
use std::collections::HashMap;

use model::{
    CompletionRequest, Dialect, Failure, FailureKind, Json, Loss, LossSet, Opaque, ToolInput,
    ToolName,
};

use crate::tool_table::{ToolTable, flat};

mod blocks;
mod failure;
mod wire;

pub(crate) use blocks::Blocks;
pub(crate) use failure::{read_failure, read_failure_in_stream};

/// The most that a stream may make us hold, in bytes: arguments and thoughts that are gathered
/// until they are whole.
const MAX_HELD: usize = 32 << 20;

/// The flat names of a request's tools, as [`ToolTable`] gives them.
#[derive(Debug)]
pub(crate) struct Names<'r> {
    by_tool: HashMap<(Option<&'r str>, &'r str), Named<'r>>,
}

/// A tool by its flat name.
#[derive(Debug)]
struct Named<'r> {
    flat: Cow<'r, str>,
    free_text: bool,
}

impl<'r> Names<'r> {
    /// The names of all tools.
    pub(crate) fn new(request: &'r CompletionRequest) -> Self {
        let table = ToolTable::unjudged(request);
        let entries = table.entries().iter();
        let by_tool = entries
            .map(|entry| {
                let tool = entry.tool;
                let free_text = matches!(tool.input, ToolInput::FreeText(_));
                let named = Named { flat: entry.name.clone(), free_text };
                ((tool.namespace.as_deref(), tool.name.as_str()), named)
            })
            .collect();
        Self { by_tool }
    }

    /// Whether a tool takes free text.
    pub(crate) fn is_free_text(&self, name: &ToolName) -> bool {
        let key = (name.namespace.as_deref(), name.name.as_str());
        self.by_tool.get(&key).is_some_and(|named| named.free_text)
    }

    /// The flat name of a tool, of a call in the history or of a tool that is chosen.
    pub(crate) fn of<'n>(
        &'n self,
        namespace: Option<&'n str>,
        name: &'n str,
        losses: &mut LossSet,
    ) -> Cow<'n, str> {
        let flat = match self.by_tool.get(&(namespace, name)) {
            Some(named) => Cow::Borrowed(named.flat.as_ref()),
            None if name.is_empty() && namespace.is_none() => Cow::Borrowed(""),
            None => flat(namespace, name),
        };
        if namespace.is_some() || flat != name {
            losses.insert(Loss::ToolName);
        }
        flat
    }
}

/// What may go back to `dialect` of the fields that were kept for a dialect.
pub(crate) fn own<'e>(
    extras: Option<&'e Opaque>,
    dialect: Dialect,
    losses: &mut LossSet,
) -> Option<&'e Json> {
    let extras = extras?;
    if extras.dialect == dialect {
        return Some(&extras.json);
    }
    losses.insert(Loss::DialectFields);
    None
}

/// Names what was set aside of a block or tool that has no place for it.
pub(crate) fn lose<T>(value: Option<&T>, loss: Loss, losses: &mut LossSet) {
    if value.is_some() {
        losses.insert(loss);
    }
}

/// Whether a cache mark is an object with a `type`, as Anthropic's are and OpenAI's are not.
pub(crate) fn is_typed(mark: &Json) -> bool {
    crate::extras::fields(mark).iter().any(|(name, _)| name == "type")
}

/// How much a stream has made us hold so far.
#[derive(Debug, Default)]
pub(crate) struct Held(usize);

impl Held {
    /// Appends a piece to what is gathered.
    pub(crate) fn push(&mut self, gathered: &mut String, piece: &str) -> Result<(), Failure> {
        self.count(piece.len())?;
        gathered.push_str(piece);
        Ok(())
    }

    /// Counts bytes that are held elsewhere.
    pub(crate) fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 > MAX_HELD {
            return Err(failed("The upstream's answer is too large."));
        }
        Ok(())
    }
}

/// An upstream that does not keep to its own protocol.
pub(crate) fn failed(why: &str) -> Failure {
    Failure::new(FailureKind::UpstreamFailed, why)
}

/// An answer that is no JSON, or of another shape.
pub(crate) fn unreadable(error: serde_json::Error) -> Failure {
    failed("The upstream's answer could not be read.").with_source(error)
}

/// A stream that ends before the answer does.
pub(crate) fn broke_off() -> Failure {
    failed("The upstream's answer broke off before its end.")
}
