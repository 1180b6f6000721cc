//! What is revoked and not yet on record.
//!
//! A revocation counts at once, whatever else is being written, so it lies over what the store knows:
//! a change that was read before it and is written after it does not bring the key back.

use std::collections::HashMap;

use super::{Change, Keyring, Snapshot};
use crate::keys::{ScopeId, Tenant, UnixMillis, VirtualKey};
use crate::store::Loaded;

/// Revocations that are not on record yet.
#[derive(Debug, Default)]
pub(super) struct Ending(HashMap<ScopeId, Pending>);

/// One of them.
#[derive(Debug)]
struct Pending {
    /// Since when it counts.
    at: UnixMillis,
    /// How many have asked for it, and wait for their turn to write it.
    asked: usize,
}

impl Ending {
    fn of_key(&self, key: &mut VirtualKey) {
        if let Some(pending) = self.0.get(&ScopeId::Key(key.id)) {
            key.revoked.get_or_insert(pending.at);
        }
    }

    fn of_tenant(&self, tenant: &mut Tenant) {
        if let Some(pending) = self.0.get(&ScopeId::Tenant(tenant.id.clone())) {
            tenant.revoked.get_or_insert(pending.at);
        }
    }

    /// A change as it counts now.
    pub(super) fn over(&mut self, change: &Change) -> Change {
        let mut change = change.clone();
        match &mut change {
            // A change that was made after the revocation has put it on record.
            Change::KeyCreated(key) | Change::KeyChanged(key) if key.revoked.is_some() => {
                self.0.remove(&ScopeId::Key(key.id));
            }
            Change::TenantCreated(tenant) | Change::TenantChanged(tenant)
                if tenant.revoked.is_some() =>
            {
                self.0.remove(&ScopeId::Tenant(tenant.id.clone()));
            }
            Change::KeyCreated(key) | Change::KeyChanged(key) => self.of_key(key),
            Change::TenantCreated(tenant) | Change::TenantChanged(tenant) => self.of_tenant(tenant),
            Change::KeyDeleted(id) => drop(self.0.remove(&ScopeId::Key(*id))),
            Change::TenantDeleted(id) => drop(self.0.remove(&ScopeId::Tenant(id.clone()))),
        }
        change
    }

    /// What was loaded, as it counts now.
    pub(super) fn over_all(&self, loaded: &mut Loaded) {
        loaded.keys.iter_mut().for_each(|key| self.of_key(key));
        loaded.tenants.iter_mut().for_each(|tenant| self.of_tenant(tenant));
    }
}

impl Snapshot {
    /// A key or tenant as a change, and when it was revoked itself.
    fn as_change(&self, scope: &ScopeId) -> Option<(Change, Option<UnixMillis>)> {
        match scope {
            ScopeId::Key(id) => {
                let key = &self.key(*id)?.key;
                Some((Change::KeyChanged(Box::new(key.clone())), key.revoked))
            }
            ScopeId::Tenant(id) => {
                let tenant = self.tenant(id)?;
                Some((Change::TenantChanged(Box::new((**tenant).clone())), tenant.revoked))
            }
        }
    }
}

/// Sets when a change says that something was revoked.
fn revoked(change: &mut Change, at: Option<UnixMillis>) {
    match change {
        Change::KeyCreated(key) | Change::KeyChanged(key) => key.revoked = at,
        Change::TenantCreated(tenant) | Change::TenantChanged(tenant) => tenant.revoked = at,
        Change::KeyDeleted(_) | Change::TenantDeleted(_) => {}
    }
}

impl Keyring {
    /// Lets a key or tenant count as revoked before that is written, if `may` allows it. False where
    /// there is nothing to write: there is none, or its revocation is on record.
    ///
    /// Whoever gets true must call [`end_written`](Self::end_written).
    pub(crate) fn end<E>(
        &self,
        scope: &ScopeId,
        at: UnixMillis,
        may: impl FnOnce(&Snapshot) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut ending = self.ending();
        let snapshot = self.snapshot();
        may(&snapshot)?;
        if let Some(pending) = ending.0.get_mut(scope) {
            pending.asked += 1;
            return Ok(true);
        }
        let Some((mut change, None)) = snapshot.as_change(scope) else { return Ok(false) };
        revoked(&mut change, Some(at));
        ending.0.insert(scope.clone(), Pending { at, asked: 1 });
        self.swap(&change);
        Ok(true)
    }

    /// What has to be written of such a revocation: the key or tenant as it is now. `None` where
    /// somebody else has written it meanwhile, or it is gone.
    pub(crate) fn end_to_write(&self, scope: &ScopeId) -> Option<Change> {
        self.ending().0.get(scope)?;
        self.snapshot().as_change(scope).map(|(change, _)| change)
    }

    /// Notes what became of the write. A revocation that could not be written, and that nobody else
    /// is about to write, is taken back.
    pub(crate) fn end_written(&self, scope: &ScopeId, written: bool) {
        let mut ending = self.ending();
        let Some(pending) = ending.0.get_mut(scope) else { return };
        pending.asked = pending.asked.saturating_sub(1);
        if !written && pending.asked > 0 {
            return;
        }
        ending.0.remove(scope);
        if !written && let Some((mut change, _)) = self.snapshot().as_change(scope) {
            revoked(&mut change, None);
            self.swap(&change);
        }
    }
}
