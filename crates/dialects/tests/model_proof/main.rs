//! Proves that the model can hold what real clients send and what upstreams answer.
//!
//! Every recorded request is walked twice: once on the wire, by the few lines that know where each
//! dialect puts its parts, and once in the model that its reader made. Both walks list the same
//! facts (who says which text, which call has which id and arguments, what stands beside a turn
//! or a tool), and the lists must be equal. The walk of the wire knows every field; those that
//! have no place in the model are gaps, and the gaps of a dialect are exactly the ones that its
//! test lists. `docs/decisions/0004-neutral-model.md` says why each is left open.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![expect(clippy::panic, reason = "the same")]
#![expect(clippy::indexing_slicing, reason = "the same")]

mod chat;
mod facts;
mod messages;
mod replies;
mod responses;
mod verbatim;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use model::CompletionRequest;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use facts::Facts;
use verbatim::verbatim;

/// A recorded request.
#[derive(Deserialize)]
struct Recording<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
    headers: BTreeMap<String, String>,
}

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(golden(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} holds files");
    files
}

/// Compares the facts of every recording of a dialect. `gaps` are the fields of the recordings
/// that have no place, as `object.field`.
fn prove(
    folder: &str,
    gaps: &[&str],
    read: impl Fn(&Recording<'_>) -> Option<CompletionRequest>,
    walk: impl Fn(&Value, &mut Facts),
) {
    let mut found = BTreeSet::new();
    for file in files(folder) {
        let text = fs::read_to_string(&file).unwrap();
        let recording: Recording<'_> = serde_json::from_str(&text).unwrap();
        let Some(request) = read(&recording) else {
            continue;
        };
        let mut wire = Facts::default();
        walk(&serde_json::from_str(recording.body.get()).unwrap(), &mut wire);
        let mut model = Facts::default();
        model.request(&request);
        wire.list.sort();
        model.list.sort();
        let missing = |from: &Facts, of: &Facts| -> Vec<String> {
            let missing = of.list.iter().filter(|fact| !from.list.contains(fact));
            missing.cloned().collect()
        };
        assert_eq!(
            wire.list,
            model.list,
            "{}\nlost: {:#?}\nmade up: {:#?}",
            file.display(),
            missing(&model, &wire),
            missing(&wire, &model)
        );
        verbatim(&request, recording.body.get(), &file);
        found.append(&mut wire.gaps);
    }
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, gaps, "the gaps of {folder}");
}
