//! Numbers of calls that fit several filters at once, newest first.
//!
//! Each filter has an index in which the numbers of the calls with one value stand in their order.
//! Those indexes are read side by side, each from where the others are: what is rare in one of them
//! saves the others, and only rows that fit are read from the table (and, of a model that answered
//! for another, those with its name). What takes long all the same are two filters with many calls
//! each and few in both: their walk stops after a while, and the next page goes on from there.

use std::time::Instant;

use gateway::keys::{KeyId, TenantId};
use gateway::store::CallFilter;
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, params};

use super::{numbers, statuses};

/// Numbers that are read at once, at least and at most.
const FEW: usize = 32;
const MANY: usize = 1024;
/// Calls that do not fit between two looks at the clock.
const LOOKS: u32 = 64;

const KEY: &str = "SELECT n FROM call WHERE key_id = ?1 AND n >= ?2 AND n <= ?3 \
    ORDER BY n DESC LIMIT ?4";
const TENANT: &str = "SELECT n FROM call WHERE tenant = ?1 AND n >= ?2 AND n <= ?3 \
    ORDER BY n DESC LIMIT ?4";
const ASKED: &str = "SELECT n FROM call WHERE model = ?1 AND n >= ?2 AND n <= ?3 \
    ORDER BY n DESC LIMIT ?4";
const SERVED: &str = "SELECT n FROM call WHERE model_served = ?1 AND model_served <> model \
    AND n >= ?2 AND n <= ?3 ORDER BY n DESC LIMIT ?4";
const STATUS: &str = "SELECT n FROM call WHERE status = ?1 AND n >= ?2 AND n <= ?3 \
    ORDER BY n DESC LIMIT ?4";

/// One value of one index.
struct Along<'a> {
    statement: CachedStatement<'a>,
    value: Value,
    /// The lowest number that is wanted.
    from: i64,
    /// What was read and is not passed yet, oldest first: it is taken from the end.
    ahead: Vec<i64>,
    /// How many are read at once.
    step: usize,
    /// How often what was read at once had what was looked for.
    hits: u32,
    /// Whether there is nothing behind what was read.
    ended: bool,
}

impl Along<'_> {
    /// The highest number up to `to`, which must not grow from one call to the next.
    fn up_to(&mut self, to: i64) -> rusqlite::Result<Option<i64>> {
        if self.ahead.last().is_some_and(|n| *n > to) {
            let rest = self.ahead.partition_point(|n| *n <= to);
            self.ahead.truncate(rest);
        }
        if self.ahead.is_empty() && !self.ended {
            self.read(to)?;
        }
        self.hits += 1;
        Ok(self.ahead.last().copied())
    }

    fn read(&mut self, to: i64) -> rusqlite::Result<()> {
        // Where others jump over what was read, little is read at once.
        self.step = if self.hits > 1 { MANY.min(self.step * 2) } else { FEW };
        self.hits = 0;
        let most = i64::try_from(self.step).unwrap_or(i64::MAX);
        let mut rows = self.statement.query(params![self.value, self.from, to, most])?;
        while let Some(row) = rows.next()? {
            self.ahead.push(row.get(0)?);
        }
        self.ended = self.ahead.len() < self.step;
        self.ahead.reverse();
        Ok(())
    }
}

/// The values of one filter, each with its index: whichever fits.
struct Any<'a>(Vec<Along<'a>>);

impl Any<'_> {
    fn up_to(&mut self, to: i64) -> rusqlite::Result<Option<i64>> {
        let mut highest = None;
        for along in &mut self.0 {
            highest = highest.max(along.up_to(to)?);
        }
        Ok(highest)
    }
}

/// What a walk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A call that fits.
    Fits(i64),
    /// It took too long: there are no more down to this call, and maybe some behind it.
    Late(i64),
    /// There are no more.
    End,
}

/// The numbers of calls that fit a filter.
pub(super) struct Walk<'a> {
    filters: Vec<Any<'a>>,
    /// The highest number that may come next.
    to: i64,
    until: Instant,
    looks: u32,
}

impl<'a> Walk<'a> {
    /// Begins before the call `after`. `None` where no index is of use: without a filter by key,
    /// tenant, model or status.
    pub(super) fn new(
        connection: &'a Connection,
        filter: &CallFilter,
        after: Option<i64>,
        until: Instant,
    ) -> rusqlite::Result<Option<Self>> {
        let (from, end) = filter.received.as_ref().map_or((i64::MIN, i64::MAX), numbers);
        let along = |sql: &str, value: Value| -> rusqlite::Result<Along<'a>> {
            let statement = connection.prepare_cached(sql)?;
            let ahead = Vec::new();
            Ok(Along { statement, value, from, ahead, step: FEW, hits: 0, ended: false })
        };
        let mut filters = Vec::new();
        if let Some(key) = filter.key.as_ref().map(KeyId::as_str) {
            filters.push(Any(vec![along(KEY, key.to_owned().into())?]));
        }
        if let Some(range) = &filter.status {
            let statuses = statuses(connection, range)?;
            let along = statuses.into_iter().map(|status| along(STATUS, status.into()));
            filters.push(Any(along.collect::<Result<_, _>>()?));
        }
        if let Some(model) = &filter.model {
            let sides = [ASKED, SERVED].map(|side| along(side, model.clone().into()));
            filters.push(Any(sides.into_iter().collect::<Result<_, _>>()?));
        }
        if let Some(tenant) = filter.tenant.as_ref().map(TenantId::as_str) {
            filters.push(Any(vec![along(TENANT, tenant.to_owned().into())?]));
        }
        let to = after.map_or(end, |after| end.min(after)).saturating_sub(1);
        Ok((!filters.is_empty()).then_some(Self { filters, to, until, looks: 0 }))
    }

    /// The next one.
    pub(super) fn next(&mut self) -> rusqlite::Result<Next> {
        loop {
            let (mut first, mut lowest) = (None, self.to);
            for filter in &mut self.filters {
                let Some(n) = filter.up_to(lowest)? else { return Ok(Next::End) };
                lowest = n;
                first.get_or_insert(n);
            }
            let first = first.unwrap_or(lowest);
            if first == lowest {
                self.to = lowest.saturating_sub(1);
                return Ok(Next::Fits(lowest));
            }
            // What is above the lowest of them is not in all.
            self.to = lowest;
            self.looks += 1;
            if self.looks.is_multiple_of(LOOKS) && Instant::now() >= self.until {
                return Ok(Next::Late(first));
            }
        }
    }
}
