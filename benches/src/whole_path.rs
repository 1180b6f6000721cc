//! The whole-path floor: the least a bridge can do.
//!
//! A page of code that passes the text between an HTTP server and the wires, with batched writes,
//! but without rules, limits, log, estimate or cancellation. It is a child process of the host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::BytesMut;
use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::error::Outcome;
use crate::stdio::{self, Reader, Writer};

/// What every call shares: the way out, and who waits for what.
struct Bridge {
    lines: UnboundedSender<Vec<u8>>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<String>>>,
    next_id: AtomicU64,
    initialized: Notify,
}

#[derive(Deserialize)]
struct Ask<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

/// A line from the host: the answer to a sampling, or its `initialize`.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
    #[serde(borrow)]
    result: Option<Sampled<'a>>,
}

#[derive(Deserialize)]
struct Sampled<'a> {
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Serves until the host closes the wires.
pub(crate) fn serve(port: u16) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (input, output) = stdio::own_ends()?;
        let (lines, outbox) = unbounded_channel();
        let bridge = Arc::new(Bridge {
            lines,
            waiting: Mutex::default(),
            next_id: AtomicU64::new(0),
            initialized: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(read(stdio::reader(input)?, Arc::clone(&bridge)));
        tasks.spawn(write(stdio::writer(output)?, outbox));
        tasks.spawn(answer_http(port, bridge));
        // Whichever ends first ends the bridge.
        tasks.join_next().await.transpose()?.transpose()?;
        Ok(())
    })
}

async fn answer_http(port: u16, bridge: Arc<Bridge>) -> std::io::Result<()> {
    bridge.initialized.notified().await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|stream| {
        // A connection that was closed at once is found out by whoever serves it.
        let _closed = stream.set_nodelay(true);
    });
    let doors = Router::new().route("/v1/chat/completions", post(complete)).with_state(bridge);
    axum::serve(listener, doors).await
}

async fn complete(State(bridge): State<Arc<Bridge>>, body: Bytes) -> Response {
    let Ok(ask) = serde_json::from_slice::<Ask<'_>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let text = ask.messages.last().map_or("", |message| message.content.as_ref());
    let id = bridge.next_id.fetch_add(1, Ordering::Relaxed);
    let line = sampling(id, text);
    let (answer, answered) = oneshot::channel();
    bridge.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
    if bridge.lines.send(line.into_bytes()).is_err() {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    match answered.await {
        Ok(text) if ask.stream => {
            ([(CONTENT_TYPE, "text/event-stream")], stream_events(id, &text)).into_response()
        }
        Ok(text) => ([(CONTENT_TYPE, "application/json")], completion(id, &text)).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn read(mut input: Reader, bridge: Arc<Bridge>) -> std::io::Result<()> {
    let mut incoming = BytesMut::with_capacity(1 << 16);
    while input.read_buf(&mut incoming).await? > 0 {
        while let Some(end) = memchr(b'\n', &incoming) {
            let line = incoming.split_to(end + 1);
            if let Ok(line) = serde_json::from_slice::<Line<'_>>(&line) {
                bridge.handle(line);
            }
        }
        incoming.reserve(1 << 16);
    }
    Ok(())
}

impl Bridge {
    fn handle(&self, line: Line<'_>) {
        let id = line.id.map_or("null", RawValue::get);
        if line.method == Some("initialize") {
            let answer = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{}},"serverInfo":{{"name":"whole-path","version":"0"}}}}}}"#
            );
            let _closed = self.lines.send(format!("{answer}\n").into_bytes());
            self.initialized.notify_one();
        } else if let Some(sampled) = line.result {
            let id = id.trim_matches('"').strip_prefix("s-").and_then(|id| id.parse().ok());
            let waits = id.and_then(|id: u64| {
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
            });
            if let Some(waits) = waits {
                let _hung_up = waits.send(sampled.content.text.into_owned());
            }
        }
    }
}

/// Writes every line that is there with one call.
async fn write(mut output: Writer, mut lines: UnboundedReceiver<Vec<u8>>) -> std::io::Result<()> {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, 1024).await > 0 {
        output.write_all(&batch.concat()).await?;
        batch.clear();
    }
    Ok(())
}

fn sampling(id: u64, text: &str) -> String {
    let text = quoted(text);
    let params = format!(
        r#"{{"messages":[{{"role":"user","content":{{"type":"text","text":{text}}}}}],"maxTokens":8192}}"#
    );
    format!(
        r#"{{"jsonrpc":"2.0","id":"s-{id}","method":"sampling/createMessage","params":{params}}}"#
    ) + "\n"
}

fn completion(id: u64, text: &str) -> String {
    let text = quoted(text);
    format!(
        r#"{{"id":"chatcmpl-{id}","object":"chat.completion","created":0,"model":"auto","choices":[{{"index":0,"message":{{"role":"assistant","content":{text}}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}}}"#
    )
}

/// The whole stream at once: the role, the text in a few pieces, the end.
fn stream_events(id: u64, text: &str) -> String {
    let mut events = String::with_capacity(2048);
    let mut event = |delta: &str, finish: &str| {
        let head = format!(r#"data: {{"id":"chatcmpl-{id}","object":"chat.completion.chunk""#);
        let tail = r#","created":0,"model":"auto","choices":[{"index":0,"delta":"#;
        for piece in [head.as_str(), tail, delta, r#","finish_reason":"#, finish, "}]}\n\n"] {
            events.push_str(piece);
        }
    };
    event(r#"{"role":"assistant","content":""}"#, "null");
    let mut rest = text;
    while !rest.is_empty() {
        // A cut inside a character is none: then the rest goes in one piece.
        let (piece, after) = rest.split_at_checked(200).unwrap_or((rest, ""));
        event(&format!(r#"{{"content":{}}}"#, quoted(piece)), "null");
        rest = after;
    }
    event("{}", r#""stop""#);
    events.push_str("data: [DONE]\n\n");
    events
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
