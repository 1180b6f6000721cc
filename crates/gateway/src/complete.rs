//! The one road of a call.

use std::hash::RandomState;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use model::{
    CallId, Completion, Dialect, Failure, FailureKind, Loss, LossSet, ModelName, StopReason, Usage,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ports::{EventSink, Finished, Order, Outcome, Received, Seen};
use crate::successor::succeed;
use crate::takeover::{Guarded, Keeper, ReplayGuard, same};
use crate::{BoxFuture, Call, CallLog, Caller, ChoiceEvents, Running, Upstream};

/// Batches of events that may wait for a door.
const BEHIND: usize = 8;

/// Bounds of every call.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// Whether a stream that breaks may be taken over by its repetition.
    pub replay_guard: bool,
}

/// Admits calls and runs them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    upstream: Arc<dyn Upstream>,
    log: Arc<dyn CallLog>,
    tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    replays: Option<Arc<ReplayGuard>>,
}

impl Gateway {
    /// A gateway before one upstream.
    ///
    /// Calls are spawned on `tasks`; cancelling `stop` fails the calls in flight and refuses new
    /// ones.
    pub fn new(
        upstream: Arc<dyn Upstream>,
        log: Arc<dyn CallLog>,
        limits: GatewayLimits,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let replays = limits.replay_guard.then(Arc::default);
        Self { shared: Arc::new(Shared { upstream, log, tasks, stop, replays }) }
    }

    /// Who answers.
    pub fn upstream(&self) -> &dyn Upstream {
        &*self.shared.upstream
    }

    /// Whether the record wants bodies, so that the door keeps them.
    pub fn wants_bodies(&self) -> bool {
        self.shared.log.wants_bodies()
    }

    /// What makes the digests of a [`ReplayKey`](crate::ReplayKey); `None` where no call is taken
    /// over.
    pub fn replay_hasher(&self) -> Option<&RandomState> {
        self.shared.replays.as_deref().map(ReplayGuard::hasher)
    }

    /// Whether calls can be answered now.
    pub fn ready(&self) -> Result<(), Failure> {
        if self.shared.stop.is_cancelled() {
            return Err(stopping());
        }
        self.shared.upstream.ready()
    }

    /// Admits a call and starts it.
    pub fn complete(&self, call: Call) -> Result<Running, Failure> {
        let received = Instant::now();
        let shared = &self.shared;
        shared.log.received(&Received {
            id: call.id,
            dialect: call.dialect,
            caller: Some(&call.caller),
            model: call.request.model.as_str(),
            stream: call.stream,
            messages: call.request.messages.len(),
            bytes: call.bytes_in,
            input_tokens: call.input_tokens,
            body: call.body.as_deref(),
        });
        let stopping = shared.stop.is_cancelled();
        let replays = shared.replays.as_ref().filter(|_| !stopping);
        if let Some(claim) = replays.and_then(|replays| replays.claim(&call)) {
            let (door, running) = Door::open(&call, None);
            shared.tasks.spawn(succeed(Arc::clone(shared), call, claim, door, received));
            return Ok(running);
        }
        if let Err(failure) = self.ready() {
            let status = (call.status_of)(&failure);
            let end = End::new(received, call.request.losses, Vec::new());
            end.write(shared, &call, Outcome::Failed(&failure, status));
            return Err(failure);
        }
        let guarded = replays.and_then(|replays| replays.watch(&call)).map(Box::new);
        let (door, running) = Door::open(&call, guarded.as_deref());
        shared.tasks.spawn(run(Arc::clone(shared), call, door, guarded, received));
        Ok(running)
    }

    /// Resolves when the bridge begins to end.
    pub async fn stopping(&self) -> Failure {
        self.shared.stop.cancelled().await;
        stopping()
    }

    /// Records a call whose caller hung up before it could be read.
    pub fn abandoned(&self, id: CallId, dialect: Dialect, caller: &Caller, duration: Duration) {
        self.record_unread(id, dialect, Some(caller), 0, Outcome::HungUp, duration);
    }

    /// Records a call that was refused at the door.
    pub fn refused(&self, refusal: &Refusal<'_>) {
        let outcome = Outcome::Failed(refusal.failure, refusal.status);
        let Refusal { id, dialect, caller, bytes_in, duration, .. } = *refusal;
        self.record_unread(id, dialect, caller, bytes_in, outcome, duration);
    }

    /// Both halves of the record of a call that was never read.
    fn record_unread(
        &self,
        id: CallId,
        dialect: Dialect,
        caller: Option<&Caller>,
        bytes: usize,
        outcome: Outcome<'_>,
        duration: Duration,
    ) {
        let log = &self.shared.log;
        log.received(&Received {
            id,
            dialect,
            caller,
            model: "",
            stream: false,
            messages: 0,
            bytes,
            input_tokens: 0,
            body: None,
        });
        log.finished(&Finished {
            id,
            dialect,
            model_asked: "",
            model_served: None,
            upstream: None,
            outcome,
            replay_of: None,
            stop_reason: None,
            usage: Usage::default(),
            losses: LossSet::EMPTY,
            bytes_out: 0,
            first_byte: None,
            duration,
            text: None,
        });
    }
}

