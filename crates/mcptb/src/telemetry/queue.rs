//! The bounded queue of lines and the thread that writes them.
//!
//! Waking a thread costs more than making a line, so lines are gathered: the writer is woken for
//! the first line, waits a moment, and writes whatever has come by then.

use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{LogFormat, Style, now};

/// Bytes that may wait.
const BYTES: usize = 8 << 20;
/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(5);

/// Takes lines without ever waiting for whoever reads stderr.
#[derive(Debug)]
pub(crate) struct LineQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    dropped: u64,
    /// Whether the writer sleeps until it is woken.
    asleep: bool,
    /// Who waits until everything has been written.
    flushes: Vec<SyncSender<()>>,
}

impl LineQueue {
    /// Starts the writer thread. Where no thread can be had, lines are dropped and counted once
    /// the queue is full.
    pub(crate) fn start(style: Style) -> Self {
        let shared = Arc::<Shared>::default();
        let for_thread = Arc::clone(&shared);
        let _ = thread::Builder::new()
            .name("stderr".into())
            .spawn(move || write_lines(&for_thread, style));
        Self { shared }
    }

    /// Queues a line, which ends with a line break; drops and counts it if there is no room.
    ///
    /// One line may be longer than the queue: it is taken when the queue is empty.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if !state.text.is_empty() && state.text.len() + line.len() > BYTES {
            state.dropped += 1;
            return;
        }
        state.text.extend_from_slice(line);
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// Lines that were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Waits until what is queued has been written, but not for ever.
    pub(crate) fn flush(&self, patience: Duration) {
        let (done, finished) = sync_channel(1);
        {
            let mut state = self.shared.lock();
            state.flushes.push(done);
            state.asleep = false;
        }
        self.shared.wake.notify_one();
        let _ = finished.recv_timeout(patience);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines, gathers more for a moment, and takes them all.
    fn gather(&self, text: &mut Vec<u8>) -> (u64, Vec<SyncSender<()>>) {
        let mut state = self.lock();
        while state.text.is_empty() && state.flushes.is_empty() {
            state.asleep = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.flushes.is_empty() {
            let waited = self.wake.wait_timeout(state, GATHER);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut state.text, text);
        (state.dropped, std::mem::take(&mut state.flushes))
    }
}

fn write_lines(shared: &Shared, style: Style) {
    let mut stderr = std::io::stderr();
    let mut text = Vec::new();
    let mut reported = 0;
    loop {
        let (dropped, flushes) = shared.gather(&mut text);
        if dropped > reported {
            report_dropped(&mut text, style, dropped - reported);
            reported = dropped;
        }
        // A closed stderr is no reason to stop the bridge.
        let _ = stderr.write_all(&text);
        text.clear();
        // A burst must not stay in memory for ever.
        text.shrink_to(64 * 1024);
        for done in flushes {
            let _ = done.try_send(());
        }
    }
}

fn report_dropped(text: &mut Vec<u8>, style: Style, count: u64) {
    let time = now();
    let _ = match style.format {
        LogFormat::Text => {
            writeln!(text, "{time} WARN  {count} log lines were dropped: stderr was not read")
        }
        LogFormat::Json => writeln!(
            text,
            "{{\"time\":\"{time}\",\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"count\":{count}}}"
        ),
    };
}
