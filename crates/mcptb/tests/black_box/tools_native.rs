//! Tool calls and answers of a given shape through both doors, under a host that takes tools.

use serde_json::{Value, json};

use crate::support::sse::{read_chat, read_messages};
use crate::support::{Door, Launch, Profile, Reply, Request, Rig};

fn rig() -> Rig {
    // fast-agent is the one known host that takes tools, and it fails on hints.
    Launch::new().profile(Profile::FastAgent).arg("--model-hints", "off").ready()
}

/// The schema keeps its odd order and its odd numbers.
const SCHEMA: &str = r#"{"type":"object","required":["z","a"],"properties":{"z":{"type":"number","maximum":1.50e+2},"a":{"type":"string"}}}"#;

fn chat_tools() -> Value {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    json!({"tools": [{"type": "function", "function": {
        "name": "look.up", "description": "Looks it up.", "parameters": schema}}]})
}

fn messages_tools() -> Value {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    json!({"tools": [{"name": "look.up", "description": "Looks it up.", "input_schema": schema}]})
}

fn two_calls(name: &str) -> Value {
    json!({"role": "assistant", "model": "m", "stopReason": "toolUse", "content": [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "tu_1", "name": name, "input": {"z": 1.0, "a": "ä\n\"x\""}},
        {"type": "tool_use", "id": "tu_2", "name": name, "input": {}}]})
}

/// Lets the host call the tool twice, and gives what it was asked and what the caller got.
fn called(rig: &Rig, request: &Request) -> (Value, Reply) {
    let mut call = rig.send(request);
    let sampling = rig.host.sampling();
    let name = sampling.params["tools"][0]["name"].as_str().unwrap().to_owned();
    sampling.result(&two_calls(&name));
    (sampling.params.clone(), call.finish())
}

#[test]
fn calls_reach_a_chat_caller_and_its_results_reach_the_host() {
    let rig = rig();
    let (params, reply) = called(&rig, &Door::Chat.ask_with("weather?", &chat_tools()));
    let text = rig.host.lines.wait("the sampling", |line| {
        line.contains("sampling/createMessage") && line.contains("inputSchema")
    });
    assert!(text.contains(r#""required":["z","a"]"#), "key order: {text}");
    assert_eq!(params["tools"][0]["description"], "Looks it up.");
    let body = reply.json();
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], "Let me see.");
    let calls = choice["message"]["tool_calls"].as_array().unwrap().clone();
    assert_eq!(
        (&calls[0]["id"], &calls[0]["function"]["name"]),
        (&json!("tu_1"), &json!("look.up"))
    );
    let arguments: Value =
        serde_json::from_str(calls[0]["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"z": 1.0, "a": "ä\n\"x\""}));
    // The next turn, as the SDKs send it: one message for each result.
    let mut next = chat_tools();
    next["messages"] = json!([
        {"role": "user", "content": "weather?"}, choice["message"],
        {"role": "tool", "tool_call_id": "tu_2", "content": "none"},
        {"role": "tool", "tool_call_id": "tu_1", "content": [{"type": "text", "text": "18C"}]}]);
    let mut call = rig.send(&Door::Chat.ask_with("", &next));
    let sampling = rig.host.sampling();
    let messages = sampling.params["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3, "{messages:#?}");
    let results = messages[2]["content"].as_array().unwrap();
    let ids: Vec<&Value> = results.iter().map(|result| &result["toolUseId"]).collect();
    assert_eq!(ids, ["tu_1", "tu_2"], "in the order of the calls");
    sampling.answer("It is 18C.");
    assert_eq!(Door::Chat.text(&call.finish()), "It is 18C.");
    assert_eq!(rig.host.faults(), Vec::<String>::new());
}

#[test]
fn calls_reach_a_messages_caller_and_its_results_reach_the_host() {
    let rig = rig();
    let (_, reply) = called(&rig, &Door::Messages.ask_with("weather?", &messages_tools()));
    let body = reply.json();
    assert_eq!(body["stop_reason"], "tool_use");
    let content = body["content"].as_array().unwrap().clone();
    let kinds: Vec<&str> = content.iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text", "tool_use", "tool_use"]);
    assert_eq!(content[1]["input"], json!({"z": 1.0, "a": "ä\n\"x\""}));
    // The next turn, as Claude Code sends it: results and text in one message, a system message
    // behind it.
    let mut next = messages_tools();
    next["messages"] = json!([
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "tu_1", "content": "18C"},
            {"type": "tool_result", "tool_use_id": "tu_2", "is_error": true,
                "content": [{"type": "text", "text": "no such place"}]},
            {"type": "text", "text": "Go on."}]},
        {"role": "system", "content": "Be brief."}]);
    let mut call = rig.send(&Door::Messages.ask_with("", &next));
    let sampling = rig.host.sampling();
    let messages = sampling.params["messages"].as_array().unwrap();
    let results = messages[2]["content"].as_array().unwrap();
    assert!(results.iter().all(|block| block["type"] == "tool_result"), "{results:#?}");
    assert_eq!(results[1]["isError"], true);
    assert_eq!(messages[3]["content"]["text"], "Go on.");
    sampling.answer("It is 18C.");
    assert_eq!(Door::Messages.text(&call.finish()), "It is 18C.");
}

