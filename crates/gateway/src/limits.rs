//! Rates: what fits into the last minute.
//!
//! Sliding windows and not calendar minutes, since a caller could spend two calendar minutes'
//! worth within one second at their border. The windows do no I/O and read no clock; whoever owns
//! one asks first (`check`) and takes then (`take`) under one lock, so that several windows can be
//! asked before any of them is charged.

mod requests;
mod tokens;

pub use requests::RequestWindow;
pub use tokens::TokenWindow;

/// A point in time in whole milliseconds, from a clock that begins with the process and that nobody
/// sets.
///
/// The windows remember the latest time they were told and take an earlier one for that, so two
/// threads that read the clock in one order and arrive in the other do no harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The time `millis` milliseconds later.
    #[must_use]
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time; 0 if it is not later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Why something does not fit into a window now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It fits from this time on, if nobody else takes the room.
    Until(Monotonic),
    /// It is larger than the whole limit: no wait cures that.
    Never,
}

impl Wait {
    /// Milliseconds from `now` until it fits; `None` if it never will.
    pub const fn millis(self, now: Monotonic) -> Option<u64> {
        match self {
            Self::Until(time) => Some(time.since(now)),
            Self::Never => None,
        }
    }
}
