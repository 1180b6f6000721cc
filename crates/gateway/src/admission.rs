//! Who may call now, and what it takes.
//!
//! All scopes of a call (its key, that key's ancestors, the tenant, the model) are decided at
//! once, under one lock that is held for a few map look-ups: so the last unit of any limit goes to
//! exactly one caller, and a refusal takes nothing from anybody. What was taken comes back by the
//! [`Bill`], exactly once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use model::{CompletionRequest, Failure, Loss};
use tokio::time::Instant;

use crate::amounts::{Amounts, Budget, Span, Unit};
use crate::budgets::WallTime;
use crate::clock::WallClock;
use crate::keyring::{ActiveKey, Scope};
use crate::keys::{KeyKind, ScopeId};
use crate::limits::Monotonic;
use crate::policy::{Policy, Tokens};
use crate::store::{Spending, Store, StoreError};

mod accounts;
mod bill;
mod past;
mod refusal;
mod report;
#[cfg(test)]
mod tests;

use accounts::{Accounts, Demand, Taken};
pub(crate) use bill::Settled;
pub use bill::{Bill, Outstanding};
pub use report::{BudgetReport, ModelReport, RateReport, Rates, ScopeReport};

/// Decides over all calls of this process.
#[derive(Debug)]
pub struct Admission {
    accounts: Mutex<Accounts>,
    policy: ArcSwap<Policy>,
    clock: Arc<dyn WallClock>,
    started: Instant,
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
    /// The bound of each reply that the caller asks for.
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

impl Admission {
    /// An admission under a policy, with nothing spent.
    pub fn new(policy: Policy, clock: Arc<dyn WallClock>) -> Self {
        let policy = ArcSwap::from_pointee(policy);
        Self { accounts: Mutex::default(), policy, clock, started: Instant::now() }
    }

    /// Replaces the policy. Calls that run keep theirs.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// The policy now.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// The pattern of the limits that a model falls under.
    pub(crate) fn rule_of(&self, model: &str) -> Option<String> {
        self.policy().model(named(model)).map(|(pattern, _)| pattern.as_str().to_owned())
    }

    /// Reads from a store what was spent in the windows of now, and in those to come if the clock
    /// was ahead once. Before the first call.
    pub async fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        let policy = self.policy();
        let now = WallTime(self.clock.now());
        for span in Span::ALL {
            self.load_span(store, span, now, &policy).await?;
        }
        let ahead = store.spent_after(now.0).await?;
        let mut accounts = self.lock();
        // An earlier try may have come so far.
        accounts.all().for_each(|account| account.meter.forget_foreseen());
        for (minute, scope, amounts) in ahead {
            if let Some(account) = accounts.account(&scope, now, &policy) {
                account.meter.foresee(WallTime(minute), amounts);
            }
        }
        Ok(())
    }

    /// Reads from a store what was spent in all, and so what is left of the uses of keys: enough where
    /// nobody is admitted.
    pub async fn load_totals(&self, store: &dyn Store) -> Result<(), StoreError> {
        let now = WallTime(self.clock.now());
        self.load_span(store, Span::Total, now, &self.policy()).await
    }

    async fn load_span(
        &self,
        store: &dyn Store,
        span: Span,
        now: WallTime,
        policy: &Policy,
    ) -> Result<(), StoreError> {
        let window = policy.calendar.window(span, now);
        let spent = store.spent(window.start.0..window.end.0).await?;
        let mut accounts = self.lock();
        for (scope, amounts) in spent {
            if let Some(account) = accounts.account(&scope, now, policy) {
                account.meter.load(span, amounts);
            }
        }
        Ok(())
    }

