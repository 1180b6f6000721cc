//! Finds calls by their words.
//!
//! The index gives the numbers of calls, newest first, and each is looked up in the record, which
//! says whether it fits the rest of the filter and is still there. Words that stand in many calls
//! of which few fit could take long: after a while the page ends where it is, and the next one
//! goes on from there.

use std::time::{Duration, Instant};

use gateway::keys::{KeyId, TenantId};
use gateway::store::{CallFilter, CallPage, Cursor};
use model::CallId;
use rusqlite::types::Value;
use rusqlite::{Connection, Error, OptionalExtension as _, params, params_from_iter};

use super::super::reads::{PAGE, Select, after_number, numbers};
use super::super::stored::{COLUMNS, StoredCall};
use super::pieces::{Piece, pieces, words_of};
use super::words::Wanted;

/// How long calls are looked up for one page, and how many are between two looks at the clock.
const TIME: Duration = Duration::from_millis(150);
const LOOKS: usize = 64;
/// The column that says whether a call fits.
const FITS: &str = "fits";

/// Calls that hold words and fit a filter, newest first. An inner error is one of the index.
pub(in super::super) fn search(
    record: &Connection,
    index: &Connection,
    filter: &CallFilter,
    wanted: &Wanted,
    after: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Result<CallPage, Error>> {
    let Ok(after) = after_number(record, after)? else { return Ok(Ok(CallPage::default())) };
    let limit = limit.clamp(1, PAGE);
    let mut look = Look::new(filter, limit);
    let span = span(filter, after);
    match walk(record, index, wanted, span, &mut look) {
        Ok(()) => Ok(Ok(look.page())),
        Err(Side::Record(error)) => Err(error),
        Err(Side::Index(error)) => Ok(Err(error)),
    }
}

/// The numbers of calls that can fit: from the first to before the last.
fn span(filter: &CallFilter, after: Option<i64>) -> (i64, i64) {
    let (from, to) = filter.received.as_ref().map_or((i64::MIN, i64::MAX), numbers);
    (from, after.map_or(to, |after| to.min(after)))
}

/// Which of the two an error is of.
enum Side {
    Record(Error),
    Index(Error),
}

/// Goes through the pieces from the last to the first.
fn walk(
    record: &Connection,
    index: &Connection,
    wanted: &Wanted,
    (from, to): (i64, i64),
    look: &mut Look,
) -> Result<(), Side> {
    // One moment of the index for all that is read together.
    let moment = index.unchecked_transaction().map_err(Side::Index)?;
    let pieces = pieces(&moment).map_err(Side::Index)?;
    let fitting = |piece: &&Piece| piece.first < to && piece.last >= from;
    for piece in pieces.iter().rev().filter(fitting) {
        let words = words_of(piece);
        let sql = format!(
            "SELECT rowid FROM {words} WHERE {words} MATCH ?1 AND rowid >= ?2 AND rowid < ?3 \
             ORDER BY rowid DESC"
        );
        let mut statement = moment.prepare_cached(&sql).map_err(Side::Index)?;
        let mut rows = statement.query(params![wanted.0, from, to]).map_err(Side::Index)?;
        while let Some(row) = rows.next().map_err(Side::Index)? {
            let n = row.get(0).map_err(Side::Index)?;
            if look.at(record, n).map_err(Side::Record)? {
                return Ok(());
            }
        }
        // Without one to go on from, the next page would do all of this again.
        if look.is_late() && look.last.is_some() {
            return Ok(());
        }
    }
    look.more = false;
    Ok(())
}

/// Looks calls up until there are enough.
struct Look {
    sql: String,
    values: Vec<Value>,
    limit: usize,
    begun: Instant,
    looks: usize,
    /// The last one that is still there.
    last: Option<[u8; 16]>,
    found: Vec<StoredCall>,
    /// Whether there may be more.
    more: bool,
}

impl Look {
    fn new(filter: &CallFilter, limit: usize) -> Self {
        let mut fits = Select::default();
        if let Some(key) = filter.key.as_ref().map(KeyId::as_str) {
            fits.and("key_id = ?", key.to_owned());
        }
        if let Some(tenant) = filter.tenant.as_ref().map(TenantId::as_str) {
            fits.and("tenant = ?", tenant.to_owned());
        }
        if let Some(model) = &filter.model {
            fits.and("(model = ? OR model_served = ?)", model.clone());
        }
        if let Some(status) = &filter.status {
            fits.and("status >= ?", i64::from(status.start));
            fits.and("status < ?", i64::from(status.end));
        }
        // The number is the last value.
        let number = fits.values.len() + 1;
        let condition = fits.conditions.strip_prefix(" WHERE ").unwrap_or("1");
        let sql = format!(
            "SELECT {COLUMNS}, coalesce({condition}, 0) AS fits FROM call WHERE n = ?{number}"
        );
        Self {
            sql,
            values: fits.values,
            limit,
            begun: Instant::now(),
            looks: 0,
            last: None,
            found: Vec::new(),
            more: true,
        }
    }

    fn is_late(&self) -> bool {
        self.begun.elapsed() >= TIME
    }

    /// Looks one up. Says whether that is enough.
    fn at(&mut self, record: &Connection, n: i64) -> rusqlite::Result<bool> {
        let mut values = self.values.clone();
        values.push(n.into());
        let found = record
            .prepare_cached(&self.sql)?
            .query_row(params_from_iter(&values), |row| {
                let fits: bool = row.get(FITS)?;
                let call = if fits { Some(StoredCall::read(row)?) } else { None };
                Ok((row.get(1)?, call))
            })
            .optional()?;
        // Retention took it, and the index does not know yet.
        let Some((id, call)) = found else { return Ok(false) };
        if let Some(call) = call {
            if self.found.len() == self.limit {
                // There is one more, for the next page.
                return Ok(true);
            }
            self.found.push(call);
        }
        self.last = Some(id);
        self.looks += 1;
        Ok(self.looks.is_multiple_of(LOOKS) && self.is_late())
    }

    fn page(self) -> CallPage {
        let next = self.last.filter(|_| self.more).map(|id| Cursor(CallId::from_bytes(id)));
        CallPage { calls: self.found.into_iter().map(StoredCall::into_row).collect(), next, lag: 0 }
    }
}
