//! How the house is, and the check of its journal.

use gateway::store::{StoreState, Verdict};
use serde::Serialize;

use super::keys::Empty;
use super::refused::Refused;
use super::wire::{Instant, read};
use super::{Answer, Asked};

#[derive(Serialize)]
struct StatusOut<'a> {
    bridge: &'a str,
    /// Where callers come in; null while the doors are shut.
    url: Option<String>,
    /// Where administrators come in.
    admin_url: Option<String>,
    now: Instant,
    keys: KeysOut,
    tenants: usize,
    store: StoreOut<'a>,
    verify: ProgressOut,
}

#[derive(Serialize)]
struct KeysOut {
    total: usize,
    active: usize,
}

#[derive(Serialize)]
struct StoreOut<'a> {
    /// Why it cannot write; null where it can.
    fault: Option<&'a str>,
    queued: usize,
    bytes: u64,
    text_lag: u64,
    retired_calls: u64,
}

#[derive(Serialize)]
struct ProgressOut {
    running: bool,
    done: u64,
    total: u64,
}

#[derive(Serialize)]
struct VerdictOut<'a> {
    /// Whether nothing was found.
    intact: bool,
    checked: u64,
    retired: u64,
    finding: Option<FindingOut<'a>>,
    /// What a check cannot see, in sentences.
    unseen: &'a [String],
}

#[derive(Serialize)]
struct FindingOut<'a> {
    sequence: u64,
    call: Option<String>,
    what: &'a str,
}

fn measured(asked: &Asked<'_>) -> ProgressOut {
    let progress = asked.admin.verify_progress();
    let (done, total) = progress.unwrap_or_default();
    ProgressOut { running: progress.is_some(), done, total }
}

pub(super) fn status(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let (snapshot, now) = (asked.admin.keyring().snapshot(), asked.admin.now());
    let StoreState { fault, queued, bytes, text_lag, retired_calls } = asked.admin.store_state();
    Answer::ok(&StatusOut {
        bridge: asked.bridge,
        url: asked.open.public(),
        admin_url: asked.open.admin(),
        now: Instant(now),
        keys: KeysOut {
            total: snapshot.keys().count(),
            active: snapshot.keys().filter(|key| key.alive(now).is_ok()).count(),
        },
        tenants: snapshot.tenants().count(),
        store: StoreOut { fault: fault.as_deref(), queued, bytes, text_lag, retired_calls },
        verify: measured(asked),
    })
}

/// Checks the journal. The reply comes at the end; the check ends early if the caller goes.
pub(super) async fn verify(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let Empty {} = read(&asked.body)?;
    let Verdict { checked, finding, unseen, retired } = asked.admin.verify().await?;
    Answer::ok(&VerdictOut {
        intact: finding.is_none(),
        checked,
        retired,
        finding: finding.as_ref().map(|finding| FindingOut {
            sequence: finding.sequence,
            call: finding.call.map(|call| call.to_string()),
            what: &finding.what,
        }),
        unseen: &unseen,
    })
}

pub(super) fn progress(asked: &Asked<'_>) -> Result<Answer, Refused> {
    Answer::ok(&measured(asked))
}
