//! Takes away what is old, by age and by bytes, in small steps between commits.
//!
//! It goes along the journal from its beginning: calls that are settled go, with their bodies and
//! their rows of the journal. Calls that still run, or are not settled, stay until they are. Where
//! the journal begins now is noted in the tables and sealed in a row at its end, so that nobody
//! else can cut it the same way. The ledger stays as it is.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use gateway::keys::UnixMillis;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::apply::Batch;
use super::body::slot;
use super::canon::Sum;
use super::journal::{Fresh, Kind, Tip};
use super::redo;
use super::used;
use super::write::note_digest;

/// The least that files can be bounded to: 16 MiB. A smaller bound is taken for this one.
pub const LEAST_BYTES: u64 = 16 << 20;
/// A minute in milliseconds.
const MINUTE: i64 = 60_000;
/// Takes away counts of refusals.
const FORGET: &str = "DELETE FROM refusal_count WHERE minute < ?1";
/// How far the time of day may run ahead of the steady clock since the start, in milliseconds.
const AHEAD: i64 = 3_600_000;
/// The log may take a quarter of that, and no more than it needs to run well.
const LOG: std::ops::RangeInclusive<u64> = (4 << 20)..=(128 << 20);

/// How much may be kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Bytes of all files.
    pub(super) bytes: Option<NonZeroU64>,
    /// The age of calls.
    pub(super) age: Option<Duration>,
}

impl Bounds {
    /// Bytes that the log may take; `None` for no bound.
    pub(super) fn log(self) -> Option<u64> {
        let all = self.bytes?.get().max(LEAST_BYTES);
        Some((all / 4).clamp(*LOG.start(), *LOG.end()))
    }

    /// Bytes that the index of texts may take with its log; `None` for no bound.
    pub(super) fn text(self) -> Option<u64> {
        Some(self.bytes?.get().max(LEAST_BYTES) / 5)
    }

    /// Bytes of that that its log may take. It has to hold more than a piece of the index.
    pub(super) fn text_log(self) -> Option<u64> {
        Some(self.text()? / 3)
    }

    /// Pages that the index of texts may take without its log.
    pub(super) fn text_pages(self, page: u64) -> Option<u64> {
        Some((self.text()? - self.text_log()?) / page.max(1))
    }

    /// Pages that the database may take.
    fn pages(self, page: u64) -> Option<u64> {
        let all = self.bytes?.get().max(LEAST_BYTES);
        let redo = 2 * redo::size(self);
        Some((all - self.log()? - self.text()? - redo) / page.max(1))
    }

