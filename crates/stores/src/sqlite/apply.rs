//! One batch of writes, inside one transaction.
//!
//! Everything here is safe to do again: a batch that failed was rolled back as a whole, and what
//! must not be lost comes once more.

use std::collections::HashMap;

use gateway::keys::KeyId;
use gateway::store::{Change, RefusalCount, StoreError};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::body::{Packed, slot};
use super::journal::{Fresh, Kind, Sealer, Tip};
use super::record::{Rx, Stored, Tx, bounded};
use super::write::{Altered, Close, Open, Settle, Spent};

/// A minute in milliseconds.
const MINUTE: i64 = 60_000;

const OPEN: &str = "INSERT OR IGNORE INTO call (n, id, received, key_id, tenant, sandbox, address, \
    agent, dialect, endpoint, model, stream, messages, bytes_in, estimate, scopes, admitted, \
    reserved_requests, reserved_tokens, reserved_cost, seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
    ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";

const CLOSE: &str = "UPDATE call SET ended = ?2, first_byte = ?3, model_served = ?4, \
    upstream = ?5, replay_of = ?6, status = ?7, stop_reason = ?8, input_tokens = ?9, \
    output_tokens = ?10, cached_tokens = ?11, estimated = ?12, overrun = ?13, losses = ?14, \
    bytes_out = ?15, failure = ?16, message = ?17, settled = ?18, \
    spent_scopes = nullif(?19, scopes), spent_admitted = nullif(?20, admitted), \
    spent_requests = ?21, spent_tokens = ?22, spent_cost = ?23 \
    WHERE id = ?1 AND ended IS NULL RETURNING n, sandbox";

const SETTLE: &str = "UPDATE call SET settled = 2, spent_scopes = nullif(?2, scopes), \
    spent_admitted = nullif(?3, admitted), spent_requests = ?4, spent_tokens = ?5, \
    spent_cost = ?6 WHERE id = ?1 AND settled = 0 AND ended IS NOT NULL RETURNING sandbox";

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

/// The number of a call, by the time when it came in and its row in the journal.
pub(super) fn number(received: i64, seq: i64) -> i64 {
    first_number(received) | (seq & ((1 << 20) - 1))
}

/// The first number of calls that came in at a time. Times beyond the year 2109 are one.
pub(super) fn first_number(received: i64) -> i64 {
    received.clamp(0, (1 << 42) - 1) << 20
}

/// A batch that is being written.
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    sealer: &'a Sealer,
    tip: Tip,
    now: i64,
    debits: HashMap<(String, i64), Stored>,
    /// Bytes that it wrote, roughly.
    bytes: usize,
    /// Calls that it closed.
    closed: usize,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// Where the journal ends now.
    pub(super) tip: Tip,
    /// Bytes that were written, roughly.
    pub(super) bytes: usize,
    /// Calls that were closed.
    pub(super) closed: usize,
}

impl<'a> Batch<'a> {
    /// Begins a batch; the transaction is the caller's.
    pub(super) fn new(connection: &'a Connection, sealer: &'a Sealer, tip: Tip, now: i64) -> Self {
        Self { connection, sealer, tip, now, debits: HashMap::new(), bytes: 0, closed: 0 }
    }

    /// Writes what is gathered.
    pub(super) fn finish(self) -> rusqlite::Result<Done> {
        let mut totals: HashMap<&str, Stored> = HashMap::new();
        for ((scope, minute), debit) in &self.debits {
            let Stored { requests, tokens, cost } = debit;
            self.connection
                .prepare_cached(DEBIT)?
                .execute(params![minute, scope, requests, tokens, cost])?;
            totals.entry(scope).or_default().add(*debit);
        }
        for (scope, Stored { requests, tokens, cost }) in totals {
            self.connection
                .prepare_cached(DEBIT_TOTAL)?
                .execute(params![scope, requests, tokens, cost])?;
        }
        Ok(Done { tip: self.tip, bytes: self.bytes, closed: self.closed })
    }

    /// When it is written.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// Adds a row to the journal.
    pub(super) fn seal(&mut self, row: Fresh<'_>) -> rusqlite::Result<i64> {
        self.closed += usize::from(row.kind == Kind::Closed);
        self.tip.append(self.connection, self.sealer, row)
    }

    /// Writes the RX half of a call.
    pub(super) fn open(&mut self, open: &Open) -> rusqlite::Result<Result<(), StoreError>> {
        let rx: Rx<'_> = open.rx();
        let mut call = number(rx.received, self.tip.seq + 1);
        while !self.open_row(call, &rx)? {
            let sql = "SELECT EXISTS (SELECT 1 FROM call WHERE id = ?1)";
            let there: bool =
                self.connection.prepare_cached(sql)?.query_row([rx.id], |row| row.get(0))?;
            if there {
                return Ok(Err(StoreError::Conflict));
            }
            // Only the number was taken, by a call of the same millisecond long ago.
            call += 1;
        }
        self.body(call, 0, open.body.as_ref())?;
        self.seal(Fresh {
            kind: Kind::Opened,
            at: rx.received,
            call: Some(rx.id),
            note: None,
            digest: &open.digest,
        })?;
        Ok(Ok(()))
    }

