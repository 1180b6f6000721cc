//! What the record says of a whole call.

use model::{CallId, Dialect, LossSet, ModelName, StopReason, Usage};
use tokio::time::Instant;

use crate::Call;
use crate::ports::{EventSink, Finished, Outcome, Seen};
use crate::transcript::finish_all;

/// What was seen of a call, all of its replies together.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) usage: Usage,
    pub(crate) losses: LossSet,
    /// The earlier call whose sampling was taken over.
    pub(crate) replay_of: Option<CallId>,
    /// Whether an upstream was asked.
    pub(crate) asked: bool,
    /// The replies, where they are recorded.
    pub(crate) body: Option<Vec<u8>>,
    received: Instant,
    model: Option<ModelName>,
    upstream: Option<std::sync::Arc<str>>,
    reason: Option<StopReason>,
    bytes_out: usize,
    first: Option<Instant>,
    text: Option<String>,
}

impl End {
    /// Adds up what the sinks of a call have seen.
    pub(crate) fn new(received: Instant, losses: LossSet, sinks: Vec<EventSink>) -> Self {
        let mut end = Self {
            usage: Usage::default(),
            losses,
            replay_of: None,
            asked: false,
            body: None,
            received,
            model: None,
            upstream: None,
            reason: None,
            bytes_out: 0,
            first: None,
            text: None,
        };
        let mut transcripts = Vec::new();
        for sink in sinks {
            end.add(sink.seen, &mut transcripts);
        }
        end.body = finish_all(transcripts);
        end
    }

    fn add(&mut self, seen: Seen, transcripts: &mut Vec<crate::transcript::Transcript>) {
        self.asked |= seen.asked || seen.first.is_some();
        // What upstreams report is not believed to be within reason.
        let (sum, more) = (&mut self.usage, &seen.usage);
        sum.input = sum.input.saturating_add(more.input);
        sum.output = sum.output.saturating_add(more.output);
        sum.cached_input = sum.cached_input.saturating_add(more.cached_input);
        sum.cache_write = sum.cache_write.saturating_add(more.cache_write);
        sum.reasoning = sum.reasoning.saturating_add(more.reasoning);
        sum.estimated |= more.estimated;
        self.losses = self.losses.union(seen.losses);
        self.bytes_out += seen.bytes_out;
        self.first = match (self.first, seen.first) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.reason = self.reason.or(seen.reason);
        if let Some(more) = &seen.text {
            self.text.get_or_insert_default().push_str(more);
        }
        if self.model.is_none() {
            self.model = seen.model;
        }
        if self.upstream.is_none() {
            self.upstream = seen.upstream;
        }
        transcripts.extend(seen.transcript);
    }

    /// Says that the answer is another call's, which has asked for it and spent the tokens.
    pub(crate) fn replays(&mut self, earlier: CallId) {
        self.asked = false;
        self.replay_of = Some(earlier);
        self.usage = Usage { estimated: self.usage.estimated, ..Usage::default() };
    }

    /// The model that answered, where its upstream has named it.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_ref().map(ModelName::as_str).filter(|name| !name.is_empty())
    }

    /// The TX half of the record.
    pub(crate) fn finished<'a>(&'a self, call: &'a Call, outcome: Outcome<'a>) -> Finished<'a> {
        Finished {
            id: call.id,
            dialect: call.dialect,
            model_asked: call.request.model.as_str(),
            model_served: self.model.as_ref().map(ModelName::as_str),
            upstream: self.upstream.as_deref(),
            outcome,
            replay_of: self.replay_of,
            stop_reason: self.reason,
            usage: self.usage,
            losses: self.losses,
            bytes_out: self.bytes_out,
            first_byte: self.first.map(|first| first - self.received),
            duration: self.received.elapsed(),
            text: self.text.as_deref(),
        }
    }
}

/// The TX half of a call that was never read.
pub(crate) fn unread(
    id: CallId,
    dialect: Dialect,
    outcome: Outcome<'_>,
    duration: std::time::Duration,
) -> Finished<'_> {
    Finished {
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
    }
}
