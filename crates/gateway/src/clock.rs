//! The time of day.
//!
//! Deadlines and rates use the runtime's own clock, which cannot jump. What lies in a store, and
//! what calendars are about, uses this one.

use std::fmt;

use crate::keys::UnixMillis;

/// Tells the time of day.
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch, UTC. May jump, in either direction.
    fn now(&self) -> UnixMillis;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| UnixMillis::try_from(since.as_millis()).unwrap_or(UnixMillis::MAX))
    }
}
