//! Finds the raw text of what is carried as it is.
//!
//! Blocks are told apart only after they were parsed, so the text of those that nobody here
//! understands is looked for when one has come. Each list is read once, however many there are.

use model::{Failure, Json};
use serde_json::value::RawValue;

use super::wire;
use crate::json::compact_raw;
use crate::lenient::{PathStyle, TextOr, parse};

const STYLE: PathStyle = PathStyle::Dots;

/// The lists of a request as raw text.
#[derive(Debug)]
pub(super) struct RawText<'a> {
    body: &'a str,
    request: Option<wire::RawRequest<'a>>,
    /// The blocks inside the tool result that was read last, with its place.
    inner: Option<((usize, usize), Vec<&'a RawValue>)>,
}

impl<'a> RawText<'a> {
    /// The text of a request.
    pub(super) const fn new(body: &'a str) -> Self {
        Self { body, request: None, inner: None }
    }

    /// A block of `system`.
    pub(super) fn system(&mut self, at: usize) -> Result<Option<Json>, Failure> {
        let system = self.request()?.system.as_ref();
        Ok(nth(system, at).and_then(compact_raw))
    }

    /// A block of a message.
    pub(super) fn block(&mut self, message: usize, at: usize) -> Result<Option<Json>, Failure> {
        Ok(self.outer(message, at)?.and_then(compact_raw))
    }

    /// A block inside a tool result.
    pub(super) fn inner(
        &mut self,
        message: usize,
        block: usize,
        at: usize,
    ) -> Result<Option<Json>, Failure> {
        let place = (message, block);
        if self.inner.as_ref().is_none_or(|(read, _)| *read != place) {
            let list = match self.outer(message, block)? {
                Some(outer) => parse::<wire::RawMessage<'a>>(outer.get(), STYLE)?.content,
                None => None,
            };
            let list = match list {
                Some(TextOr::Items(items)) => items,
                _ => Vec::new(),
            };
            self.inner = Some((place, list));
        }
        let list = self.inner.as_ref().map(|(_, list)| list.as_slice());
        let raw = list.and_then(|list| list.get(at).copied());
        Ok(raw.and_then(compact_raw))
    }

    /// A tool.
    pub(super) fn tool(&mut self, at: usize) -> Result<Option<Json>, Failure> {
        let tools = self.request()?.tools.as_ref();
        let raw = tools.and_then(|tools| tools.get(at).copied());
        Ok(raw.and_then(compact_raw))
    }

    fn outer(&mut self, message: usize, at: usize) -> Result<Option<&'a RawValue>, Failure> {
        let messages = self.request()?.messages.as_ref();
        let message = messages.and_then(|messages| messages.get(message));
        Ok(nth(message.and_then(|message| message.content.as_ref()), at))
    }

    fn request(&mut self) -> Result<&wire::RawRequest<'a>, Failure> {
        let read = match self.request.take() {
            Some(read) => read,
            None => parse(self.body, STYLE)?,
        };
        Ok(self.request.insert(read))
    }
}

fn nth<'a>(list: Option<&TextOr<&'a RawValue>>, at: usize) -> Option<&'a RawValue> {
    match list {
        Some(TextOr::Items(items)) => items.get(at).copied(),
        _ => None,
    }
}
