//! Keys, limits and the record of calls: put together, opened when a host has attached, and closed
//! last.
//!
//! Nothing is opened before: a throw-away sibling of a probing host must leave no trace. While the
//! store cannot be opened the bridge answers 503 and tries again.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dialects::prompted_tools::NonceSecret;
use gateway::admin::Admin;
use gateway::admission::Admission;
use gateway::budgets::Calendar;
use gateway::clock::SystemClock;
use gateway::keyring::Keyring;
use gateway::keys::token::InstallSecret;
use gateway::keys::{KeyId, UnixMillis};
use gateway::policy::{ModelLimits, Policy, Price};
use gateway::store::{Loaded, Store};
use gateway::{Audit, AuditScope, Redactor};
use model::Secret;
use stores::{Durability, Late, OpenError, OpenOptions, Sqlite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use upstreams::host::LiveNonce;

use crate::cli::Problem;
use crate::entropy::SystemRandomness;
use crate::settings::{AuditDurability, BudgetMode, Config, Sections};

#[cfg(test)]
mod tests;

/// How often the store is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is written down what was counted of refusals, and which keys were used.
const COUNTS: Duration = Duration::from_secs(15);
/// The database's file in the data folder.
pub(crate) const DATABASE: &str = "audit.db";

/// What is remembered, and who may do what.
#[derive(Debug)]
pub(crate) struct Records {
    store: Arc<Late>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) audit: Arc<Audit>,
    /// What the operator wants struck out, as it was at the start.
    pub(crate) patterns: Vec<String>,
    /// What makes, changes and ends keys.
    pub(crate) admin: Admin,
    /// Changes on their way to the store.
    changes: TaskTracker,
    /// Cancelled when the store is open.
    pub(crate) open: CancellationToken,
    /// What nonces are made from, of this process until the store knows that of the install.
    nonce: LiveNonce,
    /// How it is opened, where there is a place for it.
    options: Option<OpenOptions>,
    /// Whether the store is opened although nobody has made a key.
    wanted: bool,
    /// When keys were used last, as far as the store knows.
    noted: Mutex<HashMap<KeyId, UnixMillis>>,
}

impl Records {
    /// Puts them together; opens nothing.
    pub(crate) fn new(config: &Config) -> Result<Arc<Self>, Problem> {
        let audit = &config.sections.audit;
        let scope = match (config.audit, audit.bodies) {
            (false, _) => AuditScope::Keys,
            (true, false) => AuditScope::Metadata,
            (true, true) => AuditScope::Full,
        };
        let mut options = OpenOptions::new(config.data_dir.clone().unwrap_or_default());
        options.durability = match audit.durability {
            AuditDurability::Commit => Durability::Normal,
            AuditDurability::Fsync => Durability::Fsync,
        };
        options.max_age = Some(audit.max_age);
        options.max_bytes = std::num::NonZeroU64::new(audit.max_bytes);
        let redactor = redactor(&audit.redact, config.access.token.as_slice())?;
        let store = Arc::new(Late::shut(NOT_OPEN));
        let clock = Arc::new(SystemClock);
        let admission = Admission::new(policy(config, &config.sections)?, clock.clone());
        let keyring = Arc::new(Keyring::unavailable(NOT_OPEN));
        let changes = TaskTracker::new();
        Ok(Arc::new(Self {
            admin: Admin::new(
                Arc::clone(&store) as Arc<dyn Store>,
                Arc::clone(&keyring),
                clock.clone(),
                Arc::new(SystemRandomness),
                changes.clone(),
            ),
            changes,
            open: CancellationToken::new(),
            keyring,
            admission: Arc::new(admission),
            audit: Arc::new(Audit::new(
                Arc::clone(&store) as Arc<dyn Store>,
                clock,
                scope,
                redactor,
            )),
            store,
            patterns: audit.redact.clone(),
            nonce: Arc::clone(&config.host.nonce),
            options: config.data_dir.is_some().then_some(options),
            wanted: scope != AuditScope::Keys,
            noted: Mutex::default(),
        }))
    }

