//! What would become of a call.
//!
//! It asks the same questions in the same order as a call does, of the same parts, and takes
//! nothing. Its answer holds for the moment only: the next call may take what is left.

use model::{CompletionRequest, Failure, Loss, LossSet};

use crate::admission::bound_output;
use crate::amounts::Amounts;
use crate::complete::ask;
use crate::keys::{KeyKind, ScopeId};
use crate::{Caller, Gateway, Upstream};

/// What would become of a call now.
#[derive(Debug)]
pub struct Explained {
    /// Whether it would be admitted, or what it would be told.
    pub outcome: Result<(), Failure>,
    /// Whose limits and budgets it must fit into, as refusals name them; of the keys above only that
    /// they are there.
    pub scopes: Vec<String>,
    /// What it would take of every scope until its end; `None` where nothing is counted.
    pub reserved: Option<Amounts>,
    /// Who would answer.
    pub answering: Answering,
    /// The most tokens of one reply, after the bounds of the key.
    pub max_output: Option<u64>,
    /// What is lost already. What the upstream itself cannot carry is found out when it is asked.
    pub losses: LossSet,
}

/// Who would answer a call.
#[derive(Debug)]
pub struct Answering {
    /// The host or provider: the least busy one that is ready.
    pub name: Option<String>,
    /// Whether somebody is ready, or what is missing.
    pub ready: Result<(), Failure>,
}

impl Gateway {
    /// Says what would become of a call. Takes nothing, asks nobody and records nothing.
    ///
    /// The request is bounded as it would be on its way.
    pub fn explain(
        &self,
        caller: &Caller,
        request: &mut CompletionRequest,
        input_tokens: u64,
    ) -> Explained {
        if let Some(key) = &caller.key {
            bound_output(key, request);
        }
        let max_output = request.params.max_tokens;
        let mut losses = request.losses;
        if max_output == Some(0) {
            losses.insert(Loss::UsageEstimated);
            losses.insert(Loss::NoTokens);
        }
        let (reserved, admitted) = match self.admission() {
            Some(admission) => {
                let ask = ask(caller, request, input_tokens);
                let (mut reserved, admitted) = admission.explain(&ask);
                if ask.key.is_some_and(|key| key.key.kind == KeyKind::Sandbox) {
                    reserved.cost = 0;
                }
                (Some(reserved), admitted)
            }
            None => (None, Ok(())),
        };
        let upstream = self.upstream_for(caller);
        let outcome = self.open().and(admitted).and_then(|()| self.ready_for(caller));
        let outcome = match max_output {
            // Nobody is asked.
            Some(0) => outcome,
            _ => outcome.and_then(|()| upstream.room(caller)),
        };
        let scopes = self.scopes(caller, request.model.as_str());
        let answering = Answering::of(upstream);
        Explained { outcome, scopes, reserved, answering, max_output, losses }
    }
}

impl Gateway {
    /// Whose limits and budgets hold for a call.
    fn scopes(&self, caller: &Caller, model: &str) -> Vec<String> {
        let Some(admission) = self.admission() else { return Vec::new() };
        let keys = caller.key.iter().flat_map(|key| &key.scopes).enumerate();
        let names = keys.map(|(place, scope)| match (place, &scope.id) {
            (1.., ScopeId::Key(_)) => "parent".to_owned(),
            (_, scope) => scope.to_string(),
        });
        let rule = admission.rule_of(model).map(|pattern| format!("model:{pattern}"));
        names.chain(rule).collect()
    }
}

impl Answering {
    fn of(upstream: &dyn Upstream) -> Self {
        let ready = upstream.ready();
        let statuses = upstream.statuses().into_iter();
        let willing = statuses.filter(|status| ready.is_ok() && status.ready);
        let least_busy = willing.min_by_key(|status| (status.waiting, status.in_flight));
        Self { name: least_busy.map(|status| status.name), ready }
    }
}
