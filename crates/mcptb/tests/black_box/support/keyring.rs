//! The data directory of a bridge that is not running: keys are made before, the record is read
//! after.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway::admin::{Admin, BoundsFields, KeyFields, NewKey, NewTenant, Randomness, TenantFields};
use gateway::amounts::{Amounts, Budget, Span, Unit};
use gateway::clock::SystemClock;
use gateway::keyring::{ActiveKey, Keyring};
use gateway::keys::token::Entropy;
use gateway::keys::{KeyId, KeyKind, ScopeId};
use gateway::store::{Actor, CallFilter, CallRow, FullCall, Progress, Store};
use model::Secret;
use stores::{OpenOptions, Sqlite};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::launch::Launch;

/// A data directory.
pub(crate) struct Books {
    directory: TempDir,
    /// What each key that was made is accounted for in.
    lines: RefCell<HashMap<KeyId, Arc<[ScopeId]>>>,
}

/// A key with what its holder shows.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) token: String,
}

/// Everything that is on record.
#[derive(Debug)]
pub(crate) struct Record {
    /// Oldest first.
    pub(crate) calls: Vec<FullCall>,
    pub(crate) spent: BTreeMap<String, Amounts>,
    lines: HashMap<KeyId, Arc<[ScopeId]>>,
}

/// Randomness of the system.
#[derive(Debug)]
struct System;

impl Randomness for System {
    fn entropy(&self) -> Option<Entropy> {
        let mut bytes = [0; 44];
        File::open("/dev/urandom").ok()?.read_exact(&mut bytes).ok()?;
        let (secret, id) = bytes.split_at(32);
        Some(Entropy { secret: Secret::new(secret.try_into().ok()?), id: id.try_into().ok()? })
    }
}

