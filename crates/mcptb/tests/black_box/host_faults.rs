//! What becomes of a host's errors.

use serde_json::json;

use crate::support::{Door, Launch, Profile, Request};

#[test]
fn each_kind_of_error_has_its_status() {
    let table: [(i64, &str, u16); 12] = [
        (-32603, "Rate limit exceeded, try again later", 429),
        (-32603, "You have exceeded your quota for this month", 429),
        (-32000, "429 Too Many Requests", 429),
        (-32603, "model_not_supported: gpt-9", 404),
        (-32603, "Unknown model: gpt-9", 404),
        (-32603, "This model's maximum context length is 8192 tokens", 400),
        (-32603, "prompt is too long: 9000 tokens", 400),
        (-32602, "Invalid params: messages", 400),
        (-32603, "something else", 502),
        (-32603, "", 502),
        (0, "no code to speak of", 502),
        (-32099, "14290 tokens used, so the dam broke", 502),
    ];
    let rig = Launch::new().ready();
    for (code, message, status) in table {
        for door in Door::BOTH {
            for streamed in [false, true] {
                let mut call = rig.send(&door.ask_with("hi", &json!({"stream": streamed})));
                rig.host.sampling().error(code, message);
                let reply = call.finish();
                assert_eq!(reply.status, status, "{code} {message}");
                assert_eq!(reply.header("content-type"), Some("application/json"));
                let shown = door.error(&reply);
                assert!(shown.contains(message), "{shown}");
                let body = reply.json();
                match (door, status) {
                    (Door::Chat, 429) => assert_eq!(body["error"]["code"], "rate_limit_exceeded"),
                    (Door::Messages, 429) => assert_eq!(body["error"]["type"], "rate_limit_error"),
                    (Door::Chat, 404) => {
                        assert_eq!(body["error"]["code"], "model_not_found");
                        assert_eq!(body["error"]["param"], "model");
                    }
                    (Door::Messages, 404) => assert_eq!(body["error"]["type"], "not_found_error"),
                    (Door::Chat, 400) if code == -32603 => {
                        assert_eq!(body["error"]["code"], "context_length_exceeded");
                    }
                    // Claude Code looks for these words.
                    (Door::Messages, 400) if code == -32603 => {
                        assert!(shown.contains("prompt is too long"), "{shown}");
                    }
                    (Door::Chat, 502) => assert_eq!(body["error"]["code"], "upstream_error"),
                    (Door::Messages, 502) => assert_eq!(body["error"]["type"], "api_error"),
                    _ => {}
                }
                // What is used up for the month is not back in seconds.
                let used_up = message.contains("quota");
                assert_eq!(reply.header("retry-after").is_some(), status == 429 && !used_up);
                // Nor is a host cured by asking it again, and each time may cost a click.
                if used_up || status == 502 {
                    assert_eq!(reply.header("x-should-retry"), Some("false"));
                }
            }
        }
    }
    rig.host.wait_state("ready");
}

#[test]
fn only_the_first_line_of_an_error_is_shown() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    for door in Door::BOTH {
        let mut call = rig.send(&door.ask("hi"));
        rig.host.sampling().fail("the model stumbled");
        let reply = call.finish();
        assert_eq!(reply.status, 502);
        assert!(door.error(&reply).contains("the model stumbled"));
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(!text.contains("secretMethod") && !text.contains("/opt/vscode"), "{text}");
        let mut call = rig.send(&door.ask("hi"));
        rig.host.sampling().error(-32603, "\n\n  first words\r\u{1b}[31mred\u{202e}\nsecond line");
        let shown = door.error(&call.finish());
        assert!(shown.contains("first words"), "{shown}");
        assert!(!shown.contains("second line"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\r', '\n']), "{shown:?}");
        let mut call = rig.send(&door.ask("hi"));
        rig.host.sampling().error(-32603, &"long ".repeat(10_000));
        assert!(door.error(&call.finish()).len() < 1000);
    }
}

#[test]
fn errors_without_words_are_errors_still() {
    let rig = Launch::new().ready();
    for error in ["{}", "null", "[]", "\"text\"", "{\"code\":\"x\",\"message\":5}", "17"] {
        let mut call = rig.send(&Door::Chat.ask("hi"));
        let id = rig.host.sampling().id;
        rig.host
            .write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n").as_bytes());
        let reply = call.finish();
        assert_eq!(reply.status, 502, "{error}");
        Door::Chat.error(&reply);
    }
}

#[test]
fn a_host_that_fails_on_hints_is_asked_once_without() {
    let rig = Launch::new().profile(Profile::FastAgent).ready();
    let named = |door: Door| door.ask_with("hi", &json!({"model": "gpt-4.1"}));
    for door in Door::BOTH {
        let before = rig.host.lines.count();
        let mut call = rig.send(&named(door));
        let sampling = rig.host.sampling();
        assert!(sampling.params["modelPreferences"].is_null());
        sampling.answer("fine");
        let reply = call.finish();
        assert_eq!(door.text(&reply), "fine");
        assert!(reply.header("x-mcptb-loss").unwrap().contains("model-hint"));
        let asked = rig.host.lines.so_far()[before..]
            .iter()
            .filter(|line| line.contains("sampling/createMessage"))
            .count();
        // The first call finds out, the next one knows.
        assert_eq!(asked, if door == Door::Chat { 2 } else { 1 });
    }
}

#[test]
fn hints_may_be_forced_or_forbidden() {
    let rig = Launch::new().profile(Profile::FastAgent).arg("--model-hints", "on").ready();
    let reply = rig.fetch(&Door::Chat.ask_with("hi", &json!({"model": "gpt-4.1"})));
    assert_eq!(reply.status, 502);
    let rig = Launch::new().arg("--model-hints", "off").ready();
    let mut call = rig.send(&Door::Chat.ask_with("hi", &json!({"model": "gpt-4.1"})));
    let sampling = rig.host.sampling();
    assert!(sampling.params["modelPreferences"].is_null());
    sampling.answer("fine");
    assert!(call.finish().header("x-mcptb-loss").unwrap().contains("model-hint"));
}

#[test]
fn a_stream_of_responses_tells_a_failure_that_no_repeat_cures_inside() {
    let rig = Launch::new().ready();
    for (message, streamed, status) in [
        ("the model stumbled", true, 200),
        ("the model stumbled", false, 502),
        ("Rate limit exceeded", true, 429),
    ] {
        let body = json!({"model": "auto", "input": "hi", "stream": streamed});
        let mut call = rig.send(&Request::post("/v1/responses").json(&body));
        rig.host.sampling().error(-32603, message);
        let reply = call.finish();
        assert_eq!(reply.status, status, "{message}");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(text.contains(message), "{text}");
        if status == 200 {
            assert_eq!(text.matches("event: response.failed").count(), 1, "{text}");
            assert!(text.contains(r#""code":"invalid_prompt""#), "{text}");
        }
    }
    // The record says what it was, wherever it was told.
    rig.process.stderr.wait_many(2, |line| line.contains(" TX ") && line.contains("status=502"));
}
