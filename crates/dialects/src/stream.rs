//! What a streaming door needs of a dialect, and what a client of a stream needs of it.

use model::{CompletionEvent, Failure};

use crate::sse::SseEvent;

/// Writes one streamed reply as server-sent events.
///
/// The door calls [`begin`](Self::begin) once, then [`event`](Self::event) for each event of each
/// choice and [`keep_alive`](Self::keep_alive) while nothing comes, and ends with either
/// [`end`](Self::end) or [`failure`](Self::failure). All methods append whole SSE frames to `out`.
pub trait StreamWriter: Send {
    /// Writes what may be sent before the upstream has answered.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Writes one event. Text deltas are cut into pieces of 20 to 60 bytes at words.
    fn event(&mut self, choice: u8, event: CompletionEvent, out: &mut Vec<u8>);

    /// Writes a sign of life that no client mistakes for content.
    fn keep_alive(&mut self, out: &mut Vec<u8>);

    /// Writes the dialect's own error event; nothing may follow it.
    fn failure(&mut self, failure: &Failure, out: &mut Vec<u8>);

    /// Writes what ends a complete stream.
    fn end(&mut self, out: &mut Vec<u8>);
}

/// Reads one streamed answer of an upstream.
///
/// Text is passed on as it comes. Tool calls and thoughts are gathered until they are whole: the
/// model's events name a call's arguments and a thought's signature when the block begins.
pub trait StreamReader: Send {
    /// Takes the next server-sent event and appends what it tells.
    ///
    /// # Errors
    /// The upstream's own error, or an event that cannot be read; the reader must not be used any
    /// more then.
    fn event(&mut self, event: &SseEvent, out: &mut Vec<CompletionEvent>) -> Result<(), Failure>;

    /// Ends the stream.
    ///
    /// # Errors
    /// The stream ended before the answer did: that is a failure, not a short answer.
    fn end(&mut self) -> Result<(), Failure>;
}
