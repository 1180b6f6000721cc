//! What a whole reply carries, in its head and in its body.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Reply, Request, Rig};

fn answered(rig: &Rig, request: &Request) -> Reply {
    let mut call = rig.send(request);
    rig.host.sampling().answer("the answer");
    let reply = call.finish();
    assert_eq!(reply.status, 200);
    reply
}

/// Whether this is a UUID of version 7, in its usual form.
fn is_uuid_v7(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && parts[2].starts_with('7')
        && text.chars().all(|char| char == '-' || char.is_ascii_hexdigit())
}

#[test]
fn a_chat_reply_has_every_field_that_clients_read() {
    let rig = Launch::new().ready();
    let reply = answered(&rig, &Door::Chat.ask_with("hi", &json!({"model": "gpt-4.1"})));
    let body = reply.json();
    assert_eq!(body["object"], "chat.completion");
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(body["model"], "gpt-4.1", "the requested name");
    let choice = &body["choices"][0];
    assert_eq!(choice["index"], 0);
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["refusal"], Value::Null);
    assert!(choice.get("logprobs").is_some());
    assert!(choice["message"].get("tool_calls").is_none());
    let usage = &body["usage"];
    let tokens = |name: &str| usage[name].as_u64().unwrap();
    assert!(tokens("prompt_tokens") > 0 && tokens("completion_tokens") > 0);
    assert_eq!(tokens("total_tokens"), tokens("prompt_tokens") + tokens("completion_tokens"));
    assert_eq!(body["text"], "the answer");
    assert_eq!(body["request_id"], reply.header("x-request-id").unwrap());
}

