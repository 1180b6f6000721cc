//! What is old goes, the chain and the spending stay.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use gateway::store::{Actor, Change, Opened, Progress, RefusalCount, Spending, Store};
use rusqlite::Connection;
use stores::{OpenOptions, Sqlite};

use super::{Directory, record_many};
use crate::contract::{ALWAYS, all};
use crate::samples::{START, amounts, closed, key, key_id, opened, spending};

static NOW: AtomicI64 = AtomicI64::new(START);

fn by_age(place: &Directory) -> OpenOptions {
    let clock = || NOW.load(Ordering::Relaxed);
    OpenOptions { max_age: Some(Duration::from_secs(1)), clock, ..place.options() }
}

/// Opens a store, and asks until it has taken away so many calls.
async fn open_until(options: OpenOptions, retired: u64) -> Arc<dyn Store> {
    let store = Arc::new(Sqlite::open(options).unwrap());
    store.load().await.unwrap();
    while store.state().retired_calls < retired {
        store.load().await.unwrap();
    }
    store
}

/// Waits until so many calls are taken away, but not for ever.
async fn until_retired(store: &Arc<dyn Store>, calls: u64) {
    let begun = Instant::now();
    while store.state().retired_calls < calls {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", store.state());
        store.load().await.unwrap();
    }
}

/// A stranger that was refused in a minute.
fn refused(minute: i64) -> RefusalCount {
    RefusalCount {
        minute: START + minute * 60_000,
        reason: "unauthenticated",
        network: "10.0.0.0/24".parse().unwrap(),
        key: None,
        count: 1,
    }
}

/// Counts of refusals that are there.
fn counts(place: &Directory) -> i64 {
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    foreign.query_row("SELECT count(*) FROM refusal_count", [], |row| row.get(0)).unwrap()
}

/// A quiet time leaves one entry of retention itself after the other. They are not in the way of what
/// is old behind them.
#[tokio::test]
async fn it_goes_on_over_many_entries_of_its_own() {
    const LATER: i64 = START + 1_000_000;
    let place = Directory::new();
    let store = open_until(place.options(), 0).await;
    store.shut_down().await;
    drop(store);
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
         INSERT INTO journal SELECT i, 5, {START}, NULL, '', zeroblob(32), zeroblob(32) FROM n"
    );
    foreign.execute_batch(&fill).unwrap();
    drop(foreign);
    let store = open_until(place.options(), 0).await;
    record_many(&store, 10).await;
    store.shut_down().await;
    drop(store);
    let later = || OpenOptions { clock: || LATER, ..place.options() };
    let store = open_until(later(), 0).await;
    store.change(Change::KeyCreated(key(1).into()), Actor::Machine).await.unwrap();
    store.shut_down().await;
    drop(store);
    let store =
        open_until(OpenOptions { max_age: Some(Duration::from_secs(1)), ..later() }, 0).await;
    until_retired(&store, 10).await;
}

/// Also where strangers knock and nobody calls.
#[tokio::test]
async fn counts_of_refusals_go_by_age_alone() {
    let place = Directory::new();
    let options = OpenOptions { clock: || START, ..by_age(&place) };
    let store = open_until(options.clone(), 0).await;
    store.change(Change::KeyCreated(key(1).into()), Actor::Machine).await.unwrap();
    store.count_refusals((-5..=0).map(refused).collect());
    store.shut_down().await;
    drop(store);
    let store = open_until(options, 0).await;
    store.shut_down().await;
    assert_eq!(counts(&place), 2, "those of the last minute and of the one before");
}

#[tokio::test]
async fn calls_go_by_age() {
    let place = Directory::new();
    let store = open_until(by_age(&place), 0).await;
    store.change(Change::KeyCreated(key(1).into()), Actor::Machine).await.unwrap();
    for number in 1..=20 {
        let received = START + i64::from(number) * 100;
        store.open(Opened { received, ..opened(number) }.into()).await.unwrap();
        let mut end = closed(number);
        end.ended = received + 1;
        if number == 4 {
            end.spending = None;
        }
        if number != 3 {
            store.close(end.into()).await.unwrap();
        }
    }
    let spent = store.spent(ALWAYS).await.unwrap();
    store.count_refusals((-5..=0).map(refused).collect());
    store.shut_down().await;
    drop(store);
    assert_eq!(counts(&place), 6);

    // A new start looks at once, and finds what was cut off settled.
    NOW.store(START + 2050, Ordering::Relaxed);
    let store = open_until(by_age(&place), 10).await;
    let calls = all(&store).await;
    let left: Vec<_> = calls.iter().map(|call| call.id).collect();
    let wanted = (11..=20).rev().map(|number| opened(number).id);
    assert_eq!(left, wanted.collect::<Vec<_>>());
    let verdict = store.verify(Progress::default()).await.unwrap();
    assert_eq!(verdict.finding, None);
    assert_eq!(verdict.retired, 1 + 2 * 10 - 1, "the change, and the halves of ten calls but one");
    assert!(verdict.unseen.iter().any(|line| line.contains("retention")), "{:?}", verdict.unseen);
    assert_eq!(counts(&place), 1, "that of the last minute stays");
    let more = store.spent(ALWAYS).await.unwrap();
    assert_eq!(more[0].1.requests, spent[0].1.requests + 2);
    // The record itself has come so far.
    NOW.store(START + 1_000_000, Ordering::Relaxed);
    store.change(Change::KeyChanged(key(1).into()), Actor::Machine).await.unwrap();
    store.shut_down().await;
    drop(store);

    let store = open_until(by_age(&place), 20).await;
    assert_eq!(all(&store).await, []);
    assert_eq!(store.spent(ALWAYS).await.unwrap(), more, "no budget forgets");
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.last_used, [(key_id(1), START + 2000)]);
    let verdict = store.verify(Progress::default()).await.unwrap();
    assert_eq!(verdict.finding, None);
    store.shut_down().await;
    drop(store);

    // Only the holder of the journal's key can say that something was retired.
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    foreign
        .execute_batch(
            "UPDATE meta SET (base_seq, base_mac) = (SELECT seq, mac FROM journal LIMIT 1);
             DELETE FROM journal WHERE seq = (SELECT min(seq) FROM journal)",
        )
        .unwrap();
    let store = open_until(place.options(), 20).await;
    let finding = store.verify(Progress::default()).await.unwrap().finding.unwrap();
    assert!(finding.what.contains("retired"), "{finding}");
}

