//! What calls cost, and what may be spent.

/// What a call takes, or a window has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Requests.
    pub requests: u64,
    /// Tokens, in and out.
    pub tokens: u64,
    /// Cost in nano-dollars.
    pub cost: u64,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens, in and out.
    Tokens,
    /// Nano-dollars.
    Cost,
}

/// The calendar window of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// A minute of the clock.
    Minute,
    /// An hour of the clock.
    Hour,
    /// A day of the configured time zone.
    Day,
    /// A week from Monday.
    Week,
    /// A month.
    Month,
    /// All time.
    Total,
}

/// What may be spent in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// What is counted.
    pub unit: Unit,
    /// How long a window is.
    pub span: Span,
    /// The most in one window.
    pub limit: u64,
}
