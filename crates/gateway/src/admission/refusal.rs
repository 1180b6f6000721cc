//! What a caller is told who may not call now: which scope refuses, why, and until when.

use std::time::Duration;

use model::{Blame, Failure, FailureKind, Retry};

use crate::amounts::{Budget, Span, Unit};
use crate::budgets::Exceeded;
use crate::keys::{Glob, ScopeId};
use crate::policy::Policy;

/// A limit that a call does not fit into.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// Requests in 60 seconds; milliseconds until one fits.
    Requests { limit: u32, wait: Option<u64> },
    /// Tokens in 60 seconds; milliseconds until they fit, `None` if never.
    Tokens { limit: u64, wanted: u64, wait: Option<u64> },
    /// Calls at once.
    Concurrency { limit: u32 },
    /// A budget.
    Budget { exceeded: Exceeded, budget: Option<Budget> },
}

/// How long a call is told to wait for a place, in milliseconds: nobody knows when one is free.
const PLACE: u64 = 1000;

impl Limit {
    /// How long a call has to wait, to be compared with limits of its kind: rates and places in
    /// milliseconds, budgets by when they begin anew. The largest number is for ever.
    pub(super) fn wait(&self) -> u64 {
        match self {
            Self::Requests { wait, .. } | Self::Tokens { wait, .. } => wait.unwrap_or(u64::MAX),
            Self::Concurrency { .. } => PLACE,
            Self::Budget { exceeded, .. } => {
                let at = exceeded.resets_at.and_then(|time| u64::try_from(time.0).ok());
                at.unwrap_or(u64::MAX)
            }
        }
    }
}

/// The failure of a call that a scope refuses.
pub(super) fn refuse(scope: &str, limit: &Limit, policy: &Policy) -> Failure {
    let rate = |message: String, wait: Option<u64>| {
        let retry = match wait {
            Some(millis) => Retry::After(Duration::from_millis(millis.max(1))),
            None => Retry::Never,
        };
        Failure::new(FailureKind::RateLimited, message).with_retry(retry)
    };
    let mut failure = match *limit {
        Limit::Requests { limit, wait } => {
            rate(format!("`{scope}` allows {limit} requests in any 60 seconds."), wait)
        }
        Limit::Tokens { limit, wanted, wait: None } => rate(
            format!(
                "`{scope}` allows {limit} tokens in any 60 seconds, and this call alone may need \
                 {wanted}."
            ),
            None,
        ),
        Limit::Tokens { limit, wanted, wait } => rate(
            format!(
                "`{scope}` allows {limit} tokens in any 60 seconds; this call may need {wanted}, \
                 and that many are not left now."
            ),
            wait,
        ),
        Limit::Concurrency { limit } => {
            rate(format!("`{scope}` allows {limit} calls at once."), Some(PLACE))
        }
        Limit::Budget { exceeded, budget } => {
            Failure::new(FailureKind::OverBudget, over_budget(scope, &exceeded, budget, policy))
        }
    };
    failure.blame = Blame::Caller;
    failure.with_scope(scope)
}

fn over_budget(
    scope: &str,
    exceeded: &Exceeded,
    budget: Option<Budget>,
    policy: &Policy,
) -> String {
    let amount = |value: u64| match exceeded.unit {
        Unit::Requests => format!("{value} requests"),
        Unit::Tokens => format!("{value} tokens"),
        Unit::Cost => dollars(value),
    };
    let span = match exceeded.span {
        Span::Minute => "a minute",
        Span::Hour => "an hour",
        Span::Day => "a day",
        Span::Week => "a week",
        Span::Month => "a month",
        Span::Total => "in all",
    };
    let limit = budget.map_or(0, |budget| budget.limit);
    let left = match exceeded.left {
        0 => "is used up".to_owned(),
        left => format!("has {} left, which is less than this call may need", amount(left)),
    };
    let again = match exceeded.resets_at {
        Some(time) => format!(" It begins anew at {}.", policy.calendar.show(time)),
        None => String::new(),
    };
    format!("The budget of `{scope}`, {} {span}, {left}.{again}", amount(limit))
}

/// Nano-dollars for people, down to a hundredth of a cent.
fn dollars(nanos: u64) -> String {
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000 / 100_000);
    format!("${whole}.{rest:04}")
}

/// The failure of a call for a model that is not in a key's scope.
pub(super) fn model(scope: &ScopeId, name: &str, allowed: &[Glob]) -> Failure {
    let name: String = match name.trim() {
        "" => "auto".to_owned(),
        _ => name.chars().take(100).collect(),
    };
    let allowed: Vec<&str> = allowed.iter().take(8).map(Glob::as_str).collect();
    let message =
        format!("`{scope}` does not allow the model `{name}`, only {}.", allowed.join(", "));
    Failure::new(FailureKind::Forbidden, message).with_param("model").with_scope(scope.to_string())
}

/// The failure of a call for more replies than its key allows tokens for all of them.
pub(super) fn choices(scope: &ScopeId, bound: u64, choices: u64) -> Failure {
    let message = format!(
        "`{scope}` allows {bound} tokens of output for one call, and this one asks for {choices} \
         replies."
    );
    Failure::new(FailureKind::Forbidden, message).with_param("n").with_scope(scope.to_string())
}
