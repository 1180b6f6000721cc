//! What a call owes, settled exactly once.
//!
//! The truth of a call whose caller has gone may come late: the host goes on, and bills. So a call
//! and each sampling of it that is still out share one bill, and whoever is last settles it. A
//! sampling that nobody hears of any more is charged as reserved: hanging up early is never free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{CallId, Usage};

use super::{Admission, Ask, Taken, Terms};
use crate::amounts::Amounts;
use crate::audit::Audit;
use crate::policy::{Policy, Tokens};
use crate::store::Spending;

/// What a call has taken and owes.
#[derive(Debug)]
pub struct Bill {
    admission: Arc<Admission>,
    policy: Arc<Policy>,
    terms: Terms,
    model: Box<str>,
    /// What is charged if nothing more is heard; scopes and time of what is charged at last.
    reserved: Spending,
    /// The same in tokens, for one sampling.
    per_sampling: Tokens,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Nothing once it is settled.
    taken: Taken,
    /// Samplings that are out although their call has ended.
    out: u32,
    /// What those cost that have been heard of.
    late: Vec<Served>,
    /// The call's own end: requests and tokens, and who is told of the sum.
    ended: Option<Ended>,
    /// Whether the call has given back what it had at once.
    left: bool,
    settled: bool,
}

#[derive(Debug)]
struct Ended {
    id: CallId,
    requests: u64,
    used: Served,
    audit: Option<Arc<Audit>>,
}

/// Tokens, and the model that they are of, where that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Served {
    model: Option<Box<str>>,
    tokens: Tokens,
}

/// A sampling that brings its call no answer, as it is still out after its end or has failed.
/// Dropping it charges what was reserved.
#[derive(Debug)]
pub struct Outstanding {
    bill: Arc<Bill>,
    cost: Option<Served>,
}

/// How a call is settled.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Now, and this is what it spent. The flag says whether that is more than was reserved.
    Now(Spending, bool),
    /// Later, when a sampling that is still out has been heard of, and not before this is dropped:
    /// the store must have heard of the end first.
    Later(Outstanding),
}

impl Bill {
    pub(super) fn new(
        admission: Arc<Admission>,
        policy: Arc<Policy>,
        terms: Terms,
        ask: &Ask<'_>,
        taken: Taken,
        reserved: Spending,
        per_sampling: Tokens,
    ) -> Self {
        let late = Vec::new();
        let state = State { taken, out: 0, late, ended: None, left: false, settled: false };
        let (model, state) = (ask.model.into(), Mutex::new(state));
        Self { admission, policy, terms, model, reserved, per_sampling, state }
    }

    /// What is charged if nothing more is heard of the call.
    pub(crate) const fn reserved(&self) -> &Spending {
        &self.reserved
    }

    /// Notes a sampling that goes on at a host after its call has let go of it, or that has failed: what
    /// it costs is to be told.
    pub fn outstanding(self: &Arc<Self>) -> Outstanding {
        self.lock().out += 1;
        Outstanding { bill: Arc::clone(self), cost: None }
    }

    /// The call has ended and is known to have used this. Settles it, unless a sampling is still
    /// out; then the last one does.
    pub(crate) fn end(
        self: &Arc<Self>,
        id: CallId,
        asked: bool,
        usage: &Usage,
        model: Option<&str>,
        audit: Option<&Arc<Audit>>,
    ) -> Settled {
        let mut state = self.lock();
        if state.settled {
            return Settled::Now(Spending::default(), false);
        }
        self.leave(&mut state);
        let tokens = Tokens {
            input: usage.input.saturating_add(usage.cache_write),
            cached_input: usage.cached_input,
            output: usage.output,
        };
        let used = Served { model: model.map(Into::into), tokens };
        let requests = u64::from(asked || state.out > 0 || !state.late.is_empty());
        if state.out > 0 {
            state.out += 1;
            state.ended = Some(Ended { id, requests, used, audit: audit.cloned() });
            let cost = Some(Served::default());
            return Settled::Later(Outstanding { bill: Arc::clone(self), cost });
        }
        let (spending, overrun) = self.settle(&mut state, requests, used);
        Settled::Now(spending, overrun)
    }

