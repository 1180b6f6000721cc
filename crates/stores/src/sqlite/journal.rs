//! The chain of the journal: each row is sealed with the seal before it.
//!
//! Whoever does not have the key cannot change, drop, add or reorder rows without breaking the
//! chain. What lies behind a row (halves of calls, changes) is sealed through its digest.
//!
//! Entries are numbered. A row is one entry, mostly, and has its number; a call whose halves are
//! written together has one row for its two entries, since a row costs more than what is in it.

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, OptionalExtension as _, Statement, params};
use sha2::Sha256;

use super::canon::Sum;

/// Adds a row to the journal.
pub(super) const INSERT: &str = "INSERT INTO journal VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// What a row of the journal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A call came in.
    Opened,
    /// A call ended.
    Closed,
    /// A call was settled after it ended.
    Settled,
    /// A key or tenant changed.
    Change,
    /// Retention took away what is old.
    Retired,
    /// A call came in and ended, both in one row: two entries, the second of which gives the row
    /// its number. Its digest is that of the RX half and that of the TX half, one behind the other.
    Whole,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Opened, Self::Closed, Self::Settled, Self::Change, Self::Retired, Self::Whole];

    /// Those that tell of the end of a call.
    pub(super) const ENDS: [Self; 2] = [Self::Closed, Self::Whole];

    /// Whether it tells of the end of a call.
    pub(super) fn is_end(self) -> bool {
        Self::ENDS.contains(&self)
    }

    /// Its number in the journal. Never reused.
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Opened => 1,
            Self::Closed => 2,
            Self::Settled => 3,
            Self::Change => 4,
            Self::Retired => 5,
            Self::Whole => 6,
        }
    }

    /// How many entries a row of this kind is.
    pub(super) const fn entries(self) -> i64 {
        match self {
            Self::Whole => 2,
            _ => 1,
        }
    }

    /// The kind with a number.
    pub(super) fn read(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// What makes seals.
#[derive(Clone)]
pub(super) struct Sealer(Hmac<Sha256>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer with a key.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // HMAC takes a key of any length, so the other way is never gone.
        match Hmac::new_from_slice(key) {
            Ok(mac) => Self(mac),
            Err(_) => Self(Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default())),
        }
    }

    /// The seal of a row.
    pub(super) fn seal(&self, previous: &Sum, row: &Entry<'_>) -> Sum {
        let mut mac = self.0.clone();
        mac.update(previous);
        mac.update(&row.seq.to_le_bytes());
        mac.update(&row.kind.to_le_bytes());
        mac.update(&row.at.to_le_bytes());
        mac.update(&[u8::from(row.call.is_some())]);
        mac.update(row.call.unwrap_or(&[0; 16]));
        mac.update(row.digest);
        mac.finalize().into_bytes().into()
    }
}

impl Sealer {
    /// The seal of a record in the redo log. What is sealed has another length than a row of the
    /// journal, so that neither can stand for the other.
    pub(super) fn seal_redo<'a>(
        &self,
        lsn: u64,
        kind: u8,
        digests: impl IntoIterator<Item = &'a Sum>,
    ) -> Sum {
        let mut mac = self.0.clone();
        mac.update(b"redo");
        mac.update(&lsn.to_le_bytes());
        mac.update(&[kind]);
        for digest in digests {
            mac.update(digest);
        }
        mac.finalize().into_bytes().into()
    }
}

/// What is sealed of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) seq: i64,
    pub(super) kind: i64,
    pub(super) at: i64,
    pub(super) call: Option<&'a [u8; 16]>,
    pub(super) digest: &'a [u8],
}

/// A row that is to be added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh<'a> {
    pub(super) kind: Kind,
    pub(super) at: i64,
    pub(super) call: Option<&'a [u8; 16]>,
    pub(super) note: Option<&'a str>,
    pub(super) digest: &'a [u8],
}

/// The end of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tip {
    /// The last entry; 0 before the first.
    pub(super) seq: i64,
    /// Its seal.
    pub(super) mac: Sum,
}

impl Tip {
    /// The end of the chain in a database.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let last = "SELECT seq, mac FROM journal ORDER BY seq DESC LIMIT 1";
        match Self::query(connection, last) {
            Err(rusqlite::Error::QueryReturnedNoRows) => Self::read_base(connection),
            other => other,
        }
    }

    /// The last row that retention took.
    pub(super) fn read_base(connection: &Connection) -> rusqlite::Result<Self> {
        Self::query(connection, "SELECT base_seq, base_mac FROM meta")
    }

    fn query(connection: &Connection, sql: &str) -> rusqlite::Result<Self> {
        connection.query_row(sql, [], |row| Ok(Self { seq: row.get(0)?, mac: row.get(1)? }))
    }

    /// Whether the journal in a database goes on from here.
    pub(super) fn is_in(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let base: i64 = connection.query_row("SELECT base_seq FROM meta", [], |row| row.get(0))?;
        if self.seq <= base {
            return Ok(true);
        }
        let sql = "SELECT mac FROM journal WHERE seq = ?1";
        let found: Option<Sum> =
            connection.query_row(sql, [self.seq], |row| row.get(0)).optional()?;
        Ok(found == Some(self.mac))
    }

    /// Adds a row to the journal with the statement for that ([`INSERT`]), within the transaction
    /// of the caller.
    pub(super) fn append(
        &mut self,
        insert: &mut Statement<'_>,
        sealer: &Sealer,
        entry: Fresh<'_>,
    ) -> rusqlite::Result<i64> {
        let Fresh { kind, at, call, note, digest } = entry;
        let row = Entry { seq: self.seq + kind.entries(), kind: kind.number(), at, call, digest };
        let mac = sealer.seal(&self.mac, &row);
        insert.execute(params![row.seq, row.kind, at, call, note, digest, mac])?;
        *self = Self { seq: row.seq, mac };
        Ok(row.seq)
    }
}
