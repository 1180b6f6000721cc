//! What an upstream answers: whole replies, streams and failures of all dialects.
#![no_main]

use std::time::Duration;

use dialects::sse::SseReader;
use dialects::{StreamReader, anthropic_messages, openai_chat, openai_responses};
use libfuzzer_sys::fuzz_target;
use model::{Completion, Fold};

/// A reply that was read takes apart into events that fold to it.
fn check_reply(reply: Completion) {
    let mut fold = Fold::new();
    for event in reply.clone().into_events() {
        assert!(fold.push(event).is_ok(), "the events are in order");
    }
    assert_eq!(fold.finish().ok(), Some(reply));
}

/// The events of a stream are in order as long as there is no failure, and whole if it ends well.
fn check_stream(mut reader: impl StreamReader, bytes: &[u8]) {
    let mut frames = Vec::new();
    if SseReader::new(1 << 20).push(bytes, &mut frames).is_err() {
        return;
    }
    let mut fold = Fold::new();
    let mut events = Vec::new();
    for frame in &frames {
        let read = reader.event(frame, &mut events);
        for event in events.drain(..) {
            assert!(fold.push(event).is_ok(), "the events are in order");
        }
        if read.is_err() {
            return;
        }
    }
    assert_eq!(reader.end().is_ok(), fold.finish().is_ok(), "only a whole stream ends well");
}

fuzz_target!(|bytes: &[u8]| {
    for read in [
        openai_chat::read_reply(bytes),
        openai_responses::read_reply(bytes),
        anthropic_messages::read_reply(bytes),
    ]
    .into_iter()
    .flatten()
    {
        check_reply(read);
    }
    check_stream(openai_chat::ChatReader::new(), bytes);
    check_stream(openai_responses::ResponsesReader::new(), bytes);
    check_stream(anthropic_messages::MessagesReader::new(), bytes);
    let status = 400 + u16::from(bytes.first().copied().unwrap_or_default());
    let failure = openai_chat::read_failure(status, Some(Duration::from_secs(1)), bytes);
    assert!(!failure.message.is_empty() && failure.message.chars().count() <= 300);
    assert!(!failure.message.contains(char::is_control));
});
