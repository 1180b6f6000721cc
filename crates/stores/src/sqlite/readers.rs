//! The threads that read, each with a connection of its own.
//!
//! Every read sees one moment of the database, has a deadline, and stops when nobody waits for it
//! any more. When too many wait, the next one is refused.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway::BoxFuture;
use gateway::store::StoreError;
use rusqlite::{Connection, Error};
use tokio::sync::oneshot;

use super::Durability;
use super::connect::{Role, connect, down, is_environment, spoils_connection};

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
        let (sender, receiver) = oneshot::channel();
        let deadline = Instant::now() + time;
        let job: Job = Box::new(move |reader| {
            if !sender.is_closed() {
                let _ = sender.send(reader.read(deadline, work));
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
    durability: Durability,
    connection: Option<Connection>,
}

impl Reader {
    /// Reads until nothing more is taken.
    pub(super) fn run(readers: &Arc<Readers>, path: PathBuf, durability: Durability) {
        let mut reader = Self { path, durability, connection: None };
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

    fn try_read<T>(
        &mut self,
        deadline: Instant,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
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
