//! Writes requests to an upstream that speaks this dialect, and reads what it answers.
//!
//! What the dialect cannot say is named as a loss; what only the caller's own dialect understands
//! goes back to it as it came. How many replies are wanted is no matter of one upstream call:
//! whoever calls asks once for each.

use std::time::Duration;

use model::{CompletionRequest, Dialect, Failure, LossSet};

use crate::calling::{self, Names, own};
use crate::extras::fields;
use crate::json::{ObjectWriter, push_string};

mod messages;
mod reply;
mod stream;
mod tools;

pub use reply::read_reply;
pub use stream::ChatReader;

/// Appends the body of `POST /v1/chat/completions` that asks for `request`; returns what the
/// dialect cannot say. A stream is asked to end with its usage.
pub fn write_request(request: &CompletionRequest, stream: bool, out: &mut Vec<u8>) -> LossSet {
    let mut losses = LossSet::EMPTY;
    let names = Names::new(request);
    let params = &request.params;
    let mut body = ObjectWriter::new(out);
    body.text("model", request.model.as_str());
    messages::push_messages(body.key("messages"), request, &names, &mut losses);
    tools::write_tools(&mut body, request, &names, &mut losses);
    tools::write_output(&mut body, &request.output);
    body.some_number("max_completion_tokens", params.max_tokens);
    body.some_float("temperature", params.temperature);
    body.some_float("top_p", params.top_p);
    // Not OpenAI's own, but compatible servers take it.
    body.some_number("top_k", params.top_k);
    if !params.stop.is_empty() {
        body.list("stop", &params.stop, |out, stop| push_string(out, stop));
    }
    body.some_text("reasoning_effort", params.reasoning_effort.as_deref());
    if stream {
        body.json("stream", "true");
        body.json("stream_options", r#"{"include_usage":true}"#);
    }
    if let Some(extras) = own(request.extras.as_ref(), Dialect::OpenAiChat, &mut losses) {
        for (name, raw) in fields(extras) {
            body.json(&name, raw.get());
        }
    }
    body.end();
    losses
}

/// Reads the reply of a call that was no success. `retry_after` is what its header asks for.
pub fn read_failure(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    calling::read_failure(status, retry_after, body)
}
