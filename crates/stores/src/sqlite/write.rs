//! What the writer is asked to write, made ready where it is asked.
//!
//! Digests, packing and JSON are made by whoever asks, on as many cores as there are. The writer
//! adds only what needs the order: the seal of the journal.

use gateway::keys::ScopeId;
use gateway::store::{Actor, Change, Closed, Loaded, Opened, RefusalCount, Spending, StoreError};
use model::{CallId, FailureKind};
use tokio::sync::oneshot;

use super::body::Packed;
use super::canon::{Canon, Sum};
use super::record::{Debit, Rx, Tx};
use super::wire::{self, ChangeNote, WireError};

/// The status of an answered call.
const ANSWERED: u16 = 200;
/// The status of a call whose answer could not be recorded.
const WITHHELD: u16 = 503;

/// What a row takes besides its texts and bodies, roughly.
const ROW: usize = 400;

/// Something to write.
#[derive(Debug)]
pub(super) enum Write {
    Open(Box<Open>),
    Close(Box<Close>),
    Settle(Box<Settle>),
    Refuse(Box<(Open, Close)>),
    Counts(Vec<RefusalCount>),
    Change(Box<Altered>),
    Load(oneshot::Sender<Result<Loaded, StoreError>>),
}

/// Who waits for a write.
pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;

/// The RX half of a call.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) opened: Box<Opened>,
    pub(super) id: [u8; 16],
    pub(super) address: String,
    pub(super) reserved: Debit,
    pub(super) body: Option<Packed>,
    pub(super) digest: Sum,
}

impl Open {
    pub(super) fn new(mut opened: Box<Opened>) -> Self {
        let id = opened.id.to_bytes();
        let address = opened.address.to_string();
        let reserved = Debit::new(&opened.reserved);
        let body = opened.body.take().map(|body| Packed::new(&body));
        let digest =
            Rx::new(&opened, &id, &address, &reserved).digest(body.as_ref().map(|b| &b.sum));
        Self { opened, id, address, reserved, body, digest }
    }

    pub(super) fn rx(&self) -> Rx<'_> {
        Rx::new(&self.opened, &self.id, &self.address, &self.reserved)
    }
}

/// The TX half of a call.
#[derive(Debug)]
pub(super) struct Close {
    pub(super) closed: Box<Closed>,
    pub(super) id: [u8; 16],
    pub(super) replay_of: Option<[u8; 16]>,
    pub(super) spent: Option<Spent>,
    pub(super) body: Option<Packed>,
    pub(super) digest: Sum,
}

/// What was spent, for the row and for the ledger.
#[derive(Debug)]
pub(super) struct Spent {
    pub(super) debit: Debit,
    pub(super) scopes: Vec<String>,
}

impl Spent {
    fn new(spending: &Spending) -> Self {
        Self {
            debit: Debit::new(spending),
            scopes: spending.scopes.iter().map(ScopeId::to_string).collect(),
        }
    }
}

impl Close {
    pub(super) fn new(mut closed: Box<Closed>) -> Self {
        let id = closed.id.to_bytes();
        let replay_of = closed.replay_of.map(CallId::to_bytes);
        let spent = closed.spending.as_ref().map(Spent::new);
        let body = closed.body.take().map(|body| Packed::new(&body));
        let digest =
            Tx::new(&closed, &id, replay_of.as_ref(), spent.as_ref().map(|spent| &spent.debit))
                .digest(body.as_ref().map(|body| &body.sum));
        Self { closed, id, replay_of, spent, body, digest }
    }

    /// Notes that whoever waits for the row is told that it was not written, and so gives nobody
    /// the answer: a row that comes late must not say otherwise.
    pub(super) fn withhold(&mut self) {
        if self.closed.status != ANSWERED {
            return;
        }
        self.closed.status = WITHHELD;
        self.closed.failure = Some(FailureKind::NotReady.as_str());
        self.closed.message = Some("The answer was withheld: it could not be recorded.".into());
        self.digest = self.tx().digest(self.body.as_ref().map(|body| &body.sum));
    }

    pub(super) fn tx(&self) -> Tx<'_> {
        let spent = self.spent.as_ref().map(|spent| &spent.debit);
        Tx::new(&self.closed, &self.id, self.replay_of.as_ref(), spent)
    }
}

/// A settlement.
#[derive(Debug)]
pub(super) struct Settle {
    pub(super) id: [u8; 16],
    pub(super) spent: Spent,
    pub(super) digest: Sum,
}

impl Settle {
    pub(super) fn new(id: CallId, spending: &Spending) -> Self {
        let id = id.to_bytes();
        let spent = Spent::new(spending);
        let digest = spent.debit.settled(&id);
        Self { id, spent, digest }
    }
}

/// A change of keys or tenants.
#[derive(Debug)]
pub(super) struct Altered {
    pub(super) change: Change,
    /// The row of the table afterwards.
    pub(super) now: Option<String>,
    /// What the journal says of it.
    pub(super) note: String,
    pub(super) digest: Sum,
}

impl Altered {
    pub(super) fn new(change: Change, actor: &Actor) -> Result<Self, WireError> {
        let note: ChangeNote = wire::write_change(&change, actor)?;
        let text = serde_json::to_string(&note)?;
        let digest = note_digest(&text);
        Ok(Self { change, now: note.now, note: text, digest })
    }
}

/// The digest of a row of the journal that says everything itself.
pub(super) fn note_digest(note: &str) -> Sum {
    Canon::new("note").text(note).finish()
}

impl Write {
    /// Roughly what it holds in memory.
    pub(super) fn weight(&self) -> usize {
        let body = |body: &Option<Packed>| body.as_ref().map_or(0, |body| body.bytes.len());
        let open = |open: &Open| ROW + body(&open.body);
        let close = |close: &Close| ROW + body(&close.body);
        match self {
            Self::Open(rx) => open(rx),
            Self::Close(tx) => close(tx),
            Self::Refuse(both) => open(&both.0) + close(&both.1),
            Self::Settle(_) | Self::Change(_) | Self::Load(_) => ROW,
            Self::Counts(counts) => counts.len() * 100,
        }
    }

    /// Whether it tells of something that has already happened, and must not be lost.
    pub(super) fn must_stay(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Settle(_) | Self::Counts(_))
    }
}
