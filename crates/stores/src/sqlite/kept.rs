//! What waits for a better time: what the database could not take, and must not be lost.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use gateway::keys::KeyId;
use gateway::store::{RefusalCount, StoreError};
use ipnet::IpNet;

use super::queue::{Waiting, counted};
use super::write::{Reply, Write};

/// Most ends and settlements that are kept, and most bytes of them. Those beyond are charged as
/// reserved when the store is loaded the next time.
const MOST: usize = 100_000;
const MOST_BYTES: usize = 256 << 20;
/// Most kinds of refusals that are counted apart.
const MOST_COUNTS: usize = 10_000;

/// What is kept, in its order.
#[derive(Debug, Default)]
pub(super) struct Kept {
    writes: VecDeque<Waiting>,
    bytes: usize,
    counts: HashMap<(i64, &'static str, IpNet, Option<KeyId>), u64, RandomState>,
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes that are kept.
    pub(super) fn len(&self) -> usize {
        self.writes.len() + usize::from(!self.counts.is_empty())
    }

    /// All of it, for another try.
    pub(super) fn take(&mut self) -> Vec<Waiting> {
        self.bytes = 0;
        let mut all: Vec<Waiting> = std::mem::take(&mut self.writes).into();
        if !self.counts.is_empty() {
            let counts = self.counts.drain().map(|((minute, reason, network, key), count)| {
                RefusalCount { minute, reason, network, key, count }
            });
            all.push(Waiting::counts(counts.collect(), 0));
        }
        all
    }

    /// Keeps what must not be lost of a batch, refuses the rest, and gives back who is to be told
    /// of the fault.
    pub(super) fn put_aside(&mut self, batch: Vec<Waiting>, fault: &Arc<str>) -> Vec<Reply> {
        let mut told = Vec::new();
        for mut waiting in batch {
            if waiting.lsn.is_some() {
                // It is answered, and in the redo log, whose length bounds how many there are.
                self.writes.push_back(waiting);
                continue;
            }
            match &mut waiting.write {
                Write::Counts(counts) => {
                    for more in std::mem::take(counts) {
                        self.count(&more);
                    }
                }
                // Nobody waits for it, and so nobody would hear that it was lost.
                Write::Refuse(both) => {
                    let (open, close) = &**both;
                    self.count(&counted(&open.opened, &close.closed));
                }
                write if !write.must_stay() => waiting.refuse(fault),
                write => {
                    if let Write::Close(close) = write {
                        close.withhold();
                    }
                    told.extend(waiting.reply.take());
                    self.keep(waiting, fault);
                }
            }
        }
        told
    }

    fn keep(&mut self, waiting: Waiting, fault: &Arc<str>) {
        if self.writes.len() < MOST && self.bytes + waiting.weight <= MOST_BYTES {
            self.bytes += waiting.weight;
            self.writes.push_back(waiting);
        } else {
            tracing::error!("the record of the end of a call is lost: {fault}");
        }
    }

    fn count(&mut self, more: &RefusalCount) {
        let at = (more.minute, more.reason, more.network, more.key);
        if self.counts.len() < MOST_COUNTS || self.counts.contains_key(&at) {
            *self.counts.entry(at).or_default() += more.count;
        } else {
            tracing::error!("a count of {} refusals is lost", more.count);
        }
    }
}

impl Waiting {
    /// Tells whoever waits of a fault, and writes nothing.
    pub(super) fn refuse(self, fault: &Arc<str>) {
        let error = StoreError::Down(Arc::clone(fault));
        match self.write {
            Write::Load(reply) => {
                let _ = reply.send(Err(error));
            }
            _ => {
                // Whoever does not wait any more does not want to know.
                self.reply.map(|reply| reply.send(Err(error)));
            }
        }
    }

    /// Leaves out what there will never be room for. Says whether the rest can be written: a call
    /// whose request is too large does not begin.
    pub(super) fn make_small(&mut self) -> bool {
        let small = self.write.leave_out_bodies();
        self.weight = self.write.weight();
        let error = if small {
            StoreError::Down("the reply is larger than `max_bytes` has room for".into())
        } else {
            StoreError::Unsupported("the request is larger than `audit.max_bytes` has room for")
        };
        self.answer(Err(error));
        small
    }
}
