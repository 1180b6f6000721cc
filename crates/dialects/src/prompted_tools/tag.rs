//! Tags, as far as tool markup has them.

use std::borrow::Cow;

/// Up to where the end of a tag is looked for.
const MAX_TAG: usize = 1024;

/// What a tag's word means, in our markup or a foreign one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Around all calls.
    Calls,
    /// Around one call.
    Call,
    /// Around one argument.
    Argument,
    /// Around a result, which only we write.
    Result,
    /// Anything else.
    Other,
}

/// A tag in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag<'t> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) word: Word,
    /// The word as it stands there.
    pub(super) spelled: &'t str,
    pub(super) closing: bool,
    /// Whether it carries the nonce.
    pub(super) own: bool,
    /// Whether the text ends inside of it.
    pub(super) cut: bool,
    attributes: &'t str,
}

impl<'t> Tag<'t> {
    /// The tag that begins at `at`. `nonce` may be empty: then no tag is our own.
    pub(super) fn at(text: &'t str, at: usize, nonce: &str) -> Option<Self> {
        let inner = text.get(at..)?.strip_prefix('<')?;
        let (closing, inner) = match inner.strip_prefix('/') {
            Some(inner) => (true, inner),
            None => (false, inner),
        };
        let len = inner.bytes().take_while(|byte| is_word(*byte)).count();
        let (spelled, behind) = inner.split_at_checked(len)?;
        if !spelled.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return None;
        }
        if !matches!(
            behind.bytes().next(),
            None | Some(b'>' | b'/' | b'=' | b' ' | b'\t' | b'\n' | b'\r')
        ) {
            return None;
        }
        let (len, cut) = match end_of(behind) {
            Some(len) => (len, false),
            None if behind.len() <= MAX_TAG && !behind.contains('<') => (behind.len(), true),
            None => return None,
        };
        let attributes = behind.get(..len)?.trim_end_matches('>').trim_end_matches('/');
        let end = text.len() - behind.len() + len;
        let stem = (!nonce.is_empty()).then(|| spelled.strip_suffix(nonce)).flatten();
        let own = stem.is_some();
        let stem = stem.map_or(spelled, |stem| stem.trim_end_matches(['_', '-', ':']));
        let mut word = word_of(stem);
        if stem.eq_ignore_ascii_case("tool_call") && attributes.contains("name") {
            word = Word::Call;
        }
        Some(Self { start: at, end, word, spelled: stem, closing, own, cut, attributes })
    }

    /// The value of an attribute, without its quotes and entities.
    pub(super) fn attribute(&self, wanted: &str) -> Option<Cow<'t, str>> {
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_start();
            let len = rest.bytes().take_while(|byte| is_word(*byte)).count();
            let (name, behind) = rest.split_at_checked(len)?;
            let behind = behind.trim_start();
            let Some(value) = behind.strip_prefix('=') else {
                // Something that is no attribute: go on behind it.
                rest = if name.is_empty() {
                    behind.get(behind.chars().next()?.len_utf8()..)?
                } else {
                    behind
                };
                continue;
            };
            let value = value.trim_start();
            let (value, behind) = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let inner = value.get(1..)?;
                    inner.split_once(quote).unwrap_or((inner, ""))
                }
                _ => value.split_once(char::is_whitespace).unwrap_or((value, "")),
            };
            // `<function=NAME>` names its attribute by the tag itself.
            if name.eq_ignore_ascii_case(wanted) || (name.is_empty() && wanted == "name") {
                return Some(without_entities(value));
            }
            rest = behind;
        }
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'.')
}

/// The length up to and with the `>` that ends a tag; quotes may hold one.
fn end_of(behind: &str) -> Option<usize> {
    let mut quote = None;
    let mut first = None;
    for (at, byte) in behind.bytes().enumerate().take(MAX_TAG) {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            (None, b'>') => return Some(at + 1),
            (None, b'<') => break,
            (_, b'>') => first = first.or(Some(at + 1)),
            _ => {}
        }
    }
    // A quote without its end: the first `>` must do.
    first
}

fn word_of(stem: &str) -> Word {
    let lower = stem.to_ascii_lowercase();
    // Some models write a prefix before their own words.
    match lower.rsplit(':').next().unwrap_or_default() {
        "tool_calls" | "function_calls" | "tool_call" | "function_call" => Word::Calls,
        "call" | "invoke" | "function" => Word::Call,
        "arg" | "argument" | "parameter" | "param" => Word::Argument,
        "tool_result" | "tool_results" | "tool_response" | "function_results"
        | "function_result" => Word::Result,
        // Our own word with another nonce: from another conversation, or misremembered.
        other if other.starts_with("tool_calls_") => Word::Calls,
        other if other.starts_with("arg_") => Word::Argument,
        other if other.starts_with("tool_result_") => Word::Result,
        _ => Word::Other,
    }
}

/// Appends a value of an attribute, so that [`Tag::attribute`] gives it back.
pub(super) fn push_attribute(out: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' => out.push_str("&#10;"),
            other => out.push(other),
        }
    }
}

fn without_entities(value: &str) -> Cow<'_, str> {
    const KNOWN: [(&str, char); 6] = [
        ("&amp;", '&'),
        ("&quot;", '"'),
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&#10;", '\n'),
        ("&#39;", '\''),
    ];
    if !value.contains('&') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        let at = rest.len() - behind.len() - 1;
        let entity = rest.get(at..).unwrap_or_default();
        let known = KNOWN.iter().find(|(name, _)| entity.starts_with(name));
        out.push(known.map_or('&', |(_, char)| *char));
        rest = known.map_or(behind, |(name, _)| entity.get(name.len()..).unwrap_or_default());
    }
    out.push_str(rest);
    Cow::Owned(out)
}
