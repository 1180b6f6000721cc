//! The check of the journal, and of the tables against it.
//!
//! It goes through the journal in pieces, each a read of its own, so that other reads find their
//! turn and the log can be moved meanwhile.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use gateway::store::{Finding, Progress, StoreError, Verdict};
use model::CallId;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row};

use super::apply::number as number_of;
use super::body::{Bodies, Damaged};
use super::canon::{self, Sum};
use super::files::Files;
use super::journal::{Entry, Kind, Sealer, Tip};
use super::readers::Readers;
use super::reads::MINUTE;
use super::record::{MOST, Stored, natural};
use super::retire::RetiredNote;
use super::stored::{COLUMNS, Settled, StoredCall};
use super::wire::ChangeNote;
use super::write::note_digest;

mod orphans;
mod rest;
mod unseen;

/// Rows in one piece.
const PIECE: i64 = 1000;
/// How long one piece may take.
const TIME: Duration = Duration::from_secs(20);

const PIECE_SQL: &str = "SELECT seq, kind, at, call, note, digest, mac FROM journal \
    WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// What entries of the journal are compared with.
struct Tables<'a> {
    calls: CachedStatement<'a>,
    taken: CachedStatement<'a>,
    bodies: Bodies<'a>,
}

impl<'a> Tables<'a> {
    fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let calls = format!("SELECT {COLUMNS} FROM call WHERE id = ?1");
        Ok(Self {
            calls: connection.prepare_cached(&calls)?,
            taken: connection
                .prepare_cached("SELECT count(*) FROM call WHERE n >= ?1 AND n < ?2")?,
            bodies: Bodies::new(connection)?,
        })
    }

    /// Whether the number of a call, which no seal covers, is the one that it was given when it was
    /// written: that of its time and entry, or where others had that, the next one that was free.
    /// Once retention has run those may be gone, and any number of the next millisecond will do.
    fn is_in_its_place(&mut self, call: &StoredCall, retired: bool) -> rusqlite::Result<bool> {
        let first = number_of(call.received, call.seq);
        match call.n.checked_sub(first) {
            Some(0) => Ok(true),
            Some(behind) if behind > 0 && retired => Ok(behind < number_of(1, 0)),
            Some(behind) if behind > 0 => {
                self.taken.query_row([first, call.n], |row| Ok(row.get::<_, i64>(0)? == behind))
            }
            _ => Ok(false),
        }
    }
}

/// Where a check is.
#[derive(Debug)]
struct Walk {
    sealer: Sealer,
    /// The last entry that was checked.
    tip: Tip,
    /// The entry up to which retention took the journal, and its seal.
    base: Tip,
    /// Whether retention went on during the check: then not everything can be counted.
    moved: bool,
    /// What the journal said last of retention.
    note: Option<RetiredNote>,
    checkpoint: Option<Tip>,
    checked: u64,
    /// Calls that the journal says came in.
    opened: u64,
    /// Calls of which the journal says that what they spent was heard of after their end.
    late: u64,
    /// Calls that came in before the journal begins, and that it knows nevertheless.
    older: HashSet<[u8; 16]>,
    /// What the calls say that each scope spent.
    sums: HashMap<String, Spent>,
    weights: RandomState,
    /// What the journal says of each key and tenant last.
    now: HashMap<String, (i64, Option<String>)>,
}

/// A row of the journal.
struct Line {
    seq: i64,
    kind: i64,
    at: i64,
    call: Option<[u8; 16]>,
    note: Option<String>,
    digest: Vec<u8>,
    mac: Sum,
}

impl Line {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            kind: row.get(1)?,
            at: row.get(2)?,
            call: row.get(3)?,
            note: row.get(4)?,
            digest: row.get(5)?,
            mac: row.get(6)?,
        })
    }

    fn wrong(&self, what: impl Into<String>) -> Finding {
        let call = self.call.map(CallId::from_bytes);
        Finding { sequence: number(self.seq), call, what: what.into() }
    }

    /// What is wrong with one of its entries, the first of which is 0.
    fn entry(&self, kind: Kind, at: i64, what: &str) -> Finding {
        Finding { sequence: number(self.seq - kind.entries() + 1 + at), ..self.wrong(what) }
    }
}

/// What a scope spent, and when, in a few numbers: there may be more minutes than calls in memory.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    amounts: Stored,
    /// The amounts of each minute by a weight that the minute has in this check only, so that nobody
    /// can move them and keep the sum.
    weighed: [u64; 3],
}

impl Spent {
    fn add(&mut self, amounts: Stored, weight: u64) {
        self.amounts.add(amounts);
        let Stored { requests, tokens, cost } = amounts;
        for (sum, amount) in self.weighed.iter_mut().zip([requests, tokens, cost]) {
            *sum = sum.wrapping_add(weight.wrapping_mul(natural(amount)));
        }
    }

    /// Whether the same was spent in the same minutes. What is more than can be counted is not told
    /// apart by minutes.
    fn is(&self, other: &Self) -> bool {
        let Stored { requests, tokens, cost } = self.amounts;
        let counted = [requests, tokens, cost].into_iter().all(|amount| amount < MOST);
        self.amounts == other.amounts && (!counted || self.weighed == other.weighed)
    }
}