#[test]
fn streamed_calls_are_whole() {
    let rig = rig();
    let stream = |mut more: Value| {
        more["stream"] = json!(true);
        more
    };
    let mut call = rig.send(&Door::Chat.ask_with("weather?", &stream(chat_tools())));
    let sampling = rig.host.sampling();
    let name = sampling.params["tools"][0]["name"].as_str().unwrap().to_owned();
    sampling.result(&two_calls(&name));
    let read = read_chat(&mut call);
    assert_eq!(read.finish, [Some("tool_calls".to_owned())]);
    assert_eq!(read.text, "Let me see.");
    let check = |calls: &[(String, String, String)]| {
        assert_eq!(calls.len(), 2, "{calls:?}");
        assert_eq!((calls[0].0.as_str(), calls[0].1.as_str()), ("tu_1", "look.up"));
        let arguments: Value = serde_json::from_str(&calls[0].2).unwrap();
        assert_eq!(arguments, json!({"z": 1.0, "a": "ä\n\"x\""}));
        assert!(matches!(calls[1].2.as_str(), "{}" | ""), "{calls:?}");
    };
    check(&read.calls);
    let mut call = rig.send(&Door::Messages.ask_with("weather?", &stream(messages_tools())));
    rig.host.sampling().result(&two_calls(&name));
    let read = read_messages(&mut call);
    assert_eq!(read.stop_reason.as_deref(), Some("tool_use"));
    check(&read.calls);
}

#[test]
fn a_caller_of_the_deprecated_functions_gets_a_function_call() {
    let rig = rig();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut body = json!({"functions": [{"name": "look_up", "parameters": schema}],
        "function_call": {"name": "look_up"}});
    let mut call = rig.send(&Door::Chat.ask_with("weather?", &body));
    let sampling = rig.host.sampling();
    assert_eq!(sampling.params["toolChoice"]["mode"], "required");
    sampling.result(&two_calls("look_up"));
    let reply = call.finish();
    assert!(reply.header("x-mcptb-loss").unwrap().contains("parallel-tool-calls"));
    let choice = &reply.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "function_call");
    assert_eq!(choice["message"]["function_call"]["name"], "look_up");
    assert!(choice["message"].get("tool_calls").is_none());
    // The answer names the function, since there are no ids.
    body["messages"] = json!([{"role": "user", "content": "weather?"}, choice["message"],
        {"role": "function", "name": "look_up", "content": "18C"}]);
    body["function_call"] = json!("auto");
    body["stream"] = json!(true);
    let mut call = rig.send(&Door::Chat.ask_with("", &body));
    let sampling = rig.host.sampling();
    assert_eq!(sampling.params["messages"][2]["content"][0]["content"][0]["text"], "18C");
    sampling.result(&two_calls("look_up"));
    let read = read_chat(&mut call);
    assert_eq!(read.finish, [Some("function_call".to_owned())]);
    let (name, arguments) = read.function_call.unwrap();
    assert_eq!(name, "look_up");
    let arguments: Value = serde_json::from_str(&arguments).unwrap();
    assert_eq!(arguments["z"], 1.0);
}

#[test]
fn what_cannot_be_called_is_refused_before_the_host_is_asked() {
    let rig = rig();
    let with = |more: Value| {
        let mut body = chat_tools();
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let unanswered = json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "c7", "type": "function",
            "function": {"name": "look.up", "arguments": "{}"}}]},
        {"role": "user", "content": "and?"}]);
    let remote = json!({"type": "json_schema", "json_schema": {"name": "r", "strict": true,
        "schema": {"$ref": "http://127.0.0.1:1/s.json"}}});
    for (more, says) in [
        (json!({"tool_choice": {"type": "function", "function": {"name": "nope"}}}), "nope"),
        (json!({"messages": unanswered}), "c7"),
        (json!({"response_format": remote}), "nothing is fetched"),
    ] {
        let reply = rig.fetch(&Door::Chat.ask_with("x", &with(more)));
        assert_eq!(reply.status, 400);
        assert!(Door::Chat.error(&reply).contains(says), "{}", reply.json());
    }
    rig.host.assert_not_asked();
}

#[test]
fn an_answer_has_the_shape_that_was_asked_for() {
    let rig = rig();
    let schema = json!({"type": "object", "required": ["n"],
        "properties": {"n": {"type": "integer"}}, "additionalProperties": false});
    let chat = json!({"response_format": {"type": "json_schema", "json_schema": {
        "name": "number", "strict": true, "schema": schema}}});
    let messages = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    for (door, more) in [(Door::Chat, chat), (Door::Messages, messages)] {
        let mut call = rig.send(&door.ask_with("how many?", &more));
        let sampling = rig.host.sampling();
        assert!(sampling.params["systemPrompt"].as_str().unwrap().contains("<json_schema>"));
        sampling.answer("There are:\n```json\n{\"n\": 3}\n```");
        let reply = call.finish();
        assert_eq!(door.text(&reply), "{\"n\": 3}");
        let loss = reply.header("x-mcptb-loss").unwrap();
        assert!(loss.contains("output-prompted") && !loss.contains("output-repaired"), "{loss}");
        // Wrong twice is an honest failure, in the caller's words, that no client repeats.
        let mut call = rig.send(&door.ask_with("how many?", &more));
        rig.host.sampling().answer("three");
        rig.host.sampling().answer(r#"{"n":"three"}"#);
        let reply = call.finish();
        assert_eq!(reply.status, 502, "{}", reply.json());
        assert_eq!(reply.header("x-should-retry"), Some("false"));
        assert!(door.error(&reply).contains("/n"), "{}", reply.json());
    }
    rig.host.assert_not_asked();
}
