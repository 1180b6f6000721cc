//! The two tools that hosts are offered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::script::{Bridge, pass, settings, settle, value};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_tools_are_listed_with_schemas() {
    let (_bridge, host) = Bridge::with_host(settings()).await;
    let listed = value(host.ask("tools/list", &json!({})).await.await);
    let tools = listed["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hook", "bridge_status"]);
    assert!(tools.iter().all(|tool| tool["inputSchema"]["type"] == "object"));
    let unknown = host.ask("tools/call", &json!({"name": "other"})).await.await;
    assert!(matches!(unknown, Err(mcp::ReplyError::Host { code: -32602, .. })));
}

#[tokio::test(start_paused = true)]
async fn bridge_status_tells_what_there_is() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let _waiting = bridge.ask("x");
    let _job = host.sampling().await;
    let answer = host.tool("bridge_status", &json!({})).await;
    assert_eq!(answer["isError"], false);
    let text = answer["content"][0]["text"].as_str().unwrap();
    let status: Value = serde_json::from_str(text).unwrap();
    assert_eq!(status["url"], "http://127.0.0.1:8000");
    assert_eq!(status["models_seen"], json!(["host-model"]));
    assert_eq!(status["asked_again"], false);
    let host = &status["hosts"][0];
    assert_eq!((&host["name"], &host["state"]), (&json!("Test Host"), &json!("ready")));
    assert_eq!((&host["in_flight"], &host["concurrency"]), (&json!(1), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn bridge_status_takes_only_what_it_knows() {
    let (bridge, mut host) = Bridge::with_host(settings()).await;
    let call = bridge.ask("x");
    host.sampling().await.fail(-1, "no");
    call.failure().await;
    for arguments in [json!({"ask_again": "yes"}), json!({"ask_again": 1}), json!("true"), json!(7)]
    {
        let answer = host.tool("bridge_status", &arguments).await;
        assert_eq!(answer["isError"], true, "{arguments}");
    }
    for arguments in [json!({"ask_again": false}), json!({"other": 1}), json!(null), json!({})] {
        let answer = host.tool("bridge_status", &arguments).await;
        assert_eq!(answer["isError"], false, "{arguments}");
    }
    assert_eq!(bridge.status().state, "refused", "none of these is a person's wish");
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn hook_without_a_token_returns_by_itself() {
    let (_bridge, mut host) = Bridge::with_host(settings()).await;
    let hook = host.ask("tools/call", &json!({"name": "hook"})).await;
    pass(24 * SECOND).await;
    host.hears_nothing().await;
    pass(SECOND).await;
    let answer = value(hook.await);
    assert_eq!(answer["isError"], false);
    assert!(answer["content"][0]["text"].as_str().unwrap().contains("no new call is needed"));
}

#[tokio::test(start_paused = true)]
async fn hook_reports_progress_until_the_longest_wait() {
    let (_bridge, mut host) = Bridge::with_host(settings()).await;
    let params = json!({"name": "hook", "_meta": {"progressToken": "p"}});
    let hook = host.ask("tools/call", &params).await;
    for count in 1..=12 {
        host.hears_nothing().await;
        pass(5 * SECOND).await;
        let (method, params) = host.noted().await;
        assert_eq!(method, "notifications/progress");
        assert_eq!((&params["progressToken"], &params["progress"]), (&json!("p"), &json!(count)));
    }
    pass(settings().max_wait).await;
    let answer = value(hook.await);
    assert_eq!(answer["isError"], false);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_hook_is_not_answered_and_ends() {
    for meta in [json!({}), json!({"progressToken": 1})] {
        let (_bridge, mut host) = Bridge::with_host(settings()).await;
        let hook = host.ask("tools/call", &json!({"name": "hook", "_meta": meta})).await;
        settle().await;
        let mut late = hook.cancel("enough").expect("not answered");
        pass(60 * SECOND).await;
        host.hears_nothing().await;
        let waited = tokio::time::timeout(SECOND, &mut late).await;
        assert!(waited.is_err(), "a cancelled call gets no answer");
    }
}

#[tokio::test(start_paused = true)]
async fn sampling_goes_on_while_a_hook_is_open_and_without_one() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let hook = host.ask("tools/call", &json!({"name": "hook"})).await;
    bridge.grant(&mut host).await;
    drop(hook);
    bridge.grant(&mut host).await;
}
