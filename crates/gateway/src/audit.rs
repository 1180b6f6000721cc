//! The durable record: what is written of a call, and when a call may go on.
//!
//! The RX row is committed before an upstream is asked, and the TX row before the caller can have
//! the end of the answer. So an answer that somebody received is always on record; not the other way
//! round, since nothing is written after an answer was let go. What cannot be recorded is refused.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use model::{CallId, Dialect, Failure, FailureKind, Retry};

use crate::amounts::Amounts;
use crate::clock::WallClock;
use crate::complete::{Knock, Refusal};
use crate::end;
use crate::keys::{AuditPolicy, Endpoint, UnixMillis};
use crate::ports::{Finished, HUNG_UP, Outcome};
use crate::refusals::{Refusals, Who};
use crate::store::{Closed, Opened, Spending, Store, StoreError, Written};
use crate::{Call, Caller, Redactor};

/// The longest wait for a commit.
const PATIENCE: Duration = Duration::from_secs(10);
/// Texts above this size are not searched on the threads that answer calls.
const LARGE: usize = 64 << 10;
/// The longest name and the longest message of a row, in bytes. What is longer is cut off: a row is
/// kept also where bodies are not.
const NAME: usize = 256;
const MESSAGE: usize = 2048;
/// The same for the texts of a row of a refusal.
const SMALL: usize = 512;
/// When to come again while the store is down.
const AGAIN: Duration = Duration::from_secs(5);
/// The address of callers that have none.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Which calls are recorded, and how much of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditScope {
    /// Every call, with what was said.
    Full,
    /// Every call, without what was said: neither bodies nor the messages of failures.
    Metadata,
    /// Only what has to be accounted for: calls with a key, without what was said.
    Keys,
}

/// Writes the record of calls to a store.
#[derive(Debug)]
pub struct Audit {
    store: Arc<dyn Store>,
    clock: Arc<dyn WallClock>,
    scope: AuditScope,
    redactor: ArcSwap<Redactor>,
    refusals: Refusals,
}

/// Why a row is not written.
#[derive(Debug)]
pub(crate) struct Unwritten {
    pub(crate) failure: Failure,
    /// Whether it may be committed yet.
    pub(crate) pending: bool,
}

/// What is known of a call that never was one.
pub(crate) struct Unread<'a> {
    pub(crate) id: CallId,
    pub(crate) dialect: Dialect,
    pub(crate) endpoint: Endpoint,
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) model: &'a str,
    pub(crate) bytes_in: usize,
}

