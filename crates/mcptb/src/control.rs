//! The control socket: the admin API for the command line of the same account.
//!
//! It lies in the folder of keys and records, which the bridge that serves it holds; so there is
//! one at most, and one that is found there was left by a bridge that is dead. Who can open it
//! could read and write the store itself: it asks for no key. Windows has none.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::records::Records;

/// The name of the socket in the folder.
#[cfg(unix)]
pub(crate) const SOCKET: &str = "control.sock";

/// Serves the socket from when the store is open until `stop`.
#[cfg(unix)]
pub(crate) async fn serve(
    records: Arc<Records>,
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    use std::time::Duration;

    use http_doors::listener::{self, ServeLimits};

    tokio::select! {
        () = records.open.cancelled() => {}
        () = stop.cancelled() => return,
    }
    let Some(folder) = records.folder() else { return };
    let listener = match listen(folder) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(
                folder = %folder.display(),
                %error,
                "the control socket cannot be opened: while this bridge runs, `mcptb keys` and the \
                 like need --url"
            );
            return;
        }
    };
    let limits = ServeLimits {
        head_timeout: Duration::from_secs(30),
        tls_handshake: Duration::from_secs(10),
        max_connections: 32,
        max_head_bytes: 16 * 1024,
    };
    listener::serve_local(listener, router, limits, tasks, stop).await;
    // The folder is still ours: the store closes later.
    let _ = std::fs::remove_file(folder.join(SOCKET));
}

/// Binds the socket where nobody else can reach it, closes it to others, and only then puts it in
/// its place, over one that a dead bridge has left.
#[cfg(unix)]
fn listen(folder: &std::path::Path) -> std::io::Result<tokio::net::UnixListener> {
    use std::fs::{self, DirBuilder, Permissions};
    use std::io::ErrorKind;
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

    let nook = folder.join("control.new");
    match fs::remove_dir_all(&nook) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&nook)?;
    let fresh = nook.join("s");
    let bound = tokio::net::UnixListener::bind(&fresh).and_then(|listener| {
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        fs::rename(&fresh, folder.join(SOCKET))?;
        Ok(listener)
    });
    let _ = fs::remove_dir_all(&nook);
    bound
}

/// There is none here.
#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "elsewhere it serves")]
pub(crate) async fn serve(_: Arc<Records>, _: Router, _: TaskTracker, _: CancellationToken) {}
