//! What the Chat and Messages readers take, carry and refuse.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use dialects::anthropic_messages::{self, ApiVersion};
use dialects::openai_chat;
use model::{
    Block, CompletionRequest, Failure, FailureKind, Loss, MediaSource, Opaque, ParamsMode, Role,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const OLD: ApiVersion = ApiVersion::V2023_06_01;
const NEW: ApiVersion = ApiVersion::V2026_10_21;

fn chat(body: &Value) -> Result<CompletionRequest, Failure> {
    openai_chat::read_request(body.to_string().as_bytes(), ParamsMode::Default)
        .map(|read| read.request)
}

fn messages(body: &Value, version: ApiVersion) -> Result<CompletionRequest, Failure> {
    anthropic_messages::read_request(body.to_string().as_bytes(), version, ParamsMode::Default)
        .map(|read| read.request)
}

/// A Chat request with one user message, and `more` laid over it.
fn chat_with(more: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    lay_over(&mut body, more);
    body
}

/// A Messages request with one user message, and `more` laid over it.
fn messages_with(more: Value) -> Value {
    let mut body =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    lay_over(&mut body, more);
    body
}

fn lay_over(body: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    for (key, value) in more {
        body[key] = value;
    }
}

fn block_line(block: &Block) -> String {
    match block {
        Block::Text(text) => {
            format!(
                "text({}{})",
                text.text.len(),
                if text.cache.is_some() { ", cached" } else { "" }
            )
        }
        Block::Media(media) => {
            let source = match &media.source {
                MediaSource::Inline { mime, base64 } => format!("{mime} {}", base64.len()),
                MediaSource::Url(url) => format!("url {url}"),
                MediaSource::Id(id) => format!("id {id}"),
            };
            format!("{:?}({source}, name {:?}, detail {:?})", media.kind, media.name, media.detail)
        }
        Block::ToolCall(call) => format!("call({} {} {:?})", call.id, call.name, call.input),
        Block::ToolResult(result) => {
            let inside: Vec<String> = result.content.iter().map(block_line).collect();
            let error = if result.is_error { " error" } else { "" };
            format!("result({}{error}: {})", result.call_id, inside.join(", "))
        }
        Block::Reasoning(reasoning) => format!(
            "reasoning({}, signature {}, encrypted {})",
            reasoning.text.len(),
            reasoning.signature.as_ref().map_or(0, String::len),
            reasoning.encrypted.as_ref().map_or(0, String::len),
        ),
        Block::Opaque(opaque) => format!("opaque({} {})", opaque.kind, opaque.json.as_str().len()),
    }
}

fn beside(extras: Option<&Opaque>) -> String {
    extras.map_or_else(String::new, |extras| format!(" + {}", extras.json.as_str()))
}

fn summary(request: &CompletionRequest) -> String {
    let mut out = String::new();
    let line = |blocks: &[Block]| blocks.iter().map(block_line).collect::<Vec<_>>().join(" | ");
    writeln!(out, "model: {}", request.model.as_str()).unwrap();
    writeln!(out, "system: {}", line(&request.system)).unwrap();
    for message in &request.messages {
        let beside = beside(message.extras.as_ref());
        writeln!(out, "{:?}: {}{beside}", message.role, line(&message.content)).unwrap();
    }
    for tool in &request.tools {
        let input = format!("{:?}", tool.input);
        let input = input.split('(').next().unwrap();
        let cached = if tool.cache.is_some() { " cached" } else { "" };
        let beside = beside(tool.extras.as_ref());
        writeln!(out, "tool: {} {input} strict {:?}{cached}{beside}", tool.name, tool.strict)
            .unwrap();
    }
    writeln!(out, "choice: {:?} parallel {:?}", request.tool_choice, request.parallel_tool_calls)
        .unwrap();
    writeln!(out, "output: {:?}", request.output).unwrap();
    writeln!(out, "params: {:?}", request.params).unwrap();
    writeln!(out, "losses: {}", request.losses).unwrap();
    let extras = request.extras.as_ref().map(|extras| extras.json.as_str());
    writeln!(out, "extras: {}", extras.unwrap_or("none")).unwrap();
    out
}

/// A recorded request; the body is kept as it came, with its key order and number text.
#[derive(Deserialize)]
struct Recording {
    headers: Value,
    body: Box<RawValue>,
}

/// Reads every recorded request of a folder; a failure is part of the snapshot.
fn read_recorded(folder: &str, read: impl Fn(&[u8], &Value) -> Result<CompletionRequest, Failure>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recorded").join(folder);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    paths.sort();
    assert!(!paths.is_empty(), "there are no recordings");
    for path in paths {
        let recording: Recording = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let told = match read(recording.body.get().as_bytes(), &recording.headers) {
            Ok(request) => summary(&request),
            Err(failure) => format!("{:?} {:?}: {failure}\n", failure.kind, failure.param),
        };
        let dialect = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let name = path.file_stem().unwrap().to_string_lossy();
        insta::assert_snapshot!(format!("{dialect}__{name}"), told);
    }
}

#[test]
fn recorded_chat_requests() {
    read_recorded("openai_chat", |body, _| {
        openai_chat::read_request(body, ParamsMode::Default).map(|read| read.request)
    });
}

#[test]
fn recorded_messages_requests() {
    read_recorded("anthropic_messages", |body, headers| {
        let version = ApiVersion::from_header(headers["anthropic-version"].as_str());
        anthropic_messages::read_request(body, version, ParamsMode::Default)
            .map(|read| read.request)
    });
}

#[test]
fn every_kind_of_chat_message_has_its_place() {
    let body = json!({
        "model": null, "stream": null, "temperature": null, "unknown": {"deep": [1]},
        "messages": [
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [{"type": "text", "text": "two"}], "name": "dev"},
            {"role": "user", "content": [
                {"type": "text", "text": "", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO Rw0K", "detail": "high"}},
                {"type": "image_url", "image_url": "https://example.com/x.png"},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
                {"type": "file", "file": {"file_id": "file-1"}},
            ]},
            {"role": "assistant", "content": "", "reasoning_content": "hm", "refusal": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{ \"a\" : 1.0 }"}},
                {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": ""}},
                {"id": "call_3", "function": {"name": "h", "arguments": "{\"a\":"}},
                {"id": "call_4", "type": "custom", "custom": {"name": "patch", "input": " *** \n\"x\" "}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
            {"role": "tool", "tool_call_id": "call_2", "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:image/gif;base64,AAAA"}},
            ]},
            {"role": "system", "content": "in place", "name": "ho\"use", "unread": {"a": 1.0}},
            {"role": "assistant", "content": null, "function_call": {"name": "old", "arguments": "{}"}},
            {"role": "function", "name": "old", "content": "done"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "audio": {"id": "audio-1"}},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}},
            {"type": "function", "function": {"name": "none", "x\"": [ 1 ]}, "cache_control": {"type": "ephemeral"}},
            {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}},
            {"type": "web_search", "filters": {"a": 1}},
        ],
        "functions": [{"name": "old", "parameters": {}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "patch"}},
        ]}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"z": 1, "a": 2.50}, "strict": true}},
        "max_tokens": 0, "max_completion_tokens": 64.0, "n": 2, "stop": ["a", ""], "top_p": 0.5,
        "logit_bias": {"1": 2}, "frequency_penalty": 0, "presence_penalty": 0.1,
        "prediction": {"type": "content", "content": "x"}, "seed": -9_007_199_254_740_991_i64,
    });
    insta::assert_snapshot!(summary(&chat(&body).unwrap()));
}

