//! What the writer is asked to write, made ready where it is asked.
//!
//! Digests, packing and JSON are made by whoever asks, on as many cores as there are. The writer
//! adds only what needs the order: the seal of the journal.

use std::fmt::Write as _;

use bytes::Bytes;
use gateway::keys::{KeyId, UnixMillis};
use gateway::store::{Actor, Change, Closed, Loaded, Opened, RefusalCount, Spending, StoreError};
use model::{CallId, FailureKind};
use tokio::sync::oneshot;

use super::body::{Packed, PackedView};
use super::canon::{Canon, Sum};
use super::record::{Debit, DebitView, Rx, Stored, Tx};
use super::redo;
use super::wire::{self, ChangeNote, WireError};

/// The status of an answered call.
const ANSWERED: u16 = 200;
/// The status of a call whose answer could not be recorded.
const WITHHELD: u16 = 503;

/// What a row takes besides its texts and bodies, roughly.
const ROW: usize = 400;

/// The most characters of an address.
const ADDRESS: usize = 45;

/// Something to write.
#[derive(Debug)]
pub(super) enum Write {
    Open(Box<Open>),
    Close(Box<Close>),
    Settle(Box<Settle>),
    Refuse(Box<(Open, Close)>),
    Counts(Vec<RefusalCount>),
    Used(Vec<(KeyId, UnixMillis)>),
    Change(Box<Altered>),
    Load(oneshot::Sender<Result<Loaded, StoreError>>),
    Logged(Logged),
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
        let mut address = String::with_capacity(ADDRESS);
        // A string takes all that is written to it.
        let _ = write!(address, "{}", opened.address);
        let reserved = Debit::new(&opened.reserved);
        let body = opened.body.take().map(|body| Packed::new(&body));
        let digest =
            Rx::new(&opened, &id, &address, &reserved).digest(body.as_ref().map(|b| &b.sum));
        Self { opened, id, address, reserved, body, digest }
    }

    /// Leaves out the body: it is too large to be kept.
    fn leave_out_body(&mut self) {
        self.body = None;
        self.digest = Rx::new(&self.opened, &self.id, &self.address, &self.reserved).digest(None);
    }

    /// All that is written of it.
    pub(super) fn opening(&self) -> Opening<'_> {
        Opening {
            rx: Rx::new(&self.opened, &self.id, &self.address, &self.reserved),
            body: self.body.as_ref().map(Packed::view),
            digest: self.digest,
        }
    }
}

/// The TX half of a call.
#[derive(Debug)]
pub(super) struct Close {
    pub(super) closed: Box<Closed>,
    pub(super) id: [u8; 16],
    pub(super) replay_of: Option<[u8; 16]>,
    pub(super) spent: Option<Debit>,
    pub(super) body: Option<Packed>,
    pub(super) digest: Sum,
}

impl Close {
    pub(super) fn new(mut closed: Box<Closed>) -> Self {
        let id = closed.id.to_bytes();
        let replay_of = closed.replay_of.map(CallId::to_bytes);
        let spent = closed.spending.as_ref().map(Debit::new);
        let body = closed.body.take().map(|body| Packed::new(&body));
        let digest = Tx::new(&closed, &id, replay_of.as_ref(), spent.as_ref())
            .digest(body.as_ref().map(|body| &body.sum));
        Self { closed, id, replay_of, spent, body, digest }
    }

    /// Whether it says that the call was answered.
    pub(super) fn is_answered(&self) -> bool {
        self.closed.status == ANSWERED
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

    /// Leaves out the body: it is too large to be kept.
    fn leave_out_body(&mut self) {
        self.withhold();
        self.body = None;
        self.digest = self.tx().digest(None);
    }

    fn tx(&self) -> Tx<'_> {
        Tx::new(&self.closed, &self.id, self.replay_of.as_ref(), self.spent.as_ref())
    }

    /// All that is written of it.
    pub(super) fn closing(&self) -> Closing<'_> {
        Closing { tx: self.tx(), body: self.body.as_ref().map(Packed::view), digest: self.digest }
    }
}

/// A settlement.
#[derive(Debug)]
pub(super) struct Settle {
    pub(super) id: [u8; 16],
    pub(super) spent: Debit,
    pub(super) digest: Sum,
}

impl Settle {
    pub(super) fn new(id: CallId, spending: &Spending) -> Self {
        let id = id.to_bytes();
        let spent = Debit::new(spending);
        let digest = spent.view().settled(&id);
        Self { id, spent, digest }
    }

    /// All that is written of it.
    pub(super) fn settling(&self) -> Settling<'_> {
        Settling { id: &self.id, spent: self.spent.view(), digest: self.digest }
    }
}

/// A half or a settlement of a call, as it lies in the redo log.
///
/// What it was made of is given back where that came from, all at once: a thread that frees what
/// another has allocated holds up both.
#[derive(Debug)]
pub(super) struct Logged {
    kind: redo::Kind,
    fields: Bytes,
    digest: Sum,
}

