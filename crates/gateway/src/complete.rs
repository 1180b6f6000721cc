//! The one road of a call.

use std::hash::RandomState;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use model::{
    CallId, Completion, CompletionRequest, Dialect, Failure, FailureKind, Loss, ModelName,
    OutputFormat, StopReason, ToolChoice, Usage,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Ask, Bill, bound_output};
use crate::audit::{Audit, Unread};
use crate::call::Holder;
use crate::end::{End, unread};
use crate::keys::{Endpoint, KeyKind};
use crate::ports::{EventSink, Order, Outcome, Received, Seen, UpstreamStatus};
use crate::recorded::{Recorded, deliver};
use crate::successor::succeed;
use crate::takeover::{Guarded, Keeper, ReplayGuard, same};
use crate::transcript::Transcript;
use crate::turns::Turns;
use crate::{BoxFuture, Call, CallLog, Caller, ChoiceEvents, Running, Upstream};

/// Batches of events that may wait for a door.
const BEHIND: usize = 8;

/// Bounds of every call.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// Whether a stream that breaks may be taken over by its repetition.
    pub replay_guard: bool,
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct GatewayParts {
    /// Who answers.
    pub upstream: Arc<dyn Upstream>,
    /// Who answers holders of sandbox keys.
    pub sandbox: Option<Arc<dyn Upstream>>,
    /// The log lines.
    pub log: Arc<dyn CallLog>,
    /// The durable record, unless it is off.
    pub audit: Option<Arc<Audit>>,
    /// Limits and budgets, unless there are none.
    pub admission: Option<Arc<Admission>>,
    /// Bounds of every call.
    pub limits: GatewayLimits,
    /// Calls are spawned here.
    pub tasks: TaskTracker,
    /// Cancelling it fails the calls in flight and refuses new ones.
    pub stop: CancellationToken,
}

/// A way of admission.
type Admit = for<'a> fn(&Arc<Admission>, &Ask<'a>) -> Result<Arc<Bill>, Failure>;

/// Admits calls and runs them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) parts: GatewayParts,
    replays: Option<Arc<ReplayGuard>>,
    pub(crate) turns: Turns,
}

impl Gateway {
    /// A gateway of its parts.
    pub fn new(parts: GatewayParts) -> Self {
        let replays = parts.limits.replay_guard.then(Arc::default);
        Self { shared: Arc::new(Shared { parts, replays, turns: Turns::default() }) }
    }

    /// Who answers.
    pub fn upstream(&self) -> &dyn Upstream {
        &*self.shared.parts.upstream
    }

    /// Who answers a caller: holders of sandbox keys never reach a host.
    pub fn upstream_for(&self, caller: &Caller) -> &dyn Upstream {
        self.shared.upstream_of(caller)
    }

    /// Limits and budgets, if there are any.
    pub fn admission(&self) -> Option<&Arc<Admission>> {
        self.shared.parts.admission.as_ref()
    }

    /// The durable record, unless it is off.
    pub fn audit(&self) -> Option<&Arc<Audit>> {
        self.shared.parts.audit.as_ref()
    }

    /// Whether the record wants this caller's bodies, so that the door keeps them.
    pub fn wants_bodies(&self, caller: &Caller) -> bool {
        self.shared.parts.log.wants_bodies() || self.shared.records_bodies(caller)
    }

    /// What makes the digests of a [`ReplayKey`](crate::ReplayKey); `None` where no call is taken
    /// over.
    pub fn replay_hasher(&self) -> Option<&RandomState> {
        self.shared.replays.as_deref().map(ReplayGuard::hasher)
    }

    /// Whether calls can be answered now.
    pub fn ready(&self) -> Result<(), Failure> {
        self.open()?;
        if let Some(audit) = &self.shared.parts.audit {
            audit.ready()?;
        }
        self.shared.parts.upstream.ready()
    }

    /// Whether the bridge still takes calls.
    pub(crate) fn open(&self) -> Result<(), Failure> {
        if self.shared.parts.stop.is_cancelled() { Err(stopping()) } else { Ok(()) }
    }

    /// Whether this caller can be answered and recorded now.
    pub(crate) fn ready_for(&self, caller: &Caller) -> Result<(), Failure> {
        if let Some(audit) = &self.shared.parts.audit {
            audit.ready_for(caller)?;
        }
        self.shared.upstream_of(caller).ready()
    }

