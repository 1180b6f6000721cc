//! Reads streams as strict clients do.

use serde_json::Value;

use super::http::Call;

/// A Chat Completions stream that was read to its end.
#[derive(Debug, Default)]
pub(crate) struct ChatStream {
    /// The text of the first choice.
    pub(crate) text: String,
    /// The text of every choice.
    pub(crate) texts: Vec<String>,
    pub(crate) model: String,
    pub(crate) finish: Vec<Option<String>>,
    pub(crate) usage: Option<Value>,
    /// The error object that ended it.
    pub(crate) error: Option<Value>,
    pub(crate) comments: usize,
    /// Id, name and arguments of the first choice's tool calls.
    pub(crate) calls: Vec<(String, String, String)>,
    /// Name and arguments of the deprecated form.
    pub(crate) function_call: Option<(String, String)>,
}

/// A Messages stream that was read to its end.
#[derive(Debug, Default)]
pub(crate) struct MessagesStream {
    pub(crate) text: String,
    pub(crate) model: String,
    pub(crate) stop_reason: Option<String>,
    pub(crate) stop_sequence: Option<String>,
    pub(crate) usage: Option<Value>,
    pub(crate) error: Option<Value>,
    pub(crate) pings: usize,
    /// What stood on a data line behind `message_stop`.
    pub(crate) behind: Vec<String>,
    /// Id, name and input of the tool calls.
    pub(crate) calls: Vec<(String, String, String)>,
}

/// Reads a Chat Completions stream.
pub(crate) fn read_chat(call: &mut Call) -> ChatStream {
    let mut stream = ChatStream::default();
    let mut id: Option<Value> = None;
    let mut roles = Vec::<usize>::new();
    let mut done = false;
    while let Some(lines) = call.event() {
        assert!(!done, "{lines:?} behind [DONE]");
        let [line] = lines.as_slice() else { panic!("one line per event, not {lines:?}") };
        if line.starts_with(':') {
            stream.comments += 1;
            continue;
        }
        let data = line.strip_prefix("data: ").unwrap_or_else(|| panic!("{line}"));
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        assert!(stream.error.is_none(), "{chunk} behind an error");
        assert!(stream.usage.is_none(), "{chunk} behind the usage chunk");
        if let Some(error) = chunk.get("error") {
            stream.error = Some(error.clone());
            continue;
        }
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(id.get_or_insert_with(|| chunk["id"].clone()), &chunk["id"], "one id");
        chunk["model"].as_str().unwrap().clone_into(&mut stream.model);
        let choices = chunk["choices"].as_array().unwrap();
        if choices.is_empty() {
            assert!(chunk["usage"].is_object(), "{chunk}");
            stream.usage = Some(chunk["usage"].clone());
        }
        for choice in choices {
            let index = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
            if index == roles.len() {
                roles.push(0);
                stream.texts.push(String::new());
                stream.finish.push(None);
            }
            assert_eq!(stream.finish[index], None, "nothing behind the finish reason");
            if let Some(role) = choice["delta"].get("role") {
                assert_eq!(role, "assistant");
                roles[index] += 1;
            }
            if let Some(text) = choice["delta"]["content"].as_str() {
                // Deltas are pieces and not the whole answer at once, nor one character each.
                assert!(text.len() <= 120, "a delta of {} bytes", text.len());
                stream.texts[index].push_str(text);
            }
            for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                take_call(&mut stream.calls, call);
            }
            if let Some(call) = choice["delta"].get("function_call") {
                let named = call["name"].as_str().map(str::to_owned);
                assert_eq!(named.is_some(), stream.function_call.is_none(), "the name comes once");
                let (_, arguments) =
                    stream.function_call.get_or_insert_with(|| (named.unwrap(), String::new()));
                arguments.push_str(call["arguments"].as_str().unwrap());
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                stream.finish[index] = Some(reason.to_owned());
            }
        }
    }
    assert!(roles.iter().all(|count| *count == 1), "the role comes once: {roles:?}");
    let finished = stream.finish.iter().all(Option::is_some);
    assert_eq!(done, stream.error.is_none() && finished, "[DONE] ends whole streams only");
    stream.text = stream.texts.first().cloned().unwrap_or_default();
    stream
}