/// What an entry tells of a call.
#[derive(Clone, Copy, Debug)]
enum Half {
    Rx,
    Tx,
    /// What it spent, heard of after its end.
    Late,
}

impl Half {
    /// The digest of it as the tables have it; `None` where they have nothing of the kind.
    fn digest(
        self,
        call: &StoredCall,
        bodies: &mut Bodies<'_>,
    ) -> rusqlite::Result<Result<Option<Sum>, Damaged>> {
        let mut sum = |side| -> rusqlite::Result<Result<Option<Sum>, Damaged>> {
            let body = bodies.read(call.n, side)?.transpose();
            Ok(body.map(|body| body.map(|body| canon::sum(&body))))
        };
        Ok(match self {
            Self::Rx => sum(0)?.map(|body| Some(call.rx_digest(body.as_ref()))),
            Self::Tx => sum(1)?.map(|body| call.tx_digest(body.as_ref())),
            Self::Late => {
                let spent = call.spent().filter(|_| call.settled == Settled::Later);
                Ok(spent.map(|spent| spent.view().settled(&call.id)))
            }
        })
    }

    const fn wrong(self) -> &'static str {
        match self {
            Self::Rx => "the request of the call was changed",
            Self::Tx => "the reply of the call was changed",
            Self::Late => "the settlement of the call was changed",
        }
    }
}

fn number(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

fn finding(seq: i64, what: impl Into<String>) -> Finding {
    Finding { sequence: number(seq), call: None, what: what.into() }
}

/// Nothing was written that cannot be read back: where that is so, somebody else has changed it.
fn or_unreadable<T>(
    read: rusqlite::Result<T>,
    found: Finding,
) -> rusqlite::Result<Result<T, Finding>> {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    match read {
        Err(
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..),
        ) => Ok(Err(found)),
        other => other.map(Ok),
    }
}

/// Checks everything.
pub(super) async fn verify(
    readers: Arc<Readers>,
    files: Arc<Files>,
    sealer: Sealer,
    progress: Progress,
) -> Result<Verdict, StoreError> {
    // It is read before the journal: the journal may only be ahead of it.
    let checkpoint = files.read_checkpoint();
    let mut unseen = unseen::always(checkpoint.as_ref());
    let checkpoint = checkpoint.ok().flatten();
    let (mut walk, entries) =
        readers.read(TIME, move |c| Walk::begin(c, sealer, checkpoint)).await?;
    progress.expect(entries);
    loop {
        let before = walk.checked;
        let (next, step) = readers
            .read(TIME, move |connection| {
                let step = walk.step(connection)?;
                Ok((walk, step))
            })
            .await?;
        walk = next;
        progress.advance(walk.checked - before);
        let finding = match step {
            Step::More => continue,
            Step::Whole => orphans::find(&readers, walk.tip.seq).await?,
            Step::Wrong(finding) => Some(finding),
        };
        unseen.extend(unseen::of_retention(walk.moved, walk.base.seq > 0));
        let retired = walk.note.map_or(0, |note| note.rows);
        return Ok(Verdict { checked: walk.checked, finding, unseen, retired });
    }
}

/// What a piece came to.
enum Step {
    /// There is more to check.
    More,
    /// All is checked and nothing is wrong.
    Whole,
    /// Something is wrong.
    Wrong(Finding),
}

impl Walk {
    fn begin(
        connection: &Connection,
        sealer: Sealer,
        checkpoint: Option<Tip>,
    ) -> rusqlite::Result<(Self, u64)> {
        let base = Tip::read_base(connection)?;
        let end = Tip::read(connection)?.seq;
        let walk = Self {
            sealer,
            tip: base,
            base,
            moved: false,
            note: None,
            checkpoint,
            checked: 0,
            opened: 0,
            late: 0,
            older: HashSet::new(),
            sums: HashMap::new(),
            weights: RandomState::new(),
            now: HashMap::new(),
        };
        Ok((walk, number(end - base.seq)))
    }

    /// Checks one piece; after the last one, in the same moment of the database, what is left.
    fn step(&mut self, connection: &Connection) -> rusqlite::Result<Step> {
        let base = Tip::read_base(connection)?;
        if base.seq > self.base.seq {
            (self.base, self.moved) = (base, true);
            if base.seq > self.tip.seq {
                self.tip = base;
            }
        }
        let mut lines = connection.prepare_cached(PIECE_SQL)?;
        let lines: Vec<Result<Line, Finding>> = lines
            .query_map([self.tip.seq, PIECE], |row| {
                let unreadable = finding(row.get(0)?, "the entry is not readable");
                or_unreadable(Line::read(row), unreadable)
            })?
            .collect::<Result<_, _>>()?;
        let mut tables = Tables::new(connection)?;
        let count = lines.len();
        for line in lines {
            let before = self.tip.seq;
            let line = match line {
                Ok(line) => line,
                Err(found) => return Ok(Step::Wrong(found)),
            };
            if let Some(found) = self.line(&line, &mut tables)? {
                return Ok(Step::Wrong(found));
            }
            self.checked += number(self.tip.seq - before);
        }
        if i64::try_from(count) == Ok(PIECE) {
            return Ok(Step::More);
        }
        Ok(self.rest(connection)?.map_or(Step::Whole, Step::Wrong))
    }

