//! One call at a host: from the order to the events of its answer.

use std::sync::Arc;

use dialects::mcp_sampling::{self, Asking, HostFault, Priorities, SamplingOptions, SamplingReply};
use dialects::tokens;
use gateway::{Bill, EventSink, HungUp, Lane, Order};
use mcp::{Outgoing, Reply, ReplyError};
use model::{
    Block, Completion, CompletionRequest, Failure, FailureKind, Loss, LossSet, StopReason, Usage,
};
use tokio::time::{Instant, timeout_at};

use super::asked::{Asked, Turn};
use super::{HintPolicy, HostSession};
use crate::ending::enforce_stop;

/// Why a sampling has no completion: what it says of the host, and what the caller is told.
pub(super) type Fault = (HostFault, Failure);

impl HostSession {
    /// Answers an order. Dropping the future cancels the sampling.
    pub(super) async fn complete(
        self: &Arc<Self>,
        order: &Order,
        sink: &mut EventSink,
    ) -> Result<(), Failure> {
        sink.answered_by(Arc::clone(self.name()));
        if is_shaped(&order.request) {
            // On the heap, or every plain call that waits would hold room for it.
            return Box::pin(self.complete_shaped(order, sink)).await;
        }
        let (mut completion, losses) =
            self.ask(order, &Asking::plain(&order.request), sink).await?;
        drop_tool_calls(&mut completion);
        enforce_stop(&mut completion, &order.request.params.stop);
        completion.usage = Usage {
            input: order.input_tokens.max(1),
            output: tokens::estimate_output(&completion).max(1),
            estimated: true,
            ..Usage::default()
        };
        completion.losses = completion.losses.union(losses);
        match sink.send(completion.into_events()).await {
            // A door that has gone is noticed by the gateway.
            Ok(()) | Err(HungUp) => Ok(()),
        }
    }

    /// Asks the host once, and once more without hints where it fails on them. Dropping the future
    /// cancels the sampling.
    pub(super) async fn ask(
        self: &Arc<Self>,
        order: &Order,
        asking: &Asking<'_>,
        sink: &mut EventSink,
    ) -> Result<(Completion, LossSet), Failure> {
        let mut hints = match self.settings().hints {
            HintPolicy::On => true,
            HintPolicy::Off => false,
            HintPolicy::Auto => !self.fails_on_hints(),
        };
        let asked_model = order.request.model.as_str();
        loop {
            let (request, mut losses) = self.prepare(asking, hints)?;
            losses.insert(Loss::UsageEstimated);
            sink.lost(losses);
            let (request, turn) = self.line_up(order, asking, request, hints).await?;
            sink.asked();
            match self.sample(request, turn, asked_model, order.bill.as_ref()).await {
                Ok(completion) => return Ok((completion, losses)),
                Err((HostFault::ModelPreferences, _))
                    if hints
                        && self.settings().hints == HintPolicy::Auto
                        && self.sends_preferences(&order.request) =>
                {
                    tracing::warn!(host = %self.name(), "the host fails on model hints; going on without");
                    self.remember_failing_hints();
                    hints = false;
                }
                Err((_, failure)) => return Err(failure),
            }
        }
    }

    /// Writes the sampling request, so that what cannot be carried is refused before any wait.
    fn prepare(&self, asking: &Asking<'_>, hints: bool) -> Result<(Outgoing, LossSet), Failure> {
        let settings = self.settings();
        let options = SamplingOptions {
            default_max_tokens: settings.default_max_tokens,
            max_tokens_cap: settings.max_tokens_cap,
            hints,
            // A host that fails on hints fails on the whole of `modelPreferences`.
            priorities: if self.fails_on_hints() {
                Priorities::default()
            } else {
                settings.priorities
            },
            task_ttl_ms: self
                .runs_tasks()
                .then(|| u64::try_from(settings.max_wait.as_millis()).unwrap_or(u64::MAX)),
        };
        let mut outgoing = self.peer().prepare("sampling/createMessage");
        let mut losses = mcp_sampling::write_request(asking, &options, outgoing.params())?;
        if !hints && !asking.request.model.is_auto() {
            losses.insert(Loss::ModelHint);
        }
        Ok((outgoing, losses))
    }

