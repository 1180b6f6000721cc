//! What can be asked of a store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ipnet::IpNet;
use model::CallId;

use crate::amounts::Amounts;
use crate::keys::{KeyId, Tenant, TenantId, UnixMillis, VirtualKey};

/// What has to be in memory.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Every key, also those that have ended.
    pub keys: Vec<VirtualKey>,
    /// When each key was used last, where it was.
    pub last_used: Vec<(KeyId, UnixMillis)>,
    /// Every tenant.
    pub tenants: Vec<Tenant>,
    /// Calls that a crash had left open, now closed and charged as reserved.
    pub interrupted: u64,
}

/// Which calls are wanted. Every field that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Calls of this key.
    pub key: Option<KeyId>,
    /// Calls of this tenant.
    pub tenant: Option<TenantId>,
    /// Calls that asked for this model, or were served by it.
    pub model: Option<String>,
    /// Calls that ended with a status in this range.
    pub status: Option<Range<u16>>,
    /// Calls received in this span.
    pub received: Option<Range<UnixMillis>>,
    /// Calls whose request or reply holds all of these words, in their first 4 KB.
    pub text: Option<String>,
}

impl CallFilter {
    /// Whether a call fits, for all that its row tells: the text is not in it.
    pub fn fits(&self, row: &CallRow) -> bool {
        let of_model =
            |model: &String| row.model == *model || row.model_served.as_ref() == Some(model);
        let with_status =
            |range: &Range<u16>| row.status.is_some_and(|status| range.contains(&status));
        self.key.is_none_or(|key| row.key == Some(key))
            && self.tenant.as_ref().is_none_or(|tenant| row.tenant.as_ref() == Some(tenant))
            && self.model.as_ref().is_none_or(of_model)
            && self.status.as_ref().is_none_or(with_status)
            && self.received.as_ref().is_none_or(|span| span.contains(&row.received))
    }
}

/// Where a page ends: calls after it are older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub CallId);

/// Some calls, newest first.
#[derive(Clone, Debug, Default)]
pub struct CallPage {
    /// The calls.
    pub calls: Vec<CallRow>,
    /// What to ask for next; `None` at the end. A page that takes long to find can be shorter than
    /// wanted, or empty, and still have a next one.
    pub next: Option<Cursor>,
    /// Of a search for text: how many calls are not searchable yet.
    pub lag: u64,
}

/// Some calls that have ended, the first of them first.
#[derive(Clone, Debug, Default)]
pub struct EndedPage {
    /// The calls.
    pub calls: Vec<CallRow>,
    /// The place in the record behind them. It holds on in the next process.
    pub place: u64,
    /// Whether more have ended already.
    pub more: bool,
}

/// A call without its bodies. What is `None` is not known, or not yet.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRow {
    /// The GUID.
    pub id: CallId,
    /// When it came in.
    pub received: UnixMillis,
    /// When the first event came from the upstream.
    pub first_byte: Option<UnixMillis>,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// The key that was shown.
    pub key: Option<KeyId>,
    /// Whose key it is.
    pub tenant: Option<TenantId>,
    /// Whether it was a sandbox call.
    pub sandbox: bool,
    /// The caller's address.
    pub address: String,
    /// The caller's `user-agent`.
    pub agent: Option<String>,
    /// The wire format.
    pub dialect: String,
    /// The door.
    pub endpoint: String,
    /// The model asked for.
    pub model: String,
    /// The model that answered.
    pub model_served: Option<String>,
    /// Who answered.
    pub upstream: Option<String>,
    /// The earlier call whose sampling answered this one.
    pub replay_of: Option<CallId>,
    /// Whether the reply was streamed.
    pub stream: bool,
    /// Messages in the conversation.
    pub messages: u32,
    /// The status of the answer; `None` while the call runs.
    pub status: Option<u16>,
    /// Why the reply ended.
    pub stop_reason: Option<String>,
    /// The kind of failure.
    pub failure: Option<String>,
    /// What the caller was told of it.
    pub message: Option<String>,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from a cache of the upstream.
    pub cached_tokens: u64,
    /// Whether those are our estimates.
    pub estimated: bool,
    /// What was reserved.
    pub reserved: Amounts,
    /// What it spent; `None` until it is settled.
    pub spent: Option<Amounts>,
    /// Whether more was spent than reserved.
    pub overrun: bool,
    /// What was lost, as its names.
    pub losses: String,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the reply text.
    pub bytes_out: u64,
}

