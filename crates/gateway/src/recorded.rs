//! The accounts of one call: its two halves of the record, and its bill.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use model::Failure;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::admission::{Bill, Settled};
use crate::audit::{Audit, Unwritten, committed, unavailable};
use crate::clock::{SystemClock, WallClock};
use crate::complete::{Shared, late, stopping};
use crate::end::End;
use crate::keyring::Denied;
use crate::keys::UnixMillis;
use crate::ports::Outcome;
use crate::store::{Spending, StoreError};
use crate::{Call, Caller, ChoiceEvents};

/// The longest sleep before the time of day is looked at again: it may be set while we wait.
const NAP: Duration = Duration::from_mins(1);

/// A call that is admitted, and what has to be written of it.
#[derive(Debug)]
pub(crate) struct Recorded {
    shared: Arc<Shared>,
    bill: Option<Arc<Bill>>,
    received: Instant,
    /// The same by the time of day.
    at: UnixMillis,
}

/// Why a call has no RX half.
#[derive(Debug)]
pub(crate) struct Unopened {
    /// What ends the call; `None` stands for a door that has gone.
    pub(crate) why: Option<Failure>,
    /// Whether it may be committed yet.
    pending: bool,
}

impl Recorded {
    pub(crate) fn new(shared: Arc<Shared>, bill: Option<Arc<Bill>>, received: Instant) -> Self {
        let at = shared.parts.audit.as_ref().map_or(0, |audit| audit.now());
        Self { shared, bill, received, at }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(crate) const fn received(&self) -> Instant {
        self.received
    }

    pub(crate) const fn bill(&self) -> Option<&Arc<Bill>> {
        self.bill.as_ref()
    }

    /// Where the call is recorded, if it is.
    fn audit(&self, call: &Call) -> Option<&Arc<Audit>> {
        self.shared.parts.audit.as_ref().filter(|audit| audit.records(&call.caller))
    }

    /// Resolves when a call must end whatever its upstream does, with why; `None` stands for a door
    /// that has gone. Watches nothing until it is polled. Where many calls end at once, each waits
    /// for its turn.
    pub(crate) async fn cut_short(
        &self,
        caller: &Caller,
        limit: Duration,
        gone: impl Future<Output = ()>,
    ) -> Option<Failure> {
        let mut gone = pin!(gone);
        let mut changes = caller.key.as_ref().map(|key| key.ends());
        loop {
            // What changes from now on is told.
            let expires = changes.as_mut().map(|changes| *changes.borrow_and_update());
            if poll_fn(|context| Poll::Ready(gone.as_mut().poll(context).is_ready())).await {
                // The door goes by itself when it sees that the key has ended.
                return self.shared.denied(caller);
            }
            if let Some(why) = self.over(caller, limit) {
                // On the heap: calls that wait do not carry room for it.
                Box::pin(self.shared.turns.end()).await;
                return Some(why);
            }
            // One timer for whatever ends by time.
            let wake = expires.map_or(self.received + limit, |expires| {
                let left =
                    u64::try_from(expires.saturating_sub(self.shared.now())).unwrap_or(u64::MAX);
                let nap = NAP.min(Duration::from_millis(left.max(1)));
                (self.received + limit).min(Instant::now() + nap)
            });
            tokio::select! {
                biased;
                () = &mut gone => return self.shared.denied(caller),
                () = tokio::time::sleep_until(wake) => {}
                () = self.shared.parts.stop.cancelled() => {}
                () = key_changes(caller, changes.as_mut()) => {}
            }
        }
    }

    /// Why a call must end now, if it must; whether its door has gone is not asked.
    pub(crate) fn over(&self, caller: &Caller, limit: Duration) -> Option<Failure> {
        if Instant::now() >= self.received + limit {
            return Some(late(limit));
        }
        if self.shared.parts.stop.is_cancelled() {
            return Some(stopping());
        }
        self.shared.denied(caller)
    }

    /// Gives back all that was taken: the call has come to nothing.
    pub(crate) fn give_back(&self) {
        if let Some(bill) = &self.bill {
            bill.give_back();
        }
    }

    /// Commits the RX half, unless the call is cut short before. Nothing may be asked of an upstream
    /// before.
    pub(crate) async fn open(
        &self,
        call: &mut Call,
        cut_short: impl Future<Output = Option<Failure>>,
    ) -> Result<(), Unopened> {
        let Some(audit) = self.audit(call) else { return Ok(()) };
        let reserved = self.bill.as_ref().map(|bill| bill.reserved().clone());
        // On the heap: calls that wait do not carry room for it.
        let opened = Box::pin(audit.open(call, self.at, reserved.unwrap_or_default())).await;
        let mut written =
            opened.map_err(|failure| Unopened { why: Some(failure), pending: false })?;
        // Nearly always it is there at once, before anybody has to watch what may end the call.
        match written.soon().await {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => {
                return Err(Unopened { why: Some(unavailable(&error)), pending: false });
            }
            None => {}
        }
        let committed = Box::pin(committed(written));
        tokio::select! {
            biased;
            outcome = committed => outcome.map_err(|Unwritten { failure, pending }| {
                Unopened { why: Some(failure), pending }
            }),
            why = cut_short => Err(Unopened { why, pending: true }),
        }
    }

    /// Ends a call whose RX half could not be written, or not in time.
    pub(crate) fn refuse(
        &self,
        call: &Call,
        unopened: Unopened,
        failed: oneshot::Sender<Box<Failure>>,
    ) {
        self.give_back();
        let end = End::new(self.received, call.request.losses, Vec::new());
        let Unopened { why, pending } = unopened;
        let ended = Err(why);
        let finished = end.finished(call, outcome(call, &ended));
        self.shared.parts.log.finished(&finished);
        if let Some(audit) = self.audit(call).filter(|_| pending) {
            audit.close_unasked(&call.caller, &finished, self.at);
        }
        if let Err(Some(failure)) = ended {
            // A door that has gone does not mind.
            let _ = failed.send(Box::new(failure));
        }
    }

    /// Settles the call and commits the TX half; `None` stands for a door that has gone. An answer
    /// that cannot be recorded becomes a failure: nobody may have it. The flag says whether the
    /// caller may have what there is of an answer.
    pub(crate) async fn close(
        &self,
        call: &Call,
        mut end: End,
        ended: Result<(), Option<Failure>>,
    ) -> (Result<(), Option<Failure>>, bool) {
        let parts = &self.shared.parts;
        let settled = self
            .bill
            .as_ref()
            .map(|bill| bill.end(call.id, end.asked, &end.usage, end.model(), self.audit(call)));
        let (spending, overrun, later) = match settled {
            Some(Settled::Now(spending, overrun)) => (Some(spending), overrun, None),
            Some(Settled::Later(later)) => (None, false, Some(later)),
            None => (Some(Spending::default()), false, None),
        };
        let body = end.body.take();
        let finished = end.finished(call, outcome(call, &ended));
        let Some(audit) = self.audit(call) else {
            parts.log.finished(&finished);
            return (ended, true);
        };
        let caller = &call.caller;
        let written = audit.close(caller, &finished, self.at, body, spending, overrun);
        let written = Box::pin(written).await;
        drop(later);
        let on_record = written.is_ok();
        let ended = match (written, ended) {
            (Err(failure), Ok(())) => Err(Some(failure)),
            (_, ended) => ended,
        };
        parts.log.finished(&end.finished(call, outcome(call, &ended)));
        (ended, on_record)
    }
}

impl Shared {
    /// Why a caller may have nothing more, if its key has ended.
    pub(crate) fn denied(&self, caller: &Caller) -> Option<Failure> {
        let key = caller.key.as_ref()?;
        key.alive(self.now()).err().map(Denied::failure)
    }

