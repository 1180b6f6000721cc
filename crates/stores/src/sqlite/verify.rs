//! The check of the journal, and of the tables against it.
//!
//! It goes through the journal in pieces, each a read of its own, so that other reads find their
//! turn and the log can be moved meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gateway::store::{Finding, Progress, StoreError, Verdict};
use model::CallId;
use rusqlite::{Connection, OptionalExtension as _, Row, Statement};

use super::body::{self, slot};
use super::canon::{self, Sum};
use super::files::Files;
use super::journal::{Entry, Kind, Sealer, Tip};
use super::readers::Readers;
use super::stored::{COLUMNS, Settled, StoredCall};
use super::wire::ChangeNote;
use super::write::note_digest;

/// Rows in one piece.
const PIECE: i64 = 1000;
/// How long one piece may take.
const TIME: Duration = Duration::from_secs(20);

const PIECE_SQL: &str = "SELECT seq, kind, at, call, note, digest, mac FROM journal \
    WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";

/// Where a check is.
#[derive(Debug)]
struct Walk {
    sealer: Sealer,
    /// The last row that was checked.
    tip: Tip,
    /// The last row there was when it began.
    end: i64,
    /// The row up to which retention took the journal.
    base: i64,
    checkpoint: Option<Tip>,
    checked: u64,
    /// Calls that the journal says came in.
    opened: u64,
    /// What the journal says of each key and tenant last.
    now: HashMap<String, (i64, Option<String>)>,
    retired: u64,
}

/// A row of the journal.
struct Line {
    seq: i64,
    kind: i64,
    at: i64,
    call: Option<[u8; 16]>,
    note: Option<String>,
    digest: Sum,
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
}

