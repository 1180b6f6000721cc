//! Streams of real servers, which differ from the reference in many small ways.
//!
//! All are constructed, each after a way of a server that clients had to learn; what every server
//! does is in `round_trips`.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use dialects::anthropic_messages::MessagesReader;
use dialects::openai_chat::ChatReader;
use dialects::openai_responses::ResponsesReader;
use dialects::sse::SseEvent;
use dialects::{StreamReader, json};
use model::{
    Block, BlockKind, Completion, CompletionEvent, Failure, FailureKind, Fold, StopReason,
    ToolCallInput,
};

fn events(mut reader: impl StreamReader, frames: &[&str]) -> Result<Vec<CompletionEvent>, Failure> {
    let mut events = Vec::new();
    for frame in frames {
        let frame = SseEvent { name: String::new(), data: (*frame).to_owned() };
        reader.event(&frame, &mut events)?;
    }
    reader.end()?;
    Ok(events)
}

fn read(reader: impl StreamReader, frames: &[&str]) -> Result<Completion, Failure> {
    let mut fold = Fold::new();
    for event in events(reader, frames)? {
        fold.push(event).unwrap();
    }
    Ok(fold.finish().unwrap())
}

fn chat(frames: &[&str]) -> Result<Completion, Failure> {
    read(ChatReader::new(), frames)
}

/// Each call as id, name and input.
fn calls(reply: &Completion) -> Vec<(&str, &str, &str)> {
    let mut calls = Vec::new();
    for block in &reply.content {
        if let Block::ToolCall(call) = block {
            let input = match &call.input {
                ToolCallInput::Json(json) => json.as_str(),
                ToolCallInput::Broken(text) | ToolCallInput::Text(text) => text,
            };
            calls.push((call.id.as_str(), call.name.as_str(), input));
        }
    }
    calls
}

