//! Lines that somebody writes, kept and waited for.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// A growing list of lines. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    /// Collects what `source` says, on a thread of its own.
    pub(crate) fn collect(source: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let ours = lines.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                ours.push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
                line.clear();
            }
            ours.close();
        });
        lines
    }

    pub(crate) fn push(&self, line: String) {
        self.shared.0.lock().unwrap().lines.push(line);
        self.shared.1.notify_all();
    }

    pub(crate) fn close(&self) {
        self.shared.0.lock().unwrap().closed = true;
        self.shared.1.notify_all();
    }

    /// What has come so far.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// How many have come so far.
    pub(crate) fn count(&self) -> usize {
        self.shared.0.lock().unwrap().lines.len()
    }

    /// Waits for the first line that fits.
    pub(crate) fn wait(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.wait_for(what, |lines| lines.iter().find(|line| fits(line)).cloned())
    }

    /// Waits for `count` lines that fit, and gives all that do.
    pub(crate) fn wait_many(&self, count: usize, fits: impl Fn(&str) -> bool) -> Vec<String> {
        self.wait_for(&format!("{count} lines"), |lines| {
            let found: Vec<_> = lines.iter().filter(|line| fits(line)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits for the end, and gives everything.
    pub(crate) fn wait_end(&self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.0.lock().unwrap();
        while !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no end in time, after {:#?}", state.lines);
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
        state.lines.clone()
    }

    /// Waits until the lines so far give an answer.
    pub(crate) fn wait_for<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.0.lock().unwrap();
        loop {
            if let Some(found) = find(&state.lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !state.closed && !left.is_zero(),
                "waited in vain for {what} (ended: {}), had {:#?}",
                state.closed,
                state.lines
            );
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }
}