    /// The folder of keys and records.
    #[cfg(unix)]
    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        self.options.as_ref().map(|options| options.dir.as_path())
    }

    /// Opens the store, tries again until that works, and then writes down what was counted of
    /// refusals, until `stop`. `opened` is cancelled when the doors may open: when the store is
    /// there, is not wanted, or has refused once.
    pub(crate) async fn run(self: Arc<Self>, opened: CancellationToken, stop: CancellationToken) {
        let _tell = opened.clone().drop_guard();
        let (mut told, mut tries) = (None, 0_u32);
        loop {
            match self.attempt().await {
                Ok(true) => break,
                Ok(false) => {}
                Err(why) => {
                    // While nothing is kept and there are no keys, the command line may hold the
                    // store for the moment in which it makes the first.
                    let known = self.keyring.snapshot().install().is_ok();
                    tries += 1;
                    // Said again where it is another reason: who holds the files may be known late.
                    if (tries > 1 || !known) && told.replace(why.clone()).as_ref() != Some(&why) {
                        tracing::warn!("the records cannot be opened, calls get 503: {why}");
                    }
                }
            }
            opened.cancel();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
        opened.cancel();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(COUNTS) => {
                    self.audit.flush_refusals(false);
                    self.note_used();
                }
            }
        }
    }

    /// Tries once to open the store, and says what that means for callers. False where it is not
    /// wanted.
    async fn attempt(&self) -> Result<bool, String> {
        let outcome = self.try_open().await;
        match &outcome {
            Ok(true) => {}
            // Nothing to keep, and no keys.
            Ok(false) => {
                if self.keyring.snapshot().install().is_err() {
                    let unused = InstallSecret::new([0; 32]);
                    self.keyring.load(unused, Loaded::default());
                }
            }
            Err(why) => {
                self.store.still_shut(why.as_str());
                // Also where there were none before: somebody may have made some meanwhile.
                self.keyring.withdraw(why.as_str());
            }
        }
        outcome
    }

    /// Opens the store and loads what has to be in memory. False where it is not wanted.
    async fn try_open(&self) -> Result<bool, String> {
        let wanted = self.wanted;
        let Some(options) = self.options.clone() else {
            return if wanted { Err(NO_PLACE.to_owned()) } else { Ok(false) };
        };
        let opening = tokio::task::spawn_blocking(move || {
            if wanted || is_there(&options.dir.join(DATABASE))? {
                Sqlite::open(options).map(Some)
            } else {
                Ok(None)
            }
        });
        let opened: Result<Option<Sqlite>, OpenError> =
            opening.await.map_err(|_| "opening it has failed".to_owned())?;
        let Some(store) = opened.map_err(|error| chain(&error))? else { return Ok(false) };
        let loaded = store.load().await.map_err(|error| error.to_string())?;
        if loaded.interrupted > 0 {
            tracing::warn!(
                calls = loaded.interrupted,
                "calls were cut off by the end of an earlier bridge; they are closed, and charged \
                 as reserved"
            );
        }
        self.admission.load(&store).await.map_err(|error| error.to_string())?;
        let install = store.install_secret().clone();
        let keys = Keyring::new(install.clone(), loaded.clone()).snapshot();
        let rates = self.admission.load_rates(&store, &keys).await;
        rates.map_err(|error| error.to_string())?;
        let nonce = NonceSecret::new(install.derive("prompted tools"));
        self.nonce.store(Arc::new(nonce));
        // The keys first: a key that is made meanwhile finds the secret that belongs to this store.
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) =
            loaded.last_used.iter().copied().collect();
        self.keyring.load(install, loaded);
        self.store.open_with(Arc::new(store));
        self.open.cancel();
        Ok(true)
    }

    /// Writes down which keys were used since that was done last: not all that they do leaves a call.
    fn note_used(&self) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.keyring.snapshot();
        let used = snapshot.keys().filter_map(|key| Some((key.key.id, key.last_used()?)));
        let fresh: Vec<_> = used.filter(|(id, at)| noted.get(id) != Some(at)).collect();
        noted.retain(|id, _| snapshot.key(*id).is_some());
        if !fresh.is_empty() {
            noted.extend(fresh.iter().copied());
            self.store.note_used(fresh);
        }
    }

    /// Commits what is left, unless that takes too long. After the last call.
    pub(crate) async fn close(&self, until: Instant) {
        let last = async {
            // A change on its way to the store would find it shut.
            self.changes.close();
            self.changes.wait().await;
            self.audit.flush_refusals(true);
            self.note_used();
            self.store.shut_down().await;
        };
        if tokio::time::timeout_at(until, last).await.is_err() {
            tracing::warn!("the last records were not committed in time");
            // Dropped it would block until its writer has ended.
            std::mem::forget(Arc::clone(&self.store));
        }
    }
}

const NO_PLACE: &str = "this account has no folder for keys and records; name one with --data-dir \
                        or MCPTB_DATA_DIR, or do without a record: --audit off";
const NOT_OPEN: &str = "it is not open yet";

/// What strikes out the operator's patterns and the tokens of this bridge.
pub(crate) fn redactor(
    patterns: &[String],
    tokens: &[Secret<String>],
) -> Result<Redactor, Problem> {
    let redactor = Redactor::new(patterns).map_err(|error| {
        Problem::new(error.to_string(), "change redact under [audit] in mcptb.toml")
    })?;
    Ok(redactor.with_exact(tokens.iter().map(Secret::expose)))
}

/// Whether a file is there. Where that cannot be told there may be keys in it, and nobody may be
/// let in as if there were none.
fn is_there(path: &Path) -> Result<bool, OpenError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

/// What the configuration says about limits and prices.
pub(crate) fn policy(config: &Config, sections: &Sections) -> Result<Policy, Problem> {
    let calendar = Calendar::new(&sections.time_zone)
        .map_err(|error| Problem::new(error.to_string(), "set time_zone in mcptb.toml"))?;
    let mut prices = Vec::new();
    for (pattern, price) in sections.prices.iter() {
        let price = Price {
            input: price.input,
            cached_input: price.cached_input,
            output: price.output,
            per_request: price.per_request,
            multiplier: price.multiplier,
        };
        prices.push((pattern.clone(), price));
    }
    let mut models = Vec::new();
    for (pattern, limits) in sections.models.iter() {
        let narrow =
            |limit: Option<u64>| limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
        let limits = ModelLimits {
            requests_per_minute: narrow(limits.requests_per_minute),
            tokens_per_minute: limits.tokens_per_minute,
            concurrency: narrow(limits.concurrency),
        };
        models.push((pattern.clone(), limits));
    }
    Ok(Policy {
        calendar,
        expected_output: sections.expected_output,
        hard: sections.budget == BudgetMode::Hard,
        default_output: config.host.default_max_tokens,
        prices,
        models,
    })
}

/// An error with its causes, for the log of the operator.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
