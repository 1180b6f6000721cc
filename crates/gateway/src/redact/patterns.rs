//! What this installation knows beyond the built-in kinds: its own secrets, and the operator's
//! patterns.

use std::fmt;

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::splice::Span;
use super::{Found, SecretKind};

/// Bytes that a compiled pattern may take.
const MAX_COMPILED: usize = 1 << 20;

/// A configured pattern that cannot be used.
///
/// It is named by its place: the pattern itself may hold what it is to hide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// Which one, from 0; `None` where the built-in kinds cannot be compiled.
    pub place: Option<usize>,
    /// Why, as the end of a sentence.
    pub why: String,
}

impl BadPattern {
    pub(super) fn built_in() -> Self {
        Self { place: None, why: "the built-in patterns cannot be compiled".to_owned() }
    }
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => {
                write!(f, "redaction pattern {} cannot be used: {}", place + 1, self.why)
            }
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for BadPattern {}

/// The operator's patterns.
pub(super) struct Configured(Vec<Regex>);

impl Configured {
    pub(super) fn new(patterns: &[String]) -> Result<Self, BadPattern> {
        let compile = |(place, pattern): (usize, &String)| {
            let bad = |why: String| BadPattern { place: Some(place), why };
            let regex = RegexBuilder::new(pattern)
                .size_limit(MAX_COMPILED)
                .dfa_size_limit(MAX_COMPILED)
                .build()
                .map_err(|error| bad(reason(&error)))?;
            if regex.is_match(b"") {
                return Err(bad("it matches the empty text".to_owned()));
            }
            Ok(regex)
        };
        patterns.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn find(&self, text: &[u8], spans: &mut Vec<Span>) {
        for regex in &self.0 {
            if regex.captures_len() == 1 {
                spans.extend(regex.find_iter(text).filter_map(|hit| span(hit.start(), hit.end())));
            } else {
                spans.extend(regex.captures_iter(text).filter_map(|groups| {
                    let hit = groups.get(1).or_else(|| groups.get(0))?;
                    span(hit.start(), hit.end())
                }));
            }
        }
    }
}

fn span(start: usize, end: usize) -> Option<Span> {
    let found = Found { start, end, kind: SecretKind::Configured };
    (end > start).then_some(Span { found, anywhere: true })
}

/// What is wrong with a pattern, without the pattern.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("it takes more than {limit} bytes when compiled")
        }
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            last.strip_prefix("error: ").unwrap_or("it is no regular expression").to_owned()
        }
    }
}

/// Literal secrets, in the forms that they may have in a text.
#[derive(Default)]
pub(super) struct Known(Vec<Finder<'static>>);

impl Known {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, secret: &[u8]) {
        if secret.is_empty() {
            return;
        }
        let json = escaped(secret, b"");
        let forms = [
            secret.to_vec(),
            // JSON in JSON: the arguments of a tool.
            escaped(&json, b""),
            // Some writers escape more than they must.
            escaped(secret, b"/"),
            escaped(secret, b"<>&"),
            escaped(secret, b"<>&'"),
            ascii(&json),
            json,
        ];
        for form in forms {
            if !self.0.iter().any(|finder| finder.needle() == form) {
                self.0.push(Finder::new(&form).into_owned());
            }
        }
    }

    pub(super) fn find(&self, text: &[u8], spans: &mut Vec<Span>) {
        for finder in &self.0 {
            let length = finder.needle().len();
            spans.extend(finder.find_iter(text).map(|start| Span {
                found: Found { start, end: start + length, kind: SecretKind::Known },
                anywhere: true,
            }));
        }
    }
}

/// The inside of a JSON string with nothing but ASCII in it, as Python writes it.
fn ascii(json: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(json) else { return json.to_vec() };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out.into_bytes()
}

/// A text as the inside of a JSON string, with some bytes escaped that need not be.
fn escaped(text: &[u8], also: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            b'/' if also.contains(byte) => out.extend(b"\\/"),
            byte if *byte < 0x20 || also.contains(byte) => {
                out.extend(format!("\\u{byte:04x}").into_bytes());
            }
            byte => out.push(*byte),
        }
    }
    out
}
