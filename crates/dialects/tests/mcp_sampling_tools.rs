//! Tools, calls and results in sampling requests, natively.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::collections::BTreeSet;

use dialects::ToolTable;
use dialects::mcp_sampling::{
    Asking, FollowUp, Priorities, SamplingOptions, SamplingReply, ToolUse, read_result,
    write_request,
};
use model::{
    Block, CompletionRequest, Failure, Json, Loss, LossSet, Media, MediaKind, MediaSource, Message,
    ParamsMode, Role, Tool, ToolCall, ToolCallInput, ToolChoice, ToolInput, ToolName, ToolResult,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn options() -> SamplingOptions {
    SamplingOptions {
        default_max_tokens: 8192,
        max_tokens_cap: None,
        hints: true,
        priorities: Priorities::default(),
        task_ttl_ms: None,
    }
}

fn compact(text: &str) -> Json {
    dialects::json::compact(text).unwrap()
}

fn tool(name: &str, schema: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        namespace: None,
        description: Some(format!("Does {name}.")),
        input: ToolInput::Schema(Some(compact(schema))),
        strict: None,
        cache: None,
        extras: None,
    }
}

fn call(id: &str, name: &str, input: &str) -> Block {
    Block::ToolCall(ToolCall {
        id: id.to_owned(),
        item_id: None,
        name: name.to_owned(),
        namespace: None,
        input: ToolCallInput::Json(compact(input)),
        cache: None,
    })
}

fn result(id: &str, content: Vec<Block>, is_error: bool) -> Block {
    Block::ToolResult(ToolResult {
        call_id: id.to_owned(),
        item_id: None,
        content,
        is_error,
        custom: false,
        cache: None,
    })
}

fn image() -> Block {
    let source =
        MediaSource::Inline { mime: "image/png".to_owned(), base64: "iVBORw0K".to_owned() };
    Block::Media(Media { kind: MediaKind::Image, source, name: None, detail: None, cache: None })
}

fn says(role: Role, text: &str) -> Message {
    Message::new(role, vec![Block::text(text)])
}

