//! Tools through `/v1/responses`: calls, their outputs in the next request, and their streams.

use serde_json::{Value, json};

use crate::support::responses::{output_text, read_responses};
use crate::support::{Launch, Profile, Request, Rig, Sampling};

const PATH: &str = "/v1/responses";
const PATCH: &str = "*** Begin Patch\n*** Add File: a.txt\n+\"ä\" </call> \\n\n*** End Patch";

/// A host that takes tools.
fn native() -> Rig {
    Launch::new().profile(Profile::FastAgent).arg("--model-hints", "off").ready()
}

fn tools() -> Value {
    let schema = |name: &str| json!({"type": "object", "required": [name], "properties": {name: {"type": "string"}}});
    json!([
        {"type": "function", "name": "shell", "description": "Runs a command.", "strict": false,
            "parameters": schema("command")},
        {"type": "custom", "name": "apply_patch", "description": "Edits files."},
        {"type": "namespace", "name": "mcp__docs", "description": "Documents.", "tools": [
            {"type": "function", "name": "shell", "description": "Not the shell.",
                "parameters": schema("query")}]},
    ])
}

fn request(more: &Value) -> Request {
    let mut body = json!({"model": "auto", "tools": tools()});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    Request::post(PATH).json(&body)
}

/// Asks, lets the host answer, and gives the response, streamed or not.
fn exchange(rig: &Rig, more: &Value, answer: impl FnOnce(&Sampling)) -> (Sampling, Value) {
    let mut call = rig.send(&request(more));
    let sampling = rig.host.sampling();
    answer(&sampling);
    let response = if more["stream"] == true {
        let read = read_responses(&mut call);
        assert_eq!(read.last, "response.completed");
        read.response
    } else {
        let reply = call.finish();
        assert_eq!(reply.status, 200, "{}", reply.json());
        reply.json()
    };
    assert_eq!(response["status"], "completed");
    (sampling, response)
}

/// The calls of a response: where they are kept, and what they ask.
fn check_calls(response: &Value) -> Vec<Value> {
    let output = response["output"].as_array().unwrap();
    assert_eq!(output[0]["type"], "message");
    assert_eq!(output_text(response), "I will look.");
    let calls = output[1..].to_vec();
    let [shell, patch, docs] = calls.as_slice() else { panic!("{calls:?}") };
    for call in [shell, docs] {
        assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("shell")));
        assert!(call["id"].as_str().unwrap().starts_with("fc_"), "{call}");
        assert_eq!(call["status"], "completed");
    }
    let arguments = |call: &Value| -> Value {
        serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap()
    };
    assert_eq!(arguments(shell), json!({"command": "ls \"ä\""}));
    assert!(shell["namespace"].is_null());
    assert_eq!(arguments(docs), json!({"query": "ls"}));
    assert_eq!(docs["namespace"], "mcp__docs");
    assert_eq!(
        (&patch["type"], &patch["name"], &patch["input"]),
        (&json!("custom_tool_call"), &json!("apply_patch"), &json!(PATCH))
    );
    calls
}

/// The outputs of all three, as a client sends them, in another order.
fn outputs(calls: &[Value]) -> Value {
    json!([
        {"type": "custom_tool_call_output", "call_id": calls[1]["call_id"], "output": "patched"},
        {"type": "function_call_output", "call_id": calls[0]["call_id"], "output": [
            {"type": "input_text", "text": "a.txt"}]},
        {"type": "function_call_output", "call_id": calls[2]["call_id"], "output": "no document"},
    ])
}