impl Books {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), lines: RefCell::default() }
    }

    /// A data directory in a place.
    pub(crate) fn within(place: &Path) -> Self {
        Self { directory: tempfile::tempdir_in(place).unwrap(), lines: RefCell::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("audit.db")
    }

    /// A bridge that keeps its record here.
    pub(crate) fn launch(&self) -> Launch {
        Launch::new().env("MCPTB_DATA_DIR", self.path().to_str().unwrap())
    }

    /// Opens the store for a while. No bridge may run here.
    fn with_store<T>(&self, work: impl AsyncFnOnce(Arc<Sqlite>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(Sqlite::open(OpenOptions::new(self.path())).unwrap());
            let outcome = work(Arc::clone(&store)).await;
            store.shut_down().await;
            outcome
        })
    }

    /// Changes keys and tenants.
    pub(crate) fn administer<T>(&self, work: impl AsyncFnOnce(&Admin) -> T) -> T {
        self.with_store(async |store| {
            let loaded = store.load().await.unwrap();
            let keyring = Arc::new(Keyring::new(store.install_secret().clone(), loaded));
            let (clock, tasks) = (Arc::new(SystemClock), TaskTracker::new());
            let admin = Admin::new(store, keyring, clock, Arc::new(System), tasks);
            work(&admin).await
        })
    }

    /// Makes keys.
    pub(crate) fn keys<const N: usize>(&self, wanted: [NewKey; N]) -> [Key; N] {
        let made = self.administer(async |admin| {
            let mut made = Vec::new();
            for new in wanted {
                let issued = admin.key_create(new, Actor::Machine).await.unwrap();
                let id = issued.key.key.id;
                self.lines.borrow_mut().insert(id, debited(&issued.key));
                made.push(Key { id, token: issued.token.expose().clone() });
            }
            made
        });
        made.try_into().unwrap()
    }

    /// Takes note of a child that a holder has made while a bridge ran.
    pub(crate) fn child(&self, id: KeyId, parent: &Key) {
        let mut lines = self.lines.borrow_mut();
        let line = [ScopeId::Key(id)].into_iter().chain(lines[&parent.id].iter().cloned());
        let line = line.collect();
        lines.insert(id, line);
    }

    /// Makes one key with these bounds.
    pub(crate) fn key(&self, bounds: BoundsFields) -> Key {
        let [key] = self.keys([bounded(bounds)]);
        key
    }

    /// Makes a tenant with these bounds.
    pub(crate) fn tenant(&self, name: &str, bounds: BoundsFields) {
        let id = name.parse().unwrap();
        let fields = TenantFields { bounds, ..TenantFields::default() };
        let made = self.administer(async |admin| {
            admin.tenant_create(NewTenant { id, fields }, Actor::Machine).await
        });
        made.unwrap();
    }

    /// Reads what a bridge has left, and checks that it holds: the chain of the journal, and that
    /// the spending of every scope is that of its calls.
    pub(crate) fn record(&self) -> Record {
        let record = self.with_store(async |store| {
            let verdict = store.verify(Progress::default()).await.unwrap();
            assert_eq!(verdict.finding, None, "the journal holds");
            let mut calls = Vec::new();
            let mut after = None;
            loop {
                let page = store.calls(CallFilter::default(), after, 1000).await.unwrap();
                for row in page.calls {
                    calls.push(store.call(row.id).await.unwrap().unwrap());
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            calls.reverse();
            let spent = store.spent(0..i64::MAX).await.unwrap();
            let spent = spent.into_iter().map(|(scope, sum)| (scope.to_string(), sum)).collect();
            Record { calls, spent, lines: self.lines.borrow().clone() }
        });
        assert_eq!(record.spent, record.spent_by_calls(), "the ledger is the sum of the calls");
        record
    }

    /// Settles what a bridge could not, as the next one does when it starts.
    pub(crate) fn recover(&self) -> u64 {
        self.with_store(async |store| store.load().await.unwrap().interrupted)
    }

    /// How often callers were refused who got no row, by reason.
    pub(crate) fn refusal_counts(&self) -> BTreeMap<String, u64> {
        self.counted("TRUE")
    }

    /// The same of the holder of a key.
    pub(crate) fn refusal_counts_of(&self, key: &Key) -> BTreeMap<String, u64> {
        self.counted(&format!("key_id = '{}'", key.id))
    }

    fn counted(&self, which: &str) -> BTreeMap<String, u64> {
        let database = rusqlite::Connection::open(self.database()).unwrap();
        let sql = format!(
            "SELECT reason, CAST(SUM(count) AS INTEGER) FROM refusal_count WHERE {which} \
             GROUP BY reason"
        );
        let mut counts = database.prepare(&sql).unwrap();
        let counts = counts
            .query_map([], |row| Ok((row.get(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap())));
        counts.unwrap().map(Result::unwrap).collect()
    }
}

/// What calls with a key are accounted for in: those of a sandbox only where uses are counted.
fn debited(key: &ActiveKey) -> Arc<[ScopeId]> {
    let sandbox = key.key.kind == KeyKind::Sandbox;
    let scopes = key.scopes.iter().filter(|scope| !sandbox || scope.uses.is_some());
    scopes.map(|scope| scope.id.clone()).collect()
}

impl Record {
    /// The call with this GUID, which is there once.
    pub(crate) fn call(&self, id: &str) -> &FullCall {
        let mut found = self.calls.iter().filter(|call| call.row.id.to_string() == id);
        let call = found.next().unwrap_or_else(|| panic!("no row of {id}"));
        assert!(found.next().is_none(), "{id} is there twice");
        call
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &CallRow> {
        self.calls.iter().map(|call| &call.row)
    }

    /// What a key has spent.
    pub(crate) fn spent_by(&self, key: &Key) -> Amounts {
        self.spent.get(&ScopeId::Key(key.id).to_string()).copied().unwrap_or_default()
    }

    /// What each scope should have spent, by the rows of its calls.
    fn spent_by_calls(&self) -> BTreeMap<String, Amounts> {
        let mut spent = BTreeMap::<String, Amounts>::new();
        for row in self.rows() {
            let (Some(key), Some(more)) = (row.key, row.spent) else { continue };
            if more == Amounts::default() {
                continue;
            }
            for scope in self.lines.get(&key).into_iter().flat_map(|line| line.iter()) {
                let sum = spent.entry(scope.to_string()).or_default();
                *sum = sum.plus(&more);
            }
        }
        spent
    }
}

/// A model key with bounds.
pub(crate) fn bounded(bounds: BoundsFields) -> NewKey {
    NewKey { fields: KeyFields { bounds, ..KeyFields::default() }, ..NewKey::default() }
}

/// A key of a kind.
pub(crate) fn of_kind(kind: KeyKind) -> NewKey {
    NewKey { kind: Some(kind), ..NewKey::default() }
}

/// Bounds of one budget, for ever.
pub(crate) fn budget(unit: Unit, limit: u64) -> BoundsFields {
    let budgets = Some(vec![Budget { unit, span: Span::Total, limit }]);
    BoundsFields { budgets, ..BoundsFields::default() }
}
