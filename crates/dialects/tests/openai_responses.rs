//! Responses requests as they are read; recorded ones are in `model_proof`.

use dialects::openai_responses::{ResponsesRequest, read_request};
use model::{
    Block, Failure, FailureKind, Loss, Message, OutputFormat, ParamsMode, Role, ToolChoice,
    ToolName,
};
use proptest::prelude::*;

/// Reads a body; most need not say that they name a model.
fn read(body: &str) -> Result<ResponsesRequest, Failure> {
    let body = body.replacen('{', r#"{"model":"m","#, usize::from(!body.contains("\"model\"")));
    read_request(body.as_bytes(), ParamsMode::Default)
}

/// One letter for each block, grouped by message: what stands in one turn.
fn turns(messages: &[Message]) -> String {
    let mut all = Vec::new();
    for message in messages {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let blocks: String = message
            .content
            .iter()
            .map(|block| match block {
                Block::Text(_) => 'T',
                Block::Media(_) => 'M',
                Block::ToolCall(_) => 'C',
                Block::ToolResult(_) => 'O',
                Block::Reasoning(_) => 'R',
                Block::Opaque(_) => '?',
            })
            .collect();
        all.push(format!("{role}:{blocks}"));
    }
    all.join(" ")
}

#[test]
fn items_are_joined_to_turns() {
    let call = r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#;
    let output = r#"{"type":"function_call_output","call_id":"c","output":"x"}"#;
    let thought = r#"{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"e"}"#;
    let says = |role: &str| format!(r#"{{"role":"{role}","content":"x"}}"#);
    let (user, assistant, system) = (says("user"), says("assistant"), says("developer"));
    for (items, expected) in [
        (vec![user.as_str()], "user:T"),
        (vec![&system, &user, &system], "user:T system:T"),
        (
            vec![&user, thought, &assistant, call, call, output, output, thought, &assistant],
            "user:T assistant:RTCC user:OO assistant:RT",
        ),
        (vec![&user, call, thought, call], "user:T assistant:C assistant:RC"),
        (vec![&assistant, &assistant], "assistant:T assistant:T"),
        (vec![call, output, &user], "assistant:C user:O user:T"),
        (vec![&user, output], "user:T user:O"),
        (vec![&user, r#"{"id":"msg_1","type":null}"#], "user:T assistant:?"),
        (
            vec![&user, r#"{"type":"local_shell_call"}"#, r#"{"type":"local_shell_call_output"}"#],
            "user:T assistant:? user:?",
        ),
    ] {
        let body = format!(r#"{{"model":"m","input":[{}]}}"#, items.join(","));
        assert_eq!(turns(&read(&body).unwrap().request.messages), expected, "{body}");
    }
}

#[test]
fn settings_have_their_place() {
    let read = read(
        r#"{"model":"m","input":"Hi","instructions":"Be brief.","stream":true,"store":null,
            "max_output_tokens":64.0,"temperature":0.5,"top_p":0.9,"parallel_tool_calls":false,
            "reasoning":{"effort":"low","summary":"auto"},"previous_response_id":"resp_1",
            "text":{"verbosity":"low","format":{"type":"json_schema","name":"n","schema":{"b": 1, "a":[ ]},"strict":true}},
            "tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"},{"type":"web_search"}]},
            "metadata":{"b":"2","a": "1"},"unknown":null}"#,
    )
    .unwrap();
    assert!(read.stream && read.store);
    assert_eq!(read.previous_response_id.as_deref(), Some("resp_1"));
    let request = read.request;
    assert_eq!(request.system, [Block::text("Be brief.")]);
    assert_eq!(request.params.max_tokens, Some(64));
    assert_eq!(request.params.reasoning_effort.as_deref(), Some("low"));
    assert_eq!(request.parallel_tool_calls, Some(false));
    assert!(request.losses.contains(Loss::TopP));
    let names = vec![ToolName::new("f"), ToolName::new("web_search")];
    assert_eq!(request.tool_choice, ToolChoice::Allowed { required: true, names });
    let OutputFormat::JsonSchema { schema, .. } = &request.output else { panic!("a schema") };
    assert_eq!(schema.as_str(), r#"{"b":1,"a":[]}"#);
    assert_eq!(
        request.extras.unwrap().json.as_str(),
        r#"{"metadata":{"b":"2","a":"1"},"text":{"verbosity":"low"},"reasoning":{"summary":"auto"}}"#
    );
}

#[test]
fn a_tool_is_known_by_its_namespace() {
    let found = |name: &str| {
        format!(
            r#"{{"type":"tool_search_output","call_id":"c","tools":[{{"type":"namespace","name":"n","description":"N","tools":[{{"type":"function","name":"{name}","defer_loading":true}}]}}]}}"#
        )
    };
    let body = format!(
        r#"{{"input":[{{"role":"developer","content":"x"}},{{"role":"user","content":"x"}},{},{},{}],
            "tools":[{{"type":"function","name":"f"}}],
            "tool_choice":{{"type":"function","namespace":"n","name":"f"}}}}"#,
        found("f"),
        found("g"),
        found("f"),
    );
    let request = read(&body).unwrap().request;
    let tools: Vec<_> =
        request.tools.iter().map(|tool| (tool.namespace.as_deref(), tool.name.as_str())).collect();
    assert_eq!(tools, [(None, "f"), (Some("n"), "f"), (Some("n"), "g")]);
    let beside: Vec<_> = request
        .tools
        .iter()
        .map(|tool| tool.extras.as_ref().map(|extras| extras.json.as_str()))
        .collect();
    let whole = r#"{"defer_loading":true,"namespace":{"description":"N"},"item":{"type":"tool_search_output","call_id":"c"}}"#;
    assert_eq!(beside, [None, Some(whole), Some(whole)]);
    assert_eq!(request.leading, 1);
    assert_eq!(turns(&request.messages), "user:T user:???");
    let namespace = Some("n".to_owned());
    let name = "f".to_owned();
    let named = ToolName { namespace, name };
    assert_eq!(request.tool_choice, ToolChoice::Named(named));
}

#[test]
fn refusals_name_the_field() {
    use FailureKind::{BadRequest, Unsupported};
    for (body, kind, param) in [
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":7}]}]}"#,
            BadRequest,
            "input[0].content[0].text",
        ),
        (
            r#"{"input":[{"role":"user","content":[{"type":"video"}]}]}"#,
            BadRequest,
            "input[0].content[0].type",
        ),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"ftp://x"}]}]}"#,
            BadRequest,
            "input[0].content[0].image_url",
        ),
        (r#"{"input":[{"role":"robot","content":"x"}]}"#, BadRequest, "input[0].role"),
        (r#"{"input":["x"]}"#, BadRequest, "input[0]"),
        (
            r#"{"input":[{"type":"function_call","name":"f","arguments":"{}"}]}"#,
            BadRequest,
            "input[0].call_id",
        ),
        (r#"{"input":7}"#, BadRequest, "input"),
        (r#"{"model":"m"}"#, BadRequest, "input"),
        (r#"{"input":"x","max_output_tokens":0}"#, BadRequest, "max_output_tokens"),
        (r#"{"input":"x","temperature":3}"#, BadRequest, "temperature"),
        (r#"{"input":"x","tools":[{"type":"function"}]}"#, BadRequest, "tools[0].name"),
        (
            r#"{"input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"function","name":1}]}]}"#,
            BadRequest,
            "tools[0].tools[0].name",
        ),
        (r#"{"input":"x","tool_choice":"maybe"}"#, BadRequest, "tool_choice"),
        (r#"{"input":"x","tool_choice":{"type":"web_search"}}"#, Unsupported, "tool_choice"),
        (r#"{"input":"x","text":{"format":{"type":"yaml"}}}"#, BadRequest, "text.format.type"),
        (r#"{"input":"x","background":true}"#, Unsupported, "background"),
        (r#"{"input":"x","conversation":"c"}"#, Unsupported, "conversation"),
        (r#"{"input":"x","prompt":{"id":"p"}}"#, Unsupported, "prompt"),
        (r#"{"input":"x","top_logprobs":2}"#, Unsupported, "top_logprobs"),
    ] {
        let failure = read(body).unwrap_err();
        assert_eq!(
            (failure.kind, failure.param.as_deref()),
            (kind, Some(param)),
            "{body}: {failure}"
        );
    }
    for body in ["", "[]", "{", "\u{0}"] {
        assert_eq!(read(body).unwrap_err().kind, BadRequest, "{body}");
    }
}

/// Each row: a parameter, what names it, and what becomes of it in the three modes.
#[test]
fn the_mode_decides_about_what_cannot_be_carried() {
    use Loss::{
        Background, Conversation, FrequencyPenalty, HostedTools, ImageDetail, Logprobs,
        MaxTokensClamped, MaxToolCalls, PresencePenalty, PromptTemplate, TopP,
    };
    let image = r#""input":[{"role":"user","content":[{"type":"input_image","detail":"high","image_url":"https://a/b"}]}]"#;
    for (field, param, loss, refused_by_default) in [
        (r#""top_p":0.5"#, "top_p", TopP, false),
        (r#""max_tool_calls":0"#, "max_tool_calls", MaxToolCalls, false),
        (r#""frequency_penalty":1"#, "frequency_penalty", FrequencyPenalty, false),
        (r#""presence_penalty":1"#, "presence_penalty", PresencePenalty, false),
        (r#""include":["message.output_text.logprobs"]"#, "include", Logprobs, false),
        (image, "input[0].content[0].detail", ImageDetail, false),
        (r#""background":true"#, "background", Background, true),
        (r#""conversation":{"id":"c"}"#, "conversation", Conversation, true),
        (r#""prompt":{"id":"p"}"#, "prompt", PromptTemplate, true),
        (r#""top_logprobs":1"#, "top_logprobs", Logprobs, true),
        (r#""tool_choice":{"type":"web_search"}"#, "tool_choice", HostedTools, true),
        (r#""max_output_tokens":0"#, "max_output_tokens", MaxTokensClamped, true),
    ] {
        let body = format!(r#"{{"model":"m","input":"x",{field}}}"#);
        let read = |mode| read_request(body.as_bytes(), mode);
        let refused = |mode| read(mode).unwrap_err().param;
        assert_eq!(refused(ParamsMode::Strict).as_deref(), Some(param));
        if refused_by_default {
            assert_eq!(refused(ParamsMode::Default).as_deref(), Some(param));
        } else {
            let losses = read(ParamsMode::Default).unwrap().request.losses;
            assert!(losses.contains(loss), "{field}: {losses}");
        }
        let losses = read(ParamsMode::Lenient).unwrap().request.losses;
        assert!(losses.contains(loss), "{field}: {losses}");
    }
    // What has no effect that anybody could observe is taken in every mode.
    let body = r#"{"model":"m","input":"x","truncation":"auto","service_tier":"flex","user":"u",
        "include":["reasoning.encrypted_content"],"top_p":1,"top_logprobs":0,"background":false,
        "prompt_cache_key":"k","reasoning":{"effort":"low"},"client_metadata":{"a":1}}"#;
    let read = read_request(body.as_bytes(), ParamsMode::Strict).unwrap();
    assert!(read.request.losses.is_empty());
}

#[test]
fn a_lenient_request_need_say_nothing() {
    for body in ["{}", r#"{"input":""}"#, r#"{"input":[],"instructions":""}"#] {
        let read = read_request(body.as_bytes(), ParamsMode::Lenient).unwrap().request;
        assert_eq!(read.messages.last().unwrap().content, [Block::text("(continue)")]);
        assert!(read.losses.contains(Loss::FirstTurn));
        assert!(read.model.is_auto());
    }
    let read = read_request(br#"{"instructions":"Greet."}"#, ParamsMode::Lenient).unwrap();
    assert!(read.request.messages.is_empty(), "instructions alone are answered");
    for mode in [ParamsMode::Strict, ParamsMode::Default] {
        let missing = |body: &str| read_request(body.as_bytes(), mode).unwrap_err().param.unwrap();
        assert_eq!(missing("{}"), "model");
        assert_eq!(missing(r#"{"model":"m"}"#), "input");
    }
}

/// A raw line break of the caller's white space must not reach what is carried whole.
#[test]
fn no_line_break_survives_in_what_is_carried_whole() {
    let body = "{\"input\":[{\"type\":\"x_call\",\r\n\"a\":\n{\"jsonrpc\":\"2.0\"}\r}],\"metadata\":{\n\"a\":\r\"\\n\"}}";
    let request = read(body).unwrap().request;
    let Block::Opaque(opaque) = &request.messages[0].content[0] else { panic!("an opaque item") };
    assert_eq!(opaque.json.as_str(), r#"{"type":"x_call","a":{"jsonrpc":"2.0"}}"#);
    assert_eq!(request.extras.unwrap().json.as_str(), r#"{"metadata":{"a":"\n"}}"#);
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("7".to_owned()),
        Just("\"x\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[null]".to_owned()),
        Just("true".to_owned()),
        Just(r#"[{"type":"function","name":"f","call_id":"c","arguments":"{"}]"#.to_owned()),
        Just(
            r#"[{"type":"namespace","name":"n","tools":[{"type":"custom","name":"c"}]}]"#
                .to_owned()
        ),
        Just(r#"[{"role":"user","content":[{"type":"input_file","file_data":"AA"}]}]"#.to_owned()),
        Just(r#"{"type":"reasoning","summary":[{}],"content":null}"#.to_owned()),
        Just("[".repeat(200)),
    ]
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_request(&bytes, ParamsMode::Lenient);
    }

    #[test]
    fn reading_bent_requests_never_panics(
        fields in prop::collection::vec((
            prop_oneof![Just("input"), Just("tools"), Just("tool_choice"), Just("text"), Just("reasoning"), Just("instructions"), Just("model"), Just("x")],
            any_value(),
        ), 0..6),
    ) {
        let fields: Vec<_> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let _ = read(&format!("{{{}}}", fields.join(",")));
    }
}