#[test]
fn every_kind_of_messages_block_has_its_place() {
    let body = json!({
        "model": "claude", "max_tokens": 128_000, "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "{\"a\":1}"}, "stop_sequences": ["END"], "top_k": 5,
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=1"},
            {"type": "text", "text": "be good", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "tools": [
            {"name": "f", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}, "defer_loading": true},
            {"name": "g", "type": "custom"},
            {"type": "web_search_20260318", "name": "web_search", "max_uses": 3},
        ],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look", "citations": null},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}},
                {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "héllo"}},
                {"type": "document", "context": "why", "source": {"type": "file", "file_id": "file_1"}},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
                {"type": "search_result", "source": "https://a", "title": "t", "content": [{"type": "text", "text": "x"}]},
                {"type": "container_upload", "file_id": "file_2"},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "Y2lwaGVy"},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": { "b": 1.0, "a": "x\ny" }, "caller": {"type": "direct"}},
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": {"type": "web_search_tool_result_error", "error_code": "x"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "cache_control": {"type": "ephemeral"}, "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                    {"type": "tool_reference", "tool_name": "g"},
                ]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "plain"},
                {"type": "tool_result", "tool_use_id": "toolu_4", "content": [
                    {"type": "tool_reference", "tool_name": "another"},
                    {"type": "tool_reference", "tool_name": "h"},
                ]},
                {"type": "tool_result", "tool_use_id": "toolu_3"},
                {"type": "text", "text": "go on"},
            ]},
            {"role": "system", "content": "reminder", "output_config": {"effort": "low"}},
            {"role": "assistant", "content": "I was say"},
        ],
    });
    insta::assert_snapshot!(summary(&messages(&body, OLD).unwrap()));
}

