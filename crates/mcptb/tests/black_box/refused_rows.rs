//! A database that refuses a row which was answered as written: whatever is not on record because of
//! it is told by its name.

use std::thread;
use std::time::Instant;

use gateway::keys::Endpoint;
use rusqlite::Connection;

use crate::support::endpoints::ask_with_key;
use crate::support::{Books, Key, PATIENCE, Request, Rig};

const REFUSED: &str = "not-this-one";

const ABORT: &str = "RAISE(ABORT, 'not this one')";
const IGNORE: &str = "RAISE(IGNORE)";

/// Lets the database refuse calls for a model.
fn refuse(books: &Books) {
    refuse_when(books, "INSERT", "1", ABORT);
}

/// Lets the database refuse what is done to the rows of such calls, if that is so, in this way.
fn refuse_when(books: &Books, done: &str, when: &str, how: &str) {
    let trigger = format!(
        "CREATE TRIGGER no BEFORE {done} ON call WHEN new.model = '{REFUSED}' AND {when}
         BEGIN SELECT {how}; END"
    );
    Connection::open(books.database()).unwrap().execute_batch(&trigger).unwrap();
}

/// Waits until the database has a call of which this is so.
fn wait_row(books: &Books, so: &str) {
    let database = Connection::open(books.database()).unwrap();
    let sql = format!("SELECT count(*) FROM call WHERE {so}");
    let until = Instant::now() + PATIENCE;
    while database.query_row(&sql, [], |row| row.get(0)) != Ok(1) {
        assert!(Instant::now() < until, "no call of which {so}");
        thread::yield_now();
    }
}

fn ask(key: &Key, model: &str) -> Request {
    let body = serde_json::json!({"model": model, "max_tokens": 100,
        "messages": [{"role": "user", "content": "?"}]});
    ask_with_key(Endpoint::Messages, "?", false, &key.token).json(&body)
}

/// Has a call for a model answered, and gives its GUID.
fn answered(rig: &Rig, key: &Key, model: &str) -> String {
    let reply = rig.fetch(&ask(key, model));
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.header("x-request-id").unwrap().to_owned()
}

/// Waits until both halves are told, and checks that the second says what was spent.
fn wait_both(rig: &Rig, id: &str) {
    for half in ["RX", "TX"] {
        let told = format!("the {half} half of call {id}");
        let line = rig.process.stderr.wait(half, |line| line.contains(&told));
        assert!(line.contains("was not written") && line.contains("ERROR"), "{line}");
        assert_eq!(line.contains("(1 requests, "), half == "TX", "{line}");
    }
}

fn assert_told_once(lines: &[String], id: &str) {
    let told = |line: &&String| line.contains(id) && line.contains("was not written");
    assert_eq!(lines.iter().filter(told).count(), 2, "{lines:#?}");
}

#[test]
fn both_halves_of_a_call_that_the_database_refuses_are_told() {
    let books = Books::new();
    let key = books.key(<_>::default());
    let rig = books.launch().ready();
    rig.host.respond(|sampling| sampling.answer("ok"));
    refuse(&books);
    let id = answered(&rig, &key, REFUSED);
    wait_both(&rig, &id);
    let other = answered(&rig, &key, "auto");
    let lines = rig.end();
    assert_told_once(&lines, &id);
    let record = books.record();
    assert_eq!(record.rows().count(), 1);
    assert_eq!(record.call(&other).row.status, Some(200));
}

/// The same of what a start finds in the redo log.
#[test]
fn both_halves_of_a_call_that_a_start_cannot_take_in_are_told() {
    let books = Books::new();
    let key = books.key(<_>::default());
    let mut rig = books.launch().ready();
    rig.host.respond(|sampling| sampling.answer("ok"));
    let locked = Connection::open(books.database()).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let id = answered(&rig, &key, REFUSED);
    let other = answered(&rig, &key, "auto");
    rig.process.signal("KILL");
    rig.process.wait();
    drop(locked);
    refuse(&books);
    let rig = books.launch().ready();
    wait_both(&rig, &id);
    assert_told_once(&rig.end(), &id);
    let record = books.record();
    assert_eq!(record.rows().count(), 1);
    assert_eq!(record.call(&other).row.status, Some(200));
}

