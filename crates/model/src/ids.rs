//! The GUID of a call.

use std::fmt;
use uuid::Uuid;

/// The id of one call, a UUIDv7: it sorts by time of arrival.
///
/// Everything that a caller sees of a call is made from it: `x-request-id`, Anthropic's
/// `req_…`, `chatcmpl-…` and `msg_…`, so that one search finds a call under all its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(Uuid);

impl CallId {
    /// Makes a new id from the current time and fresh randomness.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Wraps a known id.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The 16 bytes, in the order in which ids sort.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// Wraps the bytes of a known id.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The text of the id, with hyphens, in a buffer.
    pub fn encode(self, buffer: &mut [u8; 36]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// The 32 hex digits without hyphens, as used behind `req_`, `msg_` and `chatcmpl-`.
    pub fn hex(self) -> impl fmt::Display {
        self.0.simple()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
