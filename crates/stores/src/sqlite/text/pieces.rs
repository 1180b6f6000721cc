//! The tables of the index: pieces that follow each other, and its place in the journal.
//!
//! The pieces share the numbers of calls between them: a call belongs to the last piece that
//! begins at its number or before. So a search that goes from the last piece to the first finds
//! the newest calls first, and ends when it has enough.

use std::fs;
use std::io;
use std::thread;

use rusqlite::{Connection, params};

use super::super::Durability;
use super::super::connect::{Role, connect, unusable};
use super::super::files::Files;
use super::super::journal::Tip;
use super::super::retire::Bounds;

/// The version of the tables. An index of another one is made anew.
const VERSION: i64 = 1;
/// Most calls in a piece.
const CALLS: i64 = 32_768;
/// Pieces that the room for the index is divided into, at least.
const PIECES: u64 = 8;
/// Bytes of the log above which it is emptied, where nothing is bounded.
const LONG_LOG: u64 = 4 << 20;

const TABLES: &str = "
    CREATE TABLE place (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL,
        mac BLOB NOT NULL) STRICT;
    INSERT INTO place VALUES (1, 0, zeroblob(32));
    CREATE TABLE piece (number INTEGER PRIMARY KEY, first INTEGER NOT NULL,
        last INTEGER NOT NULL, calls INTEGER NOT NULL, pages INTEGER NOT NULL) STRICT;";

/// The words of one call.
#[derive(Debug)]
pub(super) struct Entry {
    /// The number of the call.
    pub(super) n: i64,
    /// Its words.
    pub(super) words: String,
}

/// The index, open to be written.
#[derive(Debug)]
pub(super) struct Index {
    connection: Connection,
    identity: Option<(u64, u64)>,
    place: Tip,
    pieces: Vec<Piece>,
    bounds: Bounds,
}

/// A table of calls that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) number: i64,
    /// The number of its first call. Calls before it belong to the piece before, if there is one.
    pub(super) first: i64,
    /// The number of its last call.
    pub(super) last: i64,
    calls: i64,
    /// Pages of all pieces when it began.
    pages: i64,
}

/// The pieces, oldest first.
pub(super) fn pieces(connection: &Connection) -> rusqlite::Result<Vec<Piece>> {
    let sql = "SELECT number, first, last, calls, pages FROM piece ORDER BY first";
    let mut statement = connection.prepare_cached(sql)?;
    let pieces = statement.query_map([], |row| {
        Ok(Piece {
            number: row.get(0)?,
            first: row.get(1)?,
            last: row.get(2)?,
            calls: row.get(3)?,
            pages: row.get(4)?,
        })
    })?;
    pieces.collect()
}

