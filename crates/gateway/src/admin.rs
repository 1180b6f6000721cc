//! Administering: making, changing and ending keys and tenants, and reading the record.
//!
//! The rules stand here once, for every way in: the admin API, the command line, and the holders
//! of keys that may make child keys. Nothing here knows HTTP or JSON.
//!
//! A change is written first and counts in memory only when the store has committed it; a store
//! that fails leaves everything as it was. A revocation counts at once, before it is written and
//! before its turn, since neither a slow disk nor somebody else's change must keep a door open; it is
//! taken back if it cannot be written. Changes run one at a time, each as a task of its own: whoever
//! asked for one and went away must not leave a committed change that counts for nobody.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};

use model::Secret;
use tokio_util::task::TaskTracker;

use crate::clock::WallClock;
use crate::keyring::{ActiveKey, Keyring, Snapshot};
use crate::keys::token::{Entropy, InstallSecret};
use crate::keys::{KeyId, ScopeId, UnixMillis, VirtualKey};
use crate::store::{Actor, Change, Progress, Store, StoreError};

mod check;
mod fields;
mod keys;
mod list;
mod records;
mod tenants;
mod within;

#[cfg(test)]
mod tests;

pub use fields::{BoundsFields, KeyFields, NewKey, NewTenant, TenantFields};
pub use keys::{DEFAULT_OVERLAP, DEFAULT_PRIORITY, LONGEST_OVERLAP};
pub use list::{KeyCursor, KeyFilter, Page};
pub use tenants::{ADMIN_TENANT, DEFAULT_TENANT};

/// Draws the randomness of tokens from the system.
pub trait Randomness: fmt::Debug + Send + Sync + 'static {
    /// Fresh randomness for one token; `None` where the system has none to give.
    fn entropy(&self) -> Option<Entropy>;
}

/// Why something could not be administered. Nothing has changed then, but that calls may have ended
/// that ran with what was to be revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// There is no such key, tenant or call.
    #[error("There is no such {0}.")]
    NotFound(&'static str),
    /// A field has a value that cannot be.
    #[error("{field} {why}.")]
    Invalid {
        /// The field, as `bounds.max_output`.
        field: &'static str,
        /// What is wrong, to be read behind the name of the field.
        why: String,
    },
    /// It does not go with what there is.
    #[error("{0}")]
    Conflict(String),
    /// Whoever asks may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The store could not do it.
    #[error("The store could not do this.")]
    Store(#[source] StoreError),
    /// The system gave no randomness, or the work broke off.
    #[error("{0}")]
    Internal(&'static str),
}

impl AdminError {
    pub(crate) fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }
}

/// A key with its token, which is shown this once.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The key, with all that holds for it.
    pub key: Arc<ActiveKey>,
    /// What its holder shows.
    pub token: Secret<String>,
}

/// What administers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    clock: Arc<dyn WallClock>,
    randomness: Arc<dyn Randomness>,
    tasks: TaskTracker,
    /// Held while a change is made and written, so that commits and the keyring see the same order.
    turn: tokio::sync::Mutex<()>,
    /// The check of the journal that runs, if one does.
    verifying: Lock<Option<Progress>>,
    /// The minute, and the keys that holders made in it, by the top of their line.
    made: Lock<(UnixMillis, HashMap<KeyId, u32>)>,
}

impl Admin {
    /// What administers a store and the keyring that was loaded from it. Changes run as tasks of
    /// `tasks`, which the end of the process has to wait for before it closes the store.
    pub fn new(
        store: Arc<dyn Store>,
        keyring: Arc<Keyring>,
        clock: Arc<dyn WallClock>,
        randomness: Arc<dyn Randomness>,
        tasks: TaskTracker,
    ) -> Self {
        let (turn, verifying, made) = Default::default();
        let inner = Inner { store, keyring, clock, randomness, tasks, turn, verifying, made };
        Self { inner: Arc::new(inner) }
    }

    /// The keys in memory.
    pub fn keyring(&self) -> &Keyring {
        &self.inner.keyring
    }

    /// The time by which keys end.
    pub fn now(&self) -> UnixMillis {
        self.inner.clock.now()
    }

    /// Runs a change to its end, one at a time, whether or not anybody waits for it.
    async fn change<T, F>(
        &self,
        change: impl FnOnce(Arc<Inner>) -> F + Send + 'static,
    ) -> Result<T, AdminError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AdminError>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        let task = self.inner.tasks.spawn(async move {
            let turns = Arc::clone(&inner);
            let _turn = turns.turn.lock().await;
            change(inner).await
        });
        task.await.unwrap_or(Err(AdminError::Internal("The change broke off.")))
    }
}

impl Admin {
    /// Ends a key or tenant, if `may` allows it: at once for whoever calls with it, and then, in its
    /// turn, on record. Nothing happens where that is on record already, or there is none.
    async fn revoke(
        &self,
        scope: ScopeId,
        by: Actor,
        may: impl FnOnce(&Snapshot) -> Result<(), AdminError> + Send + 'static,
    ) -> Result<(), AdminError> {
        let inner = Arc::clone(&self.inner);
        let task = self.inner.tasks.spawn(async move {
            let keyring = &inner.keyring;
            // Asked once and with nobody in between: who ends their own key may still write it.
            let pending = keyring.end(&scope, inner.clock.now(), |snapshot| {
                inner.check_actor(snapshot, &by)?;
                may(snapshot)
            })?;
            if !pending {
                return Ok(());
            }
            let _turn = inner.turn.lock().await;
            // Somebody else may have written it in an earlier turn.
            let Some(change) = keyring.end_to_write(&scope) else { return Ok(()) };
            let written = inner.write(change, by).await;
            keyring.end_written(&scope, written.is_ok());
            written
        });
        task.await.unwrap_or(Err(AdminError::Internal("The change broke off.")))
    }
}

impl Inner {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.keyring.snapshot()
    }

    /// What a token is made of: fresh randomness, and the secret under which it is digested.
    fn token_parts(&self) -> Result<(Entropy, InstallSecret), AdminError> {
        let none = AdminError::Internal("The system gave no randomness.");
        let entropy = self.randomness.entropy().ok_or(none)?;
        let snapshot = self.keyring.snapshot();
        let install = snapshot.install().map_err(|why| StoreError::Down(Arc::clone(why)));
        Ok((entropy, install.map_err(AdminError::Store)?.clone()))
    }

    /// Writes a change, and only then lets it count.
    async fn commit(&self, change: Change, by: Actor) -> Result<(), AdminError> {
        self.write(change.clone(), by).await?;
        self.keyring.apply(&change);
        Ok(())
    }

    async fn write(&self, change: Change, by: Actor) -> Result<(), AdminError> {
        self.store.change(change, by).await.map_err(|error| match error {
            StoreError::Conflict => AdminError::Conflict("There is one already.".to_owned()),
            StoreError::Missing => AdminError::NotFound("key or tenant"),
            other => AdminError::Store(other),
        })
    }

    /// Writes a change of one key and returns what it is now.
    async fn commit_key(
        &self,
        key: VirtualKey,
        made: fn(Box<VirtualKey>) -> Change,
        by: Actor,
    ) -> Result<Arc<ActiveKey>, AdminError> {
        let id = key.id;
        self.commit(made(Box::new(key)), by).await?;
        self.key(id)
    }

    fn key(&self, id: KeyId) -> Result<Arc<ActiveKey>, AdminError> {
        self.snapshot().key(id).cloned().ok_or(AdminError::NotFound("key"))
    }

    fn verifying(&self) -> MutexGuard<'_, Option<Progress>> {
        self.verifying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
