//! What was answered and is not in the database yet is there after a crash.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use gateway::store::{Closed, Opened, Progress, Store};
use rusqlite::Connection;
use stores::Sqlite;
use tokio::time::timeout;

use super::{Directory, looks_again};
use crate::contract::{ALWAYS, Place, all};
use crate::samples::{closed, opened};

/// What a crash leaves of a store whose database was locked: five calls were answered, of which the
/// second was not settled and the last has not ended. Only the first is in the database.
async fn after_a_crash() -> Directory {
    let place = Directory::new();
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    store.close(closed(1).into()).await.unwrap();
    assert_eq!(all(&store).await.len(), 1);
    let locked = lock(&place);
    for number in 2..=5 {
        store.open(opened(number).into()).await.unwrap();
    }
    store.close(Closed { spending: None, ..closed(2) }.into()).await.unwrap();
    store.close(closed(3).into()).await.unwrap();
    store.close(closed(4).into()).await.unwrap();
    store.settle(opened(2).id, closed(2).spending.unwrap()).await.unwrap();
    let left = copy(&place);
    drop(locked);
    left
}

/// Keeps the writer from writing to the database, until dropped.
fn lock(place: &Directory) -> Connection {
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    foreign.busy_timeout(Duration::from_mins(1)).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    foreign
}

/// A copy as a crash would leave it: the files that hold something, at one moment.
fn copy(place: &Directory) -> Directory {
    let other = Directory::new();
    fs::create_dir(other.file("")).unwrap();
    let names = ["audit.db", "audit.db-wal", "redo.0", "redo.1", "install.secret", "journal.key"];
    for name in names {
        let from = place.file(name);
        if from.exists() {
            fs::copy(from, other.file(name)).unwrap();
        }
    }
    other
}

/// The calls that are there, and how each ended; the journal and the ledger agree with them.
async fn calls(store: &Arc<dyn Store>) -> Vec<(u32, Option<u16>)> {
    let calls = all(store).await;
    let spent = store.spent(ALWAYS).await.unwrap();
    let tokens: u64 = calls.iter().filter_map(|call| call.spent).map(|spent| spent.tokens).sum();
    assert!(spent.iter().all(|(_, amounts)| amounts.tokens == tokens), "{spent:?}, not {tokens}");
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
    let number = |id| (1..=9).find(|number| opened(*number).id == id).unwrap();
    calls.iter().rev().map(|call| (number(call.id), call.status)).collect()
}

const ALL: [(u32, Option<u16>); 5] =
    [(1, Some(200)), (2, Some(200)), (3, Some(200)), (4, Some(200)), (5, Some(0))];

/// Where the last record of the first file begins.
fn last_record(bytes: &[u8]) -> usize {
    let (mut at, mut last) = (0, 0);
    loop {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if length == 0 {
            return last;
        }
        (last, at) = (at, at + 4 + length);
    }
}

#[tokio::test]
async fn a_start_takes_in_what_was_answered() {
    let place = after_a_crash().await;
    for round in 0..3 {
        let store = place.open();
        assert_eq!(store.load().await.unwrap().interrupted, u64::from(round == 0));
        assert_eq!(calls(&store).await, ALL, "round {round}");
        let call = store.call(opened(3).id).await.unwrap().unwrap();
        assert_eq!((call.request, call.reply), (opened(3).body, closed(3).body));
        store.shut_down().await;
    }
}

/// A crash between two transactions of a start, or after it.
#[tokio::test]
async fn it_is_taken_in_once() {
    let place = after_a_crash().await;
    let store = place.open();
    store.load().await.unwrap();
    let locked = lock(&place);
    let again = copy(&place);
    drop(locked);
    let store = again.open();
    assert_eq!(store.load().await.unwrap().interrupted, 0);
    assert_eq!(calls(&store).await, ALL);
    // New records go where the old ones were.
    store.open(opened(6).into()).await.unwrap();
    store.close(closed(6).into()).await.unwrap();
    let locked = lock(&again);
    let again = copy(&again);
    drop((locked, store));
    let store = again.open();
    store.load().await.unwrap();
    assert_eq!(calls(&store).await, [&ALL[..], &[(6, Some(200))]].concat());
}

#[tokio::test]
async fn a_torn_record_is_none() {
    let place = after_a_crash().await;
    let mut bytes = fs::read(place.file("redo.0")).unwrap();
    let last = last_record(&bytes);
    bytes[last + 60..].fill(0);
    fs::write(place.file("redo.0"), bytes).unwrap();
    let store = place.open();
    assert_eq!(store.load().await.unwrap().interrupted, 1);
    // The settlement is gone, so the call is charged as reserved.
    assert_eq!(calls(&store).await, ALL);
    let row = store.call(opened(2).id).await.unwrap().unwrap().row;
    assert_eq!(row.spent, Some(row.reserved));
    store.open(opened(6).into()).await.unwrap();
    assert_eq!(calls(&store).await.last(), Some(&(6, None)));
}

