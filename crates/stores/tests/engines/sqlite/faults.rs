//! What a store does when it cannot write, and how it heals.

use std::sync::Arc;

use gateway::store::{Progress, Store, StoreError};
use rusqlite::Connection;

use super::Directory;
use crate::contract::{ALWAYS, Place, all};
use crate::samples::{closed, opened, tenant_scope};

/// Asks until the store writes again by itself.
async fn healed(store: &Arc<dyn Store>) {
    while store.load().await.is_err() {}
    assert_eq!(store.state().fault, None);
}

/// What was spent while the store could not write is in the ledger afterwards, once.
async fn assert_nothing_is_forgotten(store: &Arc<dyn Store>) {
    let row = store.call(opened(1).id).await.unwrap().unwrap().row;
    // Nobody got the answer, and the row says so.
    assert_eq!((row.status, row.spent), (Some(503), closed(1).spending.map(|s| s.amounts)));
    assert_eq!(row.failure.as_deref(), Some("not_ready"));
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
    let store = place.open();
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
    assert_nothing_is_forgotten(&store).await;
    assert_eq!(store.state().queued, 0);
    store.open(opened(2).into()).await.unwrap();
}

/// What is written to a file without a name would be lost with the process.
#[cfg(unix)]
#[tokio::test]
async fn a_database_that_is_taken_away_is_missed_and_taken_back() {
    let place = Directory::new();
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    let elsewhere = place.0.path().join("elsewhere");
    std::fs::rename(place.file("audit.db"), &elsewhere).unwrap();
    let error = store.close(closed(1).into()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Down(why) if why.contains("taken away")), "{error}");
    std::fs::write(place.file("audit.db"), "").unwrap();
    assert!(store.open(opened(2).into()).await.is_err());
    std::fs::rename(&elsewhere, place.file("audit.db")).unwrap();
    healed(&store).await;
    assert_nothing_is_forgotten(&store).await;
    store.open(opened(2).into()).await.unwrap();
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

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "mounts a file system, which needs root"]
async fn a_full_disk_is_said_and_heals() {
    let mounted = Mounted::new();
    let place = &mounted.0;
    let store = place.open();
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
    assert_nothing_is_forgotten(&store).await;
    store.open(opened(1_000).into()).await.unwrap();
    store.shut_down().await;
}
