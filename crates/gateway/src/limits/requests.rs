//! The exact sliding window over admitted requests.
//!
//! It keeps the time of every admission of the last minute, since counters per second would admit
//! too many or too few at their borders. Admissions of one millisecond share an entry: a minute
//! has 60,000 of them, so the log stays under half a megabyte however high the limit is, and a
//! quiet key costs a few bytes.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{Monotonic, Wait};

/// The length of the window in milliseconds.
const SPAN: u64 = 60_000;
/// A log with room for more entries than this is given back when it runs empty.
const KEPT_ROOM: usize = 256;

/// Admissions within one millisecond.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The low half of the time in milliseconds. An entry is never older than the window, so the
    /// rest follows from the latest time.
    low: u32,
    count: u32,
}

/// Admits at most a limit of requests in any span of 60 seconds.
///
/// An admission at `t` counts from `t` up to, but not including, `t` + 60,000 ms. The limit is an
/// argument of each question, because it may be edited while calls run; a lowered limit refuses
/// until enough earlier admissions have left the window.
#[derive(Debug, Default)]
pub struct RequestWindow {
    /// In the order of their times, oldest first.
    entries: VecDeque<Entry>,
    /// The sum of all counts.
    admitted: u64,
    latest: u64,
}

impl RequestWindow {
    /// An empty window.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether one more request fits at `now`, or when it will.
    ///
    /// Takes nothing. A limit of 0 never admits.
    pub fn check(&mut self, now: Monotonic, limit: u64) -> Result<(), Wait> {
        self.advance(now);
        if self.admitted < limit {
            return Ok(());
        }
        if limit == 0 {
            return Err(Wait::Never);
        }
        let mut left = self.admitted;
        for entry in &self.entries {
            left = left.saturating_sub(u64::from(entry.count));
            if left < limit {
                return Err(Wait::Until(Monotonic(self.time_of(entry.low)).plus(SPAN)));
            }
        }
        // Unreachable as long as `admitted` is the sum of the counts.
        Err(Wait::Until(Monotonic(self.latest).plus(SPAN)))
    }

    /// Takes one admission, whether or not it fits, and returns the time under which it counts.
    ///
    /// That is `now`, or the latest time seen if `now` is earlier. [`Self::give_back`] wants it.
    pub fn take(&mut self, now: Monotonic) -> Monotonic {
        self.advance(now);
        let low = low_half(self.latest);
        self.admitted = self.admitted.saturating_add(1);
        let grown = match self.entries.back_mut().filter(|entry| entry.low == low) {
            Some(entry) => entry.count.checked_add(1).map(|count| entry.count = count),
            None => None,
        };
        if grown.is_none() {
            self.entries.push_back(Entry { low, count: 1 });
        }
        Monotonic(self.latest)
    }

    /// Undoes one [`Self::take`] that returned `at`, as if it had never been.
    ///
    /// For a call that another rule refused after all. Does nothing if the admission has left the
    /// window by itself, or was never made.
    pub fn give_back(&mut self, at: Monotonic) {
        let age = self.latest.saturating_sub(at.0);
        if age >= SPAN || at.0 > self.latest {
            return;
        }
        // Looked for by age, since the low halves wrap round and ages do not.
        let latest = low_half(self.latest);
        let place = self
            .entries
            .binary_search_by(|entry| age.cmp(&u64::from(latest.wrapping_sub(entry.low))));
        let Ok(place) = place else { return };
        let Some(entry) = self.entries.get_mut(place) else { return };
        entry.count = entry.count.saturating_sub(1);
        if entry.count == 0 {
            self.entries.remove(place);
        }
        self.admitted = self.admitted.saturating_sub(1);
    }

    /// How many requests still fit at `now`.
    pub fn remaining(&mut self, now: Monotonic, limit: u64) -> u64 {
        self.advance(now);
        limit.saturating_sub(self.admitted)
    }

    /// When the whole limit is free again, if nothing more is admitted.
    pub fn reset(&mut self, now: Monotonic) -> Monotonic {
        self.advance(now);
        match self.entries.back() {
            Some(entry) => Monotonic(self.time_of(entry.low)).plus(SPAN),
            None => Monotonic(self.latest),
        }
    }

    /// Goes on to `now` and drops what has left the window.
    fn advance(&mut self, now: Monotonic) {
        let step = now.since(Monotonic(self.latest));
        self.latest = self.latest.max(now.0);
        if step >= SPAN {
            // Every entry is at least as old as this step. After a long one their low halves would
            // no longer tell their age.
            self.entries.clear();
            self.admitted = 0;
        }
        let latest = low_half(self.latest);
        while let Some(entry) = self.entries.front() {
            if u64::from(latest.wrapping_sub(entry.low)) < SPAN {
                break;
            }
            self.admitted = self.admitted.saturating_sub(u64::from(entry.count));
            self.entries.pop_front();
        }
        if self.entries.is_empty() && self.entries.capacity() > KEPT_ROOM {
            self.entries = VecDeque::new();
        }
    }

    /// The whole time of an entry from its low half.
    fn time_of(&self, low: u32) -> u64 {
        self.latest.saturating_sub(u64::from(low_half(self.latest).wrapping_sub(low)))
    }
}

/// The low 32 bits of a time.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
fn low_half(time: u64) -> u32 {
    time as u32
}
