//! How many rows refusals may have: some at once, some each hour, and more where there are calls
//! to stand beside.

use crate::keys::UnixMillis;

/// Calls that earn a row.
const CALLS: u64 = 10;

/// An allowance of rows. It begins full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Milliseconds of waiting that are worth a row.
    row: u64,
    /// What it holds when it is full, in the same measure.
    most: u64,
    left: u64,
    at: UnixMillis,
}

impl Allowance {
    /// So many rows at once, and one more each time so many milliseconds have passed.
    pub(super) const fn new(rows: u64, every: u64, now: UnixMillis) -> Self {
        let most = rows.saturating_mul(every);
        Self { row: every, most, left: most, at: now }
    }

    /// Adds what the time since the last look is worth. A clock that was put back is worth nothing.
    pub(super) fn refill(&mut self, now: UnixMillis) {
        let passed = u64::try_from(now.saturating_sub(self.at)).unwrap_or(0);
        self.at = now;
        self.add(passed);
    }

    /// A call that has a row of its own has come.
    pub(super) fn earn(&mut self) {
        self.add(self.row / CALLS);
    }

    /// Whether there is one more row.
    pub(super) const fn has_row(&self) -> bool {
        self.left >= self.row
    }

    /// Takes a row.
    pub(super) const fn take(&mut self) {
        self.left = self.left.saturating_sub(self.row);
    }

    /// Whether it is as good as a new one.
    pub(super) const fn is_full(&self) -> bool {
        self.left == self.most
    }

    fn add(&mut self, more: u64) {
        self.left = self.left.saturating_add(more).min(self.most);
    }
}
