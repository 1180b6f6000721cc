//! Chat Completions requests, walked on the wire.

use dialects::openai_chat;
use model::ParamsMode;
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::prove;
use crate::wire::{
    arguments, beside, choice_word, custom_tool, function_tool, json_or_none, list, or_dash,
    output, url_source, word,
};

/// Fields of the request with a place of their own, and those that are answered or named as a
/// loss while they are read.
const KNOWN: [&str; 17] = [
    "model",
    "messages",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "n",
    "stop",
    "reasoning_effort",
    "stream",
    "stream_options",
];

#[test]
fn chat_requests_have_their_place() {
    prove(
        "recorded/openai_chat",
        &[
            "call.index",
            "call.parsed_arguments",
            "leading message.name",
            "request.logprobs",
            "request.modalities",
        ],
        |recording| {
            let body = recording.body.get().as_bytes();
            Some(openai_chat::read_request(body, ParamsMode::Default).unwrap().request)
        },
        |body, facts| {
            settings(body, facts);
            // Function calls of the old kind have no ids; the reader gives them numbered ones.
            let (mut asked, mut answered) = (0, 0);
            let mut leading = true;
            for (turn, message) in list(&body["messages"]).iter().enumerate() {
                let role = word(message, "role");
                leading &= matches!(role, "system" | "developer");
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
                beside_message(turn, message, leading, facts);
                if matches!(role, "tool" | "function") {
                    let of = who.trim_start_matches("result ");
                    facts.result(of, "-", is_custom(body, of), false);
                }
                facts.text(&who, word(message, "content"));
                facts.text(&who, word(message, "refusal"));
                for part in list(&message["content"]) {
                    read_part(&who, part, facts);
                }
                for call in list(&message["tool_calls"]) {
                    read_call(call, facts);
                }
                if let Some(name) = message["function_call"]["name"].as_str() {
                    let input = arguments(word(&message["function_call"], "arguments"));
                    facts.call(&format!("call_legacy_{asked}"), "-", name, &input);
                    asked += 1;
                }
                if let Some(id) = message["audio"]["id"].as_str() {
                    facts.only("audio", &message["audio"], &["id"]);
                    facts.media(&who, "audio", &format!("id {id}"), [&Value::Null; 2]);
                }
            }
            for tool in list(&body["tools"]) {
                read_tool(tool, facts);
            }
            for function in list(&body["functions"]) {
                read_function(function, &json!({}), facts);
            }
        },
    );
}

fn settings(body: &Value, facts: &mut Facts) {
    let bound = &body["max_completion_tokens"];
    let bound = if bound.is_null() { &body["max_tokens"] } else { bound };
    facts.setting("max_tokens", bound);
    for (field, name) in [
        ("model", "model"),
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("n", "choices"),
        ("reasoning_effort", "effort"),
    ] {
        facts.setting(name, &body[field]);
    }
    if body["tools"].is_null() && body["functions"].is_array() {
        // The deprecated form has room for one call.
        facts.setting("parallel", &json!(false));
    } else {
        facts.setting("parallel", &body["parallel_tool_calls"]);
    }
    match &body["stop"] {
        Value::Array(stops) => stops.iter().for_each(|stop| facts.setting("stop", stop)),
        stop => facts.setting("stop", stop),
    }
    // Settings that change nothing are neither carried nor refused.
    facts.only("request", &json!({"logprobs": body["logprobs"]}), &[]);
    facts.only("request", &json!({"modalities": body["modalities"]}), &[]);
    let known = [KNOWN.as_slice(), &["logprobs", "modalities"]].concat();
    if let Some(Value::Object(rest)) = beside(body, &known) {
        rest.iter().for_each(|(name, value)| facts.setting(name, value));
    }
    let format = &body["response_format"];
    let known = ["name", "strict", "schema", "description"];
    output(format, &format["json_schema"], &known, facts);
    let choice = &body["tool_choice"];
    match word(choice, "type") {
        "" => match body["function_call"]["name"].as_str() {
            Some(name) => facts.add(format!("choice - {name}")),
            None => choice_word(choice, facts),
        },
        "allowed_tools" => {
            let allowed = &choice["allowed_tools"];
            facts.only("allowed_tools", allowed, &["mode", "tools"]);
            let names: Vec<_> = list(&allowed["tools"])
                .iter()
                .map(|tool| format!("- {}", word(&tool["function"], "name")))
                .collect();
            let required = allowed["mode"] == "required";
            facts.add(format!("choice required={required} among {names:?}"));
        }
        other => panic!("the walk does not know the choice {other:?}"),
    }
}

