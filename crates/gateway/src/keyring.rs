//! The keys in memory: who shows what, and what holds for it.
//!
//! A snapshot is swapped whole, so that every call sees one state of a key, its ancestors and its
//! tenant. The store is asked at the start and never on the way of a call. Until it has answered
//! nobody is let in or turned away for good: whether a key exists is not known then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::keys::token::{InstallSecret, Shown, TokenError};
use crate::keys::{
    AuditPolicy, Bounds, Glob, KeyId, KeyKind, ScopeId, Tenant, TenantId, UnixMillis, VirtualKey,
};
use crate::store::{Change, Loaded};

#[cfg(test)]
mod tests;

/// The deepest line of ancestors. Every call is accounted for along all of it.
pub const MAX_DEPTH: usize = 8;

/// The keys of this installation.
#[derive(Debug)]
pub struct Keyring {
    snapshot: ArcSwap<Snapshot>,
}

/// All keys and tenants at one time.
#[derive(Debug)]
pub struct Snapshot {
    /// Under what tokens are digested, or why nothing is known yet.
    install: Result<InstallSecret, Arc<str>>,
    keys: HashMap<KeyId, Arc<ActiveKey>>,
    tenants: HashMap<TenantId, Arc<Tenant>>,
    /// Whether there is a key that may call, so that everybody must show one.
    model_keys: bool,
    admin_keys: bool,
}

/// A key with all that holds for it.
#[derive(Debug)]
pub struct ActiveKey {
    /// The key itself.
    pub key: VirtualKey,
    /// The key, then its ancestors upwards, then its tenant: whatever bounds it.
    pub scopes: Vec<Scope>,
    /// The same by name, as they are debited.
    pub debited: Arc<[ScopeId]>,
    /// The tenant's share of the hosts.
    pub weight: u16,
    /// Its place among the waiting calls of its tenant: the lowest of the line.
    pub priority: u8,
    /// Whether it may make child keys: all of the line may, and there is room below.
    pub can_mint: bool,
    /// What the audit keeps of its calls: decided at the top of the line.
    pub audit: AuditPolicy,
    /// The first end of the key, an ancestor or the tenant by time; `MAX` where there is none.
    pub expires: UnixMillis,
    /// Whether the key, an ancestor or the tenant was revoked or deleted.
    pub revoked: bool,
    /// Cancelled when the key is revoked, with whatever it depends on; not by the clock.
    pub ended: CancellationToken,
    life: Arc<Life>,
}

/// What all snapshots of a key share.
#[derive(Debug)]
struct Life {
    used: AtomicI64,
    /// When the key ends by time, as it is now: calls that run are told when that is changed.
    ends: watch::Sender<UnixMillis>,
}

impl Life {
    fn new(used: UnixMillis) -> Arc<Self> {
        let ends = watch::Sender::new(UnixMillis::MAX);
        Arc::new(Self { used: AtomicI64::new(used), ends })
    }
}

/// One of the levels whose bounds a key must keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Which.
    pub id: ScopeId,
    /// Its bounds.
    pub bounds: Arc<Bounds>,
    /// Calls in all its life, for a key that has such a bound.
    pub uses: Option<u64>,
}

/// Why a credential lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Not a token of ours.
    Foreign,
    /// A token with a typo.
    Damaged,
    /// No such key, or another secret.
    Unknown,
    /// Its time is over, or that of what it depends on.
    Expired,
    /// It was revoked, or what it depends on.
    Revoked,
    /// Whether it is good cannot be told at the moment.
    Unavailable,
}

impl Keyring {
    /// A keyring of what was loaded.
    pub fn new(install: InstallSecret, loaded: Loaded) -> Self {
        let keyring = Self::unavailable("it is not loaded yet");
        keyring.load(install, loaded);
        keyring
    }

    /// A keyring of which nothing is known yet, and why.
    pub fn unavailable(why: impl Into<Arc<str>>) -> Self {
        let snapshot = Snapshot {
            install: Err(why.into()),
            keys: HashMap::new(),
            tenants: HashMap::new(),
            model_keys: false,
            admin_keys: false,
        };
        Self { snapshot: ArcSwap::from_pointee(snapshot) }
    }

    /// Nothing is known any more, and why: nobody is let in until something is loaded.
    pub fn withdraw(&self, why: impl Into<Arc<str>>) {
        self.snapshot.store(Self::unavailable(why).snapshot.into_inner());
    }

    /// Takes what a store has loaded.
    pub fn load(&self, install: InstallSecret, loaded: Loaded) {
        let used = loaded.last_used.into_iter();
        let lives = used.map(|(id, at)| (id, Life::new(at))).collect();
        let snapshot =
            Snapshot::build(Ok(install), loaded.keys, loaded.tenants, &lives, &HashMap::new());
        snapshot.tell();
        self.snapshot.store(Arc::new(snapshot));
    }

