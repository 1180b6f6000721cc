//! The main job without an editor: a simulated MCP host, attached through the real MCP code.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use gateway::Upstream;
use mcp::{Connection, Limits};
use tokio_util::sync::CancellationToken;

use crate::cli::Problem;
use crate::settings::Config;
use crate::telemetry;
use crate::wiring::Parts;

mod client;
mod host;
mod show;

/// Ports that are tried after the wanted one.
const PORTS: u16 = 100;
/// How often, and with which pauses, the demo looks whether its host is ready.
const READY_LOOKS: u32 = 500;
const READY_PAUSE: Duration = Duration::from_millis(20);
/// Bytes between the bridge and the simulated host.
const PIPE: usize = 64 * 1024;

/// How the demo runs.
#[derive(Debug, Args)]
pub(crate) struct DemoSettings {
    /// Exits after the calls.
    #[arg(long)]
    once: bool,
    /// Port to listen on; the next free one if it is taken.
    #[arg(long, default_value_t = 8000)]
    port: u16,
}

/// Runs the demo until Ctrl-C, or until its calls are made.
pub(crate) fn run(settings: &DemoSettings) -> Result<ExitCode, Problem> {
    let config = Config::local(free_port(settings.port)?);
    let (lines, log, _) = telemetry::start(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(error.to_string(), "free some threads or memory"))?;
    let wanted = config.address;
    let serve = config.serve;
    let outcome = runtime.block_on(async {
        let parts = Parts::new(config, Arc::clone(&lines), log)?;
        let (near, far) = tokio::io::duplex(PIPE);
        let ended = CancellationToken::new();
        parts.background.spawn(host::run(far, parts.background.clone(), ended.clone()));
        parts.background.spawn({
            let (source, sink) = tokio::io::split(near);
            let server = parts.mcp_server();
            let ended = ended.clone();
            async move {
                Connection::new(source, sink, Limits::default()).run(&server, ended).await;
            }
        });
        parts.attached.cancelled().await;
        let Some(listener) = parts.http.bind(&parts.stop).await else {
            return Err(Problem::new("the demo was stopped", "start it again"));
        };
        crate::bridge::open_records(&parts.records, &parts.background, &parts.stop).await;
        // Port 0 has become a real one.
        let address = listener.local_addr().unwrap_or(wanted);
        let (http, router) = (Arc::clone(&parts.http), parts.router.clone());
        let (calls, stop) = (parts.calls.clone(), parts.stop.clone());
        parts.calls.spawn(async move {
            http.serve(listener, None, router, serve, calls, stop).await;
        });

        let signal = CancellationToken::new();
        parts.background.spawn(crate::bridge::end_on_signal(signal.clone()));
        let show = async {
            wait_until_ready(&parts).await;
            let shown = show::four_calls(address).await;
            // The log's lines belong before what comes next.
            lines.flush(Duration::from_millis(300));
            if shown && !settings.once {
                show::how_to_go_on(address);
                std::future::pending::<()>().await;
            }
            shown
        };
        let shown = tokio::select! {
            shown = show => shown,
            () = signal.cancelled() => {
                show::goodbye();
                true
            }
        };
        parts.stop.cancel();
        parts.calls.close();
        let _ = tokio::time::timeout(Duration::from_secs(1), parts.calls.wait()).await;
        ended.cancel();
        Ok(if shown { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    lines.flush(Duration::from_millis(300));
    runtime.shutdown_background();
    outcome
}

/// Waits until the simulated host has answered the warm-up, as a person would watch `/readyz`.
async fn wait_until_ready(parts: &Parts) {
    for _ in 0..READY_LOOKS {
        if parts.pool.ready().is_ok() {
            return;
        }
        tokio::time::sleep(READY_PAUSE).await;
    }
}

/// The wanted port or the next free one.
fn free_port(wanted: u16) -> Result<u16, Problem> {
    (wanted..=wanted.saturating_add(PORTS))
        .find(|port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            std::net::TcpListener::bind(address).is_ok()
        })
        .ok_or_else(|| {
            Problem::new(
                format!("the ports from {wanted} on are all taken"),
                "name another one with --port",
            )
        })
}