/// Takes a piece of a tool call as accumulators do: the id and the name come once, with the first
/// piece, and indexes count up.
fn take_call(calls: &mut Vec<(String, String, String)>, piece: &Value) {
    let index = usize::try_from(piece["index"].as_u64().expect("an index")).unwrap();
    if let Some(id) = piece["id"].as_str() {
        assert_eq!(index, calls.len(), "{piece}");
        let name = piece["function"]["name"].as_str().expect("a name").to_owned();
        calls.push((id.to_owned(), name, String::new()));
    }
    assert_eq!(index + 1, calls.len(), "{piece}");
    calls[index].2.push_str(piece["function"]["arguments"].as_str().expect("arguments"));
}

/// Reads a Messages stream.
pub(crate) fn read_messages(call: &mut Call) -> MessagesStream {
    let mut stream = MessagesStream::default();
    let mut order = Vec::<String>::new();
    let mut stopped = false;
    let mut open = false;
    let mut blocks = 0_u64;
    while let Some(lines) = call.event() {
        if stopped {
            stream.behind.extend(lines);
            continue;
        }
        let [first, second] = lines.as_slice() else { panic!("two lines per event: {lines:?}") };
        let name = first.strip_prefix("event: ").unwrap_or_else(|| panic!("{first}"));
        let data = second.strip_prefix("data: ").unwrap_or_else(|| panic!("{second}"));
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(event["type"], name, "the event is named twice");
        assert!(stream.error.is_none(), "{event} behind an error");
        if name == "ping" {
            stream.pings += 1;
            continue;
        }
        if order.last().is_none_or(|last| last != name) {
            order.push(name.to_owned());
        }
        match name {
            "message_start" => {
                let message = &event["message"];
                assert_eq!(message["content"], serde_json::json!([]));
                assert!(message["usage"]["input_tokens"].as_u64().unwrap() > 0);
                message["model"].as_str().unwrap().clone_into(&mut stream.model);
            }
            "content_block_start" => {
                assert!(!open, "a block in a block");
                assert_eq!(event["index"], blocks, "contiguous indexes");
                (open, blocks) = (true, blocks + 1);
                let block = &event["content_block"];
                if block["type"] == "tool_use" {
                    assert_eq!(block["input"], serde_json::json!({}));
                    let word = |name: &str| block[name].as_str().unwrap().to_owned();
                    stream.calls.push((word("id"), word("name"), String::new()));
                } else {
                    assert_eq!(block["text"], "");
                }
            }
            "content_block_delta" => {
                assert!(open, "{event}");
                assert_eq!(event["index"], blocks - 1);
                if let Some(json) = event["delta"]["partial_json"].as_str() {
                    stream.calls.last_mut().expect("a call").2.push_str(json);
                    continue;
                }
                let text = event["delta"]["text"].as_str().unwrap();
                assert!(text.len() <= 120, "a delta of {} bytes", text.len());
                stream.text.push_str(text);
            }
            "message_delta" => {
                let delta = &event["delta"];
                stream.stop_reason = delta["stop_reason"].as_str().map(str::to_owned);
                stream.stop_sequence = delta["stop_sequence"].as_str().map(str::to_owned);
                stream.usage = Some(event["usage"].clone());
            }
            "message_stop" => stopped = true,
            "error" => stream.error = Some(event["error"].clone()),
            "content_block_stop" => {
                assert!(open && event["index"] == blocks - 1, "{event}");
                open = false;
            }
            other => panic!("an event that clients do not know: {other}"),
        }
    }
    let whole = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    let expected: &[&str] = match (&stream.error, stream.text.is_empty()) {
        (Some(_), _) => &["message_start", "error"],
        (None, false) => &whole,
        (None, true) => &["message_start", "message_delta", "message_stop"],
    };
    assert!(!open, "a block without its end");
    if stream.calls.is_empty() {
        assert_eq!(order, expected);
    } else {
        assert_eq!(order.first().map(String::as_str), Some("message_start"));
        assert_eq!(order.last().map(String::as_str), Some("message_stop"));
    }
    stream
}
