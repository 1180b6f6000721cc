//! A gateway with keys, limits and a scripted upstream, behind the real routes.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use gateway::admission::Admission;
use gateway::clock::WallClock;
use gateway::keyring::Keyring;
use gateway::keys::token::{Entropy, InstallSecret, mint};
use gateway::keys::{Bounds, KeyKind, Tenant, UnixMillis, VirtualKey};
use gateway::policy::Policy;
use gateway::store::Loaded;
use gateway::{
    BoxFuture, CallLog, EventSink, Finished, Gateway, GatewayLimits, GatewayParts, Order, Received,
    Upstream, UpstreamStatus,
};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use http_doors::access::{AccessRules, AuthMode, KeyDoor};
use http_doors::body::BodyLimits;
use http_doors::listener::Peer;
use http_doors::{DoorRules, DoorSettings, LiveRules, router};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use model::{
    BlockKind, CompletionEvent, Failure, FailureKind, LossSet, ModelName, ParamsMode, Secret,
    StopReason, Usage,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// 2026-11-25T12:00:00Z.
pub(crate) const NOON: UnixMillis = 1_795_608_000_000;
/// The model whose answers never come.
pub(crate) const SLOW: &str = "slow";

#[derive(Debug)]
struct Noon;

impl WallClock for Noon {
    fn now(&self) -> UnixMillis {
        NOON
    }
}

/// Answers `ok` with 10 tokens read and 5 written.
#[derive(Debug)]
pub(crate) struct Scripted {
    name: &'static str,
    pub(crate) ready: AtomicBool,
    pub(crate) asked: AtomicUsize,
}

impl Scripted {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, ready: AtomicBool::new(true), asked: AtomicUsize::new(0) })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Upstream for Scripted {
    fn ready(&self) -> Result<(), Failure> {
        if self.ready.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Failure::new(FailureKind::NotReady, "No MCP host is attached."))
    }

    fn statuses(&self) -> Vec<UpstreamStatus> {
        let ready = self.ready.load(Ordering::SeqCst);
        let status = |name: &str, ready, waiting| UpstreamStatus {
            name: name.to_owned(),
            ready,
            state: "ready",
            reason: String::new(),
            in_flight: 0,
            concurrency: 1,
            waiting,
        };
        vec![status("asleep", false, 0), status("busy", ready, 3), status(self.name, ready, 0)]
    }

    fn models(&self) -> Vec<ModelName> {
        vec![ModelName::new(format!("{}/large", self.name)), ModelName::new("small")]
    }

    fn complete<'a>(
        &'a self,
        order: &'a Order,
        sink: &'a mut EventSink,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            sink.asked();
            if order.request.model.as_str() == SLOW {
                std::future::pending::<()>().await;
            }
            let usage = Usage { input: 10, output: 5, ..Usage::default() };
            let model = ModelName::new("small");
            let events = vec![
                CompletionEvent::Started { model, losses: LossSet::EMPTY },
                CompletionEvent::BlockStarted { at: 0, kind: BlockKind::Text },
                CompletionEvent::BlockDelta { at: 0, delta: "ok".to_owned() },
                CompletionEvent::BlockStopped { at: 0 },
                CompletionEvent::Usage(usage),
                CompletionEvent::Finished { reason: StopReason::EndTurn, stop_sequence: None },
            ];
            // A door that has gone is noticed by the gateway.
            let _ = sink.send(events).await;
            Ok(())
        })
    }
}

/// Counts what is recorded.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<(usize, usize)>);

impl Lines {
    /// Calls that came in, and calls that ended.
    pub(crate) fn counts(&self) -> (usize, usize) {
        *self.0.lock().unwrap()
    }
}

impl CallLog for Lines {
    fn wants_bodies(&self) -> bool {
        false
    }

    fn received(&self, _: &Received<'_>) {
        self.0.lock().unwrap().0 += 1;
    }

