//! The thread that fills the index.
//!
//! It reads the journal behind the writer, in small batches, on connections of its own, and rests
//! several times as long as it works, unless nothing else is to be done: calls come first. Whatever
//! is wrong with the index, it is thrown away; whatever is wrong with the record, it waits.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Error, ErrorCode, OptionalExtension as _, params};

use super::super::Durability;
use super::super::body::Bodies;
use super::super::connect::{Role, connect, is_environment, reason};
use super::super::files::Files;
use super::super::journal::{Kind, Tip};
use super::super::queue::Queue;
use super::super::retire::Bounds;
use super::pieces::{Entry, Index};
use super::words::Words;
use super::{Backlog, Wake};

/// Entries of the journal in one batch.
const ENTRIES: i64 = 1000;
/// Rows of the journal that are counted in one read.
const COUNTED: i64 = 50_000;
/// How much longer it rests than it works: the cores belong to the calls.
const REST: u32 = 4;
/// The same while nothing comes: only whoever has much to look for waits for it then.
const SHORT_REST: u32 = 1;
/// The same while more comes than it could keep up with: it has its time when that is over.
const LONG_REST: u32 = 100;
/// The longest rest: a step that counts a large record for the first time takes seconds.
const MOST_REST: Duration = Duration::from_secs(2);
/// Between the first two tries after a fault, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What it works with.
#[derive(Debug)]
pub(in super::super) struct Indexer {
    pub(in super::super) files: Arc<Files>,
    pub(in super::super) durability: Durability,
    pub(in super::super) backlog: Arc<Backlog>,
    pub(in super::super) queue: Arc<Queue>,
    pub(in super::super) bounds: Bounds,
}

/// What went wrong.
#[derive(Debug)]
enum Fault {
    /// The record cannot be read.
    Record(Error),
    /// The index cannot be used.
    Index(Error),
}

/// The connections that are open.
#[derive(Default)]
struct Open {
    record: Option<Connection>,
    index: Option<Index>,
}

/// A part of the journal.
struct Batch {
    entries: Vec<Entry>,
    place: Tip,
    closed: i64,
    more: bool,
}

impl Indexer {
    /// Fills the index until the store ends.
    pub(in super::super) fn run(self) {
        let (mut open, mut pause) = (Open::default(), None);
        loop {
            match self.backlog.wait() {
                Wake::End => return,
                Wake::Doubt => {
                    tracing::warn!("the index of texts is damaged; it is made anew");
                    open.index = None;
                    if let Err(error) = Index::remove(&self.files) {
                        tracing::warn!("the index of texts cannot be removed: {}", reason(&error));
                    }
                }
                Wake::News => {}
            }
            let (begun, came) = (Instant::now(), self.queue.came());
            let rest = match self.step(&mut open) {
                Ok(more) => {
                    pause = None;
                    let rest = (begun.elapsed() * self.times(came)).min(MOST_REST);
                    if !more {
                        if self.backlog.pause(rest) {
                            return;
                        }
                        continue;
                    }
                    rest
                }
                Err(fault) => {
                    self.backlog.tried();
                    let next = pause.map_or(FIRST_PAUSE, |pause: Duration| pause * 2);
                    self.recover(&mut open, &fault, pause.is_none());
                    *pause.insert(next.min(LONGEST_PAUSE))
                }
            };
            self.backlog.again();
            if self.backlog.pause(rest) {
                return;
            }
        }
    }

    /// How much longer it rests than it worked, and so many writes had come before it did.
    fn times(&self, came: u64) -> u32 {
        match self.queue.came() == came {
            true => SHORT_REST,
            false if self.queue.is_busy_writing() => LONG_REST,
            false => REST,
        }
    }

    /// After a fault: what is damaged goes, what may come back is waited for.
    fn recover(&self, open: &mut Open, fault: &Fault, first: bool) {
        let error = match fault {
            Fault::Record(error) => {
                // The writer sees the same trouble and tells of it.
                tracing::debug!("the index of texts waits for the record: {}", reason(error));
                open.record = None;
                return;
            }
            Fault::Index(error) => error,
        };
        if first {
            tracing::warn!("the index of texts cannot be filled: {}", reason(error));
        }
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        let make_room = full && self.bounds.bytes.is_some();
        open.index = None;
        let done = if is_damage(error) {
            Index::remove(&self.files)
        } else if make_room {
            Index::open(&self.files, self.bounds).and_then(|mut index| {
                index.drop_oldest()?;
                open.index = Some(index);
                Ok(())
            })
        } else {
            Ok(())
        };
        if let Err(error) = done {
            tracing::debug!("the index of texts is not mended: {}", reason(&error));
            open.index = None;
        }
    }

    /// Indexes one batch; says whether there is more.
    fn step(&self, open: &mut Open) -> Result<bool, Fault> {
        let record = match &mut open.record {
            Some(record) => record,
            none => none.insert(
                connect(&self.files.database(), self.durability, Role::Reader)
                    .map_err(Fault::Record)?,
            ),
        };
        if open.index.as_ref().is_some_and(|index| !index.is_there(&self.files)) {
            tracing::warn!("the index of texts was taken away; it is made anew");
            open.index = None;
        }
        let index = match &mut open.index {
            Some(index) => index,
            none => {
                let index = self.open_index(record)?;
                none.insert(index)
            }
        };
        if !index.keep_log_short(&self.files).map_err(Fault::Index)? {
            return Ok(true);
        }
        let batch = read(record, index.place(), index.batch_bytes()).map_err(Fault::Record)?;
        if batch.place != index.place() {
            let finished = index.write(batch.entries, batch.place).map_err(Fault::Index)?;
            self.backlog.indexed(batch.place.seq, batch.closed);
            if let Some(piece) = finished {
                index.keep_log_short(&self.files).map_err(Fault::Index)?;
                index.join(piece).map_err(Fault::Index)?;
            }
        }
        index.trim(record).map_err(Fault::Index)?;
        index.keep_log_short(&self.files).map_err(Fault::Index)?;
        Ok(batch.more)
    }

