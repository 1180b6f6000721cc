//! A house to administer, with a store in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::{
    Admin, AdminError, BoundsFields, Issued, KeyCursor, KeyFields, KeyFilter, NewKey, NewTenant,
    TenantFields,
};
use crate::amounts::{Budget, Span, Unit};
use crate::fakes::{CountedRandomness, MemoryStore, SetClock};
use crate::keyring::{Denied, Keyring, MAX_DEPTH};
use crate::keys::token::InstallSecret;
use crate::keys::{AuditPolicy, Endpoint, KeyId, KeyKind};
use crate::store::{Actor, Change, Loaded, StoreError};

mod laws;
mod revocations;
mod rules;

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

/// What a test administers.
struct House {
    admin: Admin,
    store: Arc<MemoryStore>,
    clock: Arc<SetClock>,
    tasks: TaskTracker,
}

impl House {
    fn new() -> Self {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(SetClock::at(NOW)));
        let keyring = Arc::new(Keyring::new(InstallSecret::new([7; 32]), Loaded::default()));
        let tasks = TaskTracker::new();
        let admin = Admin::new(
            Arc::clone(&store) as Arc<dyn crate::store::Store>,
            keyring,
            Arc::clone(&clock) as Arc<dyn crate::clock::WallClock>,
            Arc::new(CountedRandomness::default()),
            tasks.clone(),
        );
        Self { admin, store, clock, tasks }
    }

    async fn create(&self, new: NewKey) -> Issued {
        self.admin.key_create(new, Actor::Machine).await.unwrap()
    }

    /// A model key that may mint, with fields.
    async fn parent(&self, fields: KeyFields) -> KeyId {
        let fields = KeyFields { can_mint: Some(true), ..fields };
        self.create(NewKey { fields, ..NewKey::default() }).await.key.key.id
    }

    fn show(&self, issued: &Issued) -> Result<KeyId, Denied> {
        let shown = issued.token.expose().as_bytes();
        self.admin.keyring().identify(shown, self.admin.now()).map(|key| key.key.id)
    }
}

fn field(error: &AdminError) -> &'static str {
    match error {
        AdminError::Invalid { field, .. } => field,
        other => panic!("{other:?} names no field"),
    }
}
