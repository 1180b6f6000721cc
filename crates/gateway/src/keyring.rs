//! The keys in memory: who shows what, and what holds for it.
//!
//! A snapshot is swapped whole, so that every call sees one state of a key, its ancestors and its
//! tenant. What a change does not touch is shared by the snapshots before and after it. The store is
//! asked at the start and never on the way of a call. Until it has answered nobody is let in or
//! turned away for good: whether a key exists is not known then.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::keys::token::{InstallSecret, Shown, TokenError};
use crate::keys::{
    AuditPolicy, Bounds, Glob, KeyId, KeyKind, ScopeId, Tenant, TenantId, UnixMillis, VirtualKey,
};
use crate::store::{Change, Loaded};

mod ending;
mod life;
#[cfg(test)]
mod tests;

use ending::Ending;
pub use life::Ended;
use life::Life;

/// The deepest line of ancestors. Every call is accounted for along all of it.
pub const MAX_DEPTH: usize = 8;

/// The keys of this installation.
#[derive(Debug)]
pub struct Keyring {
    snapshot: ArcSwap<Snapshot>,
    /// Held while the snapshot is changed.
    ending: Mutex<Ending>,
}

/// All keys and tenants at one time.
#[derive(Debug)]
pub struct Snapshot {
    /// Under what tokens are digested, or why nothing is known yet.
    install: Result<InstallSecret, Arc<str>>,
    keys: HashMap<KeyId, Arc<ActiveKey>>,
    tenants: HashMap<TenantId, ActiveTenant>,
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
    pub ended: Ended,
    life: Arc<Life>,
    /// The key that should stand at the top of its line, and is gone.
    missing: Option<KeyId>,
}

/// A tenant, with bounds that all of its keys share.
#[derive(Clone, Debug)]
struct ActiveTenant {
    tenant: Arc<Tenant>,
    bounds: Arc<Bounds>,
}

impl ActiveTenant {
    fn new(tenant: Tenant) -> Self {
        Self { bounds: Arc::new(tenant.bounds.clone()), tenant: Arc::new(tenant) }
    }
}

/// A key with bounds that all below it share.
#[derive(Clone, Copy)]
struct Link<'a> {
    key: &'a VirtualKey,
    bounds: &'a Arc<Bounds>,
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
        let snapshot = Snapshot { install: Err(why.into()), ..Snapshot::default() };
        Self { snapshot: ArcSwap::from_pointee(snapshot), ending: Mutex::default() }
    }

    /// Nothing is known any more, and why: nobody is let in until something is loaded.
    pub fn withdraw(&self, why: impl Into<Arc<str>>) {
        let _ending = self.ending();
        self.snapshot.store(Self::unavailable(why).snapshot.into_inner());
    }

    /// Takes what a store has loaded.
    pub fn load(&self, install: InstallSecret, mut loaded: Loaded) {
        let ending = self.ending();
        ending.over_all(&mut loaded);
        let used = loaded.last_used.into_iter();
        let lives = used.map(|(id, at)| (id, Life::new(at))).collect();
        let snapshot = Snapshot::build(install, loaded.keys, loaded.tenants, lives);
        snapshot.keys.values().for_each(|key| key.tell());
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

    /// Takes over a change that the store has committed. Calls of keys that end by it are told. What
    /// was revoked meanwhile stays so.
    ///
    /// Changes must come in the order of their commits.
    pub fn apply(&self, change: &Change) {
        let mut ending = self.ending();
        let change = ending.over(change);
        self.swap(&change);
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        // It is consistent between any two statements, so a poisoned lock is still good.
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps the snapshot for one in which a change counts. With [`ending`](Self::ending) in hand.
    fn swap(&self, change: &Change) {
        let old = self.snapshot.load_full();
        let mut new = Snapshot {
            install: old.install.clone(),
            keys: old.keys.clone(),
            tenants: old.tenants.clone(),
            ..Snapshot::default()
        };
        // Whatever does not hang on what is changed stays as it is: there may be very many keys.
        let mut touched: Vec<KeyId> = Vec::new();
        let mut below = |hangs: &dyn Fn(&ActiveKey) -> bool| {
            touched.extend(old.keys.values().filter(|key| hangs(key)).map(|key| key.key.id));
        };
        match change {
            Change::KeyCreated(key) | Change::KeyChanged(key) => {
                below(&|other| other.key.id != key.id && other.hangs_on(key.id));
                new.renew(&old, key);
            }
            Change::KeyDeleted(id) => {
                below(&|other| other.key.id != *id && other.hangs_on(*id));
                new.keys.remove(id);
            }
            Change::TenantCreated(tenant) | Change::TenantChanged(tenant) => {
                below(&|key| key.key.tenant == tenant.id);
                let active = ActiveTenant::new((**tenant).clone());
                new.tenants.insert(tenant.id.clone(), active);
            }
            Change::TenantDeleted(id) => {
                below(&|key| key.key.tenant == *id);
                new.tenants.remove(id);
            }
        }
        for id in &touched {
            if let Some(key) = old.keys.get(id) {
                new.renew(&old, &key.key);
            }
        }
        touched.extend(match change {
            Change::KeyCreated(key) | Change::KeyChanged(key) => Some(key.id),
            Change::KeyDeleted(id) => Some(*id),
            Change::TenantCreated(_) | Change::TenantChanged(_) | Change::TenantDeleted(_) => None,
        });
        new.note_kinds();
        // New calls are refused before running ones end, so that none slips in between.
        let new = Arc::new(new);
        self.snapshot.store(Arc::clone(&new));
        for id in touched {
            let now = new.keys.get(&id);
            if let Some(now) = now {
                now.tell();
            }
            let gone = now.is_none_or(|key| key.revoked);
            if let Some(was) = old.keys.get(&id).filter(|_| gone) {
                was.ended.cancel();
            }
        }
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            install: Err("it is not loaded yet".into()),
            keys: HashMap::new(),
            tenants: HashMap::new(),
            model_keys: false,
            admin_keys: false,
        }
    }
}

