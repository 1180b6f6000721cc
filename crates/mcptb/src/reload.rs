//! A configuration file that changes while the bridge runs.
//!
//! The whole new file is read and checked before anything of it holds, and a file that is refused
//! changes nothing. What can be exchanged in one step is; the rest waits for a restart, and one
//! line names it. The file is looked at every two seconds rather than watched: that works on every
//! system and file system, and costs one look.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_doors::{DoorRules, LiveRules};
use serde_json::Value as Json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bridge::warn_of_exposure;
use crate::cli::Problem;
use crate::records::{Records, policy, redactor};
use crate::settings::{Config, Effective, Layers, Loaded, Sections, Stamp};
use crate::telemetry::LevelControl;

#[cfg(test)]
mod tests;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a changed file must stay as it is before it is read.
///
/// Some editors empty a file and then write it. Half of a file may well be a good file, and an
/// empty one asks nobody for a token.
const SETTLE: Duration = Duration::from_millis(500);

/// The settings that change at once. All others wait for a restart.
const LIVE: [&str; 14] = [
    "auth",
    "allow_host",
    "allow_origin",
    "trusted_proxy",
    "token_file",
    "token",
    "params",
    "http_timeout",
    "log",
    "time_zone",
    "expected_output",
    "budget",
    "prices",
    "models",
];

/// Reads the configuration again and puts it in force.
#[derive(Debug)]
pub(crate) struct Reloader {
    layers: Layers,
    rules: LiveRules,
    level: LevelControl,
    records: Arc<Records>,
    sections: watch::Sender<Arc<Sections>>,
    /// The longest wait, which does not change.
    max_wait: Duration,
    /// Where the doors are, and with which certificate and key.
    doors: (SocketAddr, Option<(PathBuf, PathBuf)>),
    state: Mutex<State>,
}

/// The configuration that the bridge was started with.
#[derive(Debug)]
pub(crate) struct Running {
    sections: Arc<Sections>,
    max_wait: Duration,
    doors: (SocketAddr, Option<(PathBuf, PathBuf)>),
    state: State,
}

#[derive(Debug)]
struct State {
    /// As they were at the start: what differs from these and is not live needs a restart.
    started: BTreeMap<String, Json>,
    /// As the last good file has them.
    last: BTreeMap<String, Json>,
    has_file: bool,
    /// Of the last version that was read, good or bad.
    stamp: Option<Stamp>,
    /// Of the version that the last look has found.
    seen: Option<Stamp>,
}

/// What a new version of the file has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reloaded {
    /// Settings that hold already.
    pub(crate) changed: Vec<String>,
    /// Settings that differ from those of the start, and hold after the next one.
    pub(crate) restart: Vec<String>,
}

impl Running {
    /// Notes what the bridge is started with.
    pub(crate) fn of(
        config: &Config,
        settings: Vec<Effective>,
        has_file: bool,
        stamp: Option<Stamp>,
    ) -> Self {
        let started = by_name(settings);
        Self {
            sections: Arc::clone(&config.sections),
            max_wait: config.host.max_wait,
            doors: (config.address, config.tls.clone()),
            state: State { last: started.clone(), started, has_file, stamp, seen: stamp },
        }
    }
}

impl Reloader {
    /// Keeps what is needed to read the configuration again.
    pub(crate) fn new(
        layers: Layers,
        running: Running,
        rules: LiveRules,
        level: LevelControl,
        records: Arc<Records>,
    ) -> Self {
        let Running { sections, max_wait, doors, state } = running;
        let sections = watch::Sender::new(sections);
        let state = Mutex::new(state);
        Self { layers, rules, level, records, sections, max_wait, doors, state }
    }

    /// What only the file can say, as it holds now and whenever it changes.
    #[cfg_attr(not(test), expect(dead_code, reason = "limits and costs are wired up later"))]
    pub(crate) fn sections(&self) -> watch::Receiver<Arc<Sections>> {
        self.sections.subscribe()
    }

    /// Reads the configuration again, whether the file has changed or not, and says in the log
    /// what came of it. Blocks on the file system.
    pub(crate) fn reload(&self) -> Result<Reloaded, Problem> {
        let outcome = self.exchange();
        match &outcome {
            Ok(reloaded) => {
                tracing::info!(
                    changed = reloaded.changed.join(","),
                    "the configuration was read again"
                );
                if !reloaded.restart.is_empty() {
                    tracing::warn!(
                        settings = reloaded.restart.join(","),
                        "these settings have changed, and need a restart"
                    );
                }
            }
            Err(problem) => tracing::warn!(
                hint = problem.hint,
                "the new configuration is refused and changes nothing: {}",
                problem.what
            ),
        }
        outcome
    }

