//! What the host can be told only in part, or not at all, and how images and instructions travel.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Reply, Request, Rig};

/// Sends it, and gives what the host was asked and what the caller got.
fn exchange(rig: &Rig, request: &Request, answer: &str) -> (Value, Reply) {
    let mut call = rig.send(request);
    let sampling = rig.host.sampling();
    sampling.answer(answer);
    (sampling.params, call.finish())
}

#[test]
fn what_cannot_be_carried_is_named() {
    let rig = Launch::new().ready();
    let lossy = json!({
        "top_p": 0.5, "frequency_penalty": 1, "presence_penalty": 1, "logit_bias": {"5": 1},
        "seed": 5, "user": "me", "metadata": {"a": "b"}, "store": true,
    });
    let (_, reply) = exchange(&rig, &Door::Chat.ask_with("hi", &lossy), "x");
    let losses = reply.header("x-mcptb-loss").unwrap();
    for name in ["top-p", "frequency-penalty", "presence-penalty", "logit-bias"] {
        assert!(losses.contains(name), "{losses}");
    }
    let harmless =
        json!({"top_p": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}});
    let (_, reply) = exchange(&rig, &Door::Chat.ask_with("hi", &harmless), "x");
    assert_eq!(reply.header("x-mcptb-loss"), Some("usage-estimated"));
    let (_, reply) = exchange(&rig, &Door::Messages.ask_with("hi", &json!({"top_k": 5})), "x");
    assert!(reply.header("x-mcptb-loss").unwrap().contains("top-k"));
}

#[test]
fn what_would_break_the_answer_is_refused_by_name() {
    let rig = Launch::new().ready();
    let schema =
        json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": 7}}});
    let bash = json!([{"type": "bash_20250124", "name": "bash"}]);
    let cases = [
        (Door::Chat, json!({"response_format": schema}), "response_format"),
        (Door::Chat, json!({"logprobs": true}), "logprobs"),
        (Door::Chat, json!({"modalities": ["audio"]}), "modalities"),
        (Door::Messages, json!({"tools": bash}), "tools"),
        (Door::Messages, json!({"thread": {"type": "create"}}), "thread"),
    ];
    for (door, more, name) in cases {
        let reply = rig.fetch(&door.ask_with("hi", &more));
        assert_eq!(reply.status, 400, "{more}");
        assert!(
            door.error(&reply).contains(name) || reply.json()["error"]["param"] == name,
            "{more}"
        );
    }
    let details = rig.fetch(&Door::Messages.ask_with("hi", &json!({"thread": {"type": "create"}})));
    let details = &details.json()["error"]["details"];
    assert_eq!(details["error_code"], "thread_unsupported_request");
    // The version of October 2026 knows no temperature.
    let dated = Door::Messages.ask_with("hi", &json!({"temperature": 0.5}));
    let reply = rig.fetch(&dated.header("anthropic-version", "2026-10-21"));
    assert_eq!(reply.status, 400);
    assert!(Door::Messages.error(&reply).contains("temperature"));
    rig.host.assert_not_asked();
}

#[test]
fn images_travel_as_they_are_and_urls_do_not() {
    let rig = Launch::new().ready();
    let chat = |url: &str| {
        json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": url}}]}]})
    };
    let messages = |source: Value| {
        json!({"messages": [{"role": "user", "content": [
        {"type": "image", "source": source}, {"type": "text", "text": "what is this?"}]}]})
    };
    let inline = [
        (Door::Chat, chat("data:image/jpeg;base64,/9j/4AAQSkZJRg=="), 1),
        (
            Door::Messages,
            messages(
                json!({"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQSkZJRg=="}),
            ),
            0,
        ),
    ];
    for (door, more, at) in inline {
        let (params, reply) = exchange(&rig, &door.ask_with("", &more), "a picture");
        assert_eq!(reply.status, 200);
        assert_eq!(
            params["messages"][at]["content"],
            json!({"type": "image", "data": "/9j/4AAQSkZJRg==", "mimeType": "image/jpeg"})
        );
        assert_eq!(params["messages"].as_array().unwrap().len(), 2, "one block per message");
    }
    let away = [
        (Door::Chat, chat("http://127.0.0.1:1/a.png"), "messages[0].content[1]"),
        (Door::Chat, chat("file:///etc/passwd"), "messages[0].content[1]"),
        (
            Door::Messages,
            messages(json!({"type": "url", "url": "https://example.com/a.png"})),
            "messages.0.content.0",
        ),
    ];
    for (door, more, field) in away {
        let reply = rig.fetch(&door.ask_with("", &more));
        assert_eq!(reply.status, 400, "{more}");
        assert!(door.error(&reply).contains(field), "{}", reply.json());
    }
    rig.host.assert_not_asked();
}

#[test]
fn instructions_in_any_role_reach_the_host() {
    let rig = Launch::new().ready();
    let chat = json!({"messages": [
        {"role": "system", "content": "One."}, {"role": "developer", "content": "Two."},
        {"role": "user", "content": "hi"}, {"role": "system", "content": "Three."}]});
    let (params, reply) = exchange(&rig, &Door::Chat.ask_with("", &chat), "x");
    let system = params["systemPrompt"].as_str().unwrap();
    assert!(system.contains("One.") && system.contains("Two."), "{system}");
    assert!(reply.header("x-mcptb-loss").unwrap().contains("system-in-place"));
    let last = params["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(last["role"], "user");
    assert!(last["content"]["text"].as_str().unwrap().contains("Three."));
    // A conversation that ends with the assistant, and one that begins with it.
    let messages = json!({"messages": [
        {"role": "assistant", "content": "I begin."}, {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "I was say"}]});
    let (params, _) = exchange(&rig, &Door::Messages.ask_with("", &messages), "ing");
    let roles: Vec<_> =
        params["messages"].as_array().unwrap().iter().map(|message| &message["role"]).collect();
    assert_eq!((roles[0], roles[roles.len() - 1]), (&json!("user"), &json!("user")));
}