impl Snapshot {
    fn build(
        install: InstallSecret,
        keys: Vec<VirtualKey>,
        tenants: Vec<Tenant>,
        mut lives: HashMap<KeyId, Arc<Life>>,
    ) -> Self {
        let tenants: HashMap<TenantId, ActiveTenant> =
            tenants.into_iter().map(|one| (one.id.clone(), ActiveTenant::new(one))).collect();
        let share = |key: VirtualKey| (key.id, (Arc::new(key.bounds.clone()), key));
        let by_id: HashMap<KeyId, (Arc<Bounds>, VirtualKey)> =
            keys.into_iter().map(share).collect();
        let above = |id| by_id.get(&id).map(|(bounds, key)| Link { key, bounds });
        let mut keys = HashMap::with_capacity(by_id.len());
        for (bounds, key) in by_id.values() {
            let life = lives.remove(&key.id).unwrap_or_else(|| Life::new(0));
            let (link, ended) = (Link { key, bounds }, Ended::default());
            let active = ActiveKey::new(link, above, &tenants, life, ended);
            keys.insert(key.id, Arc::new(active));
        }
        let mut snapshot = Self { install: Ok(install), keys, tenants, ..Self::default() };
        snapshot.note_kinds();
        snapshot
    }

    /// Makes a key anew, by what stands above it now. Calls that run hear of it by what it was.
    fn renew(&mut self, old: &Self, key: &VirtualKey) {
        let was = old.keys.get(&key.id);
        let life = was.map_or_else(|| Life::new(0), |was| Arc::clone(&was.life));
        let ended = was.map(|was| was.ended.clone()).filter(|ended| !ended.is_cancelled());
        let bounds = match was.and_then(|was| was.scopes.first()) {
            Some(own) if *own.bounds == key.bounds => Arc::clone(&own.bounds),
            _ => Arc::new(key.bounds.clone()),
        };
        let link = Link { key, bounds: &bounds };
        let above = |id| {
            if id == key.id {
                return Some(link);
            }
            let above = self.keys.get(&id)?;
            Some(Link { key: &above.key, bounds: &above.scopes.first()?.bounds })
        };
        let active = ActiveKey::new(link, above, &self.tenants, life, ended.unwrap_or_default());
        self.keys.insert(key.id, Arc::new(active));
    }

    /// Notes which kinds of keys there are.
    fn note_kinds(&mut self) {
        let calls = |kind| matches!(kind, KeyKind::Model | KeyKind::Sandbox);
        self.model_keys = self.keys.values().any(|key| calls(key.key.kind));
        self.admin_keys = self.keys.values().any(|key| key.key.kind == KeyKind::Admin);
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
        self.tenants.get(id).map(|active| &active.tenant)
    }

    /// Every tenant, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values().map(|active| &active.tenant)
    }
}

impl ActiveKey {
    fn new<'a>(
        own: Link<'a>,
        above: impl Fn(KeyId) -> Option<Link<'a>>,
        tenants: &HashMap<TenantId, ActiveTenant>,
        life: Arc<Life>,
        ended: Ended,
    ) -> Self {
        let key = own.key;
        let mut scopes = Vec::new();
        let mut expires = UnixMillis::MAX;
        let mut revoked = false;
        let (mut priority, mut can_mint, mut audit) = (key.priority, true, key.audit);
        let mut missing = None;
        let mut next = Some(own);
        while let Some(Link { key: here, bounds }) = next {
            scopes.push(Scope {
                id: ScopeId::Key(here.id),
                bounds: Arc::clone(bounds),
                uses: here.uses,
            });
            expires = expires.min(here.expires.unwrap_or(UnixMillis::MAX));
            revoked |= here.revoked.is_some();
            priority = priority.min(here.priority);
            can_mint &= here.can_mint;
            audit = here.audit;
            next = here.parent.and_then(&above);
            // A parent that is gone takes its children along; a line that is too long, or bends
            // back on itself, cannot be made by this program, and opens nothing.
            if next.is_none() {
                missing = here.parent;
            }
            revoked |= missing.is_some();
            if scopes.len() > MAX_DEPTH {
                revoked = true;
                break;
            }
        }
        can_mint &= scopes.len() < MAX_DEPTH;
        let tenant = tenants.get(&key.tenant);
        revoked |= tenant.is_none_or(|active| active.tenant.revoked.is_some());
        let weight = tenant.map_or(1, |active| active.tenant.weight.max(1));
        if let Some(ActiveTenant { tenant, bounds }) = tenant {
            scopes.push(Scope {
                id: ScopeId::Tenant(tenant.id.clone()),
                bounds: Arc::clone(bounds),
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
            missing,
        }
    }

    /// Whether a key stands above it, or should.
    fn hangs_on(&self, id: KeyId) -> bool {
        let above = |scope: &Scope| matches!(scope.id, ScopeId::Key(key) if key == id);
        self.missing == Some(id) || self.scopes.iter().skip(1).any(above)
    }

    /// Tells calls that run when the key ends now.
    fn tell(&self) {
        self.life.set_end(self.expires);
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
        self.life.changes()
    }

    /// Whether it can be used at a time, and if not, why.
    pub fn alive(&self, now: UnixMillis) -> Result<(), Denied> {
        if self.revoked || self.ended.is_cancelled() {
            Err(Denied::Revoked)
        } else if now >= self.life.ends() {
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
