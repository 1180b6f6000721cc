//! What is known of spending after a start.

use std::sync::Arc;

use model::{CallId, Dialect};

use super::{Family, ask, budget, end, usage};
use crate::amounts::{Amounts, Span, Unit};
use crate::fakes::MemoryStore;
use crate::keys::{Endpoint, ScopeId, UnixMillis, VirtualKey};
use crate::store::{Opened, Spending, Store};
use crate::tests::keys::{MORNING, ring};
use crate::tests::memory::{Fate, Memory};

const DAY: i64 = 24 * 3_600_000;

#[tokio::test]
async fn a_clock_that_was_ahead_before_a_start_hands_out_no_day_twice() {
    let mut family = Family::new();
    family.child.bounds.budgets = vec![budget(Unit::Tokens, Span::Day, 200)];
    let (store, key) = (Memory::new(Fate::Commits, Fate::Commits), family.key());
    let spend = async |admission: &Arc<super::Admission>| {
        let bill = admission.admit(&ask(&key))?;
        let (spending, _) = end(&bill, true, &usage(10, 90));
        store.settle(CallId::generate(), spending).await.unwrap();
        Ok::<_, model::Failure>(())
    };
    let start = async || {
        let admission = family.admission();
        // A start may have to try again.
        for _ in 0..2 {
            admission.load(&*store).await.unwrap();
        }
        admission
    };
    // The clock is a day ahead, and all of that day is spent.
    family.clock.set(MORNING + DAY);
    let admission = start().await;
    spend(&admission).await.unwrap();
    spend(&admission).await.unwrap();
    spend(&admission).await.unwrap_err();
    // It is corrected, and the bridge starts anew: today has not been spent.
    family.clock.set(MORNING);
    let admission = start().await;
    spend(&admission).await.unwrap();
    // Then tomorrow comes.
    family.clock.set(MORNING + DAY - 3_600_000);
    spend(&admission).await.unwrap_err();
    let left = admission.usage(&key)[0].budgets[0];
    assert_eq!((left.spent, left.left), (200, 0));
    family.clock.set(MORNING + 2 * DAY);
    spend(&admission).await.unwrap();
}

/// A call with the key, at some time, that is on record as opened.
fn opened(number: u8, key: &VirtualKey, received: UnixMillis) -> Opened {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&received.to_be_bytes()[2..]);
    id[15] = number;
    Opened {
        id: CallId::from_bytes(id),
        received,
        key: Some(key.id),
        tenant: Some(key.tenant.clone()),
        sandbox: false,
        address: "192.0.2.7".parse().unwrap(),
        agent: None,
        dialect: Dialect::OpenAiChat,
        endpoint: Endpoint::Chat,
        model: "m".into(),
        stream: false,
        messages: 1,
        bytes_in: 1,
        input_tokens: 1,
        reserved: Spending {
            scopes: [ScopeId::Key(key.id)].into(),
            admitted: received,
            amounts: Amounts { requests: 1, tokens: 1, cost: 0 },
        },
        body: None,
    }
}

/// Where there were more calls in the last minute than are read, what was before counts as if it had
/// been like what is known.
#[tokio::test(start_paused = true)]
async fn calls_that_nobody_has_read_count_like_those_that_were() {
    // Calls in each second, and how many of the last minute are to be counted.
    for (each, seconds, counted) in [(1, 30, 30), (2, 20, 40), (2, 30, 120), (4, 50, 240)] {
        let mut family = Family::new();
        family.child.bounds.requests_per_minute = Some(1000);
        let store = MemoryStore::default();
        for number in 0..each * seconds {
            let age = 500 + i64::from(number / each) * 1000;
            let call = opened(number, &family.child, MORNING - age);
            store.open(Box::new(call)).await.unwrap();
        }
        let ring = ring(&[family.top.clone(), family.child.clone()], &family.tenant);
        let admission = family.admission();
        admission.load_rates(&store, &ring.snapshot()).await.unwrap();
        let left = admission.rates(Some(&family.key()), "m").requests.unwrap().remaining;
        let told = 1000 - left;
        // What the edges of the minute take or give.
        assert!(told.abs_diff(counted) <= 8, "{each} for {seconds} s: {told}");
    }
}
