//! One call: the bytes that ask, and whether an answer is the one that was meant.

use memchr::memmem;
use serde::Deserialize;

use crate::messages::{ANSWER_TAG, ASK_TAG, DIGITS, answer_text, request_body};

/// A numbered call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    /// Its number.
    pub(crate) number: u32,
    /// Whether a stream was asked for.
    pub(crate) streaming: bool,
    /// Whether the target gives back the request and not a host's answer.
    pub(crate) echo: bool,
}

#[derive(Deserialize)]
struct Completion {
    choices: [Choice; 1],
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "delta")]
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

impl Call {
    /// What any right answer holds.
    pub(crate) fn marker(self) -> Vec<u8> {
        let tag = if self.echo { ASK_TAG } else { ANSWER_TAG };
        format!("{tag}{:08}", self.number).into_bytes()
    }

    /// Whether an answer holds this call's number and, if it is a stream, its end: the quick check.
    pub(crate) fn is_marked(self, body: &[u8]) -> bool {
        memmem::find(body, &self.marker()).is_some()
            && (!self.streaming || body.trim_ascii_end().ends_with(b"data: [DONE]"))
    }

    /// Whether an answer is right word for word.
    pub(crate) fn is_answered_by(self, body: &[u8]) -> bool {
        if !self.is_marked(body) {
            return false;
        }
        if self.echo {
            return memmem::find(body, request_body(self.number, self.streaming).as_bytes())
                .is_some();
        }
        let text = if self.streaming { streamed_text(body) } else { text(body) };
        text.is_some_and(|text| text == answer_text(self.number))
    }
}

fn text(body: &[u8]) -> Option<String> {
    let Completion { choices: [choice] } = serde_json::from_slice(body).ok()?;
    choice.message.content
}

fn streamed_text(body: &[u8]) -> Option<String> {
    let mut whole = String::new();
    let lines = std::str::from_utf8(body).ok()?.lines();
    for event in lines.filter_map(|line| line.strip_prefix("data: ")) {
        if event != "[DONE]" {
            whole.push_str(&text(event.as_bytes()).unwrap_or_default());
        }
    }
    Some(whole)
}

/// The bytes of a request, made once per caller; only the number changes from call to call.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    digits_at: usize,
}

impl Request {
    /// The request of call 0, with the key that the caller shows, if there is one.
    pub(crate) fn new(port: u16, streaming: bool, token: Option<&str>) -> Self {
        let body = request_body(0, streaming);
        let length = body.len();
        let key =
            token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let bytes = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{key}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes();
        let digits_at = memmem::find(&bytes, ASK_TAG.as_bytes()).map_or(0, |at| at + ASK_TAG.len());
        Self { bytes, digits_at }
    }

    /// Makes it the request of another call.
    pub(crate) fn set_number(&mut self, number: u32) {
        let digits = format!("{number:08}");
        if let Some(place) = self.bytes.get_mut(self.digits_at..self.digits_at + DIGITS) {
            place.copy_from_slice(digits.as_bytes());
        }
    }

    /// The bytes to send.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Call = Call { number: 42, streaming: false, echo: false };

    #[test]
    fn only_the_own_whole_answer_is_right() {
        let body = |text: &str| format!(r#"{{"choices":[{{"message":{{"content":"{text}"}}}}]}}"#);
        assert!(ASKED.is_answered_by(body(&answer_text(42)).as_bytes()));
        assert!(!ASKED.is_answered_by(body(&answer_text(43)).as_bytes()));
        assert!(ASKED.is_marked(body("answer-00000042").as_bytes()));
        assert!(!ASKED.is_answered_by(body("answer-00000042").as_bytes()));
    }

    #[test]
    fn a_stream_is_right_when_its_pieces_and_its_end_are() {
        let call = Call { streaming: true, ..ASKED };
        let text = answer_text(42);
        let (head, tail) = text.split_at(100);
        let event = |text: &str| {
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
        };
        let cut_off = event(head) + &event(tail);
        assert!(!call.is_answered_by(cut_off.as_bytes()));
        assert!(call.is_answered_by((cut_off + "data: [DONE]\n\n").as_bytes()));
        assert!(!call.is_answered_by((event(head) + "data: [DONE]\n\n").as_bytes()));
    }

    #[test]
    fn a_request_takes_another_number() {
        let mut request = Request::new(80, true, Some("key"));
        request.set_number(77);
        assert!(request.bytes().ends_with(request_body(77, true).as_bytes()));
    }
}
