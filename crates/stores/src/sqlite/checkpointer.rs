//! Moves what was committed from the write-ahead log into the database, and notes how far the
//! journal was.
//!
//! On a thread and a connection of its own, so that no commit waits for it. The note is written
//! only after the log was synced: after a power loss the journal is never behind its note.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::Durability;
use super::connect::{Role, connect, reason};
use super::files::Files;
use super::journal::Tip;

/// Bytes written after which it begins.
const MANY_BYTES: usize = 8 << 20;
/// Rows of the journal after which it begins.
const MANY_ROWS: i64 = 5000;
/// How long writes may rest in the log when nothing more comes.
const REST: Duration = Duration::from_secs(1);
/// Bytes of the log above which it is emptied even though that holds up the writer a little.
const LONG_LOG: u64 = 48 << 20;

/// What the writer tells the checkpointer.
#[derive(Debug, Default)]
pub(super) struct Signals {
    inner: Mutex<Written>,
    wake: Condvar,
    turn: Mutex<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Written {
    bytes: usize,
    tip: Tip,
    noted: i64,
    ended: bool,
}

impl Written {
    fn is_much(&self) -> bool {
        self.ended || self.bytes >= MANY_BYTES || self.tip.seq - self.noted >= MANY_ROWS
    }
}

impl Signals {
    fn inner(&self) -> MutexGuard<'_, Written> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to move the log, held while that is done.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was committed.
    pub(super) fn committed(&self, tip: Tip, bytes: usize) {
        let mut inner = self.inner();
        let first = inner.bytes == 0;
        inner.tip = tip;
        inner.bytes += bytes.max(1);
        let wake = first || inner.is_much();
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Whether nothing was committed since the last wait.
    fn is_quiet(&self) -> bool {
        self.inner().bytes == 0
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.inner().ended = true;
        self.wake.notify_one();
    }

    /// Waits until there is something to do. Says what there is, and whether the store rests.
    fn wait(&self) -> (Written, bool) {
        let inner = self.inner();
        let inner = self
            .wake
            .wait_while(inner, |inner| inner.bytes == 0 && !inner.ended)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut inner, timeout) = self
            .wake
            .wait_timeout_while(inner, REST, |inner| !inner.is_much())
            .unwrap_or_else(PoisonError::into_inner);
        let found = *inner;
        inner.bytes = 0;
        inner.noted = inner.tip.seq;
        (found, timeout.timed_out() || found.ended)
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
            let (written, rests) = self.signals.wait();
            match self.checkpoint(&mut connection, rests) {
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

    fn checkpoint(&self, connection: &mut Option<Connection>, rests: bool) -> rusqlite::Result<()> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(connect(&self.path, self.durability, Role::Checkpointer)?),
        };
        let _turn = self.signals.turn();
        let run = |sql| connection.query_row(sql, [], |_| Ok(()));
        run("PRAGMA wal_checkpoint(PASSIVE)")?;
        // Nearly all is moved now: emptying the log has little left to do. But it holds up the
        // writer, so it is done only when that has nothing to do, or when it must be.
        if (rests && self.signals.is_quiet()) || self.files.log_bytes() > LONG_LOG {
            run("PRAGMA wal_checkpoint(TRUNCATE)")?;
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
