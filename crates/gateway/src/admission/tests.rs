//! Laws of admission: the last unit goes to one, a refusal takes nothing, and what was taken is
//! settled once.

use std::sync::Arc;

use model::{CallId, Usage};

use super::{Admission, Ask, Bill, Settled};
use crate::amounts::{Amounts, Budget, Span, Unit};
use crate::keyring::ActiveKey;
use crate::keys::{Bounds, ScopeId, Tenant, VirtualKey};
use crate::policy::{ModelLimits, Policy, Price};
use crate::store::Spending;
use crate::tests::keys::{Hands, active, key, team};

mod bills;
mod last_unit;
mod refusals;
mod reports;
mod reserved;
mod restarts;
mod settled;

/// A key, the one above it, their tenant, and what the operator says.
struct Family {
    top: VirtualKey,
    child: VirtualKey,
    tenant: Tenant,
    policy: Policy,
    clock: Arc<Hands>,
}

impl Family {
    /// Without any bound. A token costs 1,000 nano-dollars.
    fn new() -> Self {
        let top = key(1, None);
        let child = key(2, Some(&top));
        let prices = vec![("*".parse().unwrap(), per_token(1_000))];
        let policy = Policy { prices, ..Policy::default() };
        Self { top, child, tenant: team(), policy, clock: Hands::new() }
    }

    fn key(&self) -> Arc<ActiveKey> {
        active(&[self.top.clone(), self.child.clone()], &self.tenant)
    }

    fn admission(&self) -> Arc<Admission> {
        let clock = Arc::clone(&self.clock);
        Arc::new(Admission::new(self.policy.clone(), clock))
    }

    /// The bounds of the key, of the one above, and of the tenant.
    fn bounds(&mut self, level: usize) -> &mut Bounds {
        match level {
            0 => &mut self.child.bounds,
            1 => &mut self.top.bounds,
            _ => &mut self.tenant.bounds,
        }
    }

    /// Sets limits of the model `m`.
    fn limit_model(&mut self, limits: ModelLimits) {
        self.policy.models = vec![("m".parse().unwrap(), limits)];
    }
}

fn per_token(nanos: u64) -> Price {
    let pico = nanos * 1_000;
    Price { input: pico, cached_input: pico, output: pico, per_request: 0, multiplier: 1_000_000 }
}

const fn budget(unit: Unit, span: Span, limit: u64) -> Budget {
    Budget { unit, span, limit }
}

/// A call that may need 100 tokens.
fn ask(key: &ActiveKey) -> Ask<'_> {
    Ask {
        key: Some(key),
        model: "m",
        input_tokens: 10,
        max_output: Some(90),
        choices: 1,
        samplings: 1,
    }
}

const fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, cached_input: 0, cache_write: 0, reasoning: 0, estimated: true }
}

/// Ends a call that nothing of is out any more.
fn end(bill: &Arc<Bill>, asked: bool, usage: &Usage) -> (Spending, bool) {
    match bill.end(CallId::generate(), asked, usage, None, None) {
        Settled::Now(spending, overrun) => (spending, overrun),
        Settled::Later(..) => panic!("a sampling is out"),
    }
}

/// What is spent, held and in flight.
fn counted(admission: &Admission, scope: &ScopeId) -> (Amounts, Amounts, u32) {
    admission.counted(scope)
}

impl Admission {
    /// What is spent of a scope, held, and in flight.
    pub(crate) fn counted(&self, scope: &ScopeId) -> (Amounts, Amounts, u32) {
        let accounts = self.lock();
        let Some(account) = accounts.find(scope) else { return Default::default() };
        let (spent, held) = (account.meter.spent(Span::Total), account.meter.held(Span::Total));
        (spent, held, account.windows.in_flight)
    }
}

/// Everything that is counted of anybody, as text that can be compared.
fn all(admission: &Admission) -> String {
    format!("{:?}", admission.lock())
}

/// Runs under a clock that stands still unless it is told.
fn stopped<T>(body: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(body)
}