#[test]
fn chat_refuses_by_name() {
    let content =
        |content: Value| chat_with(json!({"messages": [{"role": "user", "content": content}]}));
    let cases = [
        json!({"model": "m"}),
        chat_with(json!({"messages": []})),
        chat_with(json!({"messages": [["user", "hi"]]})),
        chat_with(json!({"messages": "hi"})),
        chat_with(json!({"messages": [{"content": "hi"}]})),
        chat_with(json!({"messages": [{"role": "robot", "content": "hi"}]})),
        chat_with(json!({"messages": [{"role": "user"}]})),
        chat_with(json!({"messages": [{"role": "tool", "content": "hi"}]})),
        content(json!({"text": "hi"})),
        content(json!([{"type": "text", "text": "a"}, {"type": "text", "text": 5}])),
        content(json!([{"type": "hologram"}])),
        content(json!([{"text": "hi"}])),
        content(json!([{"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}}])),
        content(json!([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}])),
        content(json!([{"type": "file", "file": {}}])),
        chat_with(json!({"max_tokens": 0})),
        chat_with(json!({"max_tokens": "many"})),
        chat_with(json!({"max_tokens": 1.5})),
        chat_with(json!({"n": 0})),
        chat_with(json!({"n": 9})),
        chat_with(json!({"temperature": 2.1})),
        chat_with(json!({"temperature": "hot"})),
        chat_with(json!({"logprobs": true})),
        chat_with(json!({"top_logprobs": 2})),
        chat_with(json!({"modalities": ["text", "audio"]})),
        chat_with(json!({"audio": {"voice": "x"}})),
        chat_with(json!({"stop": [1]})),
        chat_with(json!({"tools": [{"type": "function", "function": {}}]})),
        chat_with(
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}),
        ),
        chat_with(json!({"tool_choice": "maybe"})),
        chat_with(json!({"tool_choice": {"type": "web_search"}})),
        chat_with(json!({"response_format": {"type": "json_schema"}})),
        chat_with(json!({"response_format": {"type": "xml"}})),
        json!([]),
        json!("hi"),
    ];
    let mut told = String::new();
    for case in cases {
        let failure = chat(&case).unwrap_err();
        let (status, body) = openai_chat::write_failure(&failure);
        writeln!(told, "{status} {}", String::from_utf8(body).unwrap()).unwrap();
    }
    for case in ["", "{", "{\"messages\": [}", "{} x", "nul"] {
        let failure = openai_chat::read_request(case.as_bytes(), ParamsMode::Default).unwrap_err();
        let (status, body) = openai_chat::write_failure(&failure);
        writeln!(told, "{status} {}", String::from_utf8(body).unwrap()).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn messages_refuses_by_name() {
    let content = |role: &str, content: Value| {
        messages_with(json!({"messages": [{"role": role, "content": content}]}))
    };
    let cited = json!([{"type": "text", "text": "a", "citations": [{"type": "char_location"}]}]);
    let document = json!([{"type": "document", "source": {"type": "url", "url": "https://a"}}]);
    let cases = [
        (OLD, json!({"model": "m", "max_tokens": 9})),
        (OLD, messages_with(json!({"messages": []}))),
        (OLD, messages_with(json!({"max_tokens": -1}))),
        (OLD, messages_with(json!({"max_tokens": "many"}))),
        (OLD, messages_with(json!({"temperature": 1.5}))),
        (OLD, messages_with(json!({"thread": {"type": "create"}}))),
        (OLD, messages_with(json!({"system": {"type": "text"}}))),
        (OLD, messages_with(json!({"system": [{"type": "text"}]}))),
        (OLD, messages_with(json!({"tool_choice": {"type": "maybe"}}))),
        (OLD, messages_with(json!({"tool_choice": "auto"}))),
        (OLD, messages_with(json!({"tools": [{"input_schema": {}}]}))),
        (OLD, content("robot", json!("hi"))),
        (OLD, content("user", json!(5))),
        (OLD, content("user", json!([{"type": "text", "text": "a"}, {"type": "text", "text": 5}]))),
        (OLD, content("user", json!([{"type": "hologram"}]))),
        (OLD, content("user", json!([{"type": "image"}]))),
        (
            OLD,
            content(
                "user",
                json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "?"}}]),
            ),
        ),
        (OLD, content("user", json!([{"type": "tool_result", "content": "x"}]))),
        (
            OLD,
            content(
                "user",
                json!([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]}]),
            ),
        ),
        (
            OLD,
            content(
                "user",
                json!([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_result"}]}]),
            ),
        ),
        (
            OLD,
            content(
                "assistant",
                json!([{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}]),
            ),
        ),
        (NEW, messages_with(json!({"temperature": 1.0}))),
        (NEW, messages_with(json!({"top_p": 1}))),
        (NEW, messages_with(json!({"top_k": 1}))),
        (NEW, content("user", cited.clone())),
        (NEW, content("assistant", document.clone())),
    ];
    let mut told = String::new();
    for (version, case) in cases {
        let failure = messages(&case, version).unwrap_err();
        let id = model::CallId::from_uuid(uuid::Uuid::from_u128(1));
        let (status, body) = anthropic_messages::write_failure(&failure, id);
        writeln!(told, "{status} {}", String::from_utf8(body).unwrap()).unwrap();
    }
    insta::assert_snapshot!(told);
    assert!(messages(&content("user", cited), OLD).is_ok());
    assert!(messages(&content("assistant", document), OLD).is_ok());
}

