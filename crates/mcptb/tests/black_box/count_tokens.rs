//! Token counts, which ask no model.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Reply, Request, Rig};

const PATH: &str = "/v1/messages/count_tokens";

fn ask(body: &Value) -> Request {
    Request::post(PATH).json(body).header("anthropic-version", "2023-06-01")
}

fn count(rig: &Rig, body: &Value) -> u64 {
    tokens(&rig.fetch(&ask(body)))
}

fn tokens(reply: &Reply) -> u64 {
    let body = reply.json();
    assert_eq!(reply.status, 200, "{body}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["input_tokens"].as_u64().unwrap()
}

fn user(text: &str) -> Value {
    json!({"model": "claude-opus-5", "messages": [{"role": "user", "content": text}]})
}

#[test]
fn counts_grow_with_what_is_read_and_ask_nobody() {
    let rig = Launch::new().ready();
    let mut body = user("foo");
    let mut last = count(&rig, &body);
    assert!(last >= 1);
    let steps = [
        ("system", json!("You are a careful assistant.")),
        ("system", json!([{"type": "text", "text": "You are a careful assistant. Be brief."}])),
        ("tools", json!([{"name": "read", "input_schema": {"type": "object"}}])),
        (
            "tools",
            json!([
                {"name": "read", "description": "Reads a file.", "input_schema": {"type": "object"}},
                {"type": "web_search_20250305", "name": "web_search"},
            ]),
        ),
        (
            "messages",
            json!([
                {"role": "user", "content": "foo"},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "t", "name": "read", "input": {"path": "a"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": "fn main() {}"}]},
            ]),
        ),
    ];
    for (field, value) in steps {
        body[field] = value;
        let more = count(&rig, &body);
        assert!(more > last, "{field}: {more} after {last}");
        last = more;
    }
    rig.host.assert_not_asked();
    // No call, so no record.
    let asked = Door::Messages.ask("foo");
    let mut call = rig.send(&asked);
    rig.host.sampling().answer("bar");
    let used = call.finish().json()["usage"]["input_tokens"].as_u64().unwrap();
    assert_eq!(used, count(&rig, &user("foo")), "a call reports what was counted before");
    let lines =
        rig.process.stderr.wait_many(2, |line| line.contains(" RX ") || line.contains(" TX "));
    assert_eq!(lines.len(), 2);
}

#[test]
fn many_at_once_while_the_host_is_busy_or_not_there() {
    let rig = Launch::new().cold().arg("--concurrency", "1").arg("--queue", "0").attach();
    let busy = rig.send(&Door::Chat.ask("first"));
    let _held = rig.host.sampling();
    let mut calls: Vec<_> =
        (0..25).map(|number| rig.send(&ask(&user(&"word ".repeat(number * 100))))).collect();
    let counts: Vec<_> = calls.iter_mut().map(|call| tokens(&call.finish())).collect();
    assert!(counts.is_sorted_by(|less, more| less < more), "{counts:?}");
    drop(busy);
}

#[test]
fn the_query_and_the_prefix_do_not_matter() {
    let rig = Launch::new().ready();
    let body = user("foo");
    for path in ["/messages/count_tokens", "/v1/messages/count_tokens?beta=true"] {
        assert_eq!(tokens(&rig.fetch(&Request::post(path).json(&body))), count(&rig, &body));
    }
    // Whatever is refused or left out by name in a call can be counted.
    let mut odd = user("foo");
    odd["temperature"] = json!(0.5);
    odd["thinking"] = json!({"type": "adaptive"});
    odd["output_config"] = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});
    let dated = Request::post(PATH).json(&odd).header("anthropic-version", "2026-10-21");
    assert!(tokens(&rig.fetch(&dated)) > count(&rig, &body));
}

#[test]
fn the_rules_of_the_door_hold() {
    let rig = Launch::new()
        .env("MCPTB_TOKEN", "a-token-of-more-than-20-characters")
        .arg("--body-limit", "1000")
        .ready();
    let known =
        |request: Request| request.header("x-api-key", "a-token-of-more-than-20-characters");
    let cases = [
        (ask(&user("foo")), 401),
        (known(ask(&user(&"x".repeat(2000)))), 413),
        (known(ask(&json!({"model": "m"}))), 400),
        (known(ask(&json!({"messages": [{"role": "robot", "content": "x"}]}))), 400),
        (known(ask(&user("foo"))).header("x-mcptb-params", "odd"), 400),
        (known(Request::get(PATH)), 405),
    ];
    for (request, status) in cases {
        let reply = rig.fetch(&request);
        assert_eq!(reply.status, status);
        Door::Messages.check_error(&reply.json());
    }
    let threaded = json!({"messages": [{"role": "user", "content": "a"}],
        "thread": {"type": "continue", "previous_message_id": "msg_1"}});
    let refused = rig.fetch(&known(ask(&threaded))).json();
    assert_eq!(refused["error"]["details"]["error_code"], "thread_unsupported_request");
    assert!(tokens(&rig.fetch(&known(ask(&user("foo"))))) >= 1);
}