    fn open_index(&self, record: &Connection) -> Result<Index, Fault> {
        self.backlog.opens();
        let mut index = Index::open(&self.files, self.bounds).map_err(Fault::Index)?;
        // The record may have been put back to an earlier state, or have lost its last rows.
        if !index.place().is_in(record).map_err(Fault::Record)? {
            tracing::warn!("the index of texts is not of this record; it is made anew");
            drop(index);
            Index::remove(&self.files).map_err(Fault::Index)?;
            index = Index::open(&self.files, self.bounds).map_err(Fault::Index)?;
        }
        let (place, (tip, before)) = (index.place().seq, self.backlog.reported());
        let most = tip - place;
        let count = || count(record, place, tip).map_err(Fault::Record);
        if most <= COUNTED {
            // Also where it cannot be counted: this is another index now.
            self.backlog.renewed(place, before, count().unwrap_or(most));
        } else {
            // Whoever searches waits until the index is there, and not for a long count.
            self.backlog.renewed(place, before, most);
            self.backlog.counted(tip, most, count()?);
        }
        Ok(index)
    }
}

/// How far the index is when a store is opened, before anybody can ask. Where too much is missing
/// to be counted at once, it is no more than entries of the journal.
pub(in super::super) fn standing(files: &Files, record: &Connection, tip: i64) -> Backlog {
    let place = || {
        let index = connect(&files.text(), Durability::Normal, Role::Reader)?;
        let place = index.query_row("SELECT seq, mac FROM place", [], |row| {
            Ok(Tip { seq: row.get(0)?, mac: row.get(1)? })
        })?;
        Ok::<_, Error>(place.is_in(record)?.then_some(place.seq))
    };
    // One that is missing or of no use is made anew, from the beginning.
    let there = files.text().exists();
    let place = there.then(place).and_then(Result::ok).flatten().unwrap_or_default();
    let most = tip - place;
    let lag = if most <= COUNTED { count(record, place, tip).unwrap_or(most) } else { most };
    Backlog::new(tip, place, lag)
}

/// Whether an index is beyond use. What is no fault of the world around it is one of its own.
fn is_damage(error: &Error) -> bool {
    let code = error.sqlite_error_code();
    !is_environment(error)
        || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Counts the ends of calls in a part of the journal, in pieces, so that its log can be moved
/// meanwhile.
fn count(record: &Connection, after: i64, upto: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FILTER (WHERE kind IN (?3, ?4)), max(seq) FROM (SELECT seq, kind \
        FROM journal WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?5)";
    let mut statement = record.prepare(sql)?;
    let (mut count, mut after) = (0, after);
    loop {
        let [one, other] = Kind::ENDS.map(Kind::number);
        let bounds = params![after, upto, one, other, COUNTED];
        let (some, last): (i64, Option<i64>) =
            statement.query_row(bounds, |row| Ok((row.get(0)?, row.get(1)?)))?;
        count += some;
        match last {
            Some(last) => after = last,
            None => return Ok(count),
        }
    }
}

/// Reads the journal from a place on, with the words of the calls that ended there.
fn read(record: &Connection, from: Tip, bytes: usize) -> rusqlite::Result<Batch> {
    let moment = record.unchecked_transaction()?;
    let mut batch = Batch { entries: Vec::new(), place: from, closed: 0, more: false };
    let sql = "SELECT seq, kind, call, mac FROM journal WHERE seq > ?1 ORDER BY seq";
    let mut lines = moment.prepare_cached(sql)?;
    let mut lines = lines.query([from.seq])?;
    // Counted from the first that is there: retention may have taken any number before it.
    let (mut upto, mut size) = (None, 0);
    while let Some(line) = lines.next()? {
        let seq: i64 = line.get(0)?;
        if size >= bytes || seq >= *upto.get_or_insert(seq.saturating_add(ENTRIES)) {
            batch.more = true;
            break;
        }
        batch.place = Tip { seq, mac: line.get(3)? };
        if !Kind::read(line.get(1)?).is_some_and(Kind::is_end) {
            continue;
        }
        batch.closed += 1;
        // Whoever answers calls needs the core more.
        thread::yield_now();
        if let Some(id) = line.get::<_, Option<[u8; 16]>>(2)?
            && let Some(entry) = read_call(&moment, &id)?
        {
            size += entry.words.len();
            batch.entries.push(entry);
        }
    }
    Ok(batch)
}

/// The words of a call; `None` where it has none, or is gone.
fn read_call(record: &Connection, id: &[u8; 16]) -> rusqlite::Result<Option<Entry>> {
    let n: Option<i64> = record
        .prepare_cached("SELECT n FROM call WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(n) = n else { return Ok(None) };
    let mut bodies = Bodies::new(record)?;
    let mut words = Words::default();
    for side in 0..2 {
        // What is damaged has no words; the check of the journal names it.
        if let Some(Ok(body)) = bodies.read(n, side)? {
            words.read(&body);
        }
    }
    let words = words.into_text();
    Ok((!words.is_empty()).then_some(Entry { n, words }))
}
