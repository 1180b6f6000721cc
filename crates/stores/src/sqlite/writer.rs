//! The one thread that writes.
//!
//! It takes what waits, writes it in one transaction and answers whoever is not answered yet;
//! while it writes, more gathers. What somebody waits for is written at once; what is in the redo
//! log already may gather a little.
//!
//! What fails is rolled back as a whole. Ends and settlements of calls are kept and come again
//! with the next try; the rest is told of the failure. Tries are spaced out up to two seconds,
//! and between them calls are refused without touching the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use gateway::keys::UnixMillis;
use gateway::store::{Loaded, StoreError};
use rusqlite::{Connection, Error};

use super::Durability;
use super::apply::{Batch, Done};
use super::checkpointer::{LONG_LOG, Signals};
use super::connect::{Role, down, is_environment, is_full, reason, spoils_connection, unusable};
use super::files::Files;
use super::health::Health;
use super::journal::{Sealer, Tip};
use super::kept::Kept;
use super::opened::Opened;
use super::queue::{MANY, Queue, Waiting};
use super::recover;
use super::redo::{self, Applied, Redo};
use super::retire::{self, Bounds, Life};
use super::schema::{self, SchemaError};
use super::text::{self, Backlog};
use super::used;
use super::write::{Record, Write};

/// Most writes in one transaction.
const BATCH: usize = 8192;
/// How many of them are written before a thread that answers calls may have the core: it would wait
/// for milliseconds otherwise, and with it whoever waits for what it is about to append.
const TURN: usize = 64;
/// Most bytes of them, but for one that is larger alone.
const BATCH_BYTES: u64 = 8 << 20;
/// Twice what the log may take when nothing is bounded, before everybody waits: the other thread
/// keeps it shorter, unless it does not keep up.
const UNBOUNDED_LOG: u64 = 512 << 20;
/// How often the age of calls is looked at.
const LOOK: Duration = Duration::from_mins(1);
/// Bytes written after which the size of the files is looked at: a look costs as much as writing a
/// few rows.
const LOOK_BYTES: usize = 256 << 10;
/// Entries of the journal that retention takes at least, in one step.
const STEP: usize = 1000;
/// What a row takes besides what it was said to weigh, and what else a transaction may take, at most.
const ROW: usize = 1000;
const MARGIN: usize = 128 << 10;
/// Between the first two tries after a fault, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a writer without a fault waits for something to do.
const LONG: Duration = Duration::from_hours(1);

/// The writer.
pub(super) struct Writer {
    pub(super) files: Arc<Files>,
    pub(super) durability: Durability,
    pub(super) queue: Arc<Queue>,
    pub(super) health: Arc<Health>,
    pub(super) signals: Arc<Signals>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) sealer: Sealer,
    pub(super) clock: fn() -> UnixMillis,
    /// When it was opened, by both clocks.
    began: (UnixMillis, Instant),
    /// When the last row of an earlier life was written.
    newest: Option<UnixMillis>,
    /// The last entry of the journal of an earlier life.
    before: i64,
    /// The end of the journal after the last commit.
    tip: Tip,
    /// How far the redo log is in the database, where there is one.
    applied: Option<Applied>,
    open: Option<Opened>,
    kept: Kept,
    pause: Option<(Duration, Instant)>,
    pub(super) bounds: Bounds,
    /// Whether there is more for retention to take.
    retiring: bool,
    /// Whether nothing that it takes makes enough room, which was told.
    crowded: bool,
    /// When the age of calls was looked at.
    looked: Option<Instant>,
    /// Bytes written since the size of the files was looked at, roughly.
    unseen: usize,
}

/// What has to be answered once a batch is committed.
enum Answer {
    Written(Result<(), StoreError>),
    Loaded(Box<Loaded>),
}

/// Runs a statement that is run again and again.
fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