/// Whoever does not have the journal's key cannot put records into it this way.
#[tokio::test]
async fn a_changed_record_is_not_taken_in() {
    for at in [5, 13, 44, 70, 200] {
        let place = after_a_crash().await;
        let mut bytes = fs::read(place.file("redo.0")).unwrap();
        let second = |from: usize| {
            from + 4 + u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap()) as usize
        };
        // The first two are of the call that is in the database.
        let third = second(second(0));
        bytes[third + at] ^= 1;
        fs::write(place.file("redo.0"), bytes).unwrap();
        let store = place.open();
        store.load().await.unwrap();
        assert_eq!(calls(&store).await, [(1, Some(200))], "changed at {at}");
    }
}

/// The files are as long as the bounds say, also when those change.
#[tokio::test]
async fn another_bound_loses_nothing() {
    let place = after_a_crash().await;
    let max_bytes = std::num::NonZeroU64::new(16 << 20);
    let options = stores::OpenOptions { max_bytes, ..place.options() };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(options).unwrap());
    store.load().await.unwrap();
    assert_eq!(calls(&store).await, ALL);
    let length = fs::metadata(place.file("redo.1")).unwrap().len();
    assert_eq!(length, (16 << 20) / 64);
}

/// The two files are used in turns, many times over.
#[tokio::test]
async fn much_more_than_it_holds_goes_through_it() {
    let place = Directory::new();
    let max_bytes = std::num::NonZeroU64::new(1 << 40);
    let options = stores::OpenOptions { max_bytes, ..place.options() };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(options).unwrap());
    let mut noise = vec![0; 200_000];
    getrandom::fill(&mut noise).unwrap();
    let body = |number: u32| noise[number as usize * 10..][..90_000].to_vec();
    for number in 1..=400 {
        let mut start = opened(number);
        start.body = Some(body(number).into());
        store.open(start.into()).await.unwrap();
        store.close(closed(number).into()).await.unwrap();
    }
    let locked = lock(&place);
    let left = copy(&place);
    drop(locked);
    store.shut_down().await;
    let store = left.open();
    assert_eq!(store.load().await.unwrap().interrupted, 0);
    for number in 1..=400 {
        let call = store.call(opened(number).id).await.unwrap().unwrap();
        assert_eq!(call.row.status, Some(200));
        assert_eq!(call.request.unwrap(), body(number), "{number}");
    }
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

/// A start reads whatever was answered, however large: the limit of what is appended is the limit of
/// what is read.
#[tokio::test]
async fn what_is_too_long_to_be_read_back_is_not_answered_by_it() {
    const LONGEST: usize = 2 << 20;
    let place = Directory::new();
    let store = place.open();
    store.open(opened(9).into()).await.unwrap();
    all(&store).await;
    let mut noise = vec![0; 4 << 20];
    getrandom::fill(&mut noise).unwrap();
    let noise = bytes::Bytes::from(noise);
    let locked = lock(&place);
    // Together less than makes calls wait for the database.
    let sizes = [LONGEST - 1000, LONGEST, 3 << 20];
    let large: Vec<_> = (1..)
        .zip(sizes)
        .map(|(number, size)| {
            let body = Some(noise.slice(..size));
            (number, store.open(Opened { body, ..opened(number) }.into()))
        })
        .collect();
    store.open(opened(8).into()).await.unwrap();
    // All that could be appended was, before the last.
    let mut answered = Vec::new();
    for (number, written) in large {
        if let Ok(answer) = timeout(Duration::ZERO, written).await {
            answer.unwrap();
            answered.push(number);
        }
    }
    assert!(answered.contains(&1) && !answered.contains(&3), "{answered:?}");
    let left = copy(&place);
    drop(locked);
    let store = left.open();
    store.load().await.unwrap();
    let there: Vec<u32> = calls(&store).await.into_iter().map(|(number, _)| number).collect();
    let wanted = [&answered[..], &[8, 9]].concat();
    assert_eq!(there, wanted);
}

