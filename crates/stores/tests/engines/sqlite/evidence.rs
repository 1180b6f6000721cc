//! Whoever changes the files without the key of the journal is found out.

use std::sync::Arc;

use gateway::store::{Actor, Change, Finding, Progress, Store};
use rusqlite::Connection;

use super::Directory;
use crate::contract::Place;
use crate::samples::{closed, key, opened, tenant};

/// Calls in the journal: entries 2n-1 and 2n are the halves of call n.
const CALLS: u32 = 40;

/// How the halves of a call come into the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One after the other: a row of the journal for each.
    Apart,
    /// Together: row 2n of the journal is both.
    Together,
}

const LAYOUTS: [Layout; 2] = [Layout::Apart, Layout::Together];

async fn filled(layout: Layout) -> Directory {
    let rows = match layout {
        Layout::Apart => 2 * CALLS + 3,
        Layout::Together => CALLS + 3,
    };
    // The writer may look between two halves that are meant to come together.
    for tries in 0.. {
        assert!(tries < 20, "there was no journal of {rows} rows");
        let place = fill(layout).await;
        let sql = "SELECT count(*) FROM journal";
        let found: u32 = connection(&place).query_row(sql, [], |row| row.get(0)).unwrap();
        if found == rows {
            return place;
        }
    }
    unreachable!()
}

async fn fill(layout: Layout) -> Directory {
    let place = Directory::new();
    let store = place.open();
    for number in 1..=CALLS {
        store.open(opened(number).into()).await.unwrap();
        if layout == Layout::Apart {
            // Whoever reads sees all that was written: it is in the tables then.
            store.call(opened(number).id).await.unwrap().unwrap();
        }
        store.close(closed(number).into()).await.unwrap();
    }
    // Entries 81 to 83.
    store.change(Change::TenantCreated(tenant("a").into()), Actor::Machine).await.unwrap();
    store.change(Change::KeyCreated(key(1).into()), Actor::Machine).await.unwrap();
    store.change(Change::KeyChanged(key(1).into()), Actor::Machine).await.unwrap();
    store.shut_down().await;
    place
}

fn connection(place: &Directory) -> Connection {
    Connection::open(place.file("audit.db")).unwrap()
}

async fn finding(store: &Arc<dyn Store>) -> Option<Finding> {
    store.verify(Progress::default()).await.unwrap().finding
}

