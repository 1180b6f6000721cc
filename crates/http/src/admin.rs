//! The admin API: keys, tenants and the record as JSON under `/admin/v1`; and `/v1/keys`, where
//! holders of keys that may make child keys do so.
//!
//! What may be done is decided in [`gateway::admin`]; here it is found out who asks, read and
//! written. One table of routes (`routes`) is what is served and what the OpenAPI document says.
//! Where no admin key exists, the paths are as unknown as any other, so that a bridge which nobody
//! administers shows nothing of it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use gateway::admin::{Admin, AdminError};
use gateway::admission::Admission;
use gateway::keys::{Endpoint, KeyId};
use gateway::store::{Actor, StoreError};
use gateway::{Audit, Refusal};
use http::StatusCode;
use http::header::{ALLOW, CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use model::{CallId, Dialect, Failure};

use crate::body::{BodyBudget, BodyLimits, read_body};
use crate::doors::{Arrival, Doors, dialect_of, peer};
use crate::headers;
use crate::rules::LiveRules;

mod bounds;
mod calls;
mod children;
mod enter;
mod keys;
mod open;
mod openapi;
mod query;
mod refusals;
mod refused;
mod routes;
mod status;
mod tenants;
mod usage;
mod wire;

pub use open::OpenDoors;
use query::Query;
use refused::Refused;
use routes::{Door, Operation, ROUTES, Route};

/// One body: a key with every list full takes a fraction of it.
const BODY: BodyLimits = BodyLimits {
    max_bytes: 1 << 20,
    idle: Duration::from_secs(10),
    total: Duration::from_secs(30),
};
/// Bytes of all bodies in flight.
const BODY_MEMORY: usize = 16 << 20;
/// Whatever below the root of administering is in no table.
const ELSEWHERE: &str = "/admin/v1/{*path}";

/// The doors of administering.
#[derive(Clone, Debug)]
pub struct AdminDoors {
    /// What administers.
    pub admin: Admin,
    /// What counts the uses of keys.
    pub admission: Arc<Admission>,
    /// Who may come in.
    pub access: AdminAccess,
    /// Which paths there are.
    pub paths: AdminPaths,
    /// The value of `X-MCP-Bridge`: `mcptb/<version>`.
    pub bridge: &'static str,
    /// Where doors are open.
    pub open: OpenDoors,
}

/// Who may administer.
#[derive(Clone, Debug)]
pub enum AdminAccess {
    /// Whoever can reach this door: it is a socket that only its owner can open.
    Machine,
    /// Holders of admin keys, after the rules of Host and Origin.
    Keys {
        /// These rules.
        rules: LiveRules,
        /// Where it is written down who was refused: somebody may be guessing keys.
        audit: Arc<Audit>,
    },
}

/// Which paths a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminPaths {
    /// `/admin/v1` only: a listener of its own, or the control socket.
    Admin,
    /// `/v1/keys` only: the public doors, where `/admin/v1` has a listener of its own.
    Children,
    /// Both.
    All,
}

impl AdminPaths {
    fn has(self, door: Door) -> bool {
        match door {
            Door::Admin => matches!(self, Self::Admin | Self::All),
            Door::Children => matches!(self, Self::Children | Self::All),
        }
    }
}

/// The routes of administering, for a listener of their own.
pub fn admin_router(doors: AdminDoors) -> Router {
    let bridge = doors.bridge;
    let nothing = move |_: Request| async move {
        sign(Refused::no_route().response(), CallId::generate(), bridge)
    };
    admin_routes(doors, None).fallback(nothing)
}

/// The same, beside the public doors: what is not there is told by them.
pub(crate) fn admin_routes(doors: AdminDoors, public: Option<Doors>) -> Router {
    let budget = BodyBudget::new(BODY_MEMORY);
    let paths = doors.paths;
    let rooms = Arc::new(Rooms { doors, public, budget });
    let mut served: Vec<(Door, &str)> = Vec::new();
    // The routes of one path stand side by side in the table.
    for route in ROUTES.iter().filter(|route| paths.has(route.door)) {
        if served.last().is_none_or(|(_, path)| *path != route.path) {
            served.push((route.door, route.path));
        }
    }
    if paths.has(Door::Admin) {
        served.push((Door::Admin, ELSEWHERE));
    }
    let mut router = Router::new();
    for (door, path) in served {
        let rooms = Arc::clone(&rooms);
        let answer = move |request: Request| {
            let rooms = Arc::clone(&rooms);
            async move { rooms.answer(door, path, request).await }
        };
        router = router.route(path, any(answer));
    }
    router
}