impl Audit {
    /// An audit that writes to a store.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn WallClock>,
        scope: AuditScope,
        redactor: Redactor,
    ) -> Self {
        let redactor = ArcSwap::from_pointee(redactor);
        Self { store, clock, scope, redactor, refusals: Refusals::default() }
    }

    /// Strikes out by this one from now on: the secrets of this bridge may change while it runs.
    pub fn set_redactor(&self, redactor: Redactor) {
        self.redactor.store(Arc::new(redactor));
    }

    /// What credentials are struck out by now.
    pub fn redactor(&self) -> Arc<Redactor> {
        self.redactor.load_full()
    }

    /// Which calls are recorded.
    pub const fn scope(&self) -> AuditScope {
        self.scope
    }

    /// Whether this caller's calls are recorded.
    pub fn records(&self, caller: &Caller) -> bool {
        self.scope != AuditScope::Keys || caller.key.is_some()
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The clock that it goes by.
    pub(crate) fn clock(&self) -> &dyn WallClock {
        &*self.clock
    }

    /// The time of day, as rows have it.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Whether what this caller says, and is told, is kept: bodies, and the messages of failures.
    pub fn keeps_bodies(&self, caller: &Caller) -> bool {
        let policy = caller.key.as_ref().map_or(AuditPolicy::Full, |key| key.audit);
        self.scope == AuditScope::Full && policy == AuditPolicy::Full
    }

    /// Whether everything can be recorded that has to be.
    pub fn ready(&self) -> Result<(), Failure> {
        if self.scope == AuditScope::Keys { Ok(()) } else { self.can_write() }
    }

    /// Whether this caller's calls can be recorded, where they are.
    pub(crate) fn ready_for(&self, caller: &Caller) -> Result<(), Failure> {
        if self.records(caller) { self.can_write() } else { Ok(()) }
    }

    fn can_write(&self) -> Result<(), Failure> {
        match self.store.fault() {
            Some(fault) => Err(unavailable(&StoreError::Down(fault))),
            None => Ok(()),
        }
    }

    /// Queues the RX row. The upstream may be asked once this has resolved.
    pub(crate) async fn open(
        &self,
        call: &mut Call,
        received: UnixMillis,
        reserved: Spending,
    ) -> Result<Written, Failure> {
        let body = call.body.take().filter(|_| self.keeps_bodies(&call.caller));
        let unread = Unread {
            id: call.id,
            dialect: call.dialect,
            endpoint: call.endpoint,
            caller: Some(&call.caller),
            model: call.request.model.as_str(),
            bytes_in: call.bytes_in,
        };
        let mut opened = self.opened(&unread, received);
        opened.stream = call.stream;
        opened.messages = u32::try_from(call.request.messages.len()).unwrap_or(u32::MAX);
        opened.input_tokens = call.input_tokens;
        opened.reserved = reserved;
        opened.body = match body {
            Some(body) => Some(self.redact(body).await?),
            None => None,
        };
        self.refusals.earn(who(&call.caller));
        Ok(self.store.open(opened))
    }

    /// Closes a call that came to nothing while its RX row was on its way. Nobody waits: if the
    /// one row is written so will be the other, and nothing of the call stays open.
    pub(crate) fn close_unasked(
        &self,
        caller: &Caller,
        finished: &Finished<'_>,
        received: UnixMillis,
    ) {
        let mut closed = self.closed(caller, finished, received);
        closed.spending = Some(Spending::default());
        drop(self.store.close(closed));
    }

    /// Commits the TX row. The caller may have the end of the answer once this has resolved.
    pub(crate) async fn close(
        &self,
        caller: &Caller,
        finished: &Finished<'_>,
        received: UnixMillis,
        body: Option<Vec<u8>>,
        spending: Option<Spending>,
        overrun: bool,
    ) -> Result<(), Failure> {
        let mut closed = self.closed(caller, finished, received);
        if let Some(body) = body {
            // The row must be there, if need be without what was said.
            match self.redact(Bytes::from(body)).await {
                Ok(body) => closed.body = Some(body),
                Err(failure) => tracing::error!(call = %closed.id, ?failure, "no body recorded"),
            }
        }
        closed.spending = spending;
        closed.overrun = overrun;
        committed(self.store.close(closed)).await.map_err(|unwritten| unwritten.failure)
    }

    /// Strikes credentials out of what was said. Large texts go to a thread of their own.
    async fn redact(&self, text: Bytes) -> Result<Bytes, Failure> {
        if text.len() <= LARGE {
            return Ok(redacted(&self.redactor.load(), text));
        }
        let redactor = self.redactor.load_full();
        let redacting = tokio::task::spawn_blocking(move || redacted(&redactor, text));
        redacting.await.map_err(|error| {
            Failure::new(FailureKind::Internal, "The record of the call could not be made.")
                .with_source(error)
        })
    }

    /// Records what a call spent whose end was recorded before.
    pub(crate) fn settle(&self, id: CallId, spending: Spending) {
        // The store keeps it until it is written; nobody waits.
        drop(self.store.settle(id, spending));
    }

    /// Records what is refused at a door that takes no calls, as the refusal of a call is.
    pub fn refused(&self, refusal: &Refusal<'_>) {
        let Knock { id, dialect, endpoint, caller } = refusal.at;
        let outcome = Outcome::Failed(refusal.failure, refusal.status);
        let finished = end::unread(id, dialect, outcome, refusal.duration);
        let bytes_in = refusal.bytes_in;
        self.refuse(&Unread { id, dialect, endpoint, caller, model: "", bytes_in }, &finished);
    }

    /// Counts a stranger who is refused at a door that leaves no record of anybody else: somebody may
    /// be guessing keys.
    pub fn refused_stranger(&self, caller: &Caller, failure: &Failure) {
        if self.records(caller) && who(caller) == Who::Stranger {
            let now = self.clock.now();
            self.refusals.note(now, failure.kind.as_str(), caller.address, Who::Stranger);
        }
    }

    /// Counts a key that has ended and was shown, by this caller, at a door that leaves no record:
    /// whether or not anything else opened it, somebody still has the key.
    pub fn shown_in_vain(&self, caller: &Caller) {
        if caller.key.is_some() {
            let reason = FailureKind::Unauthenticated.as_str();
            self.refusals.tally(self.clock.now(), reason, caller.address, who(caller));
        }
    }

    /// Records a call that was refused, or left, before it was one: a row for holders of keys, for
    /// whoever has the token, and for callers of this machine, within bounds; a count for all else.
    pub(crate) fn refuse(&self, unread: &Unread<'_>, finished: &Finished<'_>) {
        let now = self.clock.now();
        if self.scope == AuditScope::Keys && unread.caller.is_none_or(|caller| caller.key.is_none())
        {
            return;
        }
        let reason = match finished.outcome {
            Outcome::Failed(failure, _) => failure.kind.as_str(),
            Outcome::Answered | Outcome::HungUp => "hung_up",
        };
        let who = unread.caller.map_or(Who::Stranger, who);
        let address = unread.caller.map_or(NOWHERE, |caller| caller.address);
        // Strangers never get a row.
        let row = self.refusals.note(now, reason, address, who);
        let Some(caller) = unread.caller.filter(|_| row) else { return };
        let elapsed = UnixMillis::try_from(finished.duration.as_millis()).unwrap_or_default();
        let received = now.saturating_sub(elapsed);
        let mut opened = self.opened(unread, received);
        let mut closed = self.closed(caller, finished, received);
        closed.ended = now;
        closed.spending = Some(Spending::default());
        // Such a row is small, whatever the caller sent.
        for text in [&mut opened.agent, &mut closed.message] {
            *text = text.as_deref().map(|text| head(text, SMALL).into());
        }
        self.store.refuse(opened, closed);
    }

    /// Hands on what was counted of refusals in minutes that are over, or of all.
    pub fn flush_refusals(&self, all: bool) {
        let counts = self.refusals.take(self.clock.now(), all);
        if !counts.is_empty() {
            self.store.count_refusals(counts);
        }
    }

    /// What somebody else wrote, as it may stand in a row: not too long, and without credentials,
    /// since those are put in the wrong field too.
    fn foreign(&self, text: &str, most: usize) -> Box<str> {
        let text = head(text, LARGE);
        head(&self.redactor.load().redact_text(text), most).into()
    }

    fn opened(&self, unread: &Unread<'_>, received: UnixMillis) -> Box<Opened> {
        let caller = unread.caller;
        let key = caller.and_then(|caller| caller.key.as_deref());
        Box::new(Opened {
            id: unread.id,
            received,
            key: key.map(|key| key.key.id),
            tenant: key.map(|key| key.key.tenant.clone()),
            sandbox: key.is_some_and(|key| key.key.kind == crate::keys::KeyKind::Sandbox),
            address: caller.map_or(NOWHERE, |caller| caller.address),
            agent: caller
                .and_then(|caller| caller.agent.as_deref())
                .map(|agent| self.foreign(agent, MESSAGE)),
            dialect: unread.dialect,
            endpoint: unread.endpoint,
            model: self.foreign(unread.model, NAME),
            stream: false,
            messages: 0,
            bytes_in: unread.bytes_in as u64,
            input_tokens: 0,
            reserved: Spending { amounts: Amounts::default(), ..Spending::default() },
            body: None,
        })
    }

    fn closed(
        &self,
        caller: &Caller,
        finished: &Finished<'_>,
        received: UnixMillis,
    ) -> Box<Closed> {
        let (status, failure) = match finished.outcome {
            Outcome::Answered => (200, None),
            Outcome::Failed(failure, status) => (status, Some(failure)),
            Outcome::HungUp => (HUNG_UP, None),
        };
        // All by the clock that cannot jump: the times of a row are in order, whatever the time of
        // day did meanwhile.
        let after = |time: Duration| {
            received.saturating_add(UnixMillis::try_from(time.as_millis()).unwrap_or_default())
        };
        let first = finished.first_byte.map(after);
        Box::new(Closed {
            id: finished.id,
            first_byte: first,
            ended: after(finished.duration),
            model_served: finished.model_served.map(|model| self.foreign(model, NAME)),
            upstream: finished.upstream.map(|name| self.foreign(name, NAME)),
            replay_of: finished.replay_of,
            status,
            stop_reason: finished.stop_reason.map(model::StopReason::as_str),
            input_tokens: finished.usage.input,
            output_tokens: finished.usage.output,
            cached_tokens: finished.usage.cached_input,
            estimated: finished.usage.estimated,
            overrun: false,
            losses: finished.losses.names(),
            bytes_out: finished.bytes_out as u64,
            failure: failure.map(|failure| failure.kind.as_str()),
            // A message may repeat what the caller or the host said. The kind does not.
            message: failure
                .filter(|_| self.keeps_bodies(caller))
                .map(|failure| self.foreign(&failure.message, MESSAGE)),
            body: None,
            spending: None,
        })
    }
}