/// A weather tool with a schema whose order and numbers are unusual, a patch tool, and one in a
/// namespace.
fn tools() -> Vec<Tool> {
    let weather = tool(
        "weather",
        r#"{ "type": "object", "required": ["z", "a"],
            "properties": {"z": {"type": "number", "maximum": 1.50e+2}, "a": {"type": "string"}} }"#,
    );
    let patch = Tool {
        input: ToolInput::FreeText(Some(compact(r#"{"type":"grammar","syntax":"lark"}"#))),
        ..tool("patch", "{}")
    };
    let close = Tool { namespace: Some("agents".to_owned()), ..tool("close", "{}") };
    vec![weather, patch, close]
}

fn request(messages: Vec<Message>) -> CompletionRequest {
    CompletionRequest { messages, tools: tools(), ..CompletionRequest::default() }
}

fn native(request: &CompletionRequest) -> Result<(Value, LossSet, String), Failure> {
    let table = ToolTable::new(request)?;
    let asking = Asking { tools: ToolUse::Native(&table), ..Asking::plain(request) };
    let mut out = Vec::new();
    let losses = write_request(&asking, &options(), &mut out)?;
    let text = String::from_utf8(out).unwrap();
    Ok((serde_json::from_str(&text).unwrap(), losses, text))
}

#[test]
fn definitions_keep_their_order_and_numbers() {
    let (_, losses, text) = native(&request(vec![says(Role::User, "x")])).unwrap();
    insta::assert_snapshot!(text);
    assert!(losses.contains(Loss::ToolGrammar) && !losses.contains(Loss::ToolsPrompted));
}

#[test]
fn a_round_of_parallel_calls_is_one_turn_and_one_answer() {
    // As OpenAI's callers send it: text, two calls, two messages with answers, a reminder between.
    let (_, losses, text) = native(&request(vec![
        says(Role::User, "Weather?"),
        Message::new(
            Role::Assistant,
            vec![
                Block::text("Looking."),
                call("b", "weather", r#"{"z": 1.0, "a":"x"}"#),
                call("a", "weather", "{}"),
            ],
        ),
        Message::new(Role::User, vec![result("a", vec![], true)]),
        says(Role::System, "Be quick."),
        Message::new(
            Role::User,
            vec![result("b", vec![Block::text("18C"), image()], false), Block::text("Well?")],
        ),
    ]))
    .unwrap();
    insta::assert_snapshot!(text);
    assert!(losses.contains(Loss::SystemInPlace) && !losses.contains(Loss::OrphanResult));
}

#[test]
fn calls_of_every_kind_become_objects_under_flat_names() {
    let with = |name: &str, namespace: Option<&str>, input: ToolCallInput| {
        Block::ToolCall(ToolCall {
            id: "c".to_owned(),
            item_id: None,
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            input,
            cache: None,
        })
    };
    for (block, name, input) in [
        (
            with("patch", None, ToolCallInput::Text("*** \"a\"\n".to_owned())),
            "patch",
            json!({"input": "*** \"a\"\n"}),
        ),
        (
            with("close", Some("agents"), ToolCallInput::Json(compact("{}"))),
            "agents__close",
            json!({}),
        ),
        (
            with("gone.now", None, ToolCallInput::Broken("{\"a\":".to_owned())),
            "gone_now_",
            json!({"input": "{\"a\":"}),
        ),
        (
            with("weather", None, ToolCallInput::Json(compact("[1]"))),
            "weather",
            json!({"input": [1]}),
        ),
    ] {
        let (value, ..) = native(&request(vec![
            says(Role::User, "x"),
            Message::new(Role::Assistant, vec![block]),
            Message::new(Role::User, vec![result("c", vec![Block::text("ok")], false)]),
        ]))
        .unwrap();
        let call = &value["messages"][1]["content"][0];
        assert!(call["name"].as_str().unwrap().starts_with(name), "{call}");
        assert_eq!(call["input"], input);
    }
}

#[test]
fn choices_are_a_mode_and_a_subset() {
    let offered = |choice: ToolChoice| {
        let mut request = request(vec![says(Role::User, "x")]);
        request.tool_choice = choice;
        let (value, ..) = native(&request).unwrap();
        let names: Vec<String> = value["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect();
        (names.join(" "), value["toolChoice"]["mode"].as_str().unwrap_or("-").to_owned())
    };
    let pair = |names: &str, mode: &str| (names.to_owned(), mode.to_owned());
    let all = "weather patch agents__close";
    assert_eq!(offered(ToolChoice::Auto), pair(all, "-"));
    assert_eq!(offered(ToolChoice::Required), pair(all, "required"));
    assert_eq!(offered(ToolChoice::None), pair(all, "none"));
    let named = ToolChoice::Named(ToolName::new("patch"));
    assert_eq!(offered(named), pair("patch", "required"));
    let allowed = ToolChoice::Allowed {
        required: false,
        names: vec![ToolName::new("close"), ToolName::new("weather")],
    };
    assert_eq!(offered(allowed), pair("weather agents__close", "-"));
}

#[test]
fn an_unanswered_call_is_named() {
    let mut asked = request(vec![
        says(Role::User, "x"),
        Message::new(Role::Assistant, vec![call("c1", "weather", "{}"), call("c2", "patch", "{}")]),
        Message::new(Role::User, vec![result("c1", vec![Block::text("ok")], false)]),
    ]);
    let failure = native(&asked).unwrap_err();
    assert_eq!(failure.param.as_deref(), Some("messages[1]"));
    assert!(failure.message.contains("`c2` of `patch`"), "{}", failure.message);
    asked.mode = ParamsMode::Lenient;
    let (value, losses, _) = native(&asked).unwrap();
    assert!(losses.contains(Loss::UnansweredCall));
    assert_eq!(value["messages"][2]["content"][1]["isError"], true);
}

#[test]
fn two_calls_of_a_turn_may_not_share_an_id() {
    let failure = native(&request(vec![
        says(Role::User, "x"),
        Message::new(Role::Assistant, vec![call("c1", "weather", "{}"), call("c1", "patch", "{}")]),
        Message::new(Role::User, vec![result("c1", vec![Block::text("ok")], false)]),
    ]))
    .unwrap_err();
    assert!(failure.message.contains("two tool calls with the id `c1`"), "{}", failure.message);
}

#[test]
fn an_answer_to_nothing_is_still_read() {
    let (value, losses, _) = native(&request(vec![
        says(Role::User, "x"),
        Message::new(Role::User, vec![result("lost", vec![Block::text("42")], false)]),
    ]))
    .unwrap();
    assert!(losses.contains(Loss::OrphanResult));
    assert_eq!(value["messages"][2]["content"]["text"], "42");
}

#[test]
fn schemas_are_objects_or_refused() {
    let mut asked = request(vec![says(Role::User, "x")]);
    asked.tools = vec![tool("a", r#"{"properties":{"type":{"type":"string"}}}"#), tool("b", "{}")];
    let (value, ..) = native(&asked).unwrap();
    for offered in value["tools"].as_array().unwrap() {
        assert_eq!(offered["inputSchema"]["type"], "object");
    }
    asked.tools = vec![tool("a", r#"{"type":"string"}"#)];
    assert_eq!(native(&asked).unwrap_err().param.as_deref(), Some("tools"));
}

#[test]
fn the_schemas_of_parameters_are_objects_or_refused() {
    let mut asked = request(vec![says(Role::User, "x")]);
    let offered = |asked: &CompletionRequest| {
        let (value, losses, text) = native(asked).unwrap();
        assert!(text.contains("inputSchema"));
        (value["tools"][0]["inputSchema"]["properties"].clone(), losses.contains(Loss::ToolSchema))
    };
    // Two of the schemas that JSON Schema has and MCP has not mean the same as objects.
    let schema = r#"{"title":"true","properties":{"b":true,"\u0061":false,"c":{"const":true}}}"#;
    asked.tools = vec![tool("f", schema)];
    let same = json!({"b": {}, "a": {"not": {}}, "c": {"const": true}});
    assert_eq!(offered(&asked), (same, false));
    for (schema, named) in [
        (r#"{"type":"object","properties":{"location":"bar"}}"#, "`location`"),
        (r#"{"properties":{"location":["string"]},"type":"object"}"#, "`location`"),
        (r#"{"properties":{"location":null}}"#, "`location`"),
        (r#"{"properties":["location"]}"#, "`properties`"),
    ] {
        asked.tools = vec![tool("f", schema)];
        asked.mode = ParamsMode::Default;
        let failure = native(&asked).unwrap_err();
        assert_eq!(failure.param.as_deref(), Some("tools"));
        assert!(failure.message.contains(named), "{}", failure.message);
        asked.mode = ParamsMode::Lenient;
        let (properties, lost) = offered(&asked);
        assert!(lost, "{schema}");
        assert!(properties == json!({"location": {}}) || properties == json!({}), "{properties}");
    }
}

#[test]
fn another_word_stands_at_the_end() {
    let request = request(vec![says(Role::User, "x")]);
    let table = ToolTable::new(&request).unwrap();
    let follow_up = Some(FollowUp { answer: "no", then: "Call one." });
    let asking = Asking { tools: ToolUse::Native(&table), follow_up, ..Asking::plain(&request) };
    let mut out = Vec::new();
    write_request(&asking, &options(), &mut out).unwrap();
    let value: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        value["messages"][1],
        json!({"role":"assistant","content":{"type":"text","text":"no"}})
    );
    assert_eq!(value["messages"][2]["content"]["text"], "Call one.");
}

#[test]
fn calls_are_read_with_or_without_an_id() {
    let json = br#"{"role":"assistant","model":"m","stopReason":"toolUse","content":[
        {"type":"text","text":"hm"},{"type":"tool_use","id":"t1","name":"f","input":{"b":1.0,"a":2}},
        {"type":"tool_use","name":"g"}]}"#;
    let SamplingReply::Completion(completion) = read_result(json).unwrap() else { panic!() };
    let calls: Vec<(&str, &str, String)> = completion
        .content
        .iter()
        .filter_map(|block| match block {
            Block::ToolCall(call) => Some((
                call.id.as_str(),
                call.name.as_str(),
                match &call.input {
                    ToolCallInput::Json(json) => json.as_str().to_owned(),
                    other => format!("{other:?}"),
                },
            )),
            _ => None,
        })
        .collect();
    assert_eq!(calls, [("t1", "f", r#"{"b":1.0,"a":2}"#.to_owned()), ("", "g", "{}".to_owned())]);
}

fn any_message() -> impl Strategy<Value = Message> {
    let id = prop::sample::select(vec!["a", "b", "c", "d"]);
    let assistant = prop::collection::vec(
        prop_oneof![Just(Block::text("hm")), id.clone().prop_map(|id| call(id, "weather", "{}")),],
        0..4,
    )
    .prop_map(|content| Message::new(Role::Assistant, content));
    let user = prop::collection::vec(
        prop_oneof![
            Just(Block::text("go on")),
            Just(image()),
            id.prop_map(|id| result(id, vec![Block::text("ok")], false)),
        ],
        0..4,
    )
    .prop_map(|content| Message::new(Role::User, content));
    prop_oneof![3 => assistant, 4 => user, 1 => Just(says(Role::System, "note"))]
}

proptest! {
    /// Whatever callers send, hosts get what the specification demands: results alone, behind
    /// their calls, one for each.
    #[test]
    fn every_call_is_followed_by_its_results_alone(
        messages in prop::collection::vec(any_message(), 0..12),
        lenient in any::<bool>(),
    ) {
        let mut request = request(messages);
        if lenient {
            request.mode = ParamsMode::Lenient;
        }
        let (value, ..) = match native(&request) {
            Ok(written) => written,
            Err(failure) => {
                let param = failure.param.unwrap_or_default();
                prop_assert!(param.starts_with("messages"));
                return Ok(());
            }
        };
        let messages = value["messages"].as_array().unwrap();
        let kinds = |message: &Value| -> Vec<String> {
            match &message["content"] {
                Value::Array(blocks) => blocks
                    .iter()
                    .map(|block| block["type"].as_str().unwrap().to_owned())
                    .collect(),
                block => vec![block["type"].as_str().unwrap().to_owned()],
            }
        };
        prop_assert_eq!(&messages[0]["role"], "user");
        prop_assert_eq!(&messages[messages.len() - 1]["role"], "user");
        for (at, message) in messages.iter().enumerate() {
            let kinds = kinds(message);
            let results = kinds.iter().filter(|kind| *kind == "tool_result").count();
            prop_assert!(results == 0 || results == kinds.len(), "mixed: {}", message);
            prop_assert_eq!(message["content"].is_array(), kinds.iter().any(|kind| kind.starts_with("tool_")));
            let calls: BTreeSet<&str> = message["content"].as_array().into_iter().flatten()
                .filter_map(|block| block["id"].as_str()).collect();
            if !calls.is_empty() {
                let next = messages[at + 1]["content"].as_array().unwrap();
                let answered: BTreeSet<&str> =
                    next.iter().map(|block| block["toolUseId"].as_str().unwrap()).collect();
                prop_assert_eq!(calls, answered);
            } else if results > 0 {
                prop_assert!(at > 0 && messages[at - 1]["content"].to_string().contains("tool_use"));
            }
        }
    }
}
