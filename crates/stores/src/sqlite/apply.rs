//! One batch of writes, inside one transaction.
//!
//! Everything here is safe to do again: a batch that failed was rolled back as a whole, and what
//! must not be lost comes once more.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use gateway::keys::KeyId;
use gateway::store::{Change, RefusalCount, StoreError};
use rusqlite::{
    CachedStatement, Connection, Error, OptionalExtension as _, Row, ToSql, ffi, params,
};

use super::body::{PackedView, slot};
use super::connect::is_environment;
use super::journal::{self, Fresh, Kind, Sealer, Tip};
use super::record::{DebitView, Rx, Stored, Tx, bounded};
use super::write::{Altered, Closing, Opening, Record, Settling};

/// A minute in milliseconds.
const MINUTE: i64 = 60_000;
/// The status of an answered call.
const ANSWERED: i64 = 200;

const OPEN: &str = "INSERT OR IGNORE INTO call (n, id, received, key_id, tenant, sandbox, address, \
    agent, dialect, endpoint, model, stream, messages, bytes_in, estimate, scopes, admitted, \
    reserved_requests, reserved_tokens, reserved_cost, seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
    ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";

/// Both halves at once.
const WHOLE: &str = "INSERT OR IGNORE INTO call (n, id, received, key_id, tenant, sandbox, \
    address, agent, dialect, endpoint, model, stream, messages, bytes_in, estimate, scopes, \
    admitted, reserved_requests, reserved_tokens, reserved_cost, seq, ended, first_byte, \
    model_served, upstream, replay_of, status, stop_reason, input_tokens, output_tokens, \
    cached_tokens, estimated, overrun, losses, bytes_out, failure, message, settled, spent_scopes, \
    spent_admitted, spent_requests, spent_tokens, spent_cost) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
    ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, \
    ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38, nullif(?39, ?16), \
    nullif(?40, ?17), ?41, ?42, ?43)";

const CLOSE: &str = "UPDATE call SET ended = ?2, first_byte = ?3, model_served = ?4, \
    upstream = ?5, replay_of = ?6, status = ?7, stop_reason = ?8, input_tokens = ?9, \
    output_tokens = ?10, cached_tokens = ?11, estimated = ?12, overrun = ?13, losses = ?14, \
    bytes_out = ?15, failure = ?16, message = ?17, settled = ?18, \
    spent_scopes = nullif(?19, scopes), spent_admitted = nullif(?20, admitted), \
    spent_requests = ?21, spent_tokens = ?22, spent_cost = ?23 \
    WHERE id = ?1 AND ended IS NULL RETURNING n";

const SETTLE: &str = "UPDATE call SET settled = 2, spent_scopes = nullif(?2, scopes), \
    spent_admitted = nullif(?3, admitted), spent_requests = ?4, spent_tokens = ?5, \
    spent_cost = ?6 WHERE id = ?1 AND settled = 0 AND ended IS NOT NULL";

const DEBIT: &str = "INSERT INTO ledger VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (minute, scope) DO UPDATE SET \
    requests = min(requests + excluded.requests, 9007199254740992), \
    tokens = min(tokens + excluded.tokens, 9007199254740992), \
    cost = min(cost + excluded.cost, 9007199254740992)";

const DEBIT_TOTAL: &str = "INSERT INTO ledger_total VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (scope) DO UPDATE SET \
    requests = min(requests + excluded.requests, 9007199254740992), \
    tokens = min(tokens + excluded.tokens, 9007199254740992), \
    cost = min(cost + excluded.cost, 9007199254740992)";

const COUNT: &str = "INSERT INTO refusal_count VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (minute, reason, network, key_id) DO UPDATE SET \
    count = min(count + excluded.count, 9007199254740992)";

const BODY: &str = "INSERT INTO body (slot, codec, size, bytes) VALUES (?1, ?2, ?3, ?4)";

const BODIES: &str = "INSERT INTO body VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const APPLIED: &str = "UPDATE redo SET applied = ?1";

/// The number of a call, by the time when it came in and its entry in the journal.
pub(super) fn number(received: i64, seq: i64) -> i64 {
    first_number(received) | (seq & ((1 << 20) - 1))
}

/// The first number of calls that came in at a time. Times beyond the year 2109 are one.
pub(super) fn first_number(received: i64) -> i64 {
    received.clamp(0, (1 << 42) - 1) << 20
}

