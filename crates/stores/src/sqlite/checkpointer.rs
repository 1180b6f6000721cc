//! Moves what was committed from the write-ahead log into the database, and notes how far the
//! journal was.
//!
//! On a thread and a connection of its own, so that no commit waits for it. The note is written
//! only after the log was synced: after a power loss the journal is never behind its note.
//!
//! The file of the log keeps its length, and is written again from its beginning once all of it
//! was moved. A file that grows costs a commit several times what one does that is there already:
//! the file system has to find room for each page, and to clear it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::Durability;
use super::connect::{Role, connect, reason};
use super::files::Files;
use super::journal::Tip;

/// Bytes written after which it begins.
const MANY_BYTES: usize = 24 << 20;
/// Entries of the journal after which it begins.
const MANY_ENTRIES: i64 = 20_000;
/// How long writes may rest in the log.
const REST: Duration = Duration::from_secs(1);
/// Bytes of the log above which it begins anew even though that holds up the writer a little, where
/// the files are not bounded.
pub(super) const LONG_LOG: u64 = 32 << 20;

/// How often the log is moved in one turn, until no more than so many bytes are left of it.
const MOST_MOVES: usize = 4;
const LITTLE: u64 = 1 << 20;

/// What the writer tells the checkpointer.
#[derive(Debug)]
pub(super) struct Signals {
    inner: Mutex<Written>,
    wake: Condvar,
    turn: Mutex<()>,
    /// Bytes of the log that are in use; its file may be longer.
    log: AtomicU64,
    /// Bytes of the log above which it begins anew, as long as the checkpointer keeps up.
    long_log: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Written {
    bytes: usize,
    tip: Tip,
    noted: i64,
    ended: bool,
}

impl Signals {
    /// Signals for a log that begins anew above so many bytes.
    pub(super) fn new(long_log: u64) -> Self {
        let (inner, wake, turn) = (Mutex::default(), Condvar::new(), Mutex::default());
        Self { inner, wake, turn, log: AtomicU64::new(0), long_log }
    }

    /// Whether there is enough to begin with, without waiting for more.
    fn is_much(&self, written: &Written) -> bool {
        written.ended
            || written.bytes >= MANY_BYTES
            || written.tip.seq - written.noted >= MANY_ENTRIES
            || self.log() > self.long_log
    }

    fn inner(&self) -> MutexGuard<'_, Written> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to move the log, held while that is done.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the log that are in use.
    pub(super) fn log(&self) -> u64 {
        self.log.load(Ordering::Relaxed)
    }

    /// So many bytes of the log are in use now.
    pub(super) fn set_log(&self, bytes: u64) {
        self.log.store(bytes, Ordering::Relaxed);
    }

    /// Moves all of the log, so that it begins anew, and waits for whoever is in the way as long as
    /// the connection does. Says whether that went well.
    pub(super) fn restart_log(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "PRAGMA wal_checkpoint(RESTART)";
        let busy: bool = connection.query_row(sql, [], |row| row.get(0))?;
        if !busy {
            self.set_log(0);
        }
        Ok(!busy)
    }

    /// Something was committed.
    pub(super) fn committed(&self, tip: Tip, bytes: usize) {
        let mut inner = self.inner();
        let first = inner.bytes == 0;
        inner.tip = tip;
        inner.bytes += bytes.max(1);
        let wake = first || self.is_much(&inner);
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.inner().ended = true;
        self.wake.notify_one();
    }

    /// Waits until there is something to do, and says what there is.
    fn wait(&self) -> Written {
        let inner = self.inner();
        let inner = self
            .wake
            .wait_while(inner, |inner| inner.bytes == 0 && !inner.ended)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut inner, _) = self
            .wake
            .wait_timeout_while(inner, REST, |inner| !self.is_much(inner))
            .unwrap_or_else(PoisonError::into_inner);
        let found = *inner;
        inner.bytes = 0;
        inner.noted = inner.tip.seq;
        found
    }
}

/// What it works with.
#[derive(Debug)]
pub(super) struct Checkpointer {
    pub(super) files: Arc<Files>,
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    pub(super) signals: Arc<Signals>,
    /// Whether the journal goes on from the note that was there at the start. If it does not, that
    /// note is the evidence, and is left alone until a person has looked.
    pub(super) holds: bool,
}

impl Checkpointer {
    /// Works until the writer has ended.
    pub(super) fn run(self) {
        let mut connection = None;
        loop {
            let written = self.signals.wait();
            let mut moved = self.checkpoint(&mut connection);
            if written.ended && moved.is_err() {
                // The writer may just have closed what it had open, and there is no next time.
                connection = None;
                moved = self.checkpoint(&mut connection);
            }
            match moved {
                Ok(()) => self.note(written.tip),
                Err(error) => {
                    // The writer sees the same trouble and tells of it.
                    tracing::debug!("the log of the store was not moved: {}", reason(&error));
                    connection = None;
                }
            }
            if written.ended {
                return;
            }
        }
    }

    fn checkpoint(&self, connection: &mut Option<Connection>) -> rusqlite::Result<()> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(connect(&self.path, self.durability, Role::Checkpointer)?),
        };
        let _turn = self.signals.turn();
        // Much may be committed while much is moved: what is left gets less each time.
        for _ in 0..MOST_MOVES {
            let sql = "PRAGMA wal_checkpoint(PASSIVE)";
            let moved: i64 = connection.query_row(sql, [], |row| row.get(2))?;
            let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
            let moved = u64::try_from(moved * page).unwrap_or_default();
            if self.signals.log().saturating_sub(moved) <= LITTLE {
                break;
            }
        }
        // Nearly all is moved now, and little is left to do while the writer waits.
        if self.signals.log() > self.signals.long_log {
            self.signals.restart_log(connection)?;
        }
        Ok(())
    }

    fn note(&self, tip: Tip) {
        if tip.seq == 0 || !self.holds {
            return;
        }
        if let Err(error) = self.files.write_checkpoint(tip) {
            tracing::warn!("the checkpoint of the journal was not written: {error}");
        }
    }
}
