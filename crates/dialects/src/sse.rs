//! Server-sent events: cutting text into pieces, writing frames, reading streams.
//!
//! A frame ends at a line break, so nothing that a host or caller wrote may bring one along: the
//! writers here take JSON, in which a raw line break can only stand outside strings, where a
//! space means the same.

use memchr::memchr2;

mod reader;

pub use reader::{SseEvent, SseFault, SseReader};

/// The shortest piece, in bytes, unless it is the last.
pub const MIN_PIECE: usize = 20;
/// The longest piece, in bytes.
pub const MAX_PIECE: usize = 60;

/// Cuts text into pieces of 20 to 60 bytes, behind white space where there is some.
///
/// No character is cut, the pieces joined are the text, and only the last may be shorter.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, tail) = rest.split_at_checked(piece_len(rest)).unwrap_or((rest, ""));
        rest = tail;
        Some(piece)
    })
}

/// The length of the first piece of a text that is not empty.
fn piece_len(text: &str) -> usize {
    let Some(window) = text.as_bytes().get(..MAX_PIECE) else {
        return text.len();
    };
    if text.len() == MAX_PIECE {
        return MAX_PIECE;
    }
    let words = window.get(MIN_PIECE - 1..).unwrap_or_default();
    match words.iter().rposition(|byte| matches!(byte, b' ' | b'\n')) {
        Some(at) => MIN_PIECE + at,
        None => text.floor_char_boundary(MAX_PIECE),
    }
}

/// Appends a frame of one `data:` line. A raw line break in `json` becomes a space.
pub fn push_data(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"data: ");
    push_line(out, json);
    out.extend_from_slice(b"\n\n");
}

/// Appends a frame with an `event:` line. A raw line break in `name` or `json` becomes a space.
pub fn push_event(out: &mut Vec<u8>, name: &str, json: &[u8]) {
    out.extend_from_slice(b"event: ");
    push_line(out, name.as_bytes());
    out.push(b'\n');
    push_data(out, json);
}

/// Ends a frame that a writer has composed of escaped parts itself.
pub(crate) fn close_frame(out: &mut Vec<u8>, payload_start: usize) {
    debug_assert!(
        out.get(payload_start..).is_some_and(|payload| memchr2(b'\n', b'\r', payload).is_none()),
        "a raw line break reached a frame"
    );
    out.extend_from_slice(b"\n\n");
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    let start = out.len();
    out.extend_from_slice(line);
    let mut written = out.get_mut(start..).unwrap_or_default();
    while let Some(at) = memchr2(b'\n', b'\r', written) {
        let (_, tail) = written.split_at_mut(at);
        let Some((byte, tail)) = tail.split_first_mut() else {
            return;
        };
        *byte = b' ';
        written = tail;
    }
}

#[cfg(test)]
mod tests;
