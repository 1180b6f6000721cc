//! House rules: the one road that every call takes.
mod caller;
pub use caller::Caller;
