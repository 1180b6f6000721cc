//! The one road and the queue, on fakes and a paused clock.

mod calls;
mod doors;
mod explains;
mod fakes;
mod lanes;
mod slots;
mod takeover;
