//! Responses requests, walked on the wire.

use dialects::openai_responses;
use model::{Dialect, ParamsMode, Reasoning};
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::prove;
use crate::wire::{
    arguments, beside, choice_word, custom_tool, function_tool, json_or_none, list, or_dash,
    output, owned, url_source, word,
};

/// Fields of the request with a place of their own, and those that are answered while they are
/// read. `reasoning` and `text` are looked at by field.
const KNOWN: [&str; 16] = [
    "model",
    "input",
    "instructions",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "text",
    "reasoning",
    "store",
    "stream",
    "background",
    "previous_response_id",
    "tools",
];

#[test]
fn responses_requests_have_their_place() {
    prove(
        "recorded/openai_responses",
        &[
            "custom_tool_call.status",
            "function_call.parsed_arguments",
            "function_call.status",
            "leading message.id",
            "output_text.annotations",
        ],
        |recording| {
            let read = openai_responses::read_request(
                recording.body.get().as_bytes(),
                ParamsMode::Default,
            )
            .unwrap();
            let body: Value = serde_json::from_str(recording.body.get()).unwrap();
            assert_eq!(read.stream, body["stream"].as_bool().unwrap_or(false));
            assert_eq!(read.store, body["store"].as_bool().unwrap_or(true));
            assert_eq!(read.previous_response_id, owned(&body["previous_response_id"]));
            Some(read.request)
        },
        |body, facts| {
            settings(body, facts);
            facts.text("system", word(body, "instructions"));
            facts.text("user", word(body, "input"));
            let mut leading = true;
            for item in list(&body["input"]) {
                let role = word(item, "role");
                leading &= matches!(role, "system" | "developer");
                read_item(item, leading, facts);
            }
            for tool in list(&body["tools"]) {
                read_tool(tool, "-", &Around::default(), facts);
            }
        },
    );
}

fn settings(body: &Value, facts: &mut Facts) {
    for (field, name) in [
        ("model", "model"),
        ("max_output_tokens", "max_tokens"),
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("parallel_tool_calls", "parallel"),
    ] {
        facts.setting(name, &body[field]);
    }
    if let Some(Value::Object(rest)) = beside(body, &KNOWN) {
        rest.iter().for_each(|(name, value)| facts.setting(name, value));
    }
    for (field, known) in [("reasoning", "effort"), ("text", "format")] {
        if body[field].is_object() {
            let rest = beside(&body[field], &[known]);
            facts.setting(field, &rest.unwrap_or_default());
        }
    }
    facts.setting("effort", &body["reasoning"]["effort"]);
    let format = &body["text"]["format"];
    let known = ["type", "name", "strict", "schema", "description"];
    output(format, format, &known, facts);
    let choice = &body["tool_choice"];
    match word(choice, "type") {
        "" => choice_word(choice, facts),
        "allowed_tools" => {
            facts.only("tool_choice", choice, &["type", "mode", "tools"]);
            let names: Vec<_> = list(&choice["tools"])
                .iter()
                .map(|tool| format!("{} {}", or_dash(tool, "namespace"), word(tool, "name")))
                .collect();
            let required = choice["mode"] == "required";
            facts.add(format!("choice required={required} among {names:?}"));
        }
        other => panic!("the walk does not know the choice {other:?}"),
    }
}

fn read_item(item: &Value, leading: bool, facts: &mut Facts) {
    let id = word(item, "call_id");
    match word(item, "type") {
        "message" | "" if item["role"].is_string() => {
            let who = match word(item, "role") {
                "developer" => "system",
                other => other,
            };
            let known = ["type", "role", "content"];
            if leading {
                facts.only("leading message", item, &known);
            } else {
                facts.turn(who, None, beside(item, &known).as_ref());
            }
            facts.text(who, word(item, "content"));
            for part in list(&item["content"]) {
                read_part(who, part, facts);
            }
        }
        kind @ ("function_call" | "custom_tool_call") => {
            let known = ["type", "id", "call_id", "name", "namespace", "arguments", "input"];
            facts.only(kind, item, &known);
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
            facts.only(kind, item, &["type", "id", "call_id", "output"]);
            let custom = kind == "custom_tool_call_output";
            facts.result(id, or_dash(item, "id"), custom, false);
            let who = format!("result {id}");
            facts.text(&who, word(item, "output"));
            for part in list(&item["output"]) {
                read_part(&who, part, facts);
            }
        }
        "reasoning" => {
            let known = ["type", "id", "summary", "content", "encrypted_content"];
            facts.only("reasoning", item, &known);
            facts.reasoning(&Reasoning {
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
            });
        }
        kind @ ("additional_tools" | "tool_search_output") => {
            let around = Around { item: beside(item, &["tools"]), space: None };
            for tool in list(&item["tools"]) {
                read_tool(tool, "-", &around, facts);
            }
            if kind == "tool_search_output" {
                facts.add(format!("opaque {kind} {item}"));
            }
        }
        "" | "item_reference" => facts.add(format!("opaque item_reference {item}")),
        kind => facts.add(format!("opaque {kind} {item}")),
    }
}

fn read_part(who: &str, part: &Value, facts: &mut Facts) {
    let id = || format!("id {}", word(part, "file_id"));
    let kind = word(part, "type");
    match kind {
        "input_text" | "output_text" => {
            facts.only(kind, part, &["type", "text"]);
            facts.text(who, word(part, "text"));
        }
        "refusal" => {
            facts.only(kind, part, &["type", "refusal"]);
            facts.text(who, word(part, "refusal"));
        }
        "input_image" => {
            facts.only(kind, part, &["type", "image_url", "file_id", "detail"]);
            let source = part["image_url"].as_str().map_or_else(id, url_source);
            facts.media(who, "image", &source, [&Value::Null, &part["detail"]]);
        }
        "input_file" => {
            let known = ["type", "file_data", "file_url", "file_id", "filename"];
            facts.only(kind, part, &known);
            let url = part["file_data"].as_str().or(part["file_url"].as_str());
            let source = url.map_or_else(id, url_source);
            facts.media(who, "file", &source, [&part["filename"], &Value::Null]);
        }
        other => panic!("the walk does not know the part {other:?}"),
    }
}

/// What stands around a tool: its item and its namespace, each without its tools.
#[derive(Default)]
struct Around {
    item: Option<Value>,
    space: Option<Value>,
}

fn read_tool(tool: &Value, space: &str, around: &Around, facts: &mut Facts) {
    let kind = word(tool, "type");
    let (name, rest) = match kind {
        "namespace" => {
            let around = Around {
                item: around.item.clone(),
                space: beside(tool, &["type", "name", "tools"]),
            };
            for inner in list(&tool["tools"]) {
                read_tool(inner, word(tool, "name"), &around, facts);
            }
            return;
        }
        "function" => {
            function_tool(tool, space, "parameters", facts);
            let known = ["type", "name", "description", "parameters", "strict"];
            (word(tool, "name"), beside(tool, &known))
        }
        "custom" => {
            custom_tool(tool, space, &json_or_none(&tool["format"]), facts);
            let known = ["type", "name", "description", "format"];
            (word(tool, "name"), beside(tool, &known))
        }
        kind => {
            facts.add(format!("hosted {kind} {tool}"));
            (kind, None)
        }
    };
    let mut all = rest.unwrap_or_else(|| json!({}));
    for (name, value) in [("namespace", &around.space), ("item", &around.item)] {
        if let Some(value) = value {
            all[name] = value.clone();
        }
    }
    facts.beside_tool(space, name, beside(&all, &[]).as_ref());
}
