//! The routes, and what every request passes before it reaches one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dialects::{anthropic_messages, openai_chat, openai_responses};
use gateway::keys::Endpoint;
use gateway::{Caller, Gateway, Knock, Refusal};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, request};
use model::{CallId, Dialect, Failure, FailureKind};

use crate::body::{BodyBudget, BodyLimits};
use crate::kept::KeptResponses;
use crate::listener::Peer;
use crate::paths::PUBLIC_PATHS;
use crate::rules::{DoorRules, LiveRules};
use crate::{access, headers};

/// How the doors behave.
#[derive(Debug)]
pub struct DoorSettings {
    /// Who may come in, and what else may change while the doors are open.
    pub rules: LiveRules,
    /// Bounds of one body.
    pub body: BodyLimits,
    /// Bytes of all bodies in flight.
    pub body_memory: usize,
    /// How long the status of a stream is held back, so that early failures keep theirs.
    pub grace: Duration,
    /// The pause after which a silent stream gets a sign of life.
    pub keep_alive: Duration,
    /// The prototype's `data: [DONE]` after `message_stop`. Breaks clients today.
    pub anthropic_done: bool,
    /// The value of `X-MCP-Bridge`: `mcptb/<version>`.
    pub bridge: &'static str,
}

/// What every handler sees. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Doors {
    shared: Arc<Shared>,
}

struct Shared {
    gateway: Gateway,
    settings: DoorSettings,
    budget: BodyBudget,
    kept: KeptResponses,
    started: u64,
}

/// One request on its way in.
pub(crate) struct Arrival {
    pub(crate) id: CallId,
    pub(crate) dialect: Dialect,
    pub(crate) endpoint: Endpoint,
    pub(crate) at: Instant,
    /// Seconds since the Unix epoch.
    pub(crate) created: u64,
}

/// Why a request gets no answer of a model.
pub(crate) struct Refused {
    pub(crate) failure: Failure,
    /// Whether the gateway has recorded it already.
    pub(crate) recorded: bool,
    pub(crate) caller: Option<Arc<Caller>>,
    pub(crate) bytes_in: usize,
    /// Whether the body was left unread, wholly or in part.
    pub(crate) unread: bool,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, recorded: false, caller: None, bytes_in: 0, unread: false }
    }
}

/// The routes before a gateway.
pub fn router(gateway: Gateway, settings: DoorSettings) -> Router {
    router_with(gateway, settings, None)
}

/// The same, with doors of administering beside them.
pub fn router_with(
    gateway: Gateway,
    settings: DoorSettings,
    admin: Option<crate::admin::AdminDoors>,
) -> Router {
    let budget = BodyBudget::new(settings.body_memory);
    let started = unix_seconds();
    let kept = KeptResponses::default();
    let doors = Doors { shared: Arc::new(Shared { gateway, settings, budget, kept, started }) };
    let mut routes = Router::new();
    for public in &PUBLIC_PATHS {
        routes = routes.route(public.path, (public.opens)());
        if public.versioned {
            routes = routes.route(&format!("/v1{}", public.path), (public.opens)());
        }
    }
    let routes = routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(doors.clone());
    match admin {
        Some(admin) => routes.merge(crate::admin::admin_routes(admin, Some(doors))),
        None => routes,
    }
}

