//! What a store does when it cannot write, and how it heals.

use std::sync::Arc;

use gateway::store::{Closed, Progress, RefusalFilter, Store, StoreError};
use rusqlite::Connection;

use stores::{Durability, OpenOptions, Sqlite};

use super::{Directory, looks_again};
use crate::contract::{ALWAYS, Place, all};
use crate::samples::{closed, opened, tenant_scope};

/// A store in which every write waits for the database.
fn without_redo_log(place: &Directory) -> Arc<dyn Store> {
    let options = OpenOptions { durability: Durability::Fsync, ..place.options() };
    Arc::new(Sqlite::open(options).unwrap())
}

/// Opens calls until one is refused, and says why, and how many were not.
async fn until_refused(store: &Arc<dyn Store>) -> (Arc<str>, u32) {
    let mut answered = 0;
    loop {
        match store.open(opened(1000 + answered).into()).await {
            Ok(()) => answered += 1,
            Err(error) => return (error.to_string().into(), answered),
        }
    }
}

/// Asks until the store writes again by itself.
async fn healed(store: &Arc<dyn Store>) {
    while store.load().await.is_err() {}
    assert_eq!(store.state().fault, None);
}

/// Nobody got the answer, and the row says so.
async fn assert_it_was_withheld(store: &Arc<dyn Store>) {
    let row = store.call(opened(1).id).await.unwrap().unwrap().row;
    assert_eq!((row.status, row.failure.as_deref()), (Some(503), Some("not_ready")));
}

/// What was spent while the store could not write is in the ledger afterwards, once.
async fn assert_nothing_is_forgotten(store: &Arc<dyn Store>) {
    let row = store.call(opened(1).id).await.unwrap().unwrap().row;
    assert_eq!(row.spent, closed(1).spending.map(|s| s.amounts));
    let spent = store.spent(ALWAYS).await.unwrap();
    let team = spent.iter().find(|(scope, _)| *scope == tenant_scope("team")).unwrap().1;
    let all = all(store).await;
    let sum: u64 = all.iter().filter_map(|call| call.spent).map(|spent| spent.tokens).sum();
    assert_eq!(team.tokens, sum);
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_out() {
    let place = Directory::new();
    let store = without_redo_log(&place);
    store.open(opened(1).into()).await.unwrap();
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let end = store.close(closed(1).into());
    let error = store.open(opened(2).into()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Down(why) if why.contains("locked")), "{error}");
    assert!(matches!(end.await, Err(StoreError::Down(_))));
    let state = store.state();
    assert!(state.fault.is_some_and(|fault| fault.contains("locked")));
    assert_eq!(state.queued, 1, "the end of the call is kept");
    assert!(matches!(store.load().await, Err(StoreError::Down(_))));
    assert_eq!(all(&store).await.len(), 1, "it still reads");
    foreign.execute_batch("ROLLBACK").unwrap();
    healed(&store).await;
    assert_it_was_withheld(&store).await;
    assert_nothing_is_forgotten(&store).await;
    assert_eq!(store.state().queued, 0);
    store.open(opened(2).into()).await.unwrap();
}

/// A store with one call, whose database another program then locks.
async fn locked(place: &Directory) -> (Arc<dyn Store>, Connection) {
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    assert_eq!(all(&store).await.len(), 1);
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    (store, foreign)
}

/// Nobody waits for the record of a refusal, so nobody would hear that it was lost.
#[tokio::test]
async fn refusals_during_a_fault_are_counted() {
    let place = Directory::new();
    let (store, foreign) = locked(&place).await;
    let refuse = |number| {
        let end = Closed {
            status: 403,
            failure: Some("forbidden"),
            body: None,
            spending: None,
            ..closed(number)
        };
        store.refuse(opened(number).into(), end.into());
    };
    (2..=6).for_each(refuse);
    until_refused(&store).await;
    assert!(store.state().fault.is_some());
    (7..=20).for_each(refuse);
    foreign.execute_batch("ROLLBACK").unwrap();
    healed(&store).await;
    let rows = all(&store).await.iter().filter(|call| call.status == Some(403)).count() as u64;
    let counts = store.refusals(RefusalFilter::default(), None, 1000).await.unwrap();
    let counted: u64 = counts.refusals.iter().map(|counted| counted.count).sum();
    assert_eq!(rows + counted, 19, "{rows} rows");
    assert!(counted >= 14, "{counted}");
}

