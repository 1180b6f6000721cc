//! The HTTP side: binds once a host has attached, and again when a busy port becomes free.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use http_doors::admin::OpenDoors;
use http_doors::listener::{self, ServeLimits};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use upstreams::host::BridgeView;

use crate::telemetry::LineQueue;

/// The pause between two tries to bind a busy port.
const RETRY: Duration = Duration::from_secs(1);

/// Where the HTTP side stands; also what `bridge_status` tells of it.
#[derive(Debug)]
pub(crate) struct HttpSide {
    wanted: SocketAddr,
    secure: bool,
    state: Mutex<State>,
    lines: Arc<LineQueue>,
    /// What administrators are told of it.
    open: OpenDoors,
}

#[derive(Debug, Default)]
struct State {
    bound: Option<SocketAddr>,
    problem: Option<String>,
}

impl HttpSide {
    pub(crate) fn new(wanted: SocketAddr, secure: bool, lines: Arc<LineQueue>) -> Arc<Self> {
        let open = OpenDoors::default();
        Arc::new(Self { wanted, secure, state: Mutex::default(), lines, open })
    }

    /// Where doors are open, as administrators are told.
    pub(crate) fn open_doors(&self) -> OpenDoors {
        self.open.clone()
    }

    /// Binds, retrying every second while that fails. `None` when stopped before.
    ///
    /// A busy port is usually another window's bridge: the MCP side stays up, one line says so,
    /// and the port is taken over when that window closes.
    pub(crate) async fn bind(&self, stop: &CancellationToken) -> Option<TcpListener> {
        let mut said = false;
        loop {
            match listener::bind(self.wanted) {
                Ok(listener) => {
                    let bound = listener.local_addr().unwrap_or(self.wanted);
                    *self.lock() = State { bound: Some(bound), problem: None };
                    self.open.set_public(self.url());
                    tracing::info!(url = self.url(), "listening");
                    return Some(listener);
                }
                Err(error) => {
                    let problem = if error.kind() == ErrorKind::AddrInUse {
                        format!(
                            "{} is in use, probably by the bridge of another window; this one \
                             takes over when it is free",
                            self.wanted
                        )
                    } else {
                        format!("cannot listen on {}: {error}; trying again", self.wanted)
                    };
                    if !said {
                        tracing::warn!("{problem}");
                        said = true;
                    }
                    self.lock().problem = Some(problem);
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(RETRY) => {}
            }
        }
    }

    /// Serves until `stop`, then lets the connections end on `tasks`.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        router: Router,
        limits: ServeLimits,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        listener::serve(listener, tls, router, limits, tasks, stop).await;
        self.lock().bound = None;
        self.open.set_public(None);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A router, its TLS and its limits.
type Doors = (Router, Option<Arc<ServerConfig>>, ServeLimits);

/// Binds the admin API's own address, retrying every second, and serves it until `stop`.
pub(crate) async fn serve_admin(
    address: SocketAddr,
    open: OpenDoors,
    (router, tls, limits): Doors,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let mut said = false;
    loop {
        match listener::bind(address) {
            Ok(listener) => {
                let address = listener.local_addr().unwrap_or(address);
                open.set_admin(Some(url(address, tls.is_some())));
                tracing::info!(%address, "listening for administrators");
                return listener::serve(listener, tls, router, limits, tasks, stop).await;
            }
            Err(error) if !said => {
                said = true;
                tracing::warn!(%address, %error, "the admin API cannot listen; trying again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(RETRY) => {}
        }
    }
}

fn url(address: SocketAddr, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{address}")
}

impl BridgeView for HttpSide {
    fn url(&self) -> Option<String> {
        self.lock().bound.map(|bound| url(bound, self.secure))
    }

    fn problem(&self) -> Option<String> {
        let state = self.lock();
        match (&state.problem, state.bound) {
            (Some(problem), _) => Some(problem.clone()),
            (None, None) => Some("the HTTP side has not started yet".to_owned()),
            (None, Some(_)) => None,
        }
    }

    fn dropped_lines(&self) -> u64 {
        self.lines.dropped()
    }
}