const ENDS: [&str; 2] =
    [r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#, "[DONE]"];

fn called(deltas: &[&str]) -> Completion {
    let frames: Vec<String> = deltas
        .iter()
        .map(|delta| {
            format!(
                r#"{{"model":"m","choices":[{{"index":0,"delta":{{"tool_calls":[{delta}]}}}}]}}"#
            )
        })
        .collect();
    let frames: Vec<&str> = frames.iter().map(String::as_str).chain(ENDS).collect();
    chat(&frames).unwrap()
}

#[test]
fn pieces_of_parallel_calls_may_come_in_turns() {
    let reply = called(&[
        r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}"#,
        r#"{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{\"x\""}}"#,
        r#"{"index":0,"function":{"arguments":"{\"y\": 1.0}"}}"#,
        r#"{"index":1,"function":{"arguments":":2}"}}"#,
    ]);
    assert_eq!(calls(&reply), [("a", "f", r#"{"y":1.0}"#), ("b", "g", r#"{"x":2}"#)]);
    assert_eq!(reply.reason, StopReason::ToolUse);
}

#[test]
fn an_index_that_is_always_zero_or_missing_is_no_hindrance() {
    for index in [r#""index":0,"#, ""] {
        let one = format!(r#"{{{index}"id":"a","function":{{"name":"f","arguments":"{{}}"}}}}"#);
        let two =
            format!(r#"{{{index}"id":"b","function":{{"name":"f","arguments":"{{\"z\":"}}}}"#);
        let three = format!(r#"{{{index}"function":{{"arguments":"1}}"}}}}"#);
        let reply = called(&[&one, &two, &three]);
        assert_eq!(calls(&reply), [("a", "f", "{}"), ("b", "f", r#"{"z":1}"#)], "{index:?}");
    }
}

#[test]
fn an_id_and_a_name_may_come_with_every_piece() {
    let piece = r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#;
    let more = r#"{"index":0,"id":"a","function":{"name":"f","arguments":" "}}"#;
    assert_eq!(calls(&called(&[piece, more])), [("a", "f", "{}")]);
}

#[test]
fn arguments_may_be_an_object_empty_or_broken() {
    for (arguments, read) in [
        (r#"{"a":[1,2]}"#, r#"{"a":[1,2]}"#),
        (r#""""#, "{}"),
        ("null", "{}"),
        (r#""{\"a\":""#, r#"{"a":"#),
    ] {
        let piece =
            format!(r#"{{"index":0,"id":"a","function":{{"name":"f","arguments":{arguments}}}}}"#);
        assert_eq!(calls(&called(&[&piece])), [("a", "f", read)]);
    }
}

#[test]
fn a_call_without_a_name_is_a_failure() {
    let frames = [
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{}}]}}]}"#,
        ENDS[0],
        ENDS[1],
    ];
    assert_eq!(chat(&frames).unwrap_err().kind, FailureKind::UpstreamFailed);
}

#[test]
fn usage_may_stand_in_every_chunk_and_the_last_counts() {
    let chunk = |output: u64, text: &str| {
        format!(
            r#"{{"model":"m","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{}}}],"usage":{{"prompt_tokens":9,"completion_tokens":{output},"prompt_tokens_details":{{"cached_tokens":4}}}}}}"#,
            if text.is_empty() { r#""stop""# } else { "null" },
        )
    };
    let (one, two) = (chunk(1, "a"), chunk(2, ""));
    let reply = chat(&[&one, &two, "[DONE]"]).unwrap();
    let usage = reply.usage;
    assert_eq!((usage.input, usage.cached_input, usage.output), (5, 4, 2));
    assert!(!usage.estimated);
}

#[test]
fn a_first_chunk_may_hold_nothing_but_a_filter_result() {
    let reply = chat(&[
        r#"{"model":"","choices":[],"prompt_filter_results":[{}]}"#,
        r#"{"model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        r#"{"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(reply.unwrap().model.as_str(), "m");
}

#[test]
fn thoughts_and_text_are_passed_on_as_they_come() {
    let events = events(
        ChatReader::new(),
        &[
            r#"{"model":"m","choices":[{"delta":{"reasoning":"h"}}]}"#,
            r#"{"model":"m","choices":[{"delta":{"reasoning_content":"m"}}]}"#,
            r#"{"model":"m","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"model":"m","choices":[{"delta":{"content":[{"type":"text","text":"b"}]},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ],
    );
    let deltas: Vec<_> = events
        .unwrap()
        .into_iter()
        .filter_map(|event| match event {
            CompletionEvent::BlockDelta { at, delta } => Some((at, delta)),
            _ => None,
        })
        .collect();
    let wanted = [(0, "h"), (0, "m"), (1, "a"), (1, "b")].map(|(at, text)| (at, text.to_owned()));
    assert_eq!(deltas, wanted);
}

#[test]
fn a_chat_stream_needs_its_reason_and_its_marker() {
    let text = r#"{"model":"m","choices":[{"delta":{"content":"a"}}]}"#;
    let end = r#"{"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    assert!(chat(&[text, end, "[DONE]"]).is_ok());
    assert!(chat(&[text, end]).is_err(), "no marker");
    assert!(chat(&[text, "[DONE]"]).is_err(), "no reason");
    assert!(chat(&[]).is_err());
}

#[test]
fn arguments_that_were_cut_are_known_as_such() {
    let reply = chat(&[
        r#"{"model":"m","choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"a"}}]},"finish_reason":"length"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(reply.unwrap().reason, StopReason::MaxTokens);
}

const STARTS: &str = r#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":7,"cache_read_input_tokens":3}}}"#;

#[test]
fn a_signature_goes_with_its_thought_and_usage_adds_up() {
    let reply = read(
        MessagesReader::new(),
        &[
            STARTS,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"h"}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"something_new"}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"pause_turn"},"usage":{"output_tokens":5}}"#,
            r#"{"type":"message_stop"}"#,
            "[DONE]",
        ],
    )
    .unwrap();
    let [Block::Reasoning(thought)] = reply.content.as_slice() else {
        panic!("{:?}", reply.content)
    };
    assert_eq!((thought.text.as_str(), thought.signature.as_deref()), ("hm", Some("c2ln")));
    assert_eq!(reply.reason, StopReason::EndTurn);
    assert_eq!((reply.usage.input, reply.usage.cached_input, reply.usage.output), (7, 3, 5));
}

#[test]
fn a_block_of_anthropics_own_gets_the_input_that_follows_it() {
    let reply = read(
        MessagesReader::new(),
        &[
            STARTS,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"query\": "}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"\"x\"}"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
            r#"{"type":"message_stop"}"#,
        ],
    );
    let reply = reply.unwrap();
    let [Block::Opaque(opaque)] = reply.content.as_slice() else { panic!("{:?}", reply.content) };
    let wanted = r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}}"#;
    assert_eq!(opaque.json, json::compact(wanted).unwrap());
}

#[test]
fn events_out_of_order_are_a_failure() {
    let start =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let delta = r#"{"type":"content_block_delta","index":1,"delta":{"text":"x"}}"#;
    for frames in [
        &[start][..],
        &[STARTS, STARTS],
        &[STARTS, start, start],
        &[STARTS, start, delta],
        &[STARTS, delta],
        &[STARTS, r#"{"type":"content_block_stop","index":0}"#],
        &[r#"{"type":"message_stop"}"#],
        &[STARTS, r#"{"type":"message_stop"}"#],
    ] {
        let failure = read(MessagesReader::new(), frames).unwrap_err();
        assert_eq!(failure.kind, FailureKind::UpstreamFailed, "{frames:?}");
    }
}

#[test]
fn a_response_may_come_with_its_last_event_alone() {
    let reply = read(
        ResponsesReader::new(),
        &[
            r#"{"type":"response.created","response":{"model":"m"}}"#,
            r#"{"type":"keepalive","sequence_number":1}"#,
            r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}],"usage":null}}"#,
        ],
    )
    .unwrap();
    assert_eq!(reply.text(), "a");
    assert_eq!(calls(&reply), [("c", "f", "{}")]);
    assert!(reply.usage.estimated);
}

#[test]
fn text_that_was_streamed_does_not_come_twice() {
    let events = events(
        ResponsesReader::new(),
        &[
            r#"{"type":"response.created","response":{"model":"m"}}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"}"#,
            r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"custom_tool_call","call_id":"c","name":"f","input":"x"}}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"b"}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"ab"}]}}"#,
            r#"{"type":"response.completed","response":{"output":[]}}"#,
        ],
    );
    let started: Vec<_> = events
        .unwrap()
        .into_iter()
        .filter_map(|event| match event {
            CompletionEvent::BlockStarted { at, kind } => {
                Some((at, matches!(kind, BlockKind::Text)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(started, [(0, true), (1, false)]);
}

#[test]
fn what_a_stream_makes_us_hold_is_bounded() {
    let mut reader = ChatReader::new();
    let mut out = Vec::new();
    let mut push = |data: String| {
        reader.event(&SseEvent { name: String::new(), data }, &mut out).map(|()| out.len())
    };
    let piece = "x".repeat(1 << 20);
    let chunk = format!(
        r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,"id":"a","function":{{"name":"f","arguments":"{piece}"}}}}]}}}}]}}"#
    );
    let held = (0..64).find_map(|_| push(chunk.clone()).err());
    assert_eq!(held.unwrap().kind, FailureKind::UpstreamFailed);
}
