//! Budgets: what may be spent in a calendar window, and what has been.
//!
//! A budget is a promise to a person ("so much a month"), so its windows are those of a calendar in
//! a named time zone, while rates ([`crate::limits`]) slide. Spending is counted for every span
//! whether or not a budget asks, so that a budget which is added today knows what this month has
//! cost. Nothing here does I/O or reads a clock.

mod calendar;
mod meter;

pub use calendar::{Calendar, NoSuchZone, Span, WallTime, Window};
pub use meter::{Amounts, Budget, Exceeded, Hold, Left, Meter, Unit};
