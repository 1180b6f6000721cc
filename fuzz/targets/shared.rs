//! What several targets check.

use dialects::mcp_sampling::{Priorities, SamplingOptions, write_request};
use model::CompletionRequest;

/// Writes the sampling request: it is one line of JSON, or a failure that leaves nothing behind.
pub fn check_sampling(request: &CompletionRequest) {
    for (hints, arrays) in [(true, true), (false, false)] {
        let options = SamplingOptions {
            default_max_tokens: 8192,
            max_tokens_cap: Some(100),
            hints,
            priorities: Priorities::default(),
            task_ttl_ms: arrays.then_some(1000),
            arrays,
            native_tools: false,
        };
        let mut out = b"before".to_vec();
        match write_request(request, &options, &mut out) {
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
