//! Calls that end before their answer does.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::keys::VirtualKey;
use crate::store::Change;
use crate::tests::fakes::{Ended, begin, piece, whole};
use crate::tests::keys::{MORNING, ring};
use crate::turns::{AT_ONCE, others_first};

fn endless() -> Vec<Step> {
    vec![Step::Asked, Step::Send(begin()), Step::Send(piece("some")), Step::Forever]
}

/// Reads such a stream to its failure, and compares its row.
async fn unauthenticated(books: &Books, running: &mut Running) -> Failure {
    let (text, failure) = read(running).await;
    let failure = failure.expect("an end");
    assert_eq!((text.as_str(), failure.kind), ("some", FailureKind::Unauthenticated));
    let [closed] = books.store.closed().try_into().unwrap();
    assert_eq!(closed.failure, Some("unauthenticated"));
    assert_eq!(closed.message.as_deref(), Some(failure.message.as_str()));
    assert!(closed.body.is_some_and(|body| body.ends_with(br#""stop_reason":null}"#)));
    assert_eq!(books.house.upstream.dropped.load(Ordering::Relaxed), 1);
    books.assert_spent(1, 0);
    failure
}

#[tokio::test(start_paused = true)]
async fn revocation_ends_a_running_call_also_that_of_an_ancestor() {
    let top = key(1, None);
    let keys = [top.clone(), key(2, Some(&top))];
    let ring = ring(&keys, &team());
    let child = Arc::clone(ring.snapshot().key(keys[1].id).unwrap());
    let books = Books::of(vec![endless()], Fate::Commits, Fate::Commits, child);
    let mut running = books.start();
    tokio::time::sleep(5 * SECOND).await;
    let begun = tokio::time::Instant::now();
    ring.apply(&Change::KeyChanged(Box::new(VirtualKey { revoked: Some(5), ..top })));
    let failure = unauthenticated(&books, &mut running).await;
    assert!(failure.message.contains("revoked"), "{failure:?}");
    assert!(begun.elapsed() < Duration::from_millis(250));
}

/// A house whose calls are all of one key, the ring that it is on, and what ends it.
fn one_key(
    script: Vec<Step>,
    opens: Fate,
    closes: Fate,
) -> (Books, crate::keyring::Keyring, Change) {
    let key = key(1, None);
    let ring = ring(std::slice::from_ref(&key), &team());
    let active = Arc::clone(ring.snapshot().key(key.id).unwrap());
    let end = Change::KeyChanged(Box::new(VirtualKey { revoked: Some(5), ..key }));
    (Books::of(vec![script], opens, closes, active), ring, end)
}

/// Lets others go on until so many have done something. What is on the same thread as they must see
/// them do it a few at a time.
async fn a_few_at_a_time(all: usize, done: impl Fn() -> usize + Send + 'static) {
    let watching = tokio_util::task::TaskTracker::new().spawn(async move {
        let mut seen = 0;
        while seen < all {
            others_first().await;
            let now = done();
            assert!(now - seen <= AT_ONCE, "{} at once", now - seen);
            seen = now;
        }
    });
    watching.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_many_calls_that_end_at_once_few_are_under_way_at_a_time() {
    let (books, ring, end) = one_key(endless(), Fate::Commits, Fate::Waits);
    let (told, tasks) = (Arc::new(AtomicUsize::new(0)), tokio_util::task::TaskTracker::new());
    for _ in 0..10 * AT_ONCE {
        let (mut running, told) = (books.start(), Arc::clone(&told));
        tasks.spawn(async move {
            let failure = read(&mut running).await.1.expect("an end");
            assert_eq!(failure.kind, FailureKind::Unauthenticated);
            told.fetch_add(1, Ordering::Relaxed);
        });
    }
    tokio::time::sleep(SECOND).await;
    let begun = tokio::time::Instant::now();
    ring.apply(&end);
    let store = Arc::clone(&books.store);
    a_few_at_a_time(10 * AT_ONCE, move || store.closed().len()).await;
    // The store lets all go on at once.
    books.store.answer(true);
    a_few_at_a_time(10 * AT_ONCE, move || told.load(Ordering::Relaxed)).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited for the time");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_calls_that_wait_for_their_turn_to_end() {
    let (books, ring, end) = one_key(endless(), Fate::Waits, Fate::Commits);
    let mut running: Vec<_> = (0..3 * AT_ONCE).map(|_| books.start()).collect();
    tokio::time::sleep(SECOND).await;
    assert_eq!(books.store.waiting(), running.len());
    ring.apply(&end);
    books.store.answer(true);
    for running in &mut running {
        assert_eq!(read(running).await.1.unwrap().kind, FailureKind::Unauthenticated);
    }
    assert_eq!(books.started(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_on_record_is_not_handed_over_once_the_key_has_ended() {
    let (books, ring, end) = one_key(whole("hello"), Fate::Commits, Fate::Waits);
    let mut running = books.start();
    books.house.settle().await;
    assert_eq!(books.store.waiting(), 1);
    ring.apply(&end);
    books.store.answer(true);
    let (text, failure) = read(&mut running).await;
    assert_eq!((text.as_str(), failure.unwrap().kind), ("", FailureKind::Unauthenticated));
    // It was there to be had, and it was paid for.
    assert_eq!(books.store.closed()[0].status, 200);
    books.assert_spent(1, 20);
}

#[tokio::test(start_paused = true)]
async fn a_door_hears_that_the_key_has_ended_also_when_the_call_has() {
    let (books, ring, end) = one_key(whole("hello"), Fate::Commits, Fate::Commits);
    let running = books.start();
    books.house.settle().await;
    assert!(running.denied().is_none());
    ring.apply(&end);
    assert_eq!(running.denied().unwrap().kind, FailureKind::Unauthenticated);
    // The same where the door is the first to see it, and goes.
    let (books, ring, end) = one_key(endless(), Fate::Commits, Fate::Commits);
    let running = books.start();
    books.house.settle().await;
    ring.apply(&end);
    drop(running);
    let record = books.house.only_record().await;
    assert_eq!(record.ended, Ended::Failed(FailureKind::Unauthenticated, 502));
}

#[tokio::test(start_paused = true)]
async fn expiry_ends_a_running_call_when_the_clock_says_so() {
    let expiring = VirtualKey { expires: Some(MORNING + 90_000), ..key(1, None) };
    let key = active(&[expiring], &team());
    let books = Books::of(vec![endless()], Fate::Commits, Fate::Commits, key);
    let mut running = books.start();
    // The clock of the machine goes along with ours, but for a jump back and forth.
    let clock = Arc::clone(&books.clock);
    let ticking = async {
        for second in 1..=89 {
            tokio::time::sleep(SECOND).await;
            clock.set(MORNING + second * 1000 - if second == 30 { 3_600_000 } else { 0 });
        }
        assert!(books.store.closed().is_empty());
        tokio::time::sleep(SECOND).await;
        clock.set(MORNING + 90_000);
        std::future::pending::<()>().await;
    };
    let begun = tokio::time::Instant::now();
    let failure = tokio::select! {
        failure = unauthenticated(&books, &mut running) => failure,
        () = ticking => unreachable!(),
    };
    assert!(failure.message.contains("expired"), "{failure:?}");
    assert!(begun.elapsed() < 90 * SECOND + Duration::from_millis(250), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_expiry_that_is_edited_counts_for_calls_that_run() {
    let expiring = VirtualKey { expires: Some(MORNING + 1_000), ..key(1, None) };
    let ring = ring(std::slice::from_ref(&expiring), &team());
    let active = Arc::clone(ring.snapshot().key(expiring.id).unwrap());
    let books = Books::of(vec![endless()], Fate::Commits, Fate::Commits, active);
    let mut running = books.start();
    books.house.settle().await;
    let edit = |expires| VirtualKey { expires, ..expiring.clone() };
    ring.apply(&Change::KeyChanged(Box::new(edit(None))));
    books.clock.set(MORNING + 5_000);
    tokio::time::sleep(5 * SECOND).await;
    assert!(books.store.closed().is_empty());
    let begun = tokio::time::Instant::now();
    ring.apply(&Change::KeyChanged(Box::new(edit(Some(MORNING + 5_000)))));
    let failure = unauthenticated(&books, &mut running).await;
    assert!(failure.message.contains("expired"), "{failure:?}");
    assert!(begun.elapsed() < Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn keys_that_never_expire_or_long_ago_do_no_harm() {
    for (expires, ended) in [(None, false), (Some(i64::MAX), false), (Some(i64::MIN), true)] {
        let key = active(&[VirtualKey { expires, ..key(1, None) }], &team());
        let books = Books::of(vec![endless()], Fate::Commits, Fate::Commits, key);
        let call = Call { deadline: 7 * 24 * 3600 * SECOND, ..books.call() };
        let mut running = books.house.gateway.complete(call).expect("admitted");
        tokio::time::sleep(6 * 24 * 3600 * SECOND).await;
        assert_eq!(!books.store.closed().is_empty(), ended);
        books.clock.set(i64::MAX - 1);
        if ended {
            let failure = read(&mut running).await.1.expect("an end");
            assert_eq!(failure.kind, FailureKind::Unauthenticated);
            // Nobody was asked for it.
            books.assert_spent(0, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn expiry_counts_also_where_nothing_is_limited() {
    let expiring = VirtualKey { expires: Some(MORNING), ..key(1, None) };
    let books = Books::new(endless(), Fate::Commits, Fate::Commits);
    let audit = Some(Arc::clone(&books.audit));
    let house = House::kept(vec![endless()], false, audit, None);
    let mut call = books.call();
    call.caller =
        Arc::new(Caller { key: Some(active(&[expiring], &team())), ..(*call.caller).clone() });
    let failure = read(&mut house.gateway.complete(call).expect("started")).await.1;
    assert_eq!(failure.map(|failure| failure.kind), Some(FailureKind::Unauthenticated));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_upstream_closes_the_row_and_settles() {
    for script in [vec![Step::Panic], vec![Step::Send(begin()), Step::Out, Step::Panic]] {
        let books = Books::new(script, Fate::Commits, Fate::Commits);
        let failure = read(&mut books.start()).await.1.expect("a failure");
        assert_eq!(failure.kind, FailureKind::Internal);
        let out = std::mem::take(&mut *books.house.upstream.out.lock().unwrap());
        let [closed] = books.store.closed().try_into().unwrap();
        assert_eq!((closed.status, closed.failure), (502, Some("internal")));
        assert_eq!(closed.spending.is_none(), !out.is_empty());
        let tokens = 100 * out.len() as u64;
        drop(out);
        books.assert_spent(u64::from(tokens > 0), tokens);
    }
}

#[tokio::test(start_paused = true)]
async fn holders_of_sandbox_keys_never_reach_a_host() {
    let sandbox = VirtualKey { kind: crate::keys::KeyKind::Sandbox, ..key(1, None) };
    let key = active(&[sandbox], &team());
    let books = Books::of(vec![whole("the host")], Fate::Commits, Fate::Commits, key);
    // This house has no sandbox.
    let refused = books.house.gateway.complete(books.call()).map(drop).unwrap_err();
    assert_eq!((refused.kind, books.started()), (FailureKind::NotReady, 0));
    books.assert_spent(0, 0);
}