/// Ways to change the tables, with the entry of the journal that is named.
const CHANGES: &[(&str, u64)] = &[
    ("UPDATE call SET model = 'other' WHERE seq = 19", 19),
    ("UPDATE call SET reserved_tokens = 1 WHERE seq = 19", 19),
    ("UPDATE call SET agent = NULL WHERE seq = 19", 19),
    ("UPDATE call SET status = 500 WHERE seq = 19", 20),
    ("UPDATE call SET spent_tokens = 1 WHERE seq = 19", 20),
    ("UPDATE call SET spent_scopes = 'key:aaaaaaaaaaaa' WHERE seq = 19", 20),
    ("UPDATE call SET settled = 2 WHERE seq = 19", 20),
    ("UPDATE call SET ended = NULL, status = NULL WHERE seq = 19", 20),
    ("UPDATE call SET seq = 22 WHERE seq = 19", 19),
    ("DELETE FROM call WHERE seq = 19", 19),
    ("UPDATE body SET bytes = x'00' WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)", 19),
    ("UPDATE body SET slot = 1000 WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)", 19),
    ("UPDATE journal SET at = at + 1 WHERE seq = 30", 30),
    ("UPDATE journal SET digest = zeroblob(length(digest)) WHERE seq = 30", 30),
    ("UPDATE journal SET digest = substr(digest, 2) WHERE seq = 30", 30),
    ("UPDATE journal SET mac = zeroblob(32) WHERE seq = 30", 30),
    ("UPDATE journal SET call = (SELECT id FROM call WHERE seq = 5) WHERE seq = 30", 30),
    ("UPDATE journal SET mac = x'00' WHERE seq = 30", 30),
    ("UPDATE journal SET call = x'00' WHERE seq = 30", 30),
    ("UPDATE journal SET note = CAST(x'ff' AS TEXT) WHERE seq = 82", 82),
    ("UPDATE call SET replay_of = x'00' WHERE seq = 19", 19),
    ("UPDATE call SET status = NULL WHERE seq = 19", 19),
    ("UPDATE call SET model = CAST(x'ff' AS TEXT) WHERE seq = 19", 19),
    ("DELETE FROM journal WHERE seq IN (1, 2)", 1),
    ("DELETE FROM journal", 1),
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
    ("UPDATE ledger SET minute = minute - 1", 83),
    (
        "INSERT INTO ledger SELECT minute + 1, scope, 1, 1, 1 FROM ledger;
         INSERT INTO ledger SELECT minute - 1, scope, -1, -1, -1 FROM ledger WHERE requests > 1",
        83,
    ),
    ("UPDATE ledger_total SET cost = 0", 83),
    ("INSERT INTO ledger_total VALUES ('key:aaaaaaaaaaaa', 1, 1, 1)", 83),
    (
        "UPDATE meta SET (base_seq, base_mac) = (SELECT seq, mac FROM journal WHERE seq = 18);
         DELETE FROM journal WHERE seq <= 18",
        18,
    ),
    ("UPDATE call SET n = 1000, id = zeroblob(16), seq = 5 WHERE seq = 19", 19),
    (
        "UPDATE body SET slot = 10 + slot % 2 WHERE slot / 2 = (SELECT n FROM call WHERE seq = 19);
         UPDATE call SET n = 5 WHERE seq = 19",
        19,
    ),
    ("UPDATE call SET n = n + 1 WHERE seq = 19", 19),
    ("UPDATE call SET n = n - 1 WHERE seq = 19", 19),
    ("UPDATE call SET n = n + (1 << 20) WHERE seq = 19", 19),
    ("UPDATE meta SET retired_calls = 1", 83),
    ("UPDATE meta SET retired_rows = 1", 83),
    ("INSERT INTO body (slot, codec, size, bytes) VALUES (10, 0, 1, x'00')", 83),
    (
        "DROP INDEX call_key;
         CREATE INDEX call_key ON call (key_id) WHERE key_id IS NOT NULL AND seq <> 19",
        83,
    ),
    ("DROP INDEX call_status", 83),
];

/// Those of calls whose halves came one after the other.
const CHANGES_APART: &[(&str, u64)] = &[
    (
        "UPDATE body SET bytes = x'00', size = 1, codec = 0
         WHERE slot = (SELECT 2 * n + 1 FROM call WHERE seq = 19)",
        20,
    ),
    ("DELETE FROM body WHERE slot = (SELECT 2 * n + 1 FROM call WHERE seq = 19)", 20),
    (
        "UPDATE body SET reply_codec = 0, reply_size = 1, reply = x'00'
         WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)",
        20,
    ),
    ("DELETE FROM journal WHERE seq = 1", 1),
    ("DELETE FROM journal WHERE seq = 30", 30),
    (
        "UPDATE journal SET seq = 1000 WHERE seq = 30;
         UPDATE journal SET seq = 30 WHERE seq = 31;
         UPDATE journal SET seq = 31 WHERE seq = 1000",
        30,
    ),
    ("DELETE FROM journal WHERE seq = 29; UPDATE journal SET kind = 6 WHERE seq = 30", 30),
];

