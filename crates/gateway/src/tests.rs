//! The one road and the queue, on fakes and a paused clock.

mod calls;
mod doors;
mod explains;
mod fakes;
pub(crate) mod keys;
mod lanes;
pub(crate) mod memory;
mod recorded;
mod slots;
mod takeover;