struct Rooms {
    doors: AdminDoors,
    public: Option<Doors>,
    budget: BodyBudget,
}

/// A request of somebody who may make it.
struct Asked<'a> {
    admin: &'a Admin,
    admission: &'a Admission,
    bridge: &'static str,
    open: &'a OpenDoors,
    by: Actor,
    /// What stands for `{id}` in the path.
    id: &'a str,
    query: Query,
    body: Bytes,
}

/// A reply: its status and its JSON.
struct Answer(StatusCode, Vec<u8>);

impl Answer {
    fn new(status: StatusCode, body: &impl serde::Serialize) -> Result<Self, Refused> {
        let body = serde_json::to_vec(body).map_err(|_| Refused::internal())?;
        Ok(Self(status, body))
    }

    fn ok(body: &impl serde::Serialize) -> Result<Self, Refused> {
        Self::new(StatusCode::OK, body)
    }
}

impl Rooms {
    async fn answer(&self, door: Door, path: &'static str, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let arrival = Arrival::now(dialect_of(&head.uri, &head.headers), Endpoint::Admin);
        if !self.exists(door) {
            return self.nothing_here(&arrival, &head);
        }
        let unread = headers::announce_body(&head.headers);
        let mut bytes_in = 0;
        let taken = self.take(path, door, &head, body, &mut bytes_in).await;
        match taken.map_err(|refused| refused.told_at(door)) {
            Ok(Answer(status, body)) => self.sign(headers::json(status, body), arrival.id),
            Err(refused) => {
                self.note(&arrival, &head, bytes_in, &refused.for_record(), refused.status());
                let mut response = refused.response();
                if refused.status() == StatusCode::UNAUTHORIZED {
                    let challenge = HeaderValue::from_static("Bearer");
                    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                }
                if let Refused::Method(methods) = &refused
                    && let Ok(methods) = HeaderValue::from_str(methods)
                {
                    response.headers_mut().insert(ALLOW, methods);
                }
                if unread {
                    headers::close(response.headers_mut());
                }
                self.sign(response, arrival.id)
            }
        }
    }

    /// Answers where there is no such door. Whoever tries it may be looking for one.
    fn nothing_here(&self, arrival: &Arrival, head: &http::request::Parts) -> Response {
        let (failure, response) = if let Some(doors) = &self.public {
            let failure = doors.nothing_here(head);
            let response = doors.turn_away_as(arrival.id, head, arrival.dialect, &failure);
            (failure, response)
        } else {
            let refused = Refused::no_route();
            (refused.for_record(), self.sign(refused.response(), arrival.id))
        };
        self.note(arrival, head, 0, &failure, response.status());
        response
    }

    /// Records that somebody was refused. Being on this machine is no right here, so whoever shows
    /// neither a key nor the token is a stranger.
    fn note(
        &self,
        arrival: &Arrival,
        head: &http::request::Parts,
        bytes_in: usize,
        failure: &Failure,
        status: StatusCode,
    ) {
        let AdminAccess::Keys { rules, audit } = &self.doors.access else { return };
        let caller = rules.now().refused(head);
        audit.refused(&Refusal {
            at: arrival.knock(Some(&caller)),
            bytes_in,
            failure,
            status: status.as_u16(),
            duration: arrival.at.elapsed(),
        });
    }

    /// Whether a door is there at all.
    fn exists(&self, door: Door) -> bool {
        let snapshot = self.doors.admin.keyring().snapshot();
        if snapshot.install().is_err() {
            // Not known yet: whoever asks is told to come again.
            return true;
        }
        match (door, &self.doors.access) {
            (Door::Admin, AdminAccess::Machine) => true,
            (Door::Admin, AdminAccess::Keys { .. }) => snapshot.has_admin_keys(),
            (Door::Children, AdminAccess::Machine) => false,
            (Door::Children, AdminAccess::Keys { .. }) => snapshot.has_model_keys(),
        }
    }

