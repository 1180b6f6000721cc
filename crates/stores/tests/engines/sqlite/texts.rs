//! The index of texts can be lost, and is never more than a part of the files.

use std::fs;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use gateway::store::{Actor, Change, Progress, Store};
use rusqlite::Connection;
use stores::{OpenOptions, Sqlite};

use super::{Directory, record_many};
use crate::contract::Place;
use crate::contract::texts::{asked, numbers, record, searchable, text};
use crate::samples::{START, closed, key, opened};

/// Something that happens to the index while nobody has it open.
type Damage<'a> = &'a dyn Fn(&Directory);

const INDEX: [&str; 3] = ["text.db", "text.db-wal", "text.db-shm"];

async fn filled() -> Directory {
    let place = Directory::new();
    let store = place.open();
    for number in 1..=9 {
        record(&store, number, "said", &format!("n{number}")).await;
    }
    searchable(&store).await;
    store.shut_down().await;
    place
}

fn remove(place: &Directory) {
    for name in INDEX {
        let _ = fs::remove_file(place.file(name));
    }
}

async fn assert_whole(store: &Arc<dyn Store>, calls: u32) {
    searchable(store).await;
    let all: Vec<_> = (1..=calls).rev().collect();
    assert_eq!(numbers(store, &text("said"), 4).await, all);
}

/// Whatever lies in its place at a start, the index is whole soon after.
#[tokio::test]
async fn an_index_that_is_no_good_is_made_anew() {
    let change = |place: &Directory, sql: &str| {
        Connection::open(place.file("text.db")).unwrap().execute_batch(sql).unwrap();
    };
    let damages: [(&str, Damage<'_>); 7] = [
        ("missing", &remove),
        ("garbage", &|place| fs::write(place.file("text.db"), "garbage ".repeat(4000)).unwrap()),
        ("empty", &|place| fs::write(place.file("text.db"), "").unwrap()),
        ("another version", &|place| change(place, "PRAGMA user_version = 77")),
        ("without its place", &|place| change(place, "DELETE FROM place")),
        ("without a piece", &|place| change(place, "DROP TABLE words_1")),
        ("of another journal", &|place| change(place, "UPDATE place SET mac = zeroblob(32)")),
    ];
    for (what, damage) in damages {
        let place = filled().await;
        damage(&place);
        let store = place.open();
        record(&store, 10, "said", "again").await;
        searchable(&store).await;
        // What only a search can see is mended after one that fails.
        while store.calls(text("said"), None, 100).await.is_err() {}
        assert_whole(&store, 10).await;
        assert_eq!(store.state().fault, None, "{what}");
    }
}

#[tokio::test]
async fn an_index_that_is_taken_away_is_made_anew() {
    let place = filled().await;
    let store = place.open();
    searchable(&store).await;
    remove(&place);
    record(&store, 10, "said", "again").await;
    assert_whole(&store, 10).await;
    assert!(place.file("text.db").exists());
}

/// Damage inside of a piece is found by whoever reads it.
#[tokio::test]
async fn an_index_that_is_damaged_is_made_anew() {
    let place = filled().await;
    Connection::open(place.file("text.db"))
        .unwrap()
        .execute_batch("DELETE FROM words_1_data WHERE id > 10")
        .unwrap();
    let store = place.open();
    // Whoever sees it first, a search or the thread that fills it: nothing incomplete is told as whole.
    let page = loop {
        if let Ok(page) = store.calls(text("said"), None, 100).await {
            break page;
        }
    };
    assert!(page.calls.len() as u64 + page.lag >= 9, "{page:?}");
    assert_whole(&store, 9).await;
}

/// An index that knows more than the record, which was put back, or lost its end with the power.
#[tokio::test]
async fn an_index_that_is_ahead_is_made_anew() {
    let place = filled().await;
    let earlier = place.file("earlier.db");
    fs::copy(place.file("audit.db"), &earlier).unwrap();
    let store = place.open();
    record(&store, 10, "said", "lost").await;
    searchable(&store).await;
    store.shut_down().await;
    drop(store);
    fs::copy(&earlier, place.file("audit.db")).unwrap();
    for name in ["redo.0", "redo.1"] {
        fs::remove_file(place.file(name)).unwrap();
    }
    let store = place.open();
    assert_whole(&store, 9).await;
    for number in [10, 11] {
        record(&store, number, "said", "instead").await;
    }
    assert_whole(&store, 11).await;
    assert_eq!(numbers(&store, &text("lost"), 4).await, [0; 0]);
}

/// What it lacks is counted before anybody can ask, and in calls.
#[tokio::test]
async fn what_it_lacks_is_known_from_the_beginning() {
    let place = filled().await;
    let store = place.open();
    assert_eq!(store.state().text_lag, 0, "all of it was there");
    store.shut_down().await;
    drop(store);
    remove(&place);
    let store = place.open();
    let mut lag = store.state().text_lag;
    assert!(lag <= 9, "each call once: {lag}");
    while lag > 0 {
        tokio::task::yield_now().await;
        let now = store.state().text_lag;
        assert!(now <= lag, "{now} after {lag}");
        lag = now;
    }
    assert_whole(&store, 9).await;
}

/// Retention may take more than one step of what the index lacks.
#[tokio::test]
async fn an_index_that_retention_has_overtaken_goes_on() {
    const LATER: i64 = START + 1_000_000;
    let place = Directory::new();
    let store = place.open();
    record_many(&store, 600).await;
    store.shut_down().await;
    drop(store);
    let later = || OpenOptions { clock: || LATER, ..place.options() };
    // A row of the later time, so that the next start believes its clock.
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(later()).unwrap());
    store.change(Change::KeyCreated(key(1).into()), Actor::Machine).await.unwrap();
    store.shut_down().await;
    drop(store);
    let options = OpenOptions { max_age: Some(Duration::from_secs(1)), ..later() };
    let store = Sqlite::open(options).unwrap();
    while store.state().retired_calls < 600 {
        store.load().await.unwrap();
    }
    store.shut_down().await;
    drop(store);
    remove(&place);

    let store = place.open();
    record(&store, 1000, "said", "after it").await;
    let begun = Instant::now();
    while store.state().text_lag > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", store.state());
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&store, &text("said"), 4).await, [1000]);
}

