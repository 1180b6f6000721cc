//! The two doors, and what a caller finds behind them.

use serde_json::{Value, json};

use super::http::{Call, Reply, Request};
use super::sse;

/// A door of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Chat,
    Messages,
}

impl Door {
    pub(crate) const BOTH: [Self; 2] = [Self::Chat, Self::Messages];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
        }
    }

    /// A body that asks `text`, with `more` laid over it.
    pub(crate) fn body(self, text: &str, more: &Value) -> Value {
        let mut body = json!({"model": "auto", "messages": [{"role": "user", "content": text}]});
        if self == Self::Messages {
            body["max_tokens"] = json!(100);
        }
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    }

    /// A request that asks `text`.
    pub(crate) fn ask(self, text: &str) -> Request {
        self.ask_with(text, &json!({}))
    }

    /// A request that asks `text` and wants a stream.
    pub(crate) fn ask_streamed(self, text: &str) -> Request {
        self.ask_with(text, &json!({"stream": true}))
    }

    pub(crate) fn ask_with(self, text: &str, more: &Value) -> Request {
        Request::post(self.path()).json(&self.body(text, more))
    }

    /// The text of a whole reply.
    pub(crate) fn text(self, reply: &Reply) -> String {
        let pointer = match self {
            Self::Chat => "/choices/0/message/content",
            Self::Messages => "/content/0/text",
        };
        let body = reply.json();
        let text = body.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no text in {body}")).to_owned()
    }

    /// Reads a stream to its end, checks its grammar and gives its text.
    pub(crate) fn streamed_text(self, call: &mut Call) -> String {
        match self {
            Self::Chat => sse::read_chat(call).text,
            Self::Messages => sse::read_messages(call).text,
        }
    }

    /// The message of an error reply, whose shape is checked.
    pub(crate) fn error(self, reply: &Reply) -> String {
        let body = reply.json();
        self.check_error(&body);
        body["error"]["message"].as_str().unwrap().to_owned()
    }

    /// The status that a full queue has here.
    pub(crate) const fn overloaded(self) -> u16 {
        match self {
            Self::Chat => 503,
            Self::Messages => 529,
        }
    }

    /// Checks the shape of an error object.
    pub(crate) fn check_error(self, body: &Value) {
        let error = &body["error"];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        assert!(error["type"].is_string(), "{body}");
        match self {
            Self::Chat => {
                let keys: Vec<_> = error.as_object().unwrap().keys().collect();
                assert!(error.get("param").is_some() && error.get("code").is_some(), "{keys:?}");
            }
            Self::Messages => {
                assert_eq!(body["type"], "error", "{body}");
                assert!(body["request_id"].as_str().unwrap().starts_with("req_"), "{body}");
            }
        }
    }
}