    /// Writes the RX half without its body and journal; says whether there was room for it.
    fn open_row(&self, call: i64, rx: &Rx<'_>) -> rusqlite::Result<bool> {
        let changed = self.connection.prepare_cached(OPEN)?.execute(params![
            call,
            rx.id,
            rx.received,
            rx.key,
            rx.tenant,
            rx.sandbox,
            rx.address,
            rx.agent,
            rx.dialect,
            rx.endpoint,
            rx.model,
            rx.stream,
            rx.messages,
            rx.bytes_in,
            rx.estimate,
            rx.reserved.scopes,
            rx.reserved.admitted,
            rx.reserved.amounts.requests,
            rx.reserved.amounts.tokens,
            rx.reserved.amounts.cost,
            self.tip.seq + 1,
        ])?;
        Ok(changed > 0)
    }

    /// Writes the TX half of a call.
    pub(super) fn close(&mut self, close: &Close) -> rusqlite::Result<()> {
        let tx = close.tx();
        let Some((call, sandbox)) = self.close_row(&tx)? else { return Ok(()) };
        self.body(call, 1, close.body.as_ref())?;
        self.seal(Fresh {
            kind: Kind::Closed,
            at: tx.ended,
            call: Some(tx.id),
            note: None,
            digest: &close.digest,
        })?;
        if let Some(Spent { debit, scopes }) = close.spent.as_ref().filter(|_| !sandbox) {
            self.debit(scopes.iter(), debit.admitted, debit.amounts);
        }
        Ok(())
    }

    /// Writes the TX half without its body, journal and debit. `None` where there is nothing to
    /// close.
    fn close_row(&self, tx: &Tx<'_>) -> rusqlite::Result<Option<(i64, bool)>> {
        self.connection
            .prepare_cached(CLOSE)?
            .query_row(
                params![
                    tx.id,
                    tx.ended,
                    tx.first_byte,
                    tx.model_served,
                    tx.upstream,
                    tx.replay_of,
                    tx.status,
                    tx.stop_reason,
                    tx.input_tokens,
                    tx.output_tokens,
                    tx.cached_tokens,
                    tx.estimated,
                    tx.overrun,
                    tx.losses,
                    tx.bytes_out,
                    tx.failure,
                    tx.message,
                    i64::from(tx.spent.is_some()),
                    tx.spent.map(|spent| &spent.scopes),
                    tx.spent.map(|spent| spent.admitted),
                    tx.spent.map(|spent| spent.amounts.requests),
                    tx.spent.map(|spent| spent.amounts.tokens),
                    tx.spent.map(|spent| spent.amounts.cost),
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
    }

    /// Closes a call that a crash left open.
    pub(super) fn interrupt(&mut self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        let Some((_, sandbox)) = self.close_row(tx)? else { return Ok(()) };
        let digest = tx.digest(None);
        self.seal(Fresh {
            kind: Kind::Closed,
            at: tx.ended,
            call: Some(tx.id),
            note: None,
            digest: &digest,
        })?;
        if let Some(spent) = tx.spent.filter(|_| !sandbox) {
            self.debit(spent.scopes.split_whitespace(), spent.admitted, spent.amounts);
        }
        Ok(())
    }

    /// Settles a call that is closed.
    pub(super) fn settle(&mut self, settle: &Settle) -> rusqlite::Result<()> {
        let Settle { id, spent: Spent { debit, scopes }, digest } = settle;
        let sandbox: Option<bool> = self
            .connection
            .prepare_cached(SETTLE)?
            .query_row(
                params![
                    id,
                    debit.scopes,
                    debit.admitted,
                    debit.amounts.requests,
                    debit.amounts.tokens,
                    debit.amounts.cost,
                ],
                |row| row.get(0),
            )
            .optional()?;
        let Some(sandbox) = sandbox else { return Ok(()) };
        let row = Fresh { kind: Kind::Settled, at: self.now, call: Some(id), note: None, digest };
        self.seal(row)?;
        if !sandbox {
            self.debit(scopes.iter(), debit.admitted, debit.amounts);
        }
        Ok(())
    }

    fn debit(
        &mut self,
        scopes: impl Iterator<Item = impl AsRef<str>>,
        admitted: i64,
        amounts: Stored,
    ) {
        for scope in scopes {
            let at = (scope.as_ref().to_owned(), admitted.div_euclid(MINUTE));
            self.debits.entry(at).or_default().add(amounts);
        }
    }

    fn body(&mut self, call: i64, side: i64, body: Option<&Packed>) -> rusqlite::Result<()> {
        self.bytes += 1000;
        let Some(body) = body else { return Ok(()) };
        self.bytes += body.bytes.len();
        self.connection
            .prepare_cached("INSERT INTO body VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![slot(call, side), body.codec, body.size, &*body.bytes])?;
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
