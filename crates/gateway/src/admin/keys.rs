//! Making, changing and ending keys.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::fields::{KeyFields, NewKey};
use super::within::{check_within, inherit_budgets};
use super::{ADMIN_TENANT, Admin, AdminError, DEFAULT_TENANT, Inner, Issued};
use crate::keyring::{ActiveKey, MAX_DEPTH, Snapshot};
use crate::keys::token::{Minted, mint, remint};
use crate::keys::{AuditPolicy, Bounds, KeyId, KeyKind, ScopeId, TenantId, UnixMillis, VirtualKey};
use crate::store::{Actor, Change};

/// How long the earlier secret works beside a new one, unless said otherwise.
pub const DEFAULT_OVERLAP: Duration = Duration::from_hours(1);
/// The longest time for that.
pub const LONGEST_OVERLAP: Duration = Duration::from_hours(30 * 24);
/// The priority of a key that nothing was said of: there is room above and below.
pub const DEFAULT_PRIORITY: u8 = 100;
/// Keys that the holders of one line may have at once, ended ones too. Each change of a key goes
/// over all keys.
pub(super) const LINE: usize = if cfg!(test) { 12 } else { 1000 };

/// Keys that the holders of one line may make in a minute. Each leaves rows that stay, and rows must
/// not push the calls of others out of the record. Ending one is not counted: it can be done once
/// with a key that was, and whoever has a stolen key must not keep others from it.
pub(super) const MINTS: u32 = 60;
const MINUTE: UnixMillis = 60_000;

impl Admin {
    /// Makes a key. A tenant that does not exist yet is made first; without one the key belongs
    /// to `default`, an admin key to `admin`, so that shutting out a team shuts out no
    /// administrator. If the store fails between the two, an empty tenant may stay.
    pub async fn key_create(&self, new: NewKey, by: Actor) -> Result<Issued, AdminError> {
        self.change(move |inner| async move { inner.key_create(new, by).await }).await
    }

    /// Makes a child of the key whose holder asks. Whatever is not said is as with the parent.
    pub async fn key_mint(&self, holder: KeyId, fields: KeyFields) -> Result<Issued, AdminError> {
        self.change(move |inner| async move { inner.key_mint(holder, fields).await }).await
    }

    /// Changes a key. One that was revoked stays as it is.
    pub async fn key_edit(
        &self,
        id: KeyId,
        fields: KeyFields,
        by: Actor,
    ) -> Result<Arc<ActiveKey>, AdminError> {
        self.change(move |inner| async move { inner.key_edit(id, &fields, by).await }).await
    }

    /// Gives a key a new secret. The earlier one works for `overlap` longer; with zero it opens
    /// nothing from now on, but calls that it has opened run to their end.
    pub async fn key_rotate(
        &self,
        id: KeyId,
        overlap: Duration,
        by: Actor,
    ) -> Result<Issued, AdminError> {
        self.change(move |inner| async move { inner.key_rotate(id, overlap, by).await }).await
    }

    /// Ends a key and its children, with their running calls, for good.
    pub async fn key_revoke(&self, id: KeyId, by: Actor) -> Result<Arc<ActiveKey>, AdminError> {
        self.revoke(ScopeId::Key(id), by, |_| Ok(())).await?;
        self.inner.key(id)
    }

    /// Forgets a key; its calls and its spending stay on record. Refused while children of it
    /// live: they would end, so revoke it first. Children that have ended stay, and open nothing.
    pub async fn key_delete(&self, id: KeyId, by: Actor) -> Result<(), AdminError> {
        self.change(move |inner| async move { inner.key_delete(id, by).await }).await
    }

    /// Ends a key below the one whose holder asks.
    pub async fn child_revoke(
        &self,
        holder: KeyId,
        id: KeyId,
    ) -> Result<Arc<ActiveKey>, AdminError> {
        self.revoke(ScopeId::Key(id), Actor::Key(holder), move |snapshot| {
            is_below(snapshot, id, holder).then_some(()).ok_or(AdminError::NotFound("key"))
        })
        .await?;
        self.inner.key(id)
    }
}