/// A start with a lower bound than all that is there: what was answered still finds its place, and
/// retention makes room behind it.
#[tokio::test]
async fn a_lower_bound_does_not_keep_out_what_was_answered() {
    let place = Directory::new();
    let store = place.open();
    let mut noise = vec![0; 200_000];
    getrandom::fill(&mut noise).unwrap();
    let record = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let mut start = opened(number);
            start.body = Some(noise[number as usize * 10..][..90_000].to_vec().into());
            store.open(start.into()).await.unwrap();
            store.close(closed(number).into()).await.unwrap();
        }
    };
    record(1..300).await;
    all(&store).await;
    let locked = lock(&place);
    record(300..310).await;
    let left = copy(&place);
    drop(locked);
    store.shut_down().await;
    let max_bytes = std::num::NonZeroU64::new(16 << 20);
    let options = stores::OpenOptions { max_bytes, ..left.options() };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(options).unwrap());
    store.load().await.unwrap();
    // Retention may have taken the calls by now, but not what they spent.
    assert_eq!(store.spent(ALWAYS).await.unwrap()[0].1.requests, 309);
    assert_eq!(store.state().fault, None);
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

/// Whatever the reason is, and also without one: the rest was answered too.
#[tokio::test]
async fn a_record_that_the_database_refuses_keeps_nothing_else_out() {
    for how in ["RAISE(ABORT, 'not this one')", "RAISE(IGNORE)"] {
        let place = after_a_crash().await;
        let id = opened(3).id.hex();
        let trigger = format!(
            "CREATE TRIGGER no BEFORE INSERT ON call WHEN new.id = x'{id}' BEGIN SELECT {how}; END"
        );
        Connection::open(place.file("audit.db")).unwrap().execute_batch(&trigger).unwrap();
        let store = place.open();
        store.load().await.unwrap();
        let rest = [ALL[0], ALL[1], ALL[3], ALL[4]];
        assert_eq!(calls(&store).await, rest, "{how}");
        store.open(opened(6).into()).await.unwrap();
        assert_eq!(calls(&store).await, [&rest[..], &[(6, None)]].concat(), "{how}");
    }
}

/// What is written to a file that was moved away would not be found by a start.
#[tokio::test]
async fn nothing_is_answered_that_lies_in_a_file_of_another_name() {
    let place = Directory::new();
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    let locked = lock(&place);
    store.close(closed(1).into()).await.unwrap();
    fs::rename(place.file("redo.0"), place.file("redo.0.old")).unwrap();
    looks_again().await;
    assert!(store.open(opened(2).into()).await.is_err());
    drop(locked);
    while store.open(opened(3).into()).await.is_err() {}
    assert_eq!(calls(&store).await, [(1, Some(200)), (3, None)]);
}

/// Once the database is known to be gone with its whole directory, nor is anything answered by what
/// went with it.
#[tokio::test]
async fn nothing_more_is_answered_in_a_directory_that_was_moved() {
    let place = Directory::new();
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    all(&store).await;
    fs::rename(place.0.path().join("store"), place.0.path().join("moved")).unwrap();
    let mut number = 2;
    while store.open(opened(number).into()).await.is_ok() {
        number += 1;
    }
    assert!(store.close(closed(1).into()).await.is_err());
}

/// What refuses everything is no fault of the records: they stay where they are.
#[tokio::test]
async fn a_database_that_refuses_everything_loses_nothing() {
    let place = Directory::new();
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    all(&store).await;
    let locked = lock(&place);
    for number in 2..=30 {
        store.open(opened(number).into()).await.unwrap();
    }
    let left = copy(&place);
    drop(locked);
    let database = Connection::open(left.file("audit.db")).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON call BEGIN SELECT RAISE(ABORT, 'none'); END";
    database.execute_batch(trigger).unwrap();
    assert!(Sqlite::open(left.options()).is_err());
    database.execute_batch("DROP TRIGGER no").unwrap();
    drop(database);
    let store = left.open();
    store.load().await.unwrap();
    assert_eq!(all(&store).await.len(), 30);
}

/// A ledger that refuses is no fault of a record: left out, what it spent would be forgotten.
#[tokio::test]
async fn a_ledger_that_refuses_stops_a_start_and_loses_nothing() {
    let place = after_a_crash().await;
    let database = Connection::open(place.file("audit.db")).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON ledger WHEN new.scope LIKE 'tenant:%'
        BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    database.execute_batch(trigger).unwrap();
    for _ in 0..2 {
        let error = Sqlite::open(place.options()).unwrap_err().to_string();
        assert!(error.contains("its ledger refuses what calls have spent"), "{error}");
        assert!(error.contains("not this one"), "{error}");
    }
    database.execute_batch("DROP TRIGGER no").unwrap();
    drop(database);
    let store = place.open();
    assert_eq!(store.load().await.unwrap().interrupted, 1);
    assert_eq!(calls(&store).await, ALL);
}