    /// All keys and tenants, now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Finds the key that a credential opens.
    pub fn identify(&self, credential: &[u8], now: UnixMillis) -> Result<Arc<ActiveKey>, Denied> {
        let key = self.recognize(credential, now)?;
        key.alive(now)?;
        key.life.used.store(now, Ordering::Relaxed);
        Ok(key)
    }

    /// Finds the key whose secret a credential is, also where that has ended and opens nothing.
    /// For the record only.
    pub fn recognize(&self, credential: &[u8], now: UnixMillis) -> Result<Arc<ActiveKey>, Denied> {
        let shown = Shown::read(credential).map_err(|error| match error {
            TokenError::Foreign => Denied::Foreign,
            TokenError::Damaged => Denied::Damaged,
        })?;
        let snapshot = self.snapshot.load();
        let install = snapshot.install.as_ref().map_err(|_| Denied::Unavailable)?;
        let key = snapshot.keys.get(&shown.id).ok_or(Denied::Unknown)?;
        if shown.opens(&key.key, install, now) { Ok(Arc::clone(key)) } else { Err(Denied::Unknown) }
    }

    /// Takes over a change that the store has committed. Calls of keys that end by it are told.
    ///
    /// Changes must come one at a time and in the order of their commits.
    pub fn apply(&self, change: &Change) {
        let old = self.snapshot.load_full();
        let mut keys: HashMap<KeyId, VirtualKey> =
            old.keys.iter().map(|(id, key)| (*id, key.key.clone())).collect();
        let mut tenants: HashMap<TenantId, Tenant> =
            old.tenants.iter().map(|(id, tenant)| (id.clone(), (**tenant).clone())).collect();
        match change {
            Change::KeyCreated(key) | Change::KeyChanged(key) => {
                keys.insert(key.id, (**key).clone());
            }
            Change::KeyDeleted(id) => {
                keys.remove(id);
            }
            Change::TenantCreated(tenant) | Change::TenantChanged(tenant) => {
                tenants.insert(tenant.id.clone(), (**tenant).clone());
            }
            Change::TenantDeleted(id) => {
                tenants.remove(id);
            }
        }
        let lives = old.keys.iter().map(|(id, key)| (*id, Arc::clone(&key.life))).collect();
        let ended = old.keys.iter().map(|(id, key)| (*id, key.ended.clone())).collect();
        let new = Snapshot::build(
            old.install.clone(),
            keys.into_values().collect(),
            tenants.into_values().collect(),
            &lives,
            &ended,
        );
        let gone: Vec<CancellationToken> = old
            .keys
            .iter()
            .filter(|(id, _)| new.keys.get(id).is_none_or(|key| key.revoked))
            .map(|(_, key)| key.ended.clone())
            .collect();
        // New calls are refused before running ones end, so that none slips in between.
        let new = Arc::new(new);
        self.snapshot.store(Arc::clone(&new));
        new.tell();
        for key in gone {
            key.cancel();
        }
    }
}

impl Snapshot {
    fn build(
        install: Result<InstallSecret, Arc<str>>,
        keys: Vec<VirtualKey>,
        tenants: Vec<Tenant>,
        lives: &HashMap<KeyId, Arc<Life>>,
        ended: &HashMap<KeyId, CancellationToken>,
    ) -> Self {
        let tenants: HashMap<TenantId, Arc<Tenant>> =
            tenants.into_iter().map(|tenant| (tenant.id.clone(), Arc::new(tenant))).collect();
        let by_id: HashMap<KeyId, VirtualKey> = keys.into_iter().map(|key| (key.id, key)).collect();
        let keys: HashMap<KeyId, Arc<ActiveKey>> = by_id
            .values()
            .map(|key| {
                let life = lives.get(&key.id).cloned().unwrap_or_else(|| Life::new(0));
                let ended = ended.get(&key.id).cloned().filter(|ended| !ended.is_cancelled());
                let active = ActiveKey::new(key, &by_id, &tenants, life, ended.unwrap_or_default());
                (key.id, Arc::new(active))
            })
            .collect();
        let calls = |kind| matches!(kind, KeyKind::Model | KeyKind::Sandbox);
        let model_keys = by_id.values().any(|key| calls(key.kind));
        let admin_keys = by_id.values().any(|key| key.kind == KeyKind::Admin);
        Self { install, keys, tenants, model_keys, admin_keys }
    }

