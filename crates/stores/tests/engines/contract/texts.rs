//! Calls are found by what was said in them.

use std::sync::Arc;

use gateway::store::{CallFilter, Closed, Opened, Store, StoreError};
use proptest::prelude::*;

use super::{Place, reopen};
use crate::samples::{START, closed, id, key_id, opened};

/// Waits until everything that has ended is searchable.
pub(crate) async fn searchable(store: &Arc<dyn Store>) {
    while store.state().text_lag > 0 {
        tokio::task::yield_now().await;
    }
}

/// A call in which this was said.
pub(crate) async fn record(store: &Arc<dyn Store>, number: u32, request: &str, reply: &str) {
    store.open(asked(number, request).into()).await.unwrap();
    store.close(answered(number, reply).into()).await.unwrap();
}

/// The half in which a caller said this.
pub(crate) fn asked(number: u32, request: &str) -> Opened {
    let body = serde_json::json!({"model": "auto", "messages": [{"content": request}]});
    Opened { body: Some(body.to_string().into()), ..opened(number) }
}

fn answered(number: u32, reply: &str) -> Closed {
    let body = serde_json::json!({"text": reply});
    Closed { body: Some(body.to_string().into()), ..closed(number) }
}

pub(crate) fn text(text: &str) -> CallFilter {
    CallFilter { text: Some(text.to_owned()), ..CallFilter::default() }
}

