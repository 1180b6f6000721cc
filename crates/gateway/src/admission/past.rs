//! Rates over a restart: the calls of the last minute count on, as if nothing had ended.
//!
//! Budgets are kept in a ledger by minute, which is too coarse for a window that slides. But every
//! admitted call has its row, with its time and what it spent, so the windows are filled from those.

use std::sync::Arc;

use super::{Admission, WallTime, named};
use crate::keyring::Snapshot;
use crate::keys::{ScopeId, UnixMillis};
use crate::limits::Monotonic;
use crate::store::{CallFilter, CallRow, Store, StoreError};

/// How far back a window reaches: tokens count by whole seconds, so up to one more than a minute.
pub(super) const REACH: u64 = 61_000;
/// Most calls that are read, the newest. A start must not take long, and whoever makes more in a
/// minute is held by the newest of them all the same.
const MOST: usize = 10_000;
/// Calls of one read.
const PAGE: usize = 1000;

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
        let (mut calls, mut after) = (Vec::new(), None);
        loop {
            let page = store.calls(filter.clone(), after, PAGE).await?;
            calls.extend(page.calls);
            after = page.next;
            if after.is_none() || calls.len() >= MOST {
                break;
            }
        }
        let now = self.monotonic();
        let policy = self.policy();
        let mut accounts = self.lock();
        // A window goes forward only.
        for call in calls.iter().rev() {
            let Some(tokens) = taken(call) else { continue };
            let age = u64::try_from(wall.saturating_sub(call.received)).unwrap_or(0);
            let at = Monotonic(now.0.saturating_sub(age));
            for scope in &*scopes(call, keys) {
                let Some(account) = accounts.account(scope, WallTime(wall), &policy) else {
                    continue;
                };
                account.windows.requests.take(at);
                account.windows.tokens.take(at, tokens);
            }
            if let Some((pattern, _)) = policy.model(named(&call.model))
                && let Some(windows) = accounts.model(pattern)
            {
                windows.requests.take(at);
                windows.tokens.take(at, tokens);
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