    /// Tells calls that run when their keys end now.
    fn tell(&self) {
        for key in self.keys.values() {
            let changes =
                |ends: &mut UnixMillis| std::mem::replace(ends, key.expires) != key.expires;
            key.life.ends.send_if_modified(changes);
        }
    }

    /// The secret under which tokens are digested; fails with the reason while nothing is known.
    pub fn install(&self) -> Result<&InstallSecret, &Arc<str>> {
        self.install.as_ref()
    }

    /// Whether there is a key that may call, ended or not. Then everybody must show one: the end
    /// of the last key must not open the door.
    pub const fn has_model_keys(&self) -> bool {
        self.model_keys
    }

    /// Whether there is an admin key, so that the admin API exists.
    pub const fn has_admin_keys(&self) -> bool {
        self.admin_keys
    }

    /// A key by its public id.
    pub fn key(&self, id: KeyId) -> Option<&Arc<ActiveKey>> {
        self.keys.get(&id)
    }

    /// Every key, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<ActiveKey>> {
        self.keys.values()
    }

    /// A tenant by its name.
    pub fn tenant(&self, id: &TenantId) -> Option<&Arc<Tenant>> {
        self.tenants.get(id)
    }

    /// Every tenant, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }
}

impl ActiveKey {
    fn new(
        key: &VirtualKey,
        keys: &HashMap<KeyId, VirtualKey>,
        tenants: &HashMap<TenantId, Arc<Tenant>>,
        life: Arc<Life>,
        ended: CancellationToken,
    ) -> Self {
        let mut scopes = Vec::new();
        let mut expires = UnixMillis::MAX;
        let mut revoked = false;
        let (mut priority, mut can_mint, mut audit) = (key.priority, true, key.audit);
        let mut next = Some(key);
        while let Some(here) = next {
            scopes.push(Scope {
                id: ScopeId::Key(here.id),
                bounds: Arc::new(here.bounds.clone()),
                uses: here.uses,
            });
            expires = expires.min(here.expires.unwrap_or(UnixMillis::MAX));
            revoked |= here.revoked.is_some();
            priority = priority.min(here.priority);
            can_mint &= here.can_mint;
            audit = here.audit;
            next = here.parent.and_then(|parent| keys.get(&parent));
            // A parent that is gone takes its children along; a line that is too long, or bends
            // back on itself, cannot be made by this program, and opens nothing.
            revoked |= here.parent.is_some() && next.is_none();
            if scopes.len() > MAX_DEPTH {
                revoked = true;
                break;
            }
        }
        can_mint &= scopes.len() < MAX_DEPTH;
        let tenant = tenants.get(&key.tenant);
        revoked |= tenant.is_none_or(|tenant| tenant.revoked.is_some());
        let weight = tenant.map_or(1, |tenant| tenant.weight.max(1));
        if let Some(tenant) = tenant {
            scopes.push(Scope {
                id: ScopeId::Tenant(tenant.id.clone()),
                bounds: Arc::new(tenant.bounds.clone()),
                uses: None,
            });
        }
        let debited = scopes.iter().map(|scope| scope.id.clone()).collect();
        Self {
            key: key.clone(),
            scopes,
            debited,
            weight,
            priority,
            can_mint,
            audit,
            expires,
            revoked,
            ended,
            life,
        }
    }

    /// The key at the top of its line: itself, where nothing stands above it.
    pub fn line(&self) -> KeyId {
        let top = self.scopes.iter().rev().find_map(|scope| match scope.id {
            ScopeId::Key(id) => Some(id),
            ScopeId::Tenant(_) => None,
        });
        top.unwrap_or(self.key.id)
    }

    /// When it ends by time, as it is now and not as it was in this snapshot.
    pub(crate) fn ends(&self) -> watch::Receiver<UnixMillis> {
        self.life.ends.subscribe()
    }

    /// Whether it can be used at a time, and if not, why.
    pub fn alive(&self, now: UnixMillis) -> Result<(), Denied> {
        if self.revoked || self.ended.is_cancelled() {
            Err(Denied::Revoked)
        } else if now >= *self.life.ends.borrow() {
            Err(Denied::Expired)
        } else {
            Ok(())
        }
    }

    /// The first scope that does not allow a model; `None` where all of them do. The name is the
    /// one that callers use, where no name is `auto`.
    pub fn bars_model(&self, name: &str) -> Option<&Scope> {
        let name = if name.trim().is_empty() { "auto" } else { name };
        let allows =
            |models: &[Glob]| models.is_empty() || models.iter().any(|glob| glob.matches(name));
        self.scopes.iter().find(|scope| !allows(&scope.bounds.models))
    }

    /// When it was shown last; `None` if never.
    pub fn last_used(&self) -> Option<UnixMillis> {
        Some(self.life.used.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}
