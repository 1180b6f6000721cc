//! What a start has to do: end what a crash cut off, and read what has to be in memory.

use gateway::keys::KeyId;
use gateway::store::Loaded;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension as _};

use super::apply::Batch;
use super::record::Tx;
use super::stored::{COLUMNS, StoredCall};
use super::wire::{self, WireError};
use super::write::Settling;

/// Closes the calls of an earlier life that are open, and settles those that are not settled, as
/// reserved. Says how many were open.
pub(super) fn settle_all(
    connection: &Connection,
    batch: &mut Batch<'_>,
    last: i64,
    now: i64,
) -> rusqlite::Result<u64> {
    // The partial index on unsettled calls makes this cheap, however many calls there are.
    let sql = format!("SELECT {COLUMNS} FROM call WHERE settled = 0 AND seq <= ?1 ORDER BY n");
    let calls: Vec<StoredCall> =
        connection.prepare(&sql)?.query_map([last], StoredCall::read)?.collect::<Result<_, _>>()?;
    let mut interrupted = 0;
    for call in calls {
        if call.is_closed() {
            let spent = call.reserved.view();
            let digest = spent.settled(&call.id);
            batch.settle(&Settling { id: &call.id, spent, digest })?;
        } else {
            batch.interrupt(&Tx::interrupted(&call.id, now, call.estimate, &call.reserved))?;
            interrupted += 1;
        }
    }
    Ok(interrupted)
}

/// Reads what has to be in memory.
pub(super) fn load(connection: &Connection, interrupted: u64) -> rusqlite::Result<Loaded> {
    let mut loaded = Loaded { interrupted, ..Loaded::default() };
    let mut keys = connection.prepare("SELECT json, last_used FROM vkey ORDER BY id")?;
    let mut rows = keys.query([])?;
    let sql = "SELECT received FROM call WHERE key_id = ?1 ORDER BY n DESC LIMIT 1";
    let mut used = connection.prepare(sql)?;
    while let Some(row) = rows.next()? {
        let key = wire::read_key(&row.get::<_, String>(0)?).map_err(unreadable)?;
        let kept = used.query_row([key.id.as_str()], |row| row.get(0)).optional()?;
        // What retention took with it is noted beside the key.
        if let Some(last) = kept.max(row.get(1)?) {
            loaded.last_used.push((key.id, last));
        }
        loaded.keys.push(key);
    }
    let mut tenants = connection.prepare("SELECT json FROM tenant ORDER BY id")?;
    let mut rows = tenants.query([])?;
    while let Some(row) = rows.next()? {
        loaded.tenants.push(wire::read_tenant(&row.get::<_, String>(0)?).map_err(unreadable)?);
    }
    loaded.last_used.sort_by_key(|(id, _): &(KeyId, _)| *id);
    Ok(loaded)
}

fn unreadable(error: WireError) -> Error {
    Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}
