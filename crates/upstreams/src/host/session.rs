//! One attached host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use dialects::mcp_sampling::{self, HostFault, SamplingReply};
use gateway::{Lane, Slots, UpstreamStatus};
use mcp::{HostInfo, Peer, Reply, ReplyError};
use model::{Failure, FailureKind, ModelName};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::HostSettings;
use super::consent::{Consent, Epoch, State};

/// Model names that are remembered per host.
const MAX_MODELS: usize = 64;

/// The connection to one host, its consent and its slots.
#[derive(Debug)]
pub struct HostSession {
    name: Arc<str>,
    /// Replaced when the same host shakes hands again.
    info: ArcSwap<HostInfo>,
    peer: Peer,
    settings: Arc<HostSettings>,
    slots: Slots,
    consent: Consent,
    /// Set at `notifications/initialized`: requests to the host may begin.
    handshake_done: AtomicBool,
    /// The host declared sampling, but does not know the method.
    lacks_sampling: AtomicBool,
    /// The host failed on `modelPreferences`.
    fails_on_hints: AtomicBool,
    models: Mutex<Vec<ModelName>>,
    tasks: TaskTracker,
    cancellations: TaskTracker,
    runtime: tokio::runtime::Handle,
}

impl HostSession {
    pub(super) fn new(
        peer: Peer,
        info: HostInfo,
        settings: Arc<HostSettings>,
        tasks: TaskTracker,
        cancellations: TaskTracker,
    ) -> Arc<Self> {
        let name: Arc<str> = display_name(&info).into();
        Arc::new(Self {
            slots: Slots::new(format!("host:{name}"), settings.concurrency, settings.queue),
            name,
            info: ArcSwap::from_pointee(info),
            peer,
            settings,
            consent: Consent::new(),
            handshake_done: AtomicBool::new(false),
            lacks_sampling: AtomicBool::new(false),
            fails_on_hints: AtomicBool::new(false),
            models: Mutex::default(),
            tasks,
            cancellations,
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// The host's name for logs and messages: self-reported, shortened, without control characters.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn info(&self) -> Arc<HostInfo> {
        self.info.load_full()
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) fn settings(&self) -> &HostSettings {
        &self.settings
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(super) fn consent(&self) -> &Consent {
        &self.consent
    }

    pub(super) fn is_gone(&self) -> bool {
        self.peer.is_closed()
    }

    /// Calls at the host and before it.
    pub(super) fn load(&self) -> usize {
        self.slots.in_flight() + self.slots.waiting()
    }

    pub(super) fn fails_on_hints(&self) -> bool {
        self.fails_on_hints.load(Ordering::Relaxed)
    }

    pub(super) fn remember_failing_hints(&self) {
        self.fails_on_hints.store(true, Ordering::Relaxed);
    }

    pub(super) fn models(&self) -> Vec<ModelName> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn remember_model(&self, model: &ModelName) {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if !model.as_str().is_empty() && models.len() < MAX_MODELS && !models.contains(model) {
            models.push(model.clone());
        }
    }

    /// Whoever ends the bridge waits until this is dropped: when the host has been told to cancel a
    /// task, or need not be.
    pub(super) fn cancellation(&self) -> TaskTrackerToken {
        self.cancellations.token()
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // On the kept handle, because this is also called while values are dropped.
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Runs what takes long without waiting, off the async threads.
    pub(super) async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.tasks.spawn_blocking_on(work, &self.runtime).await.map_err(|error| {
            Failure::new(FailureKind::Internal, "The bridge failed while it checked an answer.")
                .with_source(error)
        })
    }

    /// The same host begins its handshake again. Consent and slots stay: a refusal is not lifted
    /// by it, and what runs at the host still runs.
    pub(super) fn renew(&self, info: HostInfo) {
        self.handshake_done.store(false, Ordering::Release);
        self.info.store(Arc::new(info));
    }

    /// The handshake is over: warm up, if that is wanted.
    pub(super) fn handshake_done(self: &Arc<Self>) {
        // First the warm-up, then the word that the handshake is over: in between the host would
        // look ready.
        if self.info().sampling {
            self.warm_up();
        }
        self.handshake_done.store(true, Ordering::Release);
    }

    /// A person asked for another try after a refusal; whether there was one.
    pub(super) fn ask_again(self: &Arc<Self>) -> bool {
        let lifted = self.consent.ask_again();
        self.lacks_sampling.store(false, Ordering::Relaxed);
        if lifted {
            self.warm_up();
        }
        lifted
    }

    fn state(&self) -> (&'static str, Option<Failure>) {
        let name = &self.name;
        let not_ready = |message: String| Some(Failure::new(FailureKind::NotReady, message));
        if self.is_gone() {
            return ("gone", not_ready(format!("The MCP host {name} has gone.")));
        }
        if !self.info().sampling || self.lacks_sampling.load(Ordering::Relaxed) {
            let message = format!(
                "The MCP host {name} does not offer sampling. Hosts that do: VS Code with \
                 Copilot, Copilot CLI (interactive), fast-agent, goose, FastMCP clients."
            );
            return ("no_sampling", not_ready(message));
        }
        if !self.handshake_done.load(Ordering::Acquire) {
            let message = format!("The MCP host {name} has not finished its handshake yet.");
            return ("handshake", not_ready(message));
        }
        match self.consent.state() {
            State::WarmingUp => {
                let message = format!("Waiting for consent: look for a dialog in {name}.");
                ("awaiting_consent", not_ready(message))
            }
            State::Refused => {
                let message = format!(
                    "The person at {name} refused sampling. Nobody is asked again until a person \
                     acts: call the tool bridge_status with {{\"ask_again\": true}} in {name}, or \
                     restart the mcptb server there."
                );
                ("refused", Some(Failure::new(FailureKind::Refused, message)))
            }
            State::Unknown => ("consent_unknown", None),
            State::Granted => ("ready", None),
        }
    }

    /// Whether a call would be worked on or may wait now.
    pub(super) fn room(&self, lane: &Lane, priority: u8) -> Result<(), Failure> {
        self.slots.room(lane, priority, self.consent.is_being_decided())
    }

    /// Whether calls can be taken, or what is missing.
    pub(super) fn usable(&self) -> Result<(), Failure> {
        match self.state().1 {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    pub(super) fn status(&self) -> UpstreamStatus {
        let (state, failure) = self.state();
        UpstreamStatus {
            name: self.name.to_string(),
            ready: failure.is_none(),
            state,
            reason: failure.map_or_else(
                || match state {
                    "ready" => "The host has answered.".to_owned(),
                    _ => "The host has not answered yet; the first call may open a dialog."
                        .to_owned(),
                },
                |failure| failure.message,
            ),
            in_flight: self.slots.in_flight(),
            concurrency: self.slots.concurrency(),
            waiting: self.slots.waiting(),
        }
    }

    /// Notes what a fault says about the host itself.
    pub(super) fn note_fault(&self, fault: HostFault, epoch: Epoch) {
        match fault {
            HostFault::Refused => self.consent.refuse(epoch),
            // A host that has answered does sample, whatever it says of one request.
            HostFault::NoSampling if self.consent.is_open() => {
                self.lacks_sampling.store(true, Ordering::Relaxed);
            }
            HostFault::NoSampling
            | HostFault::Declined
            | HostFault::ModelPreferences
            | HostFault::RateLimited
            | HostFault::UnknownModel
            | HostFault::ContextTooLong
            | HostFault::InvalidParams
            | HostFault::Other => {}
        }
    }

    /// Notes what an answer that nobody waits for says about consent.
    ///
    /// Nobody waits for it because we have asked the host to stop, so a "cancelled" may be a
    /// person's no or just the host's word that it has stopped. Only an error that a person's no
    /// is known by counts, never one of a task, which we have cancelled by name.
    pub(super) fn note_late(&self, reply: &Reply, epoch: Epoch, as_task: bool) {
        match reply {
            Ok(result) => {
                if let Ok(SamplingReply::Completion(completion)) = mcp_sampling::read_result(result)
                {
                    self.consent.grant(epoch);
                    self.remember_model(&completion.model);
                }
            }
            Err(ReplyError::Host { code, message }) if !as_task => {
                let (fault, _) = mcp_sampling::read_error(*code, message);
                let stopped = message.to_ascii_lowercase().contains("cancel");
                if self.consent.is_open() && !(fault == HostFault::Refused && stopped) {
                    self.note_fault(fault, epoch);
                }
            }
            Err(ReplyError::TooLarge) => self.consent.grant(epoch),
            Err(ReplyError::Host { .. } | ReplyError::Malformed | ReplyError::Closed) => {}
        }
    }
}

fn display_name(info: &HostInfo) -> String {
    let name: String = info.name.chars().filter(|char| !char.is_control()).take(60).collect();
    if name.trim().is_empty() { "unnamed host".to_owned() } else { name }
}
