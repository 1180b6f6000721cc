//! Takes into the database what a crash left in the redo log.

use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom};

use rusqlite::Connection;

use super::super::apply::Batch;
use super::super::connect::{is_environment, reason};
use super::super::files::Files;
use super::super::journal::{Sealer, Tip};
use super::frame::Frame;

/// Records in one transaction.
const MANY: usize = 2000;

/// Records of a file that are left out because the database refuses them.
const MOST_REFUSED: usize = 16;

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Found {
    /// The end of the journal afterwards.
    pub(in super::super) tip: Tip,
    /// The number of the next record.
    pub(in super::super) next: u64,
    /// Records that were taken in.
    pub(in super::super) taken: u64,
}

/// Takes in what is not in the database yet, and says where everything goes on. The files stay as
/// they are: a crash in the middle does no harm.
pub(in super::super) fn replay(
    files: &Files,
    sealer: &Sealer,
    connection: &Connection,
    tip: Tip,
    now: i64,
) -> rusqlite::Result<Found> {
    let applied: i64 = connection.query_row("SELECT applied FROM redo", [], |row| row.get(0))?;
    let applied = u64::try_from(applied).unwrap_or(0);
    let mut found = Found { tip, next: applied + 1, taken: 0 };
    let mut segments: Vec<(u64, File)> = Vec::new();
    for number in 0..2 {
        let read = files.read_redo(number).and_then(|file| file.map(with_first).transpose());
        match read {
            Ok(Some(Some(segment))) => segments.push(segment),
            Ok(_) => {}
            // What is in it was answered as written: a start that passes over it would lose it.
            Err(error) => return Err(unreadable(&error)),
        }
    }
    segments.sort_by_key(|(first, _)| *first);
    for (_, file) in segments {
        take_segment(file, sealer, connection, applied, now, &mut found)?;
    }
    Ok(found)
}

/// Finds the number of the first record.
fn with_first(mut file: File) -> io::Result<Option<(u64, File)>> {
    let mut frame = Frame::default();
    let there = frame.read(&mut BufReader::new(&file))?;
    file.seek(SeekFrom::Start(0))?;
    Ok(there.then_some((frame.lsn, file)))
}

fn take_segment(
    file: File,
    sealer: &Sealer,
    connection: &Connection,
    applied: u64,
    now: i64,
    found: &mut Found,
) -> rusqlite::Result<()> {
    let mut segment = Segment {
        from: BufReader::with_capacity(64 << 10, file),
        frame: Frame::default(),
        expected: None,
        refused: Vec::new(),
    };
    loop {
        let (place, expected, before) = (segment.place()?, segment.expected, *found);
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut batch = Batch::new(connection, sealer, found.tip, now);
        match segment.take(&mut batch, sealer, applied, found) {
            Ok(more) => {
                let written = batch.finish().and_then(|done| {
                    connection.execute_batch("COMMIT")?;
                    done.tell();
                    Ok(done.tip)
                });
                found.tip = written.inspect_err(|_| roll_back(connection))?;
                if !more {
                    return Ok(());
                }
            }
            Err(error) => {
                drop(batch);
                roll_back(connection);
                let lsn = segment.frame.lsn;
                // Many are no fault of theirs, and each is lost once it is passed over.
                if is_environment(&error) || segment.refused.len() >= MOST_REFUSED {
                    return Err(error);
                }
                // One record that the database will not have must not keep all others out.
                let told = segment.frame.record(sealer).map(|it| (it.name(), it.forgotten()));
                let (name, forgotten) =
                    told.unwrap_or_else(|| ("which is not whole".to_owned(), String::new()));
                tracing::error!(
                    "record {lsn} of the redo log, {name}, was not written: {}{forgotten}",
                    reason(&error)
                );
                segment.refused.push(lsn);
                segment.go_back(place, expected)?;
                *found = before;
            }
        }
    }
}

/// A file of the redo log that is read.
struct Segment {
    from: BufReader<File>,
    frame: Frame,
    /// The number of the next record.
    expected: Option<u64>,
    /// Records that the database does not take.
    refused: Vec<u64>,
}

impl Segment {
    fn place(&mut self) -> rusqlite::Result<u64> {
        self.from.stream_position().map_err(|error| unreadable(&error))
    }

    fn go_back(&mut self, place: u64, expected: Option<u64>) -> rusqlite::Result<()> {
        self.expected = expected;
        self.from.seek(SeekFrom::Start(place)).map_err(|error| unreadable(&error)).map(drop)
    }

    /// Takes the next records into a batch; says whether there may be more.
    fn take(
        &mut self,
        batch: &mut Batch<'_>,
        sealer: &Sealer,
        applied: u64,
        found: &mut Found,
    ) -> rusqlite::Result<bool> {
        for _ in 0..MANY {
            let Self { from, frame, expected, refused } = self;
            let there = frame.read(from).map_err(|error| unreadable(&error))?;
            // What lies behind the last record is of an earlier round, and has earlier numbers.
            if !there || frame.lsn == 0 || expected.is_some_and(|next| frame.lsn != next) {
                return Ok(false);
            }
            let Some(record) = frame.record(sealer) else {
                tracing::warn!(
                    "record {} of the redo log is not whole: nobody was answered because of it, \
                     unless the file was changed; what follows it is left out",
                    frame.lsn,
                );
                return Ok(false);
            };
            *expected = Some(frame.lsn + 1);
            found.next = found.next.max(frame.lsn + 1);
            if frame.lsn <= applied {
                continue;
            }
            if !refused.contains(&frame.lsn) {
                found.taken += 1;
                // A call that is there already was written another way.
                let _known = batch.record(&record, None)?;
            }
            batch.applied(i64::try_from(frame.lsn).unwrap_or(i64::MAX))?;
        }
        Ok(true)
    }
}

fn roll_back(connection: &Connection) {
    // The connection is given up after this, or begins anew and says so itself.
    let _rolled_back = connection.execute_batch("ROLLBACK");
}

fn unreadable(error: &io::Error) -> rusqlite::Error {
    super::super::connect::unusable(format!("its redo log cannot be read: {error}"))
}
