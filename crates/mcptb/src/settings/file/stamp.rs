//! Whether a file has changed, without reading it.

use std::fs::Metadata;
use std::time::SystemTime;

use super::Place;

/// What tells one version of a file from the next: its time, its size, and which file it is.
///
/// Editors write in place or put a new file under the old name. Either changes one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    file: (u64, u64),
}

impl Stamp {
    /// The stamp of the file; `None` where there is none, or what is there cannot be read twice
    /// (a pipe).
    pub(crate) fn of(place: &Place) -> Option<Self> {
        let metadata = std::fs::metadata(place.path()?).ok()?;
        metadata.is_file().then(|| Self {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            file: identity(&metadata),
        })
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}