/// Those of calls whose halves came together.
const CHANGES_TOGETHER: &[(&str, u64)] = &[
    (
        "UPDATE body SET reply = x'00', reply_size = 1, reply_codec = 0
         WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)",
        20,
    ),
    ("UPDATE body SET reply = NULL WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)", 20),
    ("UPDATE body SET reply_codec = NULL WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)", 20),
    ("UPDATE body SET reply_size = NULL WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)", 20),
    ("DELETE FROM body WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)", 19),
    (
        "UPDATE body SET (bytes, size) = (reply, reply_size), (reply, reply_size) = (bytes, size)
         WHERE slot = (SELECT 2 * n FROM call WHERE seq = 19)",
        19,
    ),
    (
        "INSERT INTO body (slot, codec, size, bytes)
         SELECT 2 * n + 1, 0, 1, x'00' FROM call WHERE seq = 19",
        19,
    ),
    ("DELETE FROM journal WHERE seq = 30", 29),
    (
        "UPDATE journal SET seq = 1000 WHERE seq = 30;
         UPDATE journal SET seq = 30 WHERE seq = 32;
         UPDATE journal SET seq = 32 WHERE seq = 1000",
        30,
    ),
    ("UPDATE journal SET seq = 29, kind = 1, digest = substr(digest, 1, 32) WHERE seq = 30", 29),
    ("UPDATE journal SET kind = 2, digest = substr(digest, 33) WHERE seq = 30", 29),
    (
        "UPDATE journal SET digest = CAST(substr(digest, 33) || substr(digest, 1, 32) AS BLOB) WHERE seq = 30",
        30,
    ),
];

