//! Mends text that was cut inside a character.
//!
//! A host that cuts an answer at a length may cut an emoji in two; `JSON.stringify` and Python's
//! `json.dumps` then write half a surrogate pair (`\ud83d`), which is no character, so that a
//! strict reader refuses the whole answer after a person has clicked for it.

/// The JSON with every lone surrogate escape replaced by U+FFFD; `None` if there is none.
pub(super) fn mend(json: &[u8]) -> Option<Vec<u8>> {
    let mut mended = Vec::with_capacity(json.len());
    let mut rest = json;
    let mut found = false;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let (before, escape) = rest.split_at(at);
        mended.extend_from_slice(before);
        let length = match unit(escape) {
            Some(0xd800..=0xdbff) if matches!(unit(escape.get(6..)?), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                found = true;
                mended.extend_from_slice(b"\\ufffd");
                rest = escape.get(6..)?;
                continue;
            }
            // Any other escape: the byte behind the backslash is part of it.
            _ => 2.min(escape.len()),
        };
        let (kept, after) = escape.split_at(length);
        mended.extend_from_slice(kept);
        rest = after;
    }
    mended.extend_from_slice(rest);
    found.then_some(mended)
}

/// The code unit of a `\uXXXX` escape.
fn unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::mend;

    #[test]
    fn only_halves_are_replaced() {
        let mended =
            |text: &str| mend(text.as_bytes()).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(mended(r#"{"text":"cut \ud83d"}"#).as_deref(), Some(r#"{"text":"cut \ufffd"}"#));
        assert_eq!(mended(r#""\ude00 \ud83d\ude00""#).as_deref(), Some(r#""\ufffd \ud83d\ude00""#));
        assert_eq!(mended(r#""\ud83d\ud83d\ude00""#).as_deref(), Some(r#""\ufffd\ud83d\ude00""#));
        for whole in [r#""\\ud83d""#, r#""\ud83d\ude00""#, r#""plain \n \u00e9""#, r#""\"#] {
            assert_eq!(mended(whole), None, "{whole}");
        }
    }
}