/// What is in the redo log was answered, whatever the database does.
#[tokio::test]
async fn a_lock_of_another_program_takes_nothing_that_was_answered() {
    let place = Directory::new();
    let (store, foreign) = locked(&place).await;
    let (why, answered) = until_refused(&store).await;
    assert!(why.contains("locked"), "{why}");
    // Ends still find room.
    store.close(closed(1).into()).await.unwrap();
    for number in 1000..1000 + answered {
        store.close(closed(number).into()).await.unwrap();
    }
    assert!(store.state().fault.is_some_and(|fault| fault.contains("locked")));
    assert!(store.state().queued > answered as usize, "{:?}", store.state());
    foreign.execute_batch("ROLLBACK").unwrap();
    healed(&store).await;
    for number in (1000..1000 + answered).chain([1]) {
        let call = store.call(opened(number).id).await.unwrap().unwrap();
        assert_eq!(call.row.status, Some(200), "{number}");
    }
    let refused = store.call(opened(1000 + answered).id).await.unwrap();
    assert_eq!(refused, None, "who was refused is not on record");
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
    assert_eq!(store.state().queued, 0);
}

/// More than the redo log holds, while the database is locked: nothing that was answered is lost,
/// and nothing is answered that would be.
#[tokio::test]
async fn a_full_redo_log_answers_nobody() {
    let place = Directory::new();
    let store = place.open();
    let mut noise = vec![0; 1 << 20];
    getrandom::fill(&mut noise).unwrap();
    for number in 1..=32 {
        store.open(opened(number).into()).await.unwrap();
    }
    assert_eq!(all(&store).await.len(), 32);
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    until_refused(&store).await;
    let mut answered = Vec::new();
    for number in 1..=32 {
        let mut end = closed(number);
        end.body = Some(noise[number as usize..][..900_000].to_vec().into());
        answered.push(store.close(end.into()).await.is_ok());
    }
    let count = answered.iter().filter(|answered| **answered).count();
    assert!((1..32).contains(&count), "{answered:?}");
    foreign.execute_batch("ROLLBACK").unwrap();
    healed(&store).await;
    for (number, answered) in (1..).zip(answered) {
        let call = store.call(opened(number).id).await.unwrap().unwrap();
        assert_eq!(call.row.status, Some(if answered { 200 } else { 503 }), "{number}");
        assert_eq!(call.reply.unwrap(), noise[number as usize..][..900_000], "{number}");
        assert_eq!(call.row.spent, closed(number).spending.map(|s| s.amounts), "{number}");
    }
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

/// What is written to a file without a name would be lost with the process.
#[cfg(unix)]
#[tokio::test]
async fn a_database_that_is_taken_away_is_missed_and_taken_back() {
    for logged in [false, true] {
        let place = Directory::new();
        let store = if logged { place.open() } else { without_redo_log(&place) };
        store.open(opened(1).into()).await.unwrap();
        assert_eq!(all(&store).await.len(), 1);
        let elsewhere = place.0.path().join("elsewhere");
        std::fs::rename(place.file("audit.db"), &elsewhere).unwrap();
        let (why, _) = until_refused(&store).await;
        assert!(why.contains("taken away"), "{why}");
        assert_eq!(store.close(closed(1).into()).await.is_ok(), logged);
        std::fs::write(place.file("audit.db"), "").unwrap();
        assert!(store.open(opened(2).into()).await.is_err());
        std::fs::rename(&elsewhere, place.file("audit.db")).unwrap();
        healed(&store).await;
        if !logged {
            assert_it_was_withheld(&store).await;
        }
        assert_nothing_is_forgotten(&store).await;
        store.open(opened(2).into()).await.unwrap();
    }
}

/// The same of the redo log: without it the store works as it does without one.
#[cfg(unix)]
#[tokio::test]
async fn a_redo_log_that_is_taken_away_is_done_without() {
    let place = Directory::new();
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    for name in ["redo.0", "redo.1"] {
        std::fs::remove_file(place.file(name)).unwrap();
    }
    looks_again().await;
    store.close(closed(1).into()).await.unwrap();
    // Somebody else sees the row without any help of the store: it was not answered before.
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    let status: i64 = foreign.query_row("SELECT status FROM call", [], |row| row.get(0)).unwrap();
    assert_eq!(status, 200);
    assert_eq!(store.state().fault, None);
}

/// A small file system of its own, unmounted when dropped.
#[cfg(target_os = "linux")]
struct Mounted(Directory);

#[cfg(target_os = "linux")]
impl Mounted {
    fn new() -> Self {
        let place = Directory::new();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(place.0.path())
            .status()
            .unwrap();
        assert!(status.success(), "this needs the right to mount");
        Self(place)
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.0.path()).status();
    }
}

