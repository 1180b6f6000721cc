//! What callers are told of their own limits, over the real routes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy.toml lets tests unwrap, but does not see the functions that they share here"
)]

mod explain;
mod house;
mod rates;
mod usage;
