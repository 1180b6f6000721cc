//! The engine in one SQLite file.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gateway::store::Store;
use proptest::prelude::*;
use stores::{OpenError, OpenOptions, Sqlite};
use tempfile::TempDir;

mod bounds;
mod crash;
mod evidence;
mod faults;
mod files;
mod rates;
mod redo;
mod retention;
mod texts;

use crate::contract::{Place, every_story, laws, texts as said};
use crate::samples::{closed, opened};

/// A directory of its own.
pub(crate) struct Directory(pub(crate) TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions::new(self.0.path().join("store"))
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("store").join(name)
    }
}

impl Place for Directory {
    fn open(&self) -> Arc<dyn Store> {
        // Between the birth of a child of another test and its own program, it holds all that this
        // process holds, also what was let go meanwhile.
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match Sqlite::open(self.options()) {
                Err(OpenError::Locked { .. }) if Instant::now() < until => thread::yield_now(),
                opened => return Arc::new(opened.unwrap()),
            }
        }
    }
}

every_story!(Directory::new());

/// Waits until a look at where the redo log lies holds good no longer.
pub(crate) async fn looks_again() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// Writes calls, as fast as they are taken.
pub(crate) async fn record_many(store: &Arc<dyn Store>, calls: u32) {
    let opens: Vec<_> = (1..=calls).map(|number| store.open(opened(number).into())).collect();
    let closes: Vec<_> = (1..=calls).map(|number| store.close(closed(number).into())).collect();
    for written in opens.into_iter().chain(closes) {
        written.await.unwrap();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_ledger_is_the_sum_of_the_calls(steps in laws::steps()) {
        block_on(laws::the_ledger_is_the_sum_of_the_calls(&Directory::new(), &steps));
    }

    #[test]
    fn a_filter_finds_what_fits(case in laws::filters()) {
        block_on(laws::a_filter_finds_what_fits(&Directory::new(), case));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_text_is_found_by_itself(texts in said::texts()) {
        block_on(said::a_text_is_found_by_itself(&Directory::new(), &texts));
    }
}
