//! How far long work is, for whoever watches stderr: nobody else is told.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Characters of the bar.
const BAR: usize = 30;
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A line that says how far it is.
pub(super) struct Progress {
    watched: bool,
    next: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { watched: std::io::stderr().is_terminal(), next: None }
    }

    /// Whether anybody watches.
    pub(super) const fn is_watched(&self) -> bool {
        self.watched
    }

    /// Says how much is done: of so much, where that is known.
    pub(super) fn tell(&mut self, done: u64, total: Option<u64>) {
        let now = Instant::now();
        if !self.watched || self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + LOOK);
        let _ = write!(std::io::stderr(), "\r{}", line(done, total));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.next.is_some() {
            let _ = write!(std::io::stderr(), "\r{:60}\r", "");
        }
    }
}

fn line(done: u64, total: Option<u64>) -> String {
    let Some(total) = total else { return format!("{done} so far") };
    let parts = BAR as u64;
    let full = done.min(total).saturating_mul(parts) / total.max(1);
    let full = usize::try_from(full).unwrap_or(BAR);
    let (full, empty) = ("#".repeat(full), ".".repeat(BAR.saturating_sub(full)));
    format!("[{full}{empty}] {done} of {total}")
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_bar_is_never_longer_than_whole() {
        assert_eq!(line(15, Some(30)), format!("[{}{}] 15 of 30", "#".repeat(15), ".".repeat(15)));
        assert_eq!(line(40, Some(30)), format!("[{}] 40 of 30", "#".repeat(30)));
        assert_eq!(line(0, Some(0)), format!("[{}] 0 of 0", ".".repeat(30)));
        assert_eq!(line(7, None), "7 so far");
    }
}
