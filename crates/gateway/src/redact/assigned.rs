//! What is assigned to a name that says what it is: `password = "…"`, `"api_key": "…"`, `TOKEN=…`.
//!
//! Any value may stand there, so this is where most would be taken for a secret that is none. A
//! value counts if it has eight bytes or more without white space, and stands in quotes or in the
//! form of environment files and query strings; in headers also behind a colon.

use super::bytes::{
    Quote, at, begins, blanks, has_digit, is_base64, is_quote, is_token, is_word, quote, run,
};
use super::{Found, SecretKind};

/// The names, in lower case; of two that begin alike the longer stands first.
pub(super) const NAMES: &[(&str, Name)] = &[
    ("password", Name::Plain),
    ("passwd", Name::Plain),
    ("passphrase", Name::Plain),
    ("secret_key", Name::Plain),
    ("secretkey", Name::Plain),
    ("secret-key", Name::Plain),
    ("secret", Name::Plain),
    ("token", Name::Plain),
    ("api_key", Name::Plain),
    ("apikey", Name::Plain),
    ("api-key", Name::Header),
    ("authorization", Name::Credential),
    ("access_key", Name::Access),
    ("access-key", Name::Access),
    ("accesskey", Name::Access),
];

/// What may stand behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A value in quotes, or unquoted behind `=`.
    Plain,
    /// Also unquoted behind a colon.
    Header,
    /// As a header; words are no credentials, so it must be long and hold a digit.
    Credential,
    /// As plain; the secret access key of AWS also as its own shape says.
    Access,
}

/// The shortest value that counts.
const LEAST: usize = 8;
/// The shortest value behind `Authorization` without a scheme.
const LEAST_CREDENTIAL: usize = 16;
/// The length of a secret access key of AWS.
const AWS_SECRET: usize = 40;
/// How far a value is looked at before it is read.
const PROBE: usize = 64;
/// The longest value that may only stand for another.
const MAX_STAND_IN: usize = 128;
/// How much of a name is looked at.
const MAX_NAME: usize = 64;

/// The value that is assigned to a name which stands from `start` to `end`.
pub(super) fn find(text: &[u8], start: usize, end: usize, name: Name) -> Option<Found> {
    let suffix = if at(text, end) == Some(b'_') { end + 1 } else { end };
    let numbered = run(text.get(..end + 4).unwrap_or(text), suffix, |b| b.is_ascii_digit());
    let end = if numbered > suffix { numbered } else { end };
    if at(text, end).is_some_and(is_token) {
        return None;
    }
    let (closing, behind) = match quote(text, end) {
        Some((closing, behind)) => (Some(closing), behind),
        None => (None, end),
    };
    let sign_at = blanks(text, behind);
    let sign = at(text, sign_at).filter(|sign| matches!(sign, b':' | b'='))?;
    let mut value_at = sign_at + 1;
    match (sign, at(text, value_at)) {
        (b'=', Some(b'=')) => return None,
        (b':', Some(b'=')) | (b'=', Some(b'>')) => value_at += 1,
        _ => {}
    }
    let begin = blanks(text, value_at);
    let aws = name == Name::Access && follows_secret(text, start);
    let (from, to) = if let Some((opening, inside)) = quote(text, begin) {
        let to = quoted(text, inside, opening)?;
        // The quote that closes a JSON string looks like one that opens a value, but then the
        // text goes on as JSON does. A quoted name before a colon is a name for certain.
        let certain = closing == Some(opening);
        if !certain && matches!(at(text, inside), Some(b',' | b']' | b'}' | b':')) {
            return None;
        }
        (inside, to)
    } else if closing.is_some() {
        return None;
    } else if aws && base64(text, begin) - begin >= AWS_SECRET {
        (begin, base64(text, begin))
    } else {
        let tight = sign_at == end && begin == sign_at + 1;
        let header = matches!(name, Name::Header | Name::Credential);
        if !(sign == b'=' && tight || sign == b':' && header) {
            return None;
        }
        let environment = sign == b'=' && is_environment(text, start);
        // What has no digit early is taken for a word. Decided before the value is read, so that
        // a text of nothing but names is not read once for each of them.
        let probe = text.get(..begin + PROBE).unwrap_or(text);
        let probe = text.get(begin..unquoted(probe, begin, environment))?;
        if !environment && !has_digit(probe) {
            return None;
        }
        (begin, unquoted(text, begin, environment))
    };
    let value = text.get(from..to)?;
    if value.len() < LEAST || stands_for_another(value) {
        return None;
    }
    let kind = match name {
        Name::Access if aws && value.len() >= AWS_SECRET => SecretKind::AwsSecret,
        Name::Credential if value.len() < LEAST_CREDENTIAL || !has_digit(value) => return None,
        Name::Credential | Name::Header => SecretKind::Authorization,
        Name::Plain | Name::Access => SecretKind::Assigned,
    };
    Some(Found { start: from, end: to, kind })
}

