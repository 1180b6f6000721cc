//! Bodies as they lie in the database: packed where that makes them smaller.
//!
//! Packing happens where a call is, before it is queued: the one writer has no time for it.

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _};

use super::canon::{self, Sum};

/// Bodies below this many bytes are not worth packing: it takes longer than writing what it saves.
const WORTH: usize = 1024;

/// A body, ready to be written.
#[derive(Debug)]
pub(super) struct Packed {
    /// How it is packed: 0 not at all, 1 LZ4.
    pub(super) codec: i64,
    /// Bytes before packing.
    pub(super) size: i64,
    /// As it is written.
    pub(super) bytes: Bytes,
    /// The digest of what it was before packing.
    pub(super) sum: Sum,
}

impl Packed {
    /// Packs a body.
    pub(super) fn new(body: &Bytes) -> Self {
        let sum = canon::sum(body);
        let size = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let packed = (body.len() >= WORTH).then(|| lz4_flex::block::compress(body));
        match packed {
            Some(packed) if packed.len() < body.len() => {
                Self { codec: 1, size, bytes: packed.into(), sum }
            }
            // A copy: what came in may be a small part of a large buffer that is wanted back.
            _ => Self { codec: 0, size, bytes: Bytes::copy_from_slice(body), sum },
        }
    }
}

impl Packed {
    /// The same, borrowed.
    pub(super) fn view(&self) -> PackedView<'_> {
        PackedView { codec: self.codec, size: self.size, bytes: &self.bytes }
    }
}

/// A body as it is written, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedView<'a> {
    /// How it is packed: 0 not at all, 1 LZ4.
    pub(super) codec: i64,
    /// Bytes before packing.
    pub(super) size: i64,
    /// As it is written.
    pub(super) bytes: &'a [u8],
}

impl PackedView<'_> {
    /// The digest of what it was before packing.
    pub(super) fn sum(&self) -> Result<Sum, Damaged> {
        unpack(self.codec, self.size, self.bytes.to_vec()).map(|body| canon::sum(&body))
    }
}

/// The slot of a call's request (side 0) or reply (side 1). A reply that was written together with
/// its request stands in the same row.
pub(super) fn slot(call: i64, side: i64) -> i64 {
    call * 2 + side
}

/// How the bodies of calls are read.
pub(super) struct Bodies<'a> {
    request: CachedStatement<'a>,
    reply: CachedStatement<'a>,
}

impl<'a> Bodies<'a> {
    pub(super) fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let request = connection.prepare_cached(REQUEST)?;
        let reply = connection.prepare_cached(REPLY)?;
        Ok(Self { request, reply })
    }

    /// Reads the request (side 0) or reply (side 1) of a call. A body that does not unpack is
    /// damaged.
    pub(super) fn read(
        &mut self,
        call: i64,
        side: i64,
    ) -> rusqlite::Result<Option<Result<Bytes, Damaged>>> {
        let statement = if side == 0 { &mut self.request } else { &mut self.reply };
        let found = statement.query_row([call], |row| {
            // What belongs to a reply may be missing in a row that somebody else has changed.
            match (row.get(0)?, row.get(1)?) {
                (Some(codec), Some(length)) => Ok(unpack(codec, length, row.get(2)?)),
                _ => Ok(Err(Damaged)),
            }
        });
        found.optional()
    }
}

/// The body does not unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

fn unpack(codec: i64, size: i64, bytes: Vec<u8>) -> Result<Bytes, Damaged> {
    let size = usize::try_from(size).map_err(|_| Damaged)?;
    match codec {
        0 if bytes.len() == size => Ok(bytes.into()),
        // LZ4 makes at most 255 bytes of one: a false size cannot claim all memory.
        1 if size / 256 <= bytes.len() => {
            let body = lz4_flex::block::decompress(&bytes, size).map_err(|_| Damaged)?;
            if body.len() == size { Ok(body.into()) } else { Err(Damaged) }
        }
        _ => Err(Damaged),
    }
}

const REQUEST: &str = "SELECT codec, size, bytes FROM body WHERE slot = 2 * ?1";

const REPLY: &str = "SELECT reply_codec, reply_size, reply FROM body \
    WHERE slot = 2 * ?1 AND reply IS NOT NULL \
    UNION ALL SELECT codec, size, bytes FROM body WHERE slot = 2 * ?1 + 1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Damaged, Packed, unpack};

    proptest! {
        /// What is packed comes back as it was.
        #[test]
        fn unpacks_what_was_packed(body in prop::collection::vec(0..4_u8, 0..3000)) {
            let packed = Packed::new(&body.clone().into());
            let back = unpack(packed.codec, packed.size, packed.bytes.to_vec());
            prop_assert_eq!(back, Ok(body.into()));
        }

        /// Garbage is damage, not a panic or a flood.
        #[test]
        fn survives_garbage(
            codec in 0..3_i64,
            size in any::<i64>(),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Ok(body) = unpack(codec, size, bytes) {
                prop_assert_eq!(i64::try_from(body.len()).ok(), Some(size));
            }
        }
    }

    #[test]
    fn refuses_another_size() {
        assert_eq!(unpack(0, 3, vec![1]), Err(Damaged));
    }
}