    async fn take(
        &self,
        path: &'static str,
        door: Door,
        head: &http::request::Parts,
        body: Body,
        bytes_in: &mut usize,
    ) -> Result<Answer, Refused> {
        if let Err(why) = self.doors.admin.keyring().snapshot().install() {
            let why = match &self.doors.access {
                AdminAccess::Machine => Arc::clone(why),
                // Whoever asks is not known yet, and the reason may name files.
                AdminAccess::Keys { rules, .. } => {
                    rules.now().access.locate(peer(head), head)?;
                    "the keys are not loaded".into()
                }
            };
            return Err(AdminError::Store(StoreError::Down(why)).into());
        }
        let by = self.enter(door, head)?;
        if path == ELSEWHERE {
            return Err(Refused::no_route());
        }
        let here = || ROUTES.iter().filter(move |route| route.path == path);
        let Some(route) = here().find(|route| route.method.as_str() == head.method) else {
            let methods: Vec<&str> = here().map(|route| route.method.as_str()).collect();
            return Err(Refused::Method(methods.join(", ")));
        };
        let query = Query::read(head.uri.query().unwrap_or_default(), route)?;
        let arrived = if route.method.takes_body() {
            Some(read_body(&head.headers, body, &BODY, &self.budget).await?)
        } else {
            None
        };
        *bytes_in = arrived.as_ref().map_or(0, |arrived| arrived.bytes.len());
        let asked = Asked {
            admin: &self.doors.admin,
            admission: &self.doors.admission,
            bridge: self.doors.bridge,
            open: &self.doors.open,
            by,
            id: id_in(path, head.uri.path()),
            query,
            body: arrived.as_ref().map(|arrived| arrived.bytes.clone()).unwrap_or_default(),
        };
        serve(route, asked).await
    }

    fn sign(&self, response: Response, id: CallId) -> Response {
        sign(response, id, self.doors.bridge)
    }
}

/// Adds what every reply carries. Nothing of this may lie in a cache.
fn sign(mut response: Response, id: CallId, bridge: &'static str) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(headers::BRIDGE, HeaderValue::from_static(bridge));
    headers::identify(headers, id, Dialect::OpenAiChat);
    response
}

/// What stands in a path where its pattern says `{id}`. No id of ours needs an escape.
fn id_in<'a>(pattern: &str, path: &'a str) -> &'a str {
    let mut pairs = pattern.split('/').zip(path.split('/'));
    pairs.find(|(pattern, _)| pattern.starts_with('{')).map_or("", |(_, id)| id)
}

async fn serve(route: &Route, asked: Asked<'_>) -> Result<Answer, Refused> {
    match route.operation {
        Operation::KeyList => keys::list(&asked),
        Operation::KeyCreate => keys::create(&asked).await,
        Operation::KeyShow => keys::show(&asked),
        Operation::KeyEdit => keys::edit(&asked).await,
        Operation::KeyDelete => keys::delete(&asked).await,
        Operation::KeyRotate => keys::rotate(&asked).await,
        Operation::KeyRevoke => keys::revoke(&asked).await,
        Operation::TenantList => tenants::list(&asked),
        Operation::TenantCreate => tenants::create(&asked).await,
        Operation::TenantShow => tenants::show(&asked),
        Operation::TenantEdit => tenants::edit(&asked).await,
        Operation::TenantDelete => tenants::delete(&asked).await,
        Operation::TenantRevoke => tenants::revoke(&asked).await,
        Operation::CallList => calls::list(&asked).await,
        Operation::CallShow => calls::show(&asked).await,
        Operation::EndList => calls::ended(&asked).await,
        Operation::Usage => usage::usage(&asked).await,
        Operation::RefusalList => refusals::list(&asked).await,
        Operation::Verify => status::verify(&asked).await,
        Operation::VerifyProgress => status::progress(&asked),
        Operation::Status => status::status(&asked),
        Operation::Document => openapi::document(),
        Operation::ChildList => children::list(&asked),
        Operation::ChildMint => children::mint(&asked).await,
        Operation::ChildShow => children::show(&asked),
        Operation::ChildRevoke => children::revoke(&asked).await,
    }
}

impl Asked<'_> {
    /// The key that the path names. What cannot be the id of a key is none.
    fn key(&self) -> Result<KeyId, Refused> {
        self.id.parse().map_err(|_| Refused::not_found("key"))
    }
}
