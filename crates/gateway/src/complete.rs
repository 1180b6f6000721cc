//! The one road of a call.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use model::{CallId, Dialect, Failure, FailureKind, LossSet, StopReason, Usage};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ports::{EventSink, Finished, Order, Outcome, Received, Seen};
use crate::{Call, CallLog, Caller, ChoiceEvents, Running, Upstream};

/// Batches of events that may wait for a door.
const BEHIND: usize = 8;

/// Bounds of every call.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// Longest time of a call from its admission to its end.
    pub deadline: Duration,
}

/// Admits calls and runs them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: Arc<dyn Upstream>,
    log: Arc<dyn CallLog>,
    limits: GatewayLimits,
    tasks: TaskTracker,
    stop: CancellationToken,
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
        Self {
            shared: Arc::new(Shared {
                upstream,
                log,
                limits,
                tasks,
                stop,
            }),
        }
    }

    /// Who answers.
    pub fn upstream(&self) -> &dyn Upstream {
        &*self.shared.upstream
    }

    /// Whether the record wants bodies, so that the door keeps them.
    pub fn wants_bodies(&self) -> bool {
        self.shared.log.wants_bodies()
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
        if let Err(failure) = self.ready() {
            let status = (call.status_of)(&failure);
            let end = End::refused(received, call.request.losses);
            end.write(shared, &call, Outcome::Failed(&failure, status));
            return Err(failure);
        }
        let (sender, events) = mpsc::channel(BEHIND);
        let losses = call.request.losses;
        shared
            .tasks
            .spawn(run(Arc::clone(shared), call, sender, received));
        Ok(Running { losses, events })
    }

    /// Records a call that was refused at the door.
    pub fn refused(&self, refusal: &Refusal<'_>) {
        let log = &self.shared.log;
        log.received(&Received {
            id: refusal.id,
            dialect: refusal.dialect,
            caller: refusal.caller,
            model: "",
            stream: false,
            messages: 0,
            bytes: refusal.bytes_in,
            input_tokens: 0,
            body: None,
        });
        log.finished(&Finished {
            id: refusal.id,
            dialect: refusal.dialect,
            model_asked: "",
            model_served: None,
            upstream: None,
            outcome: Outcome::Failed(refusal.failure, refusal.status),
            stop_reason: None,
            usage: Usage::default(),
            losses: LossSet::EMPTY,
            bytes_out: 0,
            first_byte: None,
            duration: refusal.duration,
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

fn stopping() -> Failure {
    Failure::new(FailureKind::NotReady, "The bridge is shutting down.")
}

/// What the record says of the whole call.
#[derive(Debug, Default)]
struct End {
    seen: Vec<Seen>,
    losses: LossSet,
    received: Option<Instant>,
}

impl End {
    fn refused(received: Instant, losses: LossSet) -> Self {
        Self {
            seen: Vec::new(),
            losses,
            received: Some(received),
        }
    }

    fn write(&self, shared: &Shared, call: &Call, outcome: Outcome<'_>) {
        let received = self.received.unwrap_or_else(Instant::now);
        let mut usage = Usage::default();
        let mut losses = self.losses;
        let mut bytes_out = 0;
        let mut first: Option<Instant> = None;
        let mut reason: Option<StopReason> = None;
        let mut text: Option<String> = None;
        for seen in &self.seen {
            usage.input += seen.usage.input;
            usage.output += seen.usage.output;
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
        let one = self.seen.first();
        shared.log.finished(&Finished {
            id: call.id,
            dialect: call.dialect,
            model_asked: call.request.model.as_str(),
            model_served: one
                .and_then(|seen| seen.model.as_ref())
                .map(model::ModelName::as_str),
            upstream: one.and_then(|seen| seen.upstream.as_deref()),
            outcome,
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

type Sender = mpsc::Sender<Result<ChoiceEvents, Box<Failure>>>;

/// Runs a call to its end. The only place that writes the end of its record.
async fn run(shared: Arc<Shared>, mut call: Call, sender: Sender, received: Instant) {
    let deadline = received + shared.limits.deadline;
    let choices = call.request.params.choices.unwrap_or(1).max(1);
    let order = Order {
        id: call.id,
        request: std::mem::take(&mut call.request),
        input_tokens: call.input_tokens,
        deadline,
    };
    let wants_text = shared.log.wants_bodies();
    let sinks = (0..choices).map(|choice| EventSink {
        choice,
        sender: sender.clone(),
        seen: Seen {
            text: wants_text.then(String::new),
            ..Seen::default()
        },
    });
    let mut end = End {
        seen: Vec::new(),
        losses: order.request.losses,
        received: Some(received),
    };
    let ended = tokio::select! {
        biased;
        ended = answer(&*shared.upstream, &order, sinks, &mut end.seen) => ended.map_err(Some),
        () = sender.closed() => Err(None),
        () = tokio::time::sleep_until(deadline) => Err(Some(Failure::new(
            FailureKind::UpstreamTimeout,
            format!(
                "The host did not answer within {} s. If it has never answered yet, it may be \
                 waiting for a click: look for a dialog in your editor.",
                shared.limits.deadline.as_secs()
            ),
        ))),
        () = shared.stop.cancelled() => Err(Some(stopping())),
    };
    call.request = order.request;
    match ended {
        Ok(()) => end.write(&shared, &call, Outcome::Answered),
        Err(None) => end.write(&shared, &call, Outcome::HungUp),
        Err(Some(failure)) => {
            let status = (call.status_of)(&failure);
            end.write(&shared, &call, Outcome::Failed(&failure, status));
            // A door that has gone does not mind, and one that is behind is not waited for
            // beyond the deadline that every call has.
            let _ =
                tokio::time::timeout(Duration::from_secs(5), sender.send(Err(Box::new(failure))))
                    .await;
        }
    }
}

/// Lets the upstream answer all choices at once; the first failure ends the call.
async fn answer(
    upstream: &dyn Upstream,
    order: &Order,
    sinks: impl Iterator<Item = EventSink>,
    done: &mut Vec<Seen>,
) -> Result<(), Failure> {
    let mut running: FuturesUnordered<_> = sinks
        .map(|sink| answer_one(upstream, order, sink))
        .collect();
    while let Some((seen, outcome)) = running.next().await {
        done.push(seen);
        outcome?;
    }
    Ok(())
}

async fn answer_one(
    upstream: &dyn Upstream,
    order: &Order,
    mut sink: EventSink,
) -> (Seen, Result<(), Failure>) {
    let outcome = AssertUnwindSafe(upstream.complete(order, &mut sink))
        .catch_unwind()
        .await;
    let outcome = match outcome {
        Ok(Ok(())) if sink.seen.reason.is_none() => Err(Failure::new(
            FailureKind::UpstreamFailed,
            "The answer broke off before its end.",
        )),
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(
            FailureKind::Internal,
            "The bridge failed while it answered this call.",
        )),
    };
    (sink.seen, outcome)
}
