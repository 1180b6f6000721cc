//! What waits for the writer.
//!
//! The queue is bounded for what may be refused: calls that come in and changes are refused when
//! it is full, and refusals that are only told are counted instead when it is half full. Ends and
//! settlements of calls always find room: each belongs to a call that was let in through the
//! bound, so that there are never more of them than calls in flight.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway::keys::KeyId;
use gateway::store::{Closed, Opened, RefusalCount, StoreError};
use ipnet::IpNet;

use super::write::{Reply, Write};

/// Most writes that may wait before calls are refused.
const MOST: usize = 16_384;
/// Most bytes of them.
const MOST_BYTES: usize = 64 << 20;
/// Most kinds of refusals that are counted apart between two commits.
const MOST_COUNTS: usize = 1024;
/// A minute in milliseconds.
const MINUTE: i64 = 60_000;

/// A write, and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) write: Write,
    pub(super) reply: Option<Reply>,
}

impl Waiting {
    /// Answers whoever waits.
    pub(super) fn answer(&mut self, answer: Result<(), StoreError>) {
        if let Some(reply) = self.reply.take() {
            // Whoever does not wait any more does not want to know.
            let _ = reply.send(answer);
        }
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    ended: bool,
    counts: HashMap<(i64, &'static str, IpNet, Option<KeyId>), u64>,
}

/// Why a write was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no room.
    Full,
    /// The store has ended.
    Ended,
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        Self::Down(match refused {
            Refused::Full => "too many writes are waiting".into(),
            Refused::Ended => "it has ended".into(),
        })
    }
}

impl Queue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing is left half done under this lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a write, if there is room or it must not be lost.
    pub(super) fn push(
        &self,
        write: Write,
        reply: Option<Reply>,
    ) -> Result<(), (Refused, Option<Reply>)> {
        let weight = write.weight();
        let mut inner = self.inner();
        if inner.ended {
            return Err((Refused::Ended, reply));
        }
        let full = inner.waiting.len() >= MOST || inner.bytes >= MOST_BYTES;
        if full && !write.must_stay() {
            return Err((Refused::Full, reply));
        }
        inner.bytes += weight;
        let first = inner.waiting.is_empty();
        inner.waiting.push_back(Waiting { write, reply });
        drop(inner);
        if first {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Whether refusals should be counted instead of written.
    pub(super) fn is_busy(&self) -> bool {
        let inner = self.inner();
        inner.waiting.len() >= MOST / 2 || inner.bytes >= MOST_BYTES / 2
    }

    /// Counts refusals; they are written with the next commit.
    pub(super) fn count(&self, more: &RefusalCount) {
        let mut inner = self.inner();
        if inner.ended {
            return;
        }
        let mut at = (more.minute, more.reason, more.network, more.key);
        if inner.counts.len() >= MOST_COUNTS && !inner.counts.contains_key(&at) {
            at = (more.minute, "other", everywhere(more.network), None);
        }
        *inner.counts.entry(at).or_default() += more.count;
        drop(inner);
        self.wake.notify_one();
    }

    /// Writes that wait.
    pub(super) fn len(&self) -> usize {
        self.inner().waiting.len()
    }

    /// No more writes are taken; those that wait are still written.
    pub(super) fn end(&self) {
        self.inner().ended = true;
        self.wake.notify_all();
    }

    /// No more writes are taken, and nobody will write those that wait: whoever waits is told.
    pub(super) fn abandon(&self) {
        let mut inner = self.inner();
        inner.ended = true;
        inner.waiting.clear();
    }

    /// Takes what waits, in order, up to a number and so many bytes; waits for something, until a time has
    /// passed. `None` when the queue has ended and is empty.
    pub(super) fn take(
        &self,
        most: usize,
        most_bytes: usize,
        patience: Duration,
    ) -> Option<Vec<Waiting>> {
        let idle =
            |inner: &mut Inner| inner.waiting.is_empty() && inner.counts.is_empty() && !inner.ended;
        let inner = self.inner();
        let (mut inner, _) = self
            .wake
            .wait_timeout_while(inner, patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        // A few large bodies are as much work as many small ones.
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            let first = bytes == 0;
            bytes += waiting.write.weight();
            first || bytes <= most_bytes
        };
        let count = inner.waiting.iter().take(most).take_while(fits).count();
        let mut batch: Vec<Waiting> = inner.waiting.drain(..count).collect();
        inner.bytes -= batch.iter().map(|waiting| waiting.write.weight()).sum::<usize>();
        if !inner.counts.is_empty() {
            let counts = inner.counts.drain().map(|((minute, reason, network, key), count)| {
                RefusalCount { minute, reason, network, key, count }
            });
            let write = Write::Counts(counts.collect());
            batch.push(Waiting { write, reply: None });
        }
        if batch.is_empty() && inner.ended { None } else { Some(batch) }
    }
}

/// How a refusal is counted when it is not written.
pub(super) fn counted(opened: &Opened, closed: &Closed) -> RefusalCount {
    RefusalCount {
        minute: opened.received.div_euclid(MINUTE) * MINUTE,
        reason: closed.failure.unwrap_or("unknown"),
        network: network(opened.address),
        key: opened.key,
        count: 1,
    }
}

/// The network that a refusal is counted under.
fn network(address: IpAddr) -> IpNet {
    let bits = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

fn everywhere(network: IpNet) -> IpNet {
    IpNet::new(network.addr(), 0).map_or(network, |network| network.trunc())
}
