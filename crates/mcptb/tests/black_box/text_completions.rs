//! The small routes beside Chat: legacy text completions, stored chats, embeddings.

use serde_json::{Value, json};

use crate::support::{Call, Door, Launch, Request};

fn ask(body: &Value) -> Request {
    Request::post("/v1/completions").json(body)
}

/// The chunks of a stream, which ends as it should.
fn chunks(call: &mut Call) -> Vec<Value> {
    let mut chunks = Vec::new();
    loop {
        let event = call.event().expect("an end");
        let [line] = event.as_slice() else { panic!("{event:?}") };
        let payload = line.strip_prefix("data: ").expect("a data line");
        if payload == "[DONE]" {
            assert!(call.event().is_none(), "nothing follows the end");
            return chunks;
        }
        chunks.push(serde_json::from_str(payload).unwrap());
    }
}

#[test]
fn a_prompt_becomes_a_message() {
    let rig = Launch::new().ready();
    for prompt in [json!("Once upon"), json!(["Once upon"])] {
        let mut call = rig.send(&ask(&json!({
            "model": "auto", "prompt": prompt, "max_tokens": 7, "stop": "END", "temperature": 0.5,
            "best_of": 1, "echo": false, "suffix": "", "seed": 3,
        })));
        let sampling = rig.host.sampling();
        assert_eq!(sampling.params["messages"][0]["content"]["text"], "Once upon");
        assert_eq!(sampling.params["maxTokens"], 7);
        assert_eq!(sampling.params["temperature"], 0.5);
        sampling.answer("a time END there");
        let reply = call.finish();
        assert_eq!(reply.header("x-mcptb-loss"), Some("usage-estimated, prompt-as-message"));
        let body = reply.json();
        assert_eq!(body["object"], "text_completion");
        assert!(body["id"].as_str().unwrap().starts_with("cmpl-"));
        let choice = json!({
            "text": "a time ", "index": 0, "logprobs": null, "finish_reason": "stop"});
        assert_eq!(body["choices"], json!([choice]));
        let usage = &body["usage"];
        let sum =
            usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
        assert_eq!(usage["total_tokens"], sum);
    }
}

#[test]
fn a_streamed_text() {
    let rig = Launch::new().ready();
    let text =
        "a text that is long enough to come in more than one piece, with \"quotes\" and 中文";
    let mut call = rig.send(&ask(&json!({
        "prompt": "go", "stream": true, "n": 2, "stream_options": {"include_usage": true}})));
    for _ in 0..2 {
        rig.host.sampling().answer(text);
    }
    let chunks = chunks(&mut call);
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64().unwrap() > 1);
    for index in 0..2 {
        let choices: Vec<_> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0])
            .filter(|c| c["index"] == index)
            .collect();
        let joined: String =
            choices.iter().map(|choice| choice["text"].as_str().unwrap()).collect();
        assert_eq!(joined, text);
        let ends: Vec<_> =
            choices.iter().filter(|choice| !choice["finish_reason"].is_null()).collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(ends[0]["finish_reason"], "stop");
    }
    assert!(chunks.iter().all(|chunk| chunk["usage"].is_null() && chunk["id"] == usage["id"]));
}

#[test]
fn what_no_host_can_do_is_refused_by_name() {
    let rig = Launch::new().ready();
    let cases = [
        (json!({}), "prompt"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": ["a", "b"]}), "prompt"),
        (json!({"prompt": [1, 2]}), "prompt"),
        (json!({"prompt": [[1, 2]]}), "prompt"),
        (json!({"prompt": 5}), "prompt"),
        (json!({"prompt": "a", "echo": true}), "echo"),
        (json!({"prompt": "a", "suffix": "b"}), "suffix"),
        (json!({"prompt": "a", "logprobs": 0}), "logprobs"),
        (json!({"prompt": "a", "best_of": 3}), "best_of"),
        (json!({"prompt": "a", "n": 9}), "n"),
        (json!({"prompt": "a", "max_tokens": 0}), "max_tokens"),
    ];
    for (body, param) in &cases {
        let reply = rig.fetch(&ask(body));
        assert_eq!(reply.status, 400, "{body}");
        Door::Chat.check_error(&reply.json());
        assert_eq!(reply.json()["error"]["param"], *param, "{body}");
    }
    let reply = rig.fetch(&ask(&json!({"prompt": [7]})).header("x-mcptb-params", "lenient"));
    assert_eq!(reply.status, 400, "tokens mean nothing in any mode");
    rig.host.assert_not_asked();
    let all = json!({"prompt": "a", "echo": true, "suffix": "b", "logprobs": 5, "best_of": 3});
    let mut call = rig.send(&ask(&all).header("x-mcptb-params", "lenient"));
    rig.host.sampling().answer("b");
    let reply = call.finish();
    let losses = reply.header("x-mcptb-loss").unwrap();
    for name in ["echo", "suffix", "logprobs", "best-of"] {
        assert!(losses.contains(name), "{losses}");
    }
}

#[test]
fn stored_chats_and_embeddings() {
    let rig = Launch::new().env("MCPTB_TOKEN", "a-token-of-more-than-20-characters").ready();
    let known = |request: Request| {
        request.header("authorization", "Bearer a-token-of-more-than-20-characters")
    };
    for path in ["/v1/chat/completions", "/chat/completions?limit=5"] {
        let stored = rig.fetch(&known(Request::get(path)));
        assert_eq!(stored.status, 200);
        let page = stored.json();
        assert_eq!((&page["data"], &page["has_more"]), (&json!([]), &json!(false)));
        assert_eq!(rig.fetch(&Request::get(path)).status, 401);
    }
    let body = json!({"model": "text-embedding-3-small", "input": "x"});
    let reply = rig.fetch(&known(Request::post("/v1/embeddings").json(&body)));
    assert_eq!(reply.status, 404);
    assert!(Door::Chat.error(&reply).contains("embeddings"));
    assert_eq!(reply.json()["error"]["code"], "unknown_url");
    assert_eq!(rig.fetch(&Request::post("/embeddings").json(&body)).status, 401);
    rig.host.assert_not_asked();
}
