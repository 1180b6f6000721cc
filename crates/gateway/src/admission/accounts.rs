//! What is counted, and what a call takes of it.
//!
//! Accounts are never taken away, so a call looks for its own once, and then knows their places.

use std::collections::HashMap;
use std::fmt;

use foldhash::fast::RandomState;
use model::Failure;

use super::refusal::{Limit, refuse};
use super::{Terms, uses_budget};
use crate::amounts::Amounts;
use crate::budgets::{Hold, Meter, WallTime};
use crate::keyring::Scope;
use crate::keys::{Glob, ScopeId};
use crate::limits::{Monotonic, RequestWindow, TokenWindow};
use crate::policy::{ModelLimits, Policy};

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    scopes: Vec<Account>,
    places: HashMap<ScopeId, usize, RandomState>,
    models: Vec<Windows>,
    /// By the pattern that a model falls under.
    patterns: HashMap<Box<str>, usize, RandomState>,
}

/// What is counted for a key or tenant.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) windows: Windows,
    pub(super) meter: Meter,
}

/// What slides.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) requests: RequestWindow,
    pub(super) tokens: TokenWindow,
    pub(super) in_flight: u32,
}

/// What a call wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand<'a> {
    pub(super) terms: Terms,
    pub(super) scopes: &'a [Scope],
    /// The limits of its model, and the pattern that they are counted under.
    pub(super) model: Option<(&'a Glob, &'a ModelLimits)>,
    /// Of the windows.
    pub(super) want: &'a Amounts,
    /// Of the budgets of scopes that are debited.
    pub(super) owed: &'a Amounts,
    pub(super) now: Monotonic,
    pub(super) wall: WallTime,
    pub(super) policy: &'a Policy,
}

/// What a call has taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Of each scope of its key, in their order.
    shares: Vec<Share>,
    /// Of its model.
    model: Option<(usize, Stamps)>,
    tokens: u64,
}

/// What a call has taken of one account.
#[derive(Debug)]
struct Share {
    account: usize,
    stamps: Stamps,
    /// What is to be paid, where the account is debited.
    hold: Option<Hold>,
}

/// Under which times something was taken of two windows.
#[derive(Clone, Copy, Debug, Default)]
struct Stamps {
    requests: Monotonic,
    tokens: Monotonic,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug)]
enum Whose<'a> {
    Scope(&'a ScopeId),
    Model(&'a Glob),
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(scope) => scope.fmt(f),
            Self::Model(pattern) => write!(f, "model:{}", pattern.as_str()),
        }
    }
}

/// The limit that keeps a call waiting longest, of those that it does not fit into.
#[derive(Debug, Default)]
struct Worst<'a>(Option<(Whose<'a>, Limit)>);

impl<'a> Worst<'a> {
    fn add(&mut self, whose: Whose<'a>, limit: Limit) {
        let longest = self.0.as_ref().is_none_or(|(_, worst)| limit.wait() > worst.wait());
        if longest {
            self.0 = Some((whose, limit));
        }
    }

    fn refuses(&self, policy: &Policy) -> Result<(), Failure> {
        match &self.0 {
            Some((whose, limit)) => Err(refuse(&whose.to_string(), limit, policy)),
            None => Ok(()),
        }
    }
}

impl Taken {
    /// The tokens that the windows count.
    pub(super) const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// When the call counts as admitted, if anything is to be paid.
    pub(super) fn admitted_at(&self) -> Option<WallTime> {
        let hold = self.shares.iter().find_map(|share| share.hold.as_ref());
        hold.map(Hold::admitted_at)
    }
}

impl Accounts {
    /// The account of a scope.
    pub(super) fn account(
        &mut self,
        scope: &ScopeId,
        now: WallTime,
        policy: &Policy,
    ) -> Option<&mut Account> {
        let place = self.place(scope, now, policy);
        self.scopes.get_mut(place)
    }

