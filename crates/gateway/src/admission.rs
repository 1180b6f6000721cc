//! Who may call now, and what it takes.
//!
//! All scopes of a call (its key, that key's ancestors, the tenant, the model) are decided at
//! once, under one lock that is held for a few map look-ups: so the last unit of any limit goes to
//! exactly one caller, and a refusal takes nothing from anybody. What was taken comes back by the
//! [`Bill`], exactly once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use model::{CompletionRequest, Failure, Loss};
use tokio::time::Instant;

use crate::amounts::{Amounts, Budget, Span, Unit};
use crate::budgets::{Hold, Meter, WallTime};
use crate::clock::WallClock;
use crate::keyring::{ActiveKey, Scope};
use crate::keys::{KeyKind, ScopeId};
use crate::limits::{Monotonic, RequestWindow, TokenWindow};
use crate::policy::{Policy, Tokens};
use crate::store::{Spending, Store, StoreError};

mod bill;
mod past;
mod refusal;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use bill::Settled;
pub use bill::{Bill, Outstanding};
use refusal::{Limit, refuse};
pub use report::{BudgetReport, RateReport, Rates, ScopeReport};

/// Decides over all calls of this process.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    policy: ArcSwap<Policy>,
    clock: Arc<dyn WallClock>,
    started: Instant,
}

#[derive(Debug, Default)]
struct State {
    scopes: HashMap<ScopeId, Account, RandomState>,
    /// By the pattern that the model falls under.
    models: HashMap<Box<str>, Windows, RandomState>,
}

/// What is counted for a key or tenant.
#[derive(Debug)]
struct Account {
    windows: Windows,
    meter: Meter,
}

/// What slides.
#[derive(Debug)]
struct Windows {
    requests: RequestWindow,
    tokens: TokenWindow,
    in_flight: u32,
}

impl Windows {
    fn new() -> Self {
        Self { requests: RequestWindow::new(), tokens: TokenWindow::new(), in_flight: 0 }
    }
}

/// What a call asks of admission.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The key that was shown.
    pub key: Option<&'a ActiveKey>,
    /// The model, as the caller names it.
    pub model: &'a str,
    /// Our estimate of the tokens in the request.
    pub input_tokens: u64,
    /// The bound of the reply that the caller asks for.
    pub max_output: Option<u64>,
    /// Replies.
    pub choices: u64,
    /// The most samplings that each of them may need: an answer without the shape that was asked for
    /// is asked for once more.
    pub samplings: u64,
}

/// What a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Terms {
    /// Everything.
    Paid,
    /// Everything but budgets: a sandbox costs nothing. Uses are a bound of its keys, and count.
    Free,
    /// A request of the minute.
    Successor,
}

impl Terms {
    /// Whether a call is debited to a scope.
    const fn debits(self, scope: &Scope) -> bool {
        match self {
            Self::Paid => true,
            Self::Free => scope.uses.is_some(),
            Self::Successor => false,
        }
    }

    /// The scopes of a key that a call is debited to.
    fn debited(self, key: &ActiveKey) -> Arc<[ScopeId]> {
        if self == Self::Paid {
            return Arc::clone(&key.debited);
        }
        let debited = key.scopes.iter().filter(|scope| self.debits(scope));
        debited.map(|scope| scope.id.clone()).collect()
    }

    /// What a call owes of what it counts: who does not pay spends nothing, but the use of a key.
    fn owed(self, counted: &Amounts, debited: &[ScopeId]) -> Amounts {
        match self {
            Self::Paid => *counted,
            Self::Free if !debited.is_empty() => {
                Amounts { requests: counted.requests, ..Amounts::default() }
            }
            Self::Free | Self::Successor => Amounts::default(),
        }
    }
}

/// What a call has taken.
#[derive(Debug)]
struct Taken {
    scopes: Arc<[ScopeId]>,
    /// Those of them that something is to be paid of.
    debited: Arc<[ScopeId]>,
    /// When, for the window of requests and of tokens of each scope and of the model.
    stamps: Vec<Monotonic>,
    /// Of each of those that are debited.
    holds: Vec<Hold>,
    model: Option<Box<str>>,
    tokens: u64,
}

impl Admission {
    /// An admission under a policy, with nothing spent.
    pub fn new(policy: Policy, clock: Arc<dyn WallClock>) -> Self {
        let policy = ArcSwap::from_pointee(policy);
        Self { state: Mutex::default(), policy, clock, started: Instant::now() }
    }