impl Doors {
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.shared.gateway
    }

    pub(crate) fn settings(&self) -> &DoorSettings {
        &self.shared.settings
    }

    pub(crate) fn budget(&self) -> &BodyBudget {
        &self.shared.budget
    }

    pub(crate) fn kept(&self) -> &KeptResponses {
        &self.shared.kept
    }

    /// When the doors were opened, seconds since the Unix epoch.
    pub(crate) fn started(&self) -> u64 {
        self.shared.started
    }

    /// The rules for one request, read once: whoever needs more of them than [`admit`](Self::admit)
    /// asks these.
    pub(crate) fn rules(&self) -> Arc<DoorRules> {
        self.shared.settings.rules.now()
    }

    /// Finds out who asks, or refuses, where nothing else of the rules is needed.
    pub(crate) fn admit(&self, head: &request::Parts) -> Result<Caller, Failure> {
        self.rules().admit(head)
    }

    /// What is told of a path that does not exist: to strangers not even that.
    pub(crate) fn nothing_here(&self, head: &request::Parts) -> Failure {
        match self.admit(head) {
            Ok(_) => Failure::new(
                FailureKind::NoSuchRoute,
                format!("There is no {} {} here.", head.method, printable(head.uri.path())),
            ),
            Err(failure) => failure,
        }
    }

    /// Adds what every reply carries.
    pub(crate) fn sign(&self, mut response: Response) -> Response {
        let bridge = HeaderValue::from_static(self.shared.settings.bridge);
        response.headers_mut().insert(headers::BRIDGE, bridge);
        response
    }

    /// As [`sign`](Self::sign) for routes that are no calls and leave no record. Keys that have ended
    /// and were shown beside what opened them are counted.
    pub(crate) fn answer(&self, head: &request::Parts, response: Response) -> Response {
        self.count_ended(head);
        self.sign(response)
    }

    /// Counts the keys that were shown and have ended; says whether there were any.
    ///
    /// A door that waits for a body asks this when it has let somebody in, and counts nobody
    /// afterwards: what ends while the body comes was good when it was shown.
    pub(crate) fn count_ended(&self, head: &request::Parts) -> bool {
        let Some(audit) = self.gateway().audit() else { return false };
        let ended = self.rules().ended(head);
        for holder in &ended {
            audit.shown_in_vain(holder);
        }
        !ended.is_empty()
    }

    /// Turns a refusal into the reply of the caller's dialect, and records it.
    pub(crate) fn refuse(&self, arrival: &Arrival, refused: &Refused) -> Response {
        let failure = &refused.failure;
        let (status, body) = write_failure(arrival.dialect, failure, arrival.id);
        if !refused.recorded {
            self.shared.gateway.refused(&Refusal {
                at: arrival.knock(refused.caller.as_deref()),
                bytes_in: refused.bytes_in,
                failure,
                status,
                duration: arrival.at.elapsed(),
            });
        }
        let mut response =
            self.failure_response(arrival.id, arrival.dialect, failure, status, body);
        if refused.unread {
            headers::close(response.headers_mut());
        }
        response
    }

    /// As [`refuse`](Self::refuse) for routes that are no calls and leave no record. Strangers are
    /// counted, and keys that have ended.
    pub(crate) fn turn_away(
        &self,
        head: &request::Parts,
        dialect: Dialect,
        failure: &Failure,
    ) -> Response {
        // Whoever shows the secret of a key is no stranger, also not with a guess beside it.
        if !self.count_ended(head)
            && failure.kind == FailureKind::Unauthenticated
            && let Some(audit) = self.gateway().audit()
        {
            audit.refused_stranger(&self.rules().refused(head), failure);
        }
        self.turn_away_as(CallId::generate(), head, dialect, failure)
    }

    /// The same of whoever was let in and is counted already.
    pub(crate) fn turn_away_counted(
        &self,
        head: &request::Parts,
        dialect: Dialect,
        failure: &Failure,
    ) -> Response {
        self.turn_away_as(CallId::generate(), head, dialect, failure)
    }

    /// The same under a name that is given already. Counts nobody.
    pub(crate) fn turn_away_as(
        &self,
        id: CallId,
        head: &request::Parts,
        dialect: Dialect,
        failure: &Failure,
    ) -> Response {
        let (status, body) = write_failure(dialect, failure, id);
        let mut response = self.failure_response(id, dialect, failure, status, body);
        if headers::announce_body(&head.headers) {
            headers::close(response.headers_mut());
        }
        response
    }

    fn failure_response(
        &self,
        id: CallId,
        dialect: Dialect,
        failure: &Failure,
        status: u16,
        body: Vec<u8>,
    ) -> Response {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = headers::json(status, body);
        headers::identify(response.headers_mut(), id, dialect);
        headers::advise_retry(response.headers_mut(), failure);
        if failure.kind == FailureKind::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        self.sign(response)
    }
}

impl DoorRules {
    /// Finds out who asks, or refuses.
    pub(crate) fn admit(&self, head: &request::Parts) -> Result<Caller, Failure> {
        self.access.admit(peer(head), head)
    }

    /// What is known of a caller who is not let in.
    pub(crate) fn refused(&self, head: &request::Parts) -> Caller {
        self.access.refused(peer(head), head)
    }

    /// Those who hold the keys that were shown and have ended.
    pub(crate) fn ended(&self, head: &request::Parts) -> Vec<Caller> {
        self.access.ended(peer(head), head).collect()
    }