    /// Those of all keys and tenants.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Account> {
        self.scopes.iter_mut()
    }

    /// The windows of the models that fall under a pattern.
    pub(super) fn model(&mut self, pattern: &Glob) -> Option<&mut Windows> {
        let place = self.place_of_model(pattern);
        self.models.get_mut(place)
    }

    /// The account of a scope, if it has one.
    #[cfg(test)]
    pub(super) fn find(&self, scope: &ScopeId) -> Option<&Account> {
        self.scopes.get(*self.places.get(scope)?)
    }

    fn place(&mut self, scope: &ScopeId, now: WallTime, policy: &Policy) -> usize {
        if let Some(place) = self.places.get(scope) {
            return *place;
        }
        let place = self.scopes.len();
        let meter = Meter::new(now, &policy.calendar);
        self.scopes.push(Account { windows: Windows::new(), meter });
        self.places.insert(scope.clone(), place);
        place
    }

    fn place_of_model(&mut self, pattern: &Glob) -> usize {
        if let Some(place) = self.patterns.get(pattern.as_str()) {
            return *place;
        }
        let place = self.models.len();
        self.models.push(Windows::new());
        self.patterns.insert(pattern.as_str().into(), place);
        place
    }

    /// The places of what a call takes of, with nothing taken.
    fn nothing(&mut self, demand: &Demand<'_>) -> Taken {
        let mut place = |scope: &Scope| self.place(&scope.id, demand.wall, demand.policy);
        let share = |account| Share { account, stamps: Stamps::default(), hold: None };
        let shares = demand.scopes.iter().map(|scope| share(place(scope))).collect();
        let model = demand.model.map(|(glob, _)| (self.place_of_model(glob), Stamps::default()));
        Taken { shares, model, tokens: demand.want.tokens }
    }

    /// Says whether a call may run, and takes nothing.
    pub(super) fn check(&mut self, demand: &Demand<'_>) -> Result<(), Failure> {
        let nothing = self.nothing(demand);
        self.check_at(demand, &nothing)
    }

    /// Takes what a call wants of every account, or of none.
    pub(super) fn take(&mut self, demand: &Demand<'_>) -> Result<Taken, Failure> {
        let mut taken = self.nothing(demand);
        self.check_at(demand, &taken)?;
        let (now, tokens) = (demand.now, demand.want.tokens);
        for (scope, share) in demand.scopes.iter().zip(&mut taken.shares) {
            let Some(account) = self.scopes.get_mut(share.account) else { continue };
            share.stamps = account.windows.take(now, tokens);
            if demand.terms.debits(scope) {
                share.hold = Some(account.meter.hold(demand.owed));
            }
        }
        if let Some((place, stamps)) = &mut taken.model
            && let Some(windows) = self.models.get_mut(*place)
        {
            *stamps = windows.take(now, tokens);
        }
        Ok(taken)
    }

    /// Checks every limit in the order of the house: rates, concurrency, budgets.
    ///
    /// Of several rates and places that a call does not fit into, the one that keeps it waiting longest
    /// is named, the first of those that do so equally; so it is with budgets. Waiting for another would
    /// be in vain.
    fn check_at(&mut self, demand: &Demand<'_>, places: &Taken) -> Result<(), Failure> {
        let Demand { terms, scopes, model, want, now, policy, .. } = *demand;
        // A clock that was put back does not part the scopes of a call: it counts in one window of
        // all of them, as it does in the ledger.
        let latest = places.shares.iter().filter_map(|share| self.scopes.get(share.account));
        let wall = latest.map(|account| account.meter.latest()).fold(demand.wall, WallTime::max);
        let mut worst = Worst::default();
        for (scope, share) in scopes.iter().zip(&places.shares) {
            let Some(account) = self.scopes.get_mut(share.account) else { continue };
            account.meter.roll(wall, &policy.calendar);
            let bounds = &scope.bounds;
            let (requests, tokens) = (bounds.requests_per_minute, bounds.tokens_per_minute);
            for limit in account.windows.check_rates(now, requests, tokens, want) {
                worst.add(Whose::Scope(&scope.id), limit);
            }
        }
        let windows = places.model.and_then(|(place, _)| self.models.get_mut(place));
        if let (Some((glob, limits)), Some(windows)) = (model, windows) {
            let (requests, tokens) = (limits.requests_per_minute, limits.tokens_per_minute);
            let refused = windows.check_rates(now, requests, tokens, want);
            for limit in refused.chain(windows.check_concurrency(limits.concurrency, terms)) {
                worst.add(Whose::Model(glob), limit);
            }
        }
        let accounts = || {
            let shares = scopes.iter().zip(&places.shares);
            shares.filter_map(|(scope, share)| Some((scope, self.scopes.get(share.account)?)))
        };
        for (scope, account) in accounts() {
            if let Some(limit) = account.windows.check_concurrency(scope.bounds.concurrency, terms)
            {
                worst.add(Whose::Scope(&scope.id), limit);
            }
        }
        worst.refuses(policy)?;
        if terms == Terms::Successor {
            return Ok(());
        }
        for (scope, account) in accounts() {
            let uses = scope.uses.map(uses_budget);
            let budgets = if terms == Terms::Paid { &scope.bounds.budgets[..] } else { &[] };
            for budgets in [uses.as_slice(), budgets] {
                if let Err(exceeded) = account.meter.check(budgets, want) {
                    let budget = budgets.get(exceeded.budget).copied();
                    worst.add(Whose::Scope(&scope.id), Limit::Budget { exceeded, budget });
                }
            }
        }
        worst.refuses(policy)
    }

    /// Gives back what a call had at once, not what it has spent.
    pub(super) fn leave(&mut self, taken: &Taken) {
        for share in &taken.shares {
            if let Some(account) = self.scopes.get_mut(share.account) {
                account.windows.leave();
            }
        }
        if let Some(windows) = taken.model.and_then(|(place, _)| self.models.get_mut(place)) {
            windows.leave();
        }
    }

    /// Gives back everything that was taken.
    pub(super) fn give_back(&mut self, taken: Taken) {
        for Share { account, stamps, hold } in taken.shares {
            let Some(account) = self.scopes.get_mut(account) else { continue };
            account.windows.give_back(stamps, taken.tokens);
            if let Some(hold) = hold {
                account.meter.release(hold);
            }
        }
        if let Some((place, stamps)) = taken.model
            && let Some(windows) = self.models.get_mut(place)
        {
            windows.give_back(stamps, taken.tokens);
        }
    }

    /// Puts the truth in the place of what was held: tokens in the windows, what is owed in the
    /// budgets.
    pub(super) fn settle(&mut self, taken: Taken, now: Monotonic, tokens: u64, truth: &Amounts) {
        let delta = i64::try_from(tokens).unwrap_or(i64::MAX)
            - i64::try_from(taken.tokens).unwrap_or(i64::MAX);
        for Share { account, stamps, hold } in taken.shares {
            let Some(account) = self.scopes.get_mut(account) else { continue };
            account.windows.tokens.correct(stamps.tokens, now, delta);
            if let Some(hold) = hold {
                account.meter.settle(hold, truth);
            }
        }
        if let Some((place, stamps)) = taken.model
            && let Some(windows) = self.models.get_mut(place)
        {
            windows.tokens.correct(stamps.tokens, now, delta);
        }
    }
}

