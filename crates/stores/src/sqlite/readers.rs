//! The threads that read, each with a connection of its own.
//!
//! A read waits until what was answered before it is in the database. Every read sees one moment
//! of the database, has a deadline, and stops when nobody waits for it any more. When too many wait, the next one is refused.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway::BoxFuture;
use gateway::store::StoreError;
use rusqlite::{Connection, Error, ErrorCode};
use tokio::sync::oneshot;

use super::Durability;
use super::connect::{Role, connect, down, is_environment, reason, spoils_connection};
use super::files::Files;
use super::queue::Queue;
use super::text::Backlog;

/// Threads that read.
pub(super) const THREADS: usize = 2;
/// Most reads that may wait.
const MOST: usize = 256;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

/// Reads that wait.
#[derive(Default)]
pub(super) struct Readers {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    ended: bool,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("waiting", &self.inner().jobs.len()).finish()
    }
}

impl Readers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads on one of the threads. Waiting for a thread counts against the time.
    pub(super) fn read<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        self.queue(time, move |reader, deadline| reader.read(deadline, work))
    }

    /// Reads the record together with the index of texts. An inner error is one of the index.
    pub(super) fn search<T: Send + 'static>(
        &self,
        time: Duration,
        files: Arc<Files>,
        backlog: Arc<Backlog>,
        work: impl FnOnce(&Connection, &Connection) -> rusqlite::Result<Result<T, Error>>
        + Send
        + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        self.queue(time, move |reader, deadline| reader.search(deadline, &files, &backlog, work))
    }

    fn queue<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce(&mut Reader, Instant) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (sender, receiver) = oneshot::channel();
        let deadline = Instant::now() + time;
        let job: Job = Box::new(move |reader| {
            if !sender.is_closed() {
                let _ = sender.send(work(reader, deadline));
            }
        });
        let mut inner = self.inner();
        let refused = if inner.ended {
            Some("it has ended")
        } else if inner.jobs.len() >= MOST {
            Some("too many reads are waiting")
        } else {
            inner.jobs.push_back(job);
            None
        };
        drop(inner);
        self.wake.notify_one();
        Box::pin(async move {
            if let Some(why) = refused {
                return Err(StoreError::Down(why.into()));
            }
            receiver.await.unwrap_or_else(|_| Err(StoreError::Down("it has ended".into())))
        })
    }

    /// No more reads are taken; those that wait are not done.
    pub(super) fn end(&self) {
        let mut inner = self.inner();
        inner.ended = true;
        inner.jobs.clear();
        drop(inner);
        self.wake.notify_all();
    }

    fn next(&self) -> Option<Job> {
        let inner = self.inner();
        let mut inner = self
            .wake
            .wait_while(inner, |inner| inner.jobs.is_empty() && !inner.ended)
            .unwrap_or_else(PoisonError::into_inner);
        inner.jobs.pop_front()
    }
}

/// One thread that reads.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    queue: Arc<Queue>,
    durability: Durability,
    connection: Option<Connection>,
    /// A connection to the index of texts, and which one that was.
    index: Option<(u64, Connection)>,
}

impl Reader {
    /// Reads until nothing more is taken.
    pub(super) fn run(
        readers: &Arc<Readers>,
        path: PathBuf,
        queue: Arc<Queue>,
        durability: Durability,
    ) {
        let mut reader = Self { path, queue, durability, connection: None, index: None };
        while let Some(job) = readers.next() {
            job(&mut reader);
        }
    }

    fn read<T>(
        &mut self,
        deadline: Instant,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let done = self.try_read(deadline, work);
        if let Err(error) = &done
            && is_environment(error)
            && spoils_connection(error)
        {
            self.connection = None;
        }
        done.map_err(|error| down(&error))
    }

    fn search<T>(
        &mut self,
        deadline: Instant,
        files: &Files,
        backlog: &Backlog,
        work: impl FnOnce(&Connection, &Connection) -> rusqlite::Result<Result<T, Error>>,
    ) -> Result<T, StoreError> {
        let unavailable = |why: &str| {
            StoreError::Down(format!("texts cannot be searched at the moment: {why}").into())
        };
        let generation = backlog.generation(deadline);
        if generation == 0 {
            return Err(unavailable("their index cannot be opened"));
        }
        let kept = self.index.take().filter(|(of, _)| *of == generation);
        let opened = match kept {
            Some((_, index)) => Ok(index),
            None => connect(&files.text(), Durability::Normal, Role::Reader).inspect(|index| {
                // Each piece of the index has a statement of its own.
                index.set_prepared_statement_cache_capacity(256);
            }),
        };
        let index = opened.and_then(|mut index| {
            index.progress_handler(STEPS, Some(move || Instant::now() >= deadline))?;
            Ok(index)
        });
        let found = match index {
            Err(error) => Err(error),
            Ok(index) => {
                let found = self.read(deadline, |record| work(record, &index))?;
                if !backlog.is_still(generation) {
                    return Err(unavailable("their index is made anew"));
                }
                if found.is_ok() {
                    self.index = Some((generation, index));
                }
                found
            }
        };
        found.map_err(|error| {
            use ErrorCode::{
                CannotOpen, DatabaseBusy, DatabaseLocked, OperationInterrupted, OutOfMemory,
                SystemIoFailure,
            };
            let passing = [
                CannotOpen,
                DatabaseBusy,
                DatabaseLocked,
                OperationInterrupted,
                OutOfMemory,
                SystemIoFailure,
            ];
            if !error.sqlite_error_code().is_some_and(|code| passing.contains(&code)) {
                backlog.doubt(generation);
            }
            unavailable(&reason(&error))
        })
    }

    fn try_read<T>(
        &mut self,
        deadline: Instant,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.queue.catch_up(deadline);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.path, self.durability, Role::Reader)?),
        };
        connection.progress_handler(STEPS, Some(move || Instant::now() >= deadline))?;
        // One moment of the database for all that is read together.
        let transaction = connection.unchecked_transaction()?;
        work(&transaction)
    }
}
