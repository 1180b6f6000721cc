//! The accept loop on a local socket: the same connections, without an address at the other end.
//!
//! Who may connect is a matter of the socket's file, which only its owner can open.

use std::sync::Arc;

use axum::Router;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Door, ServeLimits, accept_all};

/// Accepts connections on a local socket until `shutdown`, and serves each on a task of `tasks`.
///
/// As [`serve`](super::serve): it returns as soon as it has stopped accepting, and requests carry
/// no [`Peer`](super::Peer). The TLS limits do not count.
pub async fn serve_local(
    listener: UnixListener,
    router: Router,
    limits: ServeLimits,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let door = Arc::new(Door::new(router, None, limits, shutdown));
    let begin = |(stream, _), slot| {
        let door = Arc::clone(&door);
        tasks.spawn(async move {
            door.http(stream, None).await;
            drop(slot);
        });
    };
    accept_all(&door, || listener.accept(), begin).await;
}