    /// Looks at the file until `stop`, and reads it again when it has changed.
    pub(crate) async fn watch(self: Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        if self.layers.place().path().is_none() {
            return;
        }
        let mut pause = LOOK;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            // A file system that hangs holds up neither calls nor the end.
            let reloader = Arc::clone(&self);
            let looking = tasks.spawn_blocking(move || reloader.look());
            pause = tokio::select! {
                () = stop.cancelled() => return,
                settled = looking => if settled.unwrap_or(true) { LOOK } else { SETTLE },
            };
        }
    }

    /// Reads the file again if it has changed since it was read and not since the last look.
    /// Says whether it has settled.
    fn look(&self) -> bool {
        let stamp = Stamp::of(self.layers.place());
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut state.seen, stamp);
            if state.stamp == stamp {
                return true;
            }
            if before != stamp {
                return false;
            }
            // Also where it turns out to be bad: each version is complained of once.
            state.stamp = stamp;
        }
        // What came of it stands in the log.
        let _ = self.reload();
        true
    }

    fn exchange(&self) -> Result<Reloaded, Problem> {
        // Held to the end: two who reload come one after the other.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Loaded { mut config, settings, has_file, stamp } = self.layers.load()?;
        if state.has_file && !has_file {
            // The usual file may be missing at a start. Later, an editor may be about to write it.
            return Err(Problem::new(
                "the configuration file has gone",
                "put it back, or restart the bridge to go on without it",
            ));
        }
        let new = by_name(settings);
        let mut changed = differing(&state.last, &new);
        let before = self.rules.now();
        let token = |access: &http_doors::access::AccessRules| {
            access.token.as_ref().map(|token| token.expose().clone())
        };
        let changed_token = token(&before.access) != token(&config.access);
        if changed_token {
            changed.insert("token".to_owned());
        }
        // Their order counts as well, and is not seen by name.
        let sections = Arc::clone(&self.sections.borrow());
        if sections.prices != config.sections.prices {
            changed.insert("prices".to_owned());
        }
        if sections.models != config.sections.models {
            changed.insert("models".to_owned());
        }
        let restart = differing(&state.started, &new);
        let is_live = |name: &String| LIVE.contains(&name.as_str());
        let reloaded = Reloaded {
            changed: changed.into_iter().filter(is_live).collect(),
            restart: restart.into_iter().filter(|name| !is_live(name)).collect(),
        };
        if !reloaded.changed.is_empty() {
            // Of the doors as they are, not as they will be.
            (config.address, config.tls) = self.doors.clone();
            warn_of_exposure(&config);
        }
        config.access.keys.clone_from(&before.access.keys);
        // Refused before anything is exchanged, if it cannot be.
        let policy = policy(&config, &config.sections)?;
        if changed_token {
            // Callers may go on saying the earlier one for a while.
            let tokens = [&before.access, &config.access].map(|access| access.token.clone());
            let tokens: Vec<_> = tokens.into_iter().flatten().collect();
            self.records.audit.set_redactor(redactor(&self.records.patterns, &tokens)?);
        }
        self.records.admission.set_policy(policy);
        self.rules.replace(DoorRules {
            access: config.access,
            params: config.params,
            deadline: config.deadline.within(self.max_wait),
        });
        self.level.set(config.log.level);
        self.sections.send_if_modified(|now| {
            let differs = *now != config.sections;
            *now = config.sections;
            differs
        });
        state.last = new;
        state.has_file = has_file;
        state.stamp = stamp;
        Ok(reloaded)
    }
}

fn by_name(settings: Vec<Effective>) -> BTreeMap<String, Json> {
    settings.into_iter().map(|one| (one.name, one.value)).collect()
}

/// The names of settings that differ, with tables under the table's own name.
fn differing(old: &BTreeMap<String, Json>, new: &BTreeMap<String, Json>) -> BTreeSet<String> {
    let names = old.keys().chain(new.keys());
    let differing = names.filter(|name| old.get(*name) != new.get(*name));
    differing.map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect()
}