/// A body that is no body any more has no words, and keeps no other call out.
#[tokio::test]
async fn a_damaged_body_does_not_stop_it() {
    let place = filled().await;
    let sql = "UPDATE body SET reply_codec = NULL, reply = x'00'
        WHERE slot = (SELECT 2 * n FROM call ORDER BY n LIMIT 1)";
    Connection::open(place.file("audit.db")).unwrap().execute_batch(sql).unwrap();
    remove(&place);
    let store = place.open();
    let begun = Instant::now();
    while store.state().text_lag > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", store.state());
        tokio::task::yield_now().await;
    }
    assert_whole(&store, 9).await;
}

#[tokio::test]
async fn the_check_says_that_it_does_not_look_at_it() {
    let place = filled().await;
    let verdict = place.open().verify(Progress::default()).await.unwrap();
    assert_eq!(verdict.finding, None);
    assert!(verdict.unseen.iter().any(|line| line.contains("text.db")), "{:?}", verdict.unseen);
}

static NOW: AtomicI64 = AtomicI64::new(START);

fn pieces(place: &Directory) -> i64 {
    let index = Connection::open(place.file("text.db")).unwrap();
    index.query_row("SELECT count(*) FROM piece", [], |row| row.get(0)).unwrap()
}

/// Pieces of a second each, which go with their calls.
#[tokio::test]
async fn pieces_keep_the_order_and_go_with_their_calls() {
    let place = Directory::new();
    let options = || OpenOptions {
        max_age: Some(Duration::from_secs(16)),
        clock: || NOW.load(Ordering::Relaxed),
        ..place.options()
    };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(options()).unwrap());
    store.load().await.unwrap();
    let number = |at: u32| at * 300;
    for at in 1..=40 {
        store.open(asked(number(at), "said").into()).await.unwrap();
    }
    for round in [1, 0] {
        for at in (1..=40).filter(|at| at % 2 == round) {
            store.close(closed(number(at)).into()).await.unwrap();
        }
        searchable(&store).await;
    }
    let all: Vec<_> = (1..=40).rev().map(number).collect();
    assert_eq!(numbers(&store, &text("said"), 7).await, all);
    assert!(pieces(&place) >= 8, "{}", pieces(&place));
    let before = pieces(&place);
    // A row of the later time: without it a start would not believe its clock, and take nothing
    // before it has run for as long as calls are kept.
    NOW.store(START + 16_000 + 6000, Ordering::Relaxed);
    store.change(Change::KeyCreated(key(1).into()), Actor::Machine).await.unwrap();
    store.shut_down().await;
    drop(store);

    let store: Arc<dyn Store> = Arc::new(Sqlite::open(options()).unwrap());
    while store.state().retired_calls < 19 {
        store.load().await.unwrap();
    }
    assert_eq!(numbers(&store, &text("said"), 7).await, all[..21]);
    while pieces(&place) > before * 2 / 3 {
        tokio::task::yield_now().await;
    }
    searchable(&store).await;
    assert_eq!(numbers(&store, &text("said"), 7).await, all[..21]);
}

/// Bodies of words that are all different, more than the index has room for.
#[tokio::test]
async fn it_stays_within_its_part_of_the_files() {
    const BOUND: u64 = 16 << 20;
    const CALLS: u32 = 4000;
    let place = Directory::new();
    let options = OpenOptions { max_bytes: NonZeroU64::new(BOUND), ..place.options() };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(options).unwrap());
    let size =
        || INDEX[..2].iter().map(|name| fs::metadata(place.file(name)).map_or(0, |f| f.len()));
    let mut largest = 0;
    for round in 0..CALLS / 50 {
        let calls = || round * 50..(round + 1) * 50;
        let opens: Vec<_> = calls()
            .map(|number| {
                let words: String = (0..200)
                    .flat_map(|word| [format!("w{number}x{word}"), " ".to_owned()])
                    .collect();
                store.open(asked(number, &format!("said c{number} {words}")).into())
            })
            .collect();
        for written in opens {
            written.await.unwrap();
        }
        for written in calls().map(|number| store.close(closed(number).into())).collect::<Vec<_>>()
        {
            written.await.unwrap();
        }
        largest = largest.max(size().sum());
        assert!(store.state().bytes <= BOUND, "{} in round {round}", store.state().bytes);
    }
    searchable(&store).await;
    largest = largest.max(size().sum());
    assert!(largest <= BOUND / 5, "{largest}");
    assert!(largest > BOUND / 20, "there was more than room for: {largest}");
    let last = CALLS - 1;
    assert_eq!(numbers(&store, &text(&format!("c{last} w{last}x199")), 10).await, [last]);
    let found = numbers(&store, &text("said"), 1000).await;
    assert!(found.len() > 300 && found.len() < CALLS as usize, "{}", found.len());
    assert_eq!(found, (0..CALLS).rev().take(found.len()).collect::<Vec<_>>(), "the newest");
    assert_eq!(store.state().fault, None);
    assert!(store.call(opened(last).id).await.unwrap().is_some());
}