#[test]
fn what_changes_nothing_is_no_loss() {
    let body = chat_with(json!({
        "top_p": 1, "n": 1, "logprobs": false, "top_logprobs": 0, "frequency_penalty": 0.0,
        "presence_penalty": 0, "logit_bias": {}, "prediction": null, "modalities": ["text"],
        "store": true, "user": "u", "seed": 7, "audio": null,
    }));
    let request = chat(&body).unwrap();
    assert!(request.losses.is_empty(), "{}", request.losses);
    let body = chat_with(json!({"messages": [{"role": "user", "content": "hi", "name": "Ann"}]}));
    assert!(chat(&body).unwrap().losses.contains(Loss::MessageName));
}

#[test]
fn the_last_of_a_doubled_field_counts() {
    let body = br#"{"messages":[{"role":"user","content":"hi"}],"stream":true,"stream":false,"model":"a","model":"\u0062"}"#;
    let read = openai_chat::read_request(body, ParamsMode::Default).unwrap();
    assert!(!read.stream);
    assert_eq!(read.request.model.as_str(), "b");
}

#[test]
fn a_json_rpc_message_in_white_space_does_not_pass() {
    let hidden = "\n{\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n";
    let schema = format!("{{\"type\":\"object\"\r\n,\"d\":[\r{hidden}\r]}}");
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"hi"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
    );
    let request = openai_chat::read_request(body.as_bytes(), ParamsMode::Default).unwrap().request;
    let written = format!("{:?}", request.tools);
    assert!(written.contains(r#"{"type":"object","d":[{"jsonrpc""#), "{written}");
    assert!(!written.contains(['\n', '\r']));
}

#[test]
fn deep_bodies_and_bad_utf8_are_refused() {
    let deep = format!(r#"{{"messages":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in [deep.as_bytes(), b"{\"messages\":\"\xc3\"}"] {
        for failure in [
            openai_chat::read_request(body, ParamsMode::Default).unwrap_err(),
            anthropic_messages::read_request(body, OLD, ParamsMode::Default).unwrap_err(),
        ] {
            assert_eq!(failure.kind, FailureKind::BadRequest);
            assert!(failure.message.len() < 200);
        }
    }
}

#[test]
fn no_failure_repeats_the_callers_text_at_length() {
    let long = "x".repeat(100_000);
    for case in [
        chat_with(json!({"temperature": long})),
        chat_with(json!({"messages": [{"role": long, "content": "hi"}]})),
        chat_with(json!({"messages": [{"role": "user", "content": [{"type": long}]}]})),
        chat_with(json!({"tool_choice": long})),
    ] {
        let failure = chat(&case).unwrap_err();
        assert!(failure.message.len() < 500, "{}", failure.message.len());
    }
    let body = messages_with(json!({"messages": [{"role": "user", "content": [{"type": long}]}]}));
    assert!(messages(&body, OLD).unwrap_err().message.len() < 500);
}

#[test]
fn leading_system_messages_move_and_later_ones_stay() {
    let body = chat_with(json!({"messages": [
        {"role": "system", "content": "a"}, {"role": "user", "content": "b"}, {"role": "system", "content": "c"},
    ]}));
    let request = chat(&body).unwrap();
    assert_eq!(request.system, [Block::text("a")]);
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::System]);
}

