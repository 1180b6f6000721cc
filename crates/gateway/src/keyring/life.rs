//! What all snapshots of a key share.
//!
//! Whether a key still holds is asked several times in each call, and once more for each frame that a
//! caller is sent, by all threads at once: so that costs two looks at memory that hardly ever
//! changes, and no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::keys::UnixMillis;

/// When a key was used, and when it ends by time.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) used: AtomicI64,
    /// When the key ends by time, as it is now.
    ends: AtomicI64,
    /// The same: calls that run are told when that is changed.
    told: watch::Sender<UnixMillis>,
}

impl Life {
    pub(super) fn new(used: UnixMillis) -> Arc<Self> {
        let told = watch::Sender::new(UnixMillis::MAX);
        let (used, ends) = (AtomicI64::new(used), AtomicI64::new(UnixMillis::MAX));
        Arc::new(Self { used, ends, told })
    }

    /// When the key ends by time.
    pub(super) fn ends(&self) -> UnixMillis {
        self.ends.load(Ordering::Acquire)
    }

    /// The key ends at another time now; calls that run are told if that is so.
    pub(super) fn set_end(&self, at: UnixMillis) {
        self.ends.store(at, Ordering::Release);
        self.told.send_if_modified(|told| std::mem::replace(told, at) != at);
    }

    /// Tells when that is changed.
    pub(super) fn changes(&self) -> watch::Receiver<UnixMillis> {
        self.told.subscribe()
    }
}

/// Tells that a key was revoked. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Ended(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    ended: AtomicBool,
    told: CancellationToken,
}

impl Ended {
    /// Whether it was.
    pub fn is_cancelled(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// Resolves when it is. Cancel-safe.
    pub async fn cancelled(&self) {
        self.0.told.cancelled().await;
    }

    /// It is.
    pub(crate) fn cancel(&self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.told.cancel();
    }
}
