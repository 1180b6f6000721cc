//! The bytes that travel: the same request and the same answer for every target.
//!
//! Each request carries a number and each answer repeats it, so that the load generator sees on
//! every single call that the caller got its own answer and not a neighbour's.

use memchr::memmem;

/// Digits of a call's number.
pub(crate) const DIGITS: usize = 8;
/// Stands before the number in a request.
pub(crate) const ASK_TAG: &str = "call-";
/// Stands before the number in an answer.
pub(crate) const ANSWER_TAG: &str = "answer-";
/// Bytes of a request body and of an answer's text.
const SIZE: usize = 500;
/// The model that the host names.
pub(crate) const MODEL: &str = "bench-model";

const PROSE: &str = " the quick brown fox jumps over the lazy dog while a patient host reads every word \
of the question twice and then writes a short and friendly answer about rivers and bridges that people \
built of stone and timber long before anybody thought of sending questions through a pipe and waiting \
for sentences to come back in small pieces one after the other until the last of them has arrived and \
the line is quiet again so that the next caller may ask about mountains or ships or the weather of \
tomorrow and hear something useful ";

/// The body of a chat completion request.
pub(crate) fn request_body(number: u32, streaming: bool) -> String {
    let head = r#"{"model":"auto","messages":[{"role":"user","content":""#;
    let tail = if streaming { r#""}],"stream":true}"# } else { r#""}]}"# };
    let room = SIZE.saturating_sub(head.len() + tail.len() + ASK_TAG.len() + DIGITS);
    let words = PROSE.get(..room).unwrap_or(PROSE);
    format!("{head}{ASK_TAG}{number:08}{words}{tail}")
}

/// What follows the number in an answer.
pub(crate) fn answer_words() -> &'static str {
    PROSE.get(..SIZE - ANSWER_TAG.len() - DIGITS).unwrap_or(PROSE)
}

/// The text that the host answers to a call.
pub(crate) fn answer_text(number: u32) -> String {
    format!("{ANSWER_TAG}{number:08}{}", answer_words())
}

/// Finds the number of the call in whatever carries it, as its digits.
pub(crate) fn number_in(bytes: &[u8]) -> Option<&str> {
    let from = memmem::find(bytes, ASK_TAG.as_bytes())? + ASK_TAG.len();
    let digits = std::str::from_utf8(bytes.get(from..from + DIGITS)?).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_have_the_promised_size() {
        assert_eq!(request_body(7, false).len(), SIZE);
        assert_eq!(request_body(7, true).len(), SIZE);
        assert_eq!(answer_text(7).len(), SIZE);
    }

    #[test]
    fn the_number_survives_the_way_through_a_request() {
        assert_eq!(number_in(request_body(1234, true).as_bytes()), Some("00001234"));
        assert_eq!(number_in(b"call-12"), None);
        assert_eq!(number_in(b"call-123456x8"), None);
    }
}
