//! The counters of one scope, for every span at once.
//!
//! One meter belongs to one key or tenant. What a call may cost is held before it runs and settled
//! to the truth after it, in the windows that admitted it. A call whose window is over when it
//! ends no longer counts here, since the counters are those of the present windows alone; the
//! ledger on disk has the rest.

#[cfg(test)]
mod tests;

use super::calendar::{Calendar, Span, WallTime, Window};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Calls.
    Requests,
    /// Tokens in and out.
    Tokens,
    /// Money, in billionths of a dollar.
    Cost,
}

impl Unit {
    /// The unit's name in settings and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        }
    }
}

/// An amount of every unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    /// Calls.
    pub requests: u64,
    /// Tokens in and out.
    pub tokens: u64,
    /// Money, in billionths of a dollar.
    pub cost: u64,
}

impl Amounts {
    /// The amount of one unit.
    pub const fn get(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.tokens,
            Unit::Cost => self.cost,
        }
    }

    /// Both together, at most `u64::MAX` of each unit.
    #[must_use]
    pub const fn plus(&self, more: &Self) -> Self {
        Self {
            requests: self.requests.saturating_add(more.requests),
            tokens: self.tokens.saturating_add(more.tokens),
            cost: self.cost.saturating_add(more.cost),
        }
    }

    /// What is left without `less`, at least 0 of each unit.
    #[must_use]
    pub const fn minus(&self, less: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(less.requests),
            tokens: self.tokens.saturating_sub(less.tokens),
            cost: self.cost.saturating_sub(less.cost),
        }
    }
}

/// The most that a scope may spend of a unit in each window of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// What is counted.
    pub unit: Unit,
    /// How long it lasts.
    pub span: Span,
    /// The most of it, in the unit's own measure.
    pub limit: u64,
}

/// A budget that a call does not fit into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The place of the budget in the list that was checked.
    pub budget: usize,
    /// What is counted.
    pub unit: Unit,
    /// How long the budget lasts.
    pub span: Span,
    /// What is neither spent nor held of it.
    pub left: u64,
    /// When the next window begins; `None` if waiting does not help, because the budget lasts for
    /// ever or the call wants more than all of it.
    pub resets_at: Option<WallTime>,
}

/// How a budget stands, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The budget.
    pub budget: Budget,
    /// What calls that have ended cost; above the limit after an overrun.
    pub spent: u64,
    /// What calls that still run may cost.
    pub held: u64,
    /// What is neither spent nor held.
    pub left: u64,
    /// When the next window begins; `None` if the budget lasts for ever.
    pub resets_at: Option<WallTime>,
}

/// What one running call may cost, taken from one meter.
///
/// It goes back to the meter that gave it, exactly once: by [`Meter::settle`] or by
/// [`Meter::release`]. It cannot be copied, and dropping it gives nothing back.
#[derive(Debug)]
#[must_use = "a hold that is neither settled nor released stays held until its windows end"]
pub struct Hold {
    amounts: Amounts,
    admitted_at: WallTime,
    /// In the order of [`Span::ALL`].
    starts: [WallTime; 6],
}

impl Hold {
    /// What is held.
    pub const fn amounts(&self) -> Amounts {
        self.amounts
    }

    /// The time under which the call counts, which is inside all of its windows.
    ///
    /// That is the time of the last [`Meter::roll`], or the latest one before it if the clock was
    /// put back. [`Meter::charge`] wants it, and so does a record from which [`Meter::load`] is to
    /// be fed.
    pub const fn admitted_at(&self) -> WallTime {
        self.admitted_at
    }

    /// When the window of a span that admitted the call began.
    pub fn window_start(&self, span: Span) -> WallTime {
        self.starts.get(span as usize).copied().unwrap_or_default()
    }
}

/// The counters of one window.
#[derive(Clone, Copy, Debug)]
struct Count {
    window: Window,
    spent: Amounts,
    held: Amounts,
}

impl Count {
    fn new(window: Window) -> Self {
        Self { window, spent: Amounts::default(), held: Amounts::default() }
    }

    /// What a new call has to fit beside.
    fn used(&self, unit: Unit) -> u64 {
        self.spent.get(unit).saturating_add(self.held.get(unit))
    }
}

/// The spending of one scope in the present window of every span.
///
/// Windows never go backwards. A wall clock that is put back leaves the meter in the windows it has
/// reached, until the clock reaches their ends: nobody gets a fresh budget, or an old one again, by
/// a clock that jumps to and fro. A clock that is put forward ends windows early.
///
/// A meter that is made anew begins in the windows of the clock, and is told what was spent of each
/// window, those to come too ([`Meter::foresee`]). So a start after the clock was put back hands out
/// no window twice either.
#[derive(Debug)]
pub struct Meter {
    /// In the order of [`Span::ALL`].
    counts: [Count; 6],
    /// Until this time no window ends.
    first_end: WallTime,
    latest: WallTime,
    /// What was spent in minutes that are still to come, by their beginnings.
    ahead: Vec<(WallTime, Amounts)>,
}

impl Meter {
    /// A meter with nothing spent.
    pub fn new(now: WallTime, calendar: &Calendar) -> Self {
        let counts = Span::ALL.map(|span| Count::new(calendar.window(span, now)));
        let mut meter = Self { counts, first_end: now, latest: now, ahead: Vec::new() };
        meter.find_first_end();
        meter
    }

