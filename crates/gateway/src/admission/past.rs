//! Rates over a restart: the calls of the last minute count on, as if nothing had ended.
//!
//! Budgets are kept in a ledger by minute, which is too coarse for a window that slides. But every
//! admitted call has its row, with its time and what it spent, so the windows are filled from those.

use std::sync::Arc;

use super::{Admission, WallTime, named};
use crate::keyring::Snapshot;
use crate::keys::{ScopeId, UnixMillis};
use crate::limits::Monotonic;
use crate::policy::Policy;
use crate::store::{CallFilter, CallRow, Store, StoreError};

/// How far back a window reaches: tokens count by whole seconds, so up to one more than a minute.
pub(super) const REACH: u64 = 61_000;
/// Most calls that are read, the newest, since a start must not take long.
/// Where there were more, the time before is taken to have been like the time that is known.
const MOST: usize = if cfg!(test) { 40 } else { 200_000 };
/// The shortest time, in milliseconds, that what was before is told from: nobody makes that many calls
/// in less.
const SHORTEST: UnixMillis = 10_000;
/// Calls of one read.
const PAGE: usize = if cfg!(test) { 10 } else { 1000 };

/// What is kept of a call: when it came, what it took, and whose rates it counted towards.
struct Past {
    received: UnixMillis,
    tokens: u64,
    scopes: Arc<[ScopeId]>,
    /// The place of the rule for its model.
    rule: Option<usize>,
}

impl Admission {
    /// Reads from a store which calls of these keys were admitted in the last minute. Before the
    /// first call.
    pub async fn load_rates(&self, store: &dyn Store, keys: &Snapshot) -> Result<(), StoreError> {
        if !self.has_rates(keys) {
            return Ok(());
        }
        let wall = self.clock().now();
        let since = wall.saturating_sub(i64::try_from(REACH).unwrap_or(i64::MAX));
        let filter = CallFilter { received: Some(since..UnixMillis::MAX), ..CallFilter::default() };
        let policy = self.policy();
        let (mut calls, mut after, mut read) = (Vec::new(), None, 0);
        loop {
            let page = store.calls(filter.clone(), after, PAGE).await?;
            read += page.calls.len();
            calls.extend(page.calls.iter().filter_map(|call| Past::of(call, keys, &policy)));
            after = page.next;
            if after.is_none() || read >= MOST {
                break;
            }
        }
        // A window goes forward only.
        calls.reverse();
        let known = calls.first().map_or(0, |oldest| wall.saturating_sub(oldest.received));
        let known = known.max(SHORTEST);
        let reach = wall.saturating_sub(since);
        let before = if after.is_some() { reach / known } else { 0 };
        let now = self.monotonic();
        let mut accounts = self.lock();
        for back in (0..=before).rev() {
            for call in &calls {
                let age = wall.saturating_sub(call.received).saturating_add(back * known).max(0);
                if age > reach {
                    continue;
                }
                let age = u64::try_from(age).unwrap_or(0);
                let at = Monotonic(now.0.saturating_sub(age));
                for scope in &*call.scopes {
                    let account = accounts.account(scope, WallTime(wall), &policy);
                    let Some(account) = account else { continue };
                    account.windows.requests.take(at);
                    account.windows.tokens.take(at, call.tokens);
                }
                let rule = call.rule.and_then(|place| policy.models.get(place));
                if let Some(windows) = rule.and_then(|(pattern, _)| accounts.model(pattern)) {
                    windows.requests.take(at);
                    windows.tokens.take(at, call.tokens);
                }
            }
        }
        Ok(())
    }

    /// Whether anything has a rate.
    fn has_rates(&self, keys: &Snapshot) -> bool {
        let scopes = keys.keys().flat_map(|key| &key.scopes).map(|scope| &scope.bounds);
        let mut scopes = scopes.map(|it| (it.requests_per_minute, it.tokens_per_minute));
        let policy = self.policy();
        let models = policy.models.iter().map(|(_, limits)| limits);
        let mut models = models.map(|it| (it.requests_per_minute, it.tokens_per_minute));
        let some =
            |(requests, tokens): (Option<u32>, Option<u64>)| requests.is_some() || tokens.is_some();
        scopes.any(some) || models.any(some)
    }
}

impl Past {
    /// What is kept of a call, unless it was refused.
    fn of(call: &CallRow, keys: &Snapshot, policy: &Policy) -> Option<Self> {
        let tokens = taken(call)?;
        let model = named(&call.model);
        let rule = policy.models.iter().position(|(pattern, _)| pattern.matches(model));
        Some(Self { received: call.received, tokens, scopes: scopes(call, keys), rule })
    }
}

/// What a call took of rates, in tokens; `None` where it was refused.
fn taken(call: &CallRow) -> Option<u64> {
    let paid = call.spent.unwrap_or(call.reserved);
    if paid.requests > 0 {
        return Some(paid.tokens);
    }
    // A sandbox spends nothing, and neither does who takes over the answer of another.
    let free = call.failure.is_none() && (call.sandbox || call.replay_of.is_some());
    let tokens =
        if call.sandbox { call.input_tokens.saturating_add(call.output_tokens) } else { 0 };
    free.then_some(tokens)
}

/// Whose rates a call counted towards. A key that is gone leaves its tenant.
fn scopes(call: &CallRow, keys: &Snapshot) -> Arc<[ScopeId]> {
    match call.key.and_then(|id| keys.key(id)) {
        Some(key) => Arc::clone(&key.debited),
        None => call.tenant.iter().cloned().map(ScopeId::Tenant).collect(),
    }
}
