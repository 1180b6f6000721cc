//! A value for each parameter that differs from its default.

use model::Dialect;
use serde_json::{Value, json};

use crate::page::Class;

/// Fields of a request in which a parameter is set as a row of this class has it; `None` where
/// there is none yet.
pub(crate) fn sample(dialect: Dialect, name: &str, class: &Class) -> Option<Value> {
    let found = match dialect {
        Dialect::OpenAiChat => chat(name, class),
        Dialect::OpenAiResponses => responses(name, class),
        Dialect::AnthropicMessages => messages(name, class),
    };
    // What is ignored may hold anything.
    let anything = || {
        let (outer, inner) = name.split_once('.').unwrap_or((name, ""));
        let value = json!({"odd": [1, null]});
        if inner.is_empty() { json!({ outer: value }) } else { json!({ outer: { inner: value } }) }
    };
    found.or_else(|| (*class == Class::Ignored).then(anything))
}

fn chat(name: &str, class: &Class) -> Option<Value> {
    let function = json!({"name": "f", "parameters": {"type": "object"}});
    let tools = json!([{"type": "function", "function": function}]);
    let schema =
        json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}});
    Some(match (name, class) {
        ("model", _) => json!({"model": "gpt-x"}),
        ("messages", _) => json!({"messages": [{"role": "user", "content": "hello"}]}),
        ("max_completion_tokens" | "max_tokens", _) => json!({ name: 5 }),
        ("temperature" | "top_p" | "frequency_penalty" | "presence_penalty", _) => {
            json!({ name: 0.5 })
        }
        ("top_k" | "top_logprobs", _) => json!({ name: 3 }),
        ("stop", _) => json!({"stop": ["END"]}),
        ("n", _) => json!({"n": 2}),
        ("stream", _) => json!({"stream": true}),
        ("stream_options.include_usage" | "stream_options.include_obfuscation", _) => {
            json!({"stream_options": {name.trim_start_matches("stream_options."): true}})
        }
        ("logit_bias", _) => json!({"logit_bias": {"50256": -100}}),
        ("prediction", _) => json!({"prediction": {"type": "content", "content": "x"}}),
        ("logprobs", _) => json!({"logprobs": true}),
        ("tools", Class::Loss(_)) => json!({"tools": [{"type": "web_search"}]}),
        ("tools", _) => json!({ "tools": tools }),
        ("functions", _) => json!({"functions": [function]}),
        ("tool_choice", Class::Carried) => json!({"tools": tools, "tool_choice": "required"}),
        ("tool_choice", Class::Refused) => {
            json!({"tools": tools, "tool_choice": {"type": "web_search"}})
        }
        ("tool_choice", _) => json!({"tool_choice": "auto"}),
        ("function_call", Class::Carried) => {
            json!({"functions": [function], "function_call": {"name": "f"}})
        }
        ("function_call", _) => json!({"function_call": "auto"}),
        ("parallel_tool_calls", _) => json!({"tools": tools, "parallel_tool_calls": false}),
        ("response_format", Class::Ignored) => json!({"response_format": {"type": "text"}}),
        ("response_format", _) => json!({ "response_format": schema }),
        ("modalities", _) => json!({"modalities": ["text", "audio"]}),
        ("audio", _) => json!({"audio": {"voice": "x", "format": "mp3"}}),
        ("reasoning_effort", _) => json!({"reasoning_effort": "high"}),
        ("web_search_options", Class::Loss(_)) => json!({"web_search_options": {}}),
        _ => return None,
    })
}

fn responses(name: &str, class: &Class) -> Option<Value> {
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let format = json!({"type": "json_schema", "name": "n", "schema": {"type": "object"}});
    Some(match (name, class) {
        ("model", _) => json!({"model": "gpt-x"}),
        ("input", _) => json!({"input": [{"role": "user", "content": "hello"}]}),
        ("instructions", _) => json!({"instructions": "be good"}),
        ("previous_response_id", _) => json!({"previous_response_id": "resp_1"}),
        ("store", _) => json!({"store": false}),
        ("stream", _) => json!({"stream": true}),
        ("max_output_tokens", _) => json!({"max_output_tokens": 5}),
        ("temperature" | "top_p" | "frequency_penalty" | "presence_penalty", _) => {
            json!({ name: 0.5 })
        }
        ("max_tool_calls" | "top_logprobs", _) => json!({ name: 3 }),
        ("tools", Class::Loss(_)) => json!({"tools": [{"type": "web_search"}]}),
        ("tools", _) => json!({ "tools": tools }),
        ("tool_choice", Class::Refused) => {
            json!({"tools": tools, "tool_choice": {"type": "web_search"}})
        }
        ("tool_choice", _) => json!({"tools": tools, "tool_choice": "required"}),
        ("parallel_tool_calls", _) => json!({"tools": tools, "parallel_tool_calls": false}),
        ("text.format", Class::Ignored) => json!({"text": {"format": {"type": "text"}}}),
        ("text.format", _) => json!({"text": { "format": format }}),
        ("text.verbosity", _) => json!({"text": {"verbosity": "low"}}),
        ("reasoning.effort", _) => json!({"reasoning": {"effort": "high"}}),
        ("include", _) => json!({"include": ["reasoning.encrypted_content"]}),
        ("background", _) => json!({"background": true}),
        ("conversation", _) => json!({"conversation": "conv_1"}),
        ("prompt", _) => json!({"prompt": {"id": "pmpt_1"}}),
        _ => return None,
    })
}

fn messages(name: &str, class: &Class) -> Option<Value> {
    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let format = json!({"type": "json_schema", "schema": {"type": "object"}});
    Some(match (name, class) {
        ("model", _) => json!({"model": "claude-x"}),
        ("messages", _) => json!({"messages": [{"role": "user", "content": "hello"}]}),
        ("system", _) => json!({"system": "be good"}),
        ("max_tokens", _) => json!({"max_tokens": 5}),
        ("temperature" | "top_p", _) => json!({ name: 0.5 }),
        ("top_k", _) => json!({"top_k": 3}),
        ("stop_sequences", _) => json!({"stop_sequences": ["END"]}),
        ("stream", _) => json!({"stream": true}),
        ("thread", _) => json!({"thread": {"type": "create"}}),
        ("tools", Class::Loss(_)) => {
            json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})
        }
        ("tools", Class::Refused) => json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}),
        ("tools", _) => json!({ "tools": tools }),
        ("tool_choice", Class::Carried) => {
            json!({"tools": tools, "tool_choice": {"type": "any", "disable_parallel_tool_use": true}})
        }
        ("tool_choice", _) => json!({"tool_choice": {"type": "auto"}}),
        ("output_config.format", _) => json!({"output_config": { "format": format }}),
        ("output_format", _) => json!({ "output_format": format }),
        ("output_config.effort", _) => json!({"output_config": {"effort": "high"}}),
        ("mcp_servers", Class::Loss(_)) => json!({"mcp_servers": [{"url": "https://a"}]}),
        _ => return None,
    })
}
