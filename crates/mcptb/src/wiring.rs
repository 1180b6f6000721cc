//! Puts the rooms together. Decides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use gateway::clock::SystemClock;
use gateway::{Gateway, GatewayLimits, GatewayParts};
use http_doors::access::KeyDoor;
use http_doors::admin::{AdminAccess, AdminDoors, AdminPaths, admin_router};
use http_doors::{DoorRules, DoorSettings, LiveRules};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use upstreams::echo::Echo;
use upstreams::host::{HostPool, HostService};

use crate::cli::Problem;
use crate::listen::HttpSide;
use crate::records::Records;
use crate::settings::Config;
use crate::telemetry::{CallLines, LineQueue};

/// The name and version that the bridge gives itself.
pub(crate) const NAME: &str = env!("CARGO_PKG_NAME");
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const BRIDGE: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// How long the status of a stream is held back.
const GRACE: Duration = Duration::from_secs(3);
/// The pause after which a silent stream gets a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A bridge that is put together and not yet running.
pub(crate) struct Parts {
    pub(crate) pool: Arc<HostPool>,
    pub(crate) http: Arc<HttpSide>,
    pub(crate) router: Router,
    /// The admin API, where it has a listener of its own.
    pub(crate) admin: Option<(SocketAddr, Router)>,
    /// The admin API for whoever can open the control socket.
    pub(crate) control: Router,
    /// What may change while the doors are open.
    pub(crate) rules: LiveRules,
    /// Keys, limits and the record of calls.
    pub(crate) records: Arc<Records>,
    /// Calls and connections: waited for at the end.
    pub(crate) calls: TaskTracker,
    /// Warm-ups, and watchers of cancelled samplings: they end with their host, and what they settle
    /// is waited for.
    pub(crate) samplings: TaskTracker,
    /// Tools and whatever watches something: not waited for.
    pub(crate) background: TaskTracker,
    /// Cancelled at the first `initialize`.
    pub(crate) attached: CancellationToken,
    /// Cancelled at the end: calls fail, doors close.
    pub(crate) stop: CancellationToken,
}

impl Parts {
    /// Puts a bridge together.
    pub(crate) fn new(
        mut config: Config,
        lines: Arc<LineQueue>,
        log: Arc<CallLines>,
    ) -> Result<Self, Problem> {
        let records = Records::new(&config)?;
        config.access.keys =
            Some(KeyDoor { keyring: Arc::clone(&records.keyring), clock: Arc::new(SystemClock) });
        log.redact_as(Arc::clone(&records.audit));
        let calls = TaskTracker::new();
        let (samplings, background) = (TaskTracker::new(), TaskTracker::new());
        let stop = CancellationToken::new();
        let http = HttpSide::new(config.address, config.tls.is_some(), lines);
        let rules = LiveRules::new(DoorRules {
            access: config.access,
            params: config.params,
            deadline: config.deadline.within(config.host.max_wait),
        });
        let pool = HostPool::new(config.host, samplings.clone());
        let gateway = Gateway::new(GatewayParts {
            upstream: Arc::clone(&pool) as Arc<dyn gateway::Upstream>,
            sandbox: Some(Arc::new(Echo::new(calls.clone()))),
            log,
            audit: Some(Arc::clone(&records.audit)),
            admission: Some(Arc::clone(&records.admission)),
            limits: GatewayLimits { replay_guard: config.replay_guard },
            tasks: calls.clone(),
            stop: stop.clone(),
        });
        let by_keys =
            || AdminAccess::Keys { rules: rules.clone(), audit: Arc::clone(&records.audit) };
        let doors = |access, paths| AdminDoors {
            admin: records.admin.clone(),
            admission: Arc::clone(&records.admission),
            access,
            paths,
            bridge: BRIDGE,
            open: http.open_doors(),
        };
        if config.admin_address.is_some() {
            http.open_doors().set_admin(None);
        }
        let apart = config
            .admin_address
            .map(|address| (address, admin_router(doors(by_keys(), AdminPaths::Admin))));
        let beside = if apart.is_some() { AdminPaths::Children } else { AdminPaths::All };
        let router = http_doors::router_with(
            gateway,
            DoorSettings {
                rules: rules.clone(),
                body: config.body,
                body_memory: config.body_memory,
                grace: GRACE,
                keep_alive: KEEP_ALIVE,
                anthropic_done: config.anthropic_done,
                bridge: BRIDGE,
            },
            Some(doors(by_keys(), beside)),
        );
        let control = admin_router(doors(AdminAccess::Machine, AdminPaths::Admin));
        let attached = CancellationToken::new();
        Ok(Self {
            pool,
            http,
            router,
            admin: apart,
            control,
            rules,
            records,
            calls,
            samplings,
            background,
            attached,
            stop,
        })
    }

    /// The MCP server for one host connection.
    pub(crate) fn mcp_server(&self) -> mcp::Server<HostService> {
        let service = HostService::new(
            Arc::clone(&self.pool),
            Arc::clone(&self.http) as Arc<dyn upstreams::host::BridgeView>,
            self.background.clone(),
            self.attached.clone(),
        );
        mcp::Server::new(service, NAME, VERSION)
    }
}
