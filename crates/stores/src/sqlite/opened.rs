//! The database as the writer has it open.

use std::ffi::c_int;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::Durability;
use super::checkpointer::Signals;
use super::connect::{Role, connect, unusable};
use super::files::Files;
use super::journal::Tip;
use super::retire::Bounds;
use super::schema::{self, SchemaError};

/// An open database.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) tip: Tip,
    /// Which file it is.
    pub(super) identity: Option<(u64, u64)>,
}

impl Opened {
    /// Opens it at the start, and makes or migrates its tables.
    pub(super) fn new(
        files: &Files,
        durability: Durability,
        signals: &Arc<Signals>,
    ) -> Result<Self, SchemaError> {
        let mut connection = connect(&files.database(), durability, Role::Writer)?;
        watch_log(&mut connection, signals)?;
        schema::migrate(&mut connection)?;
        let tip = Tip::read(&connection)?;
        let identity = files.identity();
        Ok(Self { connection, tip, identity })
    }

    /// Opens what was open before, and nothing else that may lie there now.
    pub(super) fn again(
        files: &Files,
        durability: Durability,
        bounds: Bounds,
        last: Tip,
        signals: &Arc<Signals>,
    ) -> rusqlite::Result<Self> {
        let mut connection = connect(&files.database(), durability, Role::Writer)?;
        watch_log(&mut connection, signals)?;
        if !schema::is_current(&connection)? || !last.is_in(&connection)? {
            return Err(unusable("another database lies in its place".into()));
        }
        bounds.tell(&connection)?;
        let tip = Tip::read(&connection)?;
        let identity = files.identity();
        Ok(Self { connection, tip, identity })
    }
}

/// Notes after each commit how much of the log is in use.
fn watch_log(connection: &mut Connection, signals: &Arc<Signals>) -> rusqlite::Result<()> {
    let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let signals = Arc::clone(signals);
    connection.wal_hook(Some(move |_: &mut Wal, pages: c_int| {
        let pages = u64::try_from(pages).unwrap_or_default();
        signals.set_log(pages * u64::from(page));
        Ok(())
    }))
}
