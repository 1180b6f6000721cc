//! The search for text: an index of words beside the database, in a file of its own.
//!
//! The index can be thrown away. It holds nothing that is not in the record, is filled behind it,
//! and is made anew when it is missing, damaged, or does not belong to this journal. So a fault of
//! it never touches the record, and the check of the journal does not look at it.
//!
//! What was decided, and why:
//!
//! - *Words, not trigrams.* FTS5's trigrams would find any part of a word and would need no rule
//!   for Chinese, but a text of 4 KB has some 1,500 different ones and only some 300 words: the
//!   index would be larger than the bodies, and could not be filled as quickly as calls come. So
//!   whole words are found, without regard to case and (in Latin, Greek and Cyrillic) to accents.
//! - *Pairs for Chinese, Japanese and Korean*, which write words without spaces: a run of their
//!   characters is kept as its overlapping pairs, and a run that is searched for is found by all
//!   of its pairs. See `words`, which takes texts apart before FTS5 sees them: what it hands over
//!   are letters and digits only, so that nobody's text can be read as a query.
//! - *Which words, not where* (`detail=none`, no columns, no text): half the size. A run of three
//!   or more characters, and a word like `ERR_47`, are found by their parts, also where those
//!   stand apart in one call.
//! - *Pieces*, each a table of some calls that follow each other: retention drops a whole piece,
//!   which gives its pages back at once, where FTS5's own deletion would first need more. A piece
//!   goes when all of its calls have gone; until then a search passes over those that have. A
//!   piece spans at most a sixteenth of the age that calls are kept for.
//! - *It follows the journal*, not the numbers of calls: calls end in another order than they
//!   come, and their ends stand in the journal in the order of commits. Its place is the row of
//!   the journal and the seal of it, written in the transaction of what it stands for.
//! - *A fifth of all bytes* is the most that it may take. If that is not enough for all calls that
//!   are kept, the oldest are not found by their text.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod indexer;
mod pieces;
mod search;
mod words;

pub(super) use indexer::{Indexer, standing};
pub(super) use search::search;
pub(super) use words::read_wanted;

/// How long ends of calls are gathered.
const GATHER: Duration = Duration::from_millis(200);
/// Ends of calls after which no more are waited for.
const MANY: i64 = 256;

/// What the index lacks, and what others have to tell its thread.
#[derive(Debug)]
pub(super) struct Backlog {
    inner: Mutex<Inner>,
    wake: Condvar,
    opened: Condvar,
}

#[derive(Debug)]
struct Inner {
    /// The last entry of the journal.
    tip: i64,
    /// The last entry of the journal that the index knows of.
    place: i64,
    /// Ends of calls that it lacks. Below zero for the moment between a commit and its report.
    lag: i64,
    /// Which index it is; 0 for none yet. Connections to an earlier one are of no use.
    generation: u64,
    /// Whether it is opened for the first time, or anew.
    opening: bool,
    news: bool,
    doubted: bool,
    ended: bool,
}

/// Why the thread of the index was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// There may be something to do.
    News,
    /// Somebody found the index damaged.
    Doubt,
    /// The store ends.
    End,
}

