//! The slots of one host and the bounded queue before them, fair between tenants.
//!
//! The rules are in [`fair`], without clock and tasks; here they meet the calls that wait. A slot
//! is handed to the call whose turn it is, not put down for whoever comes first, so a newcomer
//! cannot overtake. No lock is held while anything is woken, dropped or waited for.

mod fair;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use model::{Failure, FailureKind, Retry};
use tokio::time::{Instant, timeout_at};

use fair::{Queue, Ticket, Verdict};

/// In whose line a call stands: one per tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Tells lanes apart. Calls without a key share the lane without a name.
    pub name: Arc<str>,
    /// The share of this lane compared with others, from 1 to [`MAX_WEIGHT`](Self::MAX_WEIGHT);
    /// what lies outside counts as the nearest. The latest call of a lane sets it for all of them.
    pub weight: u32,
}

impl Lane {
    /// The largest weight.
    pub const MAX_WEIGHT: u32 = 10_000;
}

impl Default for Lane {
    /// The lane of calls without a key.
    fn default() -> Self {
        Self { name: Arc::default(), weight: 1 }
    }
}

/// How many calls a host works on at once, and how many may wait for it.
#[derive(Debug)]
pub struct Slots {
    /// Whose they are, as refusals name it.
    scope: Arc<str>,
    concurrency: usize,
    queue: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one call at the host. Dropping it gives it to the next in line.
#[derive(Debug)]
pub struct Slot {
    queue: Arc<Shared>,
    lane: Arc<str>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let next = self.queue.lock().give_back(&self.lane);
        next.into_iter().for_each(Waker::wake);
    }
}

/// A place in the queue. Dropping it leaves the queue.
///
/// When the queue is full, a place may go to a lane that has fewer for its weight: see
/// [`displaced`](Self::displaced).
#[derive(Debug)]
pub struct Place {
    queue: Arc<Shared>,
    lane: Arc<str>,
    /// Gone once the verdict is known.
    ticket: Option<Ticket>,
    /// For the message to a call that is displaced.
    scope: Arc<str>,
    concurrency: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut old = None;
            let next = self.queue.lock().abandon(&self.lane, ticket, &mut old);
            drop(old);
            next.into_iter().for_each(Waker::wake);
        }
    }
}

impl Place {
    /// Ends, with what to tell the caller, if another call gets this place. For those who hold a
    /// place, but do not [`wait`](Slots::wait) for a slot yet. Cancel-safe.
    pub async fn displaced(&mut self) -> Failure {
        poll_fn(|context| self.verdict(false, context)).await;
        self.no_room()
    }

    fn verdict(&mut self, asks: bool, context: &Context<'_>) -> Poll<Verdict> {
        let Some(ticket) = self.ticket else { return Poll::Ready(Verdict::Displaced) };
        let mut old = None;
        let verdict = self.queue.lock().hear(&self.lane, ticket, asks, context.waker(), &mut old);
        drop(old);
        match verdict {
            Some(verdict) => {
                self.ticket = None;
                Poll::Ready(verdict)
            }
            None => Poll::Pending,
        }
    }

    fn no_room(&self) -> Failure {
        overloaded(&self.scope, NO_ROOM, self.queue.lock().waiting(), self.concurrency)
    }
}

const NO_ROOM: &str = "too many calls are waiting for it";

impl Slots {
    /// Slots of `scope` for `concurrency` calls (at least 1) and a queue of `max_waiting`.
    pub fn new(scope: impl Into<Arc<str>>, concurrency: usize, max_waiting: usize) -> Self {
        // Shares of slots are reckoned in products with weights, which must fit.
        let concurrency = concurrency.clamp(1, u32::MAX as usize);
        let queue = Mutex::new(Queue::new(concurrency, max_waiting));
        Self { scope: scope.into(), concurrency, queue: Arc::new(Shared { queue }) }
    }

    /// A slot, if one is free and nobody waits.
    pub fn take_free(&self, lane: &Lane) -> Option<Slot> {
        let taken = self.queue.lock().take_free(lane);
        taken.then(|| Slot { queue: Arc::clone(&self.queue), lane: Arc::clone(&lane.name) })
    }

    /// A place in the queue, or a refusal that says when to come again.
    ///
    /// Within a lane calls of higher `priority` come first. A full queue still has room for a lane
    /// that holds less than its share of the places, and within a lane for a call of higher
    /// priority: the place of another call, which is then refused.
    pub fn enter_queue(&self, lane: &Lane, priority: u8) -> Result<Place, Failure> {
        let entered = self.queue.lock().enter(lane, priority);
        let Some((ticket, displaced)) = entered else {
            return Err(self.overloaded(NO_ROOM));
        };
        displaced.into_iter().for_each(Waker::wake);
        Ok(Place {
            queue: Arc::clone(&self.queue),
            lane: Arc::clone(&lane.name),
            ticket: Some(ticket),
            scope: Arc::clone(&self.scope),
            concurrency: self.concurrency,
        })
    }

    /// Says whether a call would get a place now, or a slot unless it `waits` for something else, and
    /// takes none.
    pub fn room(&self, lane: &Lane, priority: u8, waits: bool) -> Result<(), Failure> {
        let has_room = self.queue.lock().has_room(lane, priority, waits);
        if has_room { Ok(()) } else { Err(self.overloaded(NO_ROOM)) }
    }

    fn overloaded(&self, why: &str) -> Failure {
        overloaded(&self.scope, why, self.waiting(), self.concurrency)
    }

    /// Waits for a slot: in turn between lanes, and within a lane by priority, then first come
    /// first served.
    ///
    /// Cancel-safe: a dropped wait leaves the queue, and a slot that it has been given goes to the
    /// next. Fails with `Overloaded` at the deadline, and when it is displaced.
    pub async fn wait(&self, mut place: Place, deadline: Instant) -> Result<Slot, Failure> {
        debug_assert!(Arc::ptr_eq(&place.queue, &self.queue), "a place in another queue");
        match timeout_at(deadline, poll_fn(|context| place.verdict(true, context))).await {
            Ok(Verdict::Granted) => {
                Ok(Slot { queue: Arc::clone(&place.queue), lane: Arc::clone(&place.lane) })
            }
            Ok(Verdict::Displaced) => Err(place.no_room()),
            Err(_) => Err(self.overloaded("the call waited for its turn until its deadline")),
        }
    }

    /// Calls at the host now, or about to be: a slot that has been given counts.
    pub fn in_flight(&self) -> usize {
        self.queue.lock().in_flight()
    }

    /// Calls that may be at the host at once.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Calls in the queue.
    pub fn waiting(&self) -> usize {
        self.queue.lock().waiting()
    }
}

fn overloaded(scope: &str, why: &str, depth: usize, concurrency: usize) -> Failure {
    // A guess of one second per round through the slots, so that waves of retries spread out.
    let seconds = (depth / concurrency).clamp(1, 60) as u64;
    let message = format!("`{scope}` is busy: {why} ({depth} waiting, {concurrency} at once).");
    Failure::new(FailureKind::Overloaded, message)
        .with_scope(scope)
        .with_retry(Retry::After(Duration::from_secs(seconds)))
}
