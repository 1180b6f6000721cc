//! What waits for the writer.
//!
//! A write comes in, is appended to the redo log where that can be done at once, and is answered
//! with that; then it waits for the writer, which takes it into the database. What is not appended
//! is answered by the writer. Whoever waits for a write appends it, with all that came until its
//! turn: no thread has to be woken, and under load appends grow by themselves.
//!
//! The queue is bounded for what may be refused: calls that come in and changes are refused when
//! it is full, and refusals that are only told are counted instead when it is half full. Ends and
//! settlements of calls always find room: each belongs to a call that was let in through the
//! bound, so that there are never more of them than calls in flight.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway::keys::KeyId;
use gateway::store::{Closed, Flush, Opened, RefusalCount, StoreError};
use ipnet::IpNet;

use super::redo::{Redo, Scope};
use super::write::{Reply, Write};

/// Most writes that may wait before calls are refused.
const MOST: usize = 32_768;
/// Most bytes of them.
const MOST_BYTES: usize = 64 << 20;
/// Most writes, and bytes of them, that wait for the writer before calls that come in have to wait
/// for it too: nobody is to be faster than the database for long.
const BEHIND: usize = 16_384;
const BEHIND_BYTES: usize = 16 << 20;
/// What the writer takes at once, although nobody waits for it. Large groups cost least: of fewer
/// calls the end comes in another transaction than the beginning, and fewer pages are written twice.
pub(super) const MANY: usize = 4096;
const MANY_BYTES: usize = 4 << 20;
/// From so many at once on the index of texts could not keep up: some 5,000 calls a second.
const BUSY: usize = 1024;
/// How long it lets less than that gather.
const GATHER: Duration = Duration::from_millis(100);
/// How many come before they are appended, whether or not anybody waits for them; and how large
/// is one that does not wait.
const COMPANY: usize = 64;
const COMPANY_BYTES: usize = 64 << 10;
/// How often whoever appends does so for others, before the writer takes over.
const ROUNDS: usize = 8;
/// Most kinds of refusals that are counted apart between two commits.
const MOST_COUNTS: usize = 1024;
/// A minute in milliseconds.
const MINUTE: i64 = 60_000;

/// A write, and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) write: Write,
    pub(super) reply: Option<Reply>,
    /// Its record in the redo log, if it has one: then it is answered, and must not be lost.
    pub(super) lsn: Option<u64>,
    /// What it took in memory when it came, roughly.
    pub(super) weight: usize,
    /// Its place in the order of all that came.
    place: u64,
}

impl Waiting {
    #[cfg(test)]
    pub(super) fn new(write: Write, reply: Option<Reply>) -> Self {
        Self { weight: write.weight(), write, reply, lsn: None, place: 1 }
    }

    /// Counts of refusals, which nobody waits for.
    pub(super) fn counts(counts: Vec<RefusalCount>, place: u64) -> Self {
        Self { write: Write::Counts(counts), reply: None, lsn: None, weight: 0, place }
    }

    /// Answers whoever waits.
    pub(super) fn answer(&mut self, answer: Result<(), StoreError>) {
        if let Some(reply) = self.reply.take() {
            // Whoever does not wait any more does not want to know.
            let _ = reply.send(answer);
        }
    }

    /// Whether it is the end of an answered call that nobody waits for any more: whoever did was
    /// told that it failed, or is gone.
    pub(super) fn is_to_be_withheld(&self) -> bool {
        let gone = self.reply.as_ref().is_some_and(Reply::is_closed);
        gone && matches!(&self.write, Write::Close(close) if close.is_answered())
    }

    /// Notes of such an end that the answer was withheld.
    pub(super) fn withhold_unawaited(&mut self) {
        let withheld = self.is_to_be_withheld();
        if let Write::Close(close) = &mut self.write
            && withheld
        {
            close.withhold();
        }
    }

    /// Says that it is in the redo log, with these fields. Whoever waited too long for that has told
    /// its caller so.
    pub(super) fn confirm(&mut self, fields: Bytes) {
        let gone = self.reply.take().is_some_and(|reply| reply.send(Ok(())).is_err());
        match &mut self.write {
            Write::Close(close) if gone => close.withhold(),
            write => write.logged(fields),
        }
    }

    /// Whether somebody waits until the writer has done it.
    fn is_awaited(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
            || matches!(self.write, Write::Load(_))
    }
}