impl Index {
    /// Opens the index; makes one where there is none.
    pub(super) fn open(files: &Files, bounds: Bounds) -> rusqlite::Result<Self> {
        files.make_text().map_err(|error| io_error(&error))?;
        let mut connection = connect(&files.text(), Durability::Normal, Role::Writer)?;
        connection.set_prepared_statement_cache_capacity(256);
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version == 0 {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        } else if version != VERSION {
            return Err(rusqlite::Error::InvalidQuery);
        }
        if let Some(most) = bounds.text_pages(page_size(&connection)?) {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            connection.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))?;
        }
        let place = connection.query_row("SELECT seq, mac FROM place", [], |row| {
            Ok(Tip { seq: row.get(0)?, mac: row.get(1)? })
        })?;
        let pieces = pieces(&connection)?;
        Ok(Self { connection, identity: files.text_identity(), place, pieces, bounds })
    }

    /// Takes away whatever lies in the place of the index.
    pub(super) fn remove(files: &Files) -> rusqlite::Result<()> {
        for path in files.text_files() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(&error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// How far it is in the journal.
    pub(super) fn place(&self) -> Tip {
        self.place
    }

    /// Whether its file is still the one that was opened.
    pub(super) fn is_there(&self, files: &Files) -> bool {
        self.identity == files.text_identity()
    }

    /// Most bytes of words in one transaction.
    pub(super) fn batch_bytes(&self) -> usize {
        let most = self.bounds.text().map_or(1 << 20, |most| (most / 32).min(1 << 20));
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// Adds calls, and moves on to a place in the journal, in one transaction. Says which piece is
    /// finished now. After an error it has to be opened anew.
    pub(super) fn write(
        &mut self,
        mut entries: Vec<Entry>,
        place: Tip,
    ) -> rusqlite::Result<Option<i64>> {
        entries.sort_unstable_by_key(|entry| entry.n);
        let mut full = self.is_piece_full()?;
        let before = self.pieces.last().map(|piece| piece.number);
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for Entry { n, words } in &entries {
            // Whoever answers calls needs the core more.
            thread::yield_now();
            let piece = self.piece_for(*n, std::mem::take(&mut full))?;
            let sql = format!("INSERT INTO words_{piece} (rowid, text) VALUES (?1, ?2)");
            self.connection.prepare_cached(&sql)?.execute(params![n, words])?;
        }
        let sql = "INSERT INTO piece VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (number) DO UPDATE \
            SET first = excluded.first, last = excluded.last, calls = excluded.calls";
        for Piece { number, first, last, calls, pages } in &self.pieces {
            self.connection
                .prepare_cached(sql)?
                .execute(params![number, first, last, calls, pages])?;
        }
        self.connection
            .prepare_cached("UPDATE place SET seq = ?1, mac = ?2")?
            .execute(params![place.seq, place.mac])?;
        self.connection.execute_batch("COMMIT")?;
        self.place = place;
        let last = self.pieces.last().map(|piece| piece.number);
        Ok(before.filter(|_| before != last))
    }

    /// Joins the lists of each word in a piece to one, which is quicker to search: little is added
    /// to it from now on.
    pub(super) fn join(&self, piece: i64) -> rusqlite::Result<()> {
        let sql = format!("INSERT INTO words_{piece} (words_{piece}) VALUES ('optimize')");
        self.connection.execute_batch(&sql)
    }

    /// The piece for a call, which counts it.
    fn piece_for(&mut self, n: i64, full: bool) -> rusqlite::Result<i64> {
        let span = self.span();
        let begins = self.pieces.last().is_none_or(|last| {
            let long = n.saturating_sub(last.first) > span;
            n > last.last && (full || last.calls >= CALLS || long)
        });
        if begins {
            let number = self.pieces.last().map_or(1, |last| last.number + 1);
            let pages = self.pages()?;
            self.connection.execute_batch(&format!(
                "CREATE VIRTUAL TABLE words_{number} USING fts5(text, content='', columnsize=0, \
                 detail=none, tokenize=\"unicode61 remove_diacritics 2 \
                 categories 'L* M* N* P* S* Co'\");
                 INSERT INTO words_{number} (words_{number}, rank) VALUES ('hashsize', 8388608);"
            ))?;
            self.pieces.push(Piece { number, first: n, last: n, calls: 0, pages });
        }
        let at = self.pieces.iter().rposition(|piece| piece.first <= n).unwrap_or(0);
        let piece = self.pieces.get_mut(at).ok_or_else(|| unusable("it has no piece".into()))?;
        piece.first = piece.first.min(n);
        piece.last = piece.last.max(n);
        piece.calls += 1;
        Ok(piece.number)
    }

    /// How far apart the numbers of the calls of a piece may be.
    fn span(&self) -> i64 {
        let age = self.bounds.age.map(|age| i64::try_from(age.as_millis() / 16));
        age.and_then(Result::ok).map_or(i64::MAX, |age| age.saturating_mul(1 << 20))
    }

    /// Whether the last piece has its share of the room.
    fn is_piece_full(&self) -> rusqlite::Result<bool> {
        let (Some(most), Some(last)) = (self.most_pages()?, self.pieces.last()) else {
            return Ok(false);
        };
        Ok(self.pages()? - last.pages > most / i64::try_from(PIECES).unwrap_or(8))
    }

    /// Drops pieces of which no call is left in the record, and the oldest while there is too
    /// much.
    pub(super) fn trim(&mut self, record: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT EXISTS (SELECT 1 FROM call WHERE n BETWEEN ?1 AND ?2)";
        while let Some(oldest) = self.pieces.first() {
            let lives: bool = record
                .prepare_cached(sql)?
                .query_row([oldest.first, oldest.last], |row| row.get(0))?;
            if lives {
                break;
            }
            self.drop_oldest()?;
        }
        let Some(most) = self.most_pages()? else { return Ok(()) };
        while self.pages()? > most - most / 5 && self.pieces.len() > 1 {
            self.drop_oldest()?;
        }
        if pragma(&self.connection, "page_count")? > most {
            // There was more room once.
            self.connection.execute_batch("PRAGMA incremental_vacuum(1024)")?;
        }
        Ok(())
    }

    /// Drops the oldest piece; says whether there was one.
    pub(super) fn drop_oldest(&mut self) -> rusqlite::Result<bool> {
        let Some(oldest) = self.pieces.first() else { return Ok(false) };
        let number = oldest.number;
        self.connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; DROP TABLE words_{number};
             DELETE FROM piece WHERE number = {number}; COMMIT"
        ))?;
        self.pieces.remove(0);
        Ok(true)
    }

    /// Empties the log when it is long. Says whether it is short enough to write on.
    pub(super) fn keep_log_short(&self, files: &Files) -> rusqlite::Result<bool> {
        let most = self.bounds.text_log();
        if files.text_log_bytes() <= most.map_or(LONG_LOG, |most| most / 3) {
            return Ok(true);
        }
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(most.is_none_or(|most| files.text_log_bytes() <= most / 3))
    }

    /// Pages that are used.
    fn pages(&self) -> rusqlite::Result<i64> {
        Ok(pragma(&self.connection, "page_count")? - pragma(&self.connection, "freelist_count")?)
    }

    fn most_pages(&self) -> rusqlite::Result<Option<i64>> {
        let most = self.bounds.text_pages(page_size(&self.connection)?);
        Ok(most.map(|most| i64::try_from(most).unwrap_or(i64::MAX)))
    }
}

fn page_size(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(u64::try_from(pragma(connection, "page_size")?).unwrap_or(0))
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))
}

fn io_error(error: &io::Error) -> rusqlite::Error {
    unusable(error.to_string())
}

/// Where the words of a piece are.
pub(super) fn words_of(piece: &Piece) -> String {
    format!("words_{}", piece.number)
}
