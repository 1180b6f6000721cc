//! What is left, for the headers of replies and for reports of usage.

use std::cmp::Reverse;

use super::accounts::Windows;
use super::{Admission, named, uses_budget};
use crate::budgets::{Left, Meter, WallTime};
use crate::keyring::{ActiveKey, Scope};
use crate::keys::{Glob, KeyKind, ScopeId};
use crate::limits::Monotonic;
use crate::policy::ModelLimits;

/// How a limit of a minute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateReport {
    /// The limit.
    pub limit: u64,
    /// What is left of it now.
    pub remaining: u64,
    /// Milliseconds until all of it is there again.
    pub reset: u64,
}

/// The most constrained limits of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests.
    pub requests: Option<RateReport>,
    /// Tokens, in and out.
    pub tokens: Option<RateReport>,
}

/// How one budget stands.
pub type BudgetReport = Left;

/// All that is left of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeReport {
    /// Which.
    pub scope: ScopeId,
    /// Requests in 60 seconds.
    pub requests: Option<RateReport>,
    /// Tokens in 60 seconds.
    pub tokens: Option<RateReport>,
    /// Calls at once: how many run, of how many.
    pub in_flight: (u32, Option<u32>),
    /// Every budget.
    pub budgets: Vec<BudgetReport>,
}

/// What is left of the limits of models that fall under a pattern, which all callers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelReport {
    /// The pattern.
    pub pattern: Glob,
    /// Requests in 60 seconds.
    pub requests: Option<RateReport>,
    /// Tokens in 60 seconds.
    pub tokens: Option<RateReport>,
    /// Calls at once: how many run, of how many.
    pub in_flight: (u32, Option<u32>),
}

impl Admission {
    /// The limits that leave the least to a key, or to whoever asks for a model.
    pub fn rates(&self, key: Option<&ActiveKey>, model: &str) -> Rates {
        let policy = self.policy();
        let scopes = key.map_or(&[][..], |key| &key.scopes);
        let bound = |scope: &Scope| {
            scope.bounds.requests_per_minute.is_some() || scope.bounds.tokens_per_minute.is_some()
        };
        let rule = policy.model(named(model));
        if rule.is_none() && !scopes.iter().any(bound) {
            return Rates::default();
        }
        let now = self.monotonic();
        let wall = WallTime(self.clock.now());
        let mut rates = Rates::default();
        let mut accounts = self.lock();
        for scope in scopes {
            let Some(account) = accounts.account(&scope.id, wall, &policy) else { continue };
            let (windows, bounds) = (&mut account.windows, &scope.bounds);
            rates.add(windows, now, bounds.requests_per_minute, bounds.tokens_per_minute);
        }
        if let Some((glob, limits)) = rule
            && let Some(windows) = accounts.model(glob)
        {
            rates.add(windows, now, limits.requests_per_minute, limits.tokens_per_minute);
        }
        rates
    }

    /// How many uses of a key are left, where they are bounded.
    pub fn uses_left(&self, key: &ActiveKey) -> Option<u64> {
        let budget = uses_budget(key.key.uses?);
        let (policy, wall) = (self.policy(), WallTime(self.clock.now()));
        let mut accounts = self.lock();
        let account = accounts.account(&ScopeId::Key(key.key.id), wall, &policy)?;
        account.meter.left(&[budget]).next().map(|report| report.left)
    }

    /// What is left of the limits of models, without those of models that a key may not use.
    pub fn models(&self, key: Option<&ActiveKey>) -> Vec<ModelReport> {
        let (policy, now) = (self.policy(), self.monotonic());
        let mut accounts = self.lock();
        let barred = |pattern: &Glob| {
            let of_one = !pattern.as_str().contains(['*', '?']);
            of_one && key.is_some_and(|key| key.bars_model(pattern.as_str()).is_some())
        };
        let rules = policy.models.iter().filter(|(pattern, _)| !barred(pattern));
        let report = |(pattern, limits): &(Glob, ModelLimits)| {
            let windows = accounts.model(pattern)?;
            let mut rates = Rates::default();
            rates.add(windows, now, limits.requests_per_minute, limits.tokens_per_minute);
            Some(ModelReport {
                pattern: pattern.clone(),
                requests: rates.requests,
                tokens: rates.tokens,
                in_flight: (windows.in_flight, limits.concurrency),
            })
        };
        rules.filter_map(report).collect()
    }

    /// What is left in every scope of a key.
    pub fn usage(&self, key: &ActiveKey) -> Vec<ScopeReport> {
        let policy = self.policy();
        let now = self.monotonic();
        let wall = WallTime(self.clock.now());
        let sandbox = key.key.kind == KeyKind::Sandbox;
        let unspent = Meter::new(wall, &policy.calendar);
        let mut accounts = self.lock();
        let report = |scope: &Scope| {
            let account = accounts.account(&scope.id, wall, &policy)?;
            account.meter.roll(wall, &policy.calendar);
            let bounds = &scope.bounds;
            let uses = scope.uses.map(uses_budget);
            let mut budgets: Vec<_> = account.meter.left(uses.as_slice()).collect();
            // Calls of a sandbox count as uses of its keys and in none of their budgets.
            let free = sandbox && matches!(scope.id, ScopeId::Key(_));
            let meter = if free { &unspent } else { &account.meter };
            budgets.extend(meter.left(&bounds.budgets));
            let mut rates = Rates::default();
            let windows = &mut account.windows;
            rates.add(windows, now, bounds.requests_per_minute, bounds.tokens_per_minute);
            Some(ScopeReport {
                scope: scope.id.clone(),
                requests: rates.requests,
                tokens: rates.tokens,
                in_flight: (windows.in_flight, bounds.concurrency),
                budgets,
            })
        };
        key.scopes.iter().filter_map(report).collect()
    }
}

impl Rates {
    fn add(
        &mut self,
        windows: &mut Windows,
        now: Monotonic,
        requests: Option<u32>,
        tokens: Option<u64>,
    ) {
        if let Some(limit) = requests.map(u64::from) {
            let (remaining, reset) =
                (windows.requests.remaining(now, limit), windows.requests.reset(now).since(now));
            tightest(&mut self.requests, RateReport { limit, remaining, reset });
        }
        if let Some(limit) = tokens {
            let (remaining, reset) =
                (windows.tokens.remaining(now, limit), windows.tokens.reset(now).since(now));
            tightest(&mut self.tokens, RateReport { limit, remaining, reset });
        }
    }
}

fn tightest(slot: &mut Option<RateReport>, other: RateReport) {
    // Of those that leave equally little, the one that takes longest to be there again.
    let tighter = |known: RateReport| {
        (other.remaining, Reverse(other.reset)) < (known.remaining, Reverse(known.reset))
    };
    if slot.is_none_or(tighter) {
        *slot = Some(other);
    }
}
