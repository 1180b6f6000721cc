//! The ports: what the gateway needs of the rest of the house.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{
    CallId, CompletionEvent, CompletionRequest, Dialect, Failure, LossSet, ModelName, StopReason,
    Usage,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::admission::Bill;
use crate::takeover::Keeper;
use crate::transcript::Transcript;
use crate::{Caller, ChoiceEvents};

/// A boxed future, so that ports can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who answers.
pub trait Upstream: fmt::Debug + Send + Sync + 'static {
    /// Whether a call can be taken now; the failure says what is missing. Cheap.
    fn ready(&self) -> Result<(), Failure>;

    /// Whether a call of this caller would be worked on or may wait now; the failure says who has no
    /// room. Takes nothing.
    fn room(&self, _: &Caller) -> Result<(), Failure> {
        Ok(())
    }

    /// The state of each host or provider behind it.
    fn statuses(&self) -> Vec<UpstreamStatus>;

    /// The models that have answered so far.
    fn models(&self) -> Vec<ModelName>;

    /// Answers an order with the events of one reply, ending with `Finished`.
    ///
    /// Dropping the future cancels the work. The caller enforces the deadline as well; an upstream
    /// that waits in a queue ends by itself at `order.deadline` to say so.
    fn complete<'a>(
        &'a self,
        order: &'a Order,
        sink: &'a mut EventSink,
    ) -> BoxFuture<'a, Result<(), Failure>>;
}

/// The state of a host or provider, for `/readyz` and `bridge_status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Whether it takes calls.
    pub ready: bool,
    /// A short stable word for its state.
    pub state: &'static str,
    /// One sentence for a person.
    pub reason: String,
    /// Calls that it works on.
    pub in_flight: usize,
    /// Calls that it may work on at once.
    pub concurrency: usize,
    /// Calls that wait for it.
    pub waiting: usize,
}

/// What an upstream is asked to do.
#[derive(Debug)]
pub struct Order {
    /// The call.
    pub id: CallId,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// The request.
    pub request: Box<CompletionRequest>,
    /// Our estimate of the tokens in the request.
    pub input_tokens: u64,
    /// When the call must have ended.
    pub deadline: Instant,
    /// What the call owes, where that is counted: a sampling that outlives its call says so here.
    pub bill: Option<Arc<Bill>>,
}

/// The door has gone: stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HungUp;

/// Takes the events of one reply and notes what the record needs.
#[derive(Debug)]
pub struct EventSink {
    pub(crate) choice: u8,
    pub(crate) early: Arc<AtomicU64>,
    pub(crate) sender: mpsc::Sender<Box<ChoiceEvents>>,
    pub(crate) seen: Seen,
    /// Keeps the events where another call may come for them.
    pub(crate) keeper: Option<Keeper>,
    /// Set once events found no door: the call did not reach its caller, whatever comes of it.
    pub(crate) hung_up: bool,
    /// Set once events found no door, but were kept.
    pub(crate) unheard: bool,
    /// Whether the end of the answer waits until it is on record.
    pub(crate) holds: bool,
    /// What waits.
    pub(crate) held: Option<ChoiceEvents>,
}

/// What the record needs of a reply.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) model: Option<ModelName>,
    pub(crate) losses: LossSet,
    pub(crate) usage: Usage,
    pub(crate) reason: Option<StopReason>,
    pub(crate) bytes_out: usize,
    pub(crate) first: Option<Instant>,
    /// Whether an upstream was asked.
    pub(crate) asked: bool,
    /// The reply text, collected only where the record wants bodies.
    pub(crate) text: Option<String>,
    /// The reply as it is recorded, where bodies are recorded.
    pub(crate) transcript: Option<Transcript>,
}

impl EventSink {
    /// Notes what the upstream cannot carry, as soon as it is known: a stream whose head leaves
    /// before the answer names it there.
    pub fn lost(&mut self, losses: LossSet) {
        self.seen.losses = self.seen.losses.union(losses);
        self.early.fetch_or(losses.bits(), Ordering::Relaxed);
    }

    /// Notes the tokens that are spent so far, and on which model, for the record of a call that fails
    /// later. The answer's own report of them replaces it.
    pub fn spent(&mut self, model: &ModelName, usage: Usage) {
        self.seen.model = Some(model.clone());
        self.seen.usage = usage;
    }

    /// Notes that an upstream is asked, so that the call counts, whatever comes of it.
    pub fn asked(&mut self) {
        self.seen.asked = true;
    }

