//! What is asked of a host, and what becomes of its answer.

use dialects::mcp_sampling::Priorities;
use gateway::Upstream;
use model::{FailureKind, Loss, StopReason};
use serde_json::{Value, json};
use upstreams::host::{HintPolicy, HostSettings};

use crate::script::{Bridge, question, settings};

fn for_model(name: &str) -> Value {
    let mut body = question("x");
    body["model"] = json!(name);
    body
}

const NO_HINTS: &str = "'NoneType' object has no attribute 'model_preferences'";

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_on_hints_is_asked_once_more_without_and_remembered() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let call = bridge.call(&for_model("gpt-x"));
    let job = host.sampling().await;
    assert_eq!(job.params["modelPreferences"], json!({"hints": [{"name": "gpt-x"}]}));
    job.fail(-32603, NO_HINTS);
    let again = host.sampling().await;
    assert_eq!(again.params.get("modelPreferences"), None);
    again.answer("yes");
    let reply = call.now().await.expect("an answer");
    assert!(reply.losses.contains(Loss::ModelHint));
    // The next call knows it from the start, and names what it lost.
    let next = bridge.call(&for_model("gpt-x"));
    let job = host.sampling().await;
    assert_eq!(job.params.get("modelPreferences"), None);
    job.answer("yes");
    assert!(next.now().await.expect("an answer").losses.contains(Loss::ModelHint));
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_is_asked_without_hints_only_once() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let call = bridge.call(&for_model("gpt-x"));
    host.sampling().await.fail(-32603, NO_HINTS);
    host.sampling().await.fail(-32603, NO_HINTS);
    assert_eq!(call.kind().await, FailureKind::UpstreamFailed);
    host.hears_nothing().await;
    assert_eq!(bridge.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_on_hints_gets_no_priorities_either() {
    let (bridge, mut host) = Bridge::with_granting_host(HostSettings {
        priorities: Priorities { speed: Some(0.5), ..Priorities::default() },
        ..settings()
    })
    .await;
    let call = bridge.ask("x");
    let job = host.sampling().await;
    assert_eq!(job.params["modelPreferences"], json!({"speedPriority": 0.5}));
    job.fail(-32603, NO_HINTS);
    let again = host.sampling().await;
    assert_eq!(again.params.get("modelPreferences"), None);
    again.answer("yes");
    assert_eq!(call.text().await, "yes");
}

#[tokio::test(start_paused = true)]
async fn other_failures_are_not_repeated() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    for (code, message, kind) in [
        (-32603, "rate limit exceeded", FailureKind::RateLimited),
        (-32603, "No model found", FailureKind::UnknownModel),
        (-32603, "prompt is too long", FailureKind::ContextTooLong),
        (-32603, "broken\n  at stack.js:1", FailureKind::UpstreamFailed),
    ] {
        let call = bridge.call(&for_model("gpt-x"));
        host.sampling().await.fail(code, message);
        let failure = call.failure().await;
        assert_eq!(failure.kind, kind);
        assert!(!failure.message.contains("stack.js"), "{failure}");
        host.hears_nothing().await;
    }
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn hints_can_be_forced_and_forbidden() {
    let forced = HostSettings { hints: HintPolicy::On, ..settings() };
    let (bridge, mut host) = Bridge::with_granting_host(forced).await;
    let call = bridge.call(&for_model("gpt-x"));
    host.sampling().await.fail(-32603, NO_HINTS);
    assert_eq!(call.kind().await, FailureKind::UpstreamFailed);
    let call = bridge.call(&for_model("gpt-x"));
    let job = host.sampling().await;
    assert!(job.params.get("modelPreferences").is_some(), "on means on");
    job.answer("yes");
    assert!(!call.now().await.expect("an answer").losses.contains(Loss::ModelHint));

    let forbidden = HostSettings { hints: HintPolicy::Off, ..settings() };
    let (bridge, mut host) = Bridge::with_granting_host(forbidden).await;
    for (model, lost) in [("gpt-x", true), ("auto", false), ("", false)] {
        let call = bridge.call(&for_model(model));
        let job = host.sampling().await;
        assert_eq!(job.params.get("modelPreferences"), None);
        job.answer("yes");
        let reply = call.now().await.expect("an answer");
        assert_eq!(reply.losses.contains(Loss::ModelHint), lost, "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn stop_sequences_are_enforced_here() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let mut body = question("x");
    body["stop"] = json!(["END", "\n\n"]);
    let call = bridge.call(&body);
    let job = host.sampling().await;
    assert_eq!(job.params["stopSequences"], json!(["END", "\n\n"]));
    job.result(&json!({"role": "assistant", "model": "m", "stopReason": "endTurn", "content": [
        {"type": "text", "text": "one"}, {"type": "text", "text": " twoEND three"},
        {"type": "text", "text": "four"}]}));
    let reply = call.now().await.expect("an answer");
    assert_eq!(reply.text(), "one two");
    assert_eq!(reply.reason, StopReason::StopSequence);
    assert_eq!(reply.stop_sequence.as_deref(), Some("END"));
}

#[tokio::test(start_paused = true)]
async fn usage_is_estimated_and_never_zero() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    for text in ["", "x", &"many words ".repeat(200)] {
        let call = bridge.ask("hi");
        host.sampling().await.answer(text);
        let reply = call.now().await.expect("an answer");
        assert!(reply.usage.input >= 1 && reply.usage.output >= 1, "{:?}", reply.usage);
        assert!(reply.usage.estimated && reply.losses.contains(Loss::UsageEstimated));
        assert!(text.len() < 100 || reply.usage.output > 100, "{:?}", reply.usage);
    }
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_tokens_is_the_callers_else_ours_and_capped() {
    for (asked, cap, sent, clamped) in [
        (None, None, 8192, false),
        (Some(5), None, 5, false),
        (Some(500_000), None, 500_000, false),
        (Some(5000), Some(100), 100, true),
        (None, Some(100), 100, false),
    ] {
        let (bridge, mut host) =
            Bridge::with_granting_host(HostSettings { max_tokens_cap: cap, ..settings() }).await;
        let mut body = question("x");
        body["max_tokens"] = json!(asked);
        let call = bridge.call(&body);
        let job = host.sampling().await;
        assert_eq!(job.params["maxTokens"], sent);
        job.answer("x");
        let reply = call.now().await.expect("an answer");
        assert_eq!(reply.losses.contains(Loss::MaxTokensClamped), clamped);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_failure_of_the_host() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    for result in [json!(null), json!({}), json!([]), json!("text"), json!({"task": {}})] {
        let call = bridge.ask("x");
        host.sampling().await.result(&result);
        assert_eq!(call.kind().await, FailureKind::UpstreamFailed, "{result}");
    }
    assert_eq!(bridge.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn models_are_remembered_once_each_and_not_without_bound() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    for number in 0..100 {
        let call = bridge.ask("x");
        host.sampling()
            .await
            .result(&json!({"role": "assistant", "content": {"type": "text", "text": "x"},
            "model": format!("m-{}", number / 2)}));
        assert_eq!(call.text().await, "x");
    }
    let models = bridge.pool.models();
    assert_eq!(models.len(), 51);
    assert_eq!((models[0].as_str(), models[1].as_str()), ("host-model", "m-0"));
    for number in 0..100 {
        let call = bridge.ask("x");
        host.sampling()
            .await
            .result(&json!({"role": "assistant", "content": {"type": "text", "text": "x"},
            "model": format!("more-{number}")}));
        call.text().await;
    }
    assert_eq!(bridge.pool.models().len(), 64);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_carried_is_refused_before_any_wait() {
    let (bridge, mut host) = Bridge::with_host(settings()).await;
    let mut body = question("x");
    body["messages"][0]["content"] = json!([{"type": "input_audio",
        "input_audio": {"data": "AAAA", "format": "wav"}}]);
    let failure = bridge.call(&body).failure().await;
    assert_eq!(failure.kind, FailureKind::Unsupported);
    host.hears_nothing().await;
    assert_eq!(bridge.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_tools_gets_no_tool_calls() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let call = bridge.ask("x");
    host.sampling().await.result(&json!({
        "role": "assistant", "model": "m", "stopReason": "toolUse",
        "content": [
            {"type": "text", "text": "let me see"},
            {"type": "tool_use", "id": "1", "name": "f", "input": {}},
        ],
    }));
    let completion = call.now().await.expect("an answer");
    assert_eq!(completion.text(), "let me see");
    assert!(!completion.has_tool_calls());
    assert_eq!(completion.reason, StopReason::EndTurn);
    assert!(completion.losses.contains(Loss::ReplyBlock));
}