    /// Admits a call and starts it.
    pub fn complete(&self, mut call: Call) -> Result<Running, Failure> {
        let received = Instant::now();
        let Shared { parts, replays, .. } = &*self.shared;
        if let Some(key) = &call.caller.key {
            bound_output(key, &mut call.request);
        }
        parts.log.received(&Received {
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
        let replays = replays.as_ref().filter(|_| !parts.stop.is_cancelled());
        if let Some(replays) = replays.filter(|replays| replays.has(&call)) {
            // An answer that is paid for is not refused for what it would cost.
            let bill = match self.admit(&call, Admission::admit_successor) {
                Ok(bill) => bill,
                Err(failure) => return Err(self.turn_away(&call, received, failure)),
            };
            let recorded = Recorded::new(Arc::clone(&self.shared), bill, received);
            if let Some(claim) = replays.claim(&call) {
                let (door, running) = Door::open(&self.shared, &call, None);
                parts.tasks.spawn(succeed(recorded, Box::new(call), claim, door));
                return Ok(running);
            }
            // Somebody else was faster, so this call is like any other.
            recorded.give_back();
        }
        let bill = match self.admit(&call, Admission::admit) {
            Ok(bill) => bill,
            Err(failure) => return Err(self.turn_away(&call, received, failure)),
        };
        let recorded = Recorded::new(Arc::clone(&self.shared), bill, received);
        if let Err(failure) = self.ready_for(&call.caller) {
            recorded.give_back();
            return Err(self.turn_away(&call, received, failure));
        }
        let guarded = replays.and_then(|replays| replays.watch(&call)).map(Box::new);
        let (door, running) = Door::open(&self.shared, &call, guarded.as_deref());
        parts.tasks.spawn(run(recorded, Box::new(call), door, guarded));
        Ok(running)
    }

    /// Takes what the call needs of every limit.
    fn admit(&self, call: &Call, how: Admit) -> Result<Option<Arc<Bill>>, Failure> {
        self.open()?;
        let Some(admission) = &self.shared.parts.admission else { return Ok(None) };
        how(admission, &ask(&call.caller, &call.request, call.input_tokens)).map(Some)
    }

    /// Records a call that was read and is refused.
    fn turn_away(&self, call: &Call, received: Instant, failure: Failure) -> Failure {
        let status = (call.status_of)(&failure);
        let end = End::new(received, call.request.losses, Vec::new());
        let finished = end.finished(call, Outcome::Failed(&failure, status));
        self.shared.parts.log.finished(&finished);
        if let Some(audit) = &self.shared.parts.audit {
            let model = call.request.model.as_str();
            let (caller, bytes_in) = (Some(&*call.caller), call.bytes_in);
            let Call { id, dialect, endpoint, .. } = *call;
            audit.refuse(&Unread { id, dialect, endpoint, caller, model, bytes_in }, &finished);
        }
        failure
    }

    /// Resolves when the bridge begins to end.
    pub async fn stopping(&self) -> Failure {
        self.shared.parts.stop.cancelled().await;
        stopping()
    }

    /// Records a call whose caller hung up before it could be read.
    pub fn abandoned(&self, at: &Knock<'_>, duration: Duration) {
        self.record_unread(at, 0, Outcome::HungUp, duration);
    }

    /// Records a call that was refused at the door.
    pub fn refused(&self, refusal: &Refusal<'_>) {
        let outcome = Outcome::Failed(refusal.failure, refusal.status);
        self.record_unread(&refusal.at, refusal.bytes_in, outcome, refusal.duration);
    }

    /// Both halves of the record of a call that was never read.
    fn record_unread(
        &self,
        at: &Knock<'_>,
        bytes_in: usize,
        outcome: Outcome<'_>,
        duration: Duration,
    ) {
        let Knock { id, dialect, endpoint, caller } = *at;
        self.shared.parts.log.received(&Received {
            id,
            dialect,
            caller,
            model: "",
            stream: false,
            messages: 0,
            bytes: bytes_in,
            input_tokens: 0,
            body: None,
        });
        let finished = unread(id, dialect, outcome, duration);
        self.shared.parts.log.finished(&finished);
        if let Some(audit) = &self.shared.parts.audit {
            let row = Unread { id, dialect, endpoint, caller, model: "", bytes_in };
            audit.refuse(&row, &finished);
        }
    }
}

impl Shared {
    /// Whether this caller's calls are recorded.
    fn records(&self, caller: &Caller) -> bool {
        self.parts.audit.as_ref().is_some_and(|audit| audit.records(caller))
    }

    pub(crate) fn records_bodies(&self, caller: &Caller) -> bool {
        self.parts.audit.as_ref().is_some_and(|audit| audit.keeps_bodies(caller))
    }

    /// Who answers a caller: holders of sandbox keys never reach a host.
    fn upstream_of(&self, caller: &Caller) -> &dyn Upstream {
        let sandbox = caller.key.as_ref().is_some_and(|key| key.key.kind == KeyKind::Sandbox);
        match &self.parts.sandbox {
            _ if !sandbox => &*self.parts.upstream,
            Some(echo) => &**echo,
            None => &NoSandbox,
        }
    }
}

/// What a call asks of admission.
pub(crate) fn ask<'a>(
    caller: &'a Caller,
    request: &'a CompletionRequest,
    input_tokens: u64,
) -> Ask<'a> {
    Ask {
        key: caller.key.as_deref(),
        model: request.model.as_str(),
        input_tokens,
        max_output: request.params.max_tokens,
        choices: u64::from(request.params.choices.unwrap_or(1).max(1)),
        samplings: if may_be_asked_again(request) { 2 } else { 1 },
    }
}