impl Inner {
    async fn key_create(&self, new: NewKey, by: Actor) -> Result<Issued, AdminError> {
        let snapshot = self.snapshot();
        self.check_actor(&snapshot, &by)?;
        let parent = match new.parent {
            Some(id) => {
                let none = || AdminError::invalid("parent", "is no key that there is");
                Some(snapshot.key(id).ok_or_else(none)?)
            }
            None => None,
        };
        let kind = match (new.kind, parent) {
            (Some(kind), Some(parent)) if kind != parent.key.kind => {
                return Err(AdminError::invalid("kind", "must be that of the parent"));
            }
            (kind, parent) => {
                kind.or(parent.map(|parent| parent.key.kind)).unwrap_or(KeyKind::Model)
            }
        };
        if kind == KeyKind::Admin {
            check_unbounded(&snapshot, &by)?;
        }
        if let Some(parent) = parent {
            if new.tenant.is_some_and(|tenant| tenant != parent.key.tenant) {
                return Err(AdminError::invalid("tenant", "must be that of the parent"));
            }
            self.check_child(&snapshot, parent, &new.fields)?;
            return self
                .issue(kind, parent.key.tenant.clone(), Some(parent), &new.fields, by)
                .await;
        }
        new.fields.check(kind, self.clock.now())?;
        let tenant = match new.tenant {
            Some(tenant) => tenant,
            None => default_tenant(kind)?,
        };
        match snapshot.tenant(&tenant) {
            Some(tenant) if tenant.revoked.is_some() => {
                let message = format!("The tenant `{}` is shut out.", tenant.id);
                return Err(AdminError::Conflict(message));
            }
            Some(_) => {}
            None => self.tenant_make(tenant.clone(), by.clone()).await?,
        }
        self.issue(kind, tenant, None, &new.fields, by).await
    }

    async fn key_mint(&self, holder: KeyId, fields: KeyFields) -> Result<Issued, AdminError> {
        let snapshot = self.snapshot();
        let by = Actor::Key(holder);
        self.check_actor(&snapshot, &by)?;
        let parent = snapshot.key(holder).ok_or(AdminError::NotFound("key"))?;
        // An admin key makes keys as an administrator does, and has no children.
        if !parent.can_mint || parent.key.kind == KeyKind::Admin {
            return Err(AdminError::Forbidden("This key may not make child keys."));
        }
        self.check_child(&snapshot, parent, &fields)?;
        let top = line(&snapshot, &parent.key).last().map_or(holder, |top| top.key.id);
        self.check_made(top)?;
        self.make_room(&snapshot, top, &by).await?;
        let (kind, tenant) = (parent.key.kind, parent.key.tenant.clone());
        let issued = self.issue(kind, tenant, Some(parent), &fields, by).await?;
        *self.made().1.entry(top).or_default() += 1;
        Ok(issued)
    }

    /// Checks what is wanted of a child against all that is above it.
    fn check_child(
        &self,
        snapshot: &Snapshot,
        parent: &ActiveKey,
        fields: &KeyFields,
    ) -> Result<(), AdminError> {
        let now = self.clock.now();
        if parent.alive(now).is_err() {
            return Err(AdminError::Conflict("The parent has ended.".to_owned()));
        }
        if parent.key.kind == KeyKind::Admin {
            return Err(AdminError::invalid("parent", "is an admin key, which has no children"));
        }
        let line = line(snapshot, &parent.key);
        if line.len() >= MAX_DEPTH {
            let why = format!("is {MAX_DEPTH} keys deep already");
            return Err(AdminError::invalid("parent", why));
        }
        fields.check(parent.key.kind, now)?;
        line.iter().try_for_each(|above| check_within(fields, above))
    }

