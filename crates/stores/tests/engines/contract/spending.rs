//! What is spent counts once, where it belongs, whatever happens.

use gateway::keys::UnixMillis;
use gateway::store::{Closed, Opened, Progress, Spending};

use super::{ALWAYS, Place, reopen};
use crate::samples::{
    MINUTE, START, amounts, closed, key_id, key_scope, opened, spending, tenant_scope,
};

fn unsettled(number: u32) -> Closed {
    Closed { spending: None, ..closed(number) }
}

pub(crate) async fn spending_counts_in_the_minute_of_admission(place: &impl Place) {
    let store = place.open();
    for (number, minute) in [(1, 0), (2, 0), (3, 2)] {
        store.open(opened(number).into()).await.unwrap();
        let admitted = START + minute * MINUTE + 17;
        let mut end = closed(number);
        end.ended = START + 90 * MINUTE;
        end.spending = Some(spending(admitted, amounts(1, 100, 7)));
        store.close(end.into()).await.unwrap();
    }
    let store = reopen(place, store).await;
    let of = |requests, tokens, cost| {
        let spent = amounts(requests, tokens, cost);
        vec![(key_scope(1), spent), (tenant_scope("team"), spent)]
    };
    let first: UnixMillis = START.div_euclid(MINUTE) * MINUTE;
    let spent = async |from, to| {
        let mut spent = store.spent(first + from * MINUTE..first + to * MINUTE).await.unwrap();
        spent.sort_by_key(|(scope, _)| scope.clone());
        spent
    };
    assert_eq!(spent(0, 1).await, of(2, 200, 14));
    assert_eq!(spent(0, 2).await, of(2, 200, 14));
    assert_eq!(spent(1, 3).await, of(1, 100, 7));
    assert_eq!(spent(0, 3).await, of(3, 300, 21));
    assert_eq!(spent(-9, 0).await, []);
    assert_eq!(spent(3, 99).await, []);
    assert_eq!(store.spent(ALWAYS).await.unwrap(), of(3, 300, 21));
}

/// Whoever starts after the clock was put back has to know it.
pub(crate) async fn spending_ahead_of_the_clock_is_told_by_the_minute(place: &impl Place) {
    let store = place.open();
    for (number, minute) in [(1, 0), (2, 1), (3, 1), (4, 900)] {
        store.open(opened(number).into()).await.unwrap();
        let spending = Some(spending(START + minute * MINUTE + 17, amounts(1, 100, 7)));
        store.close(Closed { spending, ..closed(number) }.into()).await.unwrap();
    }
    let store = reopen(place, store).await;
    let first: UnixMillis = START.div_euclid(MINUTE) * MINUTE;
    let of = |minute, spent| {
        let scopes = [key_scope(1), tenant_scope("team")];
        scopes.map(|scope| (first + minute * MINUTE, scope, spent)).to_vec()
    };
    let after = async |time| {
        let mut spent = store.spent_after(time).await.unwrap();
        spent.sort_by_key(|(minute, scope, _)| (*minute, scope.clone()));
        spent
    };
    let late = [of(1, amounts(2, 200, 14)), of(900, amounts(1, 100, 7))].concat();
    assert_eq!(after(first).await, late);
    assert_eq!(after(first + MINUTE - 1).await, late);
    assert_eq!(after(first + MINUTE).await, of(900, amounts(1, 100, 7)));
    assert_eq!(after(first + 900 * MINUTE).await, []);
    assert_eq!(after(first - 1).await, [of(0, amounts(1, 100, 7)), late].concat());
}

pub(crate) async fn a_call_is_settled_once(place: &impl Place) {
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    let id = opened(1).id;
    store.settle(id, spending(START, amounts(1, 9999, 9999))).await.unwrap();
    assert_eq!(store.spent(ALWAYS).await.unwrap(), [], "not before it is closed");
    store.close(unsettled(1).into()).await.unwrap();
    assert_eq!(store.call(id).await.unwrap().unwrap().row.spent, None);
    let truth = Spending { scopes: [key_scope(2)].into(), ..spending(START, amounts(1, 50, 3)) };
    store.settle(id, truth).await.unwrap();
    store.settle(id, spending(START, amounts(1, 70, 4))).await.unwrap();
    store.close(closed(1).into()).await.unwrap();
    assert_eq!(store.spent(ALWAYS).await.unwrap(), [(key_scope(2), amounts(1, 50, 3))]);
    let row = store.call(id).await.unwrap().unwrap().row;
    assert_eq!(row.spent, Some(amounts(1, 50, 3)));
}

