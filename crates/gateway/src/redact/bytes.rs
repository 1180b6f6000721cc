//! Looking at bytes around a place: runs, edges of words, quotes and backslashes.
//!
//! A credential may stand in plain text, in a JSON string, or in JSON inside a JSON string (the
//! arguments of a tool). So a line break may be one byte or an `n` behind one or more backslashes,
//! and a quote may be escaped any number of times.

/// The byte at a place, if there is one.
pub(super) fn at(text: &[u8], place: usize) -> Option<u8> {
    text.get(place).copied()
}

/// Where a run of bytes of a class ends.
pub(super) fn run(text: &[u8], from: usize, class: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !class(*byte)).unwrap_or(rest.len())
}

/// Letters and digits.
pub(super) const fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// Letters, digits and `_`.
pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Letters, digits, `_` and `-`: base64 for URLs, and most tokens.
pub(super) const fn is_token(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

/// Standard base64.
pub(super) const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Any of the quotes.
pub(super) const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// Whether something that begins at a place does not go on a word of the given class. An `n` that
/// belongs to an escaped line break is no letter of a word.
pub(super) fn begins(text: &[u8], place: usize, class: impl Fn(u8) -> bool) -> bool {
    let Some(before) = place.checked_sub(1).and_then(|last| at(text, last)) else { return true };
    if !class(before) {
        return true;
    }
    let back = |distance: usize| place.checked_sub(distance).and_then(|last| at(text, last));
    if matches!(before, b'n' | b'r' | b't' | b'b' | b'f') && back(2) == Some(b'\\') {
        return true;
    }
    back(6) == Some(b'\\')
        && back(5) == Some(b'u')
        && (1..=4).all(|distance| back(distance).is_some_and(|byte| byte.is_ascii_hexdigit()))
}

/// A quote with the backslashes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    /// Backslashes.
    pub(super) escapes: usize,
    /// Which quote.
    pub(super) mark: u8,
}

/// Deeper nesting of JSON in JSON than four is not looked into.
const MAX_ESCAPES: usize = 15;

/// The quote at a place, and where what follows it begins.
pub(super) fn quote(text: &[u8], place: usize) -> Option<(Quote, usize)> {
    let mark_at = run(text.get(..place + MAX_ESCAPES + 1).unwrap_or(text), place, |b| b == b'\\');
    let mark = at(text, mark_at).filter(|mark| is_quote(*mark))?;
    Some((Quote { escapes: mark_at - place, mark }, mark_at + 1))
}

/// Skips a few blanks.
pub(super) fn blanks(text: &[u8], from: usize) -> usize {
    let few = text.get(..from + 8).unwrap_or(text);
    run(few, from, |byte| matches!(byte, b' ' | b'\t'))
}

/// Whether the first bytes of a text, up to 64, hold a digit: names and prose seldom do, random
/// tokens nearly always. Bounded, so that a long run is not read again from each of its places.
pub(super) fn has_digit(text: &[u8]) -> bool {
    text.iter().take(64).any(u8::is_ascii_digit)
}
