//! The port to what remembers: keys, spending, and the record of every call.
//!
//! Writes are queued in order and answered by a [`Written`], which resolves when they are durable;
//! reads see what was answered before them, or, while the store cannot write, what it had written.
//! A store that cannot write says so on each write, and in [`Store::state`]; it heals by itself when
//! the cause goes away.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use model::{CallId, Dialect};
use tokio::sync::oneshot;

use crate::BoxFuture;
use crate::amounts::Amounts;
use crate::keys::{Endpoint, KeyId, ScopeId, Tenant, TenantId, UnixMillis, VirtualKey};

mod query;

pub use query::{
    CallFilter, CallPage, CallRow, Cursor, EndedPage, Finding, FullCall, Loaded, Progress,
    RefusalFilter, RefusalGroup, RefusalPage, RefusalRow, StoreState, UsageBy, UsageFilter,
    UsageRow, Verdict,
};

/// Why a store could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot write or read at the moment: disk full, locked, corrupt. Comes back by itself.
    #[error("the store is not available: {0}")]
    Down(Arc<str>),
    /// There is something like that already.
    #[error("there is one already")]
    Conflict,
    /// There is nothing like that: it was never made, or is gone.
    #[error("there is no such thing")]
    Missing,
    /// It cannot do what was asked, now or later.
    #[error("the store cannot do that: {0}")]
    Unsupported(&'static str),
    /// The store's version is newer than this program.
    #[error("the store was written by a newer mcptb: {0}")]
    TooNew(Arc<str>),
}

/// Makes durable what waits for company.
pub trait Flush: fmt::Debug + Send + Sync {
    /// Does so now; what somebody else is making durable at the moment is not waited for.
    fn flush(&self);
}

/// Resolves when a write is durable: it is there after the end of the process. Or when it is known
/// to have failed.
///
/// Dropping it does not take the write back.
#[derive(Debug)]
pub struct Written {
    answer: oneshot::Receiver<Result<(), StoreError>>,
    /// What the write waits for, if it does.
    flush: Option<Arc<dyn Flush>>,
    /// Whether others had their turn to bring more.
    yielded: bool,
}

impl Written {
    /// A pending write, and what answers it. An answer that is dropped is a failure.
    pub fn pending() -> (oneshot::Sender<Result<(), StoreError>>, Self) {
        let (sender, answer) = oneshot::channel();
        (sender, Self { answer, flush: None, yielded: false })
    }

    /// The same of a write that waits for company: whoever waits for it lets every other task that
    /// can go on do so once, and then has all that was brought made durable at once.
    pub fn gathering(flush: Arc<dyn Flush>) -> (oneshot::Sender<Result<(), StoreError>>, Self) {
        let (sender, answer) = oneshot::channel();
        (sender, Self { answer, flush: Some(flush), yielded: false })
    }
}

