//! The connection and the server against a scripted peer, over an in-memory pipe.
//!
//! The clock is paused: a wait that nothing can end runs into its timeout at once, so "no line
//! comes" and "this blocks" are checked without waiting.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failing test panics"
)]

mod bounds;
mod garbage;
mod incoming;
mod outgoing;
mod script;
mod server;