impl Windows {
    fn new() -> Self {
        Self { requests: RequestWindow::new(), tokens: TokenWindow::new(), in_flight: 0 }
    }

    fn check_rates(
        &mut self,
        now: Monotonic,
        requests: Option<u32>,
        tokens: Option<u64>,
        want: &Amounts,
    ) -> impl Iterator<Item = Limit> + use<> {
        let requests = requests.and_then(|limit| {
            let full = self.requests.check(now, u64::from(limit)).err()?;
            Some(Limit::Requests { limit, wait: full.millis(now) })
        });
        let wanted = want.tokens;
        let tokens = tokens.and_then(|limit| {
            let full = self.tokens.check(now, limit, wanted).err()?;
            Some(Limit::Tokens { limit, wanted, wait: full.millis(now) })
        });
        requests.into_iter().chain(tokens)
    }

    fn check_concurrency(&self, limit: Option<u32>, terms: Terms) -> Option<Limit> {
        match limit {
            // The call before it has the place.
            _ if terms == Terms::Successor => None,
            Some(limit) if self.in_flight >= limit => Some(Limit::Concurrency { limit }),
            _ => None,
        }
    }

    fn take(&mut self, now: Monotonic, tokens: u64) -> Stamps {
        self.in_flight += 1;
        Stamps { requests: self.requests.take(now), tokens: self.tokens.take(now, tokens) }
    }

    fn give_back(&mut self, stamps: Stamps, tokens: u64) {
        self.requests.give_back(stamps.requests);
        self.tokens.give_back(stamps.tokens, tokens);
        self.leave();
    }

    const fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}