    /// Tells SQLite of the bound: whatever happens, it does not pass it.
    pub(super) fn tell(self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(pages) = self.pages(pragma(connection, "page_size")?) {
            let pages = i64::try_from(pages).unwrap_or(i64::MAX);
            // The answer is what it is now, which is more if the files are larger already.
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        }
        if let Some(log) = self.log() {
            // The file of the log keeps its length, but not that of a larger bound.
            connection.query_row(&format!("PRAGMA journal_size_limit = {log}"), [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// Whether the database holds too much.
    pub(super) fn is_full(self, connection: &Connection) -> rusqlite::Result<bool> {
        let page = pragma(connection, "page_size")?;
        let (Some(most), Some(room)) = (self.pages(page), self.room(connection)?) else {
            return Ok(false);
        };
        let (all, free) =
            (pragma(connection, "page_count")?, pragma(connection, "freelist_count")?);
        if all > most && free > 0 {
            // The bound was larger once. Pages are given back a few at a time.
            connection.execute_batch("PRAGMA incremental_vacuum(256)")?;
        }
        Ok(room < (most / 10).saturating_mul(page))
    }

    /// Bytes that the database may still take; `None` for no bound.
    pub(super) fn room(self, connection: &Connection) -> rusqlite::Result<Option<u64>> {
        let page = pragma(connection, "page_size")?;
        let Some(most) = self.pages(page) else { return Ok(None) };
        let (all, free) =
            (pragma(connection, "page_count")?, pragma(connection, "freelist_count")?);
        Ok(Some(most.saturating_sub(all.saturating_sub(free)).saturating_mul(page)))
    }

    /// Bytes of the largest write that there can be room for, with what else has to be there, in the
    /// database and in its log; `None` for no bound.
    pub(super) fn largest(self) -> Option<u64> {
        let database = self.pages(1)?;
        Some((database / 4).min(self.log()? / 16 * 7))
    }

    /// The time before which calls are too old. What is taken away in error never comes back, so
    /// the time of day is not believed where nothing speaks for it but itself: not when it has run
    /// away from the steady clock, and of what was there at the start not beyond what that is old
    /// by itself.
    pub(super) fn oldest(self, now: UnixMillis, life: Life) -> Option<UnixMillis> {
        let age = i64::try_from(self.age?.as_millis()).ok()?;
        if now > life.opened.saturating_add(life.ran).saturating_add(AHEAD) {
            return None;
        }
        let known = match life.newest {
            // So much time has passed for certain since the newest of what was there. Once it is
            // more than the age, all of that is old, and the rest is of this life.
            Some(newest) if life.ran < age => now.min(newest.saturating_add(life.ran)),
            _ => now,
        };
        Some(known.saturating_sub(age))
    }
}

/// How long a store has been open, by a clock that nobody can set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// The time of day when it was opened.
    pub(super) opened: UnixMillis,
    /// Milliseconds since.
    pub(super) ran: i64,
    /// When the newest row was written that was there then.
    pub(super) newest: Option<UnixMillis>,
}

/// When the last row of the journal was written.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Option<UnixMillis>> {
    let sql = "SELECT at FROM journal ORDER BY seq DESC LIMIT 1";
    connection.query_row(sql, [], |row| row.get(0)).optional()
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let found: i64 =
        connection.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(found).unwrap_or(0))
}

/// What the journal says of a step.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RetiredNote {
    /// The last row of the journal that went.
    pub(super) upto: i64,
    /// Its seal.
    pub(super) mac: Sum,
    /// Calls that went since the store was made.
    pub(super) calls: u64,
    /// Entries of the journal that went since the store was made.
    pub(super) rows: u64,
}

