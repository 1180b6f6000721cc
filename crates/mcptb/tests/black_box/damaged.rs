//! A database that somebody overwrites while the bridge runs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use crate::audit::{assert_unavailable, wait_readiness};
use crate::support::endpoints::{CALLING, ask_with_key};
use crate::support::{Books, PATIENCE, Request};

/// Ways to spoil it.
const WAYS: [&str; 2] = ["its first page", "all behind its first page"];

/// What was overwritten, and where.
struct Spoilt {
    file: File,
    from: u64,
    whole: Vec<u8>,
}

impl Spoilt {
    /// Puts back what was there.
    fn mend(self) {
        self.file.write_all_at(&self.whole, self.from).unwrap();
    }
}

/// Overwrites a part of the file.
fn spoil(books: &Books, way: &str) -> Spoilt {
    let database = books.database();
    let log = database.with_extension("db-wal");
    let connection = Connection::open(&database).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    loop {
        // What is in the log, or known from before, would be read instead of the file.
        connection.execute("UPDATE meta SET probes = probes + 1", []).unwrap();
        let moved = "PRAGMA wal_checkpoint(TRUNCATE)";
        connection.query_row(moved, [], |_| Ok(())).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        if std::fs::metadata(&log).unwrap().len() == 0 {
            break;
        }
        // The bridge has written meanwhile.
        connection.execute_batch("ROLLBACK").unwrap();
    }
    let length = |path: &Path| std::fs::metadata(path).unwrap().len();
    let (from, to) = if way == WAYS[0] { (0, 8192) } else { (8192, length(&database)) };
    let file = OpenOptions::new().read(true).write(true).open(&database).unwrap();
    let mut whole = vec![0; usize::try_from(to - from).unwrap()];
    file.read_exact_at(&mut whole, from).unwrap();
    file.write_all_at(&vec![0xa5; whole.len()], from).unwrap();
    Spoilt { file, from, whole }
}

#[test]
fn while_the_database_is_damaged_no_call_is_answered_and_no_key_is_called_wrong() {
    for way in WAYS {
        let books = Books::new();
        let key = books.key(<_>::default());
        let rig = books.launch().ready();
        rig.host.respond(|sampling| sampling.answer("an answer"));
        let mut answered = Vec::new();
        for endpoint in CALLING {
            let reply = rig.fetch(&ask_with_key(endpoint, "?", false, &key.token));
            assert_eq!(reply.status, 200, "{way}");
            answered.push(reply);
        }
        let spoilt = spoil(&books, way);
        // What is in the redo log is answered until the writer has seen it.
        let deadline = Instant::now() + PATIENCE;
        for endpoint in CALLING {
            for streamed in [false, true] {
                loop {
                    let reply = rig.fetch(&ask_with_key(endpoint, "?", streamed, &key.token));
                    if reply.status != 200 {
                        assert_unavailable(endpoint, &reply);
                        break;
                    }
                    answered.push(reply);
                    assert!(Instant::now() < deadline, "{way}: nobody sees it");
                }
            }
        }
        let reply = wait_readiness(&rig, 503, &key);
        assert!(reply.header("retry-after").is_some());
        let reason = reply.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("record"), "{reason}");
        // The key is no stranger's, and nobody gets in without one.
        let usage = Request::get("/v1/usage");
        assert_ne!(rig.fetch(&usage.clone().header("x-api-key", &key.token)).status, 401, "{way}");
        assert_eq!(rig.fetch(&usage).status, 401, "{way}");
        assert_eq!(rig.fetch(&Request::get("/healthz")).status, 200);
        let told = |line: &str| line.contains("damaged");
        rig.process.stderr.wait("what it is", told);

        spoilt.mend();
        wait_readiness(&rig, 200, &key);
        let reply = rig.fetch(&ask_with_key(CALLING[0], "?", false, &key.token));
        assert_eq!(reply.status, 200, "{way}: it heals");
        answered.push(reply);
        rig.end();
        let record = books.record();
        for reply in &answered {
            let id = reply.header("x-request-id").expect("a GUID");
            assert_eq!(record.call(id).row.status, Some(200), "{way}");
        }
    }
}