fn answer_natively(sampling: &Sampling) {
    let tools = sampling.params["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let [shell, patch, docs] = names.as_slice() else { panic!("{names:?}") };
    assert_ne!(shell, docs, "two tools of one name are told apart");
    sampling.result(&json!({"role": "assistant", "model": "m", "stopReason": "toolUse",
        "content": [
            {"type": "text", "text": "I will look."},
            {"type": "tool_use", "id": "tu_1", "name": shell, "input": {"command": "ls \"ä\""}},
            {"type": "tool_use", "id": "tu_2", "name": patch, "input": {"input": PATCH}},
            {"type": "tool_use", "id": "tu_3", "name": docs, "input": {"query": "ls"}}]}));
}

#[test]
fn calls_and_their_outputs_under_a_host_with_tools() {
    let rig = native();
    for streamed in [false, true] {
        let first = json!({"input": "look", "stream": streamed});
        let (_, response) = exchange(&rig, &first, answer_natively);
        let calls = check_calls(&response);
        let ids: Vec<&Value> = calls.iter().map(|call| &call["call_id"]).collect();
        assert_eq!(ids, ["tu_1", "tu_2", "tu_3"]);
        let kept =
            rig.fetch(&Request::get(&format!("{PATH}/{}", response["id"].as_str().unwrap())));
        assert_eq!(kept.json()["output"], response["output"], "kept under the same ids");
        // By id, and as Codex does it: with the whole of what was said.
        let mut whole = vec![json!({"role": "user", "content": "look"})];
        whole.extend(response["output"].as_array().unwrap().iter().cloned());
        whole.extend(outputs(&calls).as_array().unwrap().iter().cloned());
        for next in [
            json!({"input": outputs(&calls), "previous_response_id": response["id"],
                "stream": streamed}),
            json!({"input": whole, "store": false, "stream": streamed}),
        ] {
            let (sampling, done) =
                exchange(&rig, &next, |sampling| sampling.answer("All is done."));
            assert_eq!(output_text(&done), "All is done.");
            let messages = sampling.params["messages"].as_array().unwrap();
            assert_eq!(messages.len(), 3, "{messages:#?}");
            let of = |at: usize, kind: &str, key: &str| -> Vec<Value> {
                let blocks = messages[at]["content"].as_array().unwrap().iter();
                let blocks = blocks.filter(|block| block["type"] == kind);
                blocks.map(|block| block[key].clone()).collect()
            };
            let names = sampling.params["tools"].as_array().unwrap().iter();
            let names: Vec<Value> = names.map(|tool| tool["name"].clone()).collect();
            assert_eq!(of(1, "tool_use", "name"), names);
            assert_eq!(of(1, "tool_use", "id"), ["tu_1", "tu_2", "tu_3"]);
            assert_eq!(of(1, "tool_use", "input")[1], json!({"input": PATCH}));
            assert_eq!(of(2, "tool_result", "toolUseId"), ["tu_1", "tu_2", "tu_3"]);
            assert_eq!(of(2, "tool_result", "content")[1][0]["text"], "patched");
        }
    }
    assert_eq!(rig.host.faults(), Vec::<String>::new());
}

/// The nonce that this prompt asks for.
fn nonce(sampling: &Sampling) -> String {
    let system = sampling.params["systemPrompt"].as_str().unwrap();
    let (_, rest) = system.split_once("<tool_calls_").unwrap();
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}

fn answer_in_words(sampling: &Sampling) {
    assert!(sampling.params.get("tools").is_none());
    let system = sampling.params["systemPrompt"].as_str().unwrap();
    let docs = system
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .find(|word| word.starts_with("mcp__docs") && word.ends_with("shell"))
        .expect("the tool of the namespace under a name of its own");
    let nonce = nonce(sampling);
    let call = |name: &str, argument: &str, text: &str| {
        format!(
            "<call name=\"{name}\">\n<arg_{nonce} name=\"{argument}\">\n{text}\n\
             </arg_{nonce}>\n</call>\n"
        )
    };
    sampling.answer(&format!(
        "I will look.\n\n<tool_calls_{nonce}>\n{}{}{}",
        call("shell", "command", "ls \"ä\""),
        call("apply_patch", "input", PATCH),
        call(docs, "query", "ls"),
    ));
}

#[test]
fn calls_and_their_outputs_under_a_host_without_tools() {
    let rig = Launch::new().ready();
    for streamed in [false, true] {
        let first = json!({"input": "look", "stream": streamed});
        let (asked, response) = exchange(&rig, &first, answer_in_words);
        let calls = check_calls(&response);
        assert!(!response["output"].to_string().contains(&nonce(&asked)), "{response}");
        let next = json!({"input": outputs(&calls), "previous_response_id": response["id"],
            "stream": streamed});
        let (sampling, done) = exchange(&rig, &next, |sampling| sampling.answer("All is done."));
        assert_eq!(output_text(&done), "All is done.");
        assert_eq!(nonce(&sampling), nonce(&asked), "the prefix stays in the host's cache");
        let messages = sampling.params["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 4, "the reminder comes last: {messages:#?}");
        let said = |at: usize| messages[at]["content"]["text"].as_str().unwrap();
        assert!(said(1).starts_with("I will look.") && said(1).contains(PATCH), "{}", said(1));
        let places = ["a.txt", "patched", "no document"].map(|text| said(2).find(text).unwrap());
        assert!(places.is_sorted(), "in the order of the calls: {}", said(2));
    }
    assert_eq!(rig.host.faults(), Vec::<String>::new());
}

#[test]
fn a_refusal_names_what_the_caller_wrote() {
    let rig = native();
    let unanswered = json!([{"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "c7", "name": "shell", "arguments": "{}"},
        {"role": "user", "content": "and?"}]);
    let file = json!([{"role": "user", "content": "x"}, {"role": "user", "content": [
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}]}]);
    let image = json!([{"role": "developer", "content": [
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
        {"role": "user", "content": "x"}]);
    let pictured = json!([{"role": "user", "content": "x"}, {"role": "developer", "content": [
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]}]);
    for (input, says) in [
        (unanswered, "No result for call `c7`"),
        (file, "An item of `input` is a file"),
        (image, "developer instructions can hold only text"),
        (pictured, "An item of `input` is not text"),
    ] {
        let reply = rig.fetch(&request(&json!({"input": input})));
        assert_eq!(reply.status, 400, "{}", reply.json());
        let error = reply.json()["error"].clone();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says), "{error}");
        assert!(!message.contains("messages["), "there are no messages in a response: {error}");
        assert!(["input", "instructions"].map(|name| json!(name)).contains(&error["param"]));
    }
    rig.host.assert_not_asked();
}
