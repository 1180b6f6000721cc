//! Who gets a row, and that everything else is counted.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{ALL, GROUPS, LINE, MINUTE, MOST, ROWS, Refusals, Who};
use crate::keys::{KeyId, UnixMillis};

const DAY: UnixMillis = 24 * 60 * MINUTE;

fn id(of: u16) -> KeyId {
    let mut entropy = [0; 12];
    (entropy[0], entropy[1], entropy[2], entropy[3]) =
        ((of & 31) as u8, (of >> 5 & 31) as u8, (of >> 10 & 31) as u8, (of >> 15) as u8);
    KeyId::from_entropy(entropy)
}

fn holder(key: u16, line: u16) -> Who {
    Who::Holder { key: id(key), line: id(line) }
}

fn home() -> IpAddr {
    "::1".parse().unwrap()
}

/// Counts of all that got no row.
fn counted(refusals: &Refusals) -> u64 {
    refusals.take(0, true).iter().map(|one| one.count).sum()
}

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
    let rows = (0..25).filter(|_| refusals.note(5, "forbidden", home(), holder(1, 1))).count();
    assert_eq!(rows, ROWS as usize);
    assert!(refusals.note(1005, "forbidden", home(), holder(1, 1)));
    let [count] = refusals.take(1005, true).try_into().unwrap();
    assert_eq!((count.key, count.count), (Some(id(1)), 25 - u64::from(ROWS)));
}

#[test]
fn many_keys_of_one_line_have_no_more_rows_than_one() {
    let refusals = Refusals::default();
    let child = |key| refusals.note(5, "forbidden", home(), holder(key, 1));
    assert_eq!((0..600).filter(|key| child(*key)).count() as u64, LINE.0);
    // Another line is not touched by that.
    assert!(refusals.note(5, "forbidden", home(), holder(700, 700)));
    // Each that got none is known by its own key.
    let counts = refusals.take(5, true);
    assert_eq!(counts.iter().map(|one| one.count).sum::<u64>(), 600 - LINE.0);
    assert!(counts.iter().all(|one| one.key.is_some_and(|key| key != id(700))));
    // Waiting helps, and so do calls.
    let later = 5 + i64::try_from(LINE.1).unwrap();
    assert!(refusals.note(later, "forbidden", home(), holder(1, 1)));
    assert!(!refusals.note(later, "forbidden", home(), holder(1, 1)));
    (0..9).for_each(|_| refusals.earn(holder(2, 1)));
    assert!(!refusals.note(later, "forbidden", home(), holder(3, 1)));
    refusals.earn(holder(2, 1));
    assert!(refusals.note(later, "forbidden", home(), holder(3, 1)));
}

#[test]
fn a_flood_of_all_kinds_has_few_rows_in_a_day() {
    let refusals = Refusals::default();
    // Nobody calls; many lines of keys, and the callers of this machine, knock all day.
    let mut rows = 0;
    for second in (0..DAY).step_by(7_000) {
        for knock in 0..20 {
            let who = if knock == 0 { Who::Known } else { holder(knock, knock) };
            rows += u64::from(refusals.note(second, "rate_limited", home(), who));
        }
        refusals.take(second, false);
    }
    let most = ALL.0 + DAY.unsigned_abs() / ALL.1;
    assert!(rows > most - 10 && rows <= most, "{rows} of {most}");
}

#[test]
fn a_clock_that_jumps_to_and_fro_earns_nothing_twice() {
    let refusals = Refusals::default();
    let flood = |now| {
        (0..2_000).filter(|key| refusals.note(now, "forbidden", home(), holder(*key, *key))).count()
    };
    assert_eq!(flood(DAY) as u64, ALL.0);
    assert_eq!(flood(0), 0);
    assert_eq!(flood(i64::try_from(ALL.1).unwrap()), 1);
}

#[test]
fn many_networks_cannot_fill_the_memory_nor_blur_what_is_known_of_keys() {
    let refusals = Refusals::default();
    let groups = usize::try_from(GROUPS.0).unwrap();
    for net in 0..(2 * groups) {
        let address = format!("10.{}.{}.1", net / 256, net % 256).parse().unwrap();
        refusals.note(5, "unauthenticated", address, Who::Stranger);
    }
    let rows = (0..20).filter(|_| refusals.note(5, "forbidden", home(), holder(1, 1))).count();
    assert_eq!(rows, 10);
    let all = refusals.take(5, true);
    assert_eq!(all.len(), groups + 2);
    assert_eq!(all.iter().map(|one| one.count).sum::<u64>(), 2 * GROUPS.0 + 10);
    let of_key = all.iter().find(|one| one.key == Some(id(1))).unwrap();
    assert_eq!((of_key.count, of_key.network.prefix_len()), (10, 48));
    // A minute later few more are told apart.
    for net in 0..groups {
        let address = format!("10.{}.{}.1", net / 256, net % 256).parse().unwrap();
        refusals.note(5 + MINUTE, "unauthenticated", address, Who::Stranger);
    }
    assert_eq!(refusals.take(5 + MINUTE, true).len(), 16 + 1);
}

#[test]
fn what_nobody_takes_stays_bounded() {
    let refusals = Refusals::default();
    for day in 0..2_000 {
        for key in 0..40 {
            let address = format!("10.0.{key}.1").parse().unwrap();
            refusals.note(day * DAY, "unauthenticated", address, Who::Stranger);
        }
    }
    let all = refusals.take(0, true);
    assert!(all.len() <= MOST + 2_000, "{}", all.len());
    assert_eq!(all.iter().map(|one| one.count).sum::<u64>(), 80_000);
}

proptest! {
    /// Every refusal is a row or is counted, and rows stay within the allowance of all.
    #[test]
    fn nothing_is_lost_and_rows_are_bounded(
        knocks in prop::collection::vec((0_i64..5_000, 0_u16..40, 0_u16..4, any::<bool>()), 1..400)
    ) {
        let refusals = Refusals::default();
        let (mut now, mut rows, mut all, mut calls) = (0, 0, 0, 0);
        for (passed, key, line, is_call) in knocks {
            now += passed;
            if is_call {
                refusals.earn(holder(key, line));
                calls += 1;
                continue;
            }
            let who = if key == 0 { Who::Stranger } else { holder(key, line) };
            all += 1;
            rows += u64::from(refusals.note(now, "forbidden", home(), who));
        }
        prop_assert_eq!(rows + counted(&refusals), all);
        prop_assert!(rows <= ALL.0 + now.unsigned_abs() / ALL.1 + calls / 10 + 1);
    }
}
