//! Reads JSON as models write it.
//!
//! One parser for both: strict JSON is what it reads without mending anything. Mended are
//! trailing and missing commas, single quotes, raw line breaks and unknown escapes in strings,
//! literals of other languages, unquoted keys, comments, a byte order mark and missing closing
//! brackets. It never guesses at the inside of a string or number that is cut off. One pass; less
//! deep than [`MAX_DEPTH`], since a value may become a member of the arguments.

use super::tree::Tree;
use crate::json::MAX_DEPTH;

/// Up to which size a text is mended; longer ones must be strict JSON.
const MAX_MENDED: usize = 256 * 1024;

/// A value at the start of a text.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) tree: Tree,
    /// Where the value ends.
    pub(super) end: usize,
    /// Whether it is not strict JSON.
    pub(super) mended: bool,
    /// Whether the text ends where more of the value may have followed.
    pub(super) cut: bool,
}

/// Reads the value at the start of `text`; what follows it is not looked at.
pub(super) fn read_start(text: &str) -> Option<Reading> {
    let mut reader = Reader { text, at: 0, depth: 0, mended: false, cut: false };
    reader.space();
    let tree = reader.value()?;
    let Reader { at: end, mended, cut, .. } = reader;
    if mended && end > MAX_MENDED {
        return None;
    }
    Some(Reading { tree, end, mended, cut })
}

