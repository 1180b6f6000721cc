//! One record as it lies in the redo log.
//!
//! A frame says how long it is, which number it has, and is sealed with the key of the journal:
//! over its number, its kind and its digests, which in turn are made of all its fields and bodies.
//! So a frame that was torn or changed is told from a whole one, and one of an earlier round of the
//! file from one of this. Numbers are little-endian; a text stands behind its length; what may be
//! absent stands behind a byte that says so.

use std::io::{self, Read};

use bytes::{BufMut as _, BytesMut};

use super::super::body::PackedView;
use super::super::canon::Sum;
use super::super::journal::Sealer;
use super::super::record::{DebitView, Rx, Stored, Tx};
use super::super::write::{Closing, Opening, Record, Settling};

/// Bytes before the fields: the length of all that follows, the number, the seal, the kind.
pub(super) const HEAD: usize = 4 + 8 + 32 + 1;
/// Most bytes of the fields of a frame: longer ones are neither written nor read. A body is unpacked
/// before the seal of its frame can be checked, and grows to at most 255 times its bytes.
pub(super) const LONGEST: usize = 2 << 20;

/// What a record tells of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in super::super) enum Kind {
    /// Its RX half.
    Open = 1,
    /// Its TX half.
    Close = 2,
    /// What it spent.
    Settle = 3,
    /// Both halves.
    Refuse = 4,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Open, Self::Close, Self::Settle, Self::Refuse];

    const fn number(self) -> u8 {
        self as u8
    }

    /// The record of such a kind, but for both halves, whose digest is known.
    pub(in super::super) fn read<'a>(self, fields: &'a [u8], digest: &Sum) -> Option<Record<'a>> {
        let mut fields = Fields(fields);
        let record = match self {
            Self::Open => Record::Open(fields.open(Some(digest))?),
            Self::Close => Record::Close(fields.close(Some(digest))?),
            Self::Settle => Record::Settle(fields.settle(Some(digest))?),
            Self::Refuse => return None,
        };
        fields.0.is_empty().then_some(record)
    }
}

/// Adds a frame.
pub(super) fn write(out: &mut BytesMut, lsn: u64, record: &Record<'_>, sealer: &Sealer) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let (kind, digests) = match record {
        Record::Open(open) => {
            write_open(out, open);
            (Kind::Open, [Some(&open.digest), None])
        }
        Record::Close(close) => {
            write_close(out, close);
            (Kind::Close, [Some(&close.digest), None])
        }
        Record::Settle(settle) => {
            out.extend_from_slice(settle.id);
            settle.spent.write(out);
            (Kind::Settle, [Some(&settle.digest), None])
        }
        Record::Refuse(open, close) => {
            write_open(out, open);
            write_close(out, close);
            (Kind::Refuse, [Some(&open.digest), Some(&close.digest)])
        }
    };
    let kind = kind.number();
    let seal = sealer.seal_redo(lsn, kind, digests.into_iter().flatten());
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(head) = out.get_mut(start..start + HEAD) {
        let parts: [&[u8]; 4] = [&length.to_le_bytes(), &lsn.to_le_bytes(), &seal, &[kind]];
        let mut rest = head;
        for part in parts {
            let (here, behind) = rest.split_at_mut(part.len().min(rest.len()));
            here.copy_from_slice(part);
            rest = behind;
        }
    }
}

fn write_open(out: &mut BytesMut, Opening { rx, body, .. }: &Opening<'_>) {
    out.extend_from_slice(rx.id);
    rx.received.write(out);
    rx.key.write(out);
    rx.tenant.write(out);
    rx.sandbox.write(out);
    rx.address.write(out);
    rx.agent.write(out);
    rx.dialect.write(out);
    rx.endpoint.write(out);
    rx.model.write(out);
    rx.stream.write(out);
    rx.messages.write(out);
    rx.bytes_in.write(out);
    rx.estimate.write(out);
    rx.reserved.write(out);
    body.write(out);
}

