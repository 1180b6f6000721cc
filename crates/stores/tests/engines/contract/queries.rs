//! What can be asked.

use gateway::store::{CallFilter, Opened, UsageBy, UsageFilter, UsageRow};

use super::{ALWAYS, Place};
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
