//! The end of the bridge, whose parts share less than two seconds: hosts kill us soon after.
//!
//! All moments are counted from the first reason to end. A second one, as the end of stdin after a
//! signal, gives no more time; nor does it matter who holds the end up.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::telemetry::LineQueue;
use crate::wiring::Parts;

/// By then callers have been told, and hosts that nobody waits for their tasks.
const CALLS: Duration = Duration::from_secs(1);
/// By then what is left to be settled has been. The host has gone: nothing is waited for there but
/// our own threads.
const SAMPLINGS: Duration = Duration::from_millis(1200);
/// By then the last commit is done. A host that does not read is given up half a second after
/// [`CALLS`], so before that.
const RECORDS: Duration = Duration::from_millis(1600);
/// How long the last log lines may take after all that.
const LINES: Duration = Duration::from_millis(200);

/// Fails the calls, closes the doors, hangs up, and commits what is left.
pub(super) async fn run(parts: &Parts, hang_up: &CancellationToken) {
    let began = Instant::now();
    parts.stop.cancel();
    parts.calls.close();
    let told = async {
        parts.calls.wait().await;
        parts.pool.tasks_cancelled().await;
    };
    let _ = timeout_at(began + CALLS, told).await;
    hang_up.cancel();
    // Whoever still listens for a sampling whose call has ended hears now that the host has gone,
    // and settles what it cost.
    parts.samplings.close();
    let _ = timeout_at(began + SAMPLINGS, parts.samplings.wait()).await;
    parts.records.close(began + RECORDS).await;
}

/// Writes the last log lines, if somebody reads them.
pub(super) fn flush(lines: &LineQueue) {
    lines.flush(LINES);
}
