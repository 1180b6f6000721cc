//! The echo behind a real gateway.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a failing test panics")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use dialects::{openai_chat, tokens};
use gateway::{
    Call, CallLog, Caller, Finished, Gateway, GatewayLimits, GatewayParts, Received, Upstream,
};
use model::{
    Block, CallId, Completion, CompletionEvent, Dialect, Failure, FailureKind, Fold, ParamsMode,
    StopReason, ToolCallInput,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use upstreams::echo::{Echo, MODEL};

#[derive(Debug)]
struct NoLog;

impl CallLog for NoLog {
    fn wants_bodies(&self) -> bool {
        false
    }
    fn received(&self, _: &Received<'_>) {}
    fn finished(&self, _: &Finished<'_>) {}
}

/// The batches of events that answer a chat request.
async fn batches(mut body: Value) -> Result<Vec<Vec<CompletionEvent>>, Box<Failure>> {
    body["model"] = json!("auto");
    let body = body.to_string();
    let request =
        openai_chat::read_request(body.as_bytes(), ParamsMode::Default).expect("valid").request;
    let tasks = TaskTracker::new();
    let echo: Arc<dyn Upstream> = Arc::new(Echo::new(tasks.clone()));
    assert!(echo.ready().is_ok() && echo.statuses()[0].ready);
    let gateway = Gateway::new(GatewayParts {
        upstream: echo,
        sandbox: None,
        log: Arc::new(NoLog),
        audit: None,
        admission: None,
        limits: GatewayLimits { replay_guard: false },
        tasks,
        stop: CancellationToken::new(),
    });
    let mut running = gateway
        .complete(Call {
            id: CallId::generate(),
            dialect: Dialect::OpenAiChat,
            endpoint: gateway::keys::Endpoint::Chat,
            caller: Arc::new(Caller {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                loopback: true,
                authenticated: false,
                key: None,
                agent: None,
            }),
            input_tokens: tokens::estimate_input(&request),
            request: Box::new(request),
            stream: true,
            bytes_in: body.len(),
            body: None,
            memory: None,
            replay: None,
            deadline: Duration::from_secs(100),
            status_of: |_| 500,
        })
        .expect("ready");
    let mut batches = Vec::new();
    while let Some(batch) = running.next().await {
        batches.push(batch?.events);
    }
    Ok(batches)
}

/// The answer to a chat request; its events must be those of the answer.
async fn answer(body: Value) -> Completion {
    let mut fold = Fold::new();
    for event in batches(body).await.expect("answered").into_iter().flatten() {
        fold.push(event).expect("in order");
    }
    let completion = fold.finish().expect("complete");
    assert_eq!(completion.model.as_str(), MODEL);
    assert!(completion.usage.estimated && completion.usage.input > 0);
    assert_eq!(completion.usage.output, tokens::estimate_output(&completion));
    completion
}

fn user(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn with(text: &str, field: &str, value: Value) -> Value {
    let mut body = user(text);
    body[field] = value;
    body
}

#[tokio::test]
async fn the_last_word_of_the_user_comes_back() {
    let body = json!({"messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "echo: first"},
        {"role": "user", "content": [{"type": "text", "text": "你好"}, {"type": "text", "text": "there"}]},
    ]});
    let completion = answer(body.clone()).await;
    assert_eq!(completion.text(), "echo: 你好\nthere");
    assert_eq!(completion.reason, StopReason::EndTurn);
    assert_eq!(answer(body).await, completion, "the same again");
}

#[tokio::test]
async fn an_answer_comes_in_pieces() {
    let batches = batches(user("one two three four five six seven 八九十")).await.unwrap();
    assert!((4..=9).contains(&batches.len()), "{}", batches.len());
    assert!(matches!(batches[0][0], CompletionEvent::Started { .. }));
}

#[tokio::test]
async fn bounds_are_kept() {
    let completion = answer(with("one two three four five six", "max_tokens", json!(4))).await;
    assert_eq!(completion.reason, StopReason::MaxTokens);
    assert!(completion.usage.output <= 4 && completion.text().starts_with("echo"));
    let completion = answer(with("one STOP two", "stop", json!(["STOP"]))).await;
    assert_eq!(completion.text(), "echo: one ");
    assert_eq!(completion.reason, StopReason::StopSequence);
    assert_eq!(completion.stop_sequence.as_deref(), Some("STOP"));
    let mut both = with("one two three four five STOP", "stop", json!(["STOP"]));
    both["max_tokens"] = json!(3);
    let completion = answer(both).await;
    assert_eq!((completion.reason, completion.stop_sequence), (StopReason::MaxTokens, None));
}

fn tools(choice: Value) -> Value {
    let mut body = user("What is the weather?");
    let schema = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 2},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 3},
            "note": {"type": "string"},
        },
        "required": ["city", "unit", "days"],
    });
    body["tools"] = json!([
        {"type": "function", "function": {"name": "now"}},
        {"type": "function", "function": {"name": "weather", "parameters": schema}},
    ]);
    body["tool_choice"] = choice;
    body
}

