//! What can be asked of the tables.
//!
//! Pages are read along the indexes that are in the order of the page, so that their cost does not
//! grow with the table.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use gateway::amounts::Amounts;
use gateway::keys::{KeyId, ScopeId, TenantId, UnixMillis};
use gateway::store::{
    CallFilter, CallPage, Cursor, EndedPage, FullCall, MinuteSpent, UsageBy, UsageFilter, UsageRow,
};
use model::CallId;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, Error, OptionalExtension as _, Row, params, params_from_iter};

use super::apply::first_number;
use super::body::Bodies;
use super::journal::Kind;
use super::record::{Stored, natural};
use super::stored::{COLUMNS, StoredCall};
use along::{Next, Walk};

mod along;
#[cfg(test)]
mod tests;

/// Most calls in one page.
pub(super) const PAGE: usize = 1000;
/// A minute in milliseconds.
pub(super) const MINUTE: i64 = 60_000;
/// How long one page is looked for.
const TIME: Duration = Duration::from_millis(50);
/// Later times are all the same to the numbers of calls.
const LAST_TIME: UnixMillis = (1 << 42) - 1;
/// The first and the last minute that a ledger can tell of.
const ALWAYS: Range<i64> = 0..(i64::MAX / MINUTE);

/// Calls that fit a filter, newest first. A page for which it took too long is shorter, and has a
/// next one.
pub(super) fn calls(
    connection: &Connection,
    filter: &CallFilter,
    after: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<CallPage> {
    calls_until(connection, filter, after, limit, Instant::now() + TIME)
}

fn calls_until(
    connection: &Connection,
    filter: &CallFilter,
    after: Option<Cursor>,
    limit: usize,
    until: Instant,
) -> rusqlite::Result<CallPage> {
    let limit = limit.clamp(1, PAGE);
    let Ok(after) = after_number(connection, after)? else { return Ok(CallPage::default()) };
    let mut late = None;
    let mut found = match Walk::new(connection, filter, after, until)? {
        None => unfiltered(connection, filter, after, limit + 1)?,
        Some(mut walk) => {
            let sql = format!("SELECT {COLUMNS} FROM call WHERE n = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = Vec::new();
            while found.len() <= limit {
                match walk.next()? {
                    Next::Fits(n) => found.push(statement.query_row([n], StoredCall::read)?),
                    Next::Late(n) => {
                        late = Some(n);
                        break;
                    }
                    Next::End => break,
                }
            }
            found
        }
    };
    let next = if found.len() > limit {
        found.truncate(limit);
        found.last().map(|call| call.id)
    } else {
        let id = "SELECT id FROM call WHERE n = ?1";
        late.map(|n| connection.query_row(id, [n], |row| row.get(0))).transpose()?
    };
    Ok(CallPage {
        next: next.map(|id| Cursor(CallId::from_bytes(id))),
        calls: found.into_iter().map(StoredCall::into_row).collect(),
        lag: 0,
    })
}

/// Calls whatever they are, maybe of a span, newest first.
fn unfiltered(
    connection: &Connection,
    filter: &CallFilter,
    after: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Vec<StoredCall>> {
    let mut select = Select::default();
    if let Some(received) = &filter.received {
        select.received(received);
    }
    if let Some(n) = after {
        select.and("n < ?", n);
    }
    let conditions = &select.conditions;
    let sql = format!("SELECT {COLUMNS} FROM call{conditions} ORDER BY n DESC LIMIT {limit}");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(params_from_iter(&select.values), StoredCall::read)?.collect()
}

/// The call that a page ended with is gone.
pub(super) struct Gone;

/// The number of the call that a page ended with. Where retention took it, that is an inner error:
/// with it went everything that is older.
pub(super) fn after_number(
    connection: &Connection,
    after: Option<Cursor>,
) -> rusqlite::Result<Result<Option<i64>, Gone>> {
    let Some(Cursor(id)) = after else { return Ok(Ok(None)) };
    let found = connection
        .prepare_cached("SELECT n FROM call WHERE id = ?1")?
        .query_row([id.to_bytes()], |row| row.get(0))
        .optional()?;
    Ok(found.map(Some).ok_or(Gone))
}

/// The numbers of calls that came in during a span: from the first to before the last.
pub(super) fn numbers(span: &Range<UnixMillis>) -> (i64, i64) {
    // Times that are all one have no end between them.
    let end = if span.end < LAST_TIME { first_number(span.end) } else { i64::MAX };
    (first_number(span.start), end)
}

/// The conditions of a read.
#[derive(Clone, Default)]
pub(super) struct Select {
    pub(super) conditions: String,
    pub(super) values: Vec<Value>,
}

impl Select {
    pub(super) fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.conditions.push_str(if self.conditions.is_empty() { " WHERE " } else { " AND " });
        // Each condition holds one mark for its value.
        let number = format!("?{}", self.values.len());
        self.conditions.push_str(&condition.replace('?', &number));
    }

    fn received(&mut self, span: &Range<UnixMillis>) {
        let (from, to) = numbers(span);
        self.and("n >= ?", from);
        if to < i64::MAX {
            self.and("n < ?", to);
        }
    }
}

/// The statuses in a range that there are, each found with one step down the index.
fn statuses(connection: &Connection, range: &Range<u16>) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT min(status) FROM call WHERE status >= ?1 AND status < ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut from, end) = (i64::from(range.start), i64::from(range.end));
    let mut found = Vec::new();
    while let Some(status) = statement.query_row([from, end], |row| row.get::<_, Option<i64>>(0))? {
        found.push(status);
        from = status + 1;
    }
    Ok(found)
}