fn number(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

fn finding(seq: i64, what: impl Into<String>) -> Finding {
    Finding { sequence: number(seq), call: None, what: what.into() }
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
    let mut unseen = vec![
        "Whoever has the journal's key (the file journal.key) can write a journal that looks \
         right."
            .to_owned(),
    ];
    unseen.push(match &checkpoint {
        Ok(Some(tip)) => format!(
            "Rows after the last checkpoint (row {}) could have been cut off the end, and a whole \
             directory could have been put back to an earlier state.",
            tip.seq,
        ),
        Ok(None) => "There is no checkpoint: rows could have been cut off the end.".to_owned(),
        Err(error) => format!(
            "The checkpoint is not readable ({error}): rows could have been cut off the end.",
        ),
    });
    let checkpoint = checkpoint.ok().flatten();
    let mut walk = readers.read(TIME, move |c| Walk::begin(c, sealer, checkpoint)).await?;
    progress.expect(number(walk.end - walk.tip.seq));
    loop {
        let before = walk.checked;
        let (next, found) = readers
            .read(TIME, move |connection| {
                let found = walk.step(connection)?;
                Ok((walk, found))
            })
            .await?;
        walk = next;
        progress.advance(walk.checked - before);
        let done = found.is_some() || walk.tip.seq >= walk.end;
        if done {
            if walk.base > 0 {
                unseen.push(
                    "Changes of keys and tenants that retention took are not compared with the \
                     keys and tenants there are."
                        .to_owned(),
                );
            }
            return Ok(Verdict {
                checked: walk.checked,
                finding: found,
                unseen,
                retired: walk.retired,
            });
        }
    }
}

impl Walk {
    fn begin(
        connection: &Connection,
        sealer: Sealer,
        checkpoint: Option<Tip>,
    ) -> rusqlite::Result<Self> {
        let base = "SELECT base_seq, base_mac, retired_rows FROM meta";
        let (tip, retired): (Tip, i64) = connection.query_row(base, [], |row| {
            Ok((Tip { seq: row.get(0)?, mac: row.get(1)? }, row.get(2)?))
        })?;
        let end = Tip::read(connection)?.seq;
        Ok(Self {
            sealer,
            base: tip.seq,
            tip,
            end,
            checkpoint,
            checked: 0,
            opened: 0,
            now: HashMap::new(),
            retired: number(retired),
        })
    }

    /// Checks one piece. After the last one, checks what is left.
    fn step(&mut self, connection: &Connection) -> rusqlite::Result<Option<Finding>> {
        let mut lines = connection.prepare_cached(PIECE_SQL)?;
        let lines: Vec<Line> = lines
            .query_map([self.tip.seq, self.end, PIECE], Line::read)?
            .collect::<Result<_, _>>()?;
        let sql = format!("SELECT {COLUMNS} FROM call WHERE id = ?1");
        let mut calls = connection.prepare_cached(&sql)?;
        let mut bodies = connection.prepare_cached(body::SELECT)?;
        if lines.is_empty() && self.tip.seq < self.end {
            return Ok(Some(finding(self.tip.seq + 1, "the row is missing")));
        }
        for line in lines {
            if let Some(found) = self.line(&line, &mut calls, &mut bodies)? {
                return Ok(Some(found));
            }
            self.checked += 1;
        }
        if self.tip.seq >= self.end { self.rest(connection) } else { Ok(None) }
    }

    fn line(
        &mut self,
        line: &Line,
        calls: &mut Statement<'_>,
        bodies: &mut Statement<'_>,
    ) -> rusqlite::Result<Option<Finding>> {
        let next = self.tip.seq + 1;
        if line.seq != next {
            return Ok(Some(finding(next, "the row is missing")));
        }
        let entry = Entry {
            seq: line.seq,
            kind: line.kind,
            at: line.at,
            call: line.call.as_ref(),
            digest: &line.digest,
        };
        if self.sealer.seal(&self.tip.mac, &entry) != line.mac {
            return Ok(Some(line.wrong("the row, or the one before it, was changed")));
        }
        self.tip = Tip { seq: line.seq, mac: line.mac };
        if let Some(checkpoint) = self.checkpoint
            && checkpoint.seq == line.seq
            && checkpoint.mac != line.mac
        {
            return Ok(Some(line.wrong("the checkpoint was made of another row")));
        }
        match (Kind::read(line.kind), line.call) {
            (Some(kind @ (Kind::Opened | Kind::Closed | Kind::Settled)), Some(id)) => {
                self.call(kind, line, &id, calls, bodies)
            }
            (Some(kind @ (Kind::Change | Kind::Retired)), None) => Ok(self.note(kind, line)),
            _ => Ok(Some(line.wrong("the row is of no known kind"))),
        }
    }

    fn call(
        &mut self,
        kind: Kind,
        line: &Line,
        id: &[u8; 16],
        calls: &mut Statement<'_>,
        bodies: &mut Statement<'_>,
    ) -> rusqlite::Result<Option<Finding>> {
        self.opened += u64::from(kind == Kind::Opened);
        let Some(call) = calls.query_row([id], StoredCall::read).optional()? else {
            // Retention takes whole calls, and the journal only up to the first that it kept: an
            // end may be left alone, a beginning may not.
            let left = self.base > 0 && kind != Kind::Opened;
            return Ok((!left).then(|| line.wrong("the call is missing")));
        };
        let mut sum = |side| -> rusqlite::Result<Result<Option<Sum>, Finding>> {
            Ok(match body::read(bodies, slot(call.n, side))? {
                Some(Ok(body)) => Ok(Some(canon::sum(&body))),
                Some(Err(_)) => Err(line.wrong("a body of the call was changed")),
                None => Ok(None),
            })
        };
        let (digest, what) = match kind {
            Kind::Opened => match sum(0)? {
                Ok(body) => {
                    (Some(call.rx_digest(body.as_ref())), "the request of the call was changed")
                }
                Err(found) => return Ok(Some(found)),
            },
            Kind::Closed => match sum(1)? {
                Ok(body) => (call.tx_digest(body.as_ref()), "the reply of the call was changed"),
                Err(found) => return Ok(Some(found)),
            },
            _ => {
                let spent = call.spent().filter(|_| call.settled == Settled::Later);
                (spent.map(|spent| spent.settled(id)), "the settlement of the call was changed")
            }
        };
        Ok((digest != Some(line.digest)).then(|| line.wrong(what)))
    }

    fn note(&mut self, kind: Kind, line: &Line) -> Option<Finding> {
        let note = line.note.as_deref().unwrap_or_default();
        if note_digest(note) != line.digest {
            return Some(line.wrong("what the row says was changed"));
        }
        if kind == Kind::Change {
            let Ok(note) = serde_json::from_str::<ChangeNote>(note) else {
                return Some(line.wrong("what the row says is not readable"));
            };
            self.now.insert(note.of, (line.seq, note.now));
        }
        None
    }

    /// What can be checked only after the whole journal.
    fn rest(&mut self, connection: &Connection) -> rusqlite::Result<Option<Finding>> {
        if let Some(checkpoint) = self.checkpoint
            && checkpoint.seq > self.end
        {
            let what = format!("the rows up to {} were cut off", checkpoint.seq);
            return Ok(Some(finding(self.end + 1, what)));
        }
        for (of, sql) in
            [("key", "SELECT id, json FROM vkey"), ("tenant", "SELECT id, json FROM tenant")]
        {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let name = format!("{of}:{}", row.get::<_, String>(0)?);
                let found: String = row.get(1)?;
                match self.now.remove(&name) {
                    Some((_, Some(now))) if now == found => {}
                    Some((seq, _)) => {
                        return self.unless_changed(connection, seq, &name, "was changed");
                    }
                    None if self.base > 0 => {}
                    None => {
                        return self.unless_changed(
                            connection,
                            self.end,
                            &name,
                            "is not known to the journal",
                        );
                    }
                }
            }
        }
        let gone = self.now.iter().find(|(_, (_, now))| now.is_some());
        if let Some((name, (seq, _))) = gone {
            return self.unless_changed(connection, *seq, name, "was taken away");
        }
        let sql = "SELECT count(*) FROM call WHERE seq <= ?1";
        let calls: i64 = connection.query_row(sql, [self.end], |row| row.get(0))?;
        if number(calls) != self.opened {
            let what = format!("there are {calls} calls, the journal knows {}", self.opened);
            return Ok(Some(finding(self.end, what)));
        }
        Ok(None)
    }

    /// A finding about a key or tenant, unless it may have changed while the check was going on.
    fn unless_changed(
        &self,
        connection: &Connection,
        seq: i64,
        name: &str,
        what: &str,
    ) -> rusqlite::Result<Option<Finding>> {
        let sql = "SELECT EXISTS (SELECT 1 FROM journal WHERE seq > ?1 AND kind = ?2)";
        let changed: bool =
            connection.query_row(sql, [self.end, Kind::Change.number()], |row| row.get(0))?;
        Ok((!changed).then(|| finding(seq, format!("{name} {what}"))))
    }
}
