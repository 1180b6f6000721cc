//! The MCP methods that a sampling bridge serves.
//!
//! The bridge presents itself as a server of the `initialize` era (2024-11-05 to 2025-11-25),
//! because only there may a server ask for sampling at any time. `server/discover`, the probe of
//! 2026-07-28, is answered with `-32601`: every dual-era host then falls back to `initialize`.
//! Any other error code of the new era would pin the host to it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::connection::Handler;
use crate::envelope;
use crate::peer::{Peer, Request};

mod host;
mod tool;

pub use host::{HostInfo, ProtocolVersion};
pub use tool::{ProgressToken, ToolCall, ToolReply};

/// What stands behind the MCP methods. Called on the connection's task: must not block.
pub trait Service: Send + Sync + 'static {
    /// A host has said who it is; it has not finished its handshake.
    fn attached(&self, peer: &Peer, host: HostInfo);
    /// The host has finished its handshake: requests to it may begin.
    fn ready(&self, peer: &Peer);
    /// The JSON array of the tools that are offered.
    fn tools(&self) -> String;
    /// A tool is called. Long work must be spawned.
    fn call_tool(&self, peer: &Peer, call: ToolCall);
}

/// Serves one connection. Make a new one for each.
#[derive(Debug)]
pub struct Server<S> {
    service: S,
    name: &'static str,
    version: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    initialized: bool,
    ready: bool,
    /// Calls that run, by the raw JSON of their request id.
    running: HashMap<String, CancellationToken>,
}

impl<S: Service> Server<S> {
    /// A server with this name and version in `serverInfo`.
    pub fn new(service: S, name: &'static str, version: &'static str) -> Self {
        Self { service, name, version, state: Mutex::default() }
    }

    /// What stands behind the methods.
    pub fn service(&self) -> &S {
        &self.service
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn initialize(&self, peer: &Peer, request: Request) {
        let host = HostInfo::read(request.params.as_deref());
        let version = host.protocol;
        let (name, own_version) = (self.name, self.version);
        request.reply(|out| {
            out.extend_from_slice(b"{\"protocolVersion\":");
            envelope::push_string(out, version.as_str());
            out.extend_from_slice(b",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":");
            envelope::push_string(out, name);
            out.extend_from_slice(b",\"version\":");
            envelope::push_string(out, own_version);
            out.extend_from_slice(b"}}");
        });
        {
            let mut state = self.lock();
            state.initialized = true;
            state.ready = false;
        }
        self.service.attached(peer, host);
    }

    fn call_tool(&self, peer: &Peer, request: Request) {
        if !self.lock().initialized {
            request.fail(envelope::INVALID_REQUEST, "send initialize first");
            return;
        }
        let cancelled = CancellationToken::new();
        let raw_id = request.raw_id().to_owned();
        match ToolCall::read(request, cancelled.clone()) {
            Ok(call) => {
                {
                    let mut state = self.lock();
                    state.running.retain(|_, token| !token.is_cancelled());
                    state.running.insert(raw_id, cancelled);
                }
                self.service.call_tool(peer, call);
            }
            Err(request) => request.fail(envelope::INVALID_PARAMS, "the call names no tool"),
        }
    }

    fn cancelled(&self, params: Option<&Bytes>) {
        #[derive(serde::Deserialize)]
        struct Cancelled<'a> {
            #[serde(borrow, rename = "requestId")]
            request_id: &'a serde_json::value::RawValue,
        }
        let Some(params) = params else { return };
        if let Ok(cancelled) = serde_json::from_slice::<Cancelled<'_>>(params)
            && let Some(token) = self.lock().running.remove(cancelled.request_id.get())
        {
            token.cancel();
        }
    }
}

impl<S: Service> Handler for Server<S> {
    fn request(&self, peer: &Peer, request: Request) {
        match request.method.as_str() {
            "initialize" => self.initialize(peer, request),
            "ping" | "logging/setLevel" => request.reply(|out| out.extend_from_slice(b"{}")),
            "tools/list" => {
                let tools = self.service.tools();
                request.reply(|out| {
                    out.extend_from_slice(b"{\"tools\":");
                    out.extend_from_slice(tools.as_bytes());
                    out.push(b'}');
                });
            }
            "tools/call" => self.call_tool(peer, request),
            "server/discover" => request.fail(
                envelope::METHOD_NOT_FOUND,
                "Method not found: this server speaks MCP 2024-11-05 to 2025-11-25; use initialize",
            ),
            _ => request.fail(envelope::METHOD_NOT_FOUND, "Method not found"),
        }
    }

    fn notification(&self, peer: &Peer, method: &str, params: Option<Bytes>) {
        match method {
            "notifications/initialized" => {
                let first = {
                    let mut state = self.lock();
                    let first = state.initialized && !state.ready;
                    state.ready |= first;
                    first
                };
                if first {
                    self.service.ready(peer);
                }
            }
            "notifications/cancelled" => self.cancelled(params.as_ref()),
            // Progress of a sampling says nothing that a caller could use; the rest is not ours.
            _ => {}
        }
    }
}
