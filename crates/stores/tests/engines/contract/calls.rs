//! The record of a call: both halves, once.

use std::sync::Arc;

use gateway::store::{Opened, Progress, Spending, Store, StoreError};

use super::{ALWAYS, Place, all, reopen};
use crate::samples::{closed, id, opened};

pub(crate) async fn a_call_is_told_in_two_halves(place: &impl Place) {
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    let half = store.call(opened(1).id).await.unwrap().unwrap();
    assert_eq!(half.request, opened(1).body);
    assert_eq!((half.reply, half.row.status, half.row.ended), (None, None, None));
    assert_eq!((half.row.input_tokens, half.row.estimated), (250, true), "our estimate");
    assert_eq!(half.row.reserved, opened(1).reserved.amounts);
    assert_eq!(half.row.spent, None);

    let mut end = closed(1);
    end.replay_of = Some(id(77, 5));
    end.overrun = true;
    end.failure = Some("upstream");
    end.message = Some("it broke".into());
    store.close(end.clone().into()).await.unwrap();
    let store = reopen(place, store).await;
    let whole = store.call(opened(1).id).await.unwrap().unwrap();
    assert_eq!((whole.request, whole.reply), (opened(1).body, end.body.clone()));
    let (row, start) = (whole.row, opened(1));
    assert_eq!(
        (row.id, row.received, row.key, row.tenant),
        (start.id, start.received, start.key, start.tenant)
    );
    assert_eq!((row.address.as_str(), row.agent.as_deref()), ("192.0.2.7", Some("curl/8")));
    assert_eq!((row.dialect.as_str(), row.endpoint.as_str()), ("openai-chat", "chat"));
    assert_eq!((row.model.as_str(), row.model_served.as_deref()), ("auto", Some("gpt-5")));
    assert_eq!((row.stream, row.messages, row.sandbox), (true, 3, false));
    assert_eq!((row.bytes_in, row.bytes_out), (1000, 160));
    assert_eq!((row.first_byte, row.ended), (end.first_byte, Some(end.ended)));
    assert_eq!((row.upstream.as_deref(), row.replay_of), (Some("vscode"), end.replay_of));
    assert_eq!((row.status, row.stop_reason.as_deref()), (Some(200), Some("end_turn")));
    assert_eq!(
        (row.failure.as_deref(), row.message.as_deref()),
        (Some("upstream"), Some("it broke"))
    );
    assert_eq!((row.input_tokens, row.output_tokens, row.cached_tokens), (260, 40, 7));
    assert_eq!((row.estimated, row.overrun, row.losses.as_str()), (true, true, "top_k,seed"));
    assert_eq!(row.spent, end.spending.map(|spending| spending.amounts));
}

pub(crate) async fn a_call_without_bodies_or_key_is_kept_too(place: &impl Place) {
    let store = place.open();
    let bare = Opened {
        key: None,
        tenant: None,
        agent: None,
        address: "2001:db8::1".parse().unwrap(),
        reserved: Spending::default(),
        body: None,
        ..opened(1)
    };
    store.open(bare.into()).await.unwrap();
    let mut end = closed(1);
    end.body = Some(bytes::Bytes::new());
    end.spending = Some(Spending::default());
    store.close(end.into()).await.unwrap();
    let call = store.call(opened(1).id).await.unwrap().unwrap();
    assert_eq!(call.request, None);
    assert_eq!(call.reply, Some(bytes::Bytes::new()), "empty is not absent");
    assert_eq!((call.row.key, call.row.agent, call.row.tenant), (None, None, None));
    assert_eq!(call.row.address, "2001:db8::1");
    assert_eq!(store.spent(ALWAYS).await.unwrap(), []);
    assert_eq!(store.call(id(5, 5)).await.unwrap(), None);
}

pub(crate) async fn a_call_is_opened_and_closed_once(place: &impl Place) {
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    let mut other = opened(1);
    other.model = "another".into();
    store.open(other.into()).await.unwrap();
    store.close(closed(1).into()).await.unwrap();
    let once = store.spent(ALWAYS).await.unwrap();
    let mut again = closed(1);
    again.status = 500;
    again.body = Some("other".into());
    store.close(again.into()).await.unwrap();
    store.close(closed(2).into()).await.unwrap();
    let calls = all(&store).await;
    assert_eq!(calls.len(), 1, "a call that was never opened is not closed");
    assert_eq!((calls[0].status, &*calls[0].model), (Some(200), &*opened(1).model));
    assert_eq!(store.spent(ALWAYS).await.unwrap(), once);
    assert_eq!(store.call(closed(1).id).await.unwrap().unwrap().reply, closed(1).body);
}

pub(crate) async fn a_refused_call_has_both_halves_and_spends_nothing(place: &impl Place) {
    let store = place.open();
    let mut end = closed(1);
    end.status = 403;
    store.refuse(opened(1).into(), end.clone().into());
    end.id = opened(3).id;
    end.spending = None;
    store.refuse(opened(3).into(), end.into());
    store.count_refusals(Vec::new());
    // What is written later is written behind it.
    store.open(opened(2).into()).await.unwrap();
    let calls = all(&store).await;
    assert_eq!(calls.len(), 3);
    assert_eq!((calls[2].id, calls[2].status), (opened(1).id, Some(403)));
    store.close(closed(2).into()).await.unwrap();
    let spent = store.spent(ALWAYS).await.unwrap();
    let store = reopen(place, store).await;
    assert_eq!(store.load().await.unwrap().interrupted, 0);
    assert_eq!(store.spent(ALWAYS).await.unwrap(), spent, "not later either");
    assert!(spent.iter().all(|(_, amounts)| amounts.requests == 1), "{spent:?}");
}

pub(crate) async fn what_is_queued_is_written_before_the_end(place: &impl Place) {
    let store = place.open();
    for number in 0..300 {
        drop(store.open(opened(number).into()));
    }
    let store = reopen(place, store).await;
    assert_eq!(all(&store).await.len(), 300);
}

pub(crate) async fn nothing_is_taken_after_the_end(place: &impl Place) {
    let store: Arc<dyn Store> = place.open();
    store.shut_down().await;
    assert!(matches!(store.open(opened(1).into()).await, Err(StoreError::Down(_))));
    assert!(matches!(store.close(closed(1).into()).await, Err(StoreError::Down(_))));
    assert!(matches!(store.call(opened(1).id).await, Err(StoreError::Down(_))));
    assert!(store.load().await.is_err());
    store.shut_down().await;
}

pub(crate) async fn the_journal_of_all_this_is_whole(place: &impl Place) {
    let store = place.open();
    for number in 0..1500 {
        store.open(opened(number).into()).await.unwrap();
        let mut end = closed(number);
        match number % 4 {
            0 => {}
            1 => end.spending = None,
            2 => end.body = None,
            _ => continue,
        }
        let spending = closed(number).spending.unwrap();
        store.close(end.into()).await.unwrap();
        if number % 8 == 1 {
            store.settle(opened(number).id, spending).await.unwrap();
        }
    }
    let store = reopen(place, store).await;
    store.load().await.unwrap();
    let progress = Progress::default();
    let verdict = store.verify(progress.clone()).await.unwrap();
    assert_eq!(verdict.finding, None);
    assert_eq!((verdict.checked, verdict.retired), (1500 + 1500 + 375, 0));
    assert_eq!(progress.get(), (3375, 3375));
    assert!(!verdict.unseen.is_empty());
}