    /// As [`admit`](Self::admit), for a door that not every key opens. Gives the bounds of the body
    /// too: those of all, and of the key.
    pub(crate) fn admit_at(
        &self,
        head: &request::Parts,
        endpoint: Endpoint,
        mut limits: BodyLimits,
    ) -> Result<(Caller, BodyLimits), Failure> {
        let caller = self.admit(head)?;
        if let Some(key) = &caller.key {
            access::check_door(key, endpoint, headers::announced_bytes(&head.headers))?;
            if let Some(bound) = access::max_body(key) {
                let bound = usize::try_from(bound).unwrap_or(usize::MAX);
                limits.max_bytes = limits.max_bytes.min(bound);
            }
        }
        Ok((caller, limits))
    }
}

impl Arrival {
    /// Names a call that has just come in.
    pub(crate) fn now(dialect: Dialect, endpoint: Endpoint) -> Self {
        let (id, at, created) = (CallId::generate(), Instant::now(), unix_seconds());
        Self { id, dialect, endpoint, at, created }
    }

    /// The same for the record.
    pub(crate) const fn knock<'a>(&self, caller: Option<&'a Caller>) -> Knock<'a> {
        Knock { id: self.id, dialect: self.dialect, endpoint: self.endpoint, caller }
    }
}

/// The address at the other end of the socket. Without the listener's extension the peer is a
/// stranger, never loopback.
pub(crate) fn peer(head: &request::Parts) -> IpAddr {
    head.extensions
        .get::<Peer>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| address.ip())
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The failure in the words of a dialect.
pub(crate) fn write_failure(dialect: Dialect, failure: &Failure, id: CallId) -> (u16, Vec<u8>) {
    match dialect {
        Dialect::OpenAiChat => openai_chat::write_failure(failure),
        Dialect::OpenAiResponses => openai_responses::write_failure(failure),
        Dialect::AnthropicMessages => anthropic_messages::write_failure(failure, id),
    }
}

/// The dialect of a path that both vendors share: Anthropic's clients always name a version.
pub(crate) fn dialect_of(uri: &Uri, headers: &HeaderMap) -> Dialect {
    let path = uri.path();
    let path = path.strip_prefix("/v1").unwrap_or(path);
    if path == "/messages"
        || path.starts_with("/messages/")
        || headers.contains_key("anthropic-version")
    {
        Dialect::AnthropicMessages
    } else if path == "/responses" || path.starts_with("/responses/") {
        Dialect::OpenAiResponses
    } else {
        Dialect::OpenAiChat
    }
}

/// `GET /v1/chat/completions`: the list of stored chats, which is always empty.
pub(crate) async fn stored_chats(State(doors): State<Doors>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    match doors.admit(&head) {
        Ok(_) => doors.answer(&head, headers::json(StatusCode::OK, openai_chat::EMPTY_LIST)),
        Err(failure) => doors.turn_away(&head, Dialect::OpenAiChat, &failure),
    }
}

/// `POST /v1/embeddings`. Clients that index a code base ask for it.
pub(crate) async fn no_embeddings(State(doors): State<Doors>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let failure = match doors.admit(&head) {
        Ok(_) => Failure::new(
            FailureKind::NoSuchRoute,
            "There are no embeddings here: an MCP host offers its model for sampling only. Set \
             another provider for embeddings.",
        ),
        Err(failure) => failure,
    };
    doors.turn_away(&head, Dialect::OpenAiChat, &failure)
}

async fn no_such_route(State(doors): State<Doors>, request: Request<Body>) -> Response {
    let (head, _) = request.into_parts();
    let failure = doors.nothing_here(&head);
    doors.turn_away(&head, dialect_of(&head.uri, &head.headers), &failure)
}

async fn method_not_allowed(State(doors): State<Doors>, request: Request<Body>) -> Response {
    let (head, _) = request.into_parts();
    let failure = match doors.admit(&head) {
        Ok(_) => Failure::new(
            FailureKind::MethodNotAllowed,
            format!("{} does not take {}.", printable(head.uri.path()), head.method),
        ),
        Err(failure) => failure,
    };
    doors.turn_away(&head, dialect_of(&head.uri, &head.headers), &failure)
}

/// A path for a message: not longer than a line.
fn printable(path: &str) -> String {
    path.chars().take(100).collect()
}