/// A call that was refused before it could be read.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Its GUID.
    pub id: CallId,
    /// The wire format of the answer.
    pub dialect: Dialect,
    /// Who asked, if that is known.
    pub caller: Option<&'a Caller>,
    /// Bytes of the body that were read.
    pub bytes_in: usize,
    /// Why.
    pub failure: &'a Failure,
    /// The status of the answer.
    pub status: u16,
    /// How long it took.
    pub duration: Duration,
}

pub(crate) fn stopping() -> Failure {
    Failure::new(FailureKind::NotReady, "The bridge is shutting down.")
}

/// The failure of a call whose deadline has passed.
pub(crate) fn late(deadline: Duration) -> Failure {
    Failure::new(
        FailureKind::UpstreamTimeout,
        format!(
            "The host did not answer within {} s. If it has never answered yet, it may be waiting \
             for a click: look for a dialog in your editor.",
            deadline.as_secs()
        ),
    )
}

/// How many replies a call has.
pub(crate) fn choices(call: &Call) -> u8 {
    call.request.params.choices.unwrap_or(1).max(1)
}

/// What the record says of the whole call.
#[derive(Debug)]
pub(crate) struct End {
    seen: Vec<Seen>,
    losses: LossSet,
    received: Instant,
    /// The earlier call whose sampling was taken over.
    pub(crate) replay_of: Option<CallId>,
}

impl End {
    pub(crate) fn new(received: Instant, losses: LossSet, sinks: Vec<EventSink>) -> Self {
        let seen = sinks.into_iter().map(|sink| sink.seen).collect();
        Self { seen, losses, received, replay_of: None }
    }

    /// Writes the record by how the call ended (`None` stands for a door that has gone), and tells
    /// the door of a failure.
    pub(crate) fn write_outcome(
        &self,
        shared: &Shared,
        call: &Call,
        ended: Result<(), Option<Failure>>,
        failed: oneshot::Sender<Box<Failure>>,
    ) {
        match ended {
            Ok(()) => self.write(shared, call, Outcome::Answered),
            Err(None) => self.write(shared, call, Outcome::HungUp),
            Err(Some(failure)) => {
                let status = (call.status_of)(&failure);
                self.write(shared, call, Outcome::Failed(&failure, status));
                // A door that has gone does not mind.
                let _ = failed.send(Box::new(failure));
            }
        }
    }

    fn write(&self, shared: &Shared, call: &Call, outcome: Outcome<'_>) {
        let received = self.received;
        let mut usage = Usage::default();
        let mut losses = self.losses;
        let mut bytes_out = 0;
        let mut first: Option<Instant> = None;
        let mut reason: Option<StopReason> = None;
        let mut text: Option<String> = None;
        for seen in &self.seen {
            usage.input += seen.usage.input;
            usage.output += seen.usage.output;
            usage.cached_input += seen.usage.cached_input;
            usage.cache_write += seen.usage.cache_write;
            usage.reasoning += seen.usage.reasoning;
            usage.estimated |= seen.usage.estimated;
            losses = losses.union(seen.losses);
            bytes_out += seen.bytes_out;
            first = match (first, seen.first) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            reason = reason.or(seen.reason);
            if let Some(more) = &seen.text {
                text.get_or_insert_default().push_str(more);
            }
        }
        if self.replay_of.is_some() {
            // They were spent by the other call, whose record has them.
            usage = Usage { estimated: usage.estimated, ..Usage::default() };
        }
        let model = self.seen.iter().find_map(|seen| seen.model.as_ref());
        let upstream = self.seen.iter().find_map(|seen| seen.upstream.as_deref());
        shared.log.finished(&Finished {
            id: call.id,
            dialect: call.dialect,
            model_asked: call.request.model.as_str(),
            model_served: model.map(model::ModelName::as_str),
            upstream,
            outcome,
            replay_of: self.replay_of,
            stop_reason: reason,
            usage,
            losses,
            bytes_out,
            first_byte: first.map(|first| first - received),
            duration: received.elapsed(),
            text: text.as_deref(),
        });
    }
}

/// The ways to the door.
pub(crate) struct Door {
    pub(crate) sender: mpsc::Sender<Box<ChoiceEvents>>,
    pub(crate) failed: oneshot::Sender<Box<Failure>>,
    /// What is lost, for a head that leaves before the answer.
    early: Arc<AtomicU64>,
}

impl Door {
    /// Both ends of the ways between a call and its door.
    fn open(call: &Call, guarded: Option<&Guarded>) -> (Self, Running) {
        let (sender, events) = mpsc::channel(BEHIND);
        let losses = Arc::new(AtomicU64::new(call.request.losses.bits()));
        let (failed, failure) = oneshot::channel();
        let door = Self { sender, failed, early: Arc::clone(&losses) };
        let mark = guarded.map(Guarded::mark);
        (door, Running { losses, events, failure, mark })
    }

