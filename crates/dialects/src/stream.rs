//! What a streaming door needs of a dialect.

use model::{CompletionEvent, Failure};

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
