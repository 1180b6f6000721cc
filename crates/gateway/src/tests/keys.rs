//! Keys, tenants and a clock for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::WallClock;
use crate::keyring::{ActiveKey, Keyring};
use crate::keys::token::InstallSecret;
use crate::keys::{KeyId, KeyKind, SecretDigest, Tenant, UnixMillis, VirtualKey};
use crate::store::Loaded;

/// The morning of a day in the middle of a month.
pub(crate) const MORNING: UnixMillis = 1_800_000_000_000;

/// A clock that is set by hand.
#[derive(Debug)]
pub(crate) struct Hands(pub(crate) AtomicI64);

impl Hands {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(MORNING)))
    }

    pub(crate) fn set(&self, now: UnixMillis) {
        self.0.store(now, Ordering::SeqCst);
    }
}

impl WallClock for Hands {
    fn now(&self) -> UnixMillis {
        self.0.load(Ordering::SeqCst)
    }
}

/// A key without bounds.
pub(crate) fn key(seed: u8, parent: Option<&VirtualKey>) -> VirtualKey {
    VirtualKey {
        parent: parent.map(|parent| parent.id),
        can_mint: true,
        ..VirtualKey::new(
            KeyKind::Model,
            "team".parse().unwrap(),
            KeyId::from_entropy([seed; 12]),
            SecretDigest([0; 32]),
            0,
        )
    }
}

/// Its tenant, without bounds.
pub(crate) fn team() -> Tenant {
    Tenant::new("team".parse().unwrap(), 0)
}

/// All keys of one tenant.
pub(crate) fn ring(keys: &[VirtualKey], tenant: &Tenant) -> Keyring {
    let loaded = Loaded { keys: keys.to_vec(), tenants: vec![tenant.clone()], ..Loaded::default() };
    Keyring::new(InstallSecret::new([1; 32]), loaded)
}

/// The last of these keys, with all that holds for it.
pub(crate) fn active(keys: &[VirtualKey], tenant: &Tenant) -> Arc<ActiveKey> {
    let last = keys.last().unwrap().id;
    Arc::clone(ring(keys, tenant).snapshot().key(last).unwrap())
}