    /// Makes a key of fields that have been checked.
    async fn issue(
        &self,
        kind: KeyKind,
        tenant: TenantId,
        parent: Option<&ActiveKey>,
        fields: &KeyFields,
        by: Actor,
    ) -> Result<Issued, AdminError> {
        let (entropy, install) = self.token_parts()?;
        let Minted { id, token, digest } = mint(kind, &entropy, &install);
        if self.snapshot().key(id).is_some() {
            return Err(AdminError::Conflict("The key's id is taken. Try again.".to_owned()));
        }
        let audit = parent.map_or(AuditPolicy::Full, |parent| parent.audit);
        let parent = parent.map(|parent| &parent.key);
        let mut key = VirtualKey {
            parent: parent.map(|parent| parent.id),
            expires: parent.and_then(|parent| parent.expires),
            uses: parent.and_then(|parent| parent.uses),
            priority: parent.map_or(DEFAULT_PRIORITY, |parent| parent.priority),
            audit,
            bounds: parent.map_or_else(Bounds::default, |parent| parent.bounds.clone()),
            ..VirtualKey::new(kind, tenant, id, digest, self.clock.now())
        };
        fields.apply(&mut key);
        if let Some(parent) = parent {
            inherit_budgets(&mut key.bounds, &parent.bounds);
        }
        let key = self.commit_key(key, Change::KeyCreated, by).await?;
        Ok(Issued { key, token })
    }

    async fn key_edit(
        &self,
        id: KeyId,
        fields: &KeyFields,
        by: Actor,
    ) -> Result<Arc<ActiveKey>, AdminError> {
        let snapshot = self.snapshot();
        let old = self.changeable(&snapshot, id, &by)?;
        fields.check(old.key.kind, self.clock.now())?;
        let above = line(&snapshot, &old.key);
        for above in above.iter().skip(1) {
            check_within(fields, above)?;
        }
        let mut key = old.key.clone();
        fields.apply(&mut key);
        if let (Some(parent), Some(_)) = (above.get(1), &fields.bounds.budgets) {
            inherit_budgets(&mut key.bounds, &parent.key.bounds);
        }
        if key == old.key {
            return Ok(old);
        }
        self.commit_key(key, Change::KeyChanged, by).await
    }

    async fn key_rotate(
        &self,
        id: KeyId,
        overlap: Duration,
        by: Actor,
    ) -> Result<Issued, AdminError> {
        if overlap > LONGEST_OVERLAP {
            return Err(AdminError::invalid("overlap", "is longer than 30 days"));
        }
        let old = self.changeable(&self.snapshot(), id, &by)?;
        let mut key = old.key.clone();
        let (entropy, install) = self.token_parts()?;
        let Minted { token, digest, .. } = remint(key.kind, id, &entropy, &install);
        let overlap = UnixMillis::try_from(overlap.as_millis()).unwrap_or_default();
        let until = self.clock.now().saturating_add(overlap);
        key.earlier = (overlap > 0).then_some((key.digest, until));
        key.digest = digest;
        let key = self.commit_key(key, Change::KeyChanged, by).await?;
        Ok(Issued { key, token })
    }

    async fn key_delete(&self, id: KeyId, by: Actor) -> Result<(), AdminError> {
        let snapshot = self.snapshot();
        self.check_actor(&snapshot, &by)?;
        self.key(id)?;
        let now = self.clock.now();
        let lives = |key: &&Arc<ActiveKey>| key.key.parent == Some(id) && key.alive(now).is_ok();
        match snapshot.keys().filter(lives).count() {
            0 => self.commit(Change::KeyDeleted(id), by).await,
            living => Err(AdminError::Conflict(format!(
                "The key has {living} living child keys. Revoke it first: they end with it."
            ))),
        }
    }

    /// A key that may be changed by somebody.
    fn changeable(
        &self,
        snapshot: &Snapshot,
        id: KeyId,
        by: &Actor,
    ) -> Result<Arc<ActiveKey>, AdminError> {
        self.check_actor(snapshot, by)?;
        let key = self.key(id)?;
        if key.key.kind == KeyKind::Admin {
            check_unbounded(snapshot, by)?;
        }
        if key.key.revoked.is_some() {
            return Err(AdminError::Conflict("The key was revoked. Make a new one.".to_owned()));
        }
        Ok(key)
    }