impl Backlog {
    /// What lies between the place of the index and the end of the journal, with so many ends of
    /// calls.
    fn new(tip: i64, place: i64, lag: i64) -> Self {
        let inner = Inner {
            tip,
            place,
            lag,
            generation: 0,
            opening: true,
            news: true,
            doubted: false,
            ended: false,
        };
        Self { inner: Mutex::new(inner), wake: Condvar::new(), opened: Condvar::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends of calls that the index does not know yet. After retention took calls that it did not
    /// know, or at a start with very many, it can be too many for a while.
    pub(super) fn lag(&self) -> u64 {
        let inner = self.inner();
        u64::try_from(inner.lag.min(inner.tip - inner.place)).unwrap_or(0)
    }

    /// Which index it is; 0 for none. Waits until the first try to open it is over.
    pub(super) fn generation(&self, deadline: Instant) -> u64 {
        let time = deadline.saturating_duration_since(Instant::now());
        let opening = |inner: &mut Inner| inner.opening && !inner.ended;
        self.opened
            .wait_timeout_while(self.inner(), time, opening)
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .generation
    }

    /// Whether it is still the same: what was found in one that was thrown away meanwhile may be less
    /// than it was said to know.
    pub(super) fn is_still(&self, generation: u64) -> bool {
        self.inner().generation == generation
    }

    /// The index is opened, and maybe made anew. Whoever asks waits for that.
    fn opens(&self) {
        let mut inner = self.inner();
        inner.generation += 1;
        inner.opening = true;
    }

    /// A try to open the index is over.
    fn tried(&self) {
        self.inner().opening = false;
        self.opened.notify_all();
    }

    /// Something was committed, with so many ends of calls.
    pub(super) fn committed(&self, tip: i64, closed: usize) {
        let mut inner = self.inner();
        inner.tip = tip;
        inner.lag += i64::try_from(closed).unwrap_or(0);
        inner.settle();
        inner.news = true;
        drop(inner);
        self.wake.notify_one();
    }

    /// A reader found an index damaged.
    pub(super) fn doubt(&self, generation: u64) {
        let mut inner = self.inner();
        inner.doubted |= generation == inner.generation;
        drop(inner);
        self.wake.notify_one();
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.inner().ended = true;
        self.wake.notify_one();
        self.opened.notify_all();
    }

    /// The index is another one, or is there now, and lacks so many ends where there were so many
    /// before. Since they were counted, more may have been reported.
    fn renewed(&self, place: i64, before: i64, lag: i64) {
        let mut inner = self.inner();
        inner.generation += 1;
        inner.place = place;
        inner.lag += lag - before;
        inner.doubted = false;
        inner.opening = false;
        inner.settle();
        drop(inner);
        self.opened.notify_all();
    }

    /// The last entry of the journal that was reported, and what the index lacks up to it.
    fn reported(&self) -> (i64, i64) {
        let inner = self.inner();
        (inner.tip, inner.lag)
    }

    /// Ends of calls between the index and a row were counted; since, more may have been reported.
    fn counted(&self, upto: i64, before: i64, lag: i64) {
        let mut inner = self.inner();
        inner.lag = if inner.tip == upto { lag } else { inner.lag - before + lag };
        inner.settle();
    }

    /// The index knows all up to an entry now, so many ends more than before.
    fn indexed(&self, place: i64, closed: i64) {
        let mut inner = self.inner();
        inner.place = place;
        inner.lag -= closed;
        inner.settle();
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Wake {
        let idle = |inner: &mut Inner| !inner.news && !inner.doubted && !inner.ended;
        let inner =
            self.wake.wait_while(self.inner(), idle).unwrap_or_else(PoisonError::into_inner);
        let few = |inner: &mut Inner| inner.lag < MANY && !inner.doubted && !inner.ended;
        let (mut inner, _) = self
            .wake
            .wait_timeout_while(inner, GATHER, few)
            .unwrap_or_else(PoisonError::into_inner);
        inner.news = false;
        inner.why()
    }

    /// Waits, but not longer than this. Says whether the store ends.
    fn pause(&self, time: Duration) -> bool {
        let (inner, _) = self
            .wake
            .wait_timeout_while(self.inner(), time, |inner| !inner.ended)
            .unwrap_or_else(PoisonError::into_inner);
        inner.ended
    }

    /// There is more to do without news.
    fn again(&self) {
        self.inner().news = true;
    }
}

impl Inner {
    /// At the end of the journal nothing is missing, whatever was counted.
    fn settle(&mut self) {
        if self.place >= self.tip {
            self.lag = 0;
        }
    }

    fn why(&self) -> Wake {
        match (self.ended, self.doubted) {
            (true, _) => Wake::End,
            (false, true) => Wake::Doubt,
            (false, false) => Wake::News,
        }
    }
}
