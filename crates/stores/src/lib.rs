//! What remembers keys, spending and every call, behind the port [`gateway::store::Store`].
//!
//! What it is: engines that write the record down. There is one, [`Sqlite`]; [`Late`] stands for it
//! until it opens. What it is *not*: it
//! decides nothing about keys, limits or what is kept of a call; it writes what it is told, and
//! answers when that is durable.
//!
//! Start with [`Sqlite`].
//!
//! Invariants: what was answered as written is there after a crash; a call is debited exactly
//! once, in the transaction that says how much; the journal only grows at its end.

#![forbid(unsafe_code)]

mod late;
mod sqlite;

pub use late::Late;
pub use sqlite::{Durability, LEAST_BYTES, OpenError, OpenOptions, Sqlite, system_clock};