    /// Takes what a call needs of every scope, or says which one refuses. Then nothing is taken.
    ///
    /// # Errors
    ///
    /// `Forbidden` for a model that is not in the key's scope, and for more replies than it allows
    /// tokens, `RateLimited` for windows and concurrency, `OverBudget` for budgets.
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
        check_choices(ask)?;
        let sampling = match terms {
            Terms::Successor => Tokens::default(),
            Terms::Paid | Terms::Free => sampling_tokens(ask, scopes, &policy),
        };
        let reserved = reserved_amounts(ask, sampling, &policy);
        let debited = ask.key.map_or_else(|| Arc::from([]), |key| terms.debited(key));
        let owed = terms.owed(&reserved, &debited);
        let model = policy.model(ask.model);
        let taken = if scopes.is_empty() && model.is_none() {
            Taken::default()
        } else {
            let mut accounts = self.lock();
            let (now, wall) = self.times();
            let (want, owed, policy) = (&reserved, &owed, &*policy);
            accounts.take(&Demand { terms, scopes, model, want, owed, now, wall, policy })?
        };
        let admitted = taken.admitted_at().map_or_else(|| self.clock.now(), |at| at.0);
        let spending = Spending { scopes: debited, admitted, amounts: owed };
        Ok(Arc::new(Bill::new(Arc::clone(self), policy, terms, ask, taken, spending, sampling)))
    }

    /// Says what [`admit`](Self::admit) would say, and what would be reserved, and takes nothing.
    pub fn explain(&self, ask: &Ask<'_>) -> (Amounts, Result<(), Failure>) {
        let ask = &Ask { model: named(ask.model), ..*ask };
        let policy = self.policy();
        let scopes = ask.key.map_or(&[][..], |key| &key.scopes);
        let reserved = reserved_amounts(ask, sampling_tokens(ask, scopes, &policy), &policy);
        let outcome = check_model(ask).and_then(|()| check_choices(ask)).and_then(|()| {
            let terms = if is_sandbox(ask) { Terms::Free } else { Terms::Paid };
            let (model, want, policy) = (policy.model(ask.model), &reserved, &*policy);
            let mut accounts = self.lock();
            let (now, wall) = self.times();
            let owed = want;
            accounts.check(&Demand { terms, scopes, model, want, owed, now, wall, policy })
        });
        (reserved, outcome)
    }

    /// Puts the truth in the place of what was held.
    fn settle(&self, taken: &mut Taken, tokens: u64, truth: &Amounts) {
        let now = self.monotonic();
        self.lock().settle(std::mem::take(taken), now, tokens, truth);
    }

    /// The time of day.
    pub fn clock(&self) -> &dyn WallClock {
        &*self.clock
    }

    /// Milliseconds since the start, by a clock that cannot jump, and as many more as the windows
    /// reach back behind it.
    fn monotonic(&self) -> Monotonic {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Monotonic(since).plus(past::REACH)
    }

    /// Now, by both clocks.
    fn times(&self) -> (Monotonic, WallTime) {
        (self.monotonic(), WallTime(self.clock.now()))
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        // Every change is whole between two statements, so a poisoned lock is still good.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lowers what a request asks for to what its key allows, by name: so many tokens for all replies of a
/// call together.
pub(crate) fn bound_output(key: &ActiveKey, request: &mut CompletionRequest) {
    let choices = u64::from(request.params.choices.unwrap_or(1).max(1));
    let Some(bound) = least_output(&key.scopes).map(|(bound, _)| bound / choices) else { return };
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

/// The least output that a call is allowed, and by whom.
fn least_output(scopes: &[Scope]) -> Option<(u64, &Scope)> {
    let bounds = scopes.iter().filter_map(|scope| Some((scope.bounds.max_output?, scope)));
    bounds.min_by_key(|(bound, _)| *bound)
}

/// Each reply must have a token at least.
fn check_choices(ask: &Ask<'_>) -> Result<(), Failure> {
    match ask.key.and_then(|key| least_output(&key.scopes)) {
        Some((bound, scope)) if ask.choices > bound => {
            Err(refusal::choices(&scope.id, bound, ask.choices))
        }
        _ => Ok(()),
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
    let bound = least_output(scopes).map_or(u64::MAX, |(bound, _)| bound / ask.choices.max(1));
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
