//! Listing keys and tenants, a page at a time.

use std::cmp::Reverse;
use std::sync::Arc;

use super::keys::is_below;
use super::{Admin, AdminError};
use crate::keyring::ActiveKey;
use crate::keys::{KeyId, KeyKind, Tenant, TenantId, UnixMillis};

/// Which keys are wanted. Every field that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Keys of this tenant.
    pub tenant: Option<TenantId>,
    /// Keys of this kind.
    pub kind: Option<KeyKind>,
    /// Keys that work now, or that do not.
    pub alive: Option<bool>,
    /// Keys that hang on this one, at whatever distance.
    pub below: Option<KeyId>,
}

/// Where a page of keys ends: keys after it are older, or as old and of a greater id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCursor {
    /// When the last key of the page was made.
    pub created: UnixMillis,
    /// Its id.
    pub id: KeyId,
}

/// Some of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// Them.
    pub items: Vec<T>,
    /// What to ask for next; `None` at the end.
    pub next: Option<C>,
}

impl Admin {
    /// Keys that fit a filter, newest first.
    pub fn key_list(
        &self,
        filter: &KeyFilter,
        after: Option<KeyCursor>,
        limit: usize,
    ) -> Page<Arc<ActiveKey>, KeyCursor> {
        let (snapshot, now) = (self.keyring().snapshot(), self.now());
        let place = |key: &ActiveKey| (Reverse(key.key.created), key.key.id);
        let after = after.map(|after| (Reverse(after.created), after.id));
        let fits = |key: &ActiveKey| {
            after.is_none_or(|after| place(key) > after)
                && filter.tenant.as_ref().is_none_or(|tenant| key.key.tenant == *tenant)
                && filter.kind.is_none_or(|kind| key.key.kind == kind)
                && filter.alive.is_none_or(|alive| key.alive(now).is_ok() == alive)
                && filter.below.is_none_or(|above| is_below(&snapshot, key.key.id, above))
        };
        let fitting = snapshot.keys().filter(|key| fits(key)).cloned().collect();
        page(
            fitting,
            limit,
            |key| place(key),
            |last| KeyCursor { created: last.key.created, id: last.key.id },
        )
    }

    /// One key.
    pub fn key_show(&self, id: KeyId) -> Result<Arc<ActiveKey>, AdminError> {
        self.inner.key(id)
    }

    /// One key below the one whose holder asks.
    pub fn child_show(&self, holder: KeyId, id: KeyId) -> Result<Arc<ActiveKey>, AdminError> {
        if is_below(&self.keyring().snapshot(), id, holder) {
            self.key_show(id)
        } else {
            Err(AdminError::NotFound("key"))
        }
    }

    /// Tenants by name.
    pub fn tenant_list(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Page<Arc<Tenant>, TenantId> {
        let snapshot = self.keyring().snapshot();
        let fits = |tenant: &&Arc<Tenant>| after.is_none_or(|after| tenant.id > *after);
        let fitting = snapshot.tenants().filter(fits).cloned().collect();
        page(fitting, limit, |tenant| tenant.id.clone(), |last| last.id.clone())
    }
}

fn page<T, P: Ord, C>(
    mut items: Vec<T>,
    limit: usize,
    place: impl FnMut(&T) -> P,
    cursor: impl FnOnce(&T) -> C,
) -> Page<T, C> {
    items.sort_by_key(place);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    Page { items, next }
}
