//! The halves of a call, as they are written and as they are checked.
//!
//! A half is seen the same way whether it comes from the gateway or out of the table, so that its
//! digest can be made from both.

use gateway::amounts::Amounts;
use gateway::keys::{KeyId, ScopeId, TenantId};
use gateway::store::{Closed, Opened, Spending};

use super::canon::{Canon, Sum};

/// The most that one call can be debited with, and one minute or total can hold: what a double
/// holds exactly, far from where sums overflow.
pub(super) const MOST: i64 = 1 << 53;

/// Bytes of a scope in a text, mostly.
const SCOPE: usize = 32;

/// Amounts as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) requests: i64,
    pub(super) tokens: i64,
    pub(super) cost: i64,
}

impl From<Amounts> for Stored {
    fn from(amounts: Amounts) -> Self {
        Self {
            requests: bounded(amounts.requests),
            tokens: bounded(amounts.tokens),
            cost: bounded(amounts.cost),
        }
    }
}

impl From<Stored> for Amounts {
    fn from(stored: Stored) -> Self {
        Self {
            requests: natural(stored.requests),
            tokens: natural(stored.tokens),
            cost: natural(stored.cost),
        }
    }
}

impl Stored {
    /// Adds, up to the most there can be.
    pub(super) fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests).min(MOST);
        self.tokens = self.tokens.saturating_add(more.tokens).min(MOST);
        self.cost = self.cost.saturating_add(more.cost).min(MOST);
    }
}

/// A count as SQLite keeps it.
pub(super) fn bounded(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(MOST).min(MOST)
}

/// A count as it came out of the database.
pub(super) fn natural(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Scopes in one text, in their order.
pub(super) fn write_scopes(scopes: &[ScopeId]) -> String {
    let mut text = String::with_capacity(scopes.len() * SCOPE);
    for scope in scopes {
        if !text.is_empty() {
            text.push(' ');
        }
        scope.as_pieces().iter().for_each(|piece| text.push_str(piece));
    }
    text
}

/// What is debited, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Debit {
    /// The scopes in one text.
    pub(super) scopes: String,
    /// When the call was admitted.
    pub(super) admitted: i64,
    /// How much.
    pub(super) amounts: Stored,
}

impl Debit {
    /// A spending as it is stored.
    pub(super) fn new(spending: &Spending) -> Self {
        Self {
            scopes: write_scopes(&spending.scopes),
            admitted: spending.admitted,
            amounts: spending.amounts.into(),
        }
    }

    /// The same, borrowed.
    pub(super) fn view(&self) -> DebitView<'_> {
        DebitView { scopes: &self.scopes, admitted: self.admitted, amounts: self.amounts }
    }
}

/// What is debited, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DebitView<'a> {
    /// The scopes in one text.
    pub(super) scopes: &'a str,
    /// When the call was admitted.
    pub(super) admitted: i64,
    /// How much.
    pub(super) amounts: Stored,
}

impl DebitView<'_> {
    /// Takes it up into a record.
    fn canon(&self, canon: Canon) -> Canon {
        canon
            .text(self.scopes)
            .number(self.admitted)
            .number(self.amounts.requests)
            .number(self.amounts.tokens)
            .number(self.amounts.cost)
    }

    /// The digest of a settlement.
    pub(super) fn settled(&self, id: &[u8; 16]) -> Sum {
        self.canon(Canon::new("settled").bytes(id)).finish()
    }
}

/// The RX half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rx<'a> {
    pub(super) id: &'a [u8; 16],
    pub(super) received: i64,
    pub(super) key: Option<&'a str>,
    pub(super) tenant: Option<&'a str>,
    pub(super) sandbox: bool,
    pub(super) address: &'a str,
    pub(super) agent: Option<&'a str>,
    pub(super) dialect: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) model: &'a str,
    pub(super) stream: bool,
    pub(super) messages: i64,
    pub(super) bytes_in: i64,
    pub(super) estimate: i64,
    pub(super) reserved: DebitView<'a>,
}

impl<'a> Rx<'a> {
    /// The half as the gateway tells it.
    pub(super) fn new(
        opened: &'a Opened,
        id: &'a [u8; 16],
        address: &'a str,
        reserved: &'a Debit,
    ) -> Self {
        Self {
            id,
            received: opened.received,
            key: opened.key.as_ref().map(KeyId::as_str),
            tenant: opened.tenant.as_ref().map(TenantId::as_str),
            sandbox: opened.sandbox,
            address,
            agent: opened.agent.as_deref(),
            dialect: opened.dialect.as_str(),
            endpoint: opened.endpoint.as_str(),
            model: &opened.model,
            stream: opened.stream,
            messages: opened.messages.into(),
            bytes_in: bounded(opened.bytes_in),
            estimate: bounded(opened.input_tokens),
            reserved: reserved.view(),
        }
    }

