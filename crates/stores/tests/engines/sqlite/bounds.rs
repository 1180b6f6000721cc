//! Files that are bounded take what is large, and what is too large is refused; neither stops the
//! rest.

use std::fs;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use gateway::store::{Closed, Opened, Progress, Store, StoreError};
use rusqlite::Connection;
use stores::{OpenOptions, Sqlite};

use super::Directory;
use crate::contract::{ALWAYS, all};
use crate::samples::{closed, opened};

const BOUND: u64 = 16 << 20;

async fn bounded(place: &Directory) -> Arc<dyn Store> {
    let options = OpenOptions { max_bytes: NonZeroU64::new(BOUND), ..place.options() };
    let store = Arc::new(Sqlite::open(options).unwrap());
    store.load().await.unwrap();
    store
}

fn noise(bytes: usize) -> Bytes {
    let mut noise = vec![0; bytes];
    getrandom::fill(&mut noise).unwrap();
    noise.into()
}

/// Bytes of all files, as the system has them.
fn size(place: &Directory) -> u64 {
    let files = fs::read_dir(place.file("")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Each of these takes more than what is left free for what comes.
#[tokio::test]
async fn room_is_made_for_large_bodies() {
    let place = Directory::new();
    let store = bounded(&place).await;
    let body = noise(1_600_000);
    for number in 1..=12 {
        let body = Some(body.clone());
        store.open(Opened { body: body.clone(), ..opened(number) }.into()).await.unwrap();
        store.close(Closed { body, ..closed(number) }.into()).await.unwrap();
        assert!(size(&place) <= BOUND, "{} after {number}", size(&place));
    }
    let state = store.state();
    assert_eq!((state.fault, state.queued), (None, 0));
    assert!(state.retired_calls > 5, "{}", state.retired_calls);
    let last = store.call(opened(12).id).await.unwrap().unwrap();
    assert_eq!((last.request, last.reply), (Some(body.clone()), Some(body)));
    assert_eq!(store.spent(ALWAYS).await.unwrap()[0].1.requests, 12);
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

/// Nothing is taken away for what there will never be room for.
#[tokio::test]
async fn what_there_is_never_room_for_is_refused_alone() {
    let place = Directory::new();
    let store = bounded(&place).await;
    for number in 1..=9 {
        store.open(opened(number).into()).await.unwrap();
    }
    let body = Some(noise(4 << 20));
    let error = store.open(Opened { body: body.clone(), ..opened(10) }.into()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unsupported(_)), "{error}");
    let error = store.close(Closed { body, ..closed(1) }.into()).await.unwrap_err();
    assert!(error.to_string().contains("max_bytes"), "{error}");
    for number in 2..=9 {
        store.close(closed(number).into()).await.unwrap();
    }
    let call = store.call(opened(1).id).await.unwrap().unwrap();
    assert_eq!((call.row.status, call.reply), (Some(503), None));
    assert_eq!(call.row.spent, closed(1).spending.map(|spending| spending.amounts));
    assert_eq!(store.call(opened(10).id).await.unwrap(), None);
    assert_eq!(all(&store).await.len(), 9);
    let state = store.state();
    assert_eq!((state.fault, state.queued, state.retired_calls), (None, 0, 0));
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

/// What was spent is never taken away. Where it takes nearly all the room there is little for calls,
/// but no endless work.
#[tokio::test]
async fn retention_rests_where_there_is_nothing_to_take() {
    let place = Directory::new();
    let store = bounded(&place).await;
    store.shut_down().await;
    drop(store);
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 215000)
        INSERT INTO ledger SELECT i, 'key:k_aaaaaaaaaaaaaaaa', 1, 1, 1 FROM n";
    foreign.execute_batch(fill).unwrap();
    let pages: u32 = foreign.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    assert!((960..1050).contains(&pages), "{pages}");
    drop(foreign);
    let store = bounded(&place).await;
    for number in 1..=50 {
        let body = Some(noise(20_000));
        store.open(Opened { body, ..opened(number) }.into()).await.unwrap();
        store.close(closed(number).into()).await.unwrap();
    }
    assert!(store.state().retired_calls > 0);
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    let steps = || -> i64 {
        foreign.query_row("SELECT max(seq) FROM journal", [], |row| row.get(0)).unwrap()
    };
    store.load().await.unwrap();
    let before = steps();
    for _ in 0..20 {
        // Each of these is another turn of the writer.
        store.load().await.unwrap();
    }
    assert!(steps() - before <= 1, "{} from {before}", steps());
}