/// A call with what was said.
#[derive(Clone, Debug, PartialEq)]
pub struct FullCall {
    /// The call.
    pub row: CallRow,
    /// The request, redacted; `None` where it is not kept.
    pub request: Option<Bytes>,
    /// The reply, redacted; `None` where it is not kept.
    pub reply: Option<Bytes>,
}

/// What usage is summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsageBy {
    /// Each key.
    Key,
    /// Each tenant.
    Tenant,
    /// Each model that was asked for.
    Model,
    /// Each day, UTC.
    Day,
}

/// Which usage is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageFilter {
    /// What it is summed by.
    pub by: UsageBy,
    /// Calls received in this span.
    pub received: Range<UnixMillis>,
    /// Calls of this key.
    pub key: Option<KeyId>,
    /// Calls of this tenant.
    pub tenant: Option<TenantId>,
}

/// What was spent by one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Which key, tenant, model or day (`2026-11-25`); empty where the call had none.
    pub name: String,
    /// Calls.
    pub calls: u64,
    /// Of them, failed or abandoned.
    pub failed: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Cost in nano-dollars.
    pub cost: u64,
}

/// Which counts of refusals are wanted. Every field that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusalFilter {
    /// Of this span, widened to whole minutes.
    pub span: Option<Range<UnixMillis>>,
    /// Of this kind of failure.
    pub reason: Option<String>,
    /// Of this key.
    pub key: Option<KeyId>,
    /// Of callers who may be in this network: those of networks within it, and of networks that it
    /// is within.
    pub network: Option<IpNet>,
}

/// What refusals are counted by. A page ends with one: those after it are older, or of the same
/// minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalGroup {
    /// When the minute began.
    pub minute: UnixMillis,
    /// The kind of failure.
    pub reason: String,
    /// The network of the caller; one of no length where networks were not told apart.
    pub network: IpNet,
    /// The key, where one was shown and is known.
    pub key: Option<KeyId>,
}

/// Refusals that look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalRow {
    /// What they have in common.
    pub group: RefusalGroup,
    /// How many.
    pub count: u64,
}

/// Some counts of refusals, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusalPage {
    /// The counts.
    pub refusals: Vec<RefusalRow>,
    /// What to ask for next; `None` at the end.
    pub next: Option<RefusalGroup>,
}

impl RefusalFilter {
    /// Whether a network is wanted.
    pub fn fits_network(&self, network: &IpNet) -> bool {
        let wanted = self.network.as_ref();
        wanted.is_none_or(|wanted| wanted.contains(network) || network.contains(wanted))
    }
}

/// How far a long piece of work is. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Progress {
    /// Says how much there is.
    pub fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// Adds to what is done.
    pub fn advance(&self, by: u64) {
        self.done.fetch_add(by, Ordering::Relaxed);
    }

    /// What is done, of how much.
    pub fn get(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// What a check of the journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Entries of the journal that were checked: one for each half of a call, each settlement after
    /// its end, each change of a key or tenant, and each time that retention took something.
    pub checked: u64,
    /// The first thing that is wrong, if anything is.
    pub finding: Option<Finding>,
    /// What a check cannot see, in sentences.
    pub unseen: Vec<String>,
    /// Entries that retention has taken away, by its own record.
    pub retired: u64,
}

/// What is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The number of the entry.
    pub sequence: u64,
    /// The call that it is about.
    pub call: Option<CallId>,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreState {
    /// Why it cannot write; `None` where it can.
    pub fault: Option<Arc<str>>,
    /// Writes that wait.
    pub queued: usize,
    /// Bytes of its files.
    pub bytes: u64,
    /// Calls that are not searchable by text yet.
    pub text_lag: u64,
    /// Calls that retention has taken away since the store was made.
    pub retired_calls: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: {}", self.sequence, self.what)?;
        match self.call {
            Some(call) => write!(f, " (call {call})"),
            None => Ok(()),
        }
    }
}
