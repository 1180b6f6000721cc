//! What several targets check of requests to upstreams.

use dialects::{anthropic_messages, openai_chat, openai_responses};
use model::CompletionRequest;

/// Writes the request in every dialect: it is one JSON object without a raw control character.
pub fn check_upstreams(request: &CompletionRequest) {
    for write in [
        openai_chat::write_request,
        openai_responses::write_request,
        anthropic_messages::write_request,
    ] {
        let mut out = Vec::new();
        write(request, true, &mut out);
        assert!(out.iter().all(|byte| *byte >= 0x20), "a raw control character");
        let read = serde_json::from_slice::<&serde_json::value::RawValue>(&out);
        assert!(read.is_ok_and(|read| read.get().starts_with('{')), "an object");
    }
}
