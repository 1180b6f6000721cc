//! What every store has to do, and what each engine promises beyond that.
//!
//! `contract` holds one story for each behaviour of the port; an engine runs all of them by
//! naming how it is opened.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a story stops at the first surprise, and its fakes are not tests themselves"
)]

mod contract;
mod samples;
mod sqlite;