    /// Replaces the policy. Calls that run keep theirs.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// The policy now.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// Reads from a store what was spent in the windows of now. Before the first call.
    pub async fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        let policy = self.policy();
        let now = WallTime(self.clock.now());
        for span in Span::ALL {
            let window = policy.calendar.window(span, now);
            let spent = store.spent(window.start.0..window.end.0).await?;
            let mut state = self.lock();
            for (scope, amounts) in spent {
                let account = state.scopes.entry(scope);
                let account = account.or_insert_with(|| Account::new(now, &policy));
                account.meter.load(span, amounts);
            }
        }
        Ok(())
    }

    /// Takes what a call needs of every scope, or says which one refuses. Then nothing is taken.
    ///
    /// # Errors
    ///
    /// `Forbidden` for a model that is not in the key's scope, `RateLimited` for windows and
    /// concurrency, `OverBudget` for budgets.
    pub fn admit(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Arc<Bill>, Failure> {
        let terms = if is_sandbox(ask) { Terms::Free } else { Terms::Paid };
        self.admit_on(terms, ask)
    }

    /// As [`admit`](Self::admit), for a call that takes over the answer of another: that one has
    /// asked and pays, so this one takes no more than a request of the minute.
    pub(crate) fn admit_successor(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Arc<Bill>, Failure> {
        self.admit_on(Terms::Successor, ask)
    }

    fn admit_on(self: &Arc<Self>, terms: Terms, ask: &Ask<'_>) -> Result<Arc<Bill>, Failure> {
        let ask = &Ask { model: named(ask.model), ..*ask };
        let policy = self.policy();
        let scopes = ask.key.map_or(&[][..], |key| &key.scopes);
        check_model(ask)?;
        let sampling = match terms {
            Terms::Successor => Tokens::default(),
            Terms::Paid | Terms::Free => sampling_tokens(ask, scopes, &policy),
        };
        let reserved = reserved_amounts(ask, sampling, &policy);
        let taken = self.take(terms, ask, scopes, &policy, &reserved)?;
        let first = taken.holds.first().map(Hold::admitted_at);
        let admitted = first.map_or_else(|| self.clock.now(), |at| at.0);
        let (scopes, amounts) = (Arc::clone(&taken.debited), terms.owed(&reserved, &taken.debited));
        let spending = Spending { scopes, admitted, amounts };
        Ok(Arc::new(Bill::new(Arc::clone(self), policy, terms, ask, taken, spending, sampling)))
    }

    /// Says what [`admit`](Self::admit) would say, and what would be reserved, and takes nothing.
    pub fn explain(&self, ask: &Ask<'_>) -> (Amounts, Result<(), Failure>) {
        let ask = &Ask { model: named(ask.model), ..*ask };
        let policy = self.policy();
        let scopes = ask.key.map_or(&[][..], |key| &key.scopes);
        let reserved = reserved_amounts(ask, sampling_tokens(ask, scopes, &policy), &policy);
        let outcome = check_model(ask).and_then(|()| {
            let mut state = self.lock();
            let terms = if is_sandbox(ask) { Terms::Free } else { Terms::Paid };
            self.check(&mut state, terms, ask, scopes, &policy, &reserved)
        });
        (reserved, outcome)
    }

    /// Checks every limit in the order of the house: rates, concurrency, budgets.
    fn check(
        &self,
        state: &mut State,
        terms: Terms,
        ask: &Ask<'_>,
        scopes: &[Scope],
        policy: &Policy,
        want: &Amounts,
    ) -> Result<(), Failure> {
        let now = self.monotonic();
        // A clock that was put back does not part the scopes of a call: it counts in one window of
        // all of them, as it does in the ledger.
        let now_here = WallTime(self.clock.now());
        let mut wall = now_here;
        for scope in scopes {
            wall = wall.max(state.account(&scope.id, now_here, policy).meter.latest());
        }
        for scope in scopes {
            let account = state.account(&scope.id, wall, policy);
            account.meter.roll(wall, &policy.calendar);
        }
        for scope in scopes {
            let bounds = &scope.bounds;
            let (requests, tokens) = (bounds.requests_per_minute, bounds.tokens_per_minute);
            let account = state.account(&scope.id, wall, policy);
            account
                .windows
                .check_rates(now, requests, tokens, want)
                .map_err(|limit| refuse(&scope.id.to_string(), &limit, policy))?;
        }
        let model = policy.model(ask.model);
        if let Some((glob, limits)) = model {
            let windows = state.model(glob.as_str());
            let (requests, tokens) = (limits.requests_per_minute, limits.tokens_per_minute);
            windows
                .check_rates(now, requests, tokens, want)
                .and_then(|()| windows.check_concurrency(limits.concurrency, terms))
                .map_err(|limit| refuse(&format!("model:{}", glob.as_str()), &limit, policy))?;
        }
        for scope in scopes {
            let account = state.account(&scope.id, wall, policy);
            account
                .windows
                .check_concurrency(scope.bounds.concurrency, terms)
                .map_err(|limit| refuse(&scope.id.to_string(), &limit, policy))?;
        }
        if terms == Terms::Successor {
            return Ok(());
        }
        for scope in scopes {
            let account = state.account(&scope.id, wall, policy);
            let uses = scope.uses.map(uses_budget);
            let budgets = if terms == Terms::Paid { &scope.bounds.budgets[..] } else { &[] };
            for budgets in [uses.as_slice(), budgets] {
                account.meter.check(budgets, want).map_err(|exceeded| {
                    let budget = budgets.get(exceeded.budget).copied();
                    refuse(&scope.id.to_string(), &Limit::Budget { exceeded, budget }, policy)
                })?;
            }
        }
        Ok(())
    }

    fn take(
        &self,
        terms: Terms,
        ask: &Ask<'_>,
        scopes: &[Scope],
        policy: &Policy,
        want: &Amounts,
    ) -> Result<Taken, Failure> {
        let mut taken = Taken {
            scopes: ask.key.map_or_else(|| Arc::from([]), |key| Arc::clone(&key.debited)),
            debited: ask.key.map_or_else(|| Arc::from([]), |key| terms.debited(key)),
            stamps: Vec::with_capacity(2 * scopes.len() + 2),
            holds: Vec::with_capacity(scopes.len()),
            model: policy.model(ask.model).map(|(glob, _)| glob.as_str().into()),
            tokens: want.tokens,
        };
        if scopes.is_empty() && taken.model.is_none() {
            return Ok(taken);
        }
        let mut state = self.lock();
        self.check(&mut state, terms, ask, scopes, policy, want)?;
        let now = self.monotonic();
        let wall = WallTime(self.clock.now());
        let owed = terms.owed(want, &taken.debited);
        for scope in scopes {
            let account = state.account(&scope.id, wall, policy);
            account.windows.take(now, want.tokens, &mut taken.stamps);
            if terms.debits(scope) {
                taken.holds.push(account.meter.hold(&owed));
            }
        }
        if let Some(model) = &taken.model {
            state.model(model).take(now, want.tokens, &mut taken.stamps);
        }
        Ok(taken)
    }

    /// Gives back what a call had at once, not what it has spent.
    fn leave(&self, scopes: &[ScopeId], model: Option<&str>) {
        let mut state = self.lock();
        for scope in scopes {
            if let Some(account) = state.scopes.get_mut(scope) {
                account.windows.leave();
            }
        }
        if let Some(windows) = model.and_then(|model| state.models.get_mut(model)) {
            windows.leave();
        }
    }

    /// Gives back everything that was taken.
    fn give_back(&self, taken: &Taken, holds: Vec<Hold>) {
        let mut guard = self.lock();
        let State { scopes, models } = &mut *guard;
        let accounts = taken.scopes.iter();
        let mut stamps = taken.stamps.chunks_exact(2);
        for (scope, stamps) in accounts.zip(stamps.by_ref()) {
            if let (Some(account), [requests, tokens]) = (scopes.get_mut(scope), stamps) {
                account.windows.give_back(*requests, *tokens, taken.tokens);
            }
        }
        for (scope, hold) in taken.debited.iter().zip(holds) {
            if let Some(account) = scopes.get_mut(scope) {
                account.meter.release(hold);
            }
        }
        let model = taken.model.as_deref().and_then(|model| models.get_mut(model));
        if let (Some(windows), Some([requests, tokens])) = (model, stamps.next()) {
            windows.give_back(*requests, *tokens, taken.tokens);
        }
    }

    /// The time of day.
    pub fn clock(&self) -> &dyn WallClock {
        &*self.clock
    }

    /// Puts the truth in the place of what was held: tokens in the windows, what is owed in the
    /// budgets.
    fn settle(&self, taken: &Taken, holds: Vec<Hold>, tokens: u64, truth: &Amounts) {
        let now = self.monotonic();
        let delta = i64::try_from(tokens).unwrap_or(i64::MAX)
            - i64::try_from(taken.tokens).unwrap_or(i64::MAX);
        let mut state = self.lock();
        // The second of each pair of stamps is that of the tokens.
        let mut stamps = taken.stamps.iter().skip(1).step_by(2);
        for scope in &*taken.scopes {
            let (Some(account), Some(stamp)) = (state.scopes.get_mut(scope), stamps.next()) else {
                break;
            };
            account.windows.tokens.correct(*stamp, now, delta);
        }
        for (scope, hold) in taken.debited.iter().zip(holds) {
            if let Some(account) = state.scopes.get_mut(scope) {
                account.meter.settle(hold, truth);
            }
        }
        let model = taken.model.as_deref().and_then(|model| state.models.get_mut(model));
        if let (Some(windows), Some(stamp)) = (model, taken.stamps.last()) {
            windows.tokens.correct(*stamp, now, delta);
        }
    }

    /// Milliseconds since the start, by a clock that cannot jump, and as many more as the windows
    /// reach back behind it.
    fn monotonic(&self) -> Monotonic {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Monotonic(since).plus(past::REACH)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole between two statements, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lowers what a request asks for to what its key allows, by name.
pub(crate) fn bound_output(key: &ActiveKey, request: &mut CompletionRequest) {
    let Some(bound) = key.scopes.iter().filter_map(|scope| scope.bounds.max_output).min() else {
        return;
    };
    if request.params.max_tokens.is_some_and(|asked| asked > bound) {
        request.losses.insert(Loss::MaxTokensClamped);
    }
    let asked = request.params.max_tokens.unwrap_or(bound);
    request.params.max_tokens = Some(asked.min(bound));
}

/// The name that a model is bounded, limited and paid under: who names none leaves the choice.
fn named(model: &str) -> &str {
    if model.trim().is_empty() { "auto" } else { model }
}

fn check_model(ask: &Ask<'_>) -> Result<(), Failure> {
    match ask.key.and_then(|key| key.bars_model(ask.model)) {
        Some(scope) => Err(refusal::model(&scope.id, ask.model, &scope.bounds.models)),
        None => Ok(()),
    }
}

fn is_sandbox(ask: &Ask<'_>) -> bool {
    ask.key.is_some_and(|key| key.key.kind == KeyKind::Sandbox)
}

const fn uses_budget(limit: u64) -> Budget {
    Budget { unit: Unit::Requests, span: Span::Total, limit }
}

/// What one sampling may take. Agents ask for far more than they get, so that is not believed unless
/// the operator wants it. Then what hosts do with a small bound is not believed either: they may
/// not even look at it.
fn sampling_tokens(ask: &Ask<'_>, scopes: &[Scope], policy: &Policy) -> Tokens {
    let bound = scopes.iter().filter_map(|scope| scope.bounds.max_output).min();
    let bound = bound.unwrap_or(u64::MAX);
    let output = match ask.max_output {
        // Nobody is asked.
        Some(0) => 0,
        asked if policy.hard => {
            asked.unwrap_or(policy.default_output).min(bound).max(policy.expected_output)
        }
        asked => asked.unwrap_or(u64::MAX).min(policy.expected_output).min(bound),
    };
    Tokens { input: ask.input_tokens, cached_input: 0, output }
}

/// What all samplings of a call may cost. Where nothing may overspend, those are all that there may
/// be, at the price of the dearest model.
fn reserved_amounts(ask: &Ask<'_>, sampling: Tokens, policy: &Policy) -> Amounts {
    let replies = sampling.times(ask.choices);
    if !policy.hard {
        return policy.expected(ask.model, 1, replies);
    }
    let samplings = if ask.max_output == Some(0) { 1 } else { ask.samplings.max(1) };
    policy.most(ask.model, 1, replies.times(samplings))
}

impl State {
    fn account(&mut self, scope: &ScopeId, now: WallTime, policy: &Policy) -> &mut Account {
        self.scopes.entry(scope.clone()).or_insert_with(|| Account::new(now, policy))
    }

    fn model(&mut self, pattern: &str) -> &mut Windows {
        self.models.entry(pattern.into()).or_insert_with(Windows::new)
    }
}

impl Account {
    fn new(now: WallTime, policy: &Policy) -> Self {
        Self { windows: Windows::new(), meter: Meter::new(now, &policy.calendar) }
    }
}

impl Windows {
    fn check_rates(
        &mut self,
        now: Monotonic,
        requests: Option<u32>,
        tokens: Option<u64>,
        want: &Amounts,
    ) -> Result<(), Limit> {
        if let Some(limit) = requests {
            self.requests
                .check(now, u64::from(limit))
                .map_err(|wait| Limit::Requests { limit, wait: wait.millis(now) })?;
        }
        if let Some(limit) = tokens {
            let wanted = want.tokens;
            self.tokens.check(now, limit, wanted).map_err(|wait| Limit::Tokens {
                limit,
                wanted,
                wait: wait.millis(now),
            })?;
        }
        Ok(())
    }

    fn check_concurrency(&self, limit: Option<u32>, terms: Terms) -> Result<(), Limit> {
        match limit {
            // The call before it has the place.
            _ if terms == Terms::Successor => Ok(()),
            Some(limit) if self.in_flight >= limit => Err(Limit::Concurrency { limit }),
            _ => Ok(()),
        }
    }

    fn take(&mut self, now: Monotonic, tokens: u64, stamps: &mut Vec<Monotonic>) {
        stamps.push(self.requests.take(now));
        stamps.push(self.tokens.take(now, tokens));
        self.in_flight += 1;
    }

    fn give_back(&mut self, requests: Monotonic, of_tokens: Monotonic, tokens: u64) {
        self.requests.give_back(requests);
        self.tokens.give_back(of_tokens, tokens);
        self.leave();
    }

    const fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}
