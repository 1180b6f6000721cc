//! What reading costs, in time and allocations: an agent's request, a model's reply to prompted
//! tools, and the prompt itself, beside `serde_json` reading the same bytes into a `Value`; and the
//! search for credentials.
//!
//! A program of its own, because it counts allocations: the other one measures processes, among
//! them floors that it is itself, and must not slow them down.

use std::alloc::System;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use dialects::anthropic_messages::ApiVersion;
use dialects::{NonceSecret, ToolPrompt, ToolTable, anthropic_messages, openai_chat};
use gateway::Redactor;
use model::{CompletionRequest, ParamsMode};
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Anything that stops a measurement.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Rounds per row; the fastest counts, for it had the fewest disturbances.
const ROUNDS: u32 = 15;

/// The measured part of a round.
const ROUND: Duration = Duration::from_millis(40);

/// Bytes of the request.
const REQUEST: usize = 64 * 1024;

/// Bytes of the reply.
const REPLY: usize = 10 * 1024;

/// Some of the literals that credentials begin with; the time of a walk does not hang on how many.
const BEGINNINGS: [&str; 16] = [
    "mcptb_",
    "sk-",
    "rk_live_",
    "whsec_",
    "ghp_",
    "glpat-",
    "AKIA",
    "AIza",
    "xoxb-",
    "npm_",
    "password",
    "secret_key",
    "api_key",
    "authorization",
    "-----BEGIN ",
    "bearer",
];

/// Tools of the request.
const TOOLS: usize = 25;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to say when standard error is gone.
            let _gone = writeln!(io::stderr(), "mcptb-bench-reading: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Fault> {
    let chat = padded(chat_request)?;
    let messages = padded(messages_request)?;
    let chat_read = openai_chat::read_request(&chat, ParamsMode::Default)?.request;
    let messages_read =
        anthropic_messages::read_request(&messages, ApiVersion::default(), ParamsMode::Default)?
            .request;
    for request in [&chat_read, &messages_read] {
        if request.tools.len() != TOOLS {
            return Err("a tool was not read".into());
        }
    }

    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| what | bytes | µs | allocations | `Value` µs | `Value` allocations | time × |\n\
         |---|---|---|---|---|---|---|"
    )?;
    let value = |bytes: &[u8]| drop(black_box(serde_json::from_slice::<Value>(bytes)));
    row(
        &mut out,
        "read a Chat Completions request of an agent",
        chat.len(),
        cost(|| drop(black_box(openai_chat::read_request(black_box(&chat), ParamsMode::Default)))),
        Some(cost(|| value(black_box(&chat)))),
    )?;
    row(
        &mut out,
        "read a Messages request of an agent",
        messages.len(),
        cost(|| {
            let read = anthropic_messages::read_request(
                black_box(&messages),
                ApiVersion::default(),
                ParamsMode::Default,
            );
            drop(black_box(read));
        }),
        Some(cost(|| value(black_box(&messages)))),
    )?;
    prompted(&mut out, &chat_read)?;
    redacted(&mut out, &chat)
}

/// Measures the search for credentials in texts that have none.
fn redacted(out: &mut impl Write, agent: &[u8]) -> Result<(), Fault> {
    let redactor = Redactor::new(&[])?;
    let walk = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostFirst)
        .kind(Some(AhoCorasickKind::DFA))
        .build(BEGINNINGS)?;
    let words = "You work on a repository with care, and you say what you have done. ";
    let text: String = words.chars().cycle().take(400).collect();
    let short = serde_json::to_vec(&json!({
        "model": "gpt-4.1", "max_tokens": 500, "messages": [{"role": "user", "content": text}]
    }))?;
    // Places that are worth a look, and nothing there.
    let hard: String =
        "a pass, an akin asian, skin and secrecy: ".chars().cycle().take(4096).collect();
    for (what, text) in [
        ("look for credentials in a short request", &*short),
        ("look for credentials in an agent's request", agent),
        ("look for credentials in 4 KB of what begins like them", hard.as_bytes()),
        ("look for credentials in a name", b"claude-sonnet-4-5".as_slice()),
    ] {
        if redactor.redact(text).count > 0 {
            return Err("a credential was found where none is".into());
        }
        row(
            out,
            &format!("{what}; the `Value` is one walk of an automaton"),
            text.len(),
            cost(|| drop(black_box(redactor.redact(black_box(text))))),
            Some(cost(|| {
                black_box(walk.find_iter(black_box(text)).count());
            })),
        )?;
    }
    Ok(())
}