    /// Whoever asks may have ended while waiting for their turn.
    pub(super) fn check_actor(&self, snapshot: &Snapshot, by: &Actor) -> Result<(), AdminError> {
        match by {
            Actor::Machine => Ok(()),
            Actor::Key(id) => snapshot
                .key(*id)
                .filter(|key| key.alive(self.clock.now()).is_ok())
                .map(|_| ())
                .ok_or(AdminError::Forbidden("The key that asked for this has ended.")),
        }
    }

    /// Says whether the holders of a line have made enough keys in this minute.
    fn check_made(&self, top: KeyId) -> Result<(), AdminError> {
        match self.made().1.get(&top) {
            Some(made) if *made >= MINTS => Err(AdminError::Conflict(format!(
                "{MINTS} keys were made in this minute. Wait for the next one."
            ))),
            _ => Ok(()),
        }
    }

    /// This minute, and how many keys the holders of each line have made in it.
    fn made(&self) -> MutexGuard<'_, (UnixMillis, HashMap<KeyId, u32>)> {
        let now = self.clock.now().div_euclid(MINUTE);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0 != now {
            *made = (now, HashMap::new());
        }
        made
    }

    /// Holders make keys by program and seldom clean up: where a line is full, the oldest of its
    /// keys that has ended, and that nothing hangs on, makes room.
    async fn make_room(
        &self,
        snapshot: &Snapshot,
        top: KeyId,
        by: &Actor,
    ) -> Result<(), AdminError> {
        let below: Vec<&Arc<ActiveKey>> =
            snapshot.keys().filter(|key| is_below(snapshot, key.key.id, top)).collect();
        if below.len() < LINE {
            return Ok(());
        }
        let now = self.clock.now();
        let hangs = |id| below.iter().any(|key| key.key.parent == Some(id));
        let ended = below.iter().filter(|key| key.alive(now).is_err() && !hangs(key.key.id));
        match ended.min_by_key(|key| key.key.created) {
            Some(oldest) => self.commit(Change::KeyDeleted(oldest.key.id), by.clone()).await,
            None => Err(AdminError::Conflict(format!(
                "There are {LINE} living keys below one; end some of them first."
            ))),
        }
    }
}

fn default_tenant(kind: KeyKind) -> Result<TenantId, AdminError> {
    let name = if kind == KeyKind::Admin { ADMIN_TENANT } else { DEFAULT_TENANT };
    name.parse().map_err(|_| AdminError::Internal("The default tenant has no name."))
}

/// An admin key that ends, or that holds in some networks only, must not make or change admin
/// keys: it could get around its own bounds.
pub(super) fn check_unbounded(snapshot: &Snapshot, by: &Actor) -> Result<(), AdminError> {
    let Actor::Key(id) = by else { return Ok(()) };
    let unbounded = snapshot.key(*id).is_some_and(|key| {
        let networks = key.scopes.iter().any(|scope| !scope.bounds.networks.is_empty());
        key.expires == UnixMillis::MAX && !networks
    });
    let refused = "An admin key with an end or with networks may not make or change admin keys.";
    if unbounded { Ok(()) } else { Err(AdminError::Forbidden(refused)) }
}

/// A key and whatever is above it, upwards.
fn line<'a>(snapshot: &'a Snapshot, key: &'a VirtualKey) -> Vec<&'a Arc<ActiveKey>> {
    let up = |key: &&'a Arc<ActiveKey>| key.key.parent.and_then(|parent| snapshot.key(parent));
    std::iter::successors(snapshot.key(key.id), up).take(MAX_DEPTH + 1).collect()
}

/// Whether a key hangs on another one, at whatever distance.
pub(super) fn is_below(snapshot: &Snapshot, id: KeyId, above: KeyId) -> bool {
    let line = snapshot.key(id).map(|key| line(snapshot, &key.key)).unwrap_or_default();
    line.iter().skip(1).any(|key| key.key.id == above)
}
