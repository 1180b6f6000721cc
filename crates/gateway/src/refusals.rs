//! Refusals that get no row of their own, counted.
//!
//! Whoever knocks without a key must not be able to fill the record: all such refusals of a
//! minute that look alike are one number. Others get a row for each, within a rate and within
//! allowances: of each key, of all keys that hang on one, and of all together. So a holder who makes
//! himself many keys has no more rows, and whatever is refused, rows of refusals stay a small part
//! of the record: retention takes the oldest rows, and must not take calls for them. What gets no
//! row is counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::keyring::ActiveKey;
use crate::keys::{KeyId, UnixMillis};
use crate::store::RefusalCount;

use allowance::Allowance;

mod allowance;
#[cfg(test)]
mod tests;

/// Refusals in a second of one key, or of all that are known without one, that get a row each.
const ROWS: u32 = 10;
/// Rows of all together: at once, and milliseconds until one more.
const ALL: (u64, u64) = (1_000, 30_000);
/// The same for all keys of a line.
const LINE: (u64, u64) = (250, 120_000);
/// Groups that are counted apart, in the same way. What is beyond falls into one of its reason, and
/// of its line of keys.
const GROUPS: (u64, u64) = (1_024, 3_750);
/// Groups that are told apart in memory; then only by their reason.
const MOST: usize = 4_096;
const SECOND: UnixMillis = 1_000;
const MINUTE: UnixMillis = 60_000;

/// Counts refusals.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<(UnixMillis, &'static str, IpNet, Option<KeyId>), u64>,
    /// Of strangers, and of all others: strangers must not blur what is counted of keys.
    groups: [Option<Allowance>; 2],
    /// The second, and rows in it.
    rows: HashMap<Option<KeyId>, (UnixMillis, u32)>,
    /// By the key at the top of a line; one for all that are known without a key.
    lines: HashMap<Option<KeyId>, Allowance>,
    all: Option<Allowance>,
}

/// Who was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Anybody.
    Stranger,
    /// Somebody on this machine, or with the token.
    Known,
    /// The holder of a key.
    Holder {
        /// The key.
        key: KeyId,
        /// The key at the top of its line.
        line: KeyId,
    },
}

impl Who {
    /// The holder of this key.
    pub(crate) fn holder(key: &ActiveKey) -> Self {
        Self::Holder { key: key.key.id, line: key.line() }
    }

    const fn key(self) -> Option<KeyId> {
        match self {
            Self::Holder { key, .. } => Some(key),
            Self::Stranger | Self::Known => None,
        }
    }

    const fn line(self) -> Option<KeyId> {
        match self {
            Self::Holder { line, .. } => Some(line),
            Self::Stranger | Self::Known => None,
        }
    }
}

impl Refusals {
    /// Notes a refusal; whether it gets a row of its own.
    pub(crate) fn note(
        &self,
        now: UnixMillis,
        reason: &'static str,
        address: IpAddr,
        who: Who,
    ) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if who != Who::Stranger && state.take_row(now, who) {
            return true;
        }
        state.count(now, reason, address, who);
        false
    }

    /// Counts a refusal that gets no row, whoever is refused.
    pub(crate) fn tally(&self, now: UnixMillis, reason: &'static str, address: IpAddr, who: Who) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count(now, reason, address, who);
    }

    /// Notes a call that has a row of its own: some of those make room for one of a refusal.
    pub(crate) fn earn(&self, who: Who) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What is not there is full.
        if let Some(all) = &mut state.all {
            all.earn();
        }
        if let Some(line) = state.lines.get_mut(&who.line()) {
            line.earn();
        }
    }

    /// Takes the counts of minutes that are over, or all of them.
    pub(crate) fn take(&self, now: UnixMillis, all: bool) -> Vec<RefusalCount> {
        let minute = minute(now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rows.retain(|_, (second, _)| *second >= now.div_euclid(SECOND) - 1);
        state.lines.retain(|_, line| {
            line.refill(now);
            !line.is_full()
        });
        let over = state.counts.extract_if(|(of, ..), _| all || *of != minute);
        over.map(|((minute, reason, network, key), count)| RefusalCount {
            minute,
            reason,
            network,
            key,
            count,
        })
        .collect()
    }
}

impl State {
    /// Takes a row of all three, or of none.
    fn take_row(&mut self, now: UnixMillis, who: Who) -> bool {
        let second = now.div_euclid(SECOND);
        let (at, rows) = self.rows.entry(who.key()).or_default();
        if *at != second {
            (*at, *rows) = (second, 0);
        }
        let line = self.lines.entry(who.line()).or_insert_with(|| allowance(LINE, now));
        let all = self.all.get_or_insert_with(|| allowance(ALL, now));
        line.refill(now);
        all.refill(now);
        let there = *rows < ROWS && line.has_row() && all.has_row();
        if there {
            *rows += 1;
            line.take();
            all.take();
        }
        there
    }

    /// Counts a refusal, as exactly as there is room for.
    fn count(&mut self, now: UnixMillis, reason: &'static str, address: IpAddr, who: Who) {
        let minute = minute(now);
        let mut group = (minute, reason, network(address), who.key());
        if !self.counts.contains_key(&group) {
            let [strangers, known] = &mut self.groups;
            let groups = if who == Who::Stranger { strangers } else { known };
            let groups = groups.get_or_insert_with(|| allowance(GROUPS, now));
            groups.refill(now);
            if self.counts.len() >= MOST {
                group = (minute, reason, everywhere(address), None);
            } else if groups.has_row() {
                groups.take();
            } else {
                group = (minute, reason, everywhere(address), who.line());
            }
        }
        *self.counts.entry(group).or_default() += 1;
    }
}

const fn allowance((rows, every): (u64, u64), now: UnixMillis) -> Allowance {
    Allowance::new(rows, every, now)
}

const fn minute(now: UnixMillis) -> UnixMillis {
    now.div_euclid(MINUTE) * MINUTE
}

/// The network that an address is counted for: /24 or /48.
fn network(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Net::new(address, 24).map(|net| IpNet::V4(net.trunc())),
        IpAddr::V6(address) => Ipv6Net::new(address, 48).map(|net| IpNet::V6(net.trunc())),
    }
    .unwrap_or_else(|_| everywhere(address))
}

fn everywhere(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(Ipv6Net::default()),
    }
}
