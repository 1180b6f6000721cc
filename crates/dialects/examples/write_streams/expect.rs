//! What an accumulator must end with, in plain JSON.

use model::{Block, Completion, Dialect, StopReason, ToolCallInput};
use serde_json::{Value, json};

/// The reply in plain JSON.
///
/// - `text`: all text, joined.
/// - `calls`: each with `id`, `item_id`, `name`, `namespace`, `kind` (`function` or `custom`),
///   `input` (an object; the text of a custom tool) and `arguments` (the exact JSON text).
/// - `thinking`: each with `text`, `signature`, `encrypted`, `id` and `summary`.
/// - `blocks`: the kinds in order, without empty texts.
/// - `stop`: the stop reason in the dialect's word, and `stop_sequence`.
/// - `usage`: `input`, `output`, `cached`.
pub(crate) fn expect(reply: &Completion, dialect: Dialect) -> Value {
    let mut calls = Vec::new();
    let mut thinking = Vec::new();
    let mut blocks = Vec::new();
    for block in &reply.content {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(_) => blocks.push("text"),
            Block::ToolCall(call) => {
                blocks.push("call");
                let (kind, input, arguments) = match &call.input {
                    ToolCallInput::Json(json) => (
                        "function",
                        serde_json::from_str(json.as_str()).unwrap_or(Value::Null),
                        json.as_str(),
                    ),
                    ToolCallInput::Broken(text) => ("function", json!(text), text.as_str()),
                    ToolCallInput::Text(text) => ("custom", json!(text), text.as_str()),
                };
                calls.push(json!({
                    "id": call.id, "item_id": call.item_id, "name": call.name,
                    "namespace": call.namespace, "kind": kind, "input": input,
                    "arguments": arguments,
                }));
            }
            Block::Reasoning(reasoning) => {
                blocks.push("thinking");
                thinking.push(json!({
                    "text": reasoning.text, "signature": reasoning.signature,
                    "encrypted": reasoning.encrypted, "id": reasoning.id,
                    "summary": reasoning.summary,
                }));
            }
            Block::Media(_) | Block::ToolResult(_) | Block::Opaque(_) => {}
        }
    }
    json!({
        "model": reply.model.as_str(), "text": reply.text(), "calls": calls,
        "thinking": thinking, "blocks": blocks, "stop": stop(reply, dialect),
        "stop_sequence": reply.stop_sequence,
        "usage": {
            "input": reply.usage.input, "output": reply.usage.output,
            "cached": reply.usage.cached_input,
        },
    })
}

/// The stop reason in the dialect's word; for Responses its `status`.
fn stop(reply: &Completion, dialect: Dialect) -> &'static str {
    match (dialect, reply.reason) {
        (Dialect::OpenAiChat, StopReason::ToolUse) => "tool_calls",
        (Dialect::OpenAiChat, StopReason::MaxTokens) => "length",
        (Dialect::OpenAiChat, StopReason::Refusal) => "content_filter",
        (Dialect::OpenAiChat, StopReason::EndTurn | StopReason::StopSequence) => "stop",
        (Dialect::AnthropicMessages, reason) => reason.as_str(),
        (Dialect::OpenAiResponses, StopReason::MaxTokens | StopReason::Refusal) => "incomplete",
        (Dialect::OpenAiResponses, _) => "completed",
    }
}