/// Where a quoted value ends; `None` where white space stands in it.
///
/// In JSON inside a JSON string the quotes have backslashes before them, and a backslash of the value
/// is so many that only what is left over says what the quote is: as many as before the opening one
/// close the value, twice as many and one are an escaped quote in it, others end a string around it.
fn quoted(text: &[u8], from: usize, opening: Quote) -> Option<usize> {
    let mut place = from;
    loop {
        match at(text, place) {
            None => return Some(place),
            Some(byte) if byte <= b' ' => return None,
            Some(byte) if byte == opening.mark || byte == b'"' => return Some(place),
            Some(b'\\') => {
                let behind = run(text, place, |byte| byte == b'\\');
                let left_over = (behind - place) % (2 * (opening.escapes + 1));
                match at(text, behind) {
                    Some(byte) if byte == opening.mark || byte == b'"' => {
                        if left_over != 2 * opening.escapes + 1 {
                            return Some(behind - left_over);
                        }
                        place = behind + 1;
                    }
                    Some(b'n' | b'r' | b't') if left_over == opening.escapes + 1 => return None,
                    _ => place = behind,
                }
            }
            Some(_) => place += 1,
        }
    }
}

/// Where an unquoted value ends: at white space or a quote, escaped or not, and unless it is the
/// line of an environment file also at what ends a value in code and in query strings.
fn unquoted(text: &[u8], from: usize, environment: bool) -> usize {
    let mut place = from;
    while let Some(byte) = at(text, place) {
        if byte <= b' ' || is_quote(byte) {
            break;
        }
        if byte == b'\\' {
            let behind = run(text, place, |byte| byte == b'\\');
            if at(text, behind).is_some_and(|b| is_quote(b) || matches!(b, b'n' | b'r' | b't')) {
                break;
            }
            place = behind;
            continue;
        }
        if !environment && b",;&|(){}<>[]".contains(&byte) {
            break;
        }
        place += 1;
    }
    place
}

/// Where a value in standard base64 ends; some writers of JSON put a backslash before each `/`.
fn base64(text: &[u8], from: usize) -> usize {
    let mut place = run(text, from, is_base64);
    while at(text, place) == Some(b'\\') && at(text, place + 1) == Some(b'/') {
        place = run(text, place + 1, is_base64);
    }
    place
}

/// Whether `access_key` is the end of `secret_access_key`.
fn follows_secret(text: &[u8], start: usize) -> bool {
    let before = text.get(..start).unwrap_or_default();
    let before = before.strip_suffix(b"_").or(before.strip_suffix(b"-")).unwrap_or(before);
    let from = before.len().saturating_sub(6);
    before.get(from..).is_some_and(|word| word.eq_ignore_ascii_case(b"secret"))
}

/// Whether the name that goes on here begins its line, or is written as only environment variables
/// are.
fn is_environment(text: &[u8], end: usize) -> bool {
    let before = text.get(..end).unwrap_or_default();
    let mut from = before.len();
    while before.len() - from < MAX_NAME
        && from.checked_sub(1).and_then(|last| at(before, last)).is_some_and(is_word)
        && !begins(before, from, is_word)
    {
        from -= 1;
    }
    let ahead = from.checked_sub(1).and_then(|last| at(before, last));
    let line_begins = match ahead {
        None => true,
        Some(b' ') => before.get(..from).is_some_and(|ahead| ahead.ends_with(b"export ")),
        Some(byte) => matches!(byte, b'\n' | b'\r') || is_quote(byte) || is_word(byte),
    };
    let name = text.get(from..end + 1).unwrap_or_default();
    line_begins || !name.iter().any(u8::is_ascii_lowercase)
}

/// Whether a value only says where the secret is, or that it was taken out already.
fn stands_for_another(value: &[u8]) -> bool {
    if value.len() > MAX_STAND_IN {
        return false;
    }
    let between = |open: &[u8], close: &[u8]| value.starts_with(open) && value.ends_with(close);
    value.starts_with(b"[redacted:")
        || between(b"${", b"}")
        || between(b"$(", b")")
        || between(b"{{", b"}}")
        || between(b"<", b">")
        || (value.first() == Some(&b'$') && value.iter().skip(1).all(|byte| is_word(*byte)))
        || value.iter().all(|byte| matches!(byte, b'*' | b'.' | b'x' | b'X'))
}
