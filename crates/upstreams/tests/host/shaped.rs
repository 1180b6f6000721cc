//! Tools and answers of a given shape, under a host that takes tools.

use model::{Block, Completion, FailureKind, Loss, Retry, StopReason, ToolCallInput};
use serde_json::{Value, json};

use crate::script::{Bridge, Host, settings};

async fn native() -> (Bridge, Host) {
    let bridge = Bridge::new(settings());
    let mut host = bridge.attach(&json!({"sampling": {"tools": {}}})).await;
    bridge.grant(&mut host).await;
    (bridge, host)
}

fn with_tools(more: &Value) -> Value {
    let function = |name: &str| {
        json!({"type": "function", "function": {"name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}})
    };
    let mut body = json!({"model": "auto", "messages": [{"role": "user", "content": "weather?"}],
        "tools": [function("get.weather"), function("other")]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

fn use_of(id: &str, name: &str, input: &Value) -> Value {
    json!({"type": "tool_use", "id": id, "name": name, "input": input})
}

fn answer(content: &Value) -> Value {
    json!({"role": "assistant", "model": "host-model", "stopReason": "toolUse", "content": content})
}

fn calls(completion: &Completion) -> Vec<(String, String, String)> {
    completion
        .content
        .iter()
        .filter_map(|block| match block {
            Block::ToolCall(call) => {
                let ToolCallInput::Json(json) = &call.input else { panic!("{call:?}") };
                Some((call.id.clone(), call.name.clone(), json.as_str().to_owned()))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn calls_come_back_under_the_callers_names_with_the_hosts_ids() {
    let (bridge, mut host) = native().await;
    let asked = bridge.call(&with_tools(&json!({})));
    let job = host.later_sampling().await;
    let name = job.params["tools"][0]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("get_weather"), "{name}");
    job.result(&answer(&json!([
        {"type": "text", "text": "Looking."},
        use_of("host-1", &name, &json!({"city": "Paris"})),
        use_of("host-1", "other", &json!({})),
        use_of("x", "invented", &json!({})),
    ])));
    let completion = asked.end().await.unwrap();
    assert_eq!(completion.text(), "Looking.");
    assert_eq!(completion.reason, StopReason::ToolUse);
    let calls = calls(&completion);
    assert_eq!(calls[0], ("host-1".into(), "get.weather".into(), r#"{"city":"Paris"}"#.into()));
    assert_eq!((calls[1].1.as_str(), calls[2].1.as_str()), ("other", "invented"));
    assert!(calls[1].0 != "host-1" && !calls[1].0.is_empty(), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn only_one_call_where_only_one_is_wanted() {
    let (bridge, mut host) = native().await;
    let asked = bridge.call(&with_tools(&json!({"parallel_tool_calls": false})));
    let two = json!([use_of("1", "other", &json!({})), use_of("2", "other", &json!({}))]);
    host.later_sampling().await.result(&answer(&two));
    let completion = asked.end().await.unwrap();
    assert_eq!(calls(&completion).len(), 1);
    assert!(completion.losses.contains(Loss::ParallelToolCalls));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_not_be_made_is_left_out_by_name() {
    let (bridge, mut host) = native().await;
    let asked = bridge.call(&with_tools(&json!({"tool_choice": "none"})));
    let job = host.later_sampling().await;
    assert_eq!(job.params["toolChoice"]["mode"], "none");
    job.result(&answer(&json!([use_of("1", "other", &json!({}))])));
    let completion = asked.end().await.unwrap();
    assert!(!completion.has_tool_calls() && completion.losses.contains(Loss::ReplyBlock));
    assert_eq!(completion.reason, StopReason::EndTurn);
}

#[tokio::test(start_paused = true)]
async fn a_demanded_call_is_asked_for_once_more() {
    let (bridge, mut host) = native().await;
    for (second, made) in [
        (json!([use_of("1", "other", &json!({}))]), true),
        (json!({"type": "text", "text": "no"}), false),
    ] {
        let asked = bridge.call(&with_tools(&json!({"tool_choice": "required"})));
        let job = host.later_sampling().await;
        assert_eq!(job.params["toolChoice"]["mode"], "required");
        job.answer("I would rather talk.");
        let job = host.later_sampling().await;
        let messages = job.params["messages"].as_array().unwrap();
        assert_eq!(messages[1]["content"]["text"], "I would rather talk.");
        assert!(messages[2]["content"]["text"].as_str().unwrap().contains("must call"));
        let mut result = answer(&second);
        if !made {
            result["stopReason"] = json!("endTurn");
        }
        job.result(&result);
        let completion = asked.end().await.unwrap();
        assert_eq!(completion.has_tool_calls(), made);
        assert_eq!(completion.losses.contains(Loss::ToolChoice), !made);
        assert!(completion.losses.contains(Loss::OutputRepaired));
    }
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn bad_tools_never_reach_the_host() {
    let (bridge, mut host) = native().await;
    let unknown = json!({"tool_choice": {"type": "function", "function": {"name": "nope"}}});
    let failure = bridge.call(&with_tools(&unknown)).end().await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.param.as_deref()),
        (FailureKind::BadRequest, Some("tool_choice"))
    );
    let unanswered = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "c9", "type": "function",
            "function": {"name": "other", "arguments": "{}"}}]},
        {"role": "user", "content": "and?"},
    ]});
    let failure = bridge.call(&with_tools(&unanswered)).end().await.unwrap_err();
    assert!(failure.message.contains("c9"), "{}", failure.message);
    host.hears_nothing().await;
}

fn with_schema(strict: bool) -> Value {
    json!({"model": "auto", "messages": [{"role": "user", "content": "x"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "point", "strict": strict,
            "schema": {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}},
                "additionalProperties": false}}}})
}

#[tokio::test(start_paused = true)]
async fn json_is_asked_for_in_words_and_cleaned() {
    let (bridge, mut host) = native().await;
    let asked = bridge.call(&with_schema(true));
    let job = host.later_sampling().await;
    let system = job.params["systemPrompt"].as_str().unwrap();
    assert!(system.contains("<json_schema>") && system.contains(r#""additionalProperties":false"#));
    assert!(job.params.get("tools").is_none());
    job.answer("Here:\n```json\n{\"x\": 3}\n```");
    let completion = asked.end().await.unwrap();
    assert_eq!(completion.text(), "{\"x\": 3}");
    assert!(completion.losses.contains(Loss::OutputPrompted));
    assert!(!completion.losses.contains(Loss::OutputRepaired));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_shape_is_asked_for_once_more_and_then_fails() {
    let (bridge, mut host) = native().await;
    // Mended.
    let asked = bridge.call(&with_schema(true));
    host.later_sampling().await.answer(r#"{"x":"three"}"#);
    let job = host.later_sampling().await;
    let again = job.params["messages"][2]["content"]["text"].as_str().unwrap().to_owned();
    assert!(again.contains("/x"), "{again}");
    job.answer(r#"{"x":3}"#);
    let completion = asked.end().await.unwrap();
    assert!(completion.losses.contains(Loss::OutputRepaired));
    assert_eq!(completion.usage.input % 2, 0, "both samplings count: {:?}", completion.usage);
    // Not mended: strict fails, loose is told.
    for strict in [true, false] {
        let asked = bridge.call(&with_schema(strict));
        host.later_sampling().await.answer("no");
        host.later_sampling().await.answer(r#"{"y":1}"#);
        match asked.end().await {
            Ok(completion) => {
                assert!(!strict && completion.losses.contains(Loss::OutputMismatch));
                assert_eq!(completion.text(), r#"{"y":1}"#);
            }
            Err(failure) => {
                assert!(strict);
                assert_eq!(
                    (failure.kind, failure.retry),
                    (FailureKind::UpstreamFailed, Retry::Never)
                );
            }
        }
    }
    // No JSON at all fails either way.
    let asked = bridge.call(&with_schema(false));
    host.later_sampling().await.answer("no");
    host.later_sampling().await.answer("still no");
    assert_eq!(asked.end().await.unwrap_err().kind, FailureKind::UpstreamFailed);
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_cut_short_is_not_asked_for_again() {
    let (bridge, mut host) = native().await;
    let asked = bridge.call(&with_schema(true));
    host.later_sampling().await.result(&json!({"role": "assistant", "model": "m",
        "stopReason": "maxTokens", "content": {"type": "text", "text": "{\"x\":"}}));
    let completion = asked.end().await.unwrap();
    assert_eq!((completion.reason, completion.text().as_str()), (StopReason::MaxTokens, "{\"x\":"));
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn schemas_that_reach_out_are_refused_before_the_host_is_asked() {
    let (bridge, mut host) = native().await;
    for target in ["http://127.0.0.1:9/s.json", "file:///etc/passwd"] {
        let mut body = with_schema(true);
        body["response_format"]["json_schema"]["schema"] = json!({"$ref": target});
        let failure = bridge.call(&body).end().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadRequest, "{target}");
        assert_eq!(failure.param.as_deref(), Some("response_format"));
    }
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_hosts_hang_up_rules_hold_for_the_second_sampling_too() {
    let (bridge, mut host) = native().await;
    let running = bridge.open(&with_schema(true)).unwrap();
    host.later_sampling().await.answer("no");
    let job = host.later_sampling().await;
    drop(running);
    host.is_told_to_stop(&job).await;
}

#[tokio::test(start_paused = true)]
async fn the_bridges_own_stop_is_not_the_end_of_an_answer() {
    let bridge = Bridge::new(settings());
    let mut host = bridge.attach(&json!({"sampling": {}})).await;
    bridge.grant(&mut host).await;
    let asked = bridge.call(&with_tools(&json!({"tool_choice": "required"})));
    let job = host.later_sampling().await;
    let stop = job.params["stopSequences"][0].as_str().unwrap().to_owned();
    let text = stop.replace('/', "") + "<call name=\"nobody_knows\"></call>";
    let stopped = |text: &str| {
        json!({"role": "assistant", "model": "m", "stopReason": "stopSequence",
            "content": {"type": "text", "text": text}})
    };
    job.result(&stopped(&text));
    // The call that was demanded is asked for once more.
    host.later_sampling().await.result(&stopped("No."));
    let completion = asked.end().await.unwrap();
    assert_eq!((completion.reason, completion.text().as_str()), (StopReason::EndTurn, "No."));
    assert!(completion.losses.contains(Loss::ToolChoice));
}