impl Written {
    /// Lets others have their turn, and has it made durable: the answer, unless that takes longer.
    pub async fn soon(&mut self) -> Option<Result<(), StoreError>> {
        std::future::poll_fn(|context| match Pin::new(&mut *self).poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if self.flush.is_none() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl Future for Written {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut answer = Pin::new(&mut this.answer).poll(context);
        if answer.is_pending() && !std::mem::replace(&mut this.yielded, true) {
            if this.flush.is_some() {
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        if let Some(flush) = this.flush.take()
            && answer.is_pending()
        {
            flush.flush();
            answer = Pin::new(&mut this.answer).poll(context);
        }
        let written = ready!(answer);
        Poll::Ready(written.unwrap_or_else(|_| Err(StoreError::Down("it has ended".into()))))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(flush) = self.flush.take() {
            flush.flush();
        }
    }
}

/// The beginning of a minute, and what a scope spent in it.
pub type MinuteSpent = (UnixMillis, ScopeId, Amounts);

/// What remembers. One process writes to one store.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Records that a call came in (RX). The upstream may be asked once this has resolved. A call
    /// is opened once; the same call a second time is ignored.
    fn open(&self, opened: Box<Opened>) -> Written;

    /// Records how a call ended (TX), and what it spent, in one transaction. The caller may have
    /// the end of the answer once this has resolved. A call is closed once; a second time, or
    /// without its RX, is ignored. What could not be written is kept and written later, so that
    /// nothing spent is forgotten: whoever is told of a failure need not try again, and gives nobody
    /// the answer. Such a row says that it was withheld, with status 503; so does that of an answer
    /// whose [`Written`] was dropped before the write began.
    fn close(&self, closed: Box<Closed>) -> Written;

    /// Records what a call spent that was closed before that was known. A call is settled once;
    /// a second time, or before it was closed, is ignored. Kept like a close.
    fn settle(&self, id: CallId, spending: Spending) -> Written;

    /// Records a call that was refused before it was one: both halves at once, nothing spent,
    /// whatever the halves say. When too much waits it is counted instead.
    fn refuse(&self, opened: Box<Opened>, closed: Box<Closed>);

    /// Counts refusals that get no row of their own.
    fn count_refusals(&self, counts: Vec<RefusalCount>);

    /// Notes when keys were used last, for what leaves no call. Nobody waits for it; what is later
    /// already stays.
    fn note_used(&self, used: Vec<(KeyId, UnixMillis)>);

    /// Changes keys or tenants. Whoever did it is named in the journal. Making what is there is a
    /// [`StoreError::Conflict`]; changing or deleting what is not is a [`StoreError::Missing`].
    /// Whether keys, parents and tenants fit together is for the caller to see to.
    fn change(&self, change: Change, actor: Actor) -> Written;

    /// Everything that has to be in memory. Closes calls that a crash left open, with status 0 and
    /// the failure `interrupted`, and settles those that it left unsettled: both as reserved.
    fn load(&self) -> BoxFuture<'_, Result<Loaded, StoreError>>;

    /// What each scope spent in calls admitted in a span of time, widened to whole minutes.
    fn spent(
        &self,
        span: Range<UnixMillis>,
    ) -> BoxFuture<'_, Result<Vec<(ScopeId, Amounts)>, StoreError>>;

    /// What each scope spent in every minute after that of a time: nothing, unless the clock was ahead
    /// once. The minutes are told by their beginnings.
    fn spent_after(&self, time: UnixMillis) -> BoxFuture<'_, Result<Vec<MinuteSpent>, StoreError>>;

    /// Calls that fit a filter, newest first; at most 1,000 of them, and fewer than asked for where
    /// it takes long to find them.
    fn calls(
        &self,
        filter: CallFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<CallPage, StoreError>>;

    /// Calls in the order in which their ends were written down, behind a place of the record; at
    /// least 1 and at most 1,000 of them. Without a place it gives none, and the last place.
    fn ended(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<EndedPage, StoreError>>;

    /// One call with its bodies.
    fn call(&self, id: CallId) -> BoxFuture<'_, Result<Option<FullCall>, StoreError>>;

    /// What was spent, by key, tenant, model or day.
    fn usage(&self, filter: UsageFilter) -> BoxFuture<'_, Result<Vec<UsageRow>, StoreError>>;

    /// Counts of refusals that fit a filter, newest first; at least 1 and at most 1,000 of them.
    /// Those of the last moment may be missing: nobody waits for a count to be written.
    fn refusals(
        &self,
        filter: RefusalFilter,
        after: Option<RefusalGroup>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RefusalPage, StoreError>>;

    /// Checks the chain of the journal and the rows against it. `progress` is told how far it is.
    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<Verdict, StoreError>>;

    /// Whether it can write now, and what there is to know of it. Cheap.
    fn state(&self) -> StoreState;

    /// Why it cannot write now. Asked before every call: cheaper than the whole state.
    fn fault(&self) -> Option<Arc<str>> {
        self.state().fault
    }

    /// Commits what is queued and ends. Further writes fail.
    fn shut_down(&self) -> BoxFuture<'_, ()>;
}

/// The RX half of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// The GUID.
    pub id: CallId,
    /// When it came in.
    pub received: UnixMillis,
    /// The key that was shown.
    pub key: Option<KeyId>,
    /// Whose key it is.
    pub tenant: Option<TenantId>,
    /// Whether it is a sandbox call. It spends no budget, and at most a use of its keys.
    pub sandbox: bool,
    /// The caller's address.
    pub address: IpAddr,
    /// The caller's `user-agent`.
    pub agent: Option<Box<str>>,
    /// The wire format.
    pub dialect: Dialect,
    /// The door.
    pub endpoint: Endpoint,
    /// The model asked for.
    pub model: Box<str>,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// Messages in the conversation.
    pub messages: u32,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Our estimate of the tokens in the request.
    pub input_tokens: u64,
    /// What is charged if nothing more is heard of the call.
    pub reserved: Spending,
    /// The request body, redacted; `None` where policy keeps none.
    pub body: Option<Bytes>,
}

/// What a call spends, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// Everything that is debited: the key, its ancestors, the tenant. Empty without a key.
    pub scopes: Arc<[ScopeId]>,
    /// When it was admitted: it counts in the windows of that time.
    pub admitted: UnixMillis,
    /// How much.
    pub amounts: Amounts,
}

/// The TX half of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// The GUID.
    pub id: CallId,
    /// When the first event came from the upstream.
    pub first_byte: Option<UnixMillis>,
    /// When it ended.
    pub ended: UnixMillis,
    /// The model that answered.
    pub model_served: Option<Box<str>>,
    /// Who answered.
    pub upstream: Option<Box<str>>,
    /// The earlier call whose sampling answered this one.
    pub replay_of: Option<CallId>,
    /// The status of the answer; 499 where the caller hung up.
    pub status: u16,
    /// Why the reply ended.
    pub stop_reason: Option<&'static str>,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from a cache of the upstream.
    pub cached_tokens: u64,
    /// Whether those are our estimates.
    pub estimated: bool,
    /// Whether more was spent than reserved.
    pub overrun: bool,
    /// What was lost, as its names.
    pub losses: Cow<'static, str>,
    /// Bytes of the reply text.
    pub bytes_out: u64,
    /// The kind of failure.
    pub failure: Option<&'static str>,
    /// What the caller was told of it.
    pub message: Option<Box<str>>,
    /// The reply, redacted; `None` where policy keeps none or there is none.
    pub body: Option<Bytes>,
    /// What it spent; `None` where that is not known yet and [`Store::settle`] will tell.
    pub spending: Option<Spending>,
}

/// Refusals of one minute that look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// The minute.
    pub minute: UnixMillis,
    /// The kind of failure.
    pub reason: &'static str,
    /// The network of the caller: /24 or /48.
    pub network: ipnet::IpNet,
    /// The key, where one was shown and is known.
    pub key: Option<KeyId>,
    /// How many.
    pub count: u64,
}

/// A change of keys or tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key that is new.
    KeyCreated(Box<VirtualKey>),
    /// A key that is changed, in whatever field.
    KeyChanged(Box<VirtualKey>),
    /// A key that is gone. Its calls and its spending stay.
    KeyDeleted(KeyId),
    /// A tenant that is new.
    TenantCreated(Box<Tenant>),
    /// A tenant that is changed.
    TenantChanged(Box<Tenant>),
    /// A tenant that is gone.
    TenantDeleted(TenantId),
}

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person or script on this machine, through files or the control socket.
    Machine,
    /// The holder of a key.
    Key(KeyId),
}
