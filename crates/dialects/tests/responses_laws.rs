//! Laws of Responses: a stream folds to the whole response, and both are read back as what was
//! meant.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![expect(clippy::panic, reason = "the same")]
#![expect(clippy::indexing_slicing, reason = "the same")]

use dialects::openai_responses::{
    Echo, ResponsesStream, name_input, name_output, read_request, write_reply,
};
use dialects::sse::{SseEvent, SseReader};
use dialects::{ReplyHead, StreamWriter, json};
use model::{
    Block, CallId, Completion, CompletionEvent, Dialect, Failure, FailureKind, Json, LossSet,
    ModelName, Opaque, ParamsMode, Reasoning, Retry, StopReason, ToolCall, ToolCallInput, Usage,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Stands in every block that another dialect made. No response may show it.
const HIDDEN: &str = "only-its-own-dialect";

fn head(id: CallId) -> ReplyHead {
    ReplyHead { id, created: 1, model: "m".to_owned(), input_tokens: 5, choices: 1 }
}

fn echo(body: &str) -> Echo {
    read_request(body.as_bytes(), ParamsMode::Default).unwrap().echo
}

fn plain_echo() -> Echo {
    echo(r#"{"model":"m","input":"x"}"#)
}

fn any_text() -> impl Strategy<Value = String> {
    "(\\PC|[\n\r\u{85}\u{2028}\u{0}]| [a-z]{1,9}){0,80}"
}

fn input() -> impl Strategy<Value = ToolCallInput> {
    let object = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3);
    prop_oneof![
        object.prop_map(|object| {
            let text = serde_json::to_string(&object).unwrap();
            ToolCallInput::Json(json::compact(&text).unwrap())
        }),
        "\\{[a-z\"]{0,20}".prop_map(ToolCallInput::Broken),
        any_text().prop_map(ToolCallInput::Text),
    ]
}

fn block() -> impl Strategy<Value = Block> {
    let reasoning = (
        proptest::option::of("rs_[a-z]{1,9}"),
        proptest::collection::vec(any_text(), 0..3),
        any_text(),
        proptest::option::of("[a-zA-Z0-9+/]{1,20}"),
    );
    prop_oneof![
        3 => any_text().prop_map(Block::text),
        2 => (any::<String>(), proptest::option::of("[fc]{1,2}_[a-z]{1,9}"), any::<String>(),
              proptest::option::of(any::<String>()), input())
            .prop_map(|(id, item_id, name, namespace, input)| {
                Block::ToolCall(ToolCall { id, item_id, name, namespace, input, cache: None })
            }),
        1 => reasoning.prop_map(|(id, summary, text, encrypted)| {
            let (signature, dialect) = (None, Dialect::OpenAiResponses);
            Block::Reasoning(Reasoning { id, summary, text, signature, encrypted, dialect })
        }),
        1 => Just(Block::Reasoning(Reasoning {
            id: None, summary: Vec::new(), text: HIDDEN.to_owned(), encrypted: None,
            signature: Some("c2ln".to_owned()), dialect: Dialect::AnthropicMessages,
        })),
        1 => any::<bool>().prop_map(|ours| {
            let (dialect, text) = if ours {
                (Dialect::OpenAiResponses, "\u{2028}")
            } else {
                (Dialect::OpenAiChat, HIDDEN)
            };
            let text = format!(r#"{{"type":"x_call","id":"x_1","x":"{text}"}}"#);
            Block::Opaque(Opaque {
                dialect,
                kind: "x_call".to_owned(),
                json: Json::from_compact(text).unwrap(),
            })
        }),
    ]
}

fn completion() -> impl Strategy<Value = Completion> {
    let reason = prop_oneof![
        Just(StopReason::EndTurn),
        Just(StopReason::StopSequence),
        Just(StopReason::MaxTokens),
        Just(StopReason::ToolUse),
        Just(StopReason::Refusal),
    ];
    (proptest::collection::vec(block(), 0..6), reason, 0..9_u64).prop_map(
        |(content, reason, output)| Completion {
            model: ModelName::default(),
            content,
            reason,
            stop_sequence: None,
            usage: Usage { output, ..Usage::default() },
            losses: LossSet::EMPTY,
        },
    )
}

fn events(bytes: &[u8]) -> Vec<(SseEvent, Value)> {
    let text = std::str::from_utf8(bytes).unwrap();
    // Clients that split lines in Python's way see the same lines.
    assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{2028}')));
    assert!(!text.contains(HIDDEN));
    let mut events = Vec::new();
    SseReader::new(1 << 20).push(bytes, &mut events).unwrap();
    let parsed = |event: SseEvent| {
        let value: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(value["type"], event.name.as_str());
        (event, value)
    };
    events.into_iter().map(parsed).collect()
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Folds a stream as the strictest clients do, and gives the response that it ends with.
fn fold(bytes: &[u8]) -> Value {
    let mut items: Vec<(Value, bool)> = Vec::new();
    let mut parts: Vec<(Value, bool)> = Vec::new();
    let mut id = None;
    let mut last = Value::Null;
    for (number, (event, value)) in events(bytes).into_iter().enumerate() {
        assert!(last.is_null(), "{value} behind the end");
        assert_eq!(value["sequence_number"], number);
        assert_eq!(event.name == "response.created", number == 0);
        if value["response"].is_object() {
            let same = id.get_or_insert_with(|| value["response"]["id"].clone());
            assert_eq!(same, &value["response"]["id"]);
        }
        let at = value["output_index"].as_u64().map(|at| usize::try_from(at).unwrap());
        if event.name == "response.output_item.added" {
            assert_eq!(at, Some(items.len()));
            assert!(items.iter().all(|(_, done)| *done), "one item at a time");
            items.push((value["item"].clone(), false));
            parts.clear();
            continue;
        }
        if let Some(at) = at {
            assert_eq!(at, items.len() - 1);
            assert!(!items[at].1, "{value} behind the end of its item");
            if let Some(item_id) = value.get("item_id") {
                assert_eq!(item_id, &items[at].0["id"]);
            }
        }
        let place = value["content_index"].as_u64().or(value["summary_index"].as_u64());
        let place = place.map(|place| usize::try_from(place).unwrap());
        match event.name.as_str() {
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                if value["summary_index"].is_null() && items[at.unwrap()].0["type"] == "reasoning" {
                    // The summary is over; the thoughts count from 0 again.
                    parts.clear();
                }
                assert_eq!(place, Some(parts.len()));
                assert!(parts.iter().all(|(_, done)| *done), "one part at a time");
                parts.push((value["part"].clone(), false));
            }
            "response.content_part.done" | "response.reasoning_summary_part.done" => {
                let (part, done) = &mut parts[place.unwrap()];
                assert!(!std::mem::replace(done, true));
                assert_eq!(part, &value["part"], "the deltas are the part");
            }
            "response.output_item.done" => {
                let (item, done) = items.last_mut().unwrap();
                assert!(!std::mem::replace(done, true));
                assert!(parts.iter().all(|(_, done)| *done));
                for key in ["id", "type", "call_id", "name", "namespace"] {
                    assert_eq!(item[key], value["item"][key]);
                }
                for key in ["arguments", "input"] {
                    assert_eq!(item[key], value["item"][key], "the deltas are the input");
                }
                if item["type"] == "message" {
                    let whole: Vec<_> = parts.iter().map(|(part, _)| part.clone()).collect();
                    assert_eq!(value["item"]["content"], Value::Array(whole));
                }
                *item = value["item"].clone();
            }
            name if name.strip_suffix(".delta").is_some() => {
                let delta = value["delta"].as_str().unwrap();
                assert!(!delta.is_empty() && delta.len() <= 60);
                let (target, key) = match (place, name) {
                    (Some(place), _) => (&mut parts[place].0, "text"),
                    (None, "response.custom_tool_call_input.delta") => {
                        (&mut items.last_mut().unwrap().0, "input")
                    }
                    (None, _) => (&mut items.last_mut().unwrap().0, "arguments"),
                };
                let text = target[key].as_str().unwrap().to_owned() + delta;
                target[key] = json!(text);
            }
            name if name.strip_suffix(".done").is_some() => {
                let key = ["text", "arguments", "input"];
                let (key, text) =
                    key.iter().find_map(|key| value.get(*key).map(|text| (*key, text))).unwrap();
                let target =
                    place.map_or_else(|| &items.last().unwrap().0, |place| &parts[place].0);
                assert_eq!(&target[key], text);
            }
            "response.completed" | "response.incomplete" => {
                assert!(items.iter().all(|(_, done)| *done));
                last = value["response"].clone();
                assert_eq!(Some(text_of(&last["status"])), event.name.strip_prefix("response."));
            }
            "response.created" | "response.in_progress" => {
                assert_eq!(value["response"]["status"], "in_progress");
            }
            other => panic!("an event that clients do not know: {other}"),
        }
    }
    let done: Vec<_> = items.into_iter().map(|(item, _)| item).collect();
    assert_eq!(last["output"], Value::Array(done));
    last
}

/// Streams a reply, its deltas cut in two as the door may cut them.
fn stream(id: CallId, echo: Echo, reply: &Completion) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ResponsesStream::new(head(id), echo, || 7);
    writer.begin(&mut out);
    for event in reply.clone().into_events() {
        writer.keep_alive(&mut out);
        match event {
            CompletionEvent::BlockDelta { at, mut delta } if delta.len() > 1 => {
                let rest = delta.split_off(delta.ceil_char_boundary(delta.len() / 2));
                for delta in [delta, rest] {
                    writer.event(0, CompletionEvent::BlockDelta { at, delta }, &mut out);
                }
            }
            event => writer.event(0, event, &mut out),
        }
    }
    writer.end(&mut out);
    out
}

/// What of a reply this dialect carries, as one turn.
fn carried(reply: &Completion) -> Vec<Block> {
    let mut blocks: Vec<Block> = reply
        .content
        .iter()
        .filter(|block| match block {
            Block::Text(text) => !text.text.is_empty(),
            Block::Reasoning(reasoning) => reasoning.dialect == Dialect::OpenAiResponses,
            Block::Opaque(opaque) => opaque.dialect == Dialect::OpenAiResponses,
            _ => true,
        })
        .cloned()
        .collect();
    if blocks.is_empty() {
        blocks.push(Block::text(""));
    }
    blocks
}

/// A block without the ids of this wire and the escapes that are only another spelling.
fn meant(block: &Block) -> Value {
    match block {
        Block::Text(text) => json!(["text", text.text]),
        Block::ToolCall(call) => {
            let input = match &call.input {
                ToolCallInput::Json(json) => json!({"json": json.as_str()}),
                ToolCallInput::Broken(text) if text.is_empty() => json!({"json": "{}"}),
                ToolCallInput::Broken(text) => json!({"broken": text}),
                ToolCallInput::Text(text) => json!({"text": text}),
            };
            json!(["call", call.id, call.name, call.namespace, input])
        }
        Block::Reasoning(reasoning) => {
            json!(["reasoning", reasoning.summary, reasoning.text, reasoning.encrypted])
        }
        Block::Opaque(opaque) => {
            let json: Value = serde_json::from_str(opaque.json.as_str()).unwrap();
            json!(["opaque", opaque.kind, json])
        }
        other => panic!("no reply holds {other:?}"),
    }
}

proptest! {
    #[test]
    fn a_stream_folds_to_the_whole_response(reply in completion()) {
        let id = CallId::generate();
        let folded = fold(&stream(id, plain_echo(), &reply));
        let whole = write_reply(&head(id), &plain_echo(), 7, &reply);
        let whole_value: Value = serde_json::from_slice(&whole.json).unwrap();
        prop_assert!(!whole_value.to_string().contains(HIDDEN));
        prop_assert_eq!(&folded, &whole_value);
        let items: Vec<Value> =
            whole.items().iter().map(|item| serde_json::from_str(item.as_str()).unwrap()).collect();
        prop_assert_eq!(&folded["output"], &Value::Array(items));
        let has_calls = reply.has_tool_calls();
        let status = match reply.reason {
            StopReason::MaxTokens | StopReason::Refusal if !has_calls => "incomplete",
            _ => "completed",
        };
        prop_assert_eq!(&folded["status"], status);
        prop_assert!(folded["usage"]["output_tokens"].as_u64().unwrap() > 0);
    }

    /// Reading what was written gives the blocks back, in their order.
    #[test]
    fn what_is_written_is_read_back(reply in completion()) {
        let id = CallId::generate();
        let whole = write_reply(&head(id), &plain_echo(), 7, &reply);
        let kept = name_output(whole.items());
        let items: Vec<&str> = kept.iter().map(|item| item.json.as_str()).collect();
        let body = format!(r#"{{"model":"m","input":[{}]}}"#, items.join(","));
        let read = read_request(body.as_bytes(), ParamsMode::Strict).unwrap();
        let back: Vec<Value> =
            read.request.messages.iter().flat_map(|message| &message.content).map(meant).collect();
        let said: Vec<Value> = carried(&reply).iter().map(meant).collect();
        prop_assert_eq!(back, said);
    }

    #[test]
    fn a_failure_ends_any_stream(reply in completion(), cut in 0..20_usize) {
        let mut out = Vec::new();
        let mut writer = ResponsesStream::new(head(CallId::generate()), plain_echo(), || 7);
        writer.begin(&mut out);
        let events_of = reply.into_events();
        let cut = cut.min(events_of.len() - 1);
        for event in events_of.into_iter().take(cut) {
            writer.event(0, event, &mut out);
        }
        writer.end(&mut out);
        let seen = events(&out);
        let names: Vec<&str> = seen.iter().map(|(event, _)| event.name.as_str()).collect();
        prop_assert!(names.ends_with(&["error", "response.failed"]), "{:?}", names);
        for (number, (_, value)) in seen.iter().enumerate() {
            prop_assert_eq!(&value["sequence_number"], number);
        }
    }
}

/// What a request is repeated as.
#[test]
fn settings_are_repeated() {
    let body = r#"{"model":"m","input":"x","instructions":"Be brief.","max_output_tokens":64,
        "max_tool_calls":3,"temperature":0.25,"top_p":0.5,"parallel_tool_calls":false,
        "reasoning":{"effort":"low"},"store":false,"truncation":"auto","user":"u",
        "safety_identifier":"s","prompt_cache_key":"k","metadata":{"b":"2","a":"\u2028"},
        "text":{"verbosity":"low","format":{"type":"json_schema","name":"n","schema":{"b":1,"a":[]}}},
        "tool_choice":{"type":"function","name":"f"},
        "tools":[{"type":"function","name":"f","defer_loading":true},{"name":"c","type":"custom"},
            {"type":"namespace","name":"n","tools":[{"type":"function","name":"g"}]}]}"#;
    let reply = Completion {
        model: ModelName::default(),
        content: vec![Block::text("ok")],
        reason: StopReason::EndTurn,
        stop_sequence: None,
        usage: Usage::default(),
        losses: LossSet::EMPTY,
    };
    let id = CallId::generate();
    let response = fold(&stream(id, echo(body), &reply));
    let asked: Value = serde_json::from_str(body).unwrap();
    for key in [
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "temperature",
        "top_p",
        "parallel_tool_calls",
        "store",
        "truncation",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "metadata",
        "tool_choice",
    ] {
        assert_eq!(response[key], asked[key], "{key}");
    }
    assert_eq!(response["reasoning"], json!({"effort": "low", "summary": null}));
    let format = json!({"type": "json_schema", "name": "n", "description": null,
        "schema": {"b": 1, "a": []}, "strict": null});
    assert_eq!(response["text"], json!({"format": format, "verbosity": "low"}));
    let function = json!({"type": "function", "name": "f", "description": null,
        "parameters": null, "strict": null, "defer_loading": true});
    assert_eq!(response["tools"], json!([function, asked["tools"][1], asked["tools"][2]]));
}

/// Values of the wrong type are not shown to clients that check them.
#[test]
fn what_does_not_fit_is_not_repeated() {
    let body = r#"{"model":"m","input":"x","user":7,"metadata":[],"truncation":{},
        "max_tool_calls":null,"service_tier":"flex"}"#;
    let written = write_reply(
        &head(CallId::generate()),
        &echo(body),
        7,
        &Completion {
            model: ModelName::default(),
            content: Vec::new(),
            reason: StopReason::EndTurn,
            stop_sequence: None,
            usage: Usage::default(),
            losses: LossSet::EMPTY,
        },
    );
    let response: Value = serde_json::from_slice(&written.json).unwrap();
    assert_eq!(response["user"], Value::Null);
    assert_eq!(response["metadata"], json!({}));
    assert_eq!(response["truncation"], "disabled");
    assert_eq!(response["max_tool_calls"], Value::Null);
    assert_eq!(response["service_tier"], "default");
    assert_eq!(response["output"][0]["content"][0]["text"], "");
}