impl Writer {
    /// Opens the database, and makes or migrates its tables.
    pub(super) fn new(
        files: Arc<Files>,
        durability: Durability,
        sealer: Sealer,
        clock: fn() -> UnixMillis,
        bounds: Bounds,
    ) -> Result<Self, StoreError> {
        let long_log = bounds.log().map_or(LONG_LOG, |log| log / 4);
        let signals = Arc::new(Signals::new(long_log));
        let mut open = Opened::new(&files, durability, &signals).map_err(|error| match error {
            SchemaError::TooNew(version) => StoreError::TooNew(
                format!("its version is {version}, this program knows {}", schema::VERSION).into(),
            ),
            SchemaError::Sql(error) => down(&error),
        })?;
        let found = redo::replay(&files, &sealer, &open.connection, open.tip, clock())
            .map_err(|error| down(&error))?;
        open.tip = found.tip;
        // Only now: there has to be room for what was answered, whatever the bound is by now.
        bounds.tell(&open.connection).map_err(|error| down(&error))?;
        if found.taken > 0 {
            tracing::info!("{} records were taken in from the redo log", found.taken);
        }
        let redo = match durability {
            Durability::Normal => Some(Redo::new(&files, bounds, sealer.clone(), found.next)),
            // Each sync costs more than a transaction: there is nothing to gain.
            Durability::Fsync => None,
        };
        let (redo, applied) = match redo.transpose() {
            Ok(redo) => redo.unzip(),
            Err(error) => {
                tracing::warn!("the store works without a redo log: {error}");
                (None, None)
            }
        };
        let before = open.tip.seq;
        let health = Health::default();
        health.vitals().retired = retire::taken(&open.connection).map_err(|error| down(&error))?;
        let newest = retire::newest(&open.connection).map_err(|error| down(&error))?;
        let backlog = Arc::new(text::standing(&files, &open.connection, before));
        Ok(Self {
            files,
            durability,
            queue: Arc::new(Queue::new(redo)),
            health: Arc::new(health),
            signals,
            backlog,
            sealer,
            clock,
            began: (clock(), Instant::now()),
            newest,
            before,
            tip: open.tip,
            applied,
            open: Some(open),
            kept: Kept::default(),
            pause: None,
            bounds,
            retiring: false,
            crowded: false,
            looked: None,
            // What lies there may be too much for a new bound.
            unseen: LOOK_BYTES,
        })
    }

    /// Whether the journal goes on from where its checkpoint says that it was.
    pub(super) fn holds_checkpoint(&self) -> bool {
        let (Ok(Some(tip)), Some(open)) = (self.files.read_checkpoint(), &self.open) else {
            return true;
        };
        let holds = tip.is_in(&open.connection).unwrap_or(true);
        if !holds {
            tracing::error!(
                "the journal of the store is not the one that was here: an earlier state was \
                 put back, or rows were cut off; its checkpoint is kept as evidence and not \
                 written any more until the file is moved away"
            );
        }
        holds
    }

    /// Writes until the queue has ended and is empty.
    pub(super) fn run(mut self) {
        // One transaction must not take more than the log has room for.
        let most = self.bounds.log().map_or(BATCH_BYTES, |log| BATCH_BYTES.min(log / 4));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let count = BATCH.min(most / ROW);
        loop {
            let Some(batch) = self.queue.take(count, most, self.patience()) else { break };
            let count = batch.len();
            self.write(batch);
            // Also after a fault: what it takes away may be what is in the way.
            if let Err(error) = self.keep_bounds(count) {
                self.failed(Vec::new(), &error);
            }
            self.queue.done(self.pause.is_some());
        }
        self.pause = None;
        if !self.kept.is_empty() {
            self.write(Vec::new());
        }
        if !self.kept.is_empty() {
            tracing::error!("{} records of calls were not written", self.kept.len());
        }
    }

    fn patience(&self) -> Duration {
        match self.pause {
            Some((_, until)) => until.saturating_duration_since(Instant::now()),
            None if self.retiring => Duration::ZERO,
            None if self.bounds.age.is_some() => LOOK,
            None => LONG,
        }
    }

    /// How long it has been open.
    fn life(&self) -> Life {
        let (opened, at) = self.began;
        let ran = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
        Life { opened, ran, newest: self.newest }
    }