/// As whom a caller is counted.
fn who(caller: &Caller) -> Who {
    match &caller.key {
        Some(key) => Who::holder(key),
        None if caller.authenticated || caller.loopback => Who::Known,
        None => Who::Stranger,
    }
}

/// The first bytes of a text, up to the end of a character.
fn head(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

fn redacted(redactor: &Redactor, text: Bytes) -> Bytes {
    match redactor.redact(&text).text {
        Cow::Borrowed(_) => text,
        Cow::Owned(redacted) => redacted.into(),
    }
}

/// Waits for a row, but not for ever.
pub(crate) async fn committed(mut written: Written) -> Result<(), Unwritten> {
    // Nearly always it is there at once, without a timer.
    let answer = match written.soon().await {
        Some(answer) => Ok(answer),
        None => tokio::time::timeout(PATIENCE, written).await,
    };
    let (error, pending) = match answer {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => (error, false),
        Err(_late) => (StoreError::Down("it does not answer".into()), true),
    };
    Err(Unwritten { failure: unavailable(&error), pending })
}

/// What callers are told while nothing can be recorded. The cause may name files, and stays here.
pub(crate) fn unavailable(error: &StoreError) -> Failure {
    if let StoreError::Unsupported(why) = error {
        let message =
            format!("The call cannot be recorded, and no call is answered without: {why}.");
        return Failure::new(FailureKind::TooLarge, message);
    }
    let message = "The record of calls cannot be written at the moment, and no call is answered \
                   without it. The bridge's stderr says why.";
    Failure::new(FailureKind::NotReady, message)
        .with_retry(Retry::After(AGAIN))
        .with_source(error.clone())
}
