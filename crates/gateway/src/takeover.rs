//! The guard against paying twice for one answer.
//!
//! Claude Code asks once more, unstreamed, when a stream of its breaks. Exactly that is
//! recognised: the same caller and session, first streamed and then not, equal bodies but for how
//! the answer is to come. The second call then takes over the sampling of the first, or its
//! complete answer that nobody has read to the end. Everything else samples anew.
//!
//! Invariants: a sampling is taken over once at most, and only by a call with its [`Signature`];
//! whoever claims finds the whole answer or its failure, never a part; what is held is bounded in
//! count, bytes and time.

use std::collections::HashMap;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use model::{CallId, Dialect, Failure, FailureKind, ParamsMode};
use tokio::sync::oneshot;

use crate::Call;
use crate::keys::KeyId;

mod guarded;

use guarded::{Claimed, Entry, Handover, lock};
pub(crate) use guarded::{DoorMark, Guarded, Keeper, same};

/// Streams that are guarded at once; further ones are not.
const MAX_GUARDED: usize = 256;

/// What a door tells of a request that may have a successor, or be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayKey {
    /// Digest of the session that the caller names.
    pub session: u64,
    /// Digest of the body without what may differ.
    pub body: u64,
}

/// What makes two calls the same question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Signature {
    key: ReplayKey,
    dialect: Dialect,
    mode: ParamsMode,
    /// Without a token, all that is known of a caller is where it is.
    open: Option<(bool, IpAddr)>,
    /// The key that was shown.
    holder: Option<KeyId>,
}

impl Signature {
    fn of(call: &Call) -> Option<Self> {
        if call.request.params.max_tokens == Some(0) {
            // Answered with nothing, here: it asks for something else than a larger bound does.
            return None;
        }
        let caller = &call.caller;
        Some(Self {
            key: call.replay?,
            dialect: call.dialect,
            mode: call.request.mode,
            open: (!caller.authenticated).then_some((caller.loopback, caller.address)),
            holder: caller.key.as_ref().map(|key| key.key.id),
        })
    }
}

/// Knows the streams whose samplings may be taken over.
#[derive(Debug, Default)]
pub(crate) struct ReplayGuard {
    hasher: RandomState,
    known: Mutex<HashMap<Signature, Arc<Entry>>>,
    /// Bytes of all answers that are held.
    bytes: Arc<AtomicUsize>,
}

impl ReplayGuard {
    /// Makes digests under a key of this process, so that no caller can aim at another's.
    pub(crate) const fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Begins to guard a streamed call. A younger one takes the place of one with its signature.
    pub(crate) fn watch(self: &Arc<Self>, call: &Call) -> Option<Guarded> {
        let signature = Signature::of(call).filter(|_| call.stream)?;
        let mut known = lock(&self.known);
        if known.len() >= MAX_GUARDED && !known.contains_key(&signature) {
            return None;
        }
        let entry = Arc::new(Entry::new(call.id, Arc::clone(&self.bytes)));
        if let Some(older) = known.insert(signature.clone(), Arc::clone(&entry)) {
            older.changed.notify_one();
        }
        Some(Guarded { guard: Arc::clone(self), signature, entry })
    }

    /// Whether there is such a sampling to take over for a call.
    pub(crate) fn has(&self, call: &Call) -> bool {
        let signature = Signature::of(call).filter(|_| !call.stream);
        signature.is_some_and(|signature| lock(&self.known).contains_key(&signature))
    }

    /// Takes over the sampling of an earlier call, if there is one with the signature of this one.
    pub(crate) fn claim(&self, call: &Call) -> Option<Claim> {
        let signature = Signature::of(call).filter(|_| !call.stream)?;
        // Held to the end: whoever gives up under it finds out whether somebody has come.
        let mut known = lock(&self.known);
        let entry = known.remove(&signature)?;
        let handover = entry.claim()?;
        Some(Claim { entry, handover })
    }

    /// Whether a successor could find a call.
    fn knows(&self, signature: &Signature, entry: &Arc<Entry>) -> bool {
        lock(&self.known).get(signature).is_some_and(|known| Arc::ptr_eq(known, entry))
    }

    fn forget(&self, signature: &Signature, entry: &Arc<Entry>) {
        let mut known = lock(&self.known);
        if known.get(signature).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            known.remove(signature);
        }
    }
}

/// The right of a successor to the answer of an earlier call. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Claim {
    entry: Arc<Entry>,
    handover: oneshot::Receiver<Handover>,
}

impl Claim {
    /// The earlier call.
    pub(crate) fn of(&self) -> CallId {
        self.entry.id
    }

    /// Waits for the answer. Cancel-safe; not to be called again after it has resolved.
    pub(crate) async fn answer(&mut self) -> Handover {
        (&mut self.handover).await.unwrap_or_else(|_| {
            let message = "The bridge failed while it answered this call.";
            Err(Failure::new(FailureKind::Internal, message))
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.entry.state).claim = Claimed::Gone;
        self.entry.changed.notify_one();
    }
}