/// Whether an answer may lack what was demanded, so that it is asked for once more.
fn may_be_asked_again(request: &CompletionRequest) -> bool {
    let demands_call = match &request.tool_choice {
        ToolChoice::Required | ToolChoice::Named(_) => true,
        ToolChoice::Allowed { required, .. } => *required,
        ToolChoice::Auto | ToolChoice::None => false,
    };
    demands_call || request.output != OutputFormat::Text
}

/// Somebody at a door.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    /// The GUID of the call.
    pub id: CallId,
    /// The wire format of the answer.
    pub dialect: Dialect,
    /// Which door.
    pub endpoint: Endpoint,
    /// Who asks, if that is known.
    pub caller: Option<&'a Caller>,
}

/// A call that was refused before it could be read.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Who was refused, and where.
    pub at: Knock<'a>,
    /// Bytes of the body that were read.
    pub bytes_in: usize,
    /// Why.
    pub failure: &'a Failure,
    /// The status of the answer.
    pub status: u16,
    /// How long it took.
    pub duration: Duration,
}

/// Answers holders of sandbox keys where there is no sandbox: with nothing.
#[derive(Debug)]
struct NoSandbox;

impl Upstream for NoSandbox {
    fn ready(&self) -> Result<(), Failure> {
        let message = "This bridge has no sandbox, and a sandbox key reaches nothing else.";
        Err(Failure::new(FailureKind::NotReady, message))
    }

    fn statuses(&self) -> Vec<UpstreamStatus> {
        Vec::new()
    }

    fn models(&self) -> Vec<ModelName> {
        Vec::new()
    }

    fn complete<'a>(
        &'a self,
        _: &'a Order,
        _: &'a mut EventSink,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(std::future::ready(self.ready()))
    }
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

/// The ways to the door.
pub(crate) struct Door {
    pub(crate) sender: mpsc::Sender<Box<ChoiceEvents>>,
    pub(crate) failed: oneshot::Sender<Box<Failure>>,
    /// What is lost, for a head that leaves before the answer.
    early: Arc<AtomicU64>,
}

impl Door {
    /// Both ends of the ways between a call and its door.
    fn open(shared: &Arc<Shared>, call: &Call, guarded: Option<&Guarded>) -> (Self, Running) {
        let (sender, events) = mpsc::channel(BEHIND);
        let losses = Arc::new(AtomicU64::new(call.request.losses.bits()));
        let (failed, failure) = oneshot::channel();
        let door = Self { sender, failed, early: Arc::clone(&losses) };
        let mark = guarded.map(Guarded::mark);
        let holder = call
            .caller
            .key
            .is_some()
            .then(|| Holder { caller: Arc::clone(&call.caller), shared: Arc::clone(shared) });
        (door, Running { losses, events, failure, mark, holder })
    }