proptest! {
    #[test]
    fn readers_never_panic_on_bytes(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = openai_chat::read_request(&body, ParamsMode::Default);
        let _ = anthropic_messages::read_request(&body, NEW, ParamsMode::Default);
    }

    #[test]
    fn readers_never_panic_on_json(text in r#"(\{"messages":\[)?(\{|\}|\[|\]|,|:|"(messages|role|user|content|type|text|source|tools|image_url|x)"|null|true|-?[0-9]{1,3}|1e999){0,30}(\]\})?"#) {
        let _ = openai_chat::read_request(text.as_bytes(), ParamsMode::Default);
        let _ = anthropic_messages::read_request(text.as_bytes(), OLD, ParamsMode::Default);
    }

    #[test]
    fn text_comes_through_untouched(text in ".{1,200}", system in ".{1,50}") {
        let chat_body = json!({"messages": [
            {"role": "system", "content": system}, {"role": "user", "content": [{"type": "text", "text": text}]},
        ]});
        let messages_body = json!({"system": system, "messages": [{"role": "user", "content": text}]});
        for request in [chat(&chat_body).unwrap(), messages(&messages_body, NEW).unwrap()] {
            prop_assert_eq!(&request.system, &[Block::text(system.as_str())]);
            prop_assert_eq!(&request.messages[0].content, &[Block::text(text.as_str())]);
        }
    }
}

#[test]
fn the_billing_line_is_taken_off_wherever_instructions_stand() {
    const LINE: &str = "x-anthropic-billing-header: cc_version=2.1.330; cch=00000;";
    let text = |text: &str| json!({"type": "text", "text": text});
    let cases = [
        (json!(LINE), vec![]),
        (json!(format!("{LINE}\n\nBe brief.")), vec!["Be brief."]),
        (json!([text(LINE), text("Be brief.")]), vec!["Be brief."]),
        (
            json!([text("Be brief."), text(&format!("\n {LINE}\r\n")), text("Now.")]),
            vec!["Be brief.", "Now."],
        ),
        (json!([text(&format!("{LINE}\nx"))]), vec!["x"]),
        (json!(format!("It says {LINE}")), vec![LINE]),
    ];
    for (system, expected) in cases {
        for version in [OLD, NEW] {
            let top = messages(&messages_with(json!({"system": system})), version).unwrap().system;
            let inside =
                json!([{"role": "user", "content": "hi"}, {"role": "system", "content": system}]);
            let inside = messages(&messages_with(json!({"messages": inside})), version).unwrap();
            for blocks in [&top, &inside.messages[1].content] {
                let texts: Vec<_> = blocks
                    .iter()
                    .filter_map(|block| match block {
                        Block::Text(text) => Some(text.text.as_str()),
                        _ => None,
                    })
                    .collect();
                assert_eq!(texts.len(), expected.len(), "{system}");
                assert!(
                    texts.iter().zip(&expected).all(|(text, end)| text.ends_with(end)),
                    "{texts:?}"
                );
            }
        }
    }
    // A user may write it.
    let said =
        messages(&messages_with(json!({"messages": [{"role": "user", "content": LINE}]})), OLD);
    assert_eq!(said.unwrap().messages[0].content, [Block::text(LINE)]);
}
