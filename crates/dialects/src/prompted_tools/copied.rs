//! Whether a piece of a reply is copied from the request.
//!
//! A tool call that is quoted in a file must not run because the model repeats the file. So a call
//! in markup that anybody can write counts only if its text is the model's own. Compared is what
//! is left without white space, quotes and escapes, because models re-indent and unescape what
//! they copy; and line by line, because tools put numbers and marks before the lines of a file.
//! The call is copied if each of its lines occurs somewhere in the request. That is more than
//! "its text occurs in the request", never less.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use memchr::memmem;
use model::{
    Block, CompletionRequest, Media, MediaKind, MediaSource, OutputFormat, ToolCallInput, ToolInput,
};

/// Lines of one call that are looked up; the rest of a longer one is not.
const MAX_LINES: usize = 32;

/// Different lines that are looked up for one reply; each costs up to the length of the request.
const MAX_LOOK_UPS: usize = 64;

/// The most text of a request that is searched, in bytes; in a longer one nothing is trusted. The
/// search runs where calls are answered, and must not hold up others.
const MAX_SEARCHED: usize = 4 << 20;

/// Stands between two texts, so that nothing is found across them.
const BORDER: char = '\u{1}';

/// The texts of a request, made comparable when the first question comes.
pub(super) struct Copied<'r> {
    request: &'r CompletionRequest,
    folded: OnceCell<Folded>,
    /// Lines that were looked up, and whether they occur.
    known: RefCell<HashMap<String, bool>>,
}

#[derive(Default)]
struct Folded {
    /// As they are.
    whole: String,
    /// Without what tools put before lines.
    bare: String,
    /// Whether there is more text than is searched.
    cut: bool,
}

impl<'r> Copied<'r> {
    pub(super) fn new(request: &'r CompletionRequest) -> Self {
        Self { request, folded: OnceCell::new(), known: RefCell::default() }
    }

    /// Whether every line of `text` occurs in the request.
    pub(super) fn holds(&self, text: &str) -> bool {
        let mut lines = text.lines().filter(|line| says_something(line)).take(MAX_LINES);
        lines.all(|line| self.occurs(line))
    }

    fn occurs(&self, line: &str) -> bool {
        let mut plain = String::new();
        fold(line, &mut plain);
        let mut known = self.known.borrow_mut();
        if let Some(occurs) = known.get(&plain) {
            return *occurs;
        }
        if known.len() >= MAX_LOOK_UPS {
            // Nobody writes so many lines of calls; what was not looked up is not trusted.
            return true;
        }
        let folded = self.folded.get_or_init(|| Folded::of(self.request));
        if folded.cut {
            return true;
        }
        let mut bare = String::new();
        fold(without_prefix(line), &mut bare);
        let occurs = memmem::find(folded.whole.as_bytes(), plain.as_bytes()).is_some()
            || memmem::find(folded.bare.as_bytes(), bare.as_bytes()).is_some();
        known.insert(plain, occurs);
        occurs
    }
}

/// Whether a line is more than brackets or a bare tag.
fn says_something(line: &str) -> bool {
    let line = line.trim();
    let tag = line.strip_prefix('<').and_then(|line| line.strip_suffix('>'));
    let bare = tag.is_some_and(|tag| !tag.contains(['<', '>', '=', ' ']));
    !bare && line.chars().filter(|char| char.is_alphanumeric()).count() >= 2
}

impl Folded {
    fn of(request: &CompletionRequest) -> Self {
        let mut folded = Self::default();
        folded.blocks(&request.system);
        for message in &request.messages {
            folded.blocks(&message.content);
        }
        if let OutputFormat::JsonSchema { description, schema, .. } = &request.output {
            folded.push(description.as_deref().unwrap_or_default());
            folded.push(schema.as_str());
        }
        for tool in &request.tools {
            folded.push(tool.description.as_deref().unwrap_or_default());
            match &tool.input {
                ToolInput::Schema(Some(json)) | ToolInput::FreeText(Some(json)) => {
                    folded.push(json.as_str());
                }
                ToolInput::Hosted(opaque) => folded.push(opaque.json.as_str()),
                ToolInput::Schema(None) | ToolInput::FreeText(None) => {}
            }
        }
        folded
    }

    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Text(text) => self.push(&text.text),
                Block::Reasoning(reasoning) => {
                    self.push(&reasoning.text);
                    reasoning.summary.iter().for_each(|part| self.push(part));
                }
                Block::ToolCall(call) => match &call.input {
                    ToolCallInput::Json(json) => self.push(json.as_str()),
                    ToolCallInput::Broken(text) | ToolCallInput::Text(text) => self.push(text),
                },
                Block::ToolResult(result) => self.results(&result.content),
                Block::Opaque(opaque) => self.push(opaque.json.as_str()),
                Block::Media(media) => self.media(media),
            }
        }
    }

    /// A file may be shown to the model as the text that it is.
    fn media(&mut self, media: &Media) {
        self.push(media.name.as_deref().unwrap_or_default());
        if let (MediaKind::File, MediaSource::Inline { base64, .. }) = (media.kind, &media.source) {
            self.push(&crate::media::decode(base64).unwrap_or_default());
        }
    }

    /// The content of a result, which holds no results: readers never nest them.
    fn results(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Text(text) => self.push(&text.text),
                Block::Opaque(opaque) => self.push(opaque.json.as_str()),
                Block::Media(media) => self.media(media),
                _ => {}
            }
        }
    }

    fn push(&mut self, text: &str) {
        self.cut |= self.whole.len() + text.len() > MAX_SEARCHED;
        if self.cut {
            return;
        }
        fold(text, &mut self.whole);
        self.whole.push(BORDER);
        for line in text.lines() {
            fold(without_prefix(line), &mut self.bare);
        }
        self.bare.push(BORDER);
    }
}