fn write_close(out: &mut BytesMut, Closing { tx, body, .. }: &Closing<'_>) {
    out.extend_from_slice(tx.id);
    tx.first_byte.write(out);
    tx.ended.write(out);
    tx.model_served.write(out);
    tx.upstream.write(out);
    tx.replay_of.write(out);
    tx.status.write(out);
    tx.stop_reason.write(out);
    tx.input_tokens.write(out);
    tx.output_tokens.write(out);
    tx.cached_tokens.write(out);
    tx.estimated.write(out);
    tx.overrun.write(out);
    tx.losses.write(out);
    tx.bytes_out.write(out);
    tx.failure.write(out);
    tx.message.write(out);
    tx.spent.write(out);
    body.write(out);
}

/// A frame whose fields are not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Its number.
    pub(super) lsn: u64,
    seal: Sum,
    kind: u8,
    fields: Vec<u8>,
    is_whole: bool,
}

impl Frame {
    /// Reads the next frame into this one; says whether there was one. It may not be whole: then it
    /// has a number, and no record.
    pub(super) fn read(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let mut head = [0; HEAD];
        if !fill(from, &mut head)? {
            return Ok(false);
        }
        let mut fields = Fields(&head);
        let (Some(length), Some(lsn), Some(seal), Some(kind)) =
            (fields.array(), fields.array(), fields.array(), fields.array::<1>())
        else {
            return Ok(false);
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some(rest) = length.checked_sub(HEAD - 4) else { return Ok(false) };
        (self.lsn, self.seal, self.kind) =
            (u64::from_le_bytes(*lsn), *seal, u8::from_le_bytes(*kind));
        self.fields.clear();
        if rest <= LONGEST {
            // No more is taken up than there is: a length that was made up costs nothing.
            from.take(u64::try_from(rest).unwrap_or(0)).read_to_end(&mut self.fields)?;
        }
        self.is_whole = self.fields.len() == rest;
        Ok(true)
    }

    /// The record, if the frame is as it was written.
    pub(super) fn record(&self, sealer: &Sealer) -> Option<Record<'_>> {
        if !self.is_whole {
            return None;
        }
        let mut fields = Fields(&self.fields);
        let kind = Kind::ALL.into_iter().find(|kind| kind.number() == self.kind)?;
        let (record, digests) = match kind {
            Kind::Open => {
                let open = fields.open(None)?;
                (Record::Open(open), [Some(open.digest), None])
            }
            Kind::Close => {
                let close = fields.close(None)?;
                (Record::Close(close), [Some(close.digest), None])
            }
            Kind::Settle => {
                let settle = fields.settle(None)?;
                (Record::Settle(settle), [Some(settle.digest), None])
            }
            Kind::Refuse => {
                let (open, close) = (fields.open(None)?, fields.close(None)?);
                (Record::Refuse(open, close), [Some(open.digest), Some(close.digest)])
            }
        };
        let seal = sealer.seal_redo(self.lsn, self.kind, digests.iter().flatten());
        (fields.0.is_empty() && seal == self.seal).then_some(record)
    }
}

/// Fills a buffer; says whether there was enough for it.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

