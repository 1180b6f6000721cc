//! Refusals that get no row of their own, counted.
//!
//! Whoever knocks without a key must not be able to fill the record: all such refusals of a
//! minute that look alike are one number. Others get a row for each, up to a rate: holders of keys
//! each for themselves, and all callers of this machine and whoever has the token together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::keys::{KeyId, UnixMillis};
use crate::store::RefusalCount;

/// Refusals in a second of one key, or of all that are known without one, that get a row each.
const ROWS: u32 = 10;
/// Groups that are told apart in a minute; the rest falls into one of its reason.
const GROUPS: usize = 1024;
const MINUTE: UnixMillis = 60_000;

/// Counts refusals.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<(UnixMillis, &'static str, IpNet, Option<KeyId>), u64>,
    /// The second, and rows in it.
    rows: HashMap<Option<KeyId>, (UnixMillis, u32)>,
}

/// Who was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Anybody.
    Stranger,
    /// Somebody on this machine, or with the token.
    Known,
    /// The holder of a key.
    Holder(KeyId),
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
        let key = if let Who::Holder(key) = who { Some(key) } else { None };
        if who != Who::Stranger {
            let second = now.div_euclid(1000);
            let (at, rows) = state.rows.entry(key).or_default();
            if *at != second {
                (*at, *rows) = (second, 0);
            }
            if *rows < ROWS {
                *rows += 1;
                return true;
            }
        }
        let minute = now.div_euclid(MINUTE) * MINUTE;
        let full = state.counts.len() >= GROUPS;
        let mut group = (minute, reason, network(address), key);
        if full && !state.counts.contains_key(&group) {
            group = (minute, reason, everywhere(address), None);
        }
        *state.counts.entry(group).or_default() += 1;
        false
    }

    /// Takes the counts of minutes that are over, or all of them.
    pub(crate) fn take(&self, now: UnixMillis, all: bool) -> Vec<RefusalCount> {
        let minute = now.div_euclid(MINUTE) * MINUTE;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rows.retain(|_, (second, _)| *second >= now.div_euclid(1000) - 1);
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

/// The network that an address is counted for: /24 or /48.
fn network(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Net::new(address, 24).map(|net| IpNet::V4(net.trunc())),
        IpAddr::V6(address) => Ipv6Net::new(address, 48).map(|net| IpNet::V6(net.trunc())),
    }
    .unwrap_or_else(|_| everywhere(address))
}

fn everywhere(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(Ipv6Net::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::{GROUPS, ROWS, Refusals, Who};
    use crate::keys::KeyId;

    #[test]
    fn strangers_are_counted_by_network_and_reason() {
        let refusals = Refusals::default();
        for last in 0..200 {
            let address = format!("10.0.0.{last}").parse().unwrap();
            assert!(!refusals.note(59_999, "unauthenticated", address, Who::Stranger));
        }
        refusals.note(60_000, "unauthenticated", "10.0.0.1".parse().unwrap(), Who::Stranger);
        let over = refusals.take(60_000, false);
        assert_eq!(over.len(), 1);
        assert_eq!((over[0].count, over[0].network.to_string()), (200, "10.0.0.0/24".to_owned()));
        assert_eq!(refusals.take(60_000, true)[0].count, 1);
        assert!(refusals.take(60_000, true).is_empty());
    }

    #[test]
    fn holders_of_keys_get_rows_up_to_a_rate() {
        let refusals = Refusals::default();
        let key = KeyId::from_entropy([1; 12]);
        let address = "::1".parse().unwrap();
        let rows =
            (0..25).filter(|_| refusals.note(5, "forbidden", address, Who::Holder(key))).count();
        assert_eq!(rows, ROWS as usize);
        assert!(refusals.note(1005, "forbidden", address, Who::Holder(key)));
        assert_eq!(refusals.take(1005, true)[0].count, 25 - u64::from(ROWS));
    }

    #[test]
    fn many_networks_cannot_fill_the_memory() {
        let refusals = Refusals::default();
        for net in 0..(2 * GROUPS) {
            let address = format!("10.{}.{}.1", net / 256, net % 256).parse().unwrap();
            refusals.note(5, "unauthenticated", address, Who::Stranger);
        }
        let all = refusals.take(5, true);
        assert!(all.len() <= GROUPS + 1);
        assert_eq!(all.iter().map(|one| one.count).sum::<u64>(), 2 * GROUPS as u64);
    }
}
