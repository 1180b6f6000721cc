//! What the demo prints.

#![expect(clippy::print_stdout, reason = "the demo is not an MCP server: its stdout is for people")]

use std::net::SocketAddr;

use serde_json::json;

use super::client;
use super::host::NO_SUCH_MODEL;

/// Longest reply that is shown in full.
const SHOWN: usize = 3000;

/// Makes four calls and shows them; whether all went as they should.
pub(super) async fn four_calls(address: SocketAddr) -> bool {
    println!(
        "mcptb demo: a simulated MCP host is attached; the bridge answers at http://{address}"
    );
    let chat = json!({
        "model": "auto", "stream": true,
        "messages": [{"role": "user", "content": "Hello from an OpenAI client"}],
    });
    let messages = json!({
        "model": "auto", "stream": true, "max_tokens": 256,
        "messages": [{"role": "user", "content": "Hello from an Anthropic client"}],
    });
    let tool = json!({
        "model": "auto", "messages": [{"role": "user", "content": "How is the weather?"}],
        "tools": [{"type": "function", "function": {
            "name": "get_weather", "description": "Tells the weather.",
            "parameters": {"type": "object", "required": ["city"],
                "properties": {"city": {"type": "string"}}}}}],
    });
    let error = json!({
        "model": NO_SUCH_MODEL, "messages": [{"role": "user", "content": "Hello"}],
    });
    let mut good = true;
    good &= one(
        address,
        "1. OpenAI Chat Completions, streamed",
        "/v1/chat/completions",
        &chat,
        200,
        "[DONE]",
    )
    .await;
    good &= one(
        address,
        "2. Anthropic Messages, streamed",
        "/v1/messages",
        &messages,
        200,
        "message_stop",
    )
    .await;
    good &= one(
        address,
        "3. A tool call: this host has no tools in sampling, so they stand in the prompt",
        "/v1/chat/completions",
        &tool,
        200,
        "\"finish_reason\":\"tool_calls\"",
    )
    .await;
    good &= one(
        address,
        "4. An error: a model that the host does not have",
        "/v1/chat/completions",
        &error,
        404,
        "model_not_found",
    )
    .await;
    good
}

async fn one(
    address: SocketAddr,
    title: &str,
    path: &str,
    body: &serde_json::Value,
    expected: u16,
    expected_text: &str,
) -> bool {
    println!("\n=== {title}\n> POST {path}\n> {body}");
    match client::post(address, path, &body.to_string()).await {
        Ok(answer) => {
            println!("< {}", answer.status);
            for header in answer.headers.iter().filter(|header| header.starts_with("x-")) {
                println!("< {header}");
            }
            let text: String = answer.body.chars().take(SHOWN).collect();
            println!("{}", text.trim_end());
            let good = answer.status == expected && answer.body.contains(expected_text);
            if !good {
                println!("!!! expected status {expected} and {expected_text}");
            }
            good
        }
        Err(error) => {
            println!("!!! no reply: {error}");
            false
        }
    }
}

/// Says what to try next.
pub(super) fn how_to_go_on(address: SocketAddr) {
    println!(
        "\nThe bridge stays up. Try it from another terminal:\n\n\
         curl -s http://{address}/v1/chat/completions -H 'Content-Type: application/json' \\\n  \
         -d '{{\"model\":\"auto\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\n\
         curl -N http://{address}/v1/messages -H 'Content-Type: application/json' \\\n  \
         -d '{{\"model\":\"auto\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\n\
         curl -s http://{address}/readyz\n\nCtrl-C ends it."
    );
}

/// Says goodbye.
pub(super) fn goodbye() {
    println!("\nThe demo ends.");
}
