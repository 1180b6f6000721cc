//! The tables, and how a database of an earlier version becomes one of this.
//!
//! Every step is a text of its own and is never changed once a release had it. Steps run in one
//! transaction each, so that a crash between two leaves a database that the next start takes on.

use std::collections::HashSet;

use rusqlite::{Connection, Row, TransactionBehavior};

/// The steps, oldest first. A database at version `n` has seen the first `n` of them.
const STEPS: [&str; 3] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
];

/// The version that this program writes.
pub(super) const VERSION: usize = STEPS.len();

/// Why a database cannot be brought to this version.
#[derive(Debug)]
pub(super) enum SchemaError {
    /// It is at a version that this program does not know.
    TooNew(usize),
    /// A step failed, or it could not be read.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for SchemaError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Whether a database is at this version.
pub(super) fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version) == Ok(VERSION))
}

/// Brings a database to this version.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > VERSION {
        return Err(SchemaError::TooNew(version));
    }
    for (step, next) in STEPS.iter().zip(1_i64..).skip(version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", next)?;
        transaction.commit()?;
    }
    connection.execute("INSERT OR IGNORE INTO meta VALUES (1, 0, 0, zeroblob(32), 0, 0)", [])?;
    Ok(())
}

/// The first table or index of ours that is not in a database as this program makes it.
///
/// An index of the same name with another condition would keep calls out of what is found. What is
/// somebody's own beside ours is not looked at.
pub(super) fn changed(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut ours = Connection::open_in_memory()?;
    match migrate(&mut ours) {
        Err(SchemaError::Sql(error)) => return Err(error),
        // It was empty.
        Err(SchemaError::TooNew(_)) | Ok(()) => {}
    }
    let found: HashSet<Thing> = things(connection)?.into_iter().collect();
    let lacking = things(&ours)?.into_iter().find(|thing| !found.contains(thing));
    Ok(lacking.map(|(kind, name, _)| format!("{kind} {name}")))
}

/// A table or index: what it is, its name, and how it was made.
type Thing = (String, String, Option<String>);

fn things(connection: &Connection) -> rusqlite::Result<Vec<Thing>> {
    let sql = "SELECT type, name, sql FROM sqlite_schema ORDER BY rowid";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    connection.prepare(sql)?.query_map([], read)?.collect()
}
