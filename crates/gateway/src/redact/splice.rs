//! Puts marks in the places of what was found, so that JSON stays JSON.
//!
//! What was found may begin or end inside an escape (the `n` of `\npm_…` is a line break's), and
//! what a configured pattern or a known secret matches may be a number, or reach over the quotes
//! from one string into the next. So the text is walked once from its start, and a mark covers
//! whole escapes, stays inside one string, and gets quotes where it takes the place of a number.

use super::{Found, SecretKind};

/// Something found, and whether it may lie outside of strings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) found: Found,
    pub(super) anywhere: bool,
}

/// Sorts what was found and joins what overlaps.
pub(super) fn join(spans: &mut Vec<Span>) {
    spans.sort_by_key(|span| (span.found.start, span.found.end));
    spans.dedup_by(|next, last| {
        let overlaps = next.found.start < last.found.end;
        if overlaps {
            last.found.end = last.found.end.max(next.found.end);
            last.anywhere |= next.anywhere;
        }
        overlaps
    });
}

/// Writes the text with marks in the places of `spans`, which are sorted and do not overlap.
pub(super) fn splice(text: &[u8], spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 24);
    let mut walk = Walk { text, json: looks_like_json(text), at: 0, inside: false, copied: 0 };
    for span in spans {
        walk.to(span.found.start);
        if span.anywhere && walk.json {
            walk.mark_anywhere(&mut out, span.found);
        } else {
            walk.mark_string(&mut out, span.found);
        }
    }
    out.extend(walk.text.get(walk.copied..).unwrap_or_default());
    out
}

/// Whether a text is meant as a JSON object, array or string.
fn looks_like_json(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    matches!(
        (text.first(), text.last()),
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) | (Some(b'"'), Some(b'"'))
    )
}

struct Walk<'t> {
    text: &'t [u8],
    json: bool,
    /// Where we are; never inside an escape.
    at: usize,
    /// Whether that is inside a JSON string.
    inside: bool,
    /// Up to where the text was written or left out.
    copied: usize,
}

impl Walk<'_> {
    /// The end of the byte or escape at `self.at`.
    fn unit(&self) -> usize {
        let length = match (self.text.get(self.at), self.text.get(self.at + 1)) {
            (Some(b'\\'), Some(b'u')) => 6,
            (Some(b'\\'), Some(_)) => 2,
            _ => 1,
        };
        (self.at + length).min(self.text.len())
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Steps over one byte or escape.
    fn step(&mut self) {
        match self.byte() {
            Some(b'"') => self.inside = !self.inside,
            // No JSON string holds a raw line break.
            Some(b'\n') => self.inside = false,
            _ => {}
        }
        self.at = self.unit();
    }

    /// Walks to the byte or escape that holds `place`.
    fn to(&mut self, place: usize) {
        while self.at < place {
            let rest = self.text.get(self.at..place).unwrap_or_default();
            let plain = memchr::memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len());
            self.at += plain;
            if self.at < place {
                if self.unit() > place {
                    return;
                }
                self.step();
            }
        }
    }

    fn copy_to(&mut self, out: &mut Vec<u8>, place: usize) {
        out.extend(self.text.get(self.copied..place).unwrap_or_default());
        self.copied = place;
    }

    /// Marks what lies inside one string, or in plain text.
    fn mark_string(&mut self, out: &mut Vec<u8>, found: Found) {
        self.copy_to(out, self.at);
        while self.at < found.end {
            self.step();
        }
        push_mark(out, found.kind);
        self.copied = self.at;
    }

    /// Marks what may be a number, or lie in several strings; punctuation between them stays.
    fn mark_anywhere(&mut self, out: &mut Vec<u8>, found: Found) {
        while self.at < found.end {
            if self.inside {
                self.copy_to(out, self.at);
                let from = self.at;
                while self.at < found.end && !matches!(self.byte(), Some(b'"' | b'\n')) {
                    self.step();
                }
                if self.at > from {
                    push_mark(out, found.kind);
                    self.copied = self.at;
                }
                if self.at < found.end {
                    self.step();
                }
            } else if self.byte().is_some_and(is_scalar) {
                let from = self.text.get(self.copied..self.at).unwrap_or_default();
                let back = from.iter().rev().take_while(|byte| is_scalar(**byte)).count();
                self.copy_to(out, self.at - back);
                self.at = super::bytes::run(self.text, self.at, is_scalar);
                out.push(b'"');
                push_mark(out, found.kind);
                out.push(b'"');
                self.copied = self.at;
            } else {
                self.step();
            }
        }
    }
}

/// What numbers and the words of JSON are made of.
const fn is_scalar(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"')
}

fn push_mark(out: &mut Vec<u8>, kind: SecretKind) {
    out.extend(b"[redacted:");
    out.extend(kind.as_str().as_bytes());
    out.push(b']');
}