/// What waits.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    /// `None` where there is none. Whoever has set `appending` holds it.
    redo: Mutex<Option<Redo>>,
    /// Tells those who read how far the writer is.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// What has just come.
    fresh: Vec<Waiting>,
    /// What the writer is to take.
    ready: VecDeque<Waiting>,
    /// Bytes of both, and of the second.
    bytes: usize,
    ready_bytes: usize,
    /// The place of the last that came, of the last that somebody waits for, and of the last that
    /// was handed to the writer.
    came: u64,
    urgent: u64,
    handed: u64,
    /// Whether somebody appends to the redo log.
    appending: bool,
    /// Whether the writer is to do that.
    relieve: bool,
    /// The place up to which everything is in the database.
    done: u64,
    /// Ends of calls that came, that were handed to the writer, and that are in the database.
    ends: Ends,
    /// Whether much was there when the writer last took something.
    much: bool,
    /// Whether the database cannot be written.
    fault: bool,
    ended: bool,
    /// Whether nobody takes anything any more.
    abandoned: bool,
    counts: HashMap<(i64, &'static str, IpNet, Option<KeyId>), u64>,
}

/// Counts of ends of calls, since the start.
#[derive(Debug, Default)]
struct Ends {
    came: u64,
    handed: u64,
    done: u64,
}

