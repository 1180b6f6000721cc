//! Whoever changes the files without the key of the journal is found out.

use std::sync::Arc;

use gateway::store::{Actor, Change, Finding, Progress, Store};
use rusqlite::Connection;

use super::Directory;
use crate::contract::Place;
use crate::samples::{closed, key, opened, tenant};

/// Calls in the journal: rows 2n-1 and 2n are the halves of call n.
const CALLS: u32 = 40;

async fn filled() -> Directory {
    let place = Directory::new();
    let store = place.open();
    for number in 1..=CALLS {
        store.open(opened(number).into()).await.unwrap();
        store.close(closed(number).into()).await.unwrap();
    }
    // Rows 81 to 83.
    store.change(Change::TenantCreated(tenant("a").into()), Actor::Machine).await.unwrap();
    store.change(Change::KeyCreated(key(1).into()), Actor::Machine).await.unwrap();
    store.change(Change::KeyChanged(key(1).into()), Actor::Machine).await.unwrap();
    store.shut_down().await;
    place
}

async fn finding(store: &Arc<dyn Store>) -> Option<Finding> {
    store.verify(Progress::default()).await.unwrap().finding
}

/// Every way to change the tables, with the row of the journal that is named.
#[tokio::test]
async fn every_change_is_found_and_its_row_is_named() {
    for (sql, row) in [
        ("UPDATE call SET model = 'other' WHERE seq = 19", 19),
        ("UPDATE call SET reserved_tokens = 1 WHERE seq = 19", 19),
        ("UPDATE call SET agent = NULL WHERE seq = 19", 19),
        ("UPDATE call SET status = 500 WHERE seq = 19", 20),
        ("UPDATE call SET spent_tokens = 1 WHERE seq = 19", 20),
        ("UPDATE call SET spent_scopes = '' WHERE seq = 19", 20),
        ("UPDATE call SET settled = 2 WHERE seq = 19", 20),
        ("UPDATE call SET ended = NULL, status = NULL WHERE seq = 19", 20),
        ("DELETE FROM call WHERE seq = 19", 19),
        ("UPDATE body SET bytes = x'00' WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)", 19),
        (
            "UPDATE body SET bytes = x'00', size = 1, codec = 0 WHERE slot = (SELECT 2 * n + 1 FROM call WHERE seq = 19)",
            20,
        ),
        ("DELETE FROM body WHERE slot = (SELECT 2 * n + 1 FROM call WHERE seq = 19)", 20),
        ("UPDATE body SET slot = 1000 WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)", 19),
        ("UPDATE journal SET at = at + 1 WHERE seq = 30", 30),
        ("UPDATE journal SET digest = zeroblob(32) WHERE seq = 30", 30),
        ("UPDATE journal SET mac = zeroblob(32) WHERE seq = 30", 30),
        ("UPDATE journal SET call = (SELECT id FROM call WHERE seq = 5) WHERE seq = 30", 30),
        ("DELETE FROM journal WHERE seq = 30", 30),
        ("DELETE FROM journal WHERE seq = 1", 1),
        ("DELETE FROM journal", 1),
        (
            "UPDATE journal SET seq = 1000 WHERE seq = 30;
             UPDATE journal SET seq = 30 WHERE seq = 31;
             UPDATE journal SET seq = 31 WHERE seq = 1000",
            30,
        ),
        ("DELETE FROM journal WHERE seq > 81", 82),
        (
            "INSERT INTO journal SELECT 84, kind, at, call, note, digest, mac FROM journal
             WHERE seq = 82",
            84,
        ),
        ("UPDATE journal SET note = replace(note, 'machine', 'key:aa') WHERE seq = 82", 82),
        ("UPDATE vkey SET json = replace(json, '200', '201')", 83),
        ("DELETE FROM vkey", 83),
        ("UPDATE tenant SET json = replace(json, '3', '4')", 81),
        ("INSERT INTO tenant VALUES ('b', '{}')", 83),
        ("UPDATE ledger SET tokens = tokens - 1", 83),
        ("DELETE FROM ledger", 83),
        ("UPDATE ledger_total SET cost = 0", 83),
        ("INSERT INTO ledger_total VALUES ('key:aaaaaaaaaaaa', 1, 1, 1)", 83),
        (
            "UPDATE meta SET (base_seq, base_mac) = (SELECT seq, mac FROM journal WHERE seq = 18);
             DELETE FROM journal WHERE seq <= 18",
            18,
        ),
        ("UPDATE call SET n = 1000, id = zeroblob(16), seq = 5 WHERE seq = 19", 19),
    ] {
        let place = filled().await;
        Connection::open(place.file("audit.db")).unwrap().execute_batch(sql).unwrap();
        let store = place.open();
        let found = finding(&store).await.unwrap_or_else(|| panic!("not found: {sql}"));
        assert_eq!(found.sequence, row, "{sql}: {found}");
        if row < 80 && !sql.contains("journal") {
            assert_eq!(found.call, Some(opened(10).id), "{sql}");
        }
    }
}

#[tokio::test]
async fn what_was_not_changed_is_whole() {
    let place = filled().await;
    let store = place.open();
    let verdict = store.verify(Progress::default()).await.unwrap();
    assert_eq!((verdict.finding, verdict.checked), (None, 83));
    assert!(verdict.unseen.iter().any(|line| line.contains("row 83")), "{:?}", verdict.unseen);
}

#[tokio::test]
async fn a_call_that_the_journal_does_not_know_is_found() {
    let place = filled().await;
    let sql = "CREATE TEMP TABLE copy AS SELECT * FROM call WHERE seq = 19;
        UPDATE copy SET n = 1000, id = zeroblob(16);
        INSERT INTO call SELECT * FROM copy";
    Connection::open(place.file("audit.db")).unwrap().execute_batch(sql).unwrap();
    let found = finding(&place.open()).await.unwrap();
    assert!(found.what.contains("41 calls"), "{found}");
}

/// A store that was put back to an earlier state goes on, and the evidence stays.
#[tokio::test]
async fn what_was_cut_off_is_still_found_when_the_journal_has_grown_again() {
    let place = filled().await;
    let sql = "DELETE FROM journal WHERE seq > 80; DELETE FROM tenant; DELETE FROM vkey";
    Connection::open(place.file("audit.db")).unwrap().execute_batch(sql).unwrap();
    for round in 1..=2 {
        let store = place.open();
        for number in 1..=3 {
            store.open(opened(100 * round + number).into()).await.unwrap();
        }
        let found = finding(&store).await.unwrap();
        assert_eq!(found.sequence, 83, "{found}");
        store.shut_down().await;
    }
}

#[tokio::test]
async fn another_key_of_the_journal_is_found() {
    let place = filled().await;
    std::fs::write(place.file("journal.key"), [3; 32]).unwrap();
    assert_eq!(finding(&place.open()).await.unwrap().sequence, 1);
}