/// What a call spent whose caller had gone is told when it is known.
#[test]
fn a_settlement_that_the_database_cannot_take_is_told() {
    let books = Books::new();
    let key = books.key(<_>::default());
    let rig = books.launch().ready();
    refuse(&books);
    let call = rig.send(&ask(&key, REFUSED));
    let sampling = rig.host.sampling();
    drop(call);
    rig.host.cancelled();
    let end = |line: &str| line.contains(" TX ") && line.contains("status=499");
    let end = rig.process.stderr.wait("its end", end);
    let id = end.split_whitespace().nth(2).unwrap();
    sampling.error(-32603, "cancelled");
    let told = format!("the settlement of call {id} was not written");
    let line = rig.process.stderr.wait("what it spent", |line| line.contains(&told));
    assert!(line.contains("not in the ledger (1 requests, "), "{line}");
    let half = format!("the TX half of call {id} was not written");
    let line = rig.process.stderr.wait("its TX half", |line| line.contains(&half));
    assert!(line.contains("not known yet"), "{line}");
}

/// The row of the call stays as it was opened, until a start ends it.
#[test]
fn what_a_call_spent_is_told_where_its_end_alone_is_refused() {
    for how in [ABORT, IGNORE] {
        let books = Books::new();
        let key = books.key(<_>::default());
        let rig = books.launch().ready();
        let mut call = rig.send(&ask(&key, REFUSED));
        let sampling = rig.host.sampling();
        wait_row(&books, "ended IS NULL");
        refuse_when(&books, "UPDATE", "1", how);
        sampling.answer("ok");
        let reply = call.finish();
        assert_eq!(reply.status, 200, "{}", reply.json());
        let id = reply.header("x-request-id").unwrap();
        let told = format!("the TX half of call {id} was not written: ");
        let line = rig.process.stderr.wait("its TX half", |line| line.contains(&told));
        assert!(line.contains("what it spent is not in the ledger (1 requests, "), "{line}");
        // What is last in the redo log would be taken in after all.
        rig.host.respond(|sampling| sampling.answer("ok"));
        answered(&rig, &key, "auto");
        let lines = rig.end();
        assert_eq!(lines.iter().filter(|line| line.contains("was not written")).count(), 1);
        let database = Connection::open(books.database()).unwrap();
        database.execute_batch("DROP TRIGGER no").unwrap();
        drop(database);
        assert_eq!(books.recover(), 1, "{how}");
        assert_eq!(books.record().call(id).row.status, Some(0), "{how}");
    }
}

/// What a call spent whose caller had gone is told also where the row is there to be settled.
#[test]
fn a_settlement_that_is_refused_by_itself_is_told() {
    let without_its_end = "was not written, since its TX half was not; ";
    for (when, how, why) in [
        ("old.ended IS NULL", ABORT, without_its_end),
        ("old.ended IS NULL", IGNORE, without_its_end),
        ("old.ended IS NOT NULL", ABORT, "was not written: not this one; "),
        ("old.ended IS NOT NULL", IGNORE, "was not written: the row was passed over"),
    ] {
        let books = Books::new();
        let key = books.key(<_>::default());
        let rig = books.launch().ready();
        let call = rig.send(&ask(&key, REFUSED));
        let sampling = rig.host.sampling();
        wait_row(&books, "ended IS NULL");
        refuse_when(&books, "UPDATE", when, how);
        drop(call);
        rig.host.cancelled();
        let end = |line: &str| line.contains(" TX ") && line.contains("status=499");
        let end = rig.process.stderr.wait("its end", end);
        let id = end.split_whitespace().nth(2).unwrap();
        if why == without_its_end {
            let half = format!("the TX half of call {id} was not written: ");
            let line = rig.process.stderr.wait("its TX half", |line| line.contains(&half));
            assert!(line.contains("; what it spends is not known yet"), "{line}");
        } else {
            wait_row(&books, "ended IS NOT NULL");
        }
        sampling.error(-32603, "cancelled");
        let told = format!("the settlement of call {id} {why}");
        let line = rig.process.stderr.wait("what it spent", |line| line.contains(&told));
        assert!(line.contains("what it spent is not in the ledger (1 requests, "), "{line}");
    }
}