/// Calls in the order in which the journal has their ends, behind one of its entries.
pub(super) fn ended(
    connection: &Connection,
    after: Option<u64>,
    limit: usize,
) -> rusqlite::Result<EndedPage> {
    let limit = limit.clamp(1, PAGE);
    let sql = "SELECT coalesce(max(seq), 0) FROM journal";
    let tip: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let place = |seq: i64| u64::try_from(seq).unwrap_or_default();
    let nothing = EndedPage { calls: Vec::new(), place: place(tip), more: false };
    // A place behind the end is of another record: one that was put back to an earlier state.
    let Some(after) = after.and_then(|after| i64::try_from(after).ok()).filter(|at| *at < tip)
    else {
        return Ok(nothing);
    };
    let sql = "SELECT seq, call FROM journal WHERE seq > ?1 AND kind IN (?2, ?3) \
        ORDER BY seq LIMIT ?4";
    let [one, other] = Kind::ENDS.map(Kind::number);
    let mut ends = connection.prepare_cached(sql)?;
    let bounds = params![after, one, other, i64::try_from(limit).unwrap_or(1)];
    let ends = ends.query_map(bounds, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let ends: Vec<(i64, Option<[u8; 16]>)> = ends.collect::<rusqlite::Result<_>>()?;
    let sql = format!("SELECT {COLUMNS} FROM call WHERE id = ?1");
    let mut call = connection.prepare_cached(&sql)?;
    let mut calls = Vec::with_capacity(ends.len());
    for id in ends.iter().filter_map(|(_, id)| *id) {
        let found = call.query_row([id], StoredCall::read).optional()?;
        calls.extend(found.map(StoredCall::into_row));
    }
    let full = ends.last().filter(|_| ends.len() == limit);
    Ok(EndedPage {
        calls,
        place: full.map_or(nothing.place, |(seq, _)| place(*seq)),
        more: full.is_some(),
    })
}

/// One call with its bodies. A body that is damaged is an error: [`super::verify`] says which.
pub(super) fn call(connection: &Connection, id: CallId) -> rusqlite::Result<Option<FullCall>> {
    let sql = format!("SELECT {COLUMNS} FROM call WHERE id = ?1");
    let found =
        connection.prepare_cached(&sql)?.query_row([id.to_bytes()], StoredCall::read).optional()?;
    let Some(found) = found else { return Ok(None) };
    let mut bodies = Bodies::new(connection)?;
    let mut read = |side| match bodies.read(found.n, side)? {
        Some(Ok(body)) => Ok(Some(body)),
        Some(Err(_)) => Err(damaged("a body is damaged")),
        None => Ok(None),
    };
    let (request, reply) = (read(0)?, read(1)?);
    Ok(Some(FullCall { row: found.into_row(), request, reply }))
}

/// What cannot have been written so.
pub(super) fn damaged(what: &'static str) -> Error {
    Error::FromSqlConversionFailure(0, Type::Blob, what.into())
}

/// What each scope spent in a span.
pub(super) fn spent(
    connection: &Connection,
    span: &Range<UnixMillis>,
) -> rusqlite::Result<Vec<(ScopeId, Amounts)>> {
    let first = span.start.div_euclid(MINUTE);
    let last = span.end.saturating_sub(1).div_euclid(MINUTE);
    let read = read_spent;
    if first <= ALWAYS.start && last >= ALWAYS.end - 1 {
        let sql = "SELECT scope, requests, tokens, cost FROM ledger_total ORDER BY scope";
        return connection.prepare_cached(sql)?.query_map([], read)?.collect();
    }
    let sql = "SELECT scope, sum(requests), sum(tokens), sum(cost) FROM ledger \
        WHERE minute BETWEEN ?1 AND ?2 GROUP BY scope ORDER BY scope";
    connection.prepare_cached(sql)?.query_map([first, last], read)?.collect()
}

/// What each scope spent in every minute after that of a time.
pub(super) fn spent_after(
    connection: &Connection,
    time: UnixMillis,
) -> rusqlite::Result<Vec<MinuteSpent>> {
    let read = |row: &Row<'_>| {
        let (scope, amounts) = read_spent(row)?;
        Ok((row.get::<_, i64>(4)?.saturating_mul(MINUTE), scope, amounts))
    };
    let sql = "SELECT scope, requests, tokens, cost, minute FROM ledger WHERE minute > ?1 \
        ORDER BY minute, scope";
    connection.prepare_cached(sql)?.query_map([time.div_euclid(MINUTE)], read)?.collect()
}

