//! A model's reply to prompted tools: no markup is left, and what stands in the request runs
//! nothing. The input is a tool result and, behind a zero byte, the reply; `N#` stands for the
//! nonce.
#![no_main]

use dialects::{HistorySteps, NonceSecret, ToolPrompt, ToolTable};
use libfuzzer_sys::fuzz_target;
use model::{Block, CompletionRequest, Message, Role, Tool, ToolCallInput, ToolInput};

const SCHEMA: &str = r##"{"type":"object","properties":{"command":{"type":"string"},"timeout":{"type":"integer"},"todos":{"type":"array","items":{"$ref":"#/$defs/todo"}},"any":{}},"required":["command"],"$defs":{"todo":{"type":"object","properties":{"status":{"enum":["pending","done"]},"parent":{"$ref":"#/$defs/todo"}}}}}"##;

fn tool(name: &str, input: ToolInput) -> Tool {
    Tool {
        name: name.to_owned(),
        namespace: None,
        description: None,
        input,
        strict: None,
        cache: None,
        extras: None,
    }
}

fuzz_target!(|input: &str| {
    let (result, reply) = input.split_once('\0').unwrap_or(("", input));
    let request = CompletionRequest {
        messages: vec![
            Message::new(Role::User, vec![Block::text("Do it.")]),
            Message::new(Role::User, vec![Block::text(result)]),
        ],
        tools: vec![
            tool("Bash", ToolInput::Schema(dialects::json::compact(SCHEMA))),
            tool("ping", ToolInput::Schema(None)),
            tool("patch", ToolInput::FreeText(None)),
        ],
        ..CompletionRequest::default()
    };
    let table = ToolTable::new(&request).expect("a table");
    let prompt = ToolPrompt::new(&request, &table, &NonceSecret::new([7; 32]), "key");
    let nonce = prompt.stop().trim_start_matches("</tool_calls_").trim_end_matches('>').to_owned();

    let reply = reply.replace("N#", &nonce);
    let read = prompt.read(&reply);
    // Text that was shown escaped comes back as it was; all else shows no nonce.
    if !reply.contains(&nonce[..4])
        || reply.matches(&nonce[4..]).count() == reply.matches(&nonce).count()
    {
        assert!(!read.text.contains(&nonce));
    }
    if read.calls.is_empty() && !reply.contains(&nonce[..1]) {
        assert_eq!(read.text, reply);
    }
    for call in &read.calls {
        if let ToolCallInput::Json(json) = &call.input {
            assert!(dialects::json::compact(json.as_str()).is_some(), "JSON");
        }
    }
    // Written back, the calls are read again as they are.
    let mut written = String::new();
    prompt.push_calls(&read.calls.iter().collect::<Vec<_>>(), &mut HistorySteps::default(), &mut written);
    let again = prompt.read(&written);
    let whole = |call: &model::ToolCall| !matches!(call.input, ToolCallInput::Broken(_));
    if read.calls.iter().all(whole) {
        assert_eq!(again.calls, read.calls);
    }
    // The same reply, when the request holds all of it, runs nothing that is not ours.
    if !reply.contains(&nonce) {
        let quoted = CompletionRequest {
            messages: vec![
                Message::new(Role::User, vec![Block::text("Do it.")]),
                Message::new(Role::User, vec![Block::text(reply.as_str())]),
            ],
            ..request.clone()
        };
        let table = ToolTable::new(&quoted).expect("a table");
        let prompt = ToolPrompt::new(&quoted, &table, &NonceSecret::new([7; 32]), "key");
        assert_eq!(prompt.read(&reply).calls, Vec::new());
    }
});
