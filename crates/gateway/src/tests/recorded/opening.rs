//! Nothing is asked of an upstream before its RX row is committed.

use super::*;
use crate::tests::fakes::{Ended, whole};

#[tokio::test(start_paused = true)]
async fn the_upstream_is_asked_once_the_call_is_on_record() {
    let books = Books::new(whole("hello"), Fate::Waits, Fate::Commits);
    let mut running = books.start();
    books.house.settle().await;
    assert_eq!((books.started(), books.store.waiting()), (0, 1));
    let opened = &books.store.opened()[0];
    assert_eq!(opened.key, Some(books.key.key.id));
    assert_eq!((opened.reserved.amounts.tokens, opened.reserved.amounts.requests), (100, 1));
    assert_eq!(opened.reserved.scopes, books.key.debited);
    assert_eq!(opened.body.as_deref(), Some(&b"{}"[..]));
    assert_eq!(opened.received, crate::tests::keys::MORNING);
    books.store.answer(true);
    assert_eq!(read(&mut running).await.0, "hello");
    assert_eq!(books.started(), 1);
    books.assert_spent(1, 10 + 2 + 3 + 5);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_refused_and_takes_nothing() {
    let books = Books::new(whole("never"), Fate::Fails, Fate::Commits);
    let mut running = books.start();
    let (text, failure) = read(&mut running).await;
    assert_unavailable(&failure.expect("refused"));
    assert_eq!((text.as_str(), books.started()), ("", 0));
    books.assert_spent(0, 0);
    // The store has said that there is no row: there is nothing to close.
    assert!(books.store.closed().is_empty());
    assert_eq!(books.house.only_record().await.ended, Ended::Failed(FailureKind::NotReady, 503));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_known_to_be_down_is_not_asked() {
    let books = Books::new(whole("never"), Fate::Commits, Fate::Commits);
    books.store.set_fault(Some("/secret is full"));
    assert_unavailable(&books.house.gateway.ready().unwrap_err());
    let refused = books.house.gateway.complete(books.call()).map(drop).unwrap_err();
    assert_unavailable(&refused);
    assert_eq!(books.started(), 0);
    assert!(books.store.opened().is_empty());
    books.assert_spent(0, 0);
    books.store.set_fault(None);
    assert_eq!(read(&mut books.start()).await.0, "never");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_ten_seconds() {
    let books = Books::new(whole("never"), Fate::Waits, Fate::Commits);
    let begun = tokio::time::Instant::now();
    let failure = read(&mut books.start()).await.1.expect("refused");
    assert_unavailable(&failure);
    assert_eq!(begun.elapsed(), 10 * SECOND);
    assert_eq!(books.started(), 0);
    books.assert_spent(0, 0);
    // It may commit the row yet, so the end of it is there too, and nothing is owed.
    let [closed] = books.store.closed().try_into().unwrap();
    assert_eq!((closed.status, closed.failure), (503, Some("not_ready")));
    assert_eq!(closed.spending.map(|spending| spending.amounts), Some(Amounts::default()));
    assert_eq!(books.house.only_record().await.ended, Ended::Failed(FailureKind::NotReady, 503));
}

/// A call ends while its RX row is on its way: nobody is asked, nothing is owed, and its row is
/// closed with why.
async fn ends(books: Books, running: Option<Running>, kind: Option<FailureKind>, status: u16) {
    if let Some(mut running) = running {
        let failure = read(&mut running).await.1.expect("a failure");
        assert_eq!(Some(failure.kind), kind);
    }
    books.house.settle().await;
    let [closed] = books.store.closed().try_into().unwrap();
    assert_eq!(closed.status, status);
    assert_eq!(closed.failure, kind.map(FailureKind::as_str));
    assert_eq!(closed.spending.map(|spending| spending.amounts), Some(Amounts::default()));
    books.assert_spent(0, 0);
    books.store.answer(true);
    books.house.settle().await;
    assert_eq!((books.started(), books.store.closed().len()), (0, 1));
    books.house.only_record().await;
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_while_it_is_opened() {
    let books = Books::new(whole("never"), Fate::Waits, Fate::Commits);
    let running = books.start();
    books.house.settle().await;
    drop(running);
    ends(books, None, None, 499).await;
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_before_it_is_opened() {
    let books = Books::new(whole("never"), Fate::Commits, Fate::Commits);
    drop(books.start());
    books.house.settle().await;
    assert_eq!(books.started(), 0);
    books.assert_spent(0, 0);
    assert_eq!(books.store.opened().len(), 1);
    assert_eq!(books.store.closed()[0].status, 499);
    assert_eq!(books.house.only_record().await.ended, Ended::HungUp);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_while_it_is_opened() {
    let books = Books::new(whole("never"), Fate::Waits, Fate::Commits);
    let call = Call { deadline: 2 * SECOND, ..books.call() };
    let running = books.house.gateway.complete(call).expect("admitted");
    let begun = tokio::time::Instant::now();
    ends(books, Some(running), Some(FailureKind::UpstreamTimeout), 504).await;
    assert_eq!(begun.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_bridge_while_it_is_opened() {
    let books = Books::new(whole("never"), Fate::Waits, Fate::Commits);
    let running = books.start();
    books.house.settle().await;
    books.house.stop.cancel();
    let begun = tokio::time::Instant::now();
    ends(books, Some(running), Some(FailureKind::NotReady), 503).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_while_it_is_opened() {
    let books = Books::new(whole("never"), Fate::Waits, Fate::Commits);
    let running = books.start();
    books.house.settle().await;
    books.key.ended.cancel();
    ends(books, Some(running), Some(FailureKind::Unauthenticated), 502).await;
}
