//! When keys were used last, beside each key.
//!
//! Mostly their calls say so. It is noted for what leaves no call, such as what administrators do, and
//! when retention takes the calls.

use gateway::keys::UnixMillis;
use rusqlite::{Connection, params};

const NOTE: &str = "UPDATE vkey SET last_used = max(coalesce(last_used, ?2), ?2) WHERE id = ?1";

/// Notes it of some keys. What is later already stays; a key that is gone is passed over.
pub(super) fn note<'a>(
    connection: &Connection,
    used: impl IntoIterator<Item = (&'a str, UnixMillis)>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(NOTE)?;
    used.into_iter().try_for_each(|(key, at)| statement.execute(params![key, at]).map(drop))
}
