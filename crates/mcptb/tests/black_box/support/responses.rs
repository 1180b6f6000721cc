//! Reads streams of Responses as strict clients do.

use serde_json::Value;

use super::http::Call;

/// A stream that was read to its end.
#[derive(Debug, Default)]
pub(crate) struct ResponsesStream {
    /// The text of all deltas.
    pub(crate) text: String,
    /// The response as the last event shows it.
    pub(crate) response: Value,
    /// The name of the last event.
    pub(crate) last: String,
    /// The `error` event.
    pub(crate) error: Option<Value>,
    /// How often `response.in_progress` came.
    pub(crate) signs_of_life: usize,
}

/// Reads a stream, checking its numbers, ids and places.
pub(crate) fn read_responses(call: &mut Call) -> ResponsesStream {
    let mut stream = ResponsesStream::default();
    let mut id = None;
    let mut next = 0;
    let mut items: Vec<(Value, Option<Value>)> = Vec::new();
    while let Some(lines) = call.event() {
        let [first, second] = lines.as_slice() else { panic!("two lines per event: {lines:?}") };
        let name = first.strip_prefix("event: ").unwrap_or_else(|| panic!("{first}"));
        let data = second.strip_prefix("data: ").unwrap_or_else(|| panic!("{second}"));
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(event["type"], name, "the event is named twice");
        assert_eq!(event["sequence_number"], next, "{event}");
        assert!(!is_end(&stream.last), "{event} behind the end");
        assert_eq!(name == "response.created", next == 0, "it comes first, and once");
        next += 1;
        name.clone_into(&mut stream.last);
        if event["response"].is_object() {
            let same = id.get_or_insert_with(|| event["response"]["id"].clone());
            assert_eq!(same, &event["response"]["id"], "one id");
            stream.response = event["response"].clone();
        }
        let at = event["output_index"].as_u64().map(|at| usize::try_from(at).unwrap());
        if let (Some(at), Some(item_id)) = (at, event.get("item_id")) {
            assert_eq!(&items[at].0["id"], item_id, "{event}");
            assert!(items[at].1.is_none(), "{event} behind the end of its item");
        }
        match name {
            "response.in_progress" => stream.signs_of_life += 1,
            "response.output_item.added" => {
                assert_eq!(at, Some(items.len()));
                items.push((event["item"].clone(), None));
            }
            "response.output_item.done" => {
                let (added, done) = &mut items[at.unwrap()];
                for key in ["id", "type", "call_id", "name"] {
                    assert_eq!(added[key], event["item"][key]);
                }
                assert!(done.replace(event["item"].clone()).is_none());
            }
            "response.output_text.delta" => {
                let delta = event["delta"].as_str().unwrap();
                assert!(delta.len() <= 120, "a delta of {} bytes", delta.len());
                stream.text.push_str(delta);
            }
            "error" => stream.error = Some(event),
            _ => {}
        }
    }
    if ["response.completed", "response.incomplete"].contains(&stream.last.as_str()) {
        let done: Vec<_> = items.into_iter().map(|(_, done)| done.unwrap()).collect();
        assert_eq!(stream.response["output"], Value::Array(done));
    }
    assert!(is_end(&stream.last), "the stream ended with {}", stream.last);
    stream
}

fn is_end(name: &str) -> bool {
    ["response.completed", "response.incomplete", "response.failed"].contains(&name)
}

/// The text of a whole response.
pub(crate) fn output_text(response: &Value) -> String {
    let items = response["output"].as_array().unwrap().iter();
    let parts = items.filter_map(|item| item["content"].as_array()).flatten();
    parts.filter_map(|part| part["text"].as_str()).collect()
}