/// Statements that run for each call, held for a batch: to look one up costs as much as to bind
/// its values.
#[derive(Default)]
struct Statements<'a> {
    whole: Held<'a>,
    open: Held<'a>,
    close: Held<'a>,
    body: Held<'a>,
    bodies: Held<'a>,
    journal: Held<'a>,
}

/// One of them, once it was used.
type Held<'a> = Option<CachedStatement<'a>>;

fn ready<'s, 'a>(
    held: &'s mut Held<'a>,
    connection: &'a Connection,
    sql: &str,
) -> rusqlite::Result<&'s mut CachedStatement<'a>> {
    Ok(match held {
        Some(statement) => statement,
        none => none.insert(connection.prepare_cached(sql)?),
    })
}

/// Debits of one minute, by scope.
type Debits = HashMap<Box<str>, Stored, RandomState>;

/// A batch that is being written.
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    statements: Statements<'a>,
    sealer: &'a Sealer,
    tip: Tip,
    now: i64,
    /// By minute and scope.
    debits: HashMap<i64, Debits, RandomState>,
    /// Calls that are whole in the table already, while their ends are still to come.
    whole: HashSet<[u8; 16], RandomState>,
    /// Bytes that it wrote, roughly.
    bytes: usize,
    /// Calls that it closed.
    closed: usize,
    /// What found nothing to be written to.
    lost: Vec<String>,
}

/// Gives a statement the TX half of a call, behind the values that it has.
fn bind_end(
    tx: &Tx<'_>,
    behind: usize,
    mut bind: impl FnMut(usize, &dyn ToSql) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let settled = i64::from(tx.spent.is_some());
    let amounts = tx.spent.map(|spent| spent.amounts);
    let end: [&dyn ToSql; 22] = [
        &tx.ended,
        &tx.first_byte,
        &tx.model_served,
        &tx.upstream,
        &tx.replay_of,
        &tx.status,
        &tx.stop_reason,
        &tx.input_tokens,
        &tx.output_tokens,
        &tx.cached_tokens,
        &tx.estimated,
        &tx.overrun,
        &tx.losses,
        &tx.bytes_out,
        &tx.failure,
        &tx.message,
        &settled,
        &tx.spent.map(|spent| spent.scopes),
        &tx.spent.map(|spent| spent.admitted),
        &amounts.map(|amounts| amounts.requests),
        &amounts.map(|amounts| amounts.tokens),
        &amounts.map(|amounts| amounts.cost),
    ];
    (behind + 1..).zip(end).try_for_each(|(at, value)| bind(at, value))
}

/// The ledger has the same for every record, scopes and amounts within bounds. So if it refuses one,
/// that is a fault of the database and not of the record, which waits like everything else until the
/// fault is gone: without its debit, what was spent would be forgotten.
fn refused_by_ledger(error: Error) -> Error {
    if is_environment(&error) {
        return error;
    }
    let why = format!("its ledger refuses what calls have spent: {error}");
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_PERM), Some(why))
}

/// The error of a row that is not there although nothing of it was: a trigger or an index of
/// somebody's own has kept it out without a word.
fn passed_over() -> Error {
    let why = "the row was passed over without an error".to_owned();
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CONSTRAINT), Some(why))
}

/// How far the row of a call is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Open,
    Closed,
    Settled,
}

/// Why something was not written, behind its name.
const WITHOUT_RX: &str = ", since its RX half was not";
const WITHOUT_TX: &str = ", since its TX half was not";
const PASSED_OVER: &str = ": the row was passed over without an error";

/// What a batch came to.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// Where the journal ends now.
    pub(super) tip: Tip,
    /// Bytes that were written, roughly.
    pub(super) bytes: usize,
    /// Calls that were closed.
    pub(super) closed: usize,
    /// What found nothing to be written to.
    lost: Vec<String>,
}

impl Done {
    /// Tells of what was lost, once it is certain: after the commit.
    pub(super) fn tell(&self) {
        for lost in &self.lost {
            tracing::error!("{lost}");
        }
    }
}

impl<'a> Batch<'a> {
    /// Begins a batch; the transaction is the caller's.
    pub(super) fn new(connection: &'a Connection, sealer: &'a Sealer, tip: Tip, now: i64) -> Self {
        let (debits, whole, lost) = Default::default();
        let statements = Statements::default();
        Self { connection, statements, sealer, tip, now, debits, whole, bytes: 0, closed: 0, lost }
    }

    /// Writes what is gathered.
    pub(super) fn finish(self) -> rusqlite::Result<Done> {
        self.write_debits().map_err(refused_by_ledger)?;
        Ok(Done { tip: self.tip, bytes: self.bytes, closed: self.closed, lost: self.lost })
    }