    /// A sink for each reply. They outlive the answer, so that the record of a call that was cut
    /// short says what it had.
    pub(crate) fn sinks(
        &self,
        choices: u8,
        keeper: Option<&Keeper>,
        shared: &Shared,
    ) -> Vec<EventSink> {
        let wants_text = shared.log.wants_bodies();
        let sink = |choice| EventSink {
            choice,
            early: Arc::clone(&self.early),
            sender: self.sender.clone(),
            seen: Seen { text: wants_text.then(String::new), ..Seen::default() },
            keeper: keeper.cloned(),
            hung_up: false,
            unheard: false,
        };
        (0..choices).map(sink).collect()
    }
}

/// Runs a call to its end. The only place that writes the end of its record.
async fn run(
    shared: Arc<Shared>,
    mut call: Call,
    door: Door,
    // Boxed, so that other calls do not carry room for it.
    guarded: Option<Box<Guarded>>,
    received: Instant,
) {
    let deadline = received + call.deadline;
    let keeper = guarded.as_deref().map(Guarded::keeper);
    let mut sinks = door.sinks(choices(&call), keeper.as_ref(), &shared);
    let order = Order {
        id: call.id,
        caller: Arc::clone(&call.caller),
        request: std::mem::take(&mut call.request),
        input_tokens: call.input_tokens,
        deadline,
    };
    let mut ended = tokio::select! {
        biased;
        ended = answer(&*shared.upstream, &order, &mut sinks) => ended,
        () = nobody_waits(&door.sender, guarded.as_deref()) => Err(None),
        () = tokio::time::sleep_until(deadline) => Err(Some(late(call.deadline))),
        () = shared.stop.cancelled() => Err(Some(stopping())),
    };
    // For whoever has come in the place of the door, or will.
    let handover: Option<BoxFuture<'_, ()>> = match (guarded, &ended) {
        (Some(guarded), Ok(())) => Some(Box::pin(guarded.answered(&shared.stop))),
        (Some(guarded), Err(Some(failure))) => {
            guarded.failed(same(failure));
            None
        }
        _ => None,
    };
    if ended.is_ok() && sinks.iter().any(|sink| sink.unheard) {
        ended = Err(None);
    }
    let end = End::new(received, order.request.losses, sinks);
    call.request = order.request;
    end.write_outcome(&shared, &call, ended, door.failed);
    drop((end, call, door.sender));
    if let Some(handover) = handover {
        handover.await;
    }
}

/// Resolves when neither the door nor anybody in its place wants the answer.
async fn nobody_waits(sender: &mpsc::Sender<Box<ChoiceEvents>>, guarded: Option<&Guarded>) {
    sender.closed().await;
    if let Some(guarded) = guarded {
        Box::pin(guarded.abandoned()).await;
    }
}

/// Lets the upstream answer all choices at once; the first failure ends the call, and `None`
/// stands for a door that has gone.
async fn answer(
    upstream: &dyn Upstream,
    order: &Order,
    sinks: &mut [EventSink],
) -> Result<(), Option<Failure>> {
    if let [only] = sinks {
        return answer_one(upstream, order, only).await;
    }
    let mut running: FuturesUnordered<_> =
        sinks.iter_mut().map(|sink| answer_one(upstream, order, sink)).collect();
    while let Some(outcome) = running.next().await {
        outcome?;
    }
    Ok(())
}

async fn answer_one(
    upstream: &dyn Upstream,
    order: &Order,
    sink: &mut EventSink,
) -> Result<(), Option<Failure>> {
    let answering = async {
        if order.request.params.max_tokens == Some(0) {
            answer_nothing(sink).await
        } else {
            upstream.complete(order, sink).await
        }
    };
    let outcome = AssertUnwindSafe(answering).catch_unwind().await;
    match outcome {
        _ if sink.hung_up => Err(None),
        Ok(Ok(())) if sink.seen.reason.is_none() => Err(Some(Failure::new(
            FailureKind::UpstreamFailed,
            "The answer broke off before its end.",
        ))),
        Ok(outcome) => outcome.map_err(Some),
        Err(_) => Err(Some(Failure::new(
            FailureKind::Internal,
            "The bridge failed while it answered this call.",
        ))),
    }
}

/// Answers a call that asks for no token. Callers do so to warm a cache, and there is none here: a
/// sampling would cost, and perhaps ask a person, for nothing.
async fn answer_nothing(sink: &mut EventSink) -> Result<(), Failure> {
    let empty = Completion {
        model: ModelName::default(),
        content: Vec::new(),
        reason: StopReason::MaxTokens,
        stop_sequence: None,
        // No model has read or written anything.
        usage: Usage::default(),
        losses: [Loss::UsageEstimated, Loss::NoTokens].into_iter().collect(),
    };
    // A door that has gone is noticed by the caller.
    let _ = sink.send(empty.into_events()).await;
    Ok(())
}
