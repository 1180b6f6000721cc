//! Many calls that end at once do so a few at a time.
//!
//! Who revokes a key, or whose key expires, may end thousands of calls in one moment, and all of them
//! are ready to go on then. What else comes would wait behind the ends of all; so each end waits for
//! its turn, and only a few turns are in the hands of the runtime.

use std::future::poll_fn;
use std::task::Poll;

use tokio::sync::Semaphore;

/// Ends that may be in the hands of the runtime at once: some for each of its threads, so that none
/// is idle, and so few that nobody waits for them.
pub(crate) const AT_ONCE: usize = 16;

/// The turns of ends. A call takes one before it ends, and one before it tells its door. None is held
/// while anybody writes or is waited for: a turn is over as soon as it has come.
#[derive(Debug)]
pub(crate) struct Turns {
    end: Semaphore,
    tell: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { end: Semaphore::new(AT_ONCE), tell: Semaphore::new(AT_ONCE) }
    }
}

impl Turns {
    /// Resolves when a call may begin to end.
    pub(crate) async fn end(&self) {
        turn(&self.end).await;
    }

    /// Resolves when a call that was ended may tell its door. Before, it was with the store, which
    /// lets many go on at once.
    pub(crate) async fn tell(&self) {
        turn(&self.tell).await;
    }
}

async fn turn(turns: &Semaphore) {
    // Never closed.
    let _turn = turns.acquire().await;
    others_first().await;
}

/// Lets the tasks that wait for this thread go on once.
pub(crate) async fn others_first() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio_util::task::TaskTracker;

    use super::{AT_ONCE, Turns, others_first};

    #[tokio::test]
    async fn others_go_on_while_most_ends_wait() {
        let (turns, ended) = (Arc::new(Turns::default()), Arc::new(AtomicUsize::new(0)));
        let tasks = TaskTracker::new();
        for _ in 0..10 * AT_ONCE {
            let (turns, ended) = (Arc::clone(&turns), Arc::clone(&ended));
            tasks.spawn(async move {
                turns.end().await;
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        // Whoever is on the same thread sees them end a few at a time.
        let watching = tasks.spawn(async move {
            let mut seen = 0;
            while seen < 10 * AT_ONCE {
                others_first().await;
                let now = ended.load(Ordering::Relaxed);
                assert!(now - seen <= AT_ONCE, "{} at once", now - seen);
                seen = now;
            }
        });
        watching.await.unwrap();
        tasks.close();
        tasks.wait().await;
    }
}
