//! A row of the table of calls, read back whole.

use gateway::keys::KeyId;
use gateway::store::CallRow;
use model::CallId;
use rusqlite::Row;

use super::canon::Sum;
use super::record::{Debit, Rx, Stored, Tx, natural};

/// The columns, in the order in which [`StoredCall::read`] takes them.
pub(super) const COLUMNS: &str = "n, id, received, key_id, tenant, sandbox, address, agent, \
    dialect, endpoint, model, stream, messages, bytes_in, estimate, scopes, admitted, \
    reserved_requests, reserved_tokens, reserved_cost, settled, ended, first_byte, model_served, \
    upstream, replay_of, status, stop_reason, input_tokens, output_tokens, cached_tokens, \
    estimated, overrun, losses, bytes_out, failure, message, spent_scopes, spent_admitted, \
    spent_requests, spent_tokens, spent_cost, seq";

/// How far the settlement of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Not yet.
    No,
    /// When it was closed.
    Closing,
    /// After it was closed.
    Later,
}

/// A row.
#[derive(Clone, Debug)]
pub(super) struct StoredCall {
    pub(super) n: i64,
    pub(super) id: [u8; 16],
    pub(super) received: i64,
    /// The entry of the journal that says that it came in.
    pub(super) seq: i64,
    pub(super) settled: Settled,
    pub(super) sandbox: bool,
    pub(super) estimate: i64,
    pub(super) reserved: Debit,
    key: Option<String>,
    tenant: Option<String>,
    address: String,
    agent: Option<String>,
    dialect: String,
    endpoint: String,
    model: String,
    stream: bool,
    messages: i64,
    bytes_in: i64,
    ending: Option<Ending>,
}

#[derive(Clone, Debug)]
struct Ending {
    first_byte: Option<i64>,
    ended: i64,
    model_served: Option<String>,
    upstream: Option<String>,
    replay_of: Option<[u8; 16]>,
    status: i64,
    stop_reason: Option<String>,
    input_tokens: i64,
    output_tokens: i64,
    cached_tokens: i64,
    estimated: bool,
    overrun: bool,
    losses: String,
    bytes_out: i64,
    failure: Option<String>,
    message: Option<String>,
    spent: Option<Debit>,
}