/// Whoever takes rows out of the journal is found out, but does not fill the disk.
#[tokio::test]
async fn it_goes_on_behind_what_was_taken_out_of_the_journal() {
    const LATER: i64 = START + 1_000_000;
    let place = Directory::new();
    let store = open_until(place.options(), 0).await;
    record_many(&store, 600).await;
    store.shut_down().await;
    drop(store);
    let later = || OpenOptions { clock: || LATER, ..place.options() };
    let store = open_until(later(), 0).await;
    store.change(Change::KeyCreated(key(1).into()), Actor::Machine).await.unwrap();
    store.shut_down().await;
    drop(store);
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    foreign.execute_batch("DELETE FROM journal WHERE seq <= 1100").unwrap();
    let store =
        open_until(OpenOptions { max_age: Some(Duration::from_secs(1)), ..later() }, 0).await;
    until_retired(&store, 1).await;
}

#[tokio::test]
async fn a_clock_that_is_ahead_at_the_start_takes_no_young_calls() {
    const MINUTE: i64 = 60_000;
    const YEAR: i64 = 365 * 24 * 60 * MINUTE;
    let place = Directory::new();
    let options =
        |clock| OpenOptions { max_age: Some(Duration::from_hours(1)), clock, ..place.options() };
    let store = open_until(options(|| START), 0).await;
    for number in 1..=20 {
        let received = START + i64::from(number) * 10 * MINUTE;
        store.open(Opened { received, ..opened(number) }.into()).await.unwrap();
        let mut end = closed(number);
        end.ended = received + 1;
        store.close(end.into()).await.unwrap();
    }
    store.shut_down().await;
    drop(store);

    // A year ahead, the calls of the last hour before the newest one stay; those before it go.
    let store = open_until(options(|| START + YEAR), 14).await;
    let wanted: Vec<_> = (15..=20).rev().map(|number| opened(number).id).collect();
    let left = async || all(&store).await.iter().map(|call| call.id).collect::<Vec<_>>();
    assert_eq!(left().await, wanted);
    for _ in 0..20 {
        store.load().await.unwrap();
    }
    assert_eq!(left().await, wanted, "and no more later");
    store.shut_down().await;
}

/// Bodies that do not pack, several times as many as there is room for.
#[tokio::test]
async fn files_never_pass_their_bound() {
    const BOUND: u64 = 16 << 20;
    let place = Directory::new();
    let options = OpenOptions { max_bytes: NonZeroU64::new(BOUND), ..place.options() };
    let store = open_until(options, 0).await;
    let mut noise = vec![0; 200_000];
    getrandom::fill(&mut noise).unwrap();
    store.open(opened(5000).into()).await.unwrap();
    let mut requests = 0;
    for round in 0..40 {
        let numbers = || round * 32..(round + 1) * 32;
        let body = |number: u32| noise[number as usize * 7..][..30_000].to_vec();
        let opens = numbers().map(|number| {
            let body = Some(body(number).into());
            store.open(Opened { body, ..opened(number) }.into())
        });
        for written in opens.collect::<Vec<_>>() {
            written.await.unwrap();
        }
        let closes = numbers().map(|number| {
            let mut end = closed(number);
            end.spending = Some(Spending { ..spending(START, amounts(1, 10, 2)) });
            store.close(end.into())
        });
        for written in closes.collect::<Vec<_>>() {
            written.await.unwrap();
            requests += 1;
        }
        assert!(store.state().bytes <= BOUND, "{} in round {round}", store.state().bytes);
    }
    let state = store.state();
    assert_eq!(state.fault, None);
    assert!(state.retired_calls > 500, "{state:?}");
    // A call that still runs stays, and pays.
    store.close(closed(5000).into()).await.unwrap();
    let calls = loop {
        let before = store.state().retired_calls;
        let calls = all(&store).await;
        if store.state().retired_calls == before {
            assert_eq!(calls.len() as u64 + before, requests + 1);
            break calls;
        }
    };
    assert!(calls.len() > 100, "{}", calls.len());
    let last = closed(5000).spending.unwrap().amounts;
    assert_eq!(store.call(opened(5000).id).await.unwrap().unwrap().row.spent, Some(last));
    let sum = amounts(requests + 1, requests * 10 + last.tokens, requests * 2 + last.cost);
    assert_eq!(store.spent(ALWAYS).await.unwrap()[0].1, sum);
    let verdict = store.verify(Progress::default()).await.unwrap();
    assert_eq!(verdict.finding, None);
    assert!(verdict.retired >= 2 * state.retired_calls, "{verdict:?}");
    store.shut_down().await;
}
