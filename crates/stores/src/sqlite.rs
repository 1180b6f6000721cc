//! The store in one SQLite file.
//!
//! What comes in is appended to a redo log, which makes it durable, and answered. One thread takes
//! it into the database, many rows in one transaction; a second one moves the write-ahead log, a
//! third one keeps the index of texts; two more read. See `redo` for what is durable when, `writer`
//! for how faults heal, `journal` for the chain, `text` for the index, and `files` for what lies
//! beside the database.

use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use gateway::BoxFuture;
use gateway::amounts::Amounts;
use gateway::keys::token::InstallSecret;
use gateway::keys::{KeyId, ScopeId, UnixMillis};
use gateway::store::{
    Actor, CallFilter, CallPage, Change, Closed, Cursor, EndedPage, Flush, FullCall, Loaded,
    MinuteSpent, Opened, Progress, RefusalCount, RefusalFilter, RefusalGroup, RefusalPage,
    Spending, Store, StoreError, StoreState, UsageFilter, UsageRow, Verdict, Written,
};
use model::CallId;
use tokio::sync::{oneshot, watch};

mod apply;
mod body;
mod canon;
mod checkpointer;
mod connect;
mod files;
mod health;
mod journal;
mod kept;
mod opened;
mod queue;
mod readers;
mod reads;
mod record;
mod recover;
mod redo;
mod refusals;
mod retire;
mod schema;
mod stored;
mod text;
mod used;
mod verify;
mod wire;
mod write;
mod writer;

pub use files::OpenError;
pub use retire::LEAST_BYTES;

use checkpointer::{Checkpointer, Signals};
use files::{Files, Hold};
use health::Health;
use journal::Sealer;
use queue::Queue;
use readers::{Reader, Readers};
use retire::Bounds;
use text::{Backlog, Indexer};
use write::{Altered, Close, Open, Settle, Write};
use writer::Writer;

/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// How long a sum over many calls may take.
const SUM: Duration = Duration::from_secs(30);

/// What survives a power loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Everything that was answered as written survives the end of the process; a power loss may
    /// take the last commits.
    #[default]
    Normal,
    /// Everything that was answered as written is on the disk: one sync for each commit.
    Fsync,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The directory of its files. It is made if it is not there, and closed to other users.
    pub dir: PathBuf,
    /// What survives a power loss.
    pub durability: Durability,
    /// The most bytes that the database, the index of texts and their logs may take, at least
    /// [`LEAST_BYTES`]; `None` for no bound. A fifth of that is for the index. The oldest calls go first. Keys
    /// and the ledger stay: if they alone take it all, nothing more can be written.
    pub max_bytes: Option<NonZeroU64>,
    /// How long calls are kept; `None` for ever.
    pub max_age: Option<Duration>,
    /// The clock. Calls bring their own times; changes and settlements get this one.
    pub clock: fn() -> UnixMillis,
}

impl OpenOptions {
    /// A store in a directory, with everything else as it is by default.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durability: Durability::Normal,
            max_bytes: None,
            max_age: None,
            clock: system_clock,
        }
    }
}

/// The time of the system, in milliseconds since the Unix epoch.
pub fn system_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis::try_from(since.as_millis()).unwrap_or(UnixMillis::MAX)
}