    fn line(&mut self, line: &Line, tables: &mut Tables<'_>) -> rusqlite::Result<Option<Finding>> {
        let (next, kind) = (self.tip.seq + 1, Kind::read(line.kind));
        if line.seq != self.tip.seq + kind.map_or(1, Kind::entries) {
            return Ok(Some(finding(next, "the entry is missing")));
        }
        let entry = Entry {
            seq: line.seq,
            kind: line.kind,
            at: line.at,
            call: line.call.as_ref(),
            digest: &line.digest,
        };
        if self.sealer.seal(&self.tip.mac, &entry) != line.mac {
            return Ok(Some(line.wrong("the entry, or the one before it, was changed")));
        }
        self.tip = Tip { seq: line.seq, mac: line.mac };
        if let Some(checkpoint) = self.checkpoint
            && (next..=line.seq).contains(&checkpoint.seq)
            && checkpoint != self.tip
        {
            let what = line.wrong("the checkpoint was made of another entry");
            return Ok(Some(Finding { sequence: number(checkpoint.seq), ..what }));
        }
        match (kind, line.call) {
            (
                Some(kind @ (Kind::Opened | Kind::Closed | Kind::Settled | Kind::Whole)),
                Some(id),
            ) => self.call(kind, line, &id, tables),
            (Some(kind @ (Kind::Change | Kind::Retired)), None) => Ok(self.note(kind, line)),
            _ => Ok(Some(line.wrong("the entry is of no known kind"))),
        }
    }

    fn call(
        &mut self,
        kind: Kind,
        line: &Line,
        id: &[u8; 16],
        tables: &mut Tables<'_>,
    ) -> rusqlite::Result<Option<Finding>> {
        let begins = matches!(kind, Kind::Opened | Kind::Whole);
        self.opened += u64::from(begins);
        let unreadable = line.entry(kind, 0, "the call is not readable");
        let found = tables.calls.query_row([id], StoredCall::read).optional();
        let found = match or_unreadable(found, unreadable)? {
            Ok(found) => found,
            Err(unreadable) => return Ok(Some(unreadable)),
        };
        let Some(call) = found else {
            // Retention takes whole calls, and the journal only up to the first that it kept: an
            // end may be left alone, a beginning may not.
            let left = self.base.seq > 0 && !begins;
            return Ok((!left).then(|| line.entry(kind, 0, "the call is missing")));
        };
        if begins && call.seq != line.seq - kind.entries() + 1 {
            return Ok(Some(line.entry(kind, 0, "the call names another entry")));
        }
        if !tables.is_in_its_place(&call, self.base.seq > 0)? {
            let what = "the call stands at another time than it came in";
            return Ok(Some(line.entry(kind, 0, what)));
        }
        self.late += u64::from(kind == Kind::Settled);
        if call.seq <= self.base.seq {
            self.older.insert(*id);
        }
        let settles = match kind {
            Kind::Closed | Kind::Whole => call.settled == Settled::Closing,
            _ => kind == Kind::Settled,
        };
        if let Some(spent) = call.spent().filter(|_| settles) {
            let weight = self.weights.hash_one(spent.admitted.div_euclid(MINUTE));
            for scope in spent.scopes.split_whitespace() {
                self.sums.entry(scope.to_owned()).or_default().add(spent.amounts, weight);
            }
        }
        let halves: &[Half] = match kind {
            Kind::Opened => &[Half::Rx],
            Kind::Closed => &[Half::Tx],
            Kind::Whole => &[Half::Rx, Half::Tx],
            _ => &[Half::Late],
        };
        let sums = line.digest.chunks(size_of::<Sum>());
        if sums.len() != halves.len() {
            return Ok(Some(line.wrong("the entry is of no known kind")));
        }
        for ((half, sum), at) in halves.iter().zip(sums).zip(0..) {
            let found = match half.digest(&call, &mut tables.bodies)? {
                Ok(found) if found.is_some_and(|found| found == *sum) => continue,
                Ok(_) => half.wrong(),
                Err(Damaged) => "a body of the call was changed",
            };
            return Ok(Some(line.entry(kind, at, found)));
        }
        Ok(None)
    }

    fn note(&mut self, kind: Kind, line: &Line) -> Option<Finding> {
        let note = line.note.as_deref().unwrap_or_default();
        if note_digest(note) != *line.digest {
            return Some(line.wrong("what the entry says was changed"));
        }
        if kind == Kind::Change {
            let Ok(note) = serde_json::from_str::<ChangeNote>(note) else {
                return Some(line.wrong("what the entry says is not readable"));
            };
            self.now.insert(note.of, (line.seq, note.now));
        } else {
            let Ok(note) = serde_json::from_str::<RetiredNote>(note) else {
                return Some(line.wrong("what the entry says is not readable"));
            };
            self.note = Some(note);
        }
        None
    }
}
