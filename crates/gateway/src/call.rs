//! A call as the door hands it over, and what the door gets back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use model::{CallId, CompletionEvent, CompletionRequest, Dialect, Failure, LossSet};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::complete::Shared;
use crate::keys::Endpoint;
use crate::takeover::DoorMark;
use crate::{Caller, ReplayKey};

/// One request, read and authenticated.
#[derive(Debug)]
pub struct Call {
    /// Its GUID.
    pub id: CallId,
    /// The wire format that it came in.
    pub dialect: Dialect,
    /// The door that it came in by.
    pub endpoint: Endpoint,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// What is asked. Boxed, because it goes from hand to hand.
    pub request: Box<CompletionRequest>,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// Our estimate of the tokens in the request.
    pub input_tokens: u64,
    /// Bytes of the request body.
    pub bytes_in: usize,
    /// The body itself, kept only where the record wants bodies.
    pub body: Option<Bytes>,
    /// The share of the body memory that this call holds until its end.
    pub memory: Option<OwnedSemaphorePermit>,
    /// Longest time from its admission to its end.
    pub deadline: Duration,
    /// What tells that this call is another one in a new form; `None` where it cannot be.
    pub replay: Option<ReplayKey>,
    /// The status that a failure has in this dialect, for the record.
    pub status_of: fn(&Failure) -> u16,
}

/// Events of one of the replies that were asked for.
#[derive(Debug)]
pub struct ChoiceEvents {
    /// Which reply, from 0.
    pub choice: u8,
    /// Its next events, in order.
    pub events: Vec<CompletionEvent>,
}

/// A call that runs. Dropping it hangs up: the call is cancelled towards its upstream.
#[derive(Debug)]
pub struct Running {
    pub(crate) losses: Arc<AtomicU64>,
    /// Boxed, because a channel holds room for 32 of them from its start.
    pub(crate) events: mpsc::Receiver<Box<ChoiceEvents>>,
    /// The failure has a way of its own: a door that is behind neither loses it nor holds the
    /// call up until it is taken.
    pub(crate) failure: oneshot::Receiver<Box<Failure>>,
    pub(crate) mark: Option<DoorMark>,
    /// Who has a key, which may end before the answer has been handed over.
    pub(crate) holder: Option<Holder>,
}

/// A caller with a key, and what knows the time.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) caller: Arc<Caller>,
    pub(crate) shared: Arc<Shared>,
}

impl Running {
    /// What is known by now of what could not be carried.
    pub fn losses(&self) -> LossSet {
        LossSet::from_bits(self.losses.load(Ordering::Relaxed))
    }

    /// Notes that the whole answer was handed to the caller, so that nobody else can have it.
    pub fn delivered(&mut self) {
        if let Some(mark) = &mut self.mark {
            mark.done();
        }
    }

    /// Why the caller may have nothing more of the answer, if its key has ended. Cheap: to be asked
    /// before each piece that is handed over, since the call itself ends when its answer is whole.
    pub fn denied(&self) -> Option<Failure> {
        self.holder.as_ref().and_then(|holder| holder.shared.denied(&holder.caller))
    }

    /// The next events, or the failure that ends the call; `None` after its complete end.
    ///
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<ChoiceEvents, Box<Failure>>> {
        let batch = self.events.recv().await;
        self.or_failure(batch)
    }

    /// As [`next`](Self::next), for hand-written bodies.
    pub fn poll_next(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<ChoiceEvents, Box<Failure>>>> {
        self.events.poll_recv(context).map(|batch| self.or_failure(batch))
    }

    /// What follows the last events.
    fn or_failure(
        &mut self,
        batch: Option<Box<ChoiceEvents>>,
    ) -> Option<Result<ChoiceEvents, Box<Failure>>> {
        match batch {
            Some(batch) => Some(Ok(*batch)),
            None => self.failure.try_recv().ok().map(Err),
        }
    }
}