/// A line without its number and without the marks of diffs, quotes and comments.
fn without_prefix(line: &str) -> &str {
    let line = line.trim_start();
    let numbered = line.trim_start_matches(|char: char| char.is_ascii_digit());
    let line = if numbered.len() < line.len() {
        let behind = numbered.trim_start_matches([' ', '\t', '→', ':', '|', '-', ')', '.']);
        if behind.len() < numbered.len() { behind } else { line }
    } else {
        line
    };
    line.trim_start_matches(['+', '-', '>', '|', '*', '#', '/', ';', '%', '!', ' ', '\t'])
}

/// Appends what of a text is compared.
fn fold(text: &str, out: &mut String) {
    out.reserve(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let used = match char {
            '\\' => escape(rest, out),
            '&' => entity(rest, out),
            char => {
                put(char, out);
                char.len_utf8()
            }
        };
        rest = rest.get(used..).unwrap_or_default();
    }
}

/// Appends one character, whether it stood there or an escape meant it.
fn put(char: char, out: &mut String) {
    match char {
        '"' | '\'' | '`' | '\u{200b}'..='\u{200d}' | '\u{feff}' => {}
        char if char.is_ascii() => {
            if !char.is_ascii_whitespace() && !char.is_ascii_control() {
                out.push(char.to_ascii_lowercase());
            }
        }
        char if char.is_whitespace() => {}
        char => out.extend(char.to_lowercase()),
    }
}

/// Folds a backslash and what it escapes, and returns how much of the text that is.
fn escape(rest: &str, out: &mut String) -> usize {
    let coded = |skip: usize, digits: usize| number(rest.get(skip..skip + digits)?, 16);
    match rest.as_bytes().get(1) {
        // White space as strings escape it.
        Some(b'n' | b't' | b'r' | b'b' | b'f') => 2,
        Some(b'x') => match coded(2, 2).and_then(char::from_u32) {
            Some(meant) => {
                put(meant, out);
                4
            }
            None => 1,
        },
        Some(b'u') => {
            if let Some((code, len)) = braced(rest.get(2..).unwrap_or_default()) {
                put(code, out);
                return 2 + len;
            }
            let Some(code) = coded(2, 4) else { return 1 };
            if let Some(meant) = char::from_u32(code) {
                put(meant, out);
                return 6;
            }
            // The first of two halves; the second is escaped as often as it.
            let behind = rest.get(6..).unwrap_or_default();
            let second = behind.trim_start_matches('\\');
            let low = second.strip_prefix('u').and_then(|digits| number(digits.get(..4)?, 16));
            match low.and_then(|low| joined(code, low)) {
                Some(meant) => {
                    put(meant, out);
                    6 + (behind.len() - second.len()) + 5
                }
                None => 6,
            }
        }
        _ => 1,
    }
}

/// The character of `{…}`, and the length of that.
fn braced(text: &str) -> Option<(char, usize)> {
    let inner = text.strip_prefix('{')?;
    let len = inner.bytes().take(7).position(|byte| byte == b'}')?;
    let code = number(inner.get(..len)?, 16)?;
    Some((char::from_u32(code)?, len + 2))
}

const fn joined(high: u32, low: u32) -> Option<char> {
    match (high, low) {
        (0xD800..0xDC00, 0xDC00..0xE000) => {
            char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        }
        _ => None,
    }
}

/// A number of nothing but digits.
fn number(digits: &str, radix: u32) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// Folds an entity of HTML, escaped once or more often, and returns how much of the text that is.
fn entity(rest: &str, out: &mut String) -> usize {
    const NAMED: [(&str, char); 11] = [
        ("lt;", '<'),
        ("gt;", '>'),
        ("quot;", '"'),
        ("apos;", '\''),
        ("nbsp;", ' '),
        ("lcub;", '{'),
        ("lbrace;", '{'),
        ("rcub;", '}'),
        ("rbrace;", '}'),
        ("colon;", ':'),
        ("grave;", '`'),
    ];
    let body = rest.strip_prefix('&').unwrap_or_default().trim_start_matches("amp;");
    let start = rest.len() - body.len();
    if let Some((name, meant)) = NAMED.iter().find(|(name, _)| body.starts_with(name)) {
        put(*meant, out);
        return start + name.len();
    }
    if let Some(code) = body.strip_prefix('#') {
        let (radix, digits) = match code.strip_prefix(['x', 'X']) {
            Some(digits) => (16, digits),
            None => (10, code),
        };
        let len = digits.bytes().take(8).take_while(u8::is_ascii_hexdigit).count();
        let meant = number(digits.get(..len).unwrap_or_default(), radix).and_then(char::from_u32);
        if let Some(meant) = meant {
            put(meant, out);
            let behind = digits.get(len..).unwrap_or_default();
            return rest.len() - behind.strip_prefix(';').unwrap_or(behind).len();
        }
    }
    out.push('&');
    start
}
