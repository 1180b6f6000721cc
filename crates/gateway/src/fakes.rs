//! Stand-ins for what remembers and what draws, for tests of this and other rooms.
//!
//! The store is honest: it keeps in memory what a real one keeps in files, and answers from it. It
//! can be told to fail, and to leave writes unanswered.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::Secret;

use crate::admin::Randomness;
use crate::clock::WallClock;
use crate::keys::UnixMillis;
use crate::keys::token::Entropy;

mod reads;
mod store;

pub use store::MemoryStore;

/// A clock that a test sets.
#[derive(Debug, Default)]
pub struct SetClock(AtomicI64);

impl SetClock {
    /// A clock that stands at a time.
    pub const fn at(now: UnixMillis) -> Self {
        Self(AtomicI64::new(now))
    }

    /// Sets it.
    pub fn set(&self, now: UnixMillis) {
        self.0.store(now, Ordering::SeqCst);
    }

    /// Moves it on.
    pub fn advance(&self, by: UnixMillis) {
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl WallClock for SetClock {
    fn now(&self) -> UnixMillis {
        self.0.load(Ordering::SeqCst)
    }
}

/// Draws a number that grows, so that tests get the same tokens each time.
#[derive(Debug, Default)]
pub struct CountedRandomness(AtomicU64);

impl Randomness for CountedRandomness {
    fn entropy(&self) -> Option<Entropy> {
        let drawn = self.0.fetch_add(1, Ordering::SeqCst);
        let mut secret = [0; 32];
        secret.iter_mut().zip(drawn.to_le_bytes()).for_each(|(out, byte)| *out = byte);
        // An id takes 5 bits of each byte.
        let mut id = [0; 12];
        for (place, out) in id.iter_mut().enumerate() {
            *out =
                u8::try_from(drawn.checked_shr(5 * u32::try_from(place).ok()?).unwrap_or(0) & 31)
                    .ok()?;
        }
        Some(Entropy { secret: Secret::new(secret), id })
    }
}
