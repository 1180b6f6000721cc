//! JSON text: the checks at the door, compact carrying, and escaping.
//!
//! Why by hand: a request body is scanned once for its depth before anything recurses into it,
//! schemas and arguments keep their key order and number text, and every string that we write
//! into a frame must be free of whatever any client takes for a line break.

use std::borrow::Cow;

use memchr::memchr2;
use model::{Failure, FailureKind, Json};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

mod object;

pub(crate) use object::{ObjectWriter, push_list, push_object};

/// How deep JSON may nest. The parser's own bound is the same; text that we carry unparsed is
/// bound by this scan alone.
pub const MAX_DEPTH: usize = 128;

/// Checks what must hold before a body is parsed: UTF-8, and no deeper than [`MAX_DEPTH`].
///
/// Whether it is JSON at all is left to the reader.
///
/// # Errors
/// [`FailureKind::BadRequest`], with the offset of the first bad byte where it is not UTF-8.
pub fn check_body(body: &[u8]) -> Result<&str, Failure> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!(
            "The request body is not valid UTF-8: bad byte at offset {}.",
            error.valid_up_to()
        );
        Failure::new(FailureKind::BadRequest, message).with_source(error)
    })?;
    if text.trim_ascii().is_empty() {
        return Err(Failure::new(
            FailureKind::BadRequest,
            "The request body is empty; a JSON object is expected.",
        ));
    }
    if is_too_deep(body) {
        let message = format!("The request body nests deeper than {MAX_DEPTH} levels.");
        return Err(Failure::new(FailureKind::BadRequest, message));
    }
    Ok(text)
}

/// Checks JSON text and removes the white space outside its strings.
///
/// Key order and number text stay as they are. `None` where the text is not JSON or nests deeper
/// than [`MAX_DEPTH`].
pub fn compact(raw: &str) -> Option<Json> {
    if is_too_deep(raw.as_bytes()) || serde_json::from_str::<IgnoredAny>(raw).is_err() {
        return None;
    }
    Json::from_compact(without_white_space(raw))
}

/// As [`compact`], for text that the parser has checked already.
pub(crate) fn compact_raw(raw: &RawValue) -> Option<Json> {
    if is_too_deep(raw.get().as_bytes()) {
        return None;
    }
    Json::from_compact(without_white_space(raw.get()))
}

/// Appends `text` as a JSON string with its quotes.
///
/// Besides what JSON asks for, all control characters and U+2028 and U+2029 are escaped: some
/// clients split server-sent events with a function that takes those for line ends.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends `text` as the inside of a JSON string, without quotes.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (run, tail) = rest.split_at_checked(plain_len(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(run);
        let used = push_special(out, tail);
        if used == 0 {
            return;
        }
        rest = tail.get(used..).unwrap_or_default();
    }
}

/// Appends compact JSON that somebody else wrote, with the characters escaped inside its strings
/// that some client takes for a line end.
pub(crate) fn push_json(out: &mut Vec<u8>, json: &str) {
    let mut rest = json;
    while let Some((at, found)) = rest.char_indices().find(|(_, char)| ends_lines(*char)) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default().as_bytes());
        out.extend_from_slice(format!("\\u{:04x}", u32::from(found)).as_bytes());
        rest = rest.get(at + found.len_utf8()..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Outside strings JSON holds no such character but plain white space, which is gone already.
const fn ends_lines(char: char) -> bool {
    matches!(char, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

/// Appends a number in decimal digits.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a JSON string, or `null`.
pub(crate) fn push_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => push_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// How many bytes from the start need no escape.
fn plain_len(bytes: &[u8]) -> usize {
    let mut seen = 0;
    let mut rest = bytes;
    // Whole chunks without a branch per byte, so that the compiler uses vector instructions.
    while let Some((chunk, tail)) = rest.split_first_chunk::<16>() {
        if chunk.iter().fold(false, |hit, byte| hit | is_special(*byte)) {
            break;
        }
        seen += chunk.len();
        rest = tail;
    }
    seen + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

/// Whether a byte must be escaped, or may begin a character that must be.
#[expect(clippy::needless_bitwise_bool, reason = "without branches the loop is vectorized")]
const fn is_special(byte: u8) -> bool {
    (byte < 0x20)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == 0x7F)
        | (byte == 0xC2)
        | (byte == 0xE2)
}

/// Appends the first character of `tail`, escaped where needed, and returns how many bytes of it
/// were used; 0 at the end.
fn push_special(out: &mut Vec<u8>, tail: &[u8]) -> usize {
    match tail {
        [] => 0,
        [b'"', ..] => push_escape(out, br#"\""#, 1),
        [b'\\', ..] => push_escape(out, br"\\", 1),
        [b'\n', ..] => push_escape(out, br"\n", 1),
        [b'\r', ..] => push_escape(out, br"\r", 1),
        [b'\t', ..] => push_escape(out, br"\t", 1),
        [byte @ (0..=0x1F | 0x7F), ..] | [0xC2, byte @ 0x80..=0x9F, ..] => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(br"\u00");
            out.extend(HEX.get(usize::from(byte >> 4)));
            out.extend(HEX.get(usize::from(byte & 0xF)));
            if *byte < 0x80 { 1 } else { 2 }
        }
        [0xE2, 0x80, 0xA8, ..] => push_escape(out, br"\u2028", 3),
        [0xE2, 0x80, 0xA9, ..] => push_escape(out, br"\u2029", 3),
        [byte, ..] => push_escape(out, std::slice::from_ref(byte), 1),
    }
}

fn push_escape(out: &mut Vec<u8>, escape: &[u8], used: usize) -> usize {
    out.extend_from_slice(escape);
    used
}

/// The offset of the quote that ends the string whose inside begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

/// Whether brackets outside strings nest deeper than [`MAX_DEPTH`].
fn is_too_deep(bytes: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at + 1),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    false
}

/// Removes the white space outside strings of valid JSON.
fn without_white_space(raw: &str) -> Cow<'_, str> {
    let bytes = raw.as_bytes();
    let mut kept: Option<String> = None;
    let mut run = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at + 1),
            b' ' | b'\t' | b'\n' | b'\r' => {
                let kept = kept.get_or_insert_with(|| String::with_capacity(raw.len()));
                kept.push_str(raw.get(run..at).unwrap_or_default());
                run = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    match kept {
        None => Cow::Borrowed(raw),
        Some(mut kept) => {
            kept.push_str(raw.get(run..).unwrap_or_default());
            Cow::Owned(kept)
        }
    }
}

#[cfg(test)]
mod tests;