/// Reads a text that is one value, perhaps in a code fence; true where it is not strict JSON.
pub(super) fn read_whole(text: &str) -> Option<(Tree, bool)> {
    let (inner, fenced) = match unfenced(text) {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let reading = read_start(inner)?;
    let rest = inner.get(reading.end..)?.trim_start_matches([';', ',']);
    if reading.cut || !rest.trim().is_empty() {
        return None;
    }
    let odd_end = inner.get(reading.end..).is_some_and(|end| end.contains([';', ',']));
    Some((reading.tree, reading.mended || fenced || odd_end))
}

/// Reads a text that is strict JSON.
pub(super) fn read_strict(text: &str) -> Option<Tree> {
    read_whole(text).and_then(|(tree, mended)| (!mended).then_some(tree))
}

/// The inside of a code fence that is the whole text.
pub(super) fn unfenced(text: &str) -> Option<&str> {
    let (first, rest) = text.trim().strip_prefix("```")?.split_once('\n')?;
    if first.contains('`') {
        return None;
    }
    let inner = rest.trim_end().strip_suffix("```")?;
    (inner.is_empty() || inner.ends_with('\n')).then_some(inner)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    mended: bool,
    cut: bool,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn is_at(&self, start: &str) -> bool {
        self.rest().starts_with(start.as_bytes())
    }

    /// Skips white space and what some languages allow in its place.
    fn space(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'#') => self.skip_line(),
                Some(b'/') if self.is_at("//") => self.skip_line(),
                Some(b'/') if self.is_at("/*") => {
                    self.mended = true;
                    let end = memchr::memmem::find(self.rest(), b"*/").map(|end| end + 2);
                    self.at += end.unwrap_or_else(|| self.rest().len());
                }
                Some(0xEF) if self.is_at("\u{feff}") => {
                    self.mended = true;
                    self.at += 3;
                }
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        self.mended = true;
        self.at += memchr::memchr(b'\n', self.rest()).unwrap_or_else(|| self.rest().len());
    }

    fn value(&mut self) -> Option<Tree> {
        match self.peek()? {
            open @ (b'{' | b'[') => {
                self.depth += 1;
                if self.depth >= MAX_DEPTH {
                    return None;
                }
                self.at += 1;
                let tree = if open == b'{' { self.object()? } else { self.array()? };
                self.depth -= 1;
                Some(tree)
            }
            quote @ (b'"' | b'\'') => self.string(quote).map(Tree::String),
            b'-' | b'+' | b'.' | b'0'..=b'9' => self.number().map(Tree::Number),
            _ => self.literal(),
        }
    }

    fn object(&mut self) -> Option<Tree> {
        let mut members = Vec::new();
        while self.before_next(b'}', b']', members.is_empty())? {
            let key = match self.peek()? {
                quote @ (b'"' | b'\'') => self.string(quote)?,
                _ => self.bare_key()?,
            };
            self.space();
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            self.space();
            members.push((key, self.value()?));
        }
        Some(Tree::object(members))
    }

    fn array(&mut self) -> Option<Tree> {
        let mut values = Vec::new();
        while self.before_next(b']', b'}', values.is_empty())? {
            values.push(self.value()?);
        }
        Some(Tree::Array(values))
    }

    /// Goes to the next member; false at the end, which is consumed.
    fn before_next(&mut self, close: u8, other: u8, first: bool) -> Option<bool> {
        self.space();
        let mut comma = false;
        while self.peek() == Some(b',') {
            self.mended |= comma || first;
            comma = true;
            self.at += 1;
            self.space();
        }
        match self.peek() {
            None => {
                // Behind a comma more was to come, and a value that touches the end may be cut:
                // only strings and brackets end by themselves.
                let last = self.text.trim_end().bytes().next_back();
                self.cut |= comma || !matches!(last, Some(b'"' | b'\'' | b'}' | b']'));
                self.mended = true;
                Some(false)
            }
            Some(byte) if byte == close => {
                self.mended |= comma;
                self.at += 1;
                Some(false)
            }
            Some(byte) if byte == other && self.depth > 1 => {
                // The closing bracket of an outer value: ours was forgotten.
                self.mended = true;
                Some(false)
            }
            Some(byte) if byte == other => None,
            Some(_) => {
                self.mended |= !comma && !first;
                Some(true)
            }
        }
    }

    fn bare_key(&mut self) -> Option<String> {
        let named = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-');
        let len = self.rest().iter().take_while(|byte| named(byte)).count();
        let key = self.text.get(self.at..self.at + len)?;
        if key.is_empty() {
            return None;
        }
        self.mended = true;
        self.at += len;
        Some(key.to_owned())
    }

    fn literal(&mut self) -> Option<Tree> {
        const KNOWN: [(&str, bool, Tree); 8] = [
            ("true", true, Tree::Bool(true)),
            ("false", true, Tree::Bool(false)),
            ("null", true, Tree::Null),
            ("True", false, Tree::Bool(true)),
            ("False", false, Tree::Bool(false)),
            ("None", false, Tree::Null),
            ("nil", false, Tree::Null),
            ("undefined", false, Tree::Null),
        ];
        let len = self.rest().iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let word = self.text.get(self.at..self.at + len)?;
        let (_, strict, tree) = KNOWN.iter().find(|(known, ..)| *known == word)?;
        self.mended |= !strict;
        self.at += len;
        Some(tree.clone())
    }

    fn number(&mut self) -> Option<String> {
        let counted = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = self.rest().iter().take_while(|byte| counted(byte)).count();
        let text = self.text.get(self.at..self.at + len)?;
        let next = self.rest().get(len);
        if next.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            return None;
        }
        self.at += len;
        if is_number(text) {
            return Some(text.to_owned());
        }
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let mended = match unsigned.strip_prefix('.') {
            Some(fraction) => format!("0.{fraction}"),
            None => unsigned.strip_suffix('.').unwrap_or(unsigned).to_owned(),
        };
        self.mended = true;
        is_number(&mended).then_some(mended)
    }

    fn string(&mut self, quote: u8) -> Option<String> {
        self.mended |= quote == b'\'';
        self.at += 1;
        let mut out = String::new();
        loop {
            let run = self
                .rest()
                .iter()
                .take_while(|byte| **byte != quote && **byte != b'\\' && **byte >= 0x20)
                .count();
            out.push_str(self.text.get(self.at..self.at + run)?);
            self.at += run;
            match self.peek()? {
                byte if byte == quote => {
                    self.at += 1;
                    return Some(out);
                }
                b'\\' => self.escape(&mut out)?,
                control => {
                    self.mended = true;
                    out.push(char::from(control));
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let next = *self.rest().get(1)?;
        let plain = match next {
            b'"' | b'\\' | b'/' => char::from(next),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(out),
            b'\'' => {
                self.mended = true;
                '\''
            }
            // Not an escape: the backslash was meant.
            _ => {
                self.mended = true;
                self.at += 1;
                out.push('\\');
                return Some(());
            }
        };
        out.push(plain);
        self.at += 2;
        Some(())
    }

    fn unicode(&mut self, out: &mut String) -> Option<()> {
        let Some(high) = self.hex(2) else {
            // The end may have cut it; elsewhere the backslash was meant.
            self.rest().get(6)?;
            self.mended = true;
            self.at += 1;
            out.push('\\');
            return Some(());
        };
        self.at += 6;
        if (0xD800..0xDC00).contains(&high)
            && self.is_at("\\u")
            && let Some(low @ 0xDC00..0xE000) = self.hex(2)
        {
            self.at += 6;
            out.push(char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?);
            return Some(());
        }
        let found = char::from_u32(high);
        self.mended |= found.is_none();
        out.push(found.unwrap_or(char::REPLACEMENT_CHARACTER));
        Some(())
    }

    /// Four hexadecimal digits behind `skip` bytes.
    fn hex(&self, skip: usize) -> Option<u32> {
        let digits = self.text.get(self.at + skip..self.at + skip + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    }
}

/// Whether a text is a number by JSON's grammar.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent
            .is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests;
