//! A request of the other side, and its one answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::envelope;
use crate::outbox::Outbox;

/// A request of the other side. It gets exactly one answer: dropped without one, it is answered
/// with an internal error, so that no host waits for ever on a mistake of ours.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The raw JSON of `params`.
    pub params: Option<Bytes>,
    raw_id: String,
    reply_to: Option<ReplyTo>,
}

/// Where the answer goes.
#[derive(Clone, Debug)]
pub(crate) enum ReplyTo {
    /// On a line of its own.
    Line(Arc<Outbox>),
    /// Into the answer of the batch that it came in.
    Batch(Arc<BatchReplies>),
}

impl Request {
    pub(crate) fn new(
        raw_id: String,
        method: String,
        params: Option<Bytes>,
        reply_to: ReplyTo,
    ) -> Self {
        Self { method, params, raw_id, reply_to: Some(reply_to) }
    }

    /// The raw JSON of the id, whatever type it has.
    pub fn raw_id(&self) -> &str {
        &self.raw_id
    }

    /// Answers; `write_result` appends the JSON of `result`.
    pub fn reply(mut self, write_result: impl FnOnce(&mut Vec<u8>)) {
        let mut line = Vec::with_capacity(256);
        envelope::begin_result(&mut line, &self.raw_id);
        write_result(&mut line);
        line.push(b'}');
        if memchr::memchr2(b'\n', b'\r', &line).is_some() {
            self.fail(envelope::INTERNAL_ERROR, "the answer held a raw line break");
            return;
        }
        if let Some(reply_to) = self.reply_to.take() {
            reply_to.send(Some(line));
        }
    }

    /// Answers with an error.
    pub fn fail(mut self, code: i64, message: &str) {
        if let Some(reply_to) = self.reply_to.take() {
            let mut line = Vec::with_capacity(128);
            envelope::write_error(&mut line, &self.raw_id, code, message);
            reply_to.send(Some(line));
        }
    }

    /// Ends it without an answer, because the other side has cancelled it.
    pub fn withdraw(mut self) {
        if let Some(reply_to) = self.reply_to.take() {
            reply_to.send(None);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(reply_to) = self.reply_to.take() {
            let mut line = Vec::with_capacity(128);
            envelope::write_error(
                &mut line,
                &self.raw_id,
                envelope::INTERNAL_ERROR,
                "the request was dropped",
            );
            reply_to.send(Some(line));
        }
    }
}

impl ReplyTo {
    pub(crate) fn send(self, answer: Option<Vec<u8>>) {
        match self {
            Self::Line(outbox) => {
                if let Some(mut line) = answer {
                    line.push(b'\n');
                    outbox.push_now(line);
                }
            }
            Self::Batch(batch) => batch.add(answer),
        }
    }
}

/// The answers of a batch (MCP 2025-03-26), sent as one array when all are there.
#[derive(Debug)]
pub(crate) struct BatchReplies {
    state: Mutex<(Vec<u8>, usize)>,
    outbox: Arc<Outbox>,
}

impl BatchReplies {
    /// A batch that holds this many requests.
    pub(crate) fn new(outbox: Arc<Outbox>, requests: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new((Vec::new(), requests)), outbox })
    }

    fn add(&self, answer: Option<Vec<u8>>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (line, missing) = &mut *state;
        if let Some(answer) = answer {
            line.push(if line.is_empty() { b'[' } else { b',' });
            line.extend_from_slice(&answer);
        }
        *missing = missing.saturating_sub(1);
        if *missing == 0 && !line.is_empty() {
            let mut line = std::mem::take(line);
            line.extend_from_slice(b"]\n");
            self.outbox.push_now(line);
        }
    }
}