    /// Whether a request with hints carries `modelPreferences` at all.
    fn sends_preferences(&self, request: &CompletionRequest) -> bool {
        let Priorities { intelligence, speed, cost } = self.settings().priorities;
        !request.model.is_auto() || intelligence.or(speed).or(cost).is_some()
    }

    /// Waits for the right to ask. Where that takes time the request is written anew when its turn
    /// comes, so that those who wait hold their bodies once and not twice.
    async fn line_up(
        &self,
        order: &Order,
        asking: &Asking<'_>,
        request: Outgoing,
        hints: bool,
    ) -> Result<(Outgoing, Turn), Failure> {
        let lane = order.caller.lane();
        if let Some(turn) = self.turn_now(&lane)? {
            return Ok((request, turn));
        }
        drop(request);
        let turn = self.turn(&lane, order.caller.priority(), order.deadline).await?;
        Ok((self.prepare(asking, hints)?.0, turn))
    }

    /// The right to ask, where nobody has to be waited for.
    fn turn_now(&self, lane: &Lane) -> Result<Option<Turn>, Failure> {
        let epoch = self.consent().epoch();
        let probe = self.consent().try_probe();
        if probe.is_none() && self.consent().is_open() {
            return Ok(None);
        }
        let Some(slot) = self.slots().take_free(lane) else { return Ok(None) };
        self.still_usable()?;
        Ok(Some(Turn::new(slot, probe, epoch)))
    }

    pub(super) fn runs_tasks(&self) -> bool {
        self.settings().tasks && self.info().sampling_tasks
    }

    /// Waits for the right to ask: a slot, and while consent is unknown the one probe.
    pub(super) async fn turn(
        &self,
        lane: &Lane,
        priority: u8,
        deadline: Instant,
    ) -> Result<Turn, Failure> {
        // Whoever need not wait takes no place in the queue, so that a queue of none is possible.
        if let Some(turn) = self.turn_now(lane)? {
            return Ok(turn);
        }
        let mut place = self.slots().enter_queue(lane, priority)?;
        let probe = tokio::select! {
            biased;
            probe = timeout_at(deadline, self.consent().probe()) => probe.map_err(|_| {
                Failure::new(
                    FailureKind::NotReady,
                    format!("Waiting for consent: look for a dialog in {}.", self.name()),
                )
            })?,
            refused = place.displaced() => return Err(refused),
        };
        let slot = self.slots().wait(place, deadline).await?;
        // The answer that was waited for may have been a no, or the host's end.
        self.still_usable()?;
        Ok(Turn::new(slot, probe, self.consent().epoch()))
    }

    /// As [`usable`](Self::usable), for the warm-up too.
    fn still_usable(&self) -> Result<(), Failure> {
        match self.consent().state() {
            super::consent::State::WarmingUp => Ok(()),
            _ => self.usable(),
        }
    }