fn read_spent(row: &Row<'_>) -> rusqlite::Result<(ScopeId, Amounts)> {
    let scope: String = row.get(0)?;
    let scope = scope.parse().map_err(|_| damaged("a scope is damaged"))?;
    let amounts = Stored { requests: row.get(1)?, tokens: row.get(2)?, cost: row.get(3)? };
    Ok((scope, Amounts::from(amounts)))
}

/// What was spent, by key, tenant, model or day.
///
/// It is added up here: SQLite would sort all calls by name first, in memory, and take three times
/// as long over it as over reading them.
pub(super) fn usage(
    connection: &Connection,
    filter: &UsageFilter,
) -> rusqlite::Result<Vec<UsageRow>> {
    let by = match filter.by {
        UsageBy::Key => "coalesce(key_id, '')",
        UsageBy::Tenant => "coalesce(tenant, '')",
        UsageBy::Model => "model",
        UsageBy::Day => "date(received / 1000, 'unixepoch')",
    };
    let mut select = Select::default();
    select.received(&filter.received);
    if let Some(key) = filter.key.as_ref().map(KeyId::as_str) {
        select.and("key_id = ?", key.to_owned());
    }
    if let Some(tenant) = filter.tenant.as_ref().map(TenantId::as_str) {
        // A key has fewer calls than its tenant: the sign keeps SQLite off the index of those.
        let condition = if filter.key.is_some() { "+tenant = ?" } else { "tenant = ?" };
        select.and(condition, tenant.to_owned());
    }
    let sql = format!(
        "SELECT {by}, coalesce(failure IS NOT NULL OR status >= 400 OR status = 0, 0), \
         coalesce(input_tokens, estimate), coalesce(output_tokens, 0), \
         CASE WHEN sandbox THEN 0 ELSE coalesce(spent_cost, 0) END FROM call{}",
        select.conditions,
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut calls = statement.query(params_from_iter(&select.values))?;
    let mut sums: HashMap<Box<str>, UsageRow, RandomState> = HashMap::default();
    while let Some(call) = calls.next()? {
        let name = call.get_ref(0)?.as_str()?;
        let sum = match sums.get_mut(name) {
            Some(sum) => sum,
            None => sums.entry(name.into()).or_insert_with(|| nothing(name)),
        };
        sum.calls += 1;
        for (sum, at) in [
            (&mut sum.failed, 1),
            (&mut sum.input_tokens, 2),
            (&mut sum.output_tokens, 3),
            (&mut sum.cost, 4),
        ] {
            *sum = sum.saturating_add(natural(call.get(at)?));
        }
    }
    let mut rows: Vec<_> = sums.into_values().collect();
    rows.sort_unstable_by(|row, other| row.name.cmp(&other.name));
    Ok(rows)
}

/// What nobody has used yet, under a name.
fn nothing(name: &str) -> UsageRow {
    UsageRow {
        name: name.to_owned(),
        calls: 0,
        failed: 0,
        input_tokens: 0,
        output_tokens: 0,
        cost: 0,
    }
}
