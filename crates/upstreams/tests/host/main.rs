//! A host pool behind a real gateway and a real connection, with the host in the test's hands.
//!
//! The clock is paused and time passes only where a test says so: everything that happens in
//! between happens without waiting.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failing test panics"
)]

mod cancelling;
mod consent;
mod ends;
mod paid;
mod replies;
mod script;
mod shaped;
mod tasks;
mod tools;
