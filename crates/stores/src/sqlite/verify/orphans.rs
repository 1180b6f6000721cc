//! Bodies that no entry of the journal tells of.
//!
//! They lie in the order of the calls, so that both are read once and side by side. Retention takes
//! a call together with its bodies: each piece is whole in itself, and may be of another moment than
//! the check of the journal.

use gateway::store::{Finding, StoreError};
use model::CallId;
use rusqlite::{Connection, Row};

use super::super::readers::Readers;
use super::{PIECE, TIME, number};

const PIECE_SQL: &str = "SELECT slot, reply IS NOT NULL, call.id, ended IS NOT NULL, seq \
    FROM body LEFT JOIN call ON n = slot >> 1 WHERE slot > ?1 ORDER BY slot LIMIT ?2";

/// A row of bodies.
struct Kept {
    slot: i64,
    /// Whether a reply stands in it beside the request.
    with_reply: bool,
    call: Option<CallId>,
    /// Whether the call has ended.
    ended: bool,
    /// The entry with which the call came in.
    seq: Option<i64>,
}

impl Kept {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            slot: row.get(0)?,
            with_reply: row.get(1)?,
            call: row.get::<_, Option<[u8; 16]>>(2)?.map(CallId::from_bytes),
            ended: row.get(3)?,
            seq: row.get(4)?,
        })
    }

    fn is_reply(&self) -> bool {
        self.slot & 1 == 1
    }
}

/// Where the search is: the last row of bodies, and whether a reply stood in it beside the request.
type Place = (i64, bool);

/// Finds the first one, if there is any. `end` is the last entry of the journal.
pub(super) async fn find(readers: &Readers, end: i64) -> Result<Option<Finding>, StoreError> {
    let mut place = Some((i64::MIN, false));
    while let Some(from) = place {
        let work = move |connection: &Connection| piece(connection, from, end);
        match readers.read(TIME, work).await? {
            Ok(next) => place = next,
            Err(found) => return Ok(Some(found)),
        }
    }
    Ok(None)
}

/// Goes through one piece; says where the next begins, or as an inner error what was found.
fn piece(
    connection: &Connection,
    mut place: Place,
    end: i64,
) -> rusqlite::Result<Result<Option<Place>, Finding>> {
    let mut statement = connection.prepare_cached(PIECE_SQL)?;
    let mut rows = statement.query([place.0, PIECE])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let kept = Kept::read(row)?;
        let (before, replied) = place;
        let what = if kept.call.is_none() {
            "a body belongs to no call"
        } else if !kept.ended && (kept.is_reply() || kept.with_reply) {
            "the call has a reply and has not ended"
        } else if kept.is_reply() && replied && before == kept.slot - 1 {
            "the call has two replies"
        } else {
            place = (kept.slot, kept.with_reply);
            count += 1;
            continue;
        };
        let sequence = number(kept.seq.unwrap_or(end));
        return Ok(Err(Finding { sequence, call: kept.call, what: what.to_owned() }));
    }
    Ok(Ok((count == PIECE).then_some(place)))
}