/// Measures the prompt of a request and a reply to it.
fn prompted(out: &mut impl Write, request: &CompletionRequest) -> Result<(), Fault> {
    let table = ToolTable::new(request)?;
    let secret = NonceSecret::new([1; 32]);
    let prompt = ToolPrompt::new(request, &table, &secret, "bench");
    let reply = reply(prompt.stop());
    let read = prompt.read(&reply);
    if read.calls.len() != 4 || !read.losses.is_empty() {
        return Err(format!("the reply was read as {} calls", read.calls.len()).into());
    }
    let host = serde_json::to_vec(&json!({
        "role": "assistant", "model": "m", "content": {"type": "text", "text": reply}
    }))?;
    row(
        out,
        "read a prompted reply of four calls; the `Value` is the host's JSON around it",
        reply.len(),
        cost(|| drop(black_box(prompt.read(black_box(&reply))))),
        Some(cost(|| drop(black_box(serde_json::from_slice::<Value>(black_box(&host)))))),
    )?;
    let foreign = r#"<tool_call>{"name": "tool_1", "arguments": {"file_path": "new"}}</tool_call>"#;
    if prompt.read(foreign).calls.len() != 1 {
        return Err("the foreign call was not read".into());
    }
    row(
        out,
        "read a foreign call, searching the whole request for a copy of it",
        foreign.len(),
        cost(|| drop(black_box(prompt.read(black_box(foreign))))),
        None,
    )?;
    row(
        out,
        "write the instructions, with table and nonce",
        prompt.instructions().len(),
        cost(|| {
            let Ok(table) = ToolTable::new(black_box(request)) else { return };
            drop(black_box(ToolPrompt::new(request, &table, &secret, "bench").instructions()));
        }),
        None,
    )
}

/// Microseconds and allocations of one run.
#[derive(Clone, Copy)]
struct Cost {
    microseconds: f64,
    allocations: usize,
}

fn cost(mut work: impl FnMut()) -> Cost {
    work();
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    let allocations = change.allocations + change.reallocations;
    let mut fastest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut runs = 0_u32;
        while begun.elapsed() < ROUND {
            work();
            runs += 1;
        }
        fastest = fastest.min(begun.elapsed().as_secs_f64() * 1e6 / f64::from(runs));
    }
    Cost { microseconds: fastest, allocations }
}

fn row(
    out: &mut impl Write,
    what: &str,
    bytes: usize,
    ours: Cost,
    value: Option<Cost>,
) -> Result<(), Fault> {
    write!(out, "| {what} | {bytes} | {:.2} | {} | ", ours.microseconds, ours.allocations)?;
    match value {
        Some(value) => writeln!(
            out,
            "{:.2} | {} | {:.2} |",
            value.microseconds,
            value.allocations,
            ours.microseconds / value.microseconds
        )?,
        None => writeln!(out, "| | |")?,
    }
    Ok(())
}

/// A request whose system text is as long as makes it [`REQUEST`] bytes.
fn padded(request: impl Fn(&str) -> Value) -> Result<Vec<u8>, Fault> {
    let bare = serde_json::to_vec(&request(""))?.len();
    let missing = REQUEST.checked_sub(bare).ok_or("the tools alone are longer than the request")?;
    let words = "You work on a repository with care. ";
    let text: String = words.chars().cycle().take(missing).collect();
    Ok(serde_json::to_vec(&request(&text))?)
}