    /// The time of day, by which keys end.
    fn now(&self) -> UnixMillis {
        let clock = self.parts.admission.as_ref().map(|admission| admission.clock());
        let clock = clock.or_else(|| self.parts.audit.as_ref().map(|audit| audit.clock()));
        clock.map_or_else(|| SystemClock.now(), WallClock::now)
    }
}

/// Resolves when the caller's key may have ended: somebody ends it, or changes when it ends.
async fn key_changes(caller: &Caller, changes: Option<&mut watch::Receiver<UnixMillis>>) {
    let (Some(key), Some(changes)) = (&caller.key, changes) else {
        return pending().await;
    };
    // On the heap: calls without a key do not carry room for it.
    let told = async {
        tokio::select! {
            () = key.ended.cancelled() => {}
            // The key holds the sender.
            _ = changes.changed() => {}
        }
    };
    Box::pin(told).await;
}

fn outcome<'a>(call: &Call, ended: &'a Result<(), Option<Failure>>) -> Outcome<'a> {
    match ended {
        Ok(()) => Outcome::Answered,
        Err(None) => Outcome::HungUp,
        Err(Some(failure)) => Outcome::Failed(failure, (call.status_of)(failure)),
    }
}

/// Hands the door what was held back until it was on record. Whether it arrives is not recorded any
/// more: the row says that the caller could have it. A door that is too slow to take it, or whose
/// caller's key has ended, finds a failure in its place, not a stream that just ends.
pub(crate) async fn deliver(
    call: &Call,
    recorded: &Recorded,
    sender: &mpsc::Sender<Box<ChoiceEvents>>,
    held: Vec<ChoiceEvents>,
) -> Option<Failure> {
    if let Some(why) = recorded.shared.denied(&call.caller) {
        return Some(why);
    }
    for batch in held {
        // Nearly always there is room, and nothing to wait for.
        let batch = match sender.try_send(Box::new(batch)) {
            Ok(()) => continue,
            Err(TrySendError::Closed(_)) => return None,
            Err(TrySendError::Full(batch)) => batch,
        };
        tokio::select! {
            biased;
            sent = sender.send(batch) => sent.ok()?,
            why = recorded.cut_short(&call.caller, call.deadline, pending()) => return why,
        }
    }
    None
}

impl Denied {
    /// What a caller is told whose credential lets nobody in.
    pub fn failure(self) -> Failure {
        let message = match self {
            Self::Foreign => "The key that came with the request is not one of this bridge.",
            Self::Damaged => {
                "The key that came with the request is damaged: its checksum does not match. It \
                 may have been cut off or mistyped."
            }
            Self::Unknown => "The key that came with the request is not known here.",
            Self::Expired => "The key that came with the request has expired.",
            Self::Revoked => "The key that came with the request has been revoked.",
            Self::Unavailable => {
                return unavailable(&StoreError::Down("the keys are not loaded".into()));
            }
        };
        Failure::new(model::FailureKind::Unauthenticated, message)
    }
}
