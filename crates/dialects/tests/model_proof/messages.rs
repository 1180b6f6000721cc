//! Messages requests, walked on the wire.

use dialects::anthropic_messages::{self, ApiVersion};
use model::{Dialect, ParamsMode, Reasoning};
use serde_json::Value;

use crate::facts::Facts;
use crate::prove;
use crate::wire::{beside, choice_word, function_tool, list, output, owned, word};

/// Fields of the request with a place of their own, and those that are answered while they are
/// read. `output_config` is looked at by field.
const KNOWN: [&str; 13] = [
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "tools",
    "tool_choice",
    "output_config",
    "output_format",
];

#[test]
fn messages_requests_have_their_place() {
    prove(
        "recorded/anthropic_messages",
        &["tool_use.caller"],
        |recording| {
            let version = recording.headers.get("anthropic-version").map(String::as_str);
            let version = ApiVersion::from_header(version);
            let read = anthropic_messages::read_request(
                recording.body.get().as_bytes(),
                version,
                ParamsMode::Default,
            );
            match read {
                Ok(read) => Some(read.request),
                // Threads need a store; the SDKs go on without them when told so.
                Err(failure) if failure.param.as_deref() == Some("thread") => None,
                Err(failure) => panic!("{failure:?}"),
            }
        },
        |body, facts| {
            settings(body, facts);
            facts.text("system", word(body, "system"));
            // A line that Claude Code adds for its own billing; it defeats every cache.
            let billing =
                |block: &&Value| !word(block, "text").starts_with("x-anthropic-billing-header:");
            for block in list(&body["system"]).iter().filter(billing) {
                read_block("system", block, facts);
            }
            for (turn, message) in list(&body["messages"]).iter().enumerate() {
                let rest = beside(message, &["role", "content"]);
                facts.turn(word(message, "role"), Some(turn), rest.as_ref());
                facts.text(word(message, "role"), word(message, "content"));
                for block in list(&message["content"]) {
                    read_block(word(message, "role"), block, facts);
                }
            }
            for tool in list(&body["tools"]) {
                if tool["input_schema"].is_object() {
                    let known = ["type", "name", "description", "input_schema", "strict"];
                    let known = [known.as_slice(), &["cache_control"]].concat();
                    function_tool(tool, "-", "input_schema", facts);
                    facts.beside_tool("-", word(tool, "name"), beside(tool, &known).as_ref());
                    cache_control(tool, facts);
                } else {
                    facts.add(format!("hosted {} {tool}", word(tool, "type")));
                }
            }
        },
    );
}

fn settings(body: &Value, facts: &mut Facts) {
    for (field, name) in [
        ("model", "model"),
        ("max_tokens", "max_tokens"),
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("top_k", "top_k"),
    ] {
        facts.setting(name, &body[field]);
    }
    for stop in list(&body["stop_sequences"]) {
        facts.setting("stop", stop);
    }
    if let Some(Value::Object(rest)) = beside(body, &KNOWN) {
        rest.iter().for_each(|(name, value)| facts.setting(name, value));
    }
    let config = &body["output_config"];
    if config.is_object() {
        let rest = beside(config, &["effort", "format"]);
        facts.setting("output_config", &rest.unwrap_or_default());
    }
    facts.setting("effort", &config["effort"]);
    let mut format = config["format"].clone();
    if format["type"] == "json_schema" {
        // This dialect does not say it, because it has no other way.
        format["strict"] = serde_json::json!(true);
    }
    let format = &format;
    output(format, format, &["type", "name", "schema", "strict"], facts);
    facts.only("tool_choice", &body["tool_choice"], &["type"]);
    choice_word(&body["tool_choice"]["type"], facts);
}

fn cache_control(value: &Value, facts: &mut Facts) {
    if value["cache_control"].is_object() {
        facts.add(format!("cache {}", value["cache_control"]));
    }
}

fn read_block(who: &str, block: &Value, facts: &mut Facts) {
    let source = &block["source"];
    let inline = || match word(source, "type") {
        "base64" => format!("{} {}", word(source, "media_type"), word(source, "data")),
        "url" => format!("url {}", word(source, "url")),
        "file" => format!("id {}", word(source, "file_id")),
        "text" => format!("text/plain {}", base64(word(source, "data"))),
        other => panic!("the walk does not know the source {other:?}"),
    };
    let thought = |text: &str, signature: Option<String>, encrypted: Option<String>| Reasoning {
        id: None,
        summary: Vec::new(),
        text: text.to_owned(),
        signature,
        encrypted,
        dialect: Dialect::AnthropicMessages,
    };
    // The whole block stands where it is opaque; elsewhere each field must have a place.
    let mut only = |known: &[&str]| {
        let known = [known, &["type", "cache_control"]].concat();
        facts.only(word(block, "type"), block, &known);
    };
    match word(block, "type") {
        "text" => only(&["text"]),
        "image" => only(&["source"]),
        "document" => only(&["source", "title", "citations", "context"]),
        "tool_use" => only(&["id", "name", "input"]),
        "tool_result" => only(&["tool_use_id", "content", "is_error"]),
        "thinking" => only(&["thinking", "signature"]),
        "redacted_thinking" => only(&["data"]),
        _ => {}
    }
    let name = [&block["title"], &Value::Null];
    match word(block, "type") {
        "text" => facts.text(who, word(block, "text")),
        "image" => facts.media(who, "image", &inline(), name),
        // A document with citations or context says more than a media block; it is kept whole.
        "document" if block["citations"].is_null() && block["context"].is_null() => {
            facts.media(who, "file", &inline(), name);
        }
        "tool_use" => {
            let input = block["input"].to_string();
            facts.call(word(block, "id"), "-", word(block, "name"), &input);
        }
        "tool_result" => {
            let id = word(block, "tool_use_id");
            let error = block["is_error"].as_bool().unwrap_or(false);
            facts.result(id, "-", false, error);
            let who = format!("result {id}");
            facts.text(&who, word(block, "content"));
            for inner in list(&block["content"]) {
                read_block(&who, inner, facts);
            }
        }
        "thinking" => {
            let signature = owned(&block["signature"]);
            facts.reasoning(&thought(word(block, "thinking"), signature, None));
        }
        "redacted_thinking" => facts.reasoning(&thought("", None, owned(&block["data"]))),
        kind => {
            facts.add(format!("opaque {kind} {block}"));
            return;
        }
    }
    cache_control(block, facts);
}

/// Standard base64, for documents that come as plain text.
fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let inside = digit <= chunk.len();
            out.push(if inside {
                char::from(DIGITS[(bits >> (18 - 6 * digit)) & 63])
            } else {
                '='
            });
        }
    }
    out
}