impl StoredCall {
    /// Reads a row that was selected with [`COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let reserved = Debit {
            scopes: row.get(15)?,
            admitted: row.get(16)?,
            amounts: Stored { requests: row.get(17)?, tokens: row.get(18)?, cost: row.get(19)? },
        };
        let settled = match row.get(20)? {
            0_i64 => Settled::No,
            1 => Settled::Closing,
            _ => Settled::Later,
        };
        let ending = match row.get(21)? {
            Some(ended) => Some(Ending::read(row, ended, &reserved, settled)?),
            None => None,
        };
        Ok(Self {
            n: row.get(0)?,
            id: row.get(1)?,
            received: row.get(2)?,
            seq: row.get(42)?,
            key: row.get(3)?,
            tenant: row.get(4)?,
            sandbox: row.get(5)?,
            address: row.get(6)?,
            agent: row.get(7)?,
            dialect: row.get(8)?,
            endpoint: row.get(9)?,
            model: row.get(10)?,
            stream: row.get(11)?,
            messages: row.get(12)?,
            bytes_in: row.get(13)?,
            estimate: row.get(14)?,
            reserved,
            settled,
            ending,
        })
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.ending.is_some()
    }

    /// What was spent, where that is known.
    pub(super) fn spent(&self) -> Option<&Debit> {
        self.ending.as_ref()?.spent.as_ref()
    }

    /// Whether more was spent than reserved, where that was heard of after the end. What was known
    /// at the end is sealed with it.
    fn overran_late(&self) -> bool {
        let reserved = self.reserved.amounts;
        self.settled == Settled::Later
            && self.spent().is_some_and(|spent| {
                spent.amounts.tokens > reserved.tokens || spent.amounts.cost > reserved.cost
            })
    }

    /// The digest of the RX half.
    pub(super) fn rx_digest(&self, body: Option<&Sum>) -> Sum {
        let rx = Rx {
            id: &self.id,
            received: self.received,
            key: self.key.as_deref(),
            tenant: self.tenant.as_deref(),
            sandbox: self.sandbox,
            address: &self.address,
            agent: self.agent.as_deref(),
            dialect: &self.dialect,
            endpoint: &self.endpoint,
            model: &self.model,
            stream: self.stream,
            messages: self.messages,
            bytes_in: self.bytes_in,
            estimate: self.estimate,
            reserved: self.reserved.view(),
        };
        rx.digest(body)
    }

    /// The digest of the TX half; `None` while the call runs.
    pub(super) fn tx_digest(&self, body: Option<&Sum>) -> Option<Sum> {
        let ending = self.ending.as_ref()?;
        let tx = Tx {
            id: &self.id,
            first_byte: ending.first_byte,
            ended: ending.ended,
            model_served: ending.model_served.as_deref(),
            upstream: ending.upstream.as_deref(),
            replay_of: ending.replay_of.as_ref(),
            status: ending.status,
            stop_reason: ending.stop_reason.as_deref(),
            input_tokens: ending.input_tokens,
            output_tokens: ending.output_tokens,
            cached_tokens: ending.cached_tokens,
            estimated: ending.estimated,
            overrun: ending.overrun,
            losses: &ending.losses,
            bytes_out: ending.bytes_out,
            failure: ending.failure.as_deref(),
            message: ending.message.as_deref(),
            spent: ending
                .spent
                .as_ref()
                .filter(|_| self.settled == Settled::Closing)
                .map(Debit::view),
        };
        Some(tx.digest(body))
    }

    /// The row as the gateway sees it.
    pub(super) fn into_row(self) -> CallRow {
        let key: Option<KeyId> = self.key.as_deref().and_then(|key| key.parse().ok());
        let ending = self.ending.as_ref();
        let text = |read: fn(&Ending) -> Option<&String>| ending.and_then(read).cloned();
        CallRow {
            id: CallId::from_bytes(self.id),
            received: self.received,
            first_byte: ending.and_then(|ending| ending.first_byte),
            ended: ending.map(|ending| ending.ended),
            key,
            tenant: self.tenant.as_deref().and_then(|tenant| tenant.parse().ok()),
            sandbox: self.sandbox,
            model_served: text(|ending| ending.model_served.as_ref()),
            upstream: text(|ending| ending.upstream.as_ref()),
            replay_of: ending.and_then(|ending| ending.replay_of).map(CallId::from_bytes),
            stream: self.stream,
            messages: u32::try_from(self.messages).unwrap_or(u32::MAX),
            status: ending.and_then(|ending| u16::try_from(ending.status).ok()),
            stop_reason: text(|ending| ending.stop_reason.as_ref()),
            failure: text(|ending| ending.failure.as_ref()),
            message: text(|ending| ending.message.as_ref()),
            input_tokens: natural(ending.map_or(self.estimate, |ending| ending.input_tokens)),
            output_tokens: natural(ending.map_or(0, |ending| ending.output_tokens)),
            cached_tokens: natural(ending.map_or(0, |ending| ending.cached_tokens)),
            estimated: ending.is_none_or(|ending| ending.estimated),
            reserved: self.reserved.amounts.into(),
            spent: self.spent().map(|spent| spent.amounts.into()),
            overrun: ending.is_some_and(|ending| ending.overrun) || self.overran_late(),
            losses: text(|ending| Some(&ending.losses)).unwrap_or_default(),
            bytes_in: natural(self.bytes_in),
            bytes_out: natural(ending.map_or(0, |ending| ending.bytes_out)),
            address: self.address,
            agent: self.agent,
            dialect: self.dialect,
            endpoint: self.endpoint,
            model: self.model,
        }
    }
}

impl Ending {
    fn read(
        row: &Row<'_>,
        ended: i64,
        reserved: &Debit,
        settled: Settled,
    ) -> rusqlite::Result<Self> {
        // Scopes and time of admission are written again only where they differ from the RX half.
        let spent = match settled {
            Settled::No => None,
            Settled::Closing | Settled::Later => Some(Debit {
                scopes: row
                    .get::<_, Option<String>>(37)?
                    .unwrap_or_else(|| reserved.scopes.clone()),
                admitted: row.get::<_, Option<i64>>(38)?.unwrap_or(reserved.admitted),
                amounts: Stored {
                    requests: row.get(39)?,
                    tokens: row.get(40)?,
                    cost: row.get(41)?,
                },
            }),
        };
        Ok(Self {
            ended,
            first_byte: row.get(22)?,
            model_served: row.get(23)?,
            upstream: row.get(24)?,
            replay_of: row.get(25)?,
            status: row.get(26)?,
            stop_reason: row.get(27)?,
            input_tokens: row.get(28)?,
            output_tokens: row.get(29)?,
            cached_tokens: row.get(30)?,
            estimated: row.get(31)?,
            overrun: row.get(32)?,
            losses: row.get(33)?,
            bytes_out: row.get(34)?,
            failure: row.get(35)?,
            message: row.get(36)?,
            spent,
        })
    }
}
