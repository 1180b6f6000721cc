//! A simulated MCP host: no model is behind it, and it says so.
//!
//! It speaks the client's half of MCP over the same connection code, and answers from what it was
//! asked with a little latency.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp::{Connection, Handler, Limits, Peer, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long it pretends to think.
const THINKING: Duration = Duration::from_millis(120);
/// The model name that makes it fail, to show an error.
pub(super) const NO_SUCH_MODEL: &str = "no-such-model";
const MODEL: &str = "simulated-host";

struct SimulatedHost {
    tasks: TaskTracker,
}

#[derive(Deserialize)]
struct Sampling {
    messages: Vec<Message>,
    #[serde(rename = "modelPreferences")]
    preferences: Option<Value>,
    #[serde(rename = "systemPrompt", default)]
    system: String,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Value,
}

/// Attaches to the bridge at the other end of the stream, and answers until `ended`.
pub(super) async fn run(stream: DuplexStream, tasks: TaskTracker, ended: CancellationToken) {
    let (source, sink) = tokio::io::split(stream);
    let connection = Connection::new(source, sink, Limits::default());
    let peer = connection.peer().clone();
    let host = Arc::new(SimulatedHost { tasks: tasks.clone() });
    tasks.spawn(shake_hands(peer));
    connection.run(&*host, ended).await;
}

async fn shake_hands(peer: Peer) {
    let mut initialize = peer.prepare("initialize");
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {"sampling": {}},
        "clientInfo": {"name": "simulated host (mcptb demo)", "version": "1"},
    });
    initialize.params().extend_from_slice(params.to_string().as_bytes());
    let Ok(reply) = peer.send(initialize).await else {
        return;
    };
    if reply.await.is_ok() {
        let _ = peer.notify("notifications/initialized", |out| {
            out.extend_from_slice(b"{}");
        });
    }
}

impl Handler for SimulatedHost {
    fn request(&self, _: &Peer, request: Request) {
        if request.method != "sampling/createMessage" {
            request.fail(-32601, "Method not found");
            return;
        }
        self.tasks.spawn(async move {
            sleep(THINKING).await;
            let asked = request.params.as_deref().map(serde_json::from_slice::<Sampling>);
            match asked {
                Some(Ok(asked)) => match answer(&asked) {
                    Ok(text) => {
                        let result = json!({
                            "role": "assistant", "model": MODEL, "stopReason": "endTurn",
                            "content": {"type": "text", "text": text},
                        });
                        request.reply(|out| out.extend_from_slice(result.to_string().as_bytes()));
                    }
                    Err(message) => request.fail(-32603, message),
                },
                _ => request.fail(-32602, "Invalid params"),
            }
        });
    }

    fn notification(&self, _: &Peer, _: &str, _: Option<Bytes>) {}
}

/// What a model would write that follows the words about tools in the prompt: this host has no
/// tools in sampling, like most.
fn tool_call(system: &str) -> Option<String> {
    let (_, rest) = system.split_once("<tool_calls_")?;
    let (nonce, _) = rest.split_once('>')?;
    let (_, rest) = system.split_once("\n### ")?;
    let (name, rest) = rest.split_once('\n')?;
    let (_, rest) = rest.split_once("\"required\":[\"")?;
    let (parameter, _) = rest.split_once('"')?;
    Some(format!(
        "I will look that up.\n\n<tool_calls_{nonce}>\n<call name=\"{name}\">\n<arg_{nonce} \
         name=\"{parameter}\">Zürich</arg_{nonce}>\n</call>\n</tool_calls_{nonce}>"
    ))
}

fn answer(asked: &Sampling) -> Result<String, &'static str> {
    let hint = asked
        .preferences
        .as_ref()
        .and_then(|preferences| preferences.pointer("/hints/0/name"))
        .and_then(Value::as_str);
    if hint == Some(NO_SUCH_MODEL) {
        return Err("model_not_supported: the simulated host has no such model");
    }
    if let Some(call) = tool_call(&asked.system) {
        return Ok(call);
    }
    let said = asked
        .messages
        .iter()
        .rev()
        .find(|message| message.role == "user")
        .and_then(|message| message.content.get("text"))
        .and_then(Value::as_str)
        .unwrap_or("nothing in words");
    let words = said.split_whitespace().count();
    Ok(format!(
        "You said \"{said}\" ({words} words, {} messages in this conversation). I am the simulated \
         host of the demo: no model is behind me, but every byte between us went through the real \
         bridge.",
        asked.messages.len()
    ))
}