#[tokio::test]
async fn a_tool_is_called_only_where_one_must_be() {
    for choice in [json!("auto"), json!("none")] {
        let completion = answer(tools(choice)).await;
        assert_eq!(completion.text(), "echo: What is the weather?");
        assert!(!completion.has_tool_calls());
    }
    let named = json!({"type": "function", "function": {"name": "weather"}});
    for (choice, name, arguments) in [
        (json!("required"), "now", json!({})),
        (named, "weather", json!({"city": "xx", "unit": "celsius", "days": 3})),
    ] {
        let completion = answer(tools(choice)).await;
        assert_eq!(completion.reason, StopReason::ToolUse);
        let [Block::ToolCall(call)] = completion.content.as_slice() else {
            panic!("{completion:?}")
        };
        assert_eq!(call.name, name);
        assert!(call.id.starts_with("call_"));
        let ToolCallInput::Json(json) = &call.input else { panic!("{call:?}") };
        assert_eq!(serde_json::from_str::<Value>(json.as_str()).unwrap(), arguments);
    }
}

fn shaped(schema: &Value) -> Value {
    let format = json!({
        "type": "json_schema",
        "json_schema": {"name": "shape", "schema": schema, "strict": true},
    });
    with("Give me one.", "response_format", format)
}

#[tokio::test]
async fn simple_schemas_are_answered_in_their_shape() {
    for (schema, expected) in [
        (
            json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/b"}},
            "z": {"type": "string"}},
            "$defs": {"b": {"type": "object", "required": ["c", "d"], "properties": {
                "c": {"const": 7}, "d": {"type": ["string", "null"]}}}}}),
            json!({"a": [{"c": 7, "d": ""}, {"c": 7, "d": ""}]}),
        ),
        (json!({"type": "array"}), json!([])),
        (json!({"type": "number", "exclusiveMinimum": 2, "multipleOf": 0.5}), json!(2.5)),
        (json!({"type": "integer", "maximum": -3}), json!(-3)),
        (json!({"type": "boolean"}), json!(false)),
        (json!({"anyOf": [{"type": "null"}, {"type": "string"}]}), json!(null)),
        (json!({"type": "string", "format": "date"}), json!("2000-01-01")),
    ] {
        let completion = answer(shaped(&schema)).await;
        let value: Value = serde_json::from_str(&completion.text()).unwrap();
        assert_eq!(value, expected, "{schema}");
    }
    let completion =
        answer(with("hi \"you\"", "response_format", json!({"type": "json_object"}))).await;
    assert_eq!(completion.text(), r#"{"echo":"hi \"you\""}"#);
}

#[tokio::test]
async fn a_schema_that_is_too_hard_is_a_failure_and_soon() {
    let mut doubling = json!({"type": "array", "minItems": 2, "items": {"type": "string"}});
    for _ in 0..30 {
        doubling = json!({"type": "array", "minItems": 2, "items": doubling});
    }
    for schema in [
        json!({"type": "string", "pattern": "^[a-z]{3}-[0-9]{4}$"}),
        json!({"type": "string", "minLength": 10_000_000}),
        json!({"type": "array", "minItems": 1_000_000_000}),
        json!({"type": "array", "minItems": 1000, "items": {"const": "x".repeat(1000)}}),
        doubling,
    ] {
        let failure = batches(shaped(&schema)).await.expect_err("no example");
        assert_eq!(failure.kind, FailureKind::Unsupported);
        assert_eq!(failure.param.as_deref(), Some("response_format"));
    }
}
