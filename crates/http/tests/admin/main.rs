//! The admin API from outside: who is refused, what is answered, and that it is as documented.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy.toml lets tests unwrap, but does not see the functions that they share here"
)]

mod house;
mod keys;
mod on_the_way;
mod records;
mod refusals;