    fn write_debits(&self) -> rusqlite::Result<()> {
        let mut totals: HashMap<&str, Stored> = HashMap::new();
        for (minute, debits) in &self.debits {
            for (scope, debit) in debits {
                let Stored { requests, tokens, cost } = debit;
                self.connection
                    .prepare_cached(DEBIT)?
                    .execute(params![minute, scope, requests, tokens, cost])?;
                totals.entry(scope).or_default().add(*debit);
            }
        }
        for (scope, Stored { requests, tokens, cost }) in totals {
            self.connection
                .prepare_cached(DEBIT_TOTAL)?
                .execute(params![scope, requests, tokens, cost])?;
        }
        Ok(())
    }

    /// When it is written.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// Adds a row to the journal.
    pub(super) fn seal(&mut self, row: Fresh<'_>) -> rusqlite::Result<i64> {
        self.closed += usize::from(row.kind.is_end());
        let insert = ready(&mut self.statements.journal, self.connection, journal::INSERT)?;
        self.tip.append(insert, self.sealer, row)
    }

    /// Writes what there is of a call. `end` is the end of the same call, if that comes in this
    /// batch: a row is written once then, not twice.
    pub(super) fn record(
        &mut self,
        record: &Record<'_>,
        end: Option<&Closing<'_>>,
    ) -> rusqlite::Result<Result<(), StoreError>> {
        match record {
            Record::Open(opening) => self.open(opening, end),
            Record::Close(closing) => self.close(closing).map(Ok),
            Record::Settle(settling) => self.settle(settling).map(Ok),
            Record::Refuse(opening, closing) => {
                let opened = self.open(opening, Some(closing))?;
                if opened.is_ok() {
                    self.close(closing)?;
                }
                Ok(opened)
            }
        }
    }

    /// Notes up to where the redo log is written.
    pub(super) fn applied(&self, lsn: i64) -> rusqlite::Result<()> {
        self.connection.prepare_cached(APPLIED)?.execute([lsn]).map(drop)
    }

    /// Writes the RX half of a call.
    fn open(
        &mut self,
        open: &Opening<'_>,
        end: Option<&Closing<'_>>,
    ) -> rusqlite::Result<Result<(), StoreError>> {
        let (rx, tx) = (&open.rx, end.map(|end| &end.tx));
        let mut call = number(rx.received, self.tip.seq + 1);
        while !self.open_row(call, rx, tx)? {
            if self.stage(rx.id)?.is_some() {
                return Ok(Err(StoreError::Conflict));
            }
            // Only the number was taken, by a call of the same millisecond long ago.
            if !self.is_taken(call)? {
                return Err(passed_over());
            }
            call += 1;
        }
        let row =
            |kind, digest| Fresh { kind, at: rx.received, call: Some(rx.id), note: None, digest };
        if let Some(end) = end {
            self.bodies(call, open.body, end.body)?;
            self.seal(row(Kind::Whole, [open.digest, end.digest].as_flattened()))?;
            self.debit(end.tx.spent);
            self.whole.insert(*rx.id);
        } else {
            self.body(call, 0, open.body)?;
            self.seal(row(Kind::Opened, &open.digest))?;
        }
        Ok(Ok(()))
    }

    /// Notes, for the log of the operator, that a record was not written, and why: the database has
    /// refused what it belongs to, or itself.
    fn lose(&mut self, record: &Record<'_>, why: &str) {
        let (name, forgotten) = (record.name(), record.forgotten());
        self.lost.push(format!("{name} was not written{why}{forgotten}"));
    }