impl RetiredNote {
    /// The last row that went.
    pub(super) fn tip(&self) -> Tip {
        Tip { seq: self.upto, mac: self.mac }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Entries of the journal that it took.
    pub(super) entries: u64,
    /// Calls that went since the store was made.
    pub(super) calls: u64,
}

/// Calls that retention has taken since the store was made.
pub(super) fn taken(connection: &Connection) -> rusqlite::Result<u64> {
    let calls: i64 =
        connection.query_row("SELECT retired_calls FROM meta", [], |row| row.get(0))?;
    Ok(u64::try_from(calls).unwrap_or(0))
}

/// Takes away up to so many entries of the journal, and what they are about: all that come, or those
/// that are older than a time.
pub(super) fn step(
    connection: &Connection,
    batch: &mut Batch<'_>,
    most: usize,
    older: Option<UnixMillis>,
) -> rusqlite::Result<Step> {
    if let Some(older) = older {
        // Where nobody calls, nothing else takes the counts of refusals along.
        let minute = older.saturating_sub(MINUTE);
        connection.prepare_cached(FORGET)?.execute([minute])?;
    }
    let base: i64 = connection.query_row("SELECT base_seq FROM meta", [], |row| row.get(0))?;
    let sql = "SELECT seq, at, call, mac, kind FROM journal WHERE seq > ?1 ORDER BY seq";
    let mut lines = connection.prepare_cached(sql)?;
    let upto = base.saturating_add(i64::try_from(most).unwrap_or(i64::MAX));
    let mut lines = lines.query([base])?;
    let mut last: Option<Tip> = None;
    let mut young = UnixMillis::MIN;
    let mut calls = 0;
    let mut gains = false;
    let mut used: HashMap<String, i64> = HashMap::new();
    while let Some(line) = lines.next()? {
        let (seq, at): (i64, i64) = (line.get(0)?, line.get(1)?);
        // It goes on where somebody else has taken out more than a step, and over entries of many
        // steps: room is needed all the same.
        if older.is_some_and(|older| at >= older) || gains && seq > upto {
            break;
        }
        if let Some(id) = line.get::<_, Option<[u8; 16]>>(2)? {
            calls += u64::from(take_call(connection, &id, &mut used)?);
        }
        last = Some(Tip { seq, mac: line.get(3)? });
        gains |= line.get::<_, i64>(4)? != Kind::Retired.number();
        young = young.max(at);
    }
    // To take away no more than the entry of the last step, and to write another, gains nothing.
    let Some(last) = last.filter(|_| gains) else { return Ok(Step::default()) };
    let entries = last.seq - base;
    used::note(connection, used.iter().map(|(key, received)| (key.as_str(), *received)))?;
    connection.prepare_cached("DELETE FROM journal WHERE seq <= ?1")?.execute([last.seq])?;
    // Counts of refusals go with the calls of their time.
    let minute = young.saturating_sub(MINUTE);
    connection.prepare_cached(FORGET)?.execute([minute])?;
    let sql = "UPDATE meta SET base_seq = ?1, base_mac = ?2, retired_calls = retired_calls + ?3, \
        retired_rows = retired_rows + ?4 RETURNING retired_calls, retired_rows";
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    let (all_calls, all_rows): (i64, i64) = connection
        .prepare_cached(sql)?
        .query_row(params![last.seq, last.mac, number(calls), entries], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let natural = |count| u64::try_from(count).unwrap_or(0);
    let note = RetiredNote {
        upto: last.seq,
        mac: last.mac,
        calls: natural(all_calls),
        rows: natural(all_rows),
    };
    let note = serde_json::to_string(&note)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let digest = note_digest(&note);
    let at = batch.now();
    batch.seal(Fresh {
        kind: Kind::Retired,
        at,
        call: None,
        note: Some(&note),
        digest: &digest,
    })?;
    Ok(Step { entries: natural(entries), calls: natural(all_calls) })
}

/// Takes away a call that is settled; says whether it did.
fn take_call(
    connection: &Connection,
    id: &[u8; 16],
    used: &mut HashMap<String, i64>,
) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM call WHERE id = ?1 AND settled <> 0 RETURNING n, key_id, received";
    let gone: Option<(i64, Option<String>, i64)> = connection
        .prepare_cached(sql)?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((n, key, received)) = gone else { return Ok(false) };
    connection
        .prepare_cached("DELETE FROM body WHERE slot IN (?1, ?2)")?
        .execute([slot(n, 0), slot(n, 1)])?;
    if let Some(key) = key {
        let last = used.entry(key).or_insert(received);
        *last = received.max(*last);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{AHEAD, Bounds, Life};

    const BOUNDS: Bounds = Bounds { age: Some(std::time::Duration::from_secs(5)), bytes: None };

    #[test]
    fn a_clock_that_has_run_away_takes_nothing() {
        let life = Life { opened: 90_000, ran: 10_000, newest: None };
        assert_eq!(BOUNDS.oldest(100_000, life), Some(95_000));
        assert_eq!(BOUNDS.oldest(90_000, life), Some(85_000));
        assert_eq!(BOUNDS.oldest(100_000 + AHEAD, life), Some(95_000 + AHEAD));
        assert_eq!(BOUNDS.oldest(100_001 + AHEAD, life), None);
        assert_eq!(Bounds { age: None, ..BOUNDS }.oldest(100_000, life), None);
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_takes_what_is_old_by_itself() {
        let opened = 1_000_000_000;
        let at = |ran| BOUNDS.oldest(opened + ran, Life { opened, ran, newest: Some(60_000) });
        // As if no time had passed before the start.
        assert_eq!(at(0), Some(55_000));
        assert_eq!(at(4_999), Some(59_999));
        // Now all of it is older than that, whatever the time of day is.
        assert_eq!(at(5_000), Some(opened));
        // What is newer than the time of day makes nothing older.
        let ahead = Life { opened: 90_000, ran: 0, newest: Some(opened) };
        assert_eq!(BOUNDS.oldest(90_000, ahead), Some(85_000));
    }
}