    /// Goes on to `now`: begins the windows that are due, with nothing held, and nothing spent but
    /// what was foreseen.
    ///
    /// Comes before every other question. While no window ends it costs one comparison. A calendar
    /// of another zone counts for each span when its present window has ended.
    pub fn roll(&mut self, now: WallTime, calendar: &Calendar) {
        self.latest = self.latest.max(now);
        if self.latest < self.first_end {
            return;
        }
        for (count, span) in self.counts.iter_mut().zip(Span::ALL) {
            if self.latest < count.window.end {
                continue;
            }
            let next = calendar.window(span, self.latest);
            if next.start > count.window.start {
                *count = Count::new(next);
                let inside = self.ahead.iter().filter(|(minute, _)| next.contains(*minute));
                count.spent = inside.fold(count.spent, |sum, (_, spent)| sum.plus(spent));
            } else {
                // Only another zone can say so. It is the same window then, and ends later.
                count.window.end = next.end;
            }
        }
        // By now these are in all windows that they fall in.
        self.ahead.retain(|(minute, _)| *minute > self.latest);
        self.find_first_end();
    }

    /// The latest time that the meter was told.
    pub const fn latest(&self) -> WallTime {
        self.latest
    }

    /// Sets what was spent in the present window of a span, as the ledger knows it.
    pub fn load(&mut self, span: Span, spent: Amounts) {
        if let Some(count) = self.counts.get_mut(span as usize) {
            count.spent = spent;
        }
    }

    /// Notes what was spent in a minute that is still to come, as the ledger knows it: the clock was
    /// ahead then. It counts in the windows that begin later.
    pub fn foresee(&mut self, minute: WallTime, spent: Amounts) {
        self.ahead.push((minute, spent));
    }

    /// Forgets all that was foreseen, before it is read once more.
    pub fn forget_foreseen(&mut self) {
        self.ahead.clear();
    }

    /// Says whether a call that may cost `want` fits into every budget.
    ///
    /// It fits if what is spent, held and wanted is at most the limit. Of several budgets that it
    /// does not fit into, the one that keeps it waiting longest is named, since waiting for another
    /// would be in vain. Takes nothing.
    pub fn check(&self, budgets: &[Budget], want: &Amounts) -> Result<(), Exceeded> {
        let mut worst: Option<Exceeded> = None;
        for (place, budget) in budgets.iter().enumerate() {
            let Some(count) = self.counts.get(budget.span as usize) else { continue };
            let (used, wanted) = (count.used(budget.unit), want.get(budget.unit));
            if used.saturating_add(wanted) <= budget.limit {
                continue;
            }
            let exceeded = Exceeded {
                budget: place,
                unit: budget.unit,
                span: budget.span,
                left: budget.limit.saturating_sub(used),
                resets_at: if wanted > budget.limit { None } else { count.window.ends() },
            };
            let waits = |exceeded: &Exceeded| exceeded.resets_at.map_or(i64::MAX, |time| time.0);
            if worst.as_ref().is_none_or(|worst| waits(&exceeded) > waits(worst)) {
                worst = Some(exceeded);
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Holds what a call may cost, whether or not it fits, in the present window of every span.
    pub fn hold(&mut self, want: &Amounts) -> Hold {
        for count in &mut self.counts {
            count.held = count.held.plus(want);
        }
        Hold {
            amounts: *want,
            admitted_at: self.latest,
            starts: self.counts.map(|count| count.window.start),
        }
    }

    /// Ends a call: what was held is free again, and the truth is spent, even if it is more.
    ///
    /// Both count in the windows that admitted the call; those that are over stay as they are.
    #[expect(clippy::needless_pass_by_value, reason = "nobody can settle a hold twice")]
    pub fn settle(&mut self, hold: Hold, truth: &Amounts) {
        let Hold { amounts, starts, admitted_at: _ } = hold;
        for (count, start) in self.counts.iter_mut().zip(starts) {
            if count.window.start == start {
                count.held = count.held.minus(&amounts);
                count.spent = count.spent.plus(truth);
            }
        }
    }

    /// Ends a call that cost nothing.
    pub fn release(&mut self, hold: Hold) {
        self.settle(hold, &Amounts::default());
    }

    /// Spends more for a call whose hold is gone, in the windows that admitted it.
    ///
    /// `at` is its [`Hold::admitted_at`]. Windows that are over stay as they are.
    pub fn charge(&mut self, at: WallTime, amounts: &Amounts) {
        for count in self.counts.iter_mut().filter(|count| count.window.contains(at)) {
            count.spent = count.spent.plus(amounts);
        }
    }

    /// How each budget stands, in the order of the list.
    pub fn left<'a>(&'a self, budgets: &'a [Budget]) -> impl Iterator<Item = Left> + 'a {
        budgets.iter().filter_map(|budget| {
            let count = self.counts.get(budget.span as usize)?;
            Some(Left {
                budget: *budget,
                spent: count.spent.get(budget.unit),
                held: count.held.get(budget.unit),
                left: budget.limit.saturating_sub(count.used(budget.unit)),
                resets_at: count.window.ends(),
            })
        })
    }

    /// The present window of a span.
    pub fn window(&self, span: Span) -> Window {
        self.counts.get(span as usize).map_or(Window::TOTAL, |count| count.window)
    }

    /// What was spent in the present window of a span.
    pub fn spent(&self, span: Span) -> Amounts {
        self.counts.get(span as usize).map(|count| count.spent).unwrap_or_default()
    }

    /// What is held in the present window of a span.
    pub fn held(&self, span: Span) -> Amounts {
        self.counts.get(span as usize).map(|count| count.held).unwrap_or_default()
    }

    fn find_first_end(&mut self) {
        let ends = self.counts.iter().map(|count| count.window.end);
        self.first_end = ends.min().unwrap_or(WallTime(i64::MAX));
    }
}
