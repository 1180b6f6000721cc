//! The tools that a host is offered.

use serde_json::{Value, json};

use crate::support::{Door, Launch};

#[test]
fn two_tools_that_every_host_can_start() {
    let rig = Launch::new().ready();
    let answer = rig.host.request("tools/list", &json!({}));
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hook", "bridge_status"]);
    for tool in tools {
        assert!(!tool["description"].as_str().unwrap().is_empty());
        assert_eq!(tool["inputSchema"]["type"], "object");
    }
}

#[test]
fn a_call_of_nothing_is_refused() {
    let rig = Launch::new().ready();
    for params in [json!({"name": "no_such"}), json!({}), json!({"name": 5}), Value::Null] {
        let answer = rig.host.request("tools/call", &params);
        assert_eq!(answer["error"]["code"], -32602, "{params}");
    }
    let answer = rig.host.request(
        "tools/call",
        &json!({"name": "bridge_status", "arguments": {"ask_again": "maybe"}}),
    );
    assert_eq!(answer["result"]["isError"], true, "{answer}");
}

#[test]
fn hook_stays_until_it_is_cancelled_and_holds_nothing_up() {
    let rig = Launch::new().ready();
    let hook = json!({"name": "hook", "arguments": {}});
    let (first, first_answer) = rig.host.begin("tools/call", &hook);
    let (_second, second_answer) = rig.host.begin("tools/call", &hook);
    let mut call = rig.send(&Door::Chat.ask("during the hook"));
    rig.host.sampling().answer("answered");
    assert_eq!(Door::Chat.text(&call.finish()), "answered");
    rig.host.notify("notifications/cancelled", &json!({"requestId": first, "reason": "stop"}));
    // A cancelled call gets no answer, and the other one goes on.
    rig.host.request("ping", &json!({}));
    assert!(first_answer.try_recv().is_err());
    assert!(second_answer.try_recv().is_err());
    let mut call = rig.send(&Door::Chat.ask("after the hook"));
    rig.host.sampling().answer("answered again");
    assert_eq!(Door::Chat.text(&call.finish()), "answered again");
}

#[test]
fn hook_reports_progress_to_whoever_asks() {
    let rig = Launch::new().ready();
    for token in [json!("a token"), json!(42)] {
        let params = json!({"name": "hook", "_meta": {"progressToken": token}});
        let (id, answer) = rig.host.begin("tools/call", &params);
        let wanted = format!("\"progressToken\":{token}");
        let line = rig.host.lines.wait("progress", |line| line.contains(&wanted));
        let progress: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(progress["method"], "notifications/progress");
        assert_eq!(progress["params"]["progress"], 1);
        let message = progress["params"]["message"].as_str().unwrap();
        assert!(message.contains(&rig.target.address.to_string()), "{message}");
        rig.host.notify("notifications/cancelled", &json!({"requestId": id}));
        rig.host.request("ping", &json!({}));
        assert!(answer.try_recv().is_err());
    }
}

#[test]
fn bridge_status_tells_where_things_stand() {
    let rig = Launch::new().cold().attach();
    let status = rig.host.status();
    assert_eq!(status["url"], format!("http://{}", rig.target.address));
    assert_eq!(status["problem"], Value::Null);
    assert_eq!(status["hosts"][0]["name"], "mcp");
    assert_eq!(status["hosts"][0]["state"], "consent_unknown");
    assert_eq!(status["hosts"][0]["concurrency"], 8);
    assert_eq!(status["models_seen"], json!([]));
    assert_eq!(status["asked_again"], false);
    let mut call = rig.send(&Door::Chat.ask("hi"));
    let sampling = rig.host.sampling();
    assert_eq!(rig.host.status()["hosts"][0]["in_flight"], 1);
    sampling.answer("hi");
    assert_eq!(call.finish().status, 200);
    let status = rig.host.wait_status("no call", |status| status["hosts"][0]["in_flight"] == 0);
    assert_eq!(status["hosts"][0]["state"], "ready");
    assert_eq!(status["models_seen"], json!(["model-of-the-host"]));
}