/// Schemas as agents send them, 1.5 KB each.
fn schema(number: usize) -> Value {
    let mut members: Map<String, Value> = Map::new();
    for option in 0..10 {
        let member = json!({
            "anyOf": [{"type": "string"}, {"type": "null"}], "default": null,
            "description": format!("Option {option} of tool {number}, which is seldom given.")
        });
        members.insert(format!("option_{option}"), member);
    }
    let named = json!({
        "file_path": {"type": "string", "description": "The absolute path of the file to work on."},
        "content": {"type": "string", "title": "Content"},
        "limit": {"type": "integer", "minimum": 1, "examples": [10]},
        "replace_all": {"type": "boolean", "default": false},
        "mode": {"type": "string", "enum": ["read", "write", "append"]},
        "items": {"type": "array", "items": {"type": "object", "title": "Item", "properties": {
            "id": {"type": "string"}, "state": {"enum": ["open", "done"]}
        }, "required": ["id"], "additionalProperties": false}}
    });
    if let Value::Object(named) = named {
        members.extend(named);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "properties": members, "required": ["file_path"], "additionalProperties": false
    })
}

const DESCRIPTION: &str = "Does one thing of the many that an agent does, and says in a paragraph \
    when it is the right tool, what it returns, and what it must not be used for.";

fn chat_request(system: &str) -> Value {
    let tools: Vec<Value> = (0..TOOLS)
        .map(|number| {
            json!({"type": "function", "function": {
                "name": format!("tool_{number}"), "description": DESCRIPTION, "parameters": schema(number)
            }})
        })
        .collect();
    json!({"model": "m", "stream": true, "tools": tools, "messages": [
        {"role": "system", "content": system},
        {"role": "user", "content": "Fix the test."},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
            "function": {"name": "tool_1", "arguments": "{\"file_path\":\"a.rs\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "fn main() {}\n"}
    ]})
}

fn messages_request(system: &str) -> Value {
    let tools: Vec<Value> = (0..TOOLS)
        .map(|number| {
            json!({
                "name": format!("tool_{number}"), "description": DESCRIPTION,
                "input_schema": schema(number)
            })
        })
        .collect();
    json!({"model": "m", "max_tokens": 4096, "stream": true, "tools": tools, "system": system,
        "messages": [
            {"role": "user", "content": "Fix the test."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "tool_1",
                "input": {"file_path": "a.rs"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1",
                "content": "fn main() {}\n"}]}
        ]
    })
}

/// A reply of four calls, one of which writes a file that fills the reply.
fn reply(stop: &str) -> String {
    let nonce = stop.trim_start_matches("</tool_calls_").trim_end_matches('>');
    let call = |name: &str, arguments: &[(&str, &str)]| {
        let mut given = String::new();
        for (key, value) in arguments {
            // Writing to a string cannot fail.
            let _ = writeln!(given, "<arg_{nonce} name=\"{key}\">{value}</arg_{nonce}>");
        }
        format!("<call name=\"{name}\">\n{given}</call>\n")
    };
    let small = [
        call("tool_1", &[("file_path", "src/a.rs"), ("limit", "200")]),
        call("tool_2", &[("file_path", "b"), ("items", "[{\"id\": \"1\", \"state\": \"open\"}]")]),
        call("tool_3", &[("file_path", "c"), ("replace_all", "true"), ("mode", "append")]),
    ]
    .concat();
    let line = "\n    if let Some(value) = map.get(\"key\") { println!(\"{value:?} < 3\"); }";
    let whole = |content: &str| {
        let large = call("tool_4", &[("file_path", "src/d.rs"), ("content", content)]);
        format!("I will look and write.\n\n<tool_calls_{nonce}>\n{small}{large}{stop}")
    };
    let missing = REPLY.saturating_sub(whole("").len());
    whole(&line.chars().cycle().take(missing).collect::<String>())
}
