//! Writes sample streams for the official accumulators: `cargo run -p mcptb-dialects --example
//! write_streams -- [count] [seed]`.
//!
//! Each line of the output is one JSON object: `dialect`, `at` (its number), `expect` (what the
//! accumulator of that vendor must end with, in plain JSON), `sse` (the bytes of the stream) and
//! `whole` (the same reply unstreamed). The replies are pseudo-random from the seed alone, so that
//! a sample that fails can be written again.

mod expect;
mod sample;

use std::io::{self, Write};

use dialects::openai_responses::{Echo, ResponsesStream};
use dialects::{ReplyHead, StreamWriter, anthropic_messages, json, openai_chat, openai_responses};
use model::{CallId, Completion, CompletionEvent, Dialect, ParamsMode};

use sample::Dice;

/// How many replies of each dialect are written without an argument.
const COUNT: u64 = 300;

/// When all samples begin and end, in seconds since the Unix epoch.
const NOW: u64 = 1_795_326_512;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse().ok());
    let count: u64 = arguments.next().unwrap_or(COUNT);
    let seed: u64 = arguments.next().unwrap_or(1);
    let asked = br#"{"model":"m","input":"hi"}"#;
    let asked = openai_responses::read_request(asked, ParamsMode::Default);
    let echo = asked.map_err(io::Error::other)?.echo;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for dialect in [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages] {
        for at in 0..count {
            let mut dice = Dice::new(seed, dialect, at);
            let reply = sample::completion(&mut dice, dialect);
            let head = head(&reply, dialect, at);
            let line = line(&head, &echo, &reply, dialect, at, &mut dice);
            out.write_all(&line)?;
        }
    }
    out.flush()
}

fn head(reply: &Completion, dialect: Dialect, at: u64) -> ReplyHead {
    let id = uuid::Uuid::from_u64_pair(0x0190_0000_0000_7000 + dialect as u64, 1 << 63 | at);
    ReplyHead {
        id: CallId::from_uuid(id),
        created: NOW,
        model: reply.model.as_str().to_owned(),
        input_tokens: reply.usage.input.max(1),
        choices: 1,
    }
}

fn line(
    head: &ReplyHead,
    echo: &Echo,
    reply: &Completion,
    dialect: Dialect,
    at: u64,
    dice: &mut Dice,
) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut sse = Vec::new();
    let events = sample::in_pieces(reply.clone(), dice);
    match dialect {
        Dialect::OpenAiChat => {
            openai_chat::write_reply(head, std::slice::from_ref(reply), &mut whole);
            let writer = openai_chat::ChatStream::new(head.clone(), true);
            stream(writer, events, dice, &mut sse);
        }
        Dialect::AnthropicMessages => {
            anthropic_messages::write_reply(head, reply, &mut whole);
            let writer = anthropic_messages::MessagesStream::new(head.clone(), false);
            stream(writer, events, dice, &mut sse);
        }
        Dialect::OpenAiResponses => {
            whole = openai_responses::write_reply(head, echo, NOW, reply).json;
            let writer = ResponsesStream::new(head.clone(), echo.clone(), || NOW);
            stream(writer, events, dice, &mut sse);
        }
    }
    let mut line = format!(r#"{{"dialect":"{dialect}","at":{at},"expect":"#).into_bytes();
    line.extend_from_slice(expect::expect(reply, dialect).to_string().as_bytes());
    line.extend_from_slice(br#","sse":"#);
    json::push_string(&mut line, &String::from_utf8_lossy(&sse));
    line.extend_from_slice(br#","whole":"#);
    line.append(&mut whole);
    line.extend_from_slice(b"}\n");
    line
}

/// Writes the events with signs of life here and there, as a door does.
fn stream(
    mut writer: impl StreamWriter,
    events: Vec<CompletionEvent>,
    dice: &mut Dice,
    out: &mut Vec<u8>,
) {
    writer.begin(out);
    for event in events {
        if dice.one_in(6) {
            writer.keep_alive(out);
        }
        writer.event(0, event, out);
    }
    writer.end(out);
}