/// A store in one SQLite file.
///
/// Dropping it writes what is queued, as [`Store::shut_down`] does, and blocks until that is done.
#[derive(Debug)]
pub struct Sqlite {
    files: Arc<Files>,
    install: InstallSecret,
    sealer: Sealer,
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    health: Arc<Health>,
    backlog: Arc<Backlog>,
    ended: watch::Receiver<bool>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Sqlite {
    /// Opens the store in a directory; makes or migrates it. Blocks while it reads the disk.
    pub fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let (files, hold, secrets) = Files::open(&options.dir)?;
        let files = Arc::new(files);
        let sealer = Sealer::new(&secrets.journal);
        let writer = Writer::new(
            Arc::clone(&files),
            options.durability,
            sealer.clone(),
            options.clock,
            Bounds { bytes: options.max_bytes, age: options.max_age },
        )?;
        let (queue, health) = (Arc::clone(&writer.queue), Arc::clone(&writer.health));
        let backlog = Arc::clone(&writer.backlog);
        let readers = Arc::new(Readers::default());
        let (end, ended) = watch::channel(false);
        let all = Threads { writer, hold, readers: Arc::clone(&readers), end };
        let thread = all.start().map_err(|source| OpenError::Io { path: options.dir, source })?;
        Ok(Self {
            files,
            install: InstallSecret::new(secrets.install),
            sealer,
            queue,
            readers,
            health,
            backlog,
            ended,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The secret under which tokens of this installation are digested.
    pub fn install_secret(&self) -> &InstallSecret {
        &self.install
    }

    /// Writes what waits for company.
    fn gather(&self, write: Write) -> Written {
        let (reply, written) = Written::gathering(Arc::clone(&self.queue) as Arc<dyn Flush>);
        if let Err((why, Some(reply))) = self.queue.push(write, Some(reply)) {
            let _ = reply.send(Err(why.into()));
        }
        written
    }

    /// Writes what waits for nothing.
    fn write(&self, write: Write) -> Written {
        let (reply, written) = Written::pending();
        if let Err((why, Some(reply))) = self.queue.push(write, Some(reply)) {
            let _ = reply.send(Err(why.into()));
        }
        self.queue.flush();
        written
    }
}

/// Calls that have ended and cannot be searched yet; for a moment some count twice.
fn text_lag(queue: &Queue, backlog: &Backlog) -> u64 {
    // In this order: what goes from the one to the other must not be missed.
    let ends = queue.ends();
    ends + backlog.lag()
}

/// The threads of a store, which end together.
struct Threads {
    writer: Writer,
    hold: Hold,
    readers: Arc<Readers>,
    end: watch::Sender<bool>,
}

impl Threads {
    /// Starts all of them. The one that is returned ends last.
    fn start(self) -> std::io::Result<thread::JoinHandle<()>> {
        let Self { writer, hold, readers, end } = self;
        let signals: Arc<Signals> = Arc::clone(&writer.signals);
        let (path, durability) = (writer.files.database(), writer.durability);
        let checkpointer = Checkpointer {
            files: Arc::clone(&writer.files),
            path: path.clone(),
            durability,
            signals: Arc::clone(&signals),
            holds: writer.holds_checkpoint(),
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let mut others = vec![named("store-log").spawn(move || checkpointer.run())?];
        let backlog = Arc::clone(&writer.backlog);
        let indexer = Indexer {
            files: Arc::clone(&writer.files),
            durability,
            backlog: Arc::clone(&backlog),
            queue: Arc::clone(&writer.queue),
            bounds: writer.bounds,
        };
        others.push(named("store-text").spawn(move || indexer.run())?);
        for _ in 0..readers::THREADS {
            let (readers, path) = (Arc::clone(&readers), path.clone());
            let queue = Arc::clone(&writer.queue);
            let run = move || Reader::run(&readers, path, queue, durability);
            others.push(named("store-read").spawn(run)?);
        }
        let abandoned = Abandon(Arc::clone(&writer.queue));
        named("store-write").spawn(move || {
            // Also when the writer panics, nobody waits for ever.
            let _abandoned = abandoned;
            writer.run();
            readers.end();
            signals.end();
            backlog.end();
            for other in others {
                if other.join().is_err() {
                    tracing::error!("a thread of the store has panicked");
                }
            }
            // Only now may another process, or this one, open it again.
            drop(hold);
            let _ = end.send(true);
        })
    }
}

/// Tells everybody who waits in a queue that nobody writes any more, when dropped.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.queue.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer of the store has panicked");
        }
    }
}

impl Store for Sqlite {
    fn open(&self, opened: Box<Opened>) -> Written {
        self.gather(Write::Open(Box::new(Open::new(opened))))
    }

    fn close(&self, closed: Box<Closed>) -> Written {
        self.gather(Write::Close(Box::new(Close::new(closed))))
    }

    fn settle(&self, id: CallId, spending: Spending) -> Written {
        self.gather(Write::Settle(Box::new(Settle::new(id, &spending))))
    }

    fn refuse(&self, opened: Box<Opened>, mut closed: Box<Closed>) {
        closed.spending = Some(Spending::default());
        let counted = queue::counted(&opened, &closed);
        if self.queue.is_busy() {
            self.queue.count(&counted);
            return;
        }
        let both = (Open::new(opened), Close::new(closed));
        // It may have become full between the look and the push.
        if self.queue.push(Write::Refuse(Box::new(both)), None).is_err() {
            self.queue.count(&counted);
        }
        self.queue.flush();
    }

