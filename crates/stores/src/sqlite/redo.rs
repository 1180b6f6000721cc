//! The redo log: what was answered as written before it is in the database.
//!
//! A transaction costs the same for one row as for a hundred, and a thread that is woken for each
//! costs as much again. So the halves of calls are first appended to a file, by whoever brings
//! them, and are durable with that: they survive the end of the process. The writer takes them
//! into the database behind, many in one transaction, which also notes how far it came. A start
//! takes in what was appended after that.
//!
//! There are two files of a fixed length, written in turns from their beginnings, since a file that
//! grows costs several times what one does that is there already; one is written again only when
//! all of it is in the database. What finds no room,
//! or comes while the disk is slow or fails, is not appended: it is answered by the transaction
//! that takes it into the database. See [`frame`] for what a record looks like.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::files::{Files, Named};
use super::journal::Sealer;
use super::queue::Waiting;
use super::retire::Bounds;

mod frame;
mod replay;

pub(super) use frame::Kind;
pub(super) use replay::replay;

/// Bytes of each file.
const SIZE: u64 = 16 << 20;
/// The least and the share of all bytes, where those are bounded: both files together take a
/// thirty-second.
const LEAST: u64 = 256 << 10;
const SHARE: u64 = 64;
/// The part of a file that one record may take.
const PART: u64 = 4;
/// Bytes of a piece of what is kept until it is in the database, and how many of them are left for
/// a group at least: most take less.
const PIECE: usize = 64 << 10;
const MOSTLY: usize = 8 << 10;
/// How long a look at where the file lies holds good. Whoever takes the file away takes with it what
/// was appended before, and is not in the database yet, so looking at each append saves nobody.
const LOOK: Duration = Duration::from_millis(1);
/// The longest append that is no trouble. Whoever appends may be one of the threads that answer
/// calls: after a longer one the writer's own thread does it all, for a while.
const SLOW: Duration = Duration::from_millis(20);
const REST: Duration = Duration::from_secs(1);

/// Bytes of each file under some bounds.
pub(super) fn size(bounds: Bounds) -> u64 {
    bounds.bytes.map_or(SIZE, |bytes| (bytes.get() / SHARE).clamp(LEAST, SIZE))
}

/// What may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything.
    All,
    /// What tells of something that has already happened: the rest waits for the writer.
    Ends,
    /// The same, also on a slow disk: the writer cannot write at all.
    Rescue,
}

/// How far the redo log is in the database.
pub(super) type Applied = Arc<AtomicU64>;

/// The redo log.
#[derive(Debug)]
pub(super) struct Redo {
    segments: [Segment; 2],
    active: usize,
    /// Bytes of each file.
    size: u64,
    /// The next number of a record.
    next: u64,
    applied: Applied,
    sealer: Sealer,
    /// The bytes of a group, and where the fields of each of its records are among them. They are
    /// kept until they are in the database: in few large pieces, since what one thread allocates and
    /// another frees costs both.
    buffer: BytesMut,
    places: Vec<(usize, Range<usize>)>,
    /// When the active file was looked at.
    looked: Option<Instant>,
    /// Until when nothing is appended, after trouble.
    rest: Option<Instant>,
    /// Whether what a failed append left behind is still there.
    spoilt: bool,
    /// Whether the last append failed, which was told.
    failing: bool,
}

/// One of its files.
#[derive(Debug)]
struct Segment {
    named: Named,
    /// Where the next record goes.
    at: u64,
    /// The last record in it.
    last: u64,
}

impl Redo {
    /// Makes the files ready, after all that was in them was taken into the database.
    pub(super) fn new(
        files: &Files,
        bounds: Bounds,
        sealer: Sealer,
        next: u64,
    ) -> io::Result<(Self, Applied)> {
        let size = size(bounds);
        let segment = |number| -> io::Result<Segment> {
            Ok(Segment { named: files.redo(number, size)?, at: 0, last: 0 })
        };
        let segments = [segment(0)?, segment(1)?];
        let applied = Arc::new(AtomicU64::new(next.saturating_sub(1)));
        let redo = Self {
            segments,
            active: 0,
            size,
            next,
            applied: Arc::clone(&applied),
            sealer,
            buffer: BytesMut::new(),
            places: Vec::new(),
            looked: None,
            rest: None,
            spoilt: false,
            failing: false,
        };
        Ok((redo, applied))
    }

