//! Every endpoint that calls a model, and what its callers get.

use gateway::keys::Endpoint;
use serde_json::{Value, json};

use super::http::{Call, Head, Reply, Request};
use super::responses::{output_text, read_responses};
use super::sse;

/// The endpoints that call a model.
pub(crate) const CALLING: [Endpoint; 4] =
    [Endpoint::Chat, Endpoint::Completions, Endpoint::Responses, Endpoint::Messages];

/// An answer that a caller has got completely.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) text: String,
    /// Tokens read and written.
    pub(crate) usage: (u64, u64),
}

/// Where it is.
pub(crate) const fn path(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Chat => "/v1/chat/completions",
        Endpoint::Completions => "/v1/completions",
        Endpoint::Responses => "/v1/responses",
        Endpoint::Messages => "/v1/messages",
        Endpoint::CountTokens => "/v1/messages/count_tokens",
        Endpoint::Admin => "/admin/v1",
    }
}

/// The wire format's name in the record.
pub(crate) const fn dialect(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Chat | Endpoint::Completions | Endpoint::Admin => "openai-chat",
        Endpoint::Responses => "openai-responses",
        Endpoint::Messages | Endpoint::CountTokens => "anthropic-messages",
    }
}

/// A body that asks `text`.
pub(crate) fn body(endpoint: Endpoint, text: &str, streamed: bool) -> Value {
    let mut body = match endpoint {
        Endpoint::Completions => json!({"model": "auto", "prompt": text, "max_tokens": 100}),
        Endpoint::Responses => json!({"model": "auto", "input": text, "max_output_tokens": 100}),
        _ => json!({"model": "auto", "max_tokens": 100,
            "messages": [{"role": "user", "content": text}]}),
    };
    if streamed {
        body["stream"] = json!(true);
        if matches!(endpoint, Endpoint::Chat | Endpoint::Completions) {
            body["stream_options"] = json!({"include_usage": true});
        }
    }
    body
}

/// A request that asks `text`.
pub(crate) fn ask(endpoint: Endpoint, text: &str, streamed: bool) -> Request {
    Request::post(path(endpoint)).json(&body(endpoint, text, streamed))
}

/// The same, with a key.
pub(crate) fn ask_with_key(endpoint: Endpoint, text: &str, streamed: bool, key: &str) -> Request {
    let request = ask(endpoint, text, streamed);
    // Each vendor's clients have their own way.
    match endpoint {
        Endpoint::Messages => request.header("x-api-key", key),
        _ => request.header("authorization", &format!("Bearer {key}")),
    }
}

/// Reads an answer to its end.
pub(crate) fn answer(endpoint: Endpoint, streamed: bool, call: &mut Call) -> Answer {
    let head = call.head();
    let (text, usage) = if streamed { read(endpoint, call) } else { whole(endpoint, call) };
    let (read, written) = match endpoint {
        Endpoint::Chat | Endpoint::Completions => ("prompt_tokens", "completion_tokens"),
        _ => ("input_tokens", "output_tokens"),
    };
    let count = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("{name}: {usage}"));
    Answer { head, text, usage: (count(read), count(written)) }
}

fn whole(endpoint: Endpoint, call: &mut Call) -> (String, Value) {
    let reply = call.finish();
    let body = reply.json();
    assert_eq!(reply.status, 200, "{body}");
    let pointer = match endpoint {
        Endpoint::Chat => "/choices/0/message/content",
        Endpoint::Completions => "/choices/0/text",
        _ => "/content/0/text",
    };
    let text = match endpoint {
        Endpoint::Responses => output_text(&body),
        _ => body.pointer(pointer).and_then(Value::as_str).unwrap().to_owned(),
    };
    (text, body["usage"].clone())
}

fn read(endpoint: Endpoint, call: &mut Call) -> (String, Value) {
    match endpoint {
        Endpoint::Chat => {
            let stream = sse::read_chat(call);
            assert_eq!(stream.error, None);
            (stream.text, stream.usage.unwrap())
        }
        Endpoint::Responses => {
            let stream = read_responses(call);
            assert_eq!(stream.last, "response.completed");
            (stream.text, stream.response["usage"].clone())
        }
        Endpoint::Completions => read_completions(call),
        _ => {
            let stream = sse::read_messages(call);
            assert_eq!(stream.error, None);
            let mut usage = stream.usage.unwrap();
            // The input stands in the first event only, which the reader has checked.
            if usage.get("input_tokens").is_none() {
                usage["input_tokens"] = json!(0);
            }
            (stream.text, usage)
        }
    }
}

fn read_completions(call: &mut Call) -> (String, Value) {
    let (mut text, mut usage) = (String::new(), None);
    loop {
        let event = call.event().expect("an end");
        let data = event[0].strip_prefix("data: ").expect("a data line");
        if data == "[DONE]" {
            assert!(call.event().is_none(), "nothing follows the end");
            return (text, usage.expect("usage"));
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        assert!(chunk.get("error").is_none(), "{chunk}");
        text.push_str(chunk["choices"][0]["text"].as_str().unwrap_or_default());
        if chunk["usage"].is_object() {
            usage = Some(chunk["usage"].clone());
        }
    }
}

/// `type` and `code` of a refusal; Anthropic knows no code.
pub(crate) fn error(endpoint: Endpoint, reply: &Reply) -> (String, Option<String>) {
    let body = reply.json();
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    if endpoint == Endpoint::Messages {
        assert_eq!(body["type"], "error", "{body}");
        assert!(body["request_id"].as_str().unwrap().starts_with("req_"), "{body}");
    } else {
        assert!(error.get("param").is_some() && error.get("code").is_some(), "{body}");
    }
    let word = |name: &str| error[name].as_str().map(str::to_owned);
    (word("type").expect("a type"), word("code"))
}