/// A program that runs where it may mount, and where what it mounts is gone with it.
#[cfg(target_os = "linux")]
fn where_it_may_mount(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    let mut command = std::process::Command::new("unshare");
    command.args(["--map-root-user", "--mount"]).arg(program);
    command
}

/// Not every machine lets everybody do that. What an account is allowed to write is a limit that needs
/// no rights: the black box of the whole program goes by that, everywhere.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_heals() {
    let place = tempfile::tempdir().unwrap();
    let may = where_it_may_mount("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(place.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("skipped: nothing may be mounted here");
        return;
    }
    let name = "sqlite::faults::child_on_a_small_disk";
    let status = where_it_may_mount(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success());
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "a child of the test above"]
async fn child_on_a_small_disk() {
    let mounted = Mounted::new();
    let place = &mounted.0;
    let store = without_redo_log(place);
    store.open(opened(1).into()).await.unwrap();
    let ballast = place.0.path().join("ballast");
    let mut noise = vec![0; 1 << 20];
    getrandom::fill(&mut noise).unwrap();
    std::fs::write(&ballast, &noise).unwrap_err();
    let mut number = 1;
    let error = loop {
        number += 1;
        let mut call = opened(number);
        let start = number as usize * 1000;
        call.body = Some(noise[start..start + 9000].to_vec().into());
        if let Err(error) = store.open(call.into()).await {
            break error;
        }
    };
    assert!(matches!(&error, StoreError::Down(why) if why.contains("full")), "{error}");
    let mut end = closed(1);
    end.body = Some(noise[..9000].to_vec().into());
    assert!(matches!(store.close(end.into()).await, Err(StoreError::Down(_))));
    assert!(store.state().fault.is_some());
    std::fs::remove_file(&ballast).unwrap();
    healed(&store).await;
    assert_it_was_withheld(&store).await;
    assert_nothing_is_forgotten(&store).await;
    store.open(opened(1_000).into()).await.unwrap();
    store.shut_down().await;
}

/// A ledger that refuses keeps what was answered waiting, and refuses what is new.
#[tokio::test]
async fn a_ledger_that_refuses_is_a_fault_of_the_store() {
    for redo in [true, false] {
        let place = Directory::new();
        let store = if redo { place.open() } else { without_redo_log(&place) };
        store.open(opened(1).into()).await.unwrap();
        assert_eq!(all(&store).await.len(), 1);
        let foreign = Connection::open(place.file("audit.db")).unwrap();
        let trigger = "CREATE TRIGGER no BEFORE INSERT ON ledger
            BEGIN SELECT RAISE(ABORT, 'not this one'); END";
        foreign.execute_batch(trigger).unwrap();
        assert_eq!(store.close(closed(1).into()).await.is_ok(), redo, "answered by the log");
        let (why, _) = until_refused(&store).await;
        assert!(why.contains("its ledger refuses what calls have spent"), "{why}");
        assert!(store.state().fault.is_some());
        foreign.execute_batch("DROP TRIGGER no").unwrap();
        healed(&store).await;
        let row = store.call(opened(1).id).await.unwrap().unwrap().row;
        assert_eq!(row.status, Some(if redo { 200 } else { 503 }));
        // It is the only one that has ended, whatever was opened meanwhile.
        let debits = closed(1).spending.unwrap();
        let spent = store.spent(ALWAYS).await.unwrap();
        assert_eq!((row.spent, spent.len()), (Some(debits.amounts), debits.scopes.len()));
        assert!(spent.iter().all(|(_, amounts)| *amounts == debits.amounts), "{spent:?}");
        assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
    }
}
