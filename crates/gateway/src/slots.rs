//! The slots of one host and the bounded queue before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{Failure, FailureKind, Retry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How many calls a host works on at once, and how many may wait for it.
#[derive(Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    concurrency: usize,
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
}

/// The right to one call at the host. Dropping it gives it back.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// A place in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Place {
    waiting: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    /// Slots for `concurrency` calls (at least 1) and a queue of `max_waiting`.
    pub fn new(concurrency: usize, max_waiting: usize) -> Self {
        let concurrency = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            waiting: Arc::default(),
            max_waiting,
        }
    }

    /// A slot, if one is free and nobody waits.
    pub fn take_free(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// A place in the queue, or a refusal that says when to come again.
    pub fn enter_queue(&self) -> Result<Place, Failure> {
        let entered = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < self.max_waiting).then_some(waiting + 1)
        });
        if entered.is_err() {
            return Err(self.overloaded("too many calls are waiting for the host"));
        }
        Ok(Place { waiting: Arc::clone(&self.waiting) })
    }

    /// Waits for a slot, first come first served.
    ///
    /// Cancel-safe: a dropped wait leaves the queue. Fails with `Overloaded` at the deadline.
    pub async fn wait(&self, place: &Place, deadline: Instant) -> Result<Slot, Failure> {
        debug_assert!(Arc::ptr_eq(&place.waiting, &self.waiting), "a place in another queue");
        let acquire = Arc::clone(&self.free).acquire_owned();
        match tokio::time::timeout_at(deadline, acquire).await {
            Ok(Ok(permit)) => Ok(Slot { _permit: permit }),
            Ok(Err(_)) => Err(Failure::new(FailureKind::NotReady, "The host has gone.")),
            Err(_) => Err(self.overloaded("the call waited for its turn until its deadline")),
        }
    }

    /// Calls at the host now.
    pub fn in_flight(&self) -> usize {
        self.concurrency.saturating_sub(self.free.available_permits())
    }

    /// Calls that may be at the host at once.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Calls in the queue.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn overloaded(&self, why: &str) -> Failure {
        let depth = self.waiting();
        // A guess of one second per round through the slots, so that waves of retries spread out.
        let seconds = (depth / self.concurrency).clamp(1, 60) as u64;
        let message =
            format!("The bridge is busy: {why} ({depth} waiting, {} at once).", self.concurrency);
        Failure::new(FailureKind::Overloaded, message)
            .with_retry(Retry::After(Duration::from_secs(seconds)))
    }
}
