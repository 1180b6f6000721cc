//! Bodies as they lie in the database: packed where that makes them smaller.
//!
//! Packing happens where a call is, before it is queued: the one writer has no time for it.

use bytes::Bytes;
use rusqlite::{OptionalExtension, Statement};

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

/// The slot of a call's request (side 0) or reply (side 1).
pub(super) fn slot(call: i64, side: i64) -> i64 {
    call * 2 + side
}

/// Reads the body in a slot, with a statement that selects `codec, size, bytes` by slot. A body
/// that does not unpack is damaged.
pub(super) fn read(
    statement: &mut Statement<'_>,
    slot: i64,
) -> rusqlite::Result<Option<Result<Bytes, Damaged>>> {
    let found = statement
        .query_row([slot], |row| {
            let (codec, size): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(unpack(codec, size, row.get(2)?))
        })
        .optional()?;
    Ok(found)
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

/// How a body is selected.
pub(super) const SELECT: &str = "SELECT codec, size, bytes FROM body WHERE slot = ?1";

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
