//! Takes texts apart into the words of the index, and what is searched for into the same.
//!
//! Words are runs of letters and digits. Pairs stand for runs of characters that are written
//! without spaces, and the last one of a run also stands alone, so that each is found by the words
//! that begin with it. FTS5 gets nothing else, and folds case and accents on both sides.

use std::borrow::Cow;
use std::collections::HashSet;
use std::str::Chars;

/// Bytes of text of a request or reply that are searchable.
const SIDE: usize = 4096;
/// Bytes of a body that are looked through for them.
const SCANNED: usize = 1 << 20;
/// Letters of the longest word. What is longer is no word but a key or a picture.
const LONGEST: usize = 64;
/// Most words that are searched for at once.
const MOST: usize = 32;

/// The different words of one call.
#[derive(Debug, Default)]
pub(super) struct Words {
    seen: HashSet<String>,
    text: String,
}

impl Words {
    /// Adds the words of a request or reply: the texts in it, where it is JSON.
    pub(super) fn read(&mut self, body: &[u8]) {
        for segment in segments(&text_of(body)) {
            match segment {
                Segment::Word(word) => self.add(word),
                Segment::Run(run) => {
                    for pair in run.windows(2) {
                        self.add(pair.iter().collect());
                    }
                    if let Some(last) = run.last() {
                        self.add(last.to_string());
                    }
                }
            }
        }
    }

    fn add(&mut self, word: String) {
        if word.chars().count() <= LONGEST && !self.seen.contains(&word) {
            self.text.push_str(&word);
            self.text.push(' ');
            self.seen.insert(word);
        }
    }

    /// All of them, with spaces between.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// What is searched for, as FTS5 takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Wanted(pub(super) String);

/// Reads what is searched for: all of its words are wanted. Says what cannot be searched for.
pub(in super::super) fn read_wanted(text: &str) -> Result<Wanted, &'static str> {
    let mut wanted = Vec::new();
    for segment in segments(text) {
        match segment {
            Segment::Word(word) if word.chars().count() > LONGEST => {
                return Err("search for words of more than 64 letters");
            }
            // Letters and digits need no escape inside quotes.
            Segment::Word(word) => wanted.push(format!("\"{word}\"")),
            Segment::Run(run) => match run.as_slice() {
                [one] => wanted.push(format!("\"{one}\" *")),
                run => wanted.extend(run.windows(2).map(|pair| {
                    let pair: String = pair.iter().collect();
                    format!("\"{pair}\"")
                })),
            },
        }
    }
    let mut seen = HashSet::new();
    wanted.retain(|word| seen.insert(word.clone()));
    match wanted.len() {
        0 => Err("search for text without a letter or digit in it"),
        1..=MOST => Ok(Wanted(wanted.join(" AND "))),
        _ => Err("search for more than 32 words at once"),
    }
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// A word between others, in small letters.
    Word(String),
    /// Characters that are written without spaces.
    Run(Vec<char>),
}

fn segments(text: &str) -> Vec<Segment> {
    let mut found = Vec::new();
    let (mut word, mut run) = (String::new(), Vec::new());
    let end_word = |word: &mut String, found: &mut Vec<Segment>| {
        if !word.is_empty() {
            found.push(Segment::Word(word.to_lowercase()));
            word.clear();
        }
    };
    let end_run = |run: &mut Vec<char>, found: &mut Vec<Segment>| {
        if !run.is_empty() {
            found.push(Segment::Run(std::mem::take(run)));
        }
    };
    for letter in text.chars() {
        if is_accent(letter) {
            continue;
        }
        let (told, unspaced) = (letter.is_alphanumeric(), is_unspaced(letter));
        let (spaced, unspaced) = (told && !unspaced, told && unspaced);
        if !spaced {
            end_word(&mut word, &mut found);
        }
        if !unspaced {
            end_run(&mut run, &mut found);
        }
        if spaced {
            word.push(letter);
        } else if unspaced {
            run.push(letter);
        }
    }
    end_word(&mut word, &mut found);
    end_run(&mut run, &mut found);
    found
}

/// An accent that is a character of its own belongs to the letter before it, and is not told.
fn is_accent(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

/// Letters of Chinese, Japanese and Korean.
fn is_unspaced(letter: char) -> bool {
    matches!(letter,
        '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3100}'..='\u{312f}'
        | '\u{31a0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}')
}

/// The beginning of the text in a body: its strings, without keys, where it is JSON.
fn text_of(body: &[u8]) -> Cow<'_, str> {
    let body = body.get(..SCANNED).unwrap_or(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(first, Some(b'{' | b'[')) {
        return String::from_utf8_lossy(body.get(..SIDE).unwrap_or(body));
    }
    let mut text = String::new();
    for string in (Strings { rest: body }) {
        if text.len() >= SIDE {
            break;
        }
        // Pictures and files are no text.
        if !string.starts_with(b"data:") {
            read_string(string, &mut text);
            text.push(' ');
        }
    }
    Cow::Owned(text)
}

/// The strings of a JSON text that are no keys, as they stand there. What is no JSON gives
/// something, too.
struct Strings<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let start = self.rest.iter().position(|byte| *byte == b'"')? + 1;
            let after = self.rest.get(start..)?;
            let mut escaped = false;
            let end = after.iter().position(|byte| {
                let ends = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                ends
            });
            // The last one may be cut off.
            let (string, rest) = after.split_at_checked(end.unwrap_or(after.len()))?;
            self.rest = rest.get(1..).unwrap_or_default();
            let next = self.rest.iter().find(|byte| !byte.is_ascii_whitespace());
            if next != Some(&b':') {
                return Some(string);
            }
        }
    }
}

/// Adds a string to a text until that is long enough.
fn read_string(string: &[u8], text: &mut String) {
    // An escape takes six bytes and may stand for one.
    let string = String::from_utf8_lossy(string.get(..SIDE * 6).unwrap_or(string));
    let mut letters = string.chars();
    while text.len() < SIDE
        && let Some(letter) = letters.next()
    {
        text.push(if letter == '\\' { read_escape(&mut letters) } else { letter });
    }
}

/// What stands behind a backslash. What separates words is all the same.
fn read_escape(letters: &mut Chars<'_>) -> char {
    if letters.next() != Some('u') {
        return ' ';
    }
    let Some(first) = read_unit(letters) else { return ' ' };
    let mut ahead = letters.clone();
    if (0xd800..0xdc00).contains(&first)
        && ahead.next() == Some('\\')
        && ahead.next() == Some('u')
        && let Some(second) = read_unit(&mut ahead)
    {
        *letters = ahead;
        return char::decode_utf16([first, second]).next().and_then(Result::ok).unwrap_or(' ');
    }
    char::from_u32(first.into()).unwrap_or(' ')
}

fn read_unit(letters: &mut Chars<'_>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + letters.next()?.to_digit(16)?;
    }
    u16::try_from(unit).ok()
}

#[cfg(test)]
mod tests;
