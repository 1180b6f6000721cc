//! Private keys in PEM, passwords in URLs, and credentials behind the name of a scheme.

use memchr::memmem;

use super::bytes::{at, begins, has_digit, is_alphanumeric, is_base64, is_quote, run};
use super::{Found, SecretKind};

const DASHES: &[u8] = b"-----";
/// A block without its end counts if this much of it is there.
const LEAST_BLOCK: usize = 16;
/// The longest line of dashes and words around a block.
const MAX_LABEL: usize = 64;

/// The private key whose first line begins at `start`; its line breaks may be escaped.
///
/// A block that was cut off before its last line is taken as far as it goes.
pub(super) fn find_pem(text: &[u8], start: usize) -> Option<Found> {
    let body = label(text, start, b"BEGIN ")?;
    let found = |end| Some(Found { start, end, kind: SecretKind::PrivateKey });
    let rest = text.get(body..)?;
    // The dashes of the next block end the search, so that no text is searched twice.
    if let Some(offset) = memmem::find(rest, DASHES) {
        let whole = rest.get(..offset)?.iter().all(|byte| is_block(*byte));
        if let Some(end) = label(text, body + offset, b"END ").filter(|_| whole) {
            return found(end);
        }
    }
    let end = run(text, body, |byte| is_base64(byte) || matches!(byte, b'\\' | b'\n' | b'\r'));
    if end - body < LEAST_BLOCK { None } else { found(end) }
}

/// Where a line such as `-----BEGIN RSA PRIVATE KEY-----` ends.
fn label(text: &[u8], start: usize, word: &[u8]) -> Option<usize> {
    let line = text.get(start..)?;
    let line = line.get(..MAX_LABEL).unwrap_or(line);
    let rest = line.strip_prefix(DASHES)?.strip_prefix(word)?;
    let length = run(rest, 0, |byte| byte.is_ascii_uppercase() || byte == b' ');
    let (name, rest) = rest.split_at_checked(length)?;
    let is_key = name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK");
    (is_key && rest.starts_with(DASHES))
        .then_some(start + DASHES.len() + word.len() + length + DASHES.len())
}

/// What stands between the first and the last line: base64, headers, and line breaks.
const fn is_block(byte: u8) -> bool {
    is_base64(byte)
        || matches!(
            byte,
            b'\\' | b'\n' | b'\r' | b'\t' | b' ' | b':' | b',' | b'-' | b'.' | b'(' | b')'
        )
}

/// The password in `://user:password@host`; some writers of JSON put backslashes before slashes.
pub(super) fn find_url_password(text: &[u8], colon: usize) -> Option<Found> {
    let mut start = colon + 1;
    for _ in 0..2 {
        let slash = run(text, start, |byte| byte == b'\\');
        start = (at(text, slash) == Some(b'/')).then_some(slash + 1)?;
    }
    let in_user = |byte: u8| byte > b' ' && !is_quote(byte) && !b"/?#\\<>[]{}(),;".contains(&byte);
    let end = run(text, start, in_user);
    let user = text.get(start..end)?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let sign = user.iter().rposition(|byte| *byte == b'@')?;
    let password = user.get(colon + 1..sign)?;
    if password.is_empty() || password.first() == Some(&b'$') {
        return None;
    }
    Some(Found { start: start + colon + 1, end: start + sign, kind: SecretKind::UrlPassword })
}

/// The credential behind `Bearer`, a word that ends at `end`.
pub(super) fn find_bearer(text: &[u8], start: usize, end: usize) -> Option<Found> {
    let is_bearer = |byte| is_base64(byte) || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let (from, to) = behind_scheme(text, start, end, is_bearer)?;
    let value = text.get(from..to)?;
    let counts = value.len() >= 20 || (value.len() >= 8 && has_digit(value));
    counts.then_some(Found { start: from, end: to, kind: SecretKind::Authorization })
}

/// The credential behind `Basic`, which is base64 of `user:password`.
pub(super) fn find_basic(text: &[u8], start: usize, end: usize) -> Option<Found> {
    let (from, to) = behind_scheme(text, start, end, is_base64)?;
    is_user_and_password(text.get(from..to)?).then_some(Found {
        start: from,
        end: to,
        kind: SecretKind::Authorization,
    })
}

fn behind_scheme(
    text: &[u8],
    start: usize,
    end: usize,
    class: impl Fn(u8) -> bool,
) -> Option<(usize, usize)> {
    if !begins(text, start, is_alphanumeric) || at(text, end) != Some(b' ') {
        return None;
    }
    let from = super::bytes::blanks(text, end);
    let to = run(text, from, class);
    (to > from).then_some((from, to))
}

/// Whether base64 holds readable text with a colon.
fn is_user_and_password(base64: &[u8]) -> bool {
    let mut colon = false;
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in base64.iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            let decoded = bits >> held & 0xff;
            if decoded < 0x20 {
                return false;
            }
            colon |= decoded == u32::from(b':');
        }
    }
    colon
}
