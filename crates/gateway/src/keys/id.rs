//! Names of keys, tenants and what is accounted for.
//!
//! They are checked when they are made, so that they can stand in paths, headers, log lines and
//! file names without escaping.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Characters of a key's public id.
const KEY_ID: usize = 12;
/// The longest tenant name, in bytes.
const TENANT: usize = 64;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not the id of a key.
    #[error("a key id has 12 characters of a-z and 2-7")]
    Key,
    /// Not the name of a tenant.
    #[error("a tenant name has 1 to 64 characters of a-z, 0-9, `-` and `_`")]
    Tenant,
}

/// The public half of a key: 12 characters of base32 in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; KEY_ID]);

impl KeyId {
    /// An id made of random bytes, 5 bits of each.
    pub fn from_entropy(bytes: [u8; KEY_ID]) -> Self {
        Self(bytes.map(|byte| match byte & 31 {
            letter @ 0..26 => b'a' + letter,
            digit => b'2' + (digit - 26),
        }))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes: [u8; KEY_ID] = text.as_bytes().try_into().map_err(|_| IdError::Key)?;
        let good = bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        if good { Ok(Self(bytes)) } else { Err(IdError::Key) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a tenant. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if (1..=TENANT).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::Tenant)
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What spending is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeId {
    /// One key, and whatever its children spend.
    Key(KeyId),
    /// All keys of a tenant.
    Tenant(TenantId),
}

impl ScopeId {
    /// Its text, in two pieces: what it is, and which.
    pub fn as_pieces(&self) -> [&str; 2] {
        match self {
            Self::Key(id) => ["key:", id.as_str()],
            Self::Tenant(id) => ["tenant:", id.as_str()],
        }
    }
}

impl fmt::Display for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_pieces().iter().try_for_each(|piece| f.write_str(piece))
    }
}

impl FromStr for ScopeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once(':') {
            Some(("key", id)) => id.parse().map(Self::Key),
            Some(("tenant", id)) => id.parse().map(Self::Tenant),
            _ => Err(IdError::Key),
        }
    }
}