/// All that is written of the RX half of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening<'a> {
    pub(super) rx: Rx<'a>,
    pub(super) body: Option<PackedView<'a>>,
    pub(super) digest: Sum,
}

/// All that is written of the TX half of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing<'a> {
    pub(super) tx: Tx<'a>,
    pub(super) body: Option<PackedView<'a>>,
    pub(super) digest: Sum,
}

/// All that is written of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settling<'a> {
    pub(super) id: &'a [u8; 16],
    pub(super) spent: DebitView<'a>,
    pub(super) digest: Sum,
}

/// What is written of calls, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(super) enum Record<'a> {
    Open(Opening<'a>),
    Close(Closing<'a>),
    Settle(Settling<'a>),
    Refuse(Opening<'a>, Closing<'a>),
}

impl Record<'_> {
    /// What it is, for the log of the operator.
    pub(super) fn name(&self) -> String {
        let (what, id) = match self {
            Self::Open(open) => ("the RX half of call", open.rx.id),
            Self::Close(close) => ("the TX half of call", close.tx.id),
            Self::Settle(settle) => ("the settlement of call", settle.id),
            Self::Refuse(open, _) => ("the refusal of call", open.rx.id),
        };
        format!("{what} {}", CallId::from_bytes(*id))
    }

    /// What the log of the operator says behind the reason why it was not written: what is forgotten
    /// with it. Nothing of what spends nothing.
    pub(super) fn forgotten(&self) -> String {
        let spent = match self {
            Self::Open(_) | Self::Refuse(..) => return String::new(),
            Self::Close(close) => close.tx.spent,
            Self::Settle(settle) => Some(settle.spent),
        };
        spent.map_or_else(
            || "; what it spends is not known yet".to_owned(),
            |DebitView { amounts: Stored { requests, tokens, cost }, .. }| {
                format!(
                    "; what it spent is not in the ledger ({requests} requests, {tokens} tokens, \
                     {cost} nano-dollars)"
                )
            },
        )
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
            Self::Logged(logged) => logged.fields.len(),
            Self::Counts(counts) => counts.len() * 100,
            Self::Used(used) => used.len() * 40,
        }
    }

    /// What it tells of a call, if it is about one.
    pub(super) fn record(&self) -> Option<Record<'_>> {
        match self {
            Self::Open(open) => Some(Record::Open(open.opening())),
            Self::Close(close) => Some(Record::Close(close.closing())),
            Self::Settle(settle) => Some(Record::Settle(settle.settling())),
            Self::Refuse(both) => Some(Record::Refuse(both.0.opening(), both.1.closing())),
            Self::Logged(Logged { kind, fields, digest }) => kind.read(fields, digest),
            Self::Counts(_) | Self::Used(_) | Self::Change(_) | Self::Load(_) => None,
        }
    }

    /// What it is, for the log of the operator.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Counts(_) => "a count of refusals".to_owned(),
            Self::Used(_) => "when keys were used".to_owned(),
            Self::Change(_) => "a change of keys or tenants".to_owned(),
            Self::Load(_) => "the end of calls that were cut off".to_owned(),
            of_a_call => of_a_call.record().map_or_else(|| "a record".to_owned(), |it| it.name()),
        }
    }

    /// As [`Record::forgotten`].
    pub(super) fn forgotten(&self) -> String {
        self.record().map(|record| record.forgotten()).unwrap_or_default()
    }

    /// Leaves out the bodies of what ends a call: there will never be room for them. Says whether that
    /// could be done; an answer whose body is left out is withheld.
    pub(super) fn leave_out_bodies(&mut self) -> bool {
        match self {
            Self::Close(close) => close.leave_out_body(),
            Self::Refuse(both) => {
                both.0.leave_out_body();
                both.1.leave_out_body();
            }
            _ => return false,
        }
        true
    }

    /// Keeps no more than what lies in the redo log. A refusal has two digests and stays what it is.
    pub(super) fn logged(&mut self, fields: Bytes) {
        let (kind, digest) = match self {
            Self::Open(open) => (redo::Kind::Open, open.digest),
            Self::Close(close) => (redo::Kind::Close, close.digest),
            Self::Settle(settle) => (redo::Kind::Settle, settle.digest),
            _ => return,
        };
        *self = Self::Logged(Logged { kind, fields, digest });
    }

    /// The call whose TX half it is, if it is one.
    pub(super) fn ended(&self) -> Option<&[u8; 16]> {
        match self {
            Self::Close(close) => Some(&close.id),
            Self::Logged(Logged { kind: redo::Kind::Close, fields, .. }) => fields.first_chunk(),
            _ => None,
        }
    }

    /// Whether it tells of the end of a call.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::Refuse(_)) || self.ended().is_some()
    }

    /// Whether it tells of something that has already happened, and must not be lost.
    pub(super) fn must_stay(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Settle(_) | Self::Counts(_) | Self::Logged(_))
    }
}