impl Inner {
    /// Whether the writer should begin, instead of letting more gather.
    fn is_urgent(&self) -> bool {
        self.ended
            || self.relieve
            || self.ready.len() >= MANY
            || self.ready_bytes >= MANY_BYTES
            || self.handed < self.urgent
    }

    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.counts.is_empty() && !self.relieve && !self.is_over()
    }

    /// Whether nothing more comes.
    fn is_over(&self) -> bool {
        self.ended && self.fresh.is_empty() && !self.appending && self.ready.is_empty()
    }
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
    /// A queue in front of a redo log, if there is one.
    pub(super) fn new(redo: Option<Redo>) -> Self {
        Self {
            inner: Mutex::default(),
            wake: Condvar::new(),
            redo: Mutex::new(redo),
            moved: Condvar::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing is left half done under this lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a write, if there is room or it must not be lost. It stays where it is until the next
    /// [`Flush::flush`], or until many have come.
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
        let waiting = inner.fresh.len() + inner.ready.len();
        let full = waiting >= MOST || inner.bytes >= MOST_BYTES;
        if full && !write.must_stay() {
            return Err((Refused::Full, reply));
        }
        inner.bytes += weight;
        inner.came += 1;
        inner.ends.came += u64::from(write.is_end());
        let place = inner.came;
        inner.fresh.push(Waiting { write, reply, lsn: None, weight, place });
        let many = inner.fresh.len() >= COMPANY || weight >= COMPANY_BYTES;
        drop(inner);
        if many {
            self.flush();
        }
        Ok(())
    }

    /// Appends what has come, and hands it to the writer, up to so many times; says whether nothing
    /// was left. Then nobody appends any more.
    fn append(&self, rounds: usize) -> bool {
        for _ in 0..rounds {
            let mut inner = self.inner();
            let mut group = std::mem::take(&mut inner.fresh);
            let behind = inner.ready.len() >= BEHIND || inner.ready_bytes >= BEHIND_BYTES;
            let scope = match (inner.fault, behind) {
                (true, _) => Scope::Rescue,
                (false, true) => Scope::Ends,
                (false, false) => Scope::All,
            };
            drop(inner);
            if let Some(redo) = self.redo.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                redo.append(&mut group, scope);
            }
            let mut inner = self.inner();
            if inner.abandoned {
                inner.appending = false;
                drop(inner);
                // Whoever waits is told by that.
                drop(group);
                return true;
            }
            let (idle, urgent) = (inner.ready.is_empty(), inner.is_urgent());
            for waiting in group.drain(..) {
                inner.ready_bytes += waiting.weight;
                if waiting.is_awaited() {
                    inner.urgent = inner.urgent.max(waiting.place);
                }
                inner.ready.push_back(waiting);
            }
            let over = inner.fresh.is_empty();
            if over && group.capacity() <= 2 * COMPANY {
                // Its room is there for the next.
                inner.fresh = group;
            }
            inner.appending = !over;
            // Once when there is something to wait for, and once when there is no more to wait for.
            let wake = idle || inner.ended || (inner.is_urgent() && !urgent);
            drop(inner);
            if wake {
                self.wake.notify_one();
            }
            if over {
                return true;
            }
        }
        false
    }

    /// Waits until everything that has come is in the database, or cannot be at the moment, or a
    /// time has come.
    pub(super) fn catch_up(&self, deadline: Instant) {
        self.flush();
        let mut inner = self.inner();
        let came = inner.came;
        let behind = |inner: &mut Inner| inner.done < came && !inner.fault && !inner.is_over();
        if !behind(&mut inner) {
            return;
        }
        inner.urgent = inner.urgent.max(came);
        self.wake.notify_one();
        let patience = deadline.saturating_duration_since(Instant::now());
        let _ = self.moved.wait_timeout_while(inner, patience, behind);
    }

    /// The writer has done with all that it was handed; or it is held up, and goes on later.
    pub(super) fn done(&self, held_up: bool) {
        let mut inner = self.inner();
        inner.fault = held_up;
        if !held_up {
            inner.done = inner.handed;
            inner.ends.done = inner.ends.handed;
        }
        drop(inner);
        self.moved.notify_all();
    }

    /// Whether refusals should be counted instead of written.
    pub(super) fn is_busy(&self) -> bool {
        let inner = self.inner();
        inner.fresh.len() + inner.ready.len() >= MOST / 2 || inner.bytes >= MOST_BYTES / 2
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

    /// Whether much has come of late: the cores are needed for that.
    pub(super) fn is_busy_writing(&self) -> bool {
        self.inner().much
    }

    /// Writes that have come since the start.
    pub(super) fn came(&self) -> u64 {
        self.inner().came
    }

    /// Writes that wait.
    pub(super) fn len(&self) -> usize {
        let inner = self.inner();
        inner.fresh.len() + inner.ready.len()
    }

    /// Ends of calls that are not in the database yet, or that its index was not told of.
    pub(super) fn ends(&self) -> u64 {
        let Ends { came, done, .. } = self.inner().ends;
        came - done
    }

    /// No more writes are taken; those that wait are still written.
    pub(super) fn end(&self) {
        self.inner().ended = true;
        self.flush();
        self.wake.notify_all();
    }

    /// No more writes are taken, and nobody will write those that wait: whoever waits is told.
    pub(super) fn abandon(&self) {
        let mut inner = self.inner();
        inner.ended = true;
        inner.abandoned = true;
        inner.fresh.clear();
        inner.ready.clear();
        drop(inner);
        self.done(true);
    }

    /// Takes what waits, in order, up to a number and so many bytes; waits for something, until a
    /// time has passed. `None` when the queue has ended and is empty.
    pub(super) fn take(
        &self,
        most: usize,
        most_bytes: usize,
        patience: Duration,
    ) -> Option<Vec<Waiting>> {
        let mut inner = self.inner();
        loop {
            (inner, _) = self
                .wake
                .wait_timeout_while(inner, patience, |inner| inner.is_idle())
                .unwrap_or_else(PoisonError::into_inner);
            if !inner.ready.is_empty() {
                (inner, _) = self
                    .wake
                    .wait_timeout_while(inner, GATHER, |inner| !inner.is_urgent())
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !inner.relieve {
                break;
            }
            inner.relieve = false;
            drop(inner);
            while !self.append(ROUNDS) {}
            inner = self.inner();
        }
        inner.much = inner.ready.len() >= BUSY || inner.ready_bytes >= MANY_BYTES;
        // A few large bodies are as much work as many small ones.
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            let first = bytes == 0;
            bytes += waiting.weight;
            first || bytes <= most_bytes
        };
        let count = inner.ready.iter().take(most).take_while(fits).count();
        let mut batch: Vec<Waiting> = inner.ready.drain(..count).collect();
        let weight = batch.iter().map(|waiting| waiting.weight).sum::<usize>();
        inner.bytes -= weight;
        inner.ready_bytes -= weight;
        if let Some(last) = batch.last() {
            inner.handed = last.place;
            let ends = batch.iter().filter(|waiting| waiting.write.is_end()).count();
            inner.ends.handed += u64::try_from(ends).unwrap_or(0);
        }
        if !inner.counts.is_empty() {
            let counts = inner.counts.drain().map(|((minute, reason, network, key), count)| {
                RefusalCount { minute, reason, network, key, count }
            });
            let counts = counts.collect();
            batch.push(Waiting::counts(counts, inner.handed));
        }
        if batch.is_empty() && inner.is_over() { None } else { Some(batch) }
    }
}

impl Flush for Queue {
    fn flush(&self) {
        let mut inner = self.inner();
        if inner.fresh.is_empty() || inner.appending {
            return;
        }
        inner.appending = true;
        drop(inner);
        if !self.append(ROUNDS) {
            // Others bring more as fast as it is done, and this thread has work of its own.
            self.inner().relieve = true;
            self.wake.notify_one();
        }
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