    /// The digest, with that of its body.
    pub(super) fn digest(&self, body: Option<&Sum>) -> Sum {
        let canon = Canon::new("rx")
            .bytes(self.id)
            .number(self.received)
            .maybe_text(self.key)
            .maybe_text(self.tenant)
            .number(self.sandbox.into())
            .text(self.address)
            .maybe_text(self.agent)
            .text(self.dialect)
            .text(self.endpoint)
            .text(self.model)
            .number(self.stream.into())
            .number(self.messages)
            .number(self.bytes_in)
            .number(self.estimate);
        self.reserved.canon(canon).maybe_bytes(body.map(<[u8; 32]>::as_slice)).finish()
    }
}

/// The TX half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tx<'a> {
    pub(super) id: &'a [u8; 16],
    pub(super) first_byte: Option<i64>,
    pub(super) ended: i64,
    pub(super) model_served: Option<&'a str>,
    pub(super) upstream: Option<&'a str>,
    pub(super) replay_of: Option<&'a [u8; 16]>,
    pub(super) status: i64,
    pub(super) stop_reason: Option<&'a str>,
    pub(super) input_tokens: i64,
    pub(super) output_tokens: i64,
    pub(super) cached_tokens: i64,
    pub(super) estimated: bool,
    pub(super) overrun: bool,
    pub(super) losses: &'a str,
    pub(super) bytes_out: i64,
    pub(super) failure: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    pub(super) spent: Option<DebitView<'a>>,
}

impl<'a> Tx<'a> {
    /// The half as the gateway tells it.
    pub(super) fn new(
        closed: &'a Closed,
        id: &'a [u8; 16],
        replay_of: Option<&'a [u8; 16]>,
        spent: Option<&'a Debit>,
    ) -> Self {
        Self {
            id,
            first_byte: closed.first_byte,
            ended: closed.ended,
            model_served: closed.model_served.as_deref(),
            upstream: closed.upstream.as_deref(),
            replay_of,
            status: closed.status.into(),
            stop_reason: closed.stop_reason,
            input_tokens: bounded(closed.input_tokens),
            output_tokens: bounded(closed.output_tokens),
            cached_tokens: bounded(closed.cached_tokens),
            estimated: closed.estimated,
            overrun: closed.overrun,
            losses: &closed.losses,
            bytes_out: bounded(closed.bytes_out),
            failure: closed.failure,
            message: closed.message.as_deref(),
            spent: spent.map(Debit::view),
        }
    }

    /// The half of a call that a crash cut off.
    pub(super) fn interrupted(id: &'a [u8; 16], now: i64, estimate: i64, spent: &'a Debit) -> Self {
        Self {
            id,
            first_byte: None,
            ended: now,
            model_served: None,
            upstream: None,
            replay_of: None,
            status: 0,
            stop_reason: None,
            input_tokens: estimate,
            output_tokens: 0,
            cached_tokens: 0,
            estimated: true,
            overrun: false,
            losses: "",
            bytes_out: 0,
            failure: Some("interrupted"),
            message: None,
            spent: Some(spent.view()),
        }
    }

    /// The digest, with that of its body.
    pub(super) fn digest(&self, body: Option<&Sum>) -> Sum {
        let canon = Canon::new("tx")
            .bytes(self.id)
            .maybe_number(self.first_byte)
            .number(self.ended)
            .maybe_text(self.model_served)
            .maybe_text(self.upstream)
            .maybe_bytes(self.replay_of.map(<[u8; 16]>::as_slice))
            .number(self.status)
            .maybe_text(self.stop_reason)
            .number(self.input_tokens)
            .number(self.output_tokens)
            .number(self.cached_tokens)
            .number(self.estimated.into())
            .number(self.overrun.into())
            .text(self.losses)
            .number(self.bytes_out)
            .maybe_text(self.failure)
            .maybe_text(self.message)
            .number(self.spent.is_some().into());
        let canon = match self.spent {
            Some(spent) => spent.canon(canon),
            None => canon,
        };
        canon.maybe_bytes(body.map(<[u8; 32]>::as_slice)).finish()
    }
}