    /// How far the row of a call is, if it is there.
    fn stage(&self, id: &[u8; 16]) -> rusqlite::Result<Option<Stage>> {
        let sql = "SELECT ended IS NOT NULL, settled <> 0 FROM call WHERE id = ?1";
        let read = |row: &Row<'_>| {
            Ok(match (row.get(0)?, row.get(1)?) {
                (false, _) => Stage::Open,
                (true, false) => Stage::Closed,
                (true, true) => Stage::Settled,
            })
        };
        self.connection.prepare_cached(sql)?.query_row([id], read).optional()
    }

    fn is_taken(&self, call: i64) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM call WHERE n = ?1)";
        self.connection.prepare_cached(sql)?.query_row([call], |row| row.get(0))
    }

    /// Writes the RX half, and the TX half if it is there, without bodies and journal; says whether
    /// there was room for it.
    fn open_row(&mut self, call: i64, rx: &Rx<'_>, tx: Option<&Tx<'_>>) -> rusqlite::Result<bool> {
        let seq = self.tip.seq + 1;
        let Statements { whole, open, .. } = &mut self.statements;
        let (held, sql) = if tx.is_some() { (whole, WHOLE) } else { (open, OPEN) };
        let statement = ready(held, self.connection, sql)?;
        let open: [&dyn ToSql; 21] = [
            &call,
            rx.id,
            &rx.received,
            &rx.key,
            &rx.tenant,
            &rx.sandbox,
            &rx.address,
            &rx.agent,
            &rx.dialect,
            &rx.endpoint,
            &rx.model,
            &rx.stream,
            &rx.messages,
            &rx.bytes_in,
            &rx.estimate,
            &rx.reserved.scopes,
            &rx.reserved.admitted,
            &rx.reserved.amounts.requests,
            &rx.reserved.amounts.tokens,
            &rx.reserved.amounts.cost,
            &seq,
        ];
        for (at, value) in (1..).zip(open) {
            statement.raw_bind_parameter(at, value)?;
        }
        if let Some(tx) = tx {
            let bind = |at, value: &dyn ToSql| statement.raw_bind_parameter(at, value);
            bind_end(tx, 21, bind)?;
        }
        Ok(statement.raw_execute()? > 0)
    }

    /// Takes the end of a call, where it is written already, with its beginning; says whether it is.
    pub(super) fn take_written_end(&mut self, id: &[u8; 16]) -> bool {
        self.whole.remove(id)
    }

    /// Writes the TX half of a call.
    fn close(&mut self, close: &Closing<'_>) -> rusqlite::Result<()> {
        let tx = &close.tx;
        if self.take_written_end(tx.id) {
            return Ok(());
        }
        let Some(call) = self.close_row(tx)? else {
            let spent = tx.spent.map(|spent| spent.amounts);
            return match self.stage(tx.id)? {
                Some(Stage::Open) => Err(passed_over()),
                // It has happened before.
                Some(Stage::Closed | Stage::Settled) => Ok(()),
                // A call that came to nothing may have no RX half: its caller was told so.
                None if tx.status != ANSWERED && spent == Some(Stored::default()) => Ok(()),
                None => {
                    self.lose(&Record::Close(*close), WITHOUT_RX);
                    Ok(())
                }
            };
        };
        self.body(call, 1, close.body)?;
        self.seal(Fresh {
            kind: Kind::Closed,
            at: tx.ended,
            call: Some(tx.id),
            note: None,
            digest: &close.digest,
        })?;
        self.debit(tx.spent);
        Ok(())
    }

    /// Writes the TX half without its body, journal and debit. `None` where there is nothing to
    /// close.
    fn close_row(&mut self, tx: &Tx<'_>) -> rusqlite::Result<Option<i64>> {
        let statement = ready(&mut self.statements.close, self.connection, CLOSE)?;
        statement.raw_bind_parameter(1, tx.id)?;
        bind_end(tx, 1, |at, value| statement.raw_bind_parameter(at, value))?;
        let mut rows = statement.raw_query();
        rows.next()?.map(|row| row.get(0)).transpose()
    }

    /// Closes a call that a crash left open.
    pub(super) fn interrupt(&mut self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        let digest = tx.digest(None);
        if self.close_row(tx)?.is_none() {
            self.lose(&Record::Close(Closing { tx: *tx, body: None, digest }), PASSED_OVER);
            return Ok(());
        }
        self.seal(Fresh {
            kind: Kind::Closed,
            at: tx.ended,
            call: Some(tx.id),
            note: None,
            digest: &digest,
        })?;
        self.debit(tx.spent);
        Ok(())
    }

    /// Settles a call that is closed.
    pub(super) fn settle(&mut self, settle: &Settling<'_>) -> rusqlite::Result<()> {
        let Settling { id, spent: debit, digest } = settle;
        if self.whole.contains(*id) {
            // Its end is still to come, whatever the row says already.
            return Ok(());
        }
        let changed = self.connection.prepare_cached(SETTLE)?.execute(params![
            id,
            debit.scopes,
            debit.admitted,
            debit.amounts.requests,
            debit.amounts.tokens,
            debit.amounts.cost,
        ])?;
        if changed == 0 {
            let why = match self.stage(id)? {
                // It has happened before.
                Some(Stage::Settled) => return Ok(()),
                Some(Stage::Closed) => PASSED_OVER,
                Some(Stage::Open) => WITHOUT_TX,
                None => WITHOUT_RX,
            };
            self.lose(&Record::Settle(*settle), why);
            return Ok(());
        }
        let row = Fresh { kind: Kind::Settled, at: self.now, call: Some(id), note: None, digest };
        self.seal(row)?;
        self.debit(Some(*debit));
        Ok(())
    }

    fn debit(&mut self, spent: Option<DebitView<'_>>) {
        let Some(spent) = spent else { return };
        let debits = self.debits.entry(spent.admitted.div_euclid(MINUTE)).or_default();
        for scope in spent.scopes.split_whitespace() {
            match debits.get_mut(scope) {
                Some(sum) => sum.add(spent.amounts),
                None => drop(debits.insert(scope.into(), spent.amounts)),
            }
        }
    }

    /// Writes both bodies, in one row where both are there.
    fn bodies(
        &mut self,
        call: i64,
        request: Option<PackedView<'_>>,
        reply: Option<PackedView<'_>>,
    ) -> rusqlite::Result<()> {
        let (Some(first), Some(second)) = (request, reply) else {
            self.body(call, 0, request)?;
            return self.body(call, 1, reply);
        };
        self.bytes += 2000 + first.bytes.len() + second.bytes.len();
        let slot = slot(call, 0);
        ready(&mut self.statements.bodies, self.connection, BODIES)?.execute(params![
            slot,
            first.codec,
            first.size,
            first.bytes,
            second.codec,
            second.size,
            second.bytes,
        ])?;
        Ok(())
    }

    fn body(&mut self, call: i64, side: i64, body: Option<PackedView<'_>>) -> rusqlite::Result<()> {
        self.bytes += 1000;
        let Some(body) = body else { return Ok(()) };
        self.bytes += body.bytes.len();
        ready(&mut self.statements.body, self.connection, BODY)?.execute(params![
            slot(call, side),
            body.codec,
            body.size,
            body.bytes
        ])?;
        Ok(())
    }

    /// Writes counts of refusals.
    pub(super) fn count(&mut self, counts: &[RefusalCount]) -> rusqlite::Result<()> {
        for count in counts {
            let minute = count.minute.div_euclid(MINUTE) * MINUTE;
            let network = count.network.to_string();
            let key = count.key.as_ref().map_or("", KeyId::as_str);
            let number = bounded(count.count);
            self.connection.prepare_cached(COUNT)?.execute(params![
                minute,
                count.reason,
                network,
                key,
                number
            ])?;
        }
        self.bytes += counts.len() * 100;
        Ok(())
    }

    /// Writes a change of keys or tenants.
    pub(super) fn change(&mut self, altered: &Altered) -> rusqlite::Result<Result<(), StoreError>> {
        let run = |sql: &str, id: &str| -> rusqlite::Result<usize> {
            let mut statement = self.connection.prepare_cached(sql)?;
            match &altered.now {
                Some(now) => statement.execute(params![id, now]),
                None => statement.execute([id]),
            }
        };
        let new_key = "INSERT OR IGNORE INTO vkey (id, json) VALUES (?1, ?2)";
        let new_tenant = "INSERT OR IGNORE INTO tenant (id, json) VALUES (?1, ?2)";
        let (changed, otherwise) = match &altered.change {
            Change::KeyCreated(key) => (run(new_key, key.id.as_str())?, StoreError::Conflict),
            Change::TenantCreated(tenant) => {
                (run(new_tenant, tenant.id.as_str())?, StoreError::Conflict)
            }
            Change::KeyChanged(key) => {
                let sql = "UPDATE vkey SET json = ?2 WHERE id = ?1";
                (run(sql, key.id.as_str())?, StoreError::Missing)
            }
            Change::TenantChanged(tenant) => {
                let sql = "UPDATE tenant SET json = ?2 WHERE id = ?1";
                (run(sql, tenant.id.as_str())?, StoreError::Missing)
            }
            Change::KeyDeleted(id) => {
                (run("DELETE FROM vkey WHERE id = ?1", id.as_str())?, StoreError::Missing)
            }
            Change::TenantDeleted(id) => {
                (run("DELETE FROM tenant WHERE id = ?1", id.as_str())?, StoreError::Missing)
            }
        };
        if changed == 0 {
            return Ok(Err(otherwise));
        }
        self.bytes += altered.note.len() * 2;
        self.seal(Fresh {
            kind: Kind::Change,
            at: self.now,
            call: None,
            note: Some(&altered.note),
            digest: &altered.digest,
        })?;
        Ok(Ok(()))
    }
}