    /// Gives back all that was taken, as if the call had never been. A call that has ended is
    /// settled by its end.
    pub(crate) fn give_back(&self) {
        let mut state = self.lock();
        if !state.left {
            (state.left, state.settled) = (true, true);
            let taken = std::mem::take(&mut state.taken);
            self.admission.lock().give_back(taken);
        }
    }

    /// Puts the truth in the place of what was held, once: what the call itself has used, and what
    /// came late. Says what it spent, and whether that is more than was reserved.
    fn settle(&self, state: &mut State, requests: u64, used: Served) -> (Spending, bool) {
        state.settled = true;
        let mut counted = Amounts::default();
        let mut requests = Some(requests);
        for Served { model, tokens } in by_model(used, std::mem::take(&mut state.late)) {
            let more = self.price(model.as_deref(), requests.take().unwrap_or(0), tokens);
            counted = counted.plus(&more);
        }
        let truth = self.terms.owed(&counted, &self.reserved.scopes);
        self.admission.settle(&mut state.taken, counted.tokens, &truth);
        let overrun =
            truth.tokens > self.reserved.amounts.tokens || truth.cost > self.reserved.amounts.cost;
        (Spending { amounts: truth, ..self.reserved.clone() }, overrun)
    }

    /// What tokens come to. The model that answered has a price of its own, where the caller left
    /// the choice.
    fn price(&self, model: Option<&str>, requests: u64, tokens: Tokens) -> Amounts {
        let policy = &self.policy;
        match model {
            Some(model) if policy.has_price(model) => policy.amounts(model, requests, tokens),
            Some(_) => policy.amounts(&self.model, requests, tokens),
            None => policy.expected(&self.model, requests, tokens),
        }
    }

    fn leave(&self, state: &mut State) {
        if !std::mem::replace(&mut state.left, true) {
            self.admission.lock().leave(&state.taken);
        }
    }

    /// A sampling has been heard of, or given up.
    fn heard(&self, cost: Option<Served>) {
        let mut state = self.lock();
        let cost = cost.unwrap_or(Served { model: None, tokens: self.per_sampling });
        if cost != Served::default() {
            state.late.push(cost);
        }
        state.out = state.out.saturating_sub(1);
        if state.out > 0 || state.settled {
            return;
        }
        let Some(Ended { id, requests, used, audit }) = state.ended.take() else { return };
        let (spending, _) = self.settle(&mut state, requests, used);
        drop(state);
        if let Some(audit) = audit {
            audit.settle(id, spending);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds up what is of one model, so that its price is rounded once. What is of no known model is
/// taken to be of that which answered the call. First stands the one that the request itself is
/// priced by.
fn by_model(used: Served, late: Vec<Served>) -> Vec<Served> {
    let own = used.model.clone();
    let mut sums = vec![used];
    for mut one in late {
        one.model = one.model.or_else(|| own.clone());
        match sums.iter_mut().find(|sum| sum.model == one.model) {
            Some(sum) => sum.tokens = sum.tokens.plus(one.tokens),
            None => sums.push(one),
        }
    }
    sums.sort_by_key(|sum| sum.model.is_none());
    sums
}

impl Drop for Bill {
    /// A call that was lost, by a panic, is charged as reserved, as it will be at the next start.
    fn drop(&mut self) {
        let mut state = self.lock();
        if state.settled {
            return;
        }
        self.leave(&mut state);
        // In the windows also what is not owed.
        let tokens = state.taken.tokens();
        self.admission.settle(&mut state.taken, tokens, &self.reserved.amounts);
    }
}

impl Outstanding {
    /// An answer came that the call cannot have, of this model where that is known, and has this many
    /// tokens.
    pub fn answered(mut self, model: Option<&str>, output: u64) {
        let tokens = Tokens { output, ..self.bill.per_sampling };
        let model = model.filter(|name| !name.is_empty()).map(Into::into);
        self.cost = Some(Served { model, tokens });
    }

    /// The host has said that it stopped, or failed: only what it had read is charged.
    pub fn stopped(mut self) {
        let tokens = Tokens { output: 0, ..self.bill.per_sampling };
        self.cost = Some(Served { model: None, tokens });
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.bill.heard(self.cost.take());
    }
}
