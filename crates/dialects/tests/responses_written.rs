//! Golden files of everything that the Responses dialect writes.
//!
//! They are plain files, so that `tools/recorder/accept.py` can hand them to the official SDK.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fs;
use std::path::Path;

use dialects::openai_responses::{Echo, ResponsesStream, read_request, write_failure, write_reply};
use dialects::{ReplyHead, StreamWriter};
use model::{
    Block, CallId, Completion, Dialect, Failure, FailureKind, Json, LossSet, ModelName, Opaque,
    ParamsMode, Reasoning, StopReason, ToolCall, ToolCallInput, Usage,
};
use uuid::Uuid;

const TEXT: &str = "Snow is falling in Zürich: −2 °C, \"light\" wind.\n雪が降っています。🌨";
const THOUGHT: &str = "The caller wants the weather, so the weather tool is the one to call.";

fn head() -> ReplyHead {
    ReplyHead {
        id: CallId::from_uuid(Uuid::from_u128(0x0193_2c5d_8f00_7000_8000_0000_0000_0001)),
        created: 1_767_323_045,
        model: "some-\"model\"".to_owned(),
        input_tokens: 120,
        choices: 1,
    }
}

fn echo() -> Echo {
    let body = r#"{"model":"m","input":"How is the weather?","instructions":"Be brief.",
        "metadata":{"a":"1"},"store":false,"tools":[{"type":"function","name":"get_weather",
        "parameters":{"type":"object","properties":{"city":{"type":"string"}}}}]}"#;
    read_request(body.as_bytes(), ParamsMode::Default).unwrap().echo
}

fn completion(content: Vec<Block>, reason: StopReason) -> Completion {
    Completion {
        model: ModelName::new("served"),
        content,
        reason,
        stop_sequence: None,
        usage: Usage {
            input: 100,
            output: 34,
            cached_input: 20,
            cache_write: 3,
            reasoning: 11,
            estimated: false,
        },
        losses: LossSet::EMPTY,
    }
}

fn call(id: &str, namespace: Option<&str>, input: ToolCallInput) -> Block {
    Block::ToolCall(ToolCall {
        id: id.to_owned(),
        item_id: None,
        name: "get_weather".to_owned(),
        namespace: namespace.map(str::to_owned),
        input,
        cache: None,
    })
}

fn json(text: &str) -> ToolCallInput {
    ToolCallInput::Json(Json::from_compact(text).unwrap())
}

fn reasoning(summary: &[&str], text: &str, encrypted: Option<&str>) -> Block {
    Block::Reasoning(Reasoning {
        id: Some("rs_upstream".to_owned()),
        summary: summary.iter().map(|part| (*part).to_owned()).collect(),
        text: text.to_owned(),
        signature: None,
        encrypted: encrypted.map(str::to_owned),
        dialect: Dialect::OpenAiResponses,
    })
}

/// One reply of each kind that the grammar tells apart.
fn cases() -> Vec<(&'static str, Completion)> {
    let search = r#"{"id":"tsc_1","type":"tool_search_call","status":"completed","call_id":null,"execution":"server","arguments":{"paths":["crm"]}}"#;
    let end = StopReason::EndTurn;
    vec![
        ("text", completion(vec![Block::text(TEXT)], end)),
        ("empty", completion(vec![Block::text("")], end)),
        ("two_texts", completion(vec![Block::text(TEXT), Block::text("And wind.")], end)),
        ("cut_at_max_tokens", completion(vec![Block::text("Snow is")], StopReason::MaxTokens)),
        ("content_filter", completion(vec![Block::text("Snow")], StopReason::Refusal)),
        (
            "tool_call",
            completion(vec![call("call_1", None, json(r#"{"city":"Zürich","a":2.50}"#))], end),
        ),
        ("tool_call_without_arguments", completion(vec![call("call_1", None, json("{}"))], end)),
        (
            "namespaced_tool_call",
            completion(vec![call("call_1", Some("mcp__weather"), json(r#"{"a":1}"#))], end),
        ),
        (
            "custom_tool_call",
            completion(
                vec![call("call_1", None, ToolCallInput::Text("*** Begin\n\"x\"".to_owned()))],
                end,
            ),
        ),
        (
            "text_then_tool_calls",
            completion(
                vec![
                    Block::text("I shall look."),
                    call("call_1", None, json(r#"{"city":"Zürich"}"#)),
                    call("call_2", None, ToolCallInput::Broken("{\"city\": ".to_owned())),
                    call("call_3", None, ToolCallInput::Broken(String::new())),
                ],
                StopReason::ToolUse,
            ),
        ),
        (
            "reasoning",
            completion(
                vec![
                    reasoning(&[THOUGHT, "And so on."], "", Some("Y2lwaGVy")),
                    reasoning(&[], THOUGHT, None),
                    Block::text(TEXT),
                ],
                end,
            ),
        ),
        (
            "tool_search_call",
            completion(
                vec![
                    Block::Opaque(Opaque {
                        dialect: Dialect::OpenAiResponses,
                        kind: "tool_search_call".to_owned(),
                        json: Json::from_compact(search).unwrap(),
                    }),
                    Block::text(TEXT),
                ],
                end,
            ),
        ),
    ]
}

fn stream(reply: Completion, cut: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ResponsesStream::new(head(), echo(), || 1_767_323_047);
    writer.begin(&mut out);
    writer.keep_alive(&mut out);
    let mut events = reply.into_events();
    if cut {
        events.truncate(3);
    }
    for event in events {
        writer.event(0, event, &mut out);
    }
    if cut {
        let failure = Failure::new(FailureKind::UpstreamFailed, "The upstream ended.");
        writer.failure(&failure, &mut out);
    } else {
        writer.end(&mut out);
    }
    out
}

fn pretty(json: &[u8]) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap();
    let mut text = serde_json::to_vec_pretty(&value).unwrap();
    text.push(b'\n');
    text
}

#[test]
fn responses_are_written_as_their_files_say() {
    let mut files = Vec::new();
    for (name, reply) in cases() {
        let whole = write_reply(&head(), &echo(), 1_767_323_047, &reply);
        files.push((format!("{name}.json"), pretty(&whole.json)));
        files.push((format!("{name}.sse"), stream(reply, false)));
    }
    files.push(("error_in_stream.sse".to_owned(), stream(cases().remove(0).1, true)));
    let failure = Failure::new(FailureKind::BadRequest, "Why.").with_param("input[0]");
    files.push(("error_http_400.json".to_owned(), pretty(&write_failure(&failure).1)));

    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/written/openai_responses");
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("written/openai_responses");
    fs::create_dir_all(&fresh).unwrap();
    let mut differ = Vec::new();
    for (name, bytes) in &files {
        fs::write(fresh.join(name), bytes).unwrap();
        if fs::read(golden.join(name)).ok().as_ref() != Some(bytes) {
            differ.push(name);
        }
    }
    assert!(differ.is_empty(), "{differ:?}: compare {} with {}", fresh.display(), golden.display());
    assert_eq!(fs::read_dir(golden).unwrap().count(), files.len(), "files that nobody writes");
}