#[tokio::test]
async fn every_change_is_found_and_its_entry_is_named() {
    for layout in LAYOUTS {
        let of_layout = match layout {
            Layout::Apart => CHANGES_APART,
            Layout::Together => CHANGES_TOGETHER,
        };
        for (sql, entry) in CHANGES.iter().chain(of_layout) {
            let place = filled(layout).await;
            connection(&place).execute_batch(sql).unwrap();
            let store = place.open();
            let found = finding(&store).await.unwrap_or_else(|| panic!("not found: {sql}"));
            assert_eq!(found.sequence, *entry, "{layout:?}: {sql}: {found}");
            if *entry < 80 && !sql.contains("journal") {
                assert_eq!(found.call, Some(opened(10).id), "{layout:?}: {sql}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_not_changed_is_whole() {
    for layout in LAYOUTS {
        let place = filled(layout).await;
        let store = place.open();
        let verdict = store.verify(Progress::default()).await.unwrap();
        assert_eq!((verdict.finding, verdict.checked), (None, 83));
        for part in ["entry 83", "redo.0", "refusals", "last used", "indexes"] {
            let told = verdict.unseen.iter().any(|line| line.contains(part));
            assert!(told, "{part}: {:?}", verdict.unseen);
        }
    }
}

#[tokio::test]
async fn a_call_that_the_journal_does_not_know_is_found() {
    let place = filled(Layout::Apart).await;
    let sql = "CREATE TEMP TABLE copy AS SELECT * FROM call WHERE seq = 19;
        UPDATE copy SET n = 1000, id = zeroblob(16);
        INSERT INTO call SELECT * FROM copy";
    connection(&place).execute_batch(sql).unwrap();
    let found = finding(&place.open()).await.unwrap();
    assert!(found.what.contains("41 calls"), "{found}");
}

/// A call that seems to come from before the journal is known to nobody either, settled or not.
#[tokio::test]
async fn a_call_from_before_the_journal_is_found() {
    for settled in [0, 1] {
        let place = filled(Layout::Apart).await;
        let sql = "CREATE TEMP TABLE copy AS SELECT * FROM call WHERE seq = 19;
            UPDATE copy SET n = 1000, id = zeroblob(16), seq = 0, settled = ";
        let connection = connection(&place);
        connection.execute_batch(&format!("{sql}{settled}")).unwrap();
        connection.execute_batch("INSERT INTO call SELECT * FROM copy").unwrap();
        let found = finding(&place.open()).await.unwrap();
        assert!(found.what.contains("not known to the journal"), "{found}");
    }
}

/// A number that another call had is no change: the next one that is free was given.
#[tokio::test]
async fn a_call_stands_at_its_time_or_behind_those_that_do() {
    let place = filled(Layout::Apart).await;
    // Entry 84, in the millisecond 50 of all.
    let sql = "CREATE TEMP TABLE copy AS SELECT * FROM call WHERE seq = 19;
        UPDATE copy SET n = ((received + 40) << 20) + 84, id = zeroblob(16), seq = 0;
        INSERT INTO call SELECT * FROM copy";
    connection(&place).execute_batch(sql).unwrap();
    let store = place.open();
    store.open(opened(50).into()).await.unwrap();
    let found = finding(&store).await.unwrap();
    assert!(found.what.contains("not known to the journal"), "{found}");
    connection(&place).execute("DELETE FROM call WHERE seq = 0", []).unwrap();
    let found = finding(&store).await.unwrap();
    assert_eq!((found.sequence, found.call), (84, Some(opened(50).id)), "{found}");
    assert!(found.what.contains("another time"), "{found}");
}

/// What a call is to tell at its end, and nobody has sealed yet.
#[tokio::test]
async fn what_is_still_to_come_is_not_told_before() {
    for sql in [
        "UPDATE call SET status = 200 WHERE seq = 84",
        "UPDATE call SET output_tokens = 7 WHERE seq = 84",
        "UPDATE call SET settled = 1 WHERE seq = 84",
        "INSERT INTO body (slot, codec, size, bytes)
         SELECT 2 * n + 1, 0, 1, x'00' FROM call WHERE seq = 84",
        "UPDATE body SET reply_codec = 0, reply_size = 1, reply = x'00'
         WHERE slot = (SELECT 2 * n FROM call WHERE seq = 84)",
        "UPDATE call SET spent_cost = 7 WHERE seq = 85",
        "UPDATE call SET settled = 2, spent_requests = 1, spent_tokens = 1, spent_cost = 7
         WHERE seq = 85",
    ] {
        let place = filled(Layout::Apart).await;
        let store = place.open();
        // One that runs, and one of which nobody knows yet what it has spent.
        store.open(opened(100).into()).await.unwrap();
        assert!(store.call(opened(100).id).await.unwrap().is_some());
        store.open(opened(101).into()).await.unwrap();
        let mut end = closed(101);
        end.spending = None;
        store.close(end.into()).await.unwrap();
        assert_eq!(finding(&store).await, None);
        assert_eq!(connection(&place).execute(sql, []).unwrap(), 1, "{sql}");
        let found = finding(&store).await.unwrap_or_else(|| panic!("not found: {sql}"));
        assert!((84..=86).contains(&found.sequence), "{sql}: {found}");
    }
}

/// A store that was put back to an earlier state goes on, and the evidence stays.
#[tokio::test]
async fn what_was_cut_off_is_still_found_when_the_journal_has_grown_again() {
    let place = filled(Layout::Together).await;
    let sql = "DELETE FROM journal WHERE seq > 80; DELETE FROM tenant; DELETE FROM vkey";
    connection(&place).execute_batch(sql).unwrap();
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

/// The last entry that was noted may be the first of two in what has come in its place.
#[tokio::test]
async fn what_was_cut_off_is_found_within_a_row_of_two_entries() {
    let place = filled(Layout::Together).await;
    let sql = "DELETE FROM journal WHERE seq > 80; DELETE FROM tenant; DELETE FROM vkey";
    connection(&place).execute_batch(sql).unwrap();
    let store = place.open();
    for number in 101..=103 {
        store.refuse(opened(number).into(), closed(number).into());
    }
    let found = finding(&store).await.unwrap();
    assert_eq!(found.sequence, 83, "{found}");
    assert_eq!(found.call, Some(opened(102).id));
}

#[tokio::test]
async fn another_key_of_the_journal_is_found() {
    for (layout, entry) in LAYOUTS.into_iter().zip([1, 2]) {
        let place = filled(layout).await;
        std::fs::write(place.file("journal.key"), [3; 32]).unwrap();
        assert_eq!(finding(&place.open()).await.unwrap().sequence, entry);
    }
}
