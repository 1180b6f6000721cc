//! The folder of a bridge under measurement: fresh, its own, and gone afterwards.
//!
//! What the person at the keyboard keeps in the real folder is neither read nor written. A full
//! house has a key whose every bound is set, and whose bounds no measurement comes near: what is
//! measured is the counting, not the refusing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gateway::admin::{Admin, BoundsFields, KeyFields, NewKey, NewTenant, Randomness, TenantFields};
use gateway::amounts::{Budget, Span, Unit};
use gateway::clock::SystemClock;
use gateway::keyring::Keyring;
use gateway::keys::token::Entropy;
use gateway::keys::{Endpoint, TenantId};
use gateway::store::{Actor, Store};
use model::Secret;
use stores::{OpenOptions, Sqlite};
use tokio_util::task::TaskTracker;

use crate::error::Outcome;
use crate::load;

/// The configuration of a full house: prices, so that there is a cost, and limits by model.
const CONFIGURATION: &str = r#"
[audit]
enabled = true
bodies = true

[prices."*"]
input = "2.50"
output = "10"
cached_input = "1.25"
per_request = "0.001"

[models."*"]
requests_per_minute = 100_000_000
tokens_per_minute = 1_000_000_000_000
concurrency = 1_000_000
"#;

/// More than any measurement asks for.
const MANY: u64 = 1 << 50;
/// The same of requests and calls at once.
const MANY_CALLS: u32 = 100_000_000;

/// Numbers the folders of this run.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder for one bridge. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct House {
    folder: PathBuf,
    token: Option<String>,
}

/// Draws from the system.
#[derive(Debug)]
struct Drawn;

impl Randomness for Drawn {
    fn entropy(&self) -> Option<Entropy> {
        let (mut secret, mut id) = ([0; 32], [0; 12]);
        getrandom::fill(&mut secret).ok()?;
        getrandom::fill(&mut id).ok()?;
        Some(Entropy { secret: Secret::new(secret), id })
    }
}

impl House {
    /// A house in which nothing is kept.
    pub(crate) fn empty() -> Outcome<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mcptb-bench-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)?;
        Ok(Self { folder, token: None })
    }

    /// A house with a configuration, a tenant and a key.
    pub(crate) fn full() -> Outcome<Self> {
        let mut house = Self::empty()?;
        std::fs::write(house.configuration(), CONFIGURATION)?;
        house.token = Some(load::runtime()?.block_on(make_key(&house.folder))?);
        Ok(house)
    }

    /// The key, as its holder shows it.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The socket at which a bridge that runs here is administered.
    pub(crate) fn control(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Tells a bridge to keep its things here, or to keep nothing.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.env("MCPTB_DATA_DIR", &self.folder);
        if self.token.is_some() {
            command.arg("--config").arg(self.configuration());
        } else {
            command.env("MCPTB_AUDIT", "off");
        }
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("mcptb.toml")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // What is left lies in the system's folder for such things.
        let _left = std::fs::remove_dir_all(&self.folder);
    }
}

/// Makes a tenant and a key of it, each with all bounds, and ends the store.
async fn make_key(folder: &Path) -> Outcome<String> {
    let store = Arc::new(Sqlite::open(OpenOptions::new(folder))?);
    let loaded = store.load().await?;
    let keyring = Arc::new(Keyring::new(store.install_secret().clone(), loaded));
    let tasks = TaskTracker::new();
    let admin = Admin::new(
        Arc::clone(&store) as Arc<dyn Store>,
        keyring,
        Arc::new(SystemClock),
        Arc::new(Drawn),
        tasks,
    );
    let id: TenantId = "bench".parse()?;
    let fields = TenantFields { bounds: bounds()?, ..TenantFields::default() };
    admin.tenant_create(NewTenant { id: id.clone(), fields }, Actor::Machine).await?;
    let fields = KeyFields { bounds: bounds()?, ..KeyFields::default() };
    let new = NewKey { tenant: Some(id), fields, ..NewKey::default() };
    let token = admin.key_create(new, Actor::Machine).await?.token.expose().clone();
    store.shut_down().await;
    Ok(token)
}

fn bounds() -> Outcome<BoundsFields> {
    let budget = |unit, span| Budget { unit, span, limit: MANY };
    Ok(BoundsFields {
        models: Some(vec!["auto".parse()?, "bench-*".parse()?]),
        endpoints: Some(vec![Endpoint::Chat]),
        networks: Some(vec!["127.0.0.0/8".parse()?]),
        max_output: Some(Some(1 << 20)),
        max_body: Some(Some(1 << 20)),
        requests_per_minute: Some(Some(MANY_CALLS)),
        tokens_per_minute: Some(Some(MANY)),
        concurrency: Some(Some(MANY_CALLS)),
        budgets: Some(vec![
            budget(Unit::Tokens, Span::Day),
            budget(Unit::Tokens, Span::Month),
            budget(Unit::Cost, Span::Day),
            budget(Unit::Cost, Span::Month),
        ]),
    })
}