    fn count_refusals(&self, counts: Vec<RefusalCount>) {
        for count in &counts {
            self.queue.count(count);
        }
    }

    fn note_used(&self, used: Vec<(KeyId, UnixMillis)>) {
        // Where there is no room for it now, it is noted when the key is used again.
        drop(self.queue.push(Write::Used(used), None));
        self.queue.flush();
    }

    fn change(&self, change: Change, actor: Actor) -> Written {
        match Altered::new(change, &actor) {
            Ok(altered) => self.write(Write::Change(Box::new(altered))),
            Err(error) => {
                let (reply, written) = Written::pending();
                let _ = reply.send(Err(StoreError::Down(error.to_string().into())));
                written
            }
        }
    }

    fn load(&self) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        let (reply, loaded) = oneshot::channel();
        let pushed = self.queue.push(Write::Load(reply), None);
        self.queue.flush();
        Box::pin(async move {
            pushed.map_err(|(why, _)| StoreError::from(why))?;
            loaded.await.unwrap_or_else(|_| Err(StoreError::Down("it has ended".into())))
        })
    }

    fn spent(
        &self,
        span: Range<UnixMillis>,
    ) -> BoxFuture<'_, Result<Vec<(ScopeId, Amounts)>, StoreError>> {
        self.readers.read(SUM, move |connection| reads::spent(connection, &span))
    }

    fn spent_after(&self, time: UnixMillis) -> BoxFuture<'_, Result<Vec<MinuteSpent>, StoreError>> {
        self.readers.read(SUM, move |connection| reads::spent_after(connection, time))
    }

    fn calls(
        &self,
        filter: CallFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<CallPage, StoreError>> {
        let Some(text) = &filter.text else {
            return self
                .readers
                .read(LOOK_UP, move |connection| reads::calls(connection, &filter, after, limit));
        };
        let wanted = match text::read_wanted(text) {
            Ok(wanted) => wanted,
            Err(what) => return Box::pin(async move { Err(StoreError::Unsupported(what)) }),
        };
        let (files, backlog) = (Arc::clone(&self.files), Arc::clone(&self.backlog));
        let (queue, behind) = (Arc::clone(&self.queue), Arc::clone(&self.backlog));
        self.readers.search(LOOK_UP, files, backlog, move |record, index| {
            // It is read before the index: what that lacks is never less.
            let lag = text_lag(&queue, &behind);
            let page = text::search(record, index, &filter, &wanted, after, limit)?;
            Ok(page.map(|page| CallPage { lag, ..page }))
        })
    }

    fn ended(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<EndedPage, StoreError>> {
        self.readers.read(LOOK_UP, move |connection| reads::ended(connection, after, limit))
    }

    fn call(&self, id: CallId) -> BoxFuture<'_, Result<Option<FullCall>, StoreError>> {
        self.readers.read(LOOK_UP, move |connection| reads::call(connection, id))
    }

    fn usage(&self, filter: UsageFilter) -> BoxFuture<'_, Result<Vec<UsageRow>, StoreError>> {
        self.readers.read(SUM, move |connection| reads::usage(connection, &filter))
    }

    fn refusals(
        &self,
        filter: RefusalFilter,
        after: Option<RefusalGroup>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RefusalPage, StoreError>> {
        self.readers.read(SUM, move |connection| refusals::page(connection, &filter, after, limit))
    }

    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<Verdict, StoreError>> {
        Box::pin(verify::verify(
            Arc::clone(&self.readers),
            Arc::clone(&self.files),
            self.sealer.clone(),
            progress,
        ))
    }

    fn state(&self) -> StoreState {
        let vitals = self.health.get();
        StoreState {
            fault: vitals.fault,
            queued: self.queue.len() + vitals.kept,
            bytes: self.files.bytes(),
            text_lag: text_lag(&self.queue, &self.backlog),
            retired_calls: vitals.retired,
        }
    }

    fn fault(&self) -> Option<Arc<str>> {
        self.health.get().fault
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        self.queue.end();
        let mut ended = self.ended.clone();
        Box::pin(async move {
            // An error is the end as well: whoever would tell is gone.
            let _ = ended.wait_for(|ended| *ended).await;
        })
    }
}
