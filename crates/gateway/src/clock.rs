//! The clock on the wall: what ends keys and dates records.
//!
//! It is a port, so that rules about time can be tested at any time. What waits or times out uses
//! tokio's clock instead, which no person can set back.

use std::fmt;

use crate::keys::UnixMillis;

/// Tells the time of day.
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> UnixMillis;
}

/// The system's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| UnixMillis::try_from(since.as_millis()).unwrap_or(UnixMillis::MAX))
    }
}
