//! Moving over from the prototype: its arguments, environment and curl lines work as they are.

use serde_json::{Value, json};

use crate::support::launch::free_port;
use crate::support::{Door, Launch, Profile, Request, Rig};

/// The prototype's configuration, but for the number of the port.
fn prototype() -> Rig {
    Launch::new()
        .profile(Profile::VsCode)
        .arg("--host", "0.0.0.0")
        .arg("--port", &free_port().to_string())
        .env("MCPTB_HTTP_TIMEOUT", "none")
        .env("MCPTB_FORCE_COLOR", "1")
        .ready()
}

/// A curl line: what it sends beside the body.
fn curl(path: &str, body: &str) -> Request {
    Request::post(path).header("user-agent", "curl/8.5.0").header("accept", "*/*").text(body)
}

#[test]
fn the_curl_lines_of_the_prototype_work() {
    let rig = prototype();
    let lines = [
        (Door::Messages, "hi", false),
        (Door::Chat, "Hello", false),
        (Door::Chat, "Stream", true),
        (Door::Messages, "Hello", false),
        (Door::Messages, "Stream", true),
    ];
    for (door, text, streamed) in lines {
        let body = format!(
            r#"{{"model":"auto","messages":[{{"role":"user","content":"{text}"}}],"stream":{streamed}}}"#
        );
        let mut call = rig.send(&curl(door.path(), &body));
        let sampling = rig.host.sampling();
        assert_eq!(sampling.asked(), text);
        assert!(sampling.params["modelPreferences"].is_null());
        sampling.answer("the host's answer");
        let head = call.head();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("x-mcp-bridge"), Some(concat!("mcptb/", env!("CARGO_PKG_VERSION"))));
        assert_eq!(head.header("x-mcp-model"), Some("copilot/gpt-4.1"));
        let said = if streamed { door.streamed_text(&mut call) } else { door.text(&call.finish()) };
        assert_eq!(said, "the host's answer");
    }
    let tools = rig.host.request("tools/list", &json!({}));
    assert_eq!(tools["result"]["tools"][0]["name"], "hook");
    let coloured = rig.process.stderr.wait("a coloured line", |line| line.contains("\u{1b}["));
    assert!(coloured.contains("WARN") || coloured.contains("RX"), "{coloured}");
}

#[test]
fn extra_fields_of_a_chat_reply() {
    let rig = prototype();
    let body = r#"{"model":"auto","messages":[{"role":"user","content":"Hello"}],"stream":false}"#;
    let mut call = rig.send(&curl("/v1/chat/completions", body));
    rig.host.sampling().answer("the \"whole\" text\n");
    let reply = call.finish();
    let body = reply.json();
    assert_eq!(body["text"], "the \"whole\" text\n");
    assert_eq!(body["request_id"], reply.header("x-request-id").unwrap());
    assert_eq!(body["model"], "copilot/gpt-4.1", "for `auto` the served name");
}

#[test]
fn until_it_is_ready_callers_get_503() {
    let rig = Launch::new().profile(Profile::VsCode).arg("--host", "0.0.0.0").attach();
    for door in Door::BOTH {
        assert_eq!(rig.fetch(&door.ask("hi")).status, 503);
    }
}

#[test]
fn its_environment_is_understood() {
    let rig = Launch::new()
        .env("MCPTB_MAX_TOKENS", "327680")
        .env("MCPTB_PREF_INTELLIGENCE", "0.5")
        .env("MCPTB_PREF_SPEED", "0.25")
        .env("MCPTB_PREF_COST", "1")
        .env("MCPTB_HTTP_TIMEOUT", "30")
        .env("MCPTB_NO_COLOR", "1")
        .env("MCPTB_FORCE_COLOR", "1")
        .ready();
    let mut call = rig.send(&Door::Chat.ask("hi"));
    let sampling = rig.host.sampling();
    assert_eq!(sampling.params["maxTokens"], 327_680);
    let preferences = &sampling.params["modelPreferences"];
    assert_eq!(preferences["intelligencePriority"], 0.5);
    assert_eq!(preferences["speedPriority"], 0.25);
    assert_eq!(preferences["costPriority"].as_f64(), Some(1.0));
    assert_eq!(preferences["hints"], Value::Null);
    sampling.answer("hello");
    assert_eq!(call.finish().status, 200);
    rig.process.stderr.wait("the end of the call", |line| line.contains(" TX "));
    let said = rig.process.stderr.so_far().join("\n");
    assert!(!said.contains('\u{1b}'), "no colours: {said}");
}

#[test]
fn the_names_of_its_one_model_mean_the_hosts_choice() {
    let rig = prototype();
    for model in [json!("auto"), json!(""), json!("mcp-external-sampling"), Value::Null] {
        for door in Door::BOTH {
            let mut call = rig.send(&door.ask_with("hi", &json!({"model": model})));
            let sampling = rig.host.sampling();
            assert!(sampling.params["modelPreferences"].is_null(), "{model}");
            sampling.answer("hello");
            assert_eq!(call.finish().json()["model"], "copilot/gpt-4.1", "{model}");
        }
    }
}

#[test]
fn its_end_of_a_messages_stream_only_on_request() {
    for (on, expected) in [("0", vec![]), ("1", vec!["data: [DONE]"])] {
        let rig = Launch::new().env("MCPTB_ANTHROPIC_DONE", on).ready();
        let mut call = rig.send(&Door::Messages.ask_streamed("hi"));
        rig.host.sampling().answer("hello");
        let stream = crate::support::sse::read_messages(&mut call);
        assert_eq!(
            (stream.text.as_str(), stream.behind),
            ("hello", expected.into_iter().map(str::to_owned).collect())
        );
    }
}