/// What a sandbox call spends is for the gateway to say, and uses of a key it does spend.
pub(crate) async fn a_sandbox_call_spends_what_it_is_said_to(place: &impl Place) {
    let store = place.open();
    let one_use = || spending(START, amounts(1, 0, 0));
    for number in 1..=3 {
        let start = Opened { sandbox: true, reserved: one_use(), ..opened(number) };
        store.open(start.into()).await.unwrap();
    }
    store.close(Closed { spending: Some(one_use()), ..closed(1) }.into()).await.unwrap();
    store.close(unsettled(2).into()).await.unwrap();
    store.settle(opened(2).id, one_use()).await.unwrap();
    let store = reopen(place, store).await;
    assert_eq!(store.load().await.unwrap().interrupted, 1);
    let uses = amounts(3, 0, 0);
    let spent = [(key_scope(1), uses), (tenant_scope("team"), uses)];
    assert_eq!(store.spent(ALWAYS).await.unwrap(), spent);
    assert!(store.call(opened(1).id).await.unwrap().unwrap().row.sandbox);
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

/// Whether more was spent than reserved is known late where the truth comes late.
pub(crate) async fn an_overrun_that_is_heard_of_late_is_told(place: &impl Place) {
    let store = place.open();
    let reserved = opened(1).reserved.amounts;
    for (number, more) in [(1, 0), (2, 1)] {
        store.open(opened(number).into()).await.unwrap();
        store.close(unsettled(number).into()).await.unwrap();
        let row = store.call(opened(number).id).await.unwrap().unwrap().row;
        assert!(!row.overrun, "nobody knows yet");
        let truth = amounts(1, reserved.tokens + more, 1);
        store.settle(opened(number).id, spending(START, truth)).await.unwrap();
        let row = store.call(opened(number).id).await.unwrap().unwrap().row;
        assert_eq!(row.overrun, more > 0);
    }
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

pub(crate) async fn what_a_crash_cut_off_is_charged_as_reserved(place: &impl Place) {
    let store = place.open();
    for number in 1..=3 {
        store.open(opened(number).into()).await.unwrap();
    }
    store.close(closed(1).into()).await.unwrap();
    store.close(unsettled(2).into()).await.unwrap();
    let store = reopen(place, store).await;
    assert_eq!(store.load().await.unwrap().interrupted, 1);
    let row = store.call(opened(3).id).await.unwrap().unwrap().row;
    assert_eq!((row.status, row.failure.as_deref()), (Some(0), Some("interrupted")));
    assert_eq!((row.spent, row.input_tokens), (Some(row.reserved), 250));
    let row = store.call(opened(2).id).await.unwrap().unwrap().row;
    assert_eq!((row.status, row.spent), (Some(200), Some(row.reserved)));
    let sum = amounts(3, 300 + 2 * 4000, 20 + 2 * 90);
    let spent = store.spent(ALWAYS).await.unwrap();
    assert_eq!(spent, [(key_scope(1), sum), (tenant_scope("team"), sum)]);
    let minute = opened(3).reserved.admitted..opened(3).reserved.admitted + 1;
    assert_eq!(store.spent(minute).await.unwrap(), spent, "in the minute of admission");

    let store = reopen(place, store).await;
    assert_eq!(store.load().await.unwrap().interrupted, 0);
    assert_eq!(store.spent(ALWAYS).await.unwrap(), spent, "once");
}

pub(crate) async fn loading_again_leaves_running_calls_alone(place: &impl Place) {
    let store = place.open();
    store.load().await.unwrap();
    store.open(opened(1).into()).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.interrupted, loaded.keys.len()), (0, 0));
    store.close(closed(1).into()).await.unwrap();
    let row = store.call(opened(1).id).await.unwrap().unwrap().row;
    assert_eq!((row.status, row.key), (Some(200), Some(key_id(1))));
}
