//! Proves that the model can hold what upstreams answer: every constructed reply is read into a
//! [`Completion`] by the few lines below, nothing of it may stay behind, and taking it apart into
//! events and folding them gives the same completion.

use std::fs;
use std::path::Path;

use dialects::json::compact;
use model::{
    Block, Completion, Dialect, Fold, LossSet, ModelName, Opaque, Reasoning, StopReason, ToolCall,
    ToolCallInput, Usage,
};
use serde_json::Value;

/// Reads every reply of a dialect and checks that the model holds it; returns their names.
fn prove(folder: &str, read: impl Fn(&Value) -> Completion) -> Vec<String> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/constructed").join(folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_none_or(|found| found != "json") || name.starts_with("error") {
            continue;
        }
        let reply: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let completion = read(&reply);
        assert!(!completion.content.is_empty(), "{name} holds something");
        assert!(completion.usage.input + completion.usage.output > 0, "{name} counts tokens");

        let mut fold = Fold::new();
        for event in completion.clone().into_events() {
            fold.push(event).unwrap();
        }
        assert_eq!(fold.finish().unwrap(), completion, "{name}");
        expect(&name, &completion);
        names.push(name);
    }
    names
}

/// What a reply must have kept, by its name.
fn expect(name: &str, completion: &Completion) {
    let calls = completion.content.iter().filter(|block| matches!(block, Block::ToolCall(_)));
    let calls = calls.count();
    let thoughts: Vec<_> = completion
        .content
        .iter()
        .filter_map(|block| match block {
            Block::Reasoning(reasoning) => Some(reasoning),
            _ => None,
        })
        .collect();
    let (least_calls, reason) = match name {
        "parallel_tool_calls" => (2, StopReason::ToolUse),
        name if name.contains("tool_call") => (1, StopReason::ToolUse),
        "cut_at_max_tokens" => (0, StopReason::MaxTokens),
        "stop_sequence" => (0, StopReason::StopSequence),
        "refusal" | "content_filter" => (0, StopReason::Refusal),
        _ => (0, StopReason::EndTurn),
    };
    assert!(calls >= least_calls && (least_calls > 0 || calls == 0), "{name}: {calls} calls");
    assert_eq!(completion.reason, reason, "{name}");
    if name == "stop_sequence" {
        assert!(completion.stop_sequence.is_some(), "{name}");
    }
    if name.contains("reasoning") || name.contains("thinking") {
        assert!(!thoughts.is_empty(), "{name} thinks");
        for thought in thoughts {
            let said = !thought.text.is_empty() || !thought.summary.is_empty();
            assert!(said || thought.encrypted.is_some(), "{name}: an empty thought");
        }
    }
    if name == "custom_tool_call" {
        let text = completion.content.iter().any(|block| {
            matches!(block, Block::ToolCall(ToolCall { input: ToolCallInput::Text(_), .. }))
        });
        assert!(text, "{name} holds free text");
    }
    if name == "tool_search_call" {
        let opaque = completion.content.iter().any(|block| matches!(block, Block::Opaque(_)));
        assert!(opaque, "{name} keeps its item");
    }
    if name == "namespaced_tool_call" {
        let space = completion.content.iter().any(|block| {
            matches!(block, Block::ToolCall(ToolCall { namespace: Some(_), item_id: Some(_), .. }))
        });
        assert!(space, "{name} keeps namespace and item id");
    }
}

fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn text(value: &Value) -> String {
    owned(value).unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn call(id: &Value, item_id: Option<String>, name: &Value, input: ToolCallInput) -> Block {
    let (id, name) = (text(id), text(name));
    Block::ToolCall(ToolCall { id, item_id, name, namespace: None, input, cache: None })
}

fn json(arguments: &str) -> ToolCallInput {
    ToolCallInput::Json(compact(arguments).unwrap())
}

fn thought(dialect: Dialect) -> Reasoning {
    Reasoning {
        id: None,
        summary: Vec::new(),
        text: String::new(),
        signature: None,
        encrypted: None,
        dialect,
    }
}

fn completion(model: &Value, content: Vec<Block>, reason: StopReason, usage: Usage) -> Completion {
    Completion {
        model: ModelName::new(text(model)),
        content,
        reason,
        stop_sequence: None,
        usage,
        losses: LossSet::EMPTY,
    }
}

#[test]
fn chat_replies_have_their_place() {
    let names = prove("openai_chat", |reply| {
        let choice = &reply["choices"][0];
        let message = &choice["message"];
        let mut content = Vec::new();
        if let Some(text) = message["reasoning_content"].as_str() {
            content.push(Block::Reasoning(Reasoning {
                text: text.to_owned(),
                ..thought(Dialect::OpenAiChat)
            }));
        }
        let mut refused = false;
        if let Some(text) = message["refusal"].as_str() {
            refused = true;
            content.push(Block::text(text));
        }
        if let Some(text) = message["content"].as_str() {
            content.push(Block::text(text));
        }
        for tool in list(&message["tool_calls"]) {
            let (function, custom) = (&tool["function"], &tool["custom"]);
            content.push(if tool["type"] == "custom" {
                call(
                    &tool["id"],
                    None,
                    &custom["name"],
                    ToolCallInput::Text(text(&custom["input"])),
                )
            } else {
                call(&tool["id"], None, &function["name"], json(&text(&function["arguments"])))
            });
        }
        let reason = match choice["finish_reason"].as_str() {
            Some("tool_calls") => StopReason::ToolUse,
            Some("length") => StopReason::MaxTokens,
            Some("content_filter") => StopReason::Refusal,
            _ if refused => StopReason::Refusal,
            _ => StopReason::EndTurn,
        };
        let usage = &reply["usage"];
        let cached = number(&usage["prompt_tokens_details"]["cached_tokens"]);
        let usage = Usage {
            input: number(&usage["prompt_tokens"]) - cached,
            output: number(&usage["completion_tokens"]),
            cached_input: cached,
            reasoning: number(&usage["completion_tokens_details"]["reasoning_tokens"]),
            ..Usage::default()
        };
        completion(&reply["model"], content, reason, usage)
    });
    assert!(names.len() >= 10, "{names:?}");
}

#[test]
fn responses_replies_have_their_place() {
    let names = prove("openai_responses", |reply| {
        let mut content = Vec::new();
        let mut refused = false;
        for item in list(&reply["output"]) {
            let item_id = owned(&item["id"]);
            match item["type"].as_str() {
                Some("message") => {
                    for part in list(&item["content"]) {
                        refused |= part["type"] == "refusal";
                        let said = owned(&part["text"]).or_else(|| owned(&part["refusal"]));
                        content.push(Block::text(said.unwrap()));
                    }
                }
                Some("function_call") => {
                    let input = json(&text(&item["arguments"]));
                    let mut block = call(&item["call_id"], item_id, &item["name"], input);
                    if let Block::ToolCall(call) = &mut block {
                        call.namespace = owned(&item["namespace"]);
                    }
                    content.push(block);
                }
                Some("custom_tool_call") => {
                    let input = ToolCallInput::Text(text(&item["input"]));
                    content.push(call(&item["call_id"], item_id, &item["name"], input));
                }
                Some("reasoning") => content.push(Block::Reasoning(Reasoning {
                    id: item_id,
                    summary: list(&item["summary"])
                        .iter()
                        .map(|part| text(&part["text"]))
                        .collect(),
                    text: list(&item["content"]).iter().map(|part| text(&part["text"])).collect(),
                    encrypted: owned(&item["encrypted_content"]),
                    ..thought(Dialect::OpenAiResponses)
                })),
                Some(kind @ "tool_search_call") => content.push(Block::Opaque(Opaque {
                    dialect: Dialect::OpenAiResponses,
                    kind: kind.to_owned(),
                    json: compact(&item.to_string()).unwrap(),
                })),
                other => panic!("no place for the item {other:?}"),
            }
        }
        let has_calls = content.iter().any(|block| matches!(block, Block::ToolCall(_)));
        let reason = match reply["incomplete_details"]["reason"].as_str() {
            Some("max_output_tokens") => StopReason::MaxTokens,
            Some(_) => StopReason::Refusal,
            None if has_calls => StopReason::ToolUse,
            None if refused => StopReason::Refusal,
            None => StopReason::EndTurn,
        };
        let usage = &reply["usage"];
        let cached = number(&usage["input_tokens_details"]["cached_tokens"]);
        let usage = Usage {
            input: number(&usage["input_tokens"]) - cached,
            output: number(&usage["output_tokens"]),
            cached_input: cached,
            reasoning: number(&usage["output_tokens_details"]["reasoning_tokens"]),
            ..Usage::default()
        };
        completion(&reply["model"], content, reason, usage)
    });
    assert!(names.len() >= 10, "{names:?}");
}

#[test]
fn messages_replies_have_their_place() {
    let names = prove("anthropic_messages", |reply| {
        let content = list(&reply["content"])
            .iter()
            .map(|block| match block["type"].as_str() {
                Some("text") => Block::text(text(&block["text"])),
                Some("tool_use") => {
                    call(&block["id"], None, &block["name"], json(&block["input"].to_string()))
                }
                Some("thinking") => Block::Reasoning(Reasoning {
                    text: text(&block["thinking"]),
                    signature: owned(&block["signature"]),
                    ..thought(Dialect::AnthropicMessages)
                }),
                Some("redacted_thinking") => Block::Reasoning(Reasoning {
                    encrypted: owned(&block["data"]),
                    ..thought(Dialect::AnthropicMessages)
                }),
                other => panic!("no place for the block {other:?}"),
            })
            .collect();
        let reason = match reply["stop_reason"].as_str() {
            Some("tool_use") => StopReason::ToolUse,
            Some("max_tokens") => StopReason::MaxTokens,
            Some("stop_sequence") => StopReason::StopSequence,
            Some("refusal") => StopReason::Refusal,
            _ => StopReason::EndTurn,
        };
        let usage = &reply["usage"];
        let usage = Usage {
            input: number(&usage["input_tokens"]),
            output: number(&usage["output_tokens"]),
            cached_input: number(&usage["cache_read_input_tokens"]),
            cache_write: number(&usage["cache_creation_input_tokens"]),
            ..Usage::default()
        };
        let mut completion = completion(&reply["model"], content, reason, usage);
        completion.stop_sequence = owned(&reply["stop_sequence"]);
        completion
    });
    assert!(names.len() >= 10, "{names:?}");
}