/// The numbers of the calls that a filter finds, in pages of this many.
pub(crate) async fn numbers(store: &Arc<dyn Store>, filter: &CallFilter, limit: usize) -> Vec<u32> {
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = store.calls(filter.clone(), after, limit).await.unwrap();
        assert!(page.calls.len() <= limit);
        for call in page.calls {
            let number = u32::try_from(call.received - START).unwrap();
            assert_eq!(call.id, id(number, call.received));
            found.push(number);
        }
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

async fn find(store: &Arc<dyn Store>, words: &str) -> Vec<u32> {
    numbers(store, &text(words), 100).await
}

pub(crate) async fn calls_are_found_by_their_words(place: &impl Place) {
    let mut store = place.open();
    for number in 1..=30 {
        let third = if number % 3 == 0 { "third" } else { "other" };
        record(&store, number, &format!("a word {third}"), &format!("reply number{number}")).await;
    }
    let bare = Opened { body: None, ..opened(31) };
    store.open(bare.into()).await.unwrap();
    store.close(Closed { body: None, ..closed(31) }.into()).await.unwrap();
    searchable(&store).await;
    let thirds: Vec<_> = (1..=30).rev().filter(|number| number % 3 == 0).collect();
    for _ in 0..2 {
        searchable(&store).await;
        assert_eq!(find(&store, "word").await, (1..=30).rev().collect::<Vec<_>>());
        assert_eq!(find(&store, "THIRD Reply").await, thirds, "words of both sides");
        assert_eq!(find(&store, "number7").await, [7]);
        assert_eq!(find(&store, "number7 third").await, [0; 0]);
        assert_eq!(find(&store, "content messages").await, [0; 0], "keys are no text");
        for limit in [1, 4, 10] {
            assert_eq!(numbers(&store, &text("third"), limit).await, thirds, "pages of {limit}");
        }
        let some = CallFilter { received: Some(START + 6..START + 13), ..text("third") };
        assert_eq!(numbers(&store, &some, 1).await, [12, 9, 6]);
        let others = CallFilter { key: Some(key_id(2)), ..text("third") };
        assert_eq!(numbers(&store, &others, 10).await, [0; 0]);
        store = reopen(place, store).await;
    }
}

pub(crate) async fn words_are_found_as_people_write_them(place: &impl Place) {
    let store = place.open();
    record(&store, 1, "Das Café schließt früh", "ok").await;
    record(&store, 2, "请用人工智能生成代码。", "好").await;
    record(&store, 3, "東京タワーへ行きたい", "서울에서").await;
    record(&store, 4, "fails with ERR_4711 in user-agent.rs", "हिन्दी में").await;
    record(&store, 5, "the cafe\u{301} again", "Привет МИР").await;
    searchable(&store).await;
    for (words, wanted) in [
        ("cafe", &[5, 1][..]),
        ("CAFÉ früh", &[1]),
        ("schließt", &[1]),
        ("caf", &[]),
        ("人工智能", &[2]),
        ("智能", &[2]),
        ("码", &[2]),
        ("请", &[2]),
        ("好", &[2]),
        ("能智", &[]),
        ("代码 好", &[2]),
        ("タワー", &[3]),
        ("京", &[3]),
        ("서울", &[3]),
        ("ERR_4711", &[4]),
        ("err", &[4]),
        ("user-agent.rs", &[4]),
        ("हिन्दी", &[4]),
        ("мир", &[5]),
    ] {
        assert_eq!(find(&store, words).await, wanted, "{words}");
    }
}

pub(crate) async fn signs_in_a_search_are_no_syntax(place: &impl Place) {
    let store = place.open();
    record(&store, 1, "to be or not to be", "near the text").await;
    record(&store, 2, "be it", "so").await;
    searchable(&store).await;
    for (words, wanted) in [
        ("be OR it", &[][..]),
        ("be OR", &[1]),
        ("NOT be", &[1]),
        ("\"be", &[2, 1]),
        ("be\"", &[2, 1]),
        ("\"it\" AND", &[]),
        ("NEAR(to be)", &[1]),
        ("text:be", &[1]),
        ("b*", &[]),
        ("^be", &[2, 1]),
        ("-be", &[2, 1]),
        ("{text}: be'; DROP TABLE piece; --", &[]),
        ("be\0it", &[2]),
    ] {
        assert_eq!(find(&store, words).await, wanted, "{words}");
    }
}

pub(crate) async fn a_search_without_words_is_refused(place: &impl Place) {
    let store = place.open();
    searchable(&store).await;
    for words in ["", " ", "\"", "* ()", "。"] {
        let found = store.calls(text(words), None, 10).await;
        assert!(matches!(found, Err(StoreError::Unsupported(_))), "{words}: {found:?}");
    }
}

pub(crate) async fn calls_that_end_late_are_found_in_their_place(place: &impl Place) {
    let store = place.open();
    for number in 1..=20 {
        store.open(asked(number, "said").into()).await.unwrap();
    }
    for round in [3, 0, 2, 1] {
        for number in (1..=20).rev().filter(|number| number % 4 == round) {
            store.close(answered(number, "heard").into()).await.unwrap();
        }
        searchable(&store).await;
    }
    assert_eq!(numbers(&store, &text("said heard"), 3).await, (1..=20).rev().collect::<Vec<_>>());
}

pub(crate) async fn what_is_not_searchable_yet_is_told(place: &impl Place) {
    let store = place.open();
    searchable(&store).await;
    store.open(asked(1, "said").into()).await.unwrap();
    assert_eq!(store.state().text_lag, 0, "what still runs is not counted");
    let seen = store.calls(text("said"), None, 10).await.unwrap();
    assert_eq!((seen.calls.len(), seen.lag), (0, 0));
    store.close(answered(1, "heard").into()).await.unwrap();
    // Either it is not there yet, and that is said, or it is.
    let page = store.calls(text("said"), None, 10).await.unwrap();
    assert!(page.lag.max(page.calls.len() as u64) >= 1);
    searchable(&store).await;
    let page = store.calls(text("said"), None, 10).await.unwrap();
    assert_eq!((page.calls.len(), page.lag), (1, 0));
}

/// Texts in any script.
pub(crate) fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = prop_oneof![
        "\\PC{1,24}",
        "[\\p{L}\\p{N}\\p{M} ]{1,12}",
        "[a-cÀ-ÿ\u{300}-\u{303} _'\"*-]{1,16}",
        "[一-人あ-お]{1,6}",
    ];
    prop::collection::vec(text, 1..40)
}

/// Whatever is said can be searched for, and is found.
pub(crate) async fn a_text_is_found_by_itself(place: &impl Place, texts: &[String]) {
    let store = place.open();
    for (number, said) in (0..).zip(texts) {
        drop(store.open(asked(number, said).into()));
        drop(store.close(closed(number).into()));
    }
    store.load().await.unwrap();
    searchable(&store).await;
    for (number, said) in (0_u32..).zip(texts) {
        let found = store.calls(text(said), None, 100).await;
        if !matches!(found, Err(StoreError::Unsupported(_))) {
            let id = opened(number).id;
            assert!(found.unwrap().calls.iter().any(|call| call.id == id), "{said:?}");
        }
    }
}
