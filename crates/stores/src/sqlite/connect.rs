//! Connections to the database, and what their errors mean.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::store::StoreError;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, ffi};

use super::Durability;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that writes.
    Writer,
    /// Moves what is written from the log to its place.
    Checkpointer,
    /// Reads.
    Reader,
}

impl Role {
    /// How long a connection waits for others. Long waits are for foreigners that use the file;
    /// we never wait for each other that long.
    pub(super) const fn patience(self) -> Duration {
        match self {
            Self::Writer => Duration::from_secs(2),
            // It holds up the writer while it waits for readers.
            Self::Checkpointer => Duration::from_millis(100),
            Self::Reader => Duration::from_secs(1),
        }
    }
}

/// Bytes of a page of a new database. A log of half as many pages is written, and moved, with half
/// as many calls of the system; larger ones would make one small commit cost more than they save.
const PAGE: i64 = 8192;

/// Opens a connection. The file must be there.
pub(super) fn connect(
    path: &Path,
    durability: Durability,
    role: Role,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    let cache = match role {
        Role::Writer => -16_384,
        Role::Checkpointer => -2048,
        Role::Reader => -4096,
    };
    connection.busy_timeout(role.patience())?;
    connection.set_prepared_statement_cache_capacity(64);
    if role == Role::Writer {
        // Only before the first table is made do these have an effect.
        connection.pragma_update(None, "page_size", PAGE)?;
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(unusable(format!("no write-ahead log here, only {mode}")));
        }
    }
    // The writer syncs each transaction. Nearly nobody waits for that: calls are answered when they
    // are in the redo log, which is not synced, so that a loss of power takes what came since.
    let synchronous = match durability {
        Durability::Normal if role != Role::Writer => "NORMAL",
        Durability::Normal | Durability::Fsync => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", cache)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "query_only", role == Role::Reader)?;
    Ok(connection)
}

/// The error of a database that can be opened and not be used.
pub(super) fn unusable(why: String) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), Some(why))
}

/// Whether a fault lies in the world around us, and not in what was asked.
pub(super) fn is_environment(error: &Error) -> bool {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull,
        FileLockingProtocolFailed, NotADatabase, OutOfMemory, PermissionDenied, ReadOnly,
        SystemIoFailure,
    };
    let environment = [
        CannotOpen,
        DatabaseBusy,
        DatabaseCorrupt,
        DatabaseLocked,
        DiskFull,
        FileLockingProtocolFailed,
        NotADatabase,
        OutOfMemory,
        PermissionDenied,
        ReadOnly,
        SystemIoFailure,
    ];
    match error {
        Error::InvalidPath(_) => true,
        Error::SqliteFailure(..) => {
            error.sqlite_error_code().is_some_and(|code| environment.contains(&code))
        }
        _ => false,
    }
}

/// Whether there was no room: on the disk, or within a bound.
pub(super) fn is_full(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Whether a connection should be made anew after an error.
pub(super) fn spoils_connection(error: &Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// An error in a sentence for people.
pub(super) fn reason(error: &Error) -> Arc<str> {
    let known = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds the database locked"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => "the database is damaged",
        Some(ErrorCode::SystemIoFailure) => "the disk fails",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "the database may not be written"
        }
        Some(ErrorCode::CannotOpen) => "the database cannot be opened",
        Some(ErrorCode::OperationInterrupted) => "the read took too long",
        _ => return error.to_string().into(),
    };
    format!("{known} ({error})").into()
}

/// An error as the port tells it.
pub(super) fn down(error: &Error) -> StoreError {
    StoreError::Down(reason(error))
}

#[cfg(test)]
mod tests {
    use super::{Durability, Role, connect};

    /// A loss of power takes no more than what is not committed yet.
    #[test]
    fn the_writer_syncs_whatever_is_asked() {
        const FULL: i64 = 2;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        std::fs::write(&path, "").unwrap();
        for durability in [Durability::Normal, Durability::Fsync] {
            let connection = connect(&path, durability, Role::Writer).unwrap();
            let synchronous: i64 =
                connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
            assert_eq!(synchronous, FULL, "{durability:?}");
        }
    }
}
