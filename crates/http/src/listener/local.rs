//! The accept loop on a local socket: the same connections, without an address at the other end.
//!
//! Who may connect is a matter of the socket's file, which only its owner can open.

use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Door, FIRST_PAUSE, FOREVER, LONGEST_PAUSE, ServeLimits};

/// Accepts connections on a local socket until `shutdown`, and serves each on a task of `tasks`.
///
/// As [`serve`](super::serve): it returns as soon as it has stopped accepting, and requests carry
/// no [`Peer`](super::Peer). The TLS limits do not count.
pub async fn serve_local(
    listener: UnixListener,
    router: Router,
    mut limits: ServeLimits,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    limits.head_timeout = limits.head_timeout.min(FOREVER);
    let slots = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let door = Arc::new(Door::new(router, None, limits, shutdown.clone()));
    let mut stop = pin!(shutdown.cancelled());
    let mut pause = FIRST_PAUSE;
    loop {
        let slot = tokio::select! {
            biased;
            () = &mut stop => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        // The semaphore is never closed.
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, _)) = accepted {
            pause = FIRST_PAUSE;
            let door = Arc::clone(&door);
            tasks.spawn(async move {
                door.http(stream, None).await;
                drop(slot);
            });
        } else {
            // Out of file descriptors or memory: accepting again at once would spin.
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
