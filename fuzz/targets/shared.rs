//! What several targets check.

use dialects::ToolTable;
use dialects::mcp_sampling::{Asking, Priorities, SamplingOptions, ToolUse, write_request};
use dialects::prompted_tools::{NonceSecret, ToolPrompt};
use model::CompletionRequest;

/// Writes the sampling request: it is one line of JSON, or a failure that leaves nothing behind.
pub fn check_sampling(request: &CompletionRequest) {
    let Ok(table) = ToolTable::new(request) else { return };
    let secret = NonceSecret::new([7; 32]);
    let prompt = ToolPrompt::new(request, &table, &secret, "fuzz");
    for (hints, native) in [(true, true), (false, false)] {
        let options = SamplingOptions {
            default_max_tokens: 8192,
            max_tokens_cap: Some(100),
            hints,
            priorities: Priorities::default(),
            task_ttl_ms: native.then_some(1000),
        };
        let tools = if native {
            ToolUse::Native(&table)
        } else {
            ToolUse::Prompted { table: &table, prompt: &prompt }
        };
        let asking = Asking { tools, ..Asking::plain(request) };
        let mut out = b"before".to_vec();
        match write_request(&asking, &options, &mut out) {
            Ok(_) => {
                let params = &out[b"before".len()..];
                assert!(params.iter().all(|byte| *byte >= 0x20), "a raw control character");
                let params: serde_json::Value = serde_json::from_slice(params).expect("JSON");
                let messages = params["messages"].as_array().expect("messages");
                let last = messages.last().expect("at least one message");
                assert_eq!(last["role"], "user", "hosts refuse to continue an assistant");
            }
            Err(_) => assert_eq!(out, b"before"),
        }
    }
}
