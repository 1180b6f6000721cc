//! Proves that the model can hold what real clients send and what upstreams answer.
//!
//! Every recorded request is walked twice: once on the wire, by the few lines below that know
//! where each dialect puts its parts, and once in the model that its reader made. Both walks list
//! the same facts (who says which text, which call has which id and arguments, which signature
//! stands where), and the lists must be equal. What the readers leave out on purpose is named in
//! this file and nowhere else. Replies are proved in `model_proof_replies.rs`.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]
#![expect(clippy::panic, reason = "the same")]
#![expect(clippy::indexing_slicing, reason = "the same")]

#[path = "model_proof/facts.rs"]
mod facts;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dialects::anthropic_messages::{self, ApiVersion};
use dialects::{openai_chat, openai_responses};
use model::{CompletionRequest, Dialect, Reasoning};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use facts::{Facts, verbatim};

/// A recorded request.
#[derive(Deserialize)]
struct Recording<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
    headers: BTreeMap<String, String>,
}

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(folder)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(golden(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} holds files");
    files
}

/// Compares the facts of every recording of a dialect.
fn prove(
    folder: &str,
    read: impl Fn(&Recording<'_>) -> Option<CompletionRequest>,
    walk: impl Fn(&Value, &mut Facts),
) {
    for file in files(folder) {
        let text = fs::read_to_string(&file).unwrap();
        let recording: Recording<'_> = serde_json::from_str(&text).unwrap();
        let Some(request) = read(&recording) else {
            continue;
        };
        let mut wire = Facts::default();
        walk(
            &serde_json::from_str(recording.body.get()).unwrap(),
            &mut wire,
        );
        let mut model = Facts::default();
        model.request(&request);
        wire.0.sort();
        model.0.sort();
        let lost: Vec<_> = wire
            .0
            .iter()
            .filter(|fact| !model.0.contains(fact))
            .collect();
        let made_up: Vec<_> = model
            .0
            .iter()
            .filter(|fact| !wire.0.contains(fact))
            .collect();
        assert_eq!(
            wire.0,
            model.0,
            "{}\nlost: {lost:#?}\nmade up: {made_up:#?}",
            file.display()
        );
        verbatim(&request, recording.body.get(), &file);
    }
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn or_dash<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A JSON value, or `none` where it is absent.
fn json_or_none(value: &Value) -> String {
    if value.is_null() {
        "none".to_owned()
    } else {
        value.to_string()
    }
}

/// Arguments that travel as a string: JSON where they parse.
fn arguments(text: &str) -> String {
    serde_json::from_str::<Value>(text)
        .map_or_else(|_| format!("{text:?}"), |json| json.to_string())
}

/// A data URL as both walks name it, or the URL itself.
fn url_source(url: &str) -> String {
    match url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"))
    {
        Some((mime, base64)) => format!("{mime} {base64}"),
        None => format!("url {url}"),
    }
}

#[test]
fn chat_requests_have_their_place() {
    prove(
        "recorded/openai_chat",
        |recording| {
            Some(
                openai_chat::read_request(recording.body.get().as_bytes())
                    .unwrap()
                    .request,
            )
        },
        |body, facts| {
            // Function calls of the old kind have no ids; the reader gives them numbered ones.
            let (mut asked, mut answered) = (0, 0);
            for message in list(&body["messages"]) {
                let role = word(message, "role");
                let id = word(message, "tool_call_id");
                let who = match role {
                    "developer" => "system".to_owned(),
                    "tool" => format!("result {id}"),
                    "function" => {
                        answered += 1;
                        format!("result call_legacy_{}", answered - 1)
                    }
                    other => other.to_owned(),
                };
                if matches!(role, "tool" | "function") {
                    let of = who.trim_start_matches("result ");
                    facts.add(format!(
                        "result {of} custom={} error=false",
                        is_custom(body, of)
                    ));
                }
                facts.text(&who, word(message, "content"));
                facts.text(&who, word(message, "refusal"));
                for part in list(&message["content"]) {
                    chat_part(&who, part, facts);
                }
                for call in list(&message["tool_calls"]) {
                    let function = &call["function"];
                    let (name, input) = match word(call, "type") {
                        "custom" => {
                            let custom = &call["custom"];
                            (word(custom, "name"), format!("{:?}", word(custom, "input")))
                        }
                        _ => (
                            word(function, "name"),
                            arguments(word(function, "arguments")),
                        ),
                    };
                    facts.call(word(call, "id"), "-", name, &input);
                }
                if let Some(name) = message["function_call"]["name"].as_str() {
                    let input = arguments(word(&message["function_call"], "arguments"));
                    facts.call(&format!("call_legacy_{asked}"), "-", name, &input);
                    asked += 1;
                }
            }
            for tool in list(&body["tools"]) {
                match word(tool, "type") {
                    "custom" => custom_tool(&tool["custom"], "-", &chat_format(tool), facts),
                    _ => function_tool(&tool["function"], "-", "parameters", facts),
                }
            }
            for function in list(&body["functions"]) {
                function_tool(function, "-", "parameters", facts);
            }
        },
    );
}

/// Whether the call that `id` answers was one of a custom tool.
fn is_custom(body: &Value, id: &str) -> bool {
    list(&body["messages"])
        .iter()
        .flat_map(|message| list(&message["tool_calls"]))
        .any(|call| word(call, "id") == id && word(call, "type") == "custom")
}

/// The format of a Chat custom tool.
fn chat_format(tool: &Value) -> String {
    json_or_none(&tool["custom"]["format"])
}

fn chat_part(who: &str, part: &Value, facts: &mut Facts) {
    match word(part, "type") {
        "text" => facts.text(who, word(part, "text")),
        "refusal" => facts.text(who, word(part, "refusal")),
        "image_url" => {
            facts.media(who, "image", &url_source(word(&part["image_url"], "url")));
        }
        "input_audio" => {
            let audio = &part["input_audio"];
            let mime = if word(audio, "format") == "mp3" {
                "mpeg"
            } else {
                word(audio, "format")
            };
            facts.media(
                who,
                "audio",
                &format!("audio/{mime} {}", word(audio, "data")),
            );
        }
        "file" => {
            let file = &part["file"];
            let source = match (file["file_data"].as_str(), file["file_id"].as_str()) {
                (Some(url), _) => url_source(url),
                (None, id) => format!("id {}", id.unwrap_or_default()),
            };
            facts.media(who, "file", &source);
        }
        other => panic!("the walk does not know the part {other:?}"),
    }
}

fn function_tool(function: &Value, space: &str, schema: &str, facts: &mut Facts) {
    facts.add(format!(
        "tool {space} {} {:?} {:?} schema {}",
        word(function, "name"),
        or_dash(function, "description"),
        function["strict"].as_bool(),
        json_or_none(&function[schema])
    ));
}

fn custom_tool(custom: &Value, space: &str, format: &str, facts: &mut Facts) {
    facts.add(format!(
        "tool {space} {} {:?} None text {format}",
        word(custom, "name"),
        or_dash(custom, "description"),
    ));
}

#[test]
fn responses_requests_have_their_place() {
    prove(
        "recorded/openai_responses",
        |recording| {
            let read = openai_responses::read_request(recording.body.get().as_bytes()).unwrap();
            let body: Value = serde_json::from_str(recording.body.get()).unwrap();
            assert_eq!(read.stream, body["stream"].as_bool().unwrap_or(false));
            assert_eq!(read.store, body["store"].as_bool().unwrap_or(true));
            assert_eq!(
                read.previous_response_id,
                owned(&body["previous_response_id"])
            );
            Some(read.request)
        },
        |body, facts| {
            facts.text("system", word(body, "instructions"));
            facts.text("user", word(body, "input"));
            for item in list(&body["input"]) {
                response_item(item, facts);
            }
            for tool in list(&body["tools"]) {
                response_tool(tool, "-", facts);
            }
        },
    );
}

fn response_item(item: &Value, facts: &mut Facts) {
    let id = word(item, "call_id");
    match word(item, "type") {
        "message" | "" if item["role"].is_string() => {
            let who = match word(item, "role") {
                "developer" => "system",
                other => other,
            };
            facts.text(who, word(item, "content"));
            for part in list(&item["content"]) {
                response_part(who, part, facts);
            }
        }
        kind @ ("function_call" | "custom_tool_call") => {
            let name = match item["namespace"].as_str() {
                Some(space) => format!("{space}/{}", word(item, "name")),
                None => word(item, "name").to_owned(),
            };
            let input = if kind == "function_call" {
                arguments(word(item, "arguments"))
            } else {
                format!("{:?}", word(item, "input"))
            };
            facts.call(id, or_dash(item, "id"), &name, &input);
        }
        kind @ ("function_call_output" | "custom_tool_call_output") => {
            let custom = kind == "custom_tool_call_output";
            facts.add(format!("result {id} custom={custom} error=false"));
            let who = format!("result {id}");
            facts.text(&who, word(item, "output"));
            for part in list(&item["output"]) {
                response_part(&who, part, facts);
            }
        }
        "reasoning" => facts.reasoning(&Reasoning {
            id: owned(&item["id"]),
            summary: list(&item["summary"])
                .iter()
                .filter_map(|part| owned(&part["text"]))
                .collect(),
            text: list(&item["content"])
                .iter()
                .map(|part| word(part, "text"))
                .collect::<Vec<_>>()
                .join("\n"),
            signature: None,
            encrypted: owned(&item["encrypted_content"]),
            dialect: Dialect::OpenAiResponses,
        }),
        "additional_tools" => {
            for tool in list(&item["tools"]) {
                response_tool(tool, "-", facts);
            }
        }
        "" | "item_reference" => facts.add(format!("opaque item_reference {item}")),
        kind => facts.add(format!("opaque {kind} {item}")),
    }
}

fn response_part(who: &str, part: &Value, facts: &mut Facts) {
    let id = || format!("id {}", word(part, "file_id"));
    match word(part, "type") {
        "input_text" | "output_text" => facts.text(who, word(part, "text")),
        "refusal" => facts.text(who, word(part, "refusal")),
        "input_image" => {
            let source = part["image_url"].as_str().map_or_else(id, url_source);
            facts.media(who, "image", &source);
        }
        "input_file" => {
            let url = part["file_data"].as_str().or(part["file_url"].as_str());
            facts.media(who, "file", &url.map_or_else(id, url_source));
        }
        other => panic!("the walk does not know the part {other:?}"),
    }
}

fn response_tool(tool: &Value, space: &str, facts: &mut Facts) {
    match word(tool, "type") {
        "function" => function_tool(tool, space, "parameters", facts),
        "custom" => custom_tool(tool, space, &json_or_none(&tool["format"]), facts),
        "namespace" => {
            for inner in list(&tool["tools"]) {
                response_tool(inner, word(tool, "name"), facts);
            }
        }
        kind => facts.add(format!("hosted {kind} {tool}")),
    }
}

/// What the description of a namespace and fields of tools that nobody reads become.
#[test]
fn what_responses_tools_hold_beyond_the_model_stays_in_the_extras() {
    for file in files("recorded/openai_responses") {
        let text = fs::read_to_string(&file).unwrap();
        let recording: Recording<'_> = serde_json::from_str(&text).unwrap();
        let body: Value = serde_json::from_str(recording.body.get()).unwrap();
        let read = openai_responses::read_request(recording.body.get().as_bytes()).unwrap();
        let extras = read.request.extras.map_or(Value::Null, |extras| {
            serde_json::from_str(extras.json.as_str()).unwrap()
        });
        for key in [
            "tools",
            "metadata",
            "include",
            "truncation",
            "user",
            "prompt_cache_key",
        ] {
            assert_eq!(extras[key], body[key], "{} {key}", file.display());
        }
    }
}

#[test]
fn messages_requests_have_their_place() {
    prove(
        "recorded/anthropic_messages",
        |recording| {
            let version = recording
                .headers
                .get("anthropic-version")
                .map(String::as_str);
            let version = ApiVersion::from_header(version);
            let read = anthropic_messages::read_request(recording.body.get().as_bytes(), version);
            match read {
                Ok(read) => Some(read.request),
                // Threads need a store; the SDKs go on without them when told so.
                Err(failure) if failure.param.as_deref() == Some("thread") => None,
                Err(failure) => panic!("{failure:?}"),
            }
        },
        |body, facts| {
            facts.text("system", word(body, "system"));
            // A line that Claude Code adds for its own billing; it defeats every cache.
            let billing =
                |block: &&Value| !word(block, "text").starts_with("x-anthropic-billing-header:");
            for block in list(&body["system"]).iter().filter(billing) {
                messages_block("system", block, facts);
            }
            for message in list(&body["messages"]) {
                facts.text(word(message, "role"), word(message, "content"));
                for block in list(&message["content"]) {
                    messages_block(word(message, "role"), block, facts);
                }
            }
            for tool in list(&body["tools"]) {
                if tool["input_schema"].is_object() {
                    function_tool(tool, "-", "input_schema", facts);
                    cache_control(tool, facts);
                } else {
                    facts.add(format!("hosted {} {tool}", word(tool, "type")));
                }
            }
        },
    );
}

fn cache_control(value: &Value, facts: &mut Facts) {
    if value["cache_control"].is_object() {
        facts.add(format!("cache {}", value["cache_control"]));
    }
}

fn messages_block(who: &str, block: &Value, facts: &mut Facts) {
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
    match word(block, "type") {
        "text" => facts.text(who, word(block, "text")),
        "image" => facts.media(who, "image", &inline()),
        // A document with citations or context says more than a media block; it is kept whole.
        "document" if block["citations"].is_null() && block["context"].is_null() => {
            facts.media(who, "file", &inline());
        }
        "tool_use" => {
            let input = block["input"].to_string();
            facts.call(word(block, "id"), "-", word(block, "name"), &input);
        }
        "tool_result" => {
            let id = word(block, "tool_use_id");
            let error = block["is_error"].as_bool().unwrap_or(false);
            facts.add(format!("result {id} custom=false error={error}"));
            let who = format!("result {id}");
            facts.text(&who, word(block, "content"));
            for inner in list(&block["content"]) {
                messages_block(&who, inner, facts);
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
        let bits = chunk
            .iter()
            .fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
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
