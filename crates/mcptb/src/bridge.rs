//! The bridge as an MCP host starts it: MCP on stdin and stdout, HTTP beside it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mcp::{Connection, Ended, Limits, stdio};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Problem;
use crate::records::Records;
use crate::reload::{Reloader, Running};
use crate::settings::{Config, Layers, Loaded};
use crate::telemetry::{self, CallLines, LevelControl, LineQueue};
use crate::wiring::Parts;
use crate::{control, listen};

mod ending;

/// How long the doors wait for the store before they open all the same, and answer 503.
const FIRST_OPENING: Duration = Duration::from_millis(900);

/// Runs until the host or a signal ends it.
pub(crate) fn run(layers: &Layers) -> Result<ExitCode, Problem> {
    let loaded = layers.load()?;
    let tls = tls(layers, &loaded)?;
    let (lines, log, level) = telemetry::start(loaded.config.log);
    warn_of_exposure(&loaded.config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(error.to_string(), "free some threads or memory"))?;
    // On the runtime's own threads: whatever `block_on` runs itself would be woken across threads
    // for every line of the host.
    let life = runtime.spawn(live(layers.clone(), loaded, tls, Arc::clone(&lines), log, level));
    let outcome = runtime.block_on(life).unwrap_or_else(|error| {
        // What a panic says may hold what a caller has sent; where it was is told already.
        let what =
            if error.is_panic() { "the bridge has panicked" } else { "the bridge broke off" };
        Err(Problem::new(what.to_owned(), "please report this"))
    });
    ending::flush(&lines);
    // A thread may still be reading stdin; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// Reads certificate and key, where HTTPS is wanted.
pub(crate) fn tls(
    layers: &Layers,
    loaded: &Loaded,
) -> Result<Option<Arc<rustls::ServerConfig>>, Problem> {
    let Some((cert, key)) = &loaded.config.tls else { return Ok(None) };
    http_doors::tls::server_config(cert, key).map(Some).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let problem = Problem::new(
            format!("{error}{}", cause.unwrap_or_default()),
            "give a PEM chain and its PEM key",
        );
        layers.blame(&loaded.settings, &["tls_cert", "tls_key"], problem)
    })
}

