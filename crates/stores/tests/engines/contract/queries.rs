//! What can be asked.

use gateway::keys::KeyId;
use gateway::store::{
    CallFilter, CallRow, Opened, RefusalCount, RefusalFilter, RefusalGroup, RefusalRow, UsageBy,
    UsageFilter, UsageRow,
};

use super::{ALWAYS, Place, reopen};
use crate::samples::{START, closed, key_id, opened};

pub(crate) async fn pages_follow_each_other_to_the_end(place: &impl Place) {
    let store = place.open();
    for number in 0..25 {
        // Many come in at the same millisecond.
        let call = Opened { received: START + i64::from(number / 10), ..opened(number) };
        store.open(call.into()).await.unwrap();
    }
    for filter in [
        CallFilter::default(),
        CallFilter { key: Some(key_id(1)), ..CallFilter::default() },
        CallFilter { model: Some("auto".into()), ..CallFilter::default() },
    ] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = store.calls(filter.clone(), after, 10).await.unwrap();
            assert!(page.calls.len() <= 10);
            seen.extend(page.calls.iter().map(|call| call.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let wanted: Vec<_> = (0..25).rev().map(|number| opened(number).id).collect();
        assert_eq!(seen, wanted);
    }
}

pub(crate) async fn ends_follow_each_other_over_a_restart(place: &impl Place) {
    let store = place.open();
    for number in 0..6 {
        store.open(opened(number).into()).await.unwrap();
    }
    let begun = store.ended(None, 10).await.unwrap();
    assert!(begun.calls.is_empty() && !begun.more, "{begun:?}");
    for number in [4, 1, 3] {
        store.close(closed(number).into()).await.unwrap();
    }
    let ids = |calls: &[CallRow]| calls.iter().map(|call| call.id).collect::<Vec<_>>();
    let of = |numbers: &[u32]| numbers.iter().map(|one| opened(*one).id).collect::<Vec<_>>();
    let first = store.ended(Some(begun.place), 2).await.unwrap();
    assert_eq!((ids(&first.calls), first.more), (of(&[4, 1]), true), "in the order of their ends");
    assert!(first.calls.iter().all(|call| call.ended.is_some()));

    let store = reopen(place, store).await;
    // Calls that a crash had left open end now.
    store.load().await.unwrap();
    store.open(opened(7).into()).await.unwrap();
    let rest = store.ended(Some(first.place), 10).await.unwrap();
    assert_eq!(ids(&rest.calls)[0], opened(3).id);
    assert!(!rest.more && rest.calls.len() <= 4, "{rest:?}");
    store.close(closed(7).into()).await.unwrap();
    let last = store.ended(Some(rest.place), 10).await.unwrap();
    assert_eq!(ids(&last.calls), of(&[7]));
    // Behind all that there is, as after a record was put back.
    let behind = store.ended(Some(u64::MAX), 10).await.unwrap();
    assert_eq!((behind.calls.len(), behind.place), (0, last.place));
}

pub(crate) async fn usage_is_summed(place: &impl Place) {
    const DAY: i64 = 86_400_000;
    let store = place.open();
    for (number, model, days) in [(1, "auto", 0), (2, "auto", 1), (3, "gpt", 1)] {
        let call = Opened { model: model.into(), received: START + days * DAY, ..opened(number) };
        store.open(call.into()).await.unwrap();
        let mut end = closed(number);
        end.status = if number == 3 { 502 } else { 200 };
        store.close(end.into()).await.unwrap();
    }
    store.open(Opened { key: None, tenant: None, ..opened(4) }.into()).await.unwrap();
    let usage = async |by, received, key| {
        store.usage(UsageFilter { by, received, key, tenant: None }).await.unwrap()
    };
    let row = |name: &str, calls, failed, input_tokens, output_tokens, cost| UsageRow {
        name: name.to_owned(),
        calls,
        failed,
        input_tokens,
        output_tokens,
        cost,
    };
    assert_eq!(
        usage(UsageBy::Key, ALWAYS, None).await,
        [row("", 1, 0, 250, 0, 0), row(key_id(1).as_str(), 3, 1, 780, 120, 60)]
    );
    assert_eq!(
        usage(UsageBy::Model, ALWAYS, Some(key_id(1))).await,
        [row("auto", 2, 0, 520, 80, 40), row("gpt", 1, 1, 260, 40, 20)]
    );
    assert_eq!(
        usage(UsageBy::Tenant, START + DAY..START + 2 * DAY, None).await,
        [row("team", 2, 1, 520, 80, 40)]
    );
    assert_eq!(
        usage(UsageBy::Day, ALWAYS, None).await,
        [row("2026-09-21", 2, 0, 510, 40, 20), row("2026-09-22", 2, 1, 520, 80, 40)]
    );
}

pub(crate) async fn refusals_are_shown_as_counted(place: &impl Place) {
    const MINUTE: i64 = 60_000;
    // In the order in which they are shown.
    let groups: [(i64, &str, &str, Option<KeyId>); 8] = [
        (2, "unauthenticated", "2001:db8::/48", None),
        (2, "unauthenticated", "10.2.0.0/24", None),
        (2, "unauthenticated", "10.1.0.0/24", Some(key_id(1))),
        (2, "unauthenticated", "10.1.0.0/24", None),
        (2, "forbidden", "10.1.0.0/24", Some(key_id(1))),
        (1, "unauthenticated", "0.0.0.0/0", None),
        (0, "unauthenticated", "::/0", None),
        (0, "forbidden", "10.1.0.0/24", Some(key_id(2))),
    ];
    let counts = |number: u64| {
        let counts = groups.iter().rev().map(move |(minute, reason, network, key)| RefusalCount {
            minute: START + minute * MINUTE,
            reason,
            network: network.parse().unwrap(),
            key: *key,
            count: number,
        });
        counts.collect()
    };
    let rows = groups.iter().map(|(minute, reason, network, key)| RefusalRow {
        group: RefusalGroup {
            minute: START + minute * MINUTE,
            reason: (*reason).to_owned(),
            network: network.parse().unwrap(),
            key: *key,
        },
        count: 42,
    });
    let rows: Vec<_> = rows.collect();
    let store = place.open();
    store.count_refusals(counts(40));
    let store = reopen(place, store).await;
    store.count_refusals(counts(2));
    let store = reopen(place, store).await;

    let span = |from, to| RefusalFilter {
        span: Some(START + from..START + to),
        ..RefusalFilter::default()
    };
    let of = |key| RefusalFilter { key: Some(key), ..RefusalFilter::default() };
    let within = |network: &str| RefusalFilter {
        network: Some(network.parse().unwrap()),
        ..RefusalFilter::default()
    };
    let reason = Some("forbidden".to_owned());
    for (filter, wanted) in [
        (RefusalFilter::default(), &[0, 1, 2, 3, 4, 5, 6, 7][..]),
        (
            RefusalFilter { span: Some(ALWAYS), ..RefusalFilter::default() },
            &[0, 1, 2, 3, 4, 5, 6, 7],
        ),
        (span(MINUTE + 1, MINUTE + 2), &[5]),
        (span(1, 2 * MINUTE), &[5, 6, 7]),
        (span(MINUTE, 2 * MINUTE + 1), &[0, 1, 2, 3, 4, 5]),
        (RefusalFilter { reason, ..RefusalFilter::default() }, &[4, 7]),
        (of(key_id(1)), &[2, 4]),
        (of(key_id(9)), &[]),
        (within("10.1.0.0/16"), &[2, 3, 4, 5, 7]),
        (within("10.2.0.7/32"), &[1, 5]),
        (within("2001:db8::/32"), &[0, 6]),
        (RefusalFilter { key: Some(key_id(1)), ..span(0, MINUTE) }, &[]),
    ] {
        let wanted: Vec<_> = wanted.iter().map(|at: &usize| rows[*at].clone()).collect();
        for limit in [1, 2, 3, 8] {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let page = store.refusals(filter.clone(), after, limit).await.unwrap();
                assert!(page.refusals.len() <= limit);
                seen.extend(page.refusals);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, wanted, "{filter:?}, {limit} at a time");
        }
    }
    // Whatever it is asked for, a page has an entry.
    assert_eq!(store.refusals(RefusalFilter::default(), None, 0).await.unwrap().refusals.len(), 1);
}
