//! Laws of the two sides of a dialect: what a client writes its server reads back, and what a
//! server writes its client reads back, up to the losses that are named.
//!
//! `forget.rs` says for each loss which part of a request it takes away, and `same.rs` what two
//! requests may differ in without saying anything else. `requests.rs` and `replies.rs` hold the
//! laws over generated requests and replies, `recorded.rs` over the recorded and the constructed
//! ones, `failures.rs` those of failures.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![expect(clippy::panic, reason = "the same")]

mod failures;
mod forget;
mod generate;
mod recorded;
mod replies;
mod requests;
mod same;

use dialects::anthropic_messages::{self, ApiVersion};
use dialects::sse::SseReader;
use dialects::{StreamReader, openai_chat, openai_responses};
use model::{Completion, CompletionRequest, Dialect, Failure, Fold, LossSet, ParamsMode};

/// Every dialect.
const DIALECTS: [Dialect; 3] =
    [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages];

/// Reads a request as the server of a dialect does.
fn read_request(dialect: Dialect, body: &[u8]) -> Result<CompletionRequest, Failure> {
    match dialect {
        Dialect::OpenAiChat => {
            openai_chat::read_request(body, ParamsMode::Default).map(|read| read.request)
        }
        Dialect::OpenAiResponses => {
            openai_responses::read_request(body, ParamsMode::Default).map(|read| read.request)
        }
        Dialect::AnthropicMessages => {
            anthropic_messages::read_request(body, ApiVersion::V2023_06_01, ParamsMode::Default)
                .map(|read| read.request)
        }
    }
}

/// Writes a request as the client of a dialect does.
fn write_request(dialect: Dialect, request: &CompletionRequest) -> (Vec<u8>, LossSet) {
    let mut out = Vec::new();
    let losses = match dialect {
        Dialect::OpenAiChat => openai_chat::write_request(request, false, &mut out),
        Dialect::OpenAiResponses => openai_responses::write_request(request, false, &mut out),
        Dialect::AnthropicMessages => anthropic_messages::write_request(request, false, &mut out),
    };
    (out, losses)
}

/// Reads a whole reply as the client of a dialect does.
fn read_reply(dialect: Dialect, body: &[u8]) -> Result<Completion, Failure> {
    match dialect {
        Dialect::OpenAiChat => openai_chat::read_reply(body),
        Dialect::OpenAiResponses => openai_responses::read_reply(body),
        Dialect::AnthropicMessages => anthropic_messages::read_reply(body),
    }
}

/// Reads a streamed reply as the client of a dialect does, and folds it. The grammar of the
/// events is checked by the fold.
fn read_stream(dialect: Dialect, bytes: &[u8]) -> Result<Completion, Failure> {
    let mut reader: Box<dyn StreamReader> = match dialect {
        Dialect::OpenAiChat => Box::new(openai_chat::ChatReader::new()),
        Dialect::OpenAiResponses => Box::new(openai_responses::ResponsesReader::new()),
        Dialect::AnthropicMessages => Box::new(anthropic_messages::MessagesReader::new()),
    };
    let mut frames = Vec::new();
    SseReader::new(1 << 24).push(bytes, &mut frames).unwrap();
    let mut events = Vec::new();
    for frame in &frames {
        reader.event(frame, &mut events)?;
    }
    reader.end()?;
    let mut fold = Fold::new();
    for event in events {
        fold.push(event.clone()).unwrap_or_else(|fault| panic!("{fault}: {event:?}"));
    }
    Ok(fold.finish().unwrap())
}