    /// Sends a sampling request and reads its answer. Dropping the future cancels it.
    ///
    /// `asked_model` is what the caller called the model: hosts repeat it in their errors. `bill` is
    /// told of a sampling that outlives its call, or fails.
    pub(super) async fn sample(
        self: &Arc<Self>,
        request: Outgoing,
        turn: Turn,
        asked_model: &str,
        bill: Option<&Arc<Bill>>,
    ) -> Result<Completion, Fault> {
        let epoch = turn.epoch;
        let pending = self.peer().send(request).await.map_err(|error| {
            let failure = match error {
                mcp::SendError::Closed => gone(FailureKind::NotReady),
                mcp::SendError::LineBreak => Failure::new(
                    FailureKind::BadRequest,
                    "The request holds a raw line break where JSON allows none.",
                ),
            };
            (HostFault::Other, failure)
        })?;
        let mut asked =
            Asked::new(Arc::clone(self), pending, turn, self.runs_tasks(), bill.cloned());
        let mut reply = asked.answer().await;
        let mut read = self.read(&reply, asked_model);
        if let Ok(SamplingReply::Task { id }) = read {
            // On the heap: few hosts run tasks, and every call that waits would hold room for it.
            reply = Box::pin(asked.follow_task(id)).await;
            read = self.read(&reply, asked_model).map_err(|(fault, failure)| match fault {
                // It is `tasks/result` that the host does not know: sampling it did begin.
                HostFault::NoSampling => {
                    reply = Err(ReplyError::Closed);
                    let message =
                        "The host runs samplings as tasks, but does not give their results.";
                    (HostFault::Other, Failure::new(FailureKind::UpstreamFailed, message))
                }
                _ => (fault, failure),
            });
        }
        match read {
            Ok(SamplingReply::Completion(completion)) => {
                self.consent().grant(epoch);
                self.remember_model(&completion.model);
                Ok(completion)
            }
            Ok(SamplingReply::Cancelled) => {
                self.note_fault(HostFault::Refused, epoch);
                let message = format!("The person at {} refused this sampling.", self.name());
                Err((HostFault::Refused, Failure::new(FailureKind::Refused, message)))
            }
            Ok(SamplingReply::Task { .. }) => {
                asked.charge(HostFault::Other, &reply);
                let message = "The host answered a task with a task.";
                Err((HostFault::Other, Failure::new(FailureKind::UpstreamFailed, message)))
            }
            Err(fault) => {
                asked.charge(fault.0, &reply);
                self.note_fault(fault.0, epoch);
                Err(fault)
            }
        }
    }

    fn read(&self, reply: &Reply, asked_model: &str) -> Result<SamplingReply, Fault> {
        let failed = |message: String| {
            (HostFault::Other, Failure::new(FailureKind::UpstreamFailed, message))
        };
        match reply {
            Ok(result) => {
                mcp_sampling::read_result(result).map_err(|failure| (HostFault::Other, failure))
            }
            Err(ReplyError::Host { code, message }) => {
                Err(mcp_sampling::read_error_about(*code, message, asked_model))
            }
            Err(ReplyError::TooLarge) => {
                Err(failed(format!("The answer of {} is longer than the limit.", self.name())))
            }
            Err(ReplyError::Malformed) => {
                Err(failed(format!("The answer of {} is not valid JSON.", self.name())))
            }
            Err(ReplyError::Closed) => Err((HostFault::Other, gone(FailureKind::UpstreamFailed))),
        }
    }
}

fn gone(kind: FailureKind) -> Failure {
    Failure::new(kind, "The MCP host has gone.")
}

/// A caller who offered no tools cannot run any: a host's own tool calls are left out by name.
fn drop_tool_calls(completion: &mut Completion) {
    let before = completion.content.len();
    completion.content.retain(|block| !matches!(block, Block::ToolCall(_)));
    if completion.content.len() < before {
        completion.losses.insert(Loss::ReplyBlock);
        if completion.reason == StopReason::ToolUse {
            completion.reason = StopReason::EndTurn;
        }
    }
}

/// Whether a call needs more than text: tools, calls in its history, or a shape of the answer.
fn is_shaped(request: &CompletionRequest) -> bool {
    let speaks_of_tools = |message: &model::Message| {
        message
            .content
            .iter()
            .any(|block| matches!(block, Block::ToolCall(_) | Block::ToolResult(_)))
    };
    !request.tools.is_empty()
        || request.tool_choice != model::ToolChoice::Auto
        || request.output != model::OutputFormat::Text
        || request.messages.iter().any(speaks_of_tools)
}