    /// A sink for each reply. They outlive the answer, so that the record of a call that was cut
    /// short says what it had.
    pub(crate) fn sinks(
        &self,
        call: &Call,
        keeper: Option<&Keeper>,
        shared: &Shared,
    ) -> Vec<EventSink> {
        let wants_text = shared.parts.log.wants_bodies();
        let recorded = shared.records_bodies(&call.caller);
        let sink = |choice| EventSink {
            choice,
            early: Arc::clone(&self.early),
            sender: self.sender.clone(),
            seen: Seen {
                text: wants_text.then(String::new),
                transcript: recorded.then(Transcript::default),
                ..Seen::default()
            },
            keeper: keeper.cloned(),
            hung_up: false,
            unheard: false,
            holds: shared.records(&call.caller),
            held: None,
        };
        (0..choices(call)).map(sink).collect()
    }
}

/// Runs a call to its end. The only place that writes the end of its record.
async fn run(
    recorded: Recorded,
    // Boxed, because a future has room for each of its arguments twice.
    mut call: Box<Call>,
    door: Door,
    // Boxed, so that other calls do not carry room for it.
    guarded: Option<Box<Guarded>>,
) {
    let shared = recorded.shared();
    let deadline = recorded.received() + call.deadline;
    let (caller, limit) = (Arc::clone(&call.caller), call.deadline);
    let gone = nobody_waits(door.sender.clone(), guarded.as_deref());
    let mut cut_short = Box::pin(recorded.cut_short(&caller, limit, gone));
    if let Err(unopened) = recorded.open(&mut call, &mut cut_short).await {
        drop(cut_short);
        if let (Some(guarded), Some(failure)) = (guarded, &unopened.why) {
            guarded.failed(same(failure));
        }
        return recorded.refuse(&call, unopened, door.failed);
    }
    let keeper = guarded.as_deref().map(Guarded::keeper);
    let mut sinks = door.sinks(&call, keeper.as_ref(), &shared);
    let order = Order {
        id: call.id,
        caller: Arc::clone(&call.caller),
        request: call.request,
        input_tokens: call.input_tokens,
        deadline,
        bill: recorded.bill().cloned(),
    };
    // Nobody is asked for a call that has ended while it was opened.
    let closed = door.sender.is_closed().then(|| (&mut cut_short).now_or_never()).flatten();
    let over = closed.or_else(|| recorded.over(&caller, limit).map(Some));
    let mut ended = if let Some(why) = over {
        Err(why)
    } else {
        tokio::select! {
            biased;
            ended = answer(shared.upstream_of(&caller), &order, &mut sinks) => ended,
            why = &mut cut_short => Err(why),
        }
    };
    drop(cut_short);
    // An answer that comes while the call waits for its turn to end, or a door that has seen it.
    if !matches!(ended, Err(Some(_)))
        && let Some(why) = shared.denied(&caller)
    {
        ended = Err(Some(why));
    }
    let answered = ended.is_ok();
    if answered && sinks.iter().any(|sink| sink.unheard) {
        ended = Err(None);
    }
    let held: Vec<_> = sinks.iter_mut().filter_map(|sink| sink.held.take()).collect();
    let end = End::new(recorded.received(), order.request.losses, sinks);
    call.request = order.request;
    // On the heap, as is what follows: calls that wait do not carry room for their end.
    let (ended, on_record) = Box::pin(recorded.close(&call, end, ended)).await;
    if !answered {
        Box::pin(shared.turns.tell()).await;
    }
    // For whoever has come in the place of the door, or will.
    let handover: Option<BoxFuture<'_, ()>> = match (guarded, &ended) {
        (Some(guarded), Err(Some(failure))) => {
            guarded.failed(same(failure));
            None
        }
        (Some(guarded), _) if answered => Some(Box::pin(guarded.answered(&shared.parts.stop))),
        _ => None,
    };
    // Of several replies some may be whole although another has failed.
    let late = if on_record {
        Box::pin(deliver(&call, &recorded, &door.sender, held)).await
    } else {
        None
    };
    if let Some(failure) = ended.err().flatten().or(late) {
        // A door that has gone does not mind.
        let _ = door.failed.send(Box::new(failure));
    }
    drop((call, door.sender));
    if let Some(handover) = handover {
        handover.await;
    }
}

/// Resolves when neither the door nor anybody in its place wants the answer.
async fn nobody_waits(sender: mpsc::Sender<Box<ChoiceEvents>>, guarded: Option<&Guarded>) {
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