/// Fields that are still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (here, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(here)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn next<T: Field<'a>>(&mut self) -> Option<T> {
        T::read(self)
    }

    /// The RX half; its digest is made where it is not known.
    fn open(&mut self, known: Option<&Sum>) -> Option<Opening<'a>> {
        let rx = Rx {
            id: self.array()?,
            received: self.next()?,
            key: self.next()?,
            tenant: self.next()?,
            sandbox: self.next()?,
            address: self.next()?,
            agent: self.next()?,
            dialect: self.next()?,
            endpoint: self.next()?,
            model: self.next()?,
            stream: self.next()?,
            messages: self.next()?,
            bytes_in: self.next()?,
            estimate: self.next()?,
            reserved: self.next()?,
        };
        let body: Option<PackedView<'_>> = self.next()?;
        let digest = match known {
            Some(digest) => *digest,
            None => rx.digest(body.map(|body| body.sum()).transpose().ok()?.as_ref()),
        };
        Some(Opening { rx, body, digest })
    }

    /// The TX half, likewise.
    fn close(&mut self, known: Option<&Sum>) -> Option<Closing<'a>> {
        let tx = Tx {
            id: self.array()?,
            first_byte: self.next()?,
            ended: self.next()?,
            model_served: self.next()?,
            upstream: self.next()?,
            replay_of: self.next()?,
            status: self.next()?,
            stop_reason: self.next()?,
            input_tokens: self.next()?,
            output_tokens: self.next()?,
            cached_tokens: self.next()?,
            estimated: self.next()?,
            overrun: self.next()?,
            losses: self.next()?,
            bytes_out: self.next()?,
            failure: self.next()?,
            message: self.next()?,
            spent: self.next()?,
        };
        let body: Option<PackedView<'_>> = self.next()?;
        let digest = match known {
            Some(digest) => *digest,
            None => tx.digest(body.map(|body| body.sum()).transpose().ok()?.as_ref()),
        };
        Some(Closing { tx, body, digest })
    }

    /// A settlement, likewise.
    fn settle(&mut self, known: Option<&Sum>) -> Option<Settling<'a>> {
        let (id, spent) = (self.array()?, DebitView::read(self)?);
        let digest = known.copied().unwrap_or_else(|| spent.settled(id));
        Some(Settling { id, spent, digest })
    }
}

/// What a field can be.
trait Field<'a>: Sized {
    fn write(&self, out: &mut BytesMut);
    fn read(fields: &mut Fields<'a>) -> Option<Self>;
}

impl Field<'_> for i64 {
    fn write(&self, out: &mut BytesMut) {
        out.put_i64_le(*self);
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.array().map(|bytes| Self::from_le_bytes(*bytes))
    }
}

impl Field<'_> for bool {
    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        match fields.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl<'a> Field<'a> for &'a [u8] {
    fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(u32::try_from(self.len()).unwrap_or(u32::MAX));
        out.extend_from_slice(self);
    }

    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        let length = u32::from_le_bytes(*fields.array()?);
        fields.bytes(usize::try_from(length).ok()?)
    }
}

impl<'a> Field<'a> for &'a str {
    fn write(&self, out: &mut BytesMut) {
        self.as_bytes().write(out);
    }

    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        std::str::from_utf8(fields.next()?).ok()
    }
}

impl<'a> Field<'a> for &'a [u8; 16] {
    fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(*self);
    }

    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        fields.array()
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn write(&self, out: &mut BytesMut) {
        self.is_some().write(out);
        if let Some(there) = self {
            there.write(out);
        }
    }

    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        if fields.next()? { fields.next().map(Some) } else { Some(None) }
    }
}

impl<'a> Field<'a> for DebitView<'a> {
    fn write(&self, out: &mut BytesMut) {
        self.scopes.write(out);
        self.admitted.write(out);
        let Stored { requests, tokens, cost } = self.amounts;
        requests.write(out);
        tokens.write(out);
        cost.write(out);
    }

    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        let (scopes, admitted) = (fields.next()?, fields.next()?);
        let amounts =
            Stored { requests: fields.next()?, tokens: fields.next()?, cost: fields.next()? };
        Some(Self { scopes, admitted, amounts })
    }
}

impl<'a> Field<'a> for PackedView<'a> {
    fn write(&self, out: &mut BytesMut) {
        self.codec.write(out);
        self.size.write(out);
        self.bytes.write(out);
    }

    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        Some(Self { codec: fields.next()?, size: fields.next()?, bytes: fields.next()? })
    }
}

#[cfg(test)]
#[path = "frame/tests.rs"]
mod tests;
