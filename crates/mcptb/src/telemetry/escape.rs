//! Text that callers and hosts wrote, made safe for a terminal and for one line.

use std::fmt::{self, Write as _};
use std::io::Write as _;

/// Prints text in quotes with control characters, quotes and backslashes escaped.
///
/// Right-to-left marks and other invisible characters are escaped as well, because a line of a log
/// must not read differently from what it says.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        fmt::Display::fmt(&Inside(self.0), f)?;
        f.write_char('"')
    }
}

/// The same without the quotes.
struct Inside<'a>(&'a str);

impl fmt::Display for Inside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // Four hex digits, so that the same text is a JSON string as well.
                char if is_unsafe(char) => write!(f, "\\u{:04x}", u32::from(char))?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Appends the same to a line. Nearly all text stays as it is, and goes in one piece.
pub(super) fn push_quoted(line: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let plain = text.bytes().position(|byte| !is_plain(&byte)).unwrap_or(text.len());
    line.reserve(text.len() + 2);
    line.push(b'"');
    let (plain, rest) = text.split_at_checked(plain).unwrap_or((text, ""));
    line.extend_from_slice(plain.as_bytes());
    if rest.is_empty() {
        line.push(b'"');
    } else {
        // Writing to a vector cannot fail.
        let _ = write!(line, "{}", Inside(rest)).and_then(|()| line.write_all(b"\""));
    }
}

/// Prints text without quotes, and escapes what could move a terminal's cursor or forge a line.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| {
            if is_unsafe(char) {
                write!(f, "\\u{:04x}", u32::from(char))
            } else {
                f.write_char(char)
            }
        })
    }
}

fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{Quoted, push_quoted};

    #[test]
    fn nothing_can_forge_a_line_or_move_the_cursor() {
        let hostile = "a\"b\\c\nTX forged\r\u{1b}[2J\u{9b}31m\u{202e}中";
        let quoted = Quoted(hostile).to_string();
        assert_eq!(quoted, "\"a\\\"b\\\\c\\nTX forged\\r\\u001b[2J\\u009b31m\\u202e中\"");
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), hostile);
        for text in [hostile, "", "plain ~", "中", "\"", "a\\"] {
            let mut line = b"x".to_vec();
            push_quoted(&mut line, text);
            assert_eq!(line, format!("x{}", Quoted(text)).into_bytes());
        }
    }
}
