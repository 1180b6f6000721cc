//! The bounded queue of lines and the thread that writes them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use super::{LogFormat, Style, now};

/// Lines that may wait.
const LINES: usize = 8192;
/// Bytes that may wait: lines with bodies can be long.
const BYTES: usize = 64 << 20;
/// Lines are joined up to this many bytes to one write.
const BATCH: usize = 64 * 1024;

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Takes lines without ever waiting.
#[derive(Debug)]
pub(crate) struct LineQueue {
    sender: SyncSender<Item>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl LineQueue {
    /// Starts the writer thread. Where no thread can be had every line is dropped and counted.
    pub(crate) fn start(style: Style) -> Self {
        let (sender, receiver) = sync_channel(LINES);
        let counts = Arc::<Counts>::default();
        let for_thread = Arc::clone(&counts);
        let _ = thread::Builder::new()
            .name("stderr".into())
            .spawn(move || write_lines(&receiver, &for_thread, style));
        Self { sender, counts }
    }

    /// Queues a line, which ends with a line break; drops and counts it if there is no room.
    pub(crate) fn push(&self, line: Vec<u8>) {
        let length = line.len();
        let waiting = self
            .counts
            .waiting_bytes
            .fetch_add(length, Ordering::Relaxed);
        let room = waiting + length <= BYTES;
        if !room || self.sender.try_send(Item::Line(line)).is_err() {
            self.counts
                .waiting_bytes
                .fetch_sub(length, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what is queued has been written, but not for ever.
    pub(crate) fn flush(&self, patience: Duration) {
        let (done, finished) = sync_channel(1);
        match self.sender.try_send(Item::Flush(done)) {
            Ok(()) => {
                let _ = finished.recv_timeout(patience);
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn write_lines(receiver: &Receiver<Item>, counts: &Counts, style: Style) {
    let mut stderr = std::io::stderr();
    let mut batch = Vec::with_capacity(BATCH);
    let mut reported = 0;
    while let Ok(first) = receiver.recv() {
        let mut flushed = Vec::new();
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(item) = next {
            match item {
                Item::Line(line) => {
                    taken += line.len();
                    batch.extend_from_slice(&line);
                }
                Item::Flush(done) => flushed.push(done),
            }
            next = if batch.len() < BATCH {
                receiver.try_recv().ok()
            } else {
                None
            };
        }
        let dropped = counts.dropped.load(Ordering::Relaxed);
        if dropped > reported {
            report_dropped(&mut batch, style, dropped - reported);
            reported = dropped;
        }
        // A closed stderr is no reason to stop the bridge.
        let _ = stderr.write_all(&batch);
        batch.clear();
        counts.waiting_bytes.fetch_sub(taken, Ordering::Relaxed);
        for done in flushed {
            let _ = done.try_send(());
        }
    }
}

fn report_dropped(batch: &mut Vec<u8>, style: Style, count: u64) {
    let time = now();
    let _ = match style.format {
        LogFormat::Text => {
            writeln!(
                batch,
                "{time} WARN  {count} log lines were dropped: stderr was not read"
            )
        }
        LogFormat::Json => writeln!(
            batch,
            "{{\"time\":\"{time}\",\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"count\":{count}}}"
        ),
    };
}
