//! A bridge with doors of administering, and a way to ask it. Every reply is held to the document.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use gateway::admin::{Admin, NewKey};
use gateway::admission::Admission;
use gateway::fakes::{CountedRandomness, MemoryStore, SetClock};
use gateway::keyring::Keyring;
use gateway::keys::KeyId;
use gateway::keys::token::InstallSecret;
use gateway::policy::Policy;
use gateway::store::{Actor, Loaded, RefusalFilter, Store};
use gateway::{
    Audit, AuditScope, BoxFuture, CallLog, EventSink, Finished, Gateway, GatewayLimits,
    GatewayParts, Order, Received, Redactor, Upstream, UpstreamStatus,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use http_doors::access::{AccessRules, KeyDoor};
use http_doors::admin::{AdminAccess, AdminDoors, AdminPaths, OpenDoors, admin_router};
use http_doors::body::BodyLimits;
use http_doors::listener::Peer;
use http_doors::{DoorRules, DoorSettings, LiveRules, router_with};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use model::{Failure, FailureKind, ModelName, ParamsMode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// 2027-01-15T08:00:00Z.
pub(crate) const NOW: i64 = 1_800_000_000_000;
pub(crate) const HERE: &str = "127.0.0.1:5000";

#[derive(Debug)]
struct Nobody;

impl Upstream for Nobody {
    fn ready(&self) -> Result<(), Failure> {
        Err(Failure::new(FailureKind::NotReady, "Nobody is here."))
    }

    fn statuses(&self) -> Vec<UpstreamStatus> {
        Vec::new()
    }

    fn models(&self) -> Vec<ModelName> {
        Vec::new()
    }

    fn complete<'a>(
        &'a self,
        _: &'a Order,
        _: &'a mut EventSink,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { self.ready() })
    }
}

impl CallLog for Nobody {
    fn wants_bodies(&self) -> bool {
        false
    }

    fn received(&self, _: &Received<'_>) {}

    fn finished(&self, _: &Finished<'_>) {}
}

pub(crate) struct House {
    pub(crate) admin: Admin,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<SetClock>,
    audit: Arc<Audit>,
    public: Router,
    socket: Router,
    document: Value,
    /// Every token so far: none may be in a reply but the one that gave it out.
    tokens: RefCell<Vec<String>>,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    /// The code and the field of an error.
    pub(crate) fn error(&self) -> (u16, &str, Option<&str>) {
        let error = &self.json["error"];
        (self.status.as_u16(), error["code"].as_str().unwrap(), error["param"].as_str())
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.json.pointer(pointer).unwrap_or(&Value::Null).as_str().unwrap()
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(AccessRules::default()).await
    }

    pub(crate) async fn with(access: AccessRules) -> Self {
        let keyring = Keyring::new(InstallSecret::new([7; 32]), Loaded::default());
        let mut house = Self::of(access, keyring);
        house.document = house.socket("GET", "/admin/v1/openapi.json", None).await.json;
        house
    }

    /// One whose keys are not known, and why.
    pub(crate) fn shut(why: &'static str) -> Self {
        Self::of(AccessRules::default(), Keyring::unavailable(why))
    }

    fn of(access: AccessRules, keyring: Keyring) -> Self {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(SetClock::at(NOW)));
        let keyring = Arc::new(keyring);
        let tasks = TaskTracker::new();
        let admin = Admin::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&keyring),
            Arc::clone(&clock) as Arc<dyn gateway::clock::WallClock>,
            Arc::new(CountedRandomness::default()),
            tasks.clone(),
        );
        let door = KeyDoor {
            keyring: Arc::clone(&keyring),
            clock: Arc::clone(&clock) as Arc<dyn gateway::clock::WallClock>,
        };
        let live = LiveRules::new(DoorRules {
            access: AccessRules { keys: Some(door), ..access },
            params: ParamsMode::Default,
            deadline: Duration::from_mins(1),
        });
        let audit = Audit::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&clock) as Arc<dyn gateway::clock::WallClock>,
            AuditScope::Full,
            Redactor::new(&[]).unwrap(),
        );
        let audit = Arc::new(audit);
        let rules = AdminAccess::Keys { rules: live.clone(), audit: Arc::clone(&audit) };
        let counts = Arc::clone(&clock) as Arc<dyn gateway::clock::WallClock>;
        let admission = Arc::new(Admission::new(Policy::default(), counts));
        let doors = |access, paths| AdminDoors {
            admin: admin.clone(),
            admission: Arc::clone(&admission),
            access,
            paths,
            bridge: "mcptb/0.0.0",
            open: OpenDoors::default(),
        };
        let gateway = gateway(tasks, Arc::clone(&audit));
        let public = router_with(gateway, settings(live), Some(doors(rules, AdminPaths::All)));
        let socket = admin_router(doors(AdminAccess::Machine, AdminPaths::Admin));
        let (document, tokens) = (Value::Null, RefCell::default());
        Self { admin, store, clock, audit, public, socket, document, tokens }
    }

    /// Every method of every path, without those of other doors.
    pub(crate) fn routes(&self, of_admins: bool) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let methods = |path: &String, methods: &Value| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        };
        let here = |path: &&String| path.starts_with("/admin") == of_admins;
        paths.keys().filter(here).flat_map(|path| methods(path, &paths[path])).collect()
    }

    pub(crate) fn schema(&self, name: &str) -> &Value {
        &self.document["components"]["schemas"][name]
    }

    /// Makes a key and returns its token.
    pub(crate) async fn key(&self, new: NewKey) -> String {
        let issued = self.admin.key_create(new, Actor::Machine).await.unwrap();
        let token = issued.token.expose().clone();
        self.tokens.borrow_mut().push(token.clone());
        token
    }

    pub(crate) async fn admin_key(&self) -> String {
        let kind = Some(gateway::keys::KeyKind::Admin);
        self.key(NewKey { kind, ..NewKey::default() }).await
    }

    /// Asks through the socket that only the owner can open.
    pub(crate) async fn socket(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.ask(&self.socket, request(method, path, &[], body)).await
    }

    /// Asks at the public doors, with a key.
    pub(crate) async fn call(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let credential = format!("Bearer {token}");
        self.knock(method, path, &[("authorization", &credential)], body).await
    }

    /// Asks at the public doors, with any headers.
    pub(crate) async fn knock(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        self.send(request(method, path, headers, body)).await
    }

    /// Asks at the public doors whatever it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        self.ask(&self.public, request).await
    }

    /// How often keys were counted as refused so far.
    pub(crate) async fn counted(&self) -> Vec<(KeyId, u64)> {
        self.audit.flush_refusals(true);
        let page = self.store.refusals(RefusalFilter::default(), None, 100).await.unwrap();
        let counts = page.refusals.into_iter();
        counts.filter_map(|row| Some((row.group.key?, row.count))).collect()
    }

    async fn ask(&self, router: &Router, request: Request<Body>) -> Reply {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = TowerToHyperService::new(router.clone()).call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json: Value = serde_json::from_slice(&body).unwrap();
        let reply = Reply { status: head.status, headers: head.headers, json };
        if let Some(token) = reply.json["token"].as_str() {
            self.tokens.borrow_mut().push(token.to_owned());
        } else {
            let text = String::from_utf8(body.to_vec()).unwrap();
            for token in &*self.tokens.borrow() {
                let secret = token.rsplit('_').next().unwrap();
                assert!(!text.contains(secret), "{method} {path} shows a secret");
            }
        }
        self.hold(&method, &path, &reply);
        reply
    }

    /// Holds a reply to the document.
    fn hold(&self, method: &str, path: &str, reply: &Reply) {
        let here = path.starts_with("/admin/") || path.starts_with("/v1/keys");
        if self.document.is_null() || !here {
            return;
        }
        let snapshot = self.admin.keyring().snapshot();
        let there = if path.starts_with("/admin") {
            snapshot.has_admin_keys()
        } else {
            snapshot.has_model_keys()
        };
        if there {
            assert_eq!(reply.headers["cache-control"], "no-store", "{method} {path}");
        }
        let fits = |pattern: &str| {
            let same = pattern.split('/').count() == path.split('/').count();
            let mut pairs = pattern.split('/').zip(path.split('/'));
            same && pairs.all(|(pattern, here)| pattern == here || pattern == "{id}")
        };
        let paths = self.document["paths"].as_object().unwrap();
        let known = paths.iter().find(|(pattern, _)| fits(pattern)).map(|(_, known)| known);
        let (status, method) = (reply.status.as_u16().to_string(), method.to_lowercase());
        let told = known.map(|known| &known[&method]["responses"]);
        let schema = match told {
            Some(told) if told[&status].is_object() => {
                told[&status]["content"]["application/json"]["schema"].clone()
            }
            _ => {
                assert!(!reply.status.is_success(), "{method} {path}: {status} is not told");
                json!({ "$ref": "#/components/schemas/Error" })
            }
        };
        let mut schema = schema;
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::options().build(&schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&reply.json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:?} in {}", reply.json);
    }
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Request<Body> {
    let peer = headers.iter().find(|(name, _)| *name == "peer").map_or(HERE, |(_, peer)| peer);
    let peer: SocketAddr = peer.parse().unwrap();
    let mut request = Request::builder().method(method).uri(path).extension(Peer(peer));
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers.iter().filter(|(name, _)| *name != "peer") {
        request = request.header(*name, *value);
    }
    let body = body.map(|body| match body {
        Value::String(raw) => raw,
        body => body.to_string(),
    });
    request.body(body.map_or_else(Body::empty, Body::from)).unwrap()
}

fn gateway(tasks: TaskTracker, audit: Arc<Audit>) -> Gateway {
    Gateway::new(GatewayParts {
        upstream: Arc::new(Nobody),
        sandbox: None,
        log: Arc::new(Nobody),
        audit: Some(audit),
        admission: None,
        limits: GatewayLimits { replay_guard: false },
        tasks,
        stop: CancellationToken::new(),
    })
}

fn settings(rules: LiveRules) -> DoorSettings {
    let second = Duration::from_secs(1);
    DoorSettings {
        rules,
        body: BodyLimits { max_bytes: 1 << 20, idle: second, total: second },
        body_memory: 1 << 20,
        grace: second,
        keep_alive: second,
        anthropic_done: false,
        bridge: "mcptb/0.0.0",
    }
}