/// What stands beside a turn. Leading instructions are text in the model, not turns.
fn beside_message(turn: usize, message: &Value, leading: bool, facts: &mut Facts) {
    let known = [
        "role",
        "content",
        "refusal",
        "reasoning_content",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "audio",
    ];
    let role = match word(message, "role") {
        // The name of a function result is the function's.
        "function" => return facts.only("function message", message, &["role", "content", "name"]),
        "developer" => "system",
        "tool" => "user",
        other => other,
    };
    if leading {
        facts.only("leading message", message, &known);
    } else {
        facts.turn(role, Some(turn), beside(message, &known).as_ref());
    }
}

/// Whether the call that `id` answers was one of a custom tool.
fn is_custom(body: &Value, id: &str) -> bool {
    list(&body["messages"])
        .iter()
        .flat_map(|message| list(&message["tool_calls"]))
        .any(|call| word(call, "id") == id && word(call, "type") == "custom")
}

fn read_call(call: &Value, facts: &mut Facts) {
    facts.only("call", call, &["id", "type", "function", "custom"]);
    let (name, input) = if word(call, "type") == "custom" {
        let custom = &call["custom"];
        facts.only("call", custom, &["name", "input"]);
        (word(custom, "name"), format!("{:?}", word(custom, "input")))
    } else {
        let function = &call["function"];
        facts.only("call", function, &["name", "arguments"]);
        (word(function, "name"), arguments(word(function, "arguments")))
    };
    facts.call(word(call, "id"), "-", name, &input);
}

fn read_tool(tool: &Value, facts: &mut Facts) {
    if word(tool, "type") != "custom" {
        return read_function(&tool["function"], tool, facts);
    }
    let custom = &tool["custom"];
    custom_tool(custom, "-", &json_or_none(&custom["format"]), facts);
    let inner = beside(custom, &["name", "description", "format"]);
    beside_tool(custom, inner, beside(tool, &["type", "custom"]), facts);
}

fn read_function(function: &Value, tool: &Value, facts: &mut Facts) {
    function_tool(function, "-", "parameters", facts);
    let inner = beside(function, &["name", "description", "parameters", "strict"]);
    beside_tool(function, inner, beside(tool, &["type", "function"]), facts);
}

/// Fields of the tool, and those of the object around it under `tool`.
fn beside_tool(tool: &Value, inner: Option<Value>, outer: Option<Value>, facts: &mut Facts) {
    let mut all = inner.unwrap_or_else(|| json!({}));
    if let Some(outer) = outer {
        all["tool"] = outer;
    }
    facts.beside_tool("-", word(tool, "name"), beside(&all, &[]).as_ref());
}

fn read_part(who: &str, part: &Value, facts: &mut Facts) {
    const NONE: &Value = &Value::Null;
    let kind = word(part, "type");
    facts.only("part", part, &["type", kind]);
    match kind {
        "text" | "refusal" => facts.text(who, word(part, kind)),
        "image_url" => {
            let image = &part["image_url"];
            facts.only("part", image, &["url", "detail"]);
            let source = url_source(word(image, "url"));
            let detail = &image["detail"];
            let detail = if detail == "auto" { NONE } else { detail };
            facts.media(who, "image", &source, [NONE, detail]);
        }
        "input_audio" => {
            let audio = &part["input_audio"];
            facts.only("part", audio, &["format", "data"]);
            let mime = if word(audio, "format") == "mp3" { "mpeg" } else { word(audio, "format") };
            let source = format!("audio/{mime} {}", word(audio, "data"));
            facts.media(who, "audio", &source, [NONE; 2]);
        }
        "file" => {
            let file = &part["file"];
            facts.only("part", file, &["file_data", "file_id", "filename"]);
            let source = match file["file_data"].as_str() {
                Some(url) => url_source(url),
                None => format!("id {}", or_dash(file, "file_id")),
            };
            facts.media(who, "file", &source, [&file["filename"], NONE]);
        }
        other => panic!("the walk does not know the part {other:?}"),
    }
}
