//! MCP hosts: attach, consent, sampling.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dialects::mcp_sampling::Priorities;
use dialects::prompted_tools::NonceSecret;
use gateway::{BoxFuture, Caller, EventSink, Order, Upstream, UpstreamStatus};
use mcp::{HostInfo, Peer};
use model::{Failure, FailureKind, ModelName};
use tokio_util::task::TaskTracker;

mod asked;
mod consent;
mod sampling;
mod service;
mod session;
mod shaped;
mod warm_up;

pub use service::{BridgeView, HostService};
pub use session::HostSession;

/// The secret of nonces, which may become known only when the store is open. Clones share it.
pub type LiveNonce = Arc<ArcSwap<NonceSecret>>;

/// How hosts are treated.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Samplings at once per host.
    pub concurrency: usize,
    /// Calls that may wait per host.
    pub queue: usize,
    /// Longest wait for the answer to the warm-up: a person may have to find the dialog.
    pub warm_up_wait: Duration,
    /// Upper bound of any wait.
    pub max_wait: Duration,
    /// How long a cancelled sampling keeps its slot if the host says nothing.
    pub slot_return: Duration,
    /// Warm-up samplings that may be tried; 0 turns warm-up off.
    pub warm_up_tries: u32,
    /// `maxTokens` where the caller names none.
    pub default_max_tokens: u64,
    /// Upper bound of `maxTokens`.
    pub max_tokens_cap: Option<u64>,
    /// Whether the caller's model is passed on as a hint.
    pub hints: HintPolicy,
    /// Priorities in `modelPreferences`.
    pub priorities: Priorities,
    /// What becomes of tools where the host has none in sampling.
    pub tools: ToolPolicy,
    /// Makes the marks of prompted tools unguessable; the same for the life of an install.
    pub nonce: LiveNonce,
    /// Whether sampling runs as a task where the host offers it.
    pub tasks: bool,
}

/// What becomes of tools where the host has none in sampling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolPolicy {
    /// They are described in the prompt, and calls are read from the answer's text.
    #[default]
    Prompted,
    /// The call is refused.
    Reject,
}

/// Whether the caller's model name is passed on as a hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HintPolicy {
    /// Until the host fails on it.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// The hosts that are attached.
#[derive(Debug)]
pub struct HostPool {
    sessions: ArcSwap<Vec<Arc<HostSession>>>,
    settings: Arc<HostSettings>,
    tasks: TaskTracker,
    /// Of every task that a host has to be told to cancel.
    cancellations: TaskTracker,
}

impl HostPool {
    /// An empty pool. Watchers of cancelled samplings are spawned on `tasks`.
    pub fn new(settings: HostSettings, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            sessions: ArcSwap::default(),
            settings: Arc::new(settings),
            tasks,
            cancellations: TaskTracker::new(),
        })
    }

    /// Adds a host that has said who it is. Must be called inside a Tokio runtime.
    pub fn attach(&self, peer: &Peer, info: HostInfo) -> Arc<HostSession> {
        let session = HostSession::new(
            peer.clone(),
            info,
            Arc::clone(&self.settings),
            self.tasks.clone(),
            self.cancellations.clone(),
        );
        self.sessions.rcu(|sessions| {
            let mut sessions: Vec<_> =
                sessions.iter().filter(|session| !session.is_gone()).cloned().collect();
            sessions.push(Arc::clone(&session));
            sessions
        });
        session
    }

    /// Waits until hosts have been told to cancel the tasks of all calls that have ended. A host may
    /// have to name them first.
    pub async fn tasks_cancelled(&self) {
        self.cancellations.close();
        self.cancellations.wait().await;
    }

    /// The least loaded host that takes calls, or why there is none.
    fn choose(&self) -> Result<Arc<HostSession>, Failure> {
        let sessions = self.sessions.load();
        let mut best: Option<&Arc<HostSession>> = None;
        let mut reason = None;
        for session in sessions.iter() {
            match session.usable() {
                Ok(()) if best.is_none_or(|best| session.load() < best.load()) => {
                    best = Some(session);
                }
                Ok(()) => {}
                Err(failure) => reason = Some(failure),
            }
        }
        match (best, reason) {
            (Some(best), _) => Ok(Arc::clone(best)),
            (None, Some(reason)) => Err(reason),
            (None, None) => Err(Failure::new(
                FailureKind::NotReady,
                "No MCP host is attached: start the mcptb server in your editor or MCP client.",
            )),
        }
    }
}

impl Upstream for HostPool {
    fn ready(&self) -> Result<(), Failure> {
        self.choose().map(drop)
    }

    fn room(&self, caller: &Caller) -> Result<(), Failure> {
        self.choose()?.room(&caller.lane(), caller.priority())
    }

    fn statuses(&self) -> Vec<UpstreamStatus> {
        self.sessions.load().iter().map(|session| session.status()).collect()
    }

    fn models(&self) -> Vec<ModelName> {
        let mut models = Vec::new();
        for session in self.sessions.load().iter() {
            for model in session.models() {
                if !models.contains(&model) {
                    models.push(model);
                }
            }
        }
        models
    }

    fn complete<'a>(
        &'a self,
        order: &'a Order,
        sink: &'a mut EventSink,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let session = self.choose()?;
            session.complete(order, sink).await
        })
    }
}