    /// Notes who answers.
    pub fn answered_by(&mut self, upstream: Arc<str>) {
        self.seen.upstream = Some(upstream);
    }

    /// Sends events to the door. Waits while the door is behind. The end of the answer goes once
    /// the upstream is done with the order and the call is on record.
    pub async fn send(&mut self, events: Vec<CompletionEvent>) -> Result<(), HungUp> {
        self.seen.first.get_or_insert_with(Instant::now);
        for event in &events {
            self.seen.note(event);
        }
        let kept = self.keeper.as_ref().is_some_and(|keeper| keeper.keep(self.choice, &events));
        let ends = events.iter().any(|event| matches!(event, CompletionEvent::Finished { .. }));
        let batch = ChoiceEvents { choice: self.choice, events };
        let sent = if self.holds && (ends || self.held.is_some()) {
            let gone = self.sender.is_closed();
            match &mut self.held {
                Some(held) => held.events.extend(batch.events),
                None => self.held = Some(batch),
            }
            if gone { Err(()) } else { Ok(()) }
        } else {
            self.sender.send(Box::new(batch)).await.map_err(drop)
        };
        match sent {
            Ok(()) => Ok(()),
            Err(()) if kept => {
                self.unheard = true;
                Ok(())
            }
            Err(()) => {
                self.hung_up = true;
                Err(HungUp)
            }
        }
    }
}

impl Seen {
    fn note(&mut self, event: &CompletionEvent) {
        if let Some(transcript) = &mut self.transcript {
            transcript.note(event);
        }
        match event {
            CompletionEvent::Started { model, losses } => {
                self.model = Some(model.clone());
                self.losses = self.losses.union(*losses);
            }
            CompletionEvent::BlockDelta { delta, .. } => {
                self.bytes_out += delta.len();
                if let Some(text) = &mut self.text {
                    text.push_str(delta);
                }
            }
            CompletionEvent::Usage(usage) => self.usage = *usage,
            CompletionEvent::Finished { reason, .. } => self.reason = Some(*reason),
            CompletionEvent::BlockStarted { .. } | CompletionEvent::BlockStopped { .. } => {}
        }
    }
}

/// The status that a hang-up has in records and lines, as in nginx.
pub const HUNG_UP: u16 = 499;

/// Where calls are recorded. Called on hot paths: must neither block nor fail.
pub trait CallLog: fmt::Debug + Send + Sync + 'static {
    /// Whether full bodies are wanted.
    fn wants_bodies(&self) -> bool;
    /// A call came in (RX).
    fn received(&self, received: &Received<'_>);
    /// A call ended (TX).
    fn finished(&self, finished: &Finished<'_>);
}

/// The RX half of a record.
#[derive(Debug)]
pub struct Received<'a> {
    /// The GUID.
    pub id: CallId,
    /// The wire format.
    pub dialect: Dialect,
    /// Who asks; `None` where the refusal came before that was known.
    pub caller: Option<&'a Caller>,
    /// The model asked for.
    pub model: &'a str,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// Messages in the conversation.
    pub messages: usize,
    /// Bytes of the request body.
    pub bytes: usize,
    /// Our estimate of the tokens in the request.
    pub input_tokens: u64,
    /// The request body, where bodies are wanted.
    pub body: Option<&'a [u8]>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Answered.
    Answered,
    /// Failed, with the status that the caller's dialect gives it.
    Failed(&'a Failure, u16),
    /// The caller hung up.
    HungUp,
}

/// The TX half of a record.
#[derive(Debug)]
pub struct Finished<'a> {
    /// The GUID.
    pub id: CallId,
    /// The wire format.
    pub dialect: Dialect,
    /// The model asked for.
    pub model_asked: &'a str,
    /// The model that answered.
    pub model_served: Option<&'a str>,
    /// Who answered.
    pub upstream: Option<&'a str>,
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// The earlier call whose sampling answered this one: its tokens stand in that one's record.
    pub replay_of: Option<CallId>,
    /// Why the reply ended.
    pub stop_reason: Option<StopReason>,
    /// Tokens of all replies together.
    pub usage: Usage,
    /// What was lost.
    pub losses: LossSet,
    /// Bytes of reply text.
    pub bytes_out: usize,
    /// Time to the first event.
    pub first_byte: Option<Duration>,
    /// Time to the end.
    pub duration: Duration,
    /// The reply text, where bodies are wanted.
    pub text: Option<&'a str>,
}