#[test]
fn a_messages_reply_has_every_field_that_clients_read() {
    let rig = Launch::new().ready();
    let reply = answered(&rig, &Door::Messages.ask_with("hi", &json!({"model": "claude-x"})));
    let body = reply.json();
    assert_eq!(body["type"], "message");
    assert_eq!(body["role"], "assistant");
    assert!(body["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(body["model"], "claude-x");
    assert_eq!(body["content"][0]["type"], "text");
    assert_eq!(body["stop_reason"], "end_turn");
    assert_eq!(body["stop_sequence"], Value::Null);
    assert!(body.get("stop_sequence").is_some() && body.get("container").is_some());
    assert!(body["usage"]["input_tokens"].as_u64().unwrap() > 0);
    assert!(body["usage"]["output_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn heads_name_the_call_the_bridge_the_model_and_the_losses() {
    let rig = Launch::new().ready();
    let mut ids = Vec::new();
    for door in Door::BOTH {
        for more in [json!({}), json!({"model": "named"}), json!({"stream": true})] {
            let reply = answered(&rig, &door.ask_with("hi", &more));
            let bridge = reply.header("x-mcp-bridge");
            assert_eq!(bridge, Some(concat!("mcptb/", env!("CARGO_PKG_VERSION"))));
            assert_eq!(reply.header("x-mcp-model"), Some("model-of-the-host"));
            assert_eq!(reply.header("x-mcptb-loss"), Some("usage-estimated"));
            let id = reply.header("x-request-id").unwrap().to_owned();
            assert!(is_uuid_v7(&id), "{id}");
            let anthropic = format!("req_{}", id.replace('-', ""));
            let expected = (door == Door::Messages).then_some(anthropic.as_str());
            assert_eq!(reply.header("request-id"), expected);
            ids.push(id);
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 6, "each call has its own id");
}

#[test]
fn errors_name_the_call_too() {
    let rig = Launch::new().ready();
    for door in Door::BOTH {
        let reply = rig.fetch(&Request::post(door.path()).text("{"));
        assert_eq!(reply.status, 400);
        let id = reply.header("x-request-id").unwrap();
        assert!(is_uuid_v7(id), "{id}");
        assert!(reply.header("x-mcp-bridge").is_some());
        if door == Door::Messages {
            let anthropic = format!("req_{}", id.replace('-', ""));
            assert_eq!(reply.header("request-id"), Some(anthropic.as_str()));
            assert_eq!(reply.json()["request_id"], anthropic);
        }
    }
}

#[test]
fn both_doors_stand_with_and_without_the_prefix_and_ignore_queries() {
    let rig = Launch::new().ready();
    for path in [
        "/chat/completions",
        "/v1/chat/completions?api-version=1",
        "/v1/messages?beta=true",
        "/messages",
    ] {
        let door = if path.contains("chat") { Door::Chat } else { Door::Messages };
        let request = Request::post(path).json(&door.body("hi", &json!({})));
        assert_eq!(door.text(&answered(&rig, &request)), "the answer");
    }
}

#[test]
fn what_is_not_there_says_so_in_the_callers_dialect() {
    let rig = Launch::new().ready();
    let cases = [
        (Request::get("/v1/nothing"), Door::Chat, 404),
        (Request::post("/v1/embeddings").text("{}"), Door::Chat, 404),
        (
            Request::get("/v1/nothing").header("anthropic-version", "2023-06-01"),
            Door::Messages,
            404,
        ),
        (Request::get("/v1/messages"), Door::Messages, 405),
        (Request::new("PUT", "/v1/chat/completions"), Door::Chat, 405),
        (Request::new("DELETE", "/v1/models"), Door::Chat, 405),
        (Request::post("/v1/responses").text("{}"), Door::Chat, 400),
        (Request::post("/v1/messages/count_tokens").text("{}"), Door::Messages, 400),
    ];
    for (request, door, status) in cases {
        let reply = rig.fetch(&request);
        assert_eq!(reply.status, status, "{request:?}");
        door.error(&reply);
    }
    rig.host.assert_not_asked();
}

#[test]
fn one_connection_carries_many_calls() {
    let rig = Launch::new().ready();
    rig.host.respond(|sampling| sampling.answer(&sampling.asked()));
    let mut call = rig.send(&Door::Chat.ask("0"));
    assert_eq!(Door::Chat.text(&call.finish()), "0");
    for number in 1..50 {
        let door = Door::BOTH[number % 2];
        call.send(&door.ask(&number.to_string()));
        assert_eq!(door.text(&call.finish()), number.to_string());
        call.send(&Door::Messages.ask_streamed("and a stream"));
        assert_eq!(Door::Messages.streamed_text(&mut call), "and a stream");
        call.send(&Request::post("/v1/messages").text("no json"));
        assert_eq!(call.finish().status, 400);
    }
}

#[test]
fn a_caller_who_waits_for_a_go_gets_it() {
    let rig = Launch::new().ready();
    let body = Door::Chat.body("hi", &json!({})).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut call = rig.target.send_raw(head.as_bytes());
    assert_eq!(call.finish_head().status, 100);
    call.next_reply();
    call.push(body.as_bytes()).unwrap();
    rig.host.sampling().answer("hello");
    assert_eq!(Door::Chat.text(&call.finish()), "hello");
}

#[test]
fn an_empty_answer_is_an_answer() {
    let rig = Launch::new().ready();
    for door in Door::BOTH {
        for streamed in [false, true] {
            let mut call = rig.send(&door.ask_with("hi", &json!({"stream": streamed})));
            rig.host.sampling().answer("");
            if streamed {
                assert_eq!(door.streamed_text(&mut call), "");
            } else {
                let reply = call.finish();
                assert_eq!(reply.status, 200);
                match door {
                    Door::Chat => assert_eq!(door.text(&reply), ""),
                    Door::Messages => assert_eq!(reply.json()["content"], json!([])),
                }
            }
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let rig = Launch::new().ready();
    rig.host.respond(|sampling| sampling.answer(&sampling.asked()));
    let both: Vec<u8> = ["first", "second"]
        .into_iter()
        .flat_map(|text| {
            let body = Door::Chat.body(text, &json!({})).to_string();
            let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length:";
            format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
        })
        .collect();
    let mut call = rig.target.send_raw(&both);
    assert_eq!(Door::Chat.text(&call.finish()), "first");
    call.next_reply();
    assert_eq!(Door::Chat.text(&call.finish()), "second");
}