    fn finished(&self, _: &Finished<'_>) {
        self.0.lock().unwrap().1 += 1;
    }
}

fn install() -> InstallSecret {
    InstallSecret::new([7; 32])
}

/// A key and its token, the same for the same seed.
pub(crate) fn key(kind: KeyKind, seed: u8, bounds: Bounds) -> (VirtualKey, String) {
    let entropy = Entropy { secret: Secret::new([seed; 32]), id: [seed; 12] };
    let minted = mint(kind, &entropy, &install());
    let key = VirtualKey {
        name: format!("key {seed}"),
        bounds,
        ..VirtualKey::new(kind, "team".parse().unwrap(), minted.id, minted.digest, 0)
    };
    (key, minted.token.expose().clone())
}

/// What one house is made of.
pub(crate) struct Plan {
    pub(crate) keys: Vec<VirtualKey>,
    pub(crate) team: Bounds,
    pub(crate) policy: Policy,
    pub(crate) auth: AuthMode,
    pub(crate) params: ParamsMode,
    pub(crate) counted: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            team: Bounds::default(),
            policy: Policy::default(),
            auth: AuthMode::Auto,
            params: ParamsMode::Default,
            counted: true,
        }
    }
}

/// The whole, as a caller sees it.
pub(crate) struct House {
    doors: TowerToHyperService<axum::Router>,
    pub(crate) host: Arc<Scripted>,
    pub(crate) echo: Arc<Scripted>,
    pub(crate) lines: Arc<Lines>,
    pub(crate) tasks: TaskTracker,
}

/// A reply, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl House {
    pub(crate) fn new(plan: Plan) -> Self {
        let Plan { keys, team, policy, auth, params, counted } = plan;
        let team = Tenant { bounds: team, ..Tenant::new("team".parse().unwrap(), 0) };
        let loaded = Loaded { keys, tenants: vec![team], ..Loaded::default() };
        let keyring = Arc::new(Keyring::new(install(), loaded));
        let (host, echo) = (Scripted::new("editor"), Scripted::new("echo"));
        let (lines, tasks) = (Arc::new(Lines::default()), TaskTracker::new());
        let gateway = Gateway::new(GatewayParts {
            upstream: Arc::clone(&host) as Arc<dyn Upstream>,
            sandbox: Some(Arc::clone(&echo) as Arc<dyn Upstream>),
            log: Arc::clone(&lines) as Arc<dyn CallLog>,
            audit: None,
            admission: counted.then(|| Arc::new(Admission::new(policy, Arc::new(Noon)))),
            limits: GatewayLimits { replay_guard: false },
            tasks: tasks.clone(),
            stop: CancellationToken::new(),
        });
        let access = AccessRules {
            keys: Some(KeyDoor { keyring, clock: Arc::new(Noon) }),
            auth,
            ..AccessRules::default()
        };
        let long = Duration::from_mins(10);
        let settings = DoorSettings {
            rules: LiveRules::new(DoorRules { access, params, deadline: long }),
            body: BodyLimits { max_bytes: 64 * 1024, idle: long, total: long },
            body_memory: 1024 * 1024,
            grace: Duration::from_secs(1),
            keep_alive: long,
            anthropic_done: false,
            bridge: "mcptb/test",
        };
        let doors = TowerToHyperService::new(router(gateway, settings));
        Self { doors, host, echo, lines, tasks }
    }

    /// One request from this machine.
    pub(crate) async fn send(
        &self,
        way: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: String,
    ) -> Reply {
        let (method, path) = way.split_once(' ').unwrap();
        let peer = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 4711);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .extension(Peer(peer));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body)).unwrap();
        let (head, body) = self.doors.call(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Reply { status: head.status.as_u16(), headers: head.headers, json }
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Reply {
        self.send(&format!("GET {path}"), token, &[], String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Reply {
        self.send(&format!("POST {path}"), token, &[], body.to_string()).await
    }
}
