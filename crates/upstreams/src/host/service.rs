//! The bridge as an MCP server: what a host attaches to, and the two tools it is offered.
//!
//! A server without tools could not be started from a chat in VS Code, so there are two: the
//! prototype's `hook`, which owns no state and need not be called, and `bridge_status`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gateway::Upstream;
use mcp::{HostInfo, Peer, Service, ToolCall};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{HostPool, HostSession};

/// How often `hook` reports progress: Copilot CLI ends a silent call after 180 s.
const PROGRESS: Duration = Duration::from_secs(5);
/// How long `hook` stays without a progress token: shorter than any known host's patience.
const SILENT: Duration = Duration::from_secs(25);

/// What `bridge_status` tells of the rest of the process.
pub trait BridgeView: fmt::Debug + Send + Sync + 'static {
    /// The base URL of the HTTP side, once it is bound.
    fn url(&self) -> Option<String>;
    /// Why there is no URL, or what else is wrong, in one sentence.
    fn problem(&self) -> Option<String>;
    /// Log lines that were dropped because nobody read stderr.
    fn dropped_lines(&self) -> u64;
}

/// Serves one host connection.
#[derive(Debug)]
pub struct HostService {
    pool: Arc<HostPool>,
    view: Arc<dyn BridgeView>,
    tasks: TaskTracker,
    /// Cancelled at the first `initialize`: side effects may begin.
    attached: CancellationToken,
    session: Mutex<Option<Arc<HostSession>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusArguments {
    ask_again: bool,
}

impl HostService {
    /// A service whose host joins `pool`. `attached` is cancelled at the first `initialize`.
    pub fn new(
        pool: Arc<HostPool>,
        view: Arc<dyn BridgeView>,
        tasks: TaskTracker,
        attached: CancellationToken,
    ) -> Self {
        Self { pool, view, tasks, attached, session: Mutex::default() }
    }

    fn session(&self) -> Option<Arc<HostSession>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn status(&self, call: ToolCall) {
        let arguments = match call.arguments.as_deref().map(serde_json::from_slice) {
            None => StatusArguments::default(),
            Some(Ok(arguments)) => arguments,
            Some(Err(_)) => {
                call.reply.text("The argument ask_again is true or false.", true);
                return;
            }
        };
        let asked_again =
            arguments.ask_again && self.session().is_some_and(|session| session.ask_again());
        let hosts: Vec<_> = self
            .pool
            .statuses()
            .into_iter()
            .map(|host| {
                json!({
                    "name": host.name, "ready": host.ready, "state": host.state,
                    "reason": host.reason, "in_flight": host.in_flight,
                    "concurrency": host.concurrency, "waiting": host.waiting,
                })
            })
            .collect();
        let models: Vec<_> =
            self.pool.models().iter().map(|model| model.as_str().to_owned()).collect();
        let status = json!({
            "url": self.view.url(),
            "problem": self.view.problem(),
            "hosts": hosts,
            "models_seen": models,
            "dropped_log_lines": self.view.dropped_lines(),
            "asked_again": asked_again,
        });
        call.reply.text(&format!("{status:#}"), false);
    }

    fn hook(&self, peer: &Peer, call: ToolCall) {
        let peer = peer.clone();
        let patience = self.pool.settings.max_wait;
        let view = Arc::clone(&self.view);
        self.tasks.spawn(async move {
            let Some(progress) = call.progress else {
                tokio::select! {
                    () = call.cancelled.cancelled() => call.reply.withdraw(),
                    () = sleep(SILENT) => call.reply.text(HOOK_DONE, false),
                }
                return;
            };
            let end = Instant::now() + patience;
            let mut ticks = interval_at(Instant::now() + PROGRESS, PROGRESS);
            let mut count = 0;
            loop {
                tokio::select! {
                    () = call.cancelled.cancelled() => return call.reply.withdraw(),
                    () = tokio::time::sleep_until(end) => {
                        return call.reply.text(HOOK_DONE, false);
                    }
                    _ = ticks.tick() => {
                        if peer.is_closed() {
                            return call.reply.withdraw();
                        }
                        count += 1;
                        let message = view.url().map_or_else(
                            || "The bridge is starting.".to_owned(),
                            |url| format!("The bridge answers at {url}."),
                        );
                        progress.report(&peer, count, &message);
                    }
                }
            }
        });
    }
}

const HOOK_DONE: &str =
    "The bridge goes on without this call; no new call is needed. Use bridge_status to look at it.";

impl Service for HostService {
    fn attached(&self, peer: &Peer, host: HostInfo) {
        match &mut *self.session.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(session) => session.renew(host),
            empty => *empty = Some(self.pool.attach(peer, host)),
        }
        self.attached.cancel();
    }

    fn ready(&self, _: &Peer) {
        if let Some(session) = self.session() {
            session.handshake_done();
        }
    }

    fn tools(&self) -> String {
        json!([
            {
                "name": "hook",
                "title": "Keep the bridge in this chat (optional)",
                "description": "Optional. The bridge answers HTTP clients without this call. \
                    Stays open and reports progress for hosts that want sampling to happen \
                    during a tool call; it may end at any time and need not be called again.",
                "inputSchema": {"type": "object", "properties": {}},
            },
            {
                "name": "bridge_status",
                "title": "Status of the bridge",
                "description": "Tells the bridge's URL, its hosts, its queue and the models seen. \
                    With ask_again: true it asks for consent again after a refusal; only set it \
                    when the person in this chat asks for that.",
                "inputSchema": {
                    "type": "object",
                    "properties": {"ask_again": {
                        "type": "boolean",
                        "description": "Ask for consent to sampling again after a refusal.",
                    }},
                },
            },
        ])
        .to_string()
    }

    fn call_tool(&self, peer: &Peer, call: ToolCall) {
        match call.name.as_str() {
            "hook" => self.hook(peer, call),
            "bridge_status" => self.status(call),
            _ => call.reply.unknown_tool(),
        }
    }
}
