//! The mode of parameters: the bridge's own, and a request's.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Request};

#[test]
fn a_request_sets_its_own_mode() {
    let rig = Launch::new().ready();
    let lossy = json!({"top_p": 0.5});
    for door in Door::BOTH {
        let ask = || door.ask_with("hi", &lossy);
        let reply = rig.fetch(&ask().header("x-mcptb-params", "strict"));
        assert_eq!(reply.status, 400);
        assert!(door.error(&reply).contains("top_p"));
        for request in [ask(), ask().header("x-mcptb-params", "lenient")] {
            let mut call = rig.send(&request);
            rig.host.sampling().answer("fine");
            let losses = call.finish().header("x-mcptb-loss").map(str::to_owned);
            assert_eq!(losses.as_deref(), Some("usage-estimated, top-p"));
        }
        let reply = rig.fetch(&ask().header("x-mcptb-params", "relaxed"));
        assert_eq!(reply.status, 400);
        assert!(door.error(&reply).contains("x-mcptb-params"));
    }
    let logprobs = || Door::Chat.ask_with("hi", &json!({"logprobs": true, "n": 9}));
    assert_eq!(rig.fetch(&logprobs()).status, 400);
    let mut call = rig.send(&logprobs().header("x-mcptb-params", "lenient"));
    for _ in 0..8 {
        rig.host.sampling().answer("one of eight");
    }
    let reply = call.finish();
    assert_eq!(reply.json()["choices"].as_array().unwrap().len(), 8);
    let losses = reply.header("x-mcptb-loss").unwrap();
    assert!(losses.contains("logprobs") && losses.contains("choices"), "{losses}");
    rig.host.assert_not_asked();
}

#[test]
fn the_bridge_has_a_mode_of_its_own() {
    let rig = Launch::new().arg("--params", "strict").ready();
    let lossy = || Door::Chat.ask_with("hi", &json!({"presence_penalty": 1}));
    let refused = rig.fetch(&lossy()).json();
    assert_eq!(refused["error"]["param"], "presence_penalty");
    assert_eq!(refused["error"]["code"], "unsupported_parameter");
    let mut call = rig.send(&lossy().header("x-mcptb-params", "default"));
    rig.host.sampling().answer("fine");
    assert_eq!(call.finish().status, 200);
    // What has no effect that a caller could see is no loss.
    let mut call = rig.send(&Door::Chat.ask_with("hi", &json!({"seed": 5, "user": "me"})));
    rig.host.sampling().answer("fine");
    assert_eq!(call.finish().status, 200);

    let rig = Launch::new().env("MCPTB_PARAMS", "lenient").ready();
    let mut call = rig.send(&Door::Chat.ask_with("hi", &json!({"logprobs": true})));
    rig.host.sampling().answer("fine");
    assert_eq!(call.finish().status, 200);
}

#[test]
fn strict_callers_lose_no_tool_and_no_grammar() {
    let rig = Launch::new().ready();
    let asks = |tool: Value| {
        let body = json!({"model": "auto", "input": "hi", "tools": [tool]});
        Request::post("/v1/responses").json(&body)
    };
    let grammar = json!({"type": "grammar", "syntax": "lark", "definition": "start: \"a\""});
    let hosted = json!({"type": "web_search"});
    let custom = json!({"type": "custom", "name": "edit", "format": grammar});
    for (tool, loss) in [(hosted, "hosted-tools"), (custom, "tool-grammar")] {
        let reply = rig.fetch(&asks(tool.clone()).header("x-mcptb-params", "strict"));
        assert_eq!(reply.status, 400, "{tool}");
        assert_eq!(reply.json()["error"]["param"], "tools");
        let mut call = rig.send(&asks(tool));
        rig.host.sampling().answer("fine");
        assert!(call.finish().header("x-mcptb-loss").unwrap().contains(loss));
    }
    // Free text is what there is without a grammar.
    let plain = json!({"type": "custom", "name": "edit", "format": {"type": "text"}});
    let mut call = rig.send(&asks(plain).header("x-mcptb-params", "strict"));
    rig.host.sampling().answer("fine");
    assert_eq!(call.finish().header("x-mcptb-loss"), Some("usage-estimated, tools-prompted"));
    rig.host.assert_not_asked();
}

#[test]
fn lenient_instructions_lose_their_pictures() {
    let rig = Launch::new().ready();
    let picture = json!([{"type": "text", "text": "Look at this."}, {"type": "image_url",
        "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]);
    let user = json!({"role": "user", "content": "hi"});
    let system = json!({"role": "system", "content": picture});
    for messages in [json!([system, user]), json!([user, system])] {
        let body = json!({"model": "auto", "messages": messages});
        let request = Request::post("/v1/chat/completions").json(&body);
        assert_eq!(rig.fetch(&request).status, 400);
        let mut call = rig.send(&request.header("x-mcptb-params", "lenient"));
        let sampling = rig.host.sampling();
        assert!(sampling.params.to_string().contains("Look at this.\\n\\n[image omitted]"));
        sampling.answer("fine");
        assert!(call.finish().header("x-mcptb-loss").unwrap().contains("media-omitted"));
    }
    rig.host.assert_not_asked();
}

#[test]
fn no_tokens_are_an_empty_answer_that_asks_nobody() {
    let rig = Launch::new().ready();
    for streamed in [false, true] {
        let warm = json!({"max_tokens": 0, "stream": streamed});
        let mut call = rig.send(&Door::Messages.ask_with("warm the cache", &warm));
        if streamed {
            assert_eq!(Door::Messages.streamed_text(&mut call), "");
        } else {
            let reply = call.finish();
            let body = reply.json();
            assert_eq!(body["content"], json!([]));
            assert_eq!(body["stop_reason"], "max_tokens");
            assert!(body["usage"]["input_tokens"].as_u64().unwrap() > 0);
            assert_eq!(reply.header("x-mcptb-loss"), Some("usage-estimated, no-tokens"));
        }
    }
    assert_eq!(rig.fetch(&Door::Chat.ask_with("hi", &json!({"max_tokens": 0}))).status, 400);
    rig.host.assert_not_asked();
    let ends = rig.process.stderr.wait_many(3, |line| line.contains(" TX "));
    assert_eq!(ends.len(), 3);
}