    /// Takes away one step of what is too old or too much, and keeps the log short.
    fn keep_bounds(&mut self, written: usize) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let connection = &open.connection;
        self.keep_log_short(connection)?;
        let now = (self.clock)();
        let look = self.retiring || self.looked.is_none_or(|at| at.elapsed() >= LOOK);
        let due = look || self.pause.is_some() || self.unseen >= LOOK_BYTES;
        let full = due && self.bounds.is_full(connection)?;
        self.unseen = if due { 0 } else { self.unseen };
        let older = self.bounds.oldest(now, self.life()).filter(|_| look);
        self.retiring = false;
        if full || older.is_some() {
            self.looked = Some(Instant::now());
            let most = STEP.max(written * 3);
            self.retiring = self.retire(&mut open, most, older.filter(|_| !full))?;
            let crowded = std::mem::replace(&mut self.crowded, full && !self.retiring);
            if self.crowded && !crowded {
                tracing::error!(
                    "nearly all that `max_bytes` of the audit leaves to the database is taken by \
                     what is never taken away: keys, what they have spent, and calls that still run"
                );
            }
        }
        self.open = Some(open);
        Ok(())
    }

    /// Takes away one step of what is oldest; says whether there was anything.
    fn retire(
        &mut self,
        open: &mut Opened,
        most: usize,
        older: Option<UnixMillis>,
    ) -> Result<bool, Error> {
        let connection = &open.connection;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut batch = Batch::new(connection, &self.sealer, open.tip, (self.clock)());
        let step = retire::step(connection, &mut batch, most, older)?;
        let Done { tip, closed, .. } = batch.finish()?;
        connection.execute_batch("COMMIT")?;
        (open.tip, self.tip) = (tip, tip);
        if step.entries > 0 {
            self.signals.committed(tip, usize::try_from(step.entries).unwrap_or(0) * 1000);
            self.backlog.committed(tip.seq, closed);
            self.health.vitals().retired = step.calls;
        }
        self.keep_log_short(connection)?;
        Ok(step.entries > 0)
    }

    /// Takes away what is oldest until there is room for a batch, or nothing more to take; says
    /// whether there was anything.
    fn make_room(&mut self, batch: &[Waiting]) -> Result<bool, Error> {
        let Some(mut open) = self.open.take() else { return Ok(false) };
        let bytes: usize = batch.iter().map(|waiting| waiting.weight + ROW).sum();
        // Half a page is empty where a body takes more than half of it.
        let bytes = u64::try_from(2 * bytes + MARGIN).unwrap_or(u64::MAX);
        let mut made = false;
        while self.bounds.room(&open.connection)?.is_some_and(|room| room < bytes)
            && self.retire(&mut open, STEP, None)?
        {
            made = true;
        }
        self.open = Some(open);
        Ok(made)
    }

    /// Lets the log begin anew when much of what it may take is in use; from there on everybody
    /// waits for the disk. A reader can be in the way for a while: then nothing more is written.
    fn keep_log_short(&self, connection: &Connection) -> Result<(), Error> {
        let most = self.bounds.log().unwrap_or(UNBOUNDED_LOG);
        if self.signals.log() <= most / 2 {
            return Ok(());
        }
        // Two that move the log would only get in each other's way.
        let _turn = self.signals.turn();
        for patience in [Duration::ZERO, Role::Writer.patience()] {
            connection.busy_timeout(patience)?;
            let done = self.signals.restart_log(connection);
            connection.busy_timeout(Role::Writer.patience())?;
            if done? || self.bounds.log().is_none() {
                return Ok(());
            }
        }
        Err(unusable("its log is full, and a reader keeps it from being moved".into()))
    }

    fn write(&mut self, fresh: Vec<Waiting>) {
        if let Some((_, until)) = self.pause
            && Instant::now() < until
        {
            let fault = self.health.get().fault.unwrap_or_else(|| "it recovers".into());
            self.put_aside(fresh, &fault);
            return;
        }
        let mut batch = self.kept.take();
        batch.extend(fresh);
        if let Some(largest) = self.bounds.largest() {
            let largest = usize::try_from(largest).unwrap_or(usize::MAX);
            batch.retain_mut(|waiting| waiting.weight <= largest || waiting.make_small());
        }
        if !batch.is_empty() || self.pause.is_some() {
            self.write_batch(batch);
        }
    }

    fn write_batch(&mut self, mut batch: Vec<Waiting>) {
        batch.iter_mut().for_each(Waiting::withhold_unawaited);
        let mut written = self.commit(&batch);
        if written.as_ref().is_err_and(is_full) {
            match self.make_room(&batch) {
                Ok(true) => {
                    // That may have taken long.
                    batch.iter_mut().for_each(Waiting::withhold_unawaited);
                    written = self.commit(&batch);
                }
                Ok(false) => {}
                // Whatever it is, it is no fault of what was to be written.
                Err(error) => return self.failed(batch, &error),
            }
        }
        match written {
            Ok(answers) => {
                self.recovered();
                for (waiting, answer) in batch.into_iter().zip(answers) {
                    answer_one(waiting, answer);
                }
            }
            // What is written first may be taken away for what comes behind.
            Err(error) if self.bounds.bytes.is_some() && is_full(&error) && batch.len() > 1 => {
                let behind = batch.split_off(batch.len() / 2);
                self.write_batch(batch);
                if self.kept.is_empty() {
                    self.write_batch(behind);
                } else {
                    self.put_aside(behind, &reason(&error));
                }
            }
            Err(error) if is_environment(&error) => self.failed(batch, &error),
            // One write is no good; the others must not suffer.
            Err(_) if batch.len() > 1 => {
                let mut rest = batch.into_iter();
                for waiting in rest.by_ref() {
                    self.write_batch(vec![waiting]);
                    if !self.kept.is_empty() {
                        break;
                    }
                }
                // What is behind one that is kept must not be in the database before it: that is
                // noted by the last record of the redo log alone.
                let fault = self.health.get().fault.unwrap_or_else(|| "it recovers".into());
                self.put_aside(rest.collect(), &fault);
            }
            Err(error) => {
                for waiting in batch.drain(..) {
                    let (write, why) = (&waiting.write, reason(&error));
                    tracing::error!("{} was not written: {why}{}", write.name(), write.forgotten());
                    waiting.refuse(&why);
                }
            }
        }
    }

    /// Writes a batch in one transaction; rolls it back if anything fails.
    fn commit(&mut self, batch: &[Waiting]) -> Result<Vec<Answer>, Error> {
        let mut open = if let Some(open) = self.open.take() {
            open
        } else {
            let Self { files, durability, bounds, tip, signals, .. } = &*self;
            Opened::again(files, *durability, *bounds, *tip, signals)?
        };
        if self.files.identity() != open.identity {
            // What is written to a file that has no name any more is lost with the process.
            return Err(unusable("its file was taken away or replaced".into()));
        }
        let connection = &open.connection;
        let written = run(connection, "BEGIN IMMEDIATE").and_then(|()| {
            let (answers, done) = self.apply(connection, open.tip, batch)?;
            run(connection, "COMMIT")?;
            Ok((answers, done))
        });
        match written {
            Ok((answers, done)) => {
                done.tell();
                let Done { tip, bytes, closed, .. } = done;
                let last = batch.iter().filter_map(|waiting| waiting.lsn).max();
                if let (Some(applied), Some(last)) = (&self.applied, last) {
                    applied.store(last, Ordering::Release);
                }
                (open.tip, self.tip) = (tip, tip);
                self.open = Some(open);
                self.unseen += bytes;
                self.signals.committed(tip, bytes);
                self.backlog.committed(tip.seq, closed);
                Ok(answers)
            }
            Err(error) => {
                let rolled_back =
                    connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
                if rolled_back && !(is_environment(&error) && spoils_connection(&error)) {
                    self.open = Some(open);
                }
                Err(error)
            }
        }
    }

    fn apply(
        &self,
        connection: &Connection,
        tip: Tip,
        batch: &[Waiting],
    ) -> Result<(Vec<Answer>, Done), Error> {
        let now = (self.clock)();
        let mut transaction = Batch::new(connection, &self.sealer, tip, now);
        let mut answers = Vec::with_capacity(batch.len());
        let ends = ends(batch);
        for (at, waiting) in batch.iter().enumerate() {
            // Who has much more to do would only fall behind, and then everybody waits.
            if at % TURN == TURN - 1 && self.queue.len() < MANY {
                thread::yield_now();
            }
            // Its beginning, in this batch, has taken it along: it need not even be read.
            if waiting.write.ended().is_some_and(|id| transaction.take_written_end(id)) {
                answers.push(Answer::Written(Ok(())));
                continue;
            }
            let answer = match &waiting.write {
                Write::Counts(counts) => Ok(transaction.count(counts)?),
                Write::Used(used) => {
                    let used = used.iter().map(|(key, at)| (key.as_str(), *at));
                    Ok(used::note(connection, used)?)
                }
                Write::Change(altered) => transaction.change(altered)?,
                Write::Load(_) => {
                    let interrupted =
                        recover::settle_all(connection, &mut transaction, self.before, now)?;
                    answers.push(Answer::Loaded(Box::new(recover::load(connection, interrupted)?)));
                    continue;
                }
                of_a_call => match of_a_call.record() {
                    Some(record) => {
                        let end = match &record {
                            Record::Open(open) => ends.get(open.rx.id),
                            _ => None,
                        };
                        let end = end.filter(|(behind, _)| *behind > at);
                        let end = match end.and_then(|(_, end)| end.record()) {
                            Some(Record::Close(end)) => Some(end),
                            _ => None,
                        };
                        transaction.record(&record, end.as_ref())?
                    }
                    None => Err(StoreError::Down("it cannot be read back".into())),
                },
            };
            if let (Err(error), Some(_)) = (&answer, waiting.lsn) {
                tracing::error!("a record was answered as written, and is not: {error}");
            }
            answers.push(Answer::Written(answer));
        }
        if batch.is_empty() {
            // A fault is over only when a page was written.
            connection.execute("UPDATE meta SET probes = probes + 1", [])?;
        }
        if let Some(lsn) = batch.iter().filter_map(|waiting| waiting.lsn).max() {
            transaction.applied(i64::try_from(lsn).unwrap_or(i64::MAX))?;
        }
        let done = transaction.finish()?;
        Ok((answers, done))
    }

    fn recovered(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("the store writes again");
            let mut vitals = self.health.vitals();
            vitals.fault = None;
            vitals.kept = 0;
        }
    }

    fn failed(&mut self, batch: Vec<Waiting>, error: &Error) {
        let fault = reason(error);
        if self.pause.is_none() {
            tracing::error!("the store cannot write: {fault}");
        }
        let pause = self.pause.map_or(FIRST_PAUSE, |(pause, _)| (pause * 2).min(LONGEST_PAUSE));
        self.pause = Some((pause, Instant::now() + pause));
        self.health.vitals().fault = Some(Arc::clone(&fault));
        // Before anybody is told: what comes next must not be taken up as if nothing were wrong.
        self.queue.done(true);
        self.put_aside(batch, &fault);
    }

    /// Keeps what must not be lost, and tells everybody of the fault.
    fn put_aside(&mut self, batch: Vec<Waiting>, fault: &Arc<str>) {
        let told = self.kept.put_aside(batch, fault);
        self.health.vitals().kept = self.kept.len();
        for reply in told {
            // Whoever does not wait any more does not want to know.
            let _ = reply.send(Err(StoreError::Down(Arc::clone(fault))));
        }
    }
}

/// The ends of calls in a batch, and their places in it. Of two ends of one call the first counts.
fn ends(batch: &[Waiting]) -> HashMap<[u8; 16], (usize, &Write), RandomState> {
    let mut ends = HashMap::with_capacity_and_hasher(batch.len(), RandomState::default());
    for (at, waiting) in batch.iter().enumerate() {
        if let Some(id) = waiting.write.ended() {
            ends.entry(*id).or_insert((at, &waiting.write));
        }
    }
    ends
}

fn answer_one(mut waiting: Waiting, answer: Answer) {
    match (answer, waiting.write) {
        (Answer::Loaded(loaded), Write::Load(reply)) => {
            let _ = reply.send(Ok(*loaded));
        }
        (Answer::Written(answer), write) => {
            waiting.write = write;
            waiting.answer(answer);
        }
        (Answer::Loaded(_), _) => {}
    }
}
