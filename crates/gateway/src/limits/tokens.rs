//! The sliding window over tokens, in buckets of one second.
//!
//! Buckets and not a log, since the tokens of a call are a guess until it ends and must be
//! corrected where they were counted. A bucket counts until its last millisecond is a minute old:
//! in any span of 60 s never more than the limit was admitted, and room comes back up to one second
//! later than an exact log would have it.

#[cfg(test)]
mod tests;

use super::{Monotonic, Wait};

/// The length of a bucket in milliseconds.
const BUCKET: u64 = 1_000;
/// The seconds of the window and the one that is still running.
const BUCKETS: u64 = 61;

/// Counts the tokens of the last 60 seconds.
///
/// The limit is an argument of each question, because it may be edited while calls run.
#[derive(Debug)]
pub struct TokenWindow {
    /// The bucket of second `s` stands at `s % 61`.
    buckets: [u64; 61],
    /// The sum of all buckets; wide enough for all of them to be full.
    sum: u128,
    /// The latest time seen, in milliseconds.
    latest: u64,
}

impl Default for TokenWindow {
    fn default() -> Self {
        Self { buckets: [0; 61], sum: 0, latest: 0 }
    }
}

impl TokenWindow {
    /// An empty window.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether `tokens` more fit at `now`, or when they will.
    ///
    /// Takes nothing. A request larger than the whole limit gets [`Wait::Never`], also while the
    /// window is empty: were it let through then, it would depend on the moment whether the same
    /// call is admitted, and a limit would not be one.
    pub fn check(&mut self, now: Monotonic, limit: u64, tokens: u64) -> Result<(), Wait> {
        self.advance(now);
        let Some(room) = limit.checked_sub(tokens) else { return Err(Wait::Never) };
        let mut left = self.sum;
        if left <= u128::from(room) {
            return Ok(());
        }
        let newest = self.latest / BUCKET;
        for second in (newest + 1).saturating_sub(BUCKETS)..=newest {
            left = left.saturating_sub(u128::from(self.bucket(second)));
            if left <= u128::from(room) {
                return Err(Wait::Until(leaves(second)));
            }
        }
        // Unreachable as long as `sum` is the sum of the buckets.
        Err(Wait::Until(leaves(newest)))
    }

    /// Takes `tokens`, whether or not they fit, and returns the time under which they count.
    ///
    /// That is `now`, or the latest time seen if `now` is earlier. [`Self::correct`] wants it.
    pub fn take(&mut self, now: Monotonic, tokens: u64) -> Monotonic {
        self.advance(now);
        self.add(self.latest / BUCKET, tokens);
        Monotonic(self.latest)
    }

    /// Corrects what a [`Self::take`] that returned `admitted_at` took, now that the truth is known.
    ///
    /// `delta` is the truth minus what was taken. While the admission is inside the window, its own
    /// bucket is corrected, down to no less than 0. Later, tokens that were not used have left the
    /// window anyway and a negative delta is dropped; tokens beyond the guess have been counted by
    /// nobody yet, so a positive one counts from `now`.
    pub fn correct(&mut self, admitted_at: Monotonic, now: Monotonic, delta: i64) {
        self.advance(now);
        let newest = self.latest / BUCKET;
        let admitted = (admitted_at.0 / BUCKET).min(newest);
        let inside = newest - admitted < BUCKETS;
        if delta >= 0 {
            self.add(if inside { admitted } else { newest }, delta.unsigned_abs());
        } else if inside {
            self.subtract(admitted, delta.unsigned_abs());
        }
    }

    /// Undoes a [`Self::take`] of `tokens` that returned `at`, as if it had never been.
    ///
    /// For a call that another rule refused after all.
    pub fn give_back(&mut self, at: Monotonic, tokens: u64) {
        let newest = self.latest / BUCKET;
        let admitted = (at.0 / BUCKET).min(newest);
        if newest - admitted < BUCKETS {
            self.subtract(admitted, tokens);
        }
    }

    /// How many tokens still fit at `now`; 0 too if more were used than the limit.
    pub fn remaining(&mut self, now: Monotonic, limit: u64) -> u64 {
        self.advance(now);
        u64::try_from(u128::from(limit).saturating_sub(self.sum)).unwrap_or(limit)
    }

    /// When the whole limit is free again, if nothing more is taken.
    pub fn reset(&mut self, now: Monotonic) -> Monotonic {
        self.advance(now);
        let newest = self.latest / BUCKET;
        ((newest + 1).saturating_sub(BUCKETS)..=newest)
            .rev()
            .find(|second| self.bucket(*second) > 0)
            .map_or(Monotonic(self.latest), leaves)
    }

    /// Goes on to `now` and empties the buckets that begin anew.
    fn advance(&mut self, now: Monotonic) {
        let before = self.latest / BUCKET;
        self.latest = self.latest.max(now.0);
        let newest = self.latest / BUCKET;
        if newest - before >= BUCKETS {
            self.buckets = [0; 61];
            self.sum = 0;
            return;
        }
        for second in before + 1..=newest {
            self.subtract(second, u64::MAX);
        }
    }

    fn bucket(&self, second: u64) -> u64 {
        self.buckets.get(place(second)).copied().unwrap_or(0)
    }

    fn add(&mut self, second: u64, tokens: u64) {
        if let Some(bucket) = self.buckets.get_mut(place(second)) {
            let before = *bucket;
            *bucket = before.saturating_add(tokens);
            self.sum += u128::from(*bucket - before);
        }
    }

    fn subtract(&mut self, second: u64, tokens: u64) {
        if let Some(bucket) = self.buckets.get_mut(place(second)) {
            let before = *bucket;
            *bucket = before.saturating_sub(tokens);
            self.sum -= u128::from(before - *bucket);
        }
    }
}

/// Where the bucket of a second stands.
fn place(second: u64) -> usize {
    (second % BUCKETS) as usize
}

/// When the bucket of a second no longer counts.
fn leaves(second: u64) -> Monotonic {
    Monotonic(second.saturating_add(BUCKETS).saturating_mul(BUCKET))
}