    /// Appends what it can of a group, in its order, and answers that. The rest is left as it is.
    pub(super) fn append(&mut self, group: &mut [Waiting], scope: Scope) {
        if scope != Scope::Rescue && self.rest.is_some_and(|rest| Instant::now() < rest) {
            return;
        }
        self.rest = None;
        if self.spoilt && !self.cut_off() {
            self.rest = Some(Instant::now() + REST);
            return;
        }
        self.turn_over();
        // As long as the writer keeps up, the other file is free. Once it is not, the rest of this
        // one is for ends: the calls that came in must be able to end.
        let kept = if self.is_free(1 - self.active) { 0 } else { self.size / 2 };
        self.places.clear();
        self.buffer.clear();
        if !(MOSTLY..=PIECE).contains(&self.buffer.capacity()) {
            self.buffer = BytesMut::with_capacity(PIECE);
        }
        let Some(segment) = self.segments.get_mut(self.active) else { return };
        let room = usize::try_from(self.size - segment.at).unwrap_or(0);
        let new_room = room.saturating_sub(usize::try_from(kept).unwrap_or(usize::MAX));
        let most = usize::try_from(self.size / PART).unwrap_or(0).min(frame::LONGEST);
        let (buffer, mut lsn) = (&mut self.buffer, self.next);
        for (at, waiting) in group.iter_mut().enumerate() {
            let skipped = waiting.weight >= most.min(room)
                || scope != Scope::All && !waiting.write.must_stay()
                || waiting.is_to_be_withheld();
            let Some(record) = waiting.write.record().filter(|_| !skipped) else { continue };
            let before = buffer.len();
            frame::write(buffer, lsn, &record, &self.sealer);
            let room = if waiting.write.must_stay() { room } else { new_room };
            // What it takes was a rough guess. A longer one is not read again, nor what is behind it.
            if buffer.len() > room || buffer.len() - before > frame::HEAD + frame::LONGEST {
                buffer.truncate(before);
                continue;
            }
            self.places.push((at, before + frame::HEAD..buffer.len()));
            waiting.lsn = Some(lsn);
            lsn += 1;
        }
        if buffer.is_empty() {
            return;
        }
        let (named, began) = (&segment.named, Instant::now());
        let there = match scope {
            // What the database suffers from may be that its directory was moved away.
            Scope::Rescue => named.is_in_place(),
            Scope::All | Scope::Ends => match self.looked {
                Some(at) if began.duration_since(at) < LOOK => Ok(()),
                _ => {
                    self.looked = Some(began);
                    named.is_there()
                }
            },
        };
        let written = there.and_then(|()| write_at(&named.file, buffer, segment.at));
        if began.elapsed() > SLOW {
            self.rest = Some(Instant::now() + REST);
        }
        match written {
            Ok(()) => {
                segment.at += u64::try_from(buffer.len()).unwrap_or(0);
                segment.last = lsn - 1;
                self.next = lsn;
                self.failing = false;
                let grown = self.buffer.capacity() > PIECE;
                let bytes = self.buffer.split().freeze();
                if grown {
                    // Small records behind large bodies must not hold all of their room.
                    self.buffer = BytesMut::new();
                }
                for (at, place) in self.places.drain(..) {
                    if let Some(waiting) = group.get_mut(at) {
                        waiting.confirm(bytes.slice(place));
                    }
                }
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!("the redo log of the store cannot be written: {error}");
                }
                self.failing = true;
                self.rest = Some(Instant::now() + REST);
                for waiting in group.iter_mut() {
                    waiting.lsn = None;
                }
                // Some of it may be whole in the file, although it is answered another way, or not
                // at all: its numbers are not used again, and it must not be found.
                self.next = lsn;
                self.spoilt = true;
            }
        }
        if self.spoilt {
            self.cut_off();
        }
    }

    /// Cuts off what a failed append left behind, and lets nothing be written behind it; says
    /// whether that went well.
    fn cut_off(&mut self) -> bool {
        let Some(segment) = self.segments.get_mut(self.active) else { return false };
        // A file that is full has nothing behind its last record.
        let room = usize::try_from(self.size - segment.at).unwrap_or(0);
        let nothing = [0; frame::HEAD];
        let nothing = nothing.get(..room.min(frame::HEAD)).unwrap_or_default();
        self.spoilt = write_at(&segment.named.file, nothing, segment.at).is_err();
        if !self.spoilt {
            segment.at = self.size;
        }
        !self.spoilt
    }

    /// Goes on in the other file when this one is nearly full, and the other is in the database.
    fn turn_over(&mut self) {
        let full = |segment: &Segment| self.size - segment.at < self.size / PART;
        if !self.segments.get(self.active).is_some_and(full) {
            return;
        }
        let other = 1 - self.active;
        if let (true, Some(segment)) = (self.is_free(other), self.segments.get_mut(other)) {
            segment.at = 0;
            self.active = other;
            self.looked = None;
        }
    }

    /// Whether all of a file is in the database.
    fn is_free(&self, segment: usize) -> bool {
        let applied = self.applied.load(Ordering::Acquire);
        self.segments.get(segment).is_some_and(|segment| segment.last <= applied)
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests;