#[test]
fn input_items_get_ids_that_no_output_has() {
    let call = CallId::generate();
    let compact = |text: &str| json::compact(text).unwrap();
    let named = name_input(
        vec![
            compact(r#"{"role":"user","content":"hi","phase":"x"}"#),
            compact(r#"{"role":"assistant","content":"ho","id":"msg_own","type":"message"}"#),
            compact(r#"{"type":"function_call_output","call_id":"c","output":"x","id":null}"#),
            compact(r#"{"role":"user","content":[{"type":"input_text","text":"x"}]}"#),
        ],
        call,
    );
    let values: Vec<Value> =
        named.iter().map(|item| serde_json::from_str(item.json.as_str()).unwrap()).collect();
    assert_eq!(named[0].id, format!("msg_{}1000000000000000", call.hex()));
    assert_eq!(
        values[0],
        json!({"id": named[0].id, "type": "message", "role": "user", "phase": "x",
            "content": [{"type": "input_text", "text": "hi"}]})
    );
    assert_eq!(values[1]["id"], "msg_own");
    assert_eq!(values[1]["content"][0]["type"], "output_text");
    assert_eq!(values[2]["id"], format!("fco_{}1000000000000002", call.hex()));
    assert_eq!(values[3]["type"], "message");
    for (item, value) in named.iter().zip(&values) {
        assert_eq!(value["id"], item.id.as_str());
    }
}

#[test]
fn each_failure_has_its_status_and_its_code() {
    for kind in FailureKind::ALL {
        let failure = Failure::new(kind, "why");
        let (status, body) = dialects::openai_responses::write_failure(&failure);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!((400..600).contains(&status));
        let keys: Vec<&String> = body["error"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["code", "message", "param", "type"], "{body}");
        let mut out = Vec::new();
        ResponsesStream::new(head(CallId::generate()), plain_echo(), || 7)
            .failure(&failure, &mut out);
        let seen = events(&out);
        assert_eq!(seen[0].1["error"], body["error"]);
        let code = seen[1].1["response"]["error"]["code"].as_str().unwrap();
        let known = [
            "server_error",
            "rate_limit_exceeded",
            "invalid_prompt",
            "context_length_exceeded",
            "insufficient_quota",
        ];
        assert!(known.contains(&code), "{code}");
        // Codex repeats it, and nothing else that says that a repeat is in vain.
        let repeated = |failure: Failure| {
            let mut out = Vec::new();
            ResponsesStream::new(head(CallId::generate()), plain_echo(), || 7)
                .failure(&failure, &mut out);
            events(&out)[1].1["response"]["error"]["code"] == "server_error"
        };
        assert!(!repeated(Failure::new(kind, "why").with_retry(Retry::Never)), "{kind:?}");
    }
}