/// The whole life of the bridge, as one task.
async fn live(
    layers: Layers,
    loaded: Loaded,
    tls: Option<Arc<rustls::ServerConfig>>,
    lines: Arc<LineQueue>,
    log: Arc<CallLines>,
    level: LevelControl,
) -> Result<ExitCode, Problem> {
    let Loaded { config, settings, has_file, stamp } = loaded;
    let stdio_mode = config.stdio;
    let serve = config.serve;
    let running = Running::of(&config, settings, has_file, stamp);
    let parts = Parts::new(config, lines, log)?;
    let records = Arc::clone(&parts.records);
    let reloader = Reloader::new(layers, running, parts.rules.clone(), level, records);
    let reloader = Arc::new(reloader);
    parts.background.spawn(reloader.watch(parts.background.clone(), parts.stop.clone()));
    let (source, sink) = stdio::open(stdio_mode).map_err(|error| {
        Problem::new(
            format!("stdin and stdout cannot be used: {error}"),
            "let an MCP host start mcptb, or try MCPTB_STDIO=threads",
        )
    })?;
    outlive_file_limits();
    let signal = CancellationToken::new();
    parts.background.spawn(end_on_signal(signal.clone()));
    parts.calls.spawn({
        let (http, router) = (parts.http.clone(), parts.router.clone());
        let (admin, control) = (parts.admin.clone(), parts.control.clone());
        let (calls, stop) = (parts.calls.clone(), parts.stop.clone());
        let attached = parts.attached.clone();
        let (records, background) = (Arc::clone(&parts.records), parts.background.clone());
        async move {
            // Dual-era hosts start a throw-away sibling to probe: until a host says
            // `initialize` there is no side effect.
            tokio::select! {
                () = attached.cancelled() => {}
                () = stop.cancelled() => return,
            }
            if let Some(listener) = http.bind(&stop).await {
                open_records(&records, &background, &stop).await;
                calls.spawn(control::serve(records, control, calls.clone(), stop.clone()));
                if let Some((address, router)) = admin {
                    let doors = (router, tls.clone(), serve);
                    let open = http.open_doors();
                    let (tasks, stop) = (calls.clone(), stop.clone());
                    calls.spawn(listen::serve_admin(address, open, doors, tasks, stop));
                }
                http.serve(listener, tls, router, serve, calls, stop).await;
            }
        }
    });
    let server = parts.mcp_server();
    // The connection outlives the calls: their cancellations still reach the host.
    let hang_up = CancellationToken::new();
    let connection = Connection::new(source, sink, Limits::default());
    let host = connection.peer().clone();
    let end = async {
        tokio::select! {
            () = signal.cancelled() => {}
            () = host.closed() => {}
        }
        ending::run(&parts, &hang_up).await;
    };
    let (ended, ()) = tokio::join!(connection.run(&server, hang_up.clone()), end);
    match ended {
        Ended::Eof | Ended::Stopped => tracing::info!(?ended, "the bridge ends"),
        Ended::Failed(error) => tracing::warn!(%error, "the host's connection failed"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the store; the doors wait a moment for it, so that the first call finds it open.
pub(crate) async fn open_records(
    records: &Arc<Records>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let opened = CancellationToken::new();
    tasks.spawn(Arc::clone(records).run(opened.clone(), stop.clone()));
    let _ = tokio::time::timeout(FIRST_OPENING, opened.cancelled()).await;
}

/// Says where the bridge is more open, or more shut, than somebody may have meant.
pub(crate) fn warn_of_exposure(config: &Config) {
    let required = config.access.auth == http_doors::access::AuthMode::Required;
    if required && config.access.token.is_none() {
        tracing::warn!(
            "--auth required without a token refuses everybody who has no key; set MCPTB_TOKEN, or \
             make keys"
        );
    }
    let apart = config.admin_address.filter(|address| !address.ip().is_loopback());
    if let Some(address) = apart.filter(|_| config.tls.is_none()) {
        tracing::warn!(
            %address,
            "the admin API is reachable over the network without TLS, and admin keys with it; set \
             --tls-cert and --tls-key, or let --admin-addr name an address of this machine"
        );
    }
    if config.address.ip().is_loopback() {
        return;
    }
    if config.access.token.is_none() {
        tracing::warn!(
            address = %config.address,
            "no token is set: unless there are keys, callers of this machine are served and \
             everybody else gets 401; make keys, or set --token-file or MCPTB_TOKEN, to lend it"
        );
    }
    if config.tls.is_none() {
        tracing::warn!(
            address = %config.address,
            "this address is reachable over the network without TLS; set --tls-cert and --tls-key, \
             or put a proxy before it"
        );
    }
}

/// Sees to it that a file that may not grow any more (`ulimit -f`) is an error for whoever writes, as
/// a full disk is. The signal that comes with it would end the process. Within a runtime.
pub(crate) fn outlive_file_limits() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        /// `SIGXFSZ`, of which tokio has no name.
        const FILE_TOO_LARGE: i32 = 25;
        // Once somebody has listened to it, a signal never ends the process again.
        if let Err(error) = signal(SignalKind::from_raw(FILE_TOO_LARGE)) {
            tracing::warn!(
                "a limit on the size of files (ulimit -f) would end the process: {error}"
            );
        }
    }
}

/// Cancels the token when the process is told to end.
#[cfg(unix)]
pub(crate) async fn end_on_signal(signal: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal as on};
    let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
    let [Ok(mut terminate), Ok(mut hang_up), Ok(mut interrupt)] = kinds.map(on) else {
        tracing::warn!("signals cannot be handled; end the bridge by closing its stdin");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
        _ = interrupt.recv() => {}
    }
    signal.cancel();
}

/// Cancels the token when the process is told to end.
#[cfg(not(unix))]
pub(crate) async fn end_on_signal(signal: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        signal.cancel();
    }
}
