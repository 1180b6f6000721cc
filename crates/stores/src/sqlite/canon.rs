//! The bytes of a record that its digest is made of.
//!
//! Each field stands with its length, and an absent one differs from an empty one, so that no two
//! records have the same bytes. Bodies stand in by their own digest: a record can be checked
//! without holding two bodies in memory at once.

use std::cell::Cell;

use sha2::{Digest, Sha256};

/// A SHA-256.
pub(super) type Sum = [u8; 32];

/// The digest of some bytes.
pub(super) fn sum(bytes: &[u8]) -> Sum {
    Sha256::digest(bytes).into()
}

/// Bytes of most records, and the most that are kept for the next.
const MOSTLY: usize = 512;
const MOST: usize = 4096;

thread_local! {
    /// Room for the fields of a record, kept from one to the next.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The fields of one record, taken up one after the other, and digested all at once: many small
/// pieces cost more than what is in them.
pub(super) struct Canon(Vec<u8>);

impl Canon {
    /// Begins a record of a kind.
    pub(super) fn new(kind: &str) -> Self {
        // A thread that ends has none any more.
        let mut room = ROOM.try_with(Cell::take).unwrap_or_default();
        room.reserve(MOSTLY);
        Self(room).text(kind)
    }

    /// Takes up a text.
    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Takes up bytes.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Takes up a number.
    pub(super) fn number(mut self, number: i64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Takes up a text that may be absent.
    pub(super) fn maybe_text(self, text: Option<&str>) -> Self {
        self.maybe_bytes(text.map(str::as_bytes))
    }

    /// Takes up bytes that may be absent.
    pub(super) fn maybe_bytes(mut self, bytes: Option<&[u8]>) -> Self {
        self.0.push(u8::from(bytes.is_some()));
        self.bytes(bytes.unwrap_or_default())
    }

    /// Takes up a number that may be absent.
    pub(super) fn maybe_number(mut self, number: Option<i64>) -> Self {
        self.0.push(u8::from(number.is_some()));
        self.number(number.unwrap_or_default())
    }

    /// The digest of all that was taken up.
    pub(super) fn finish(mut self) -> Sum {
        let sum = sum(&self.0);
        self.0.clear();
        self.0.shrink_to(MOST);
        let _ = ROOM.try_with(|room| room.set(self.0));
        sum
    }
}
