//! The other routes of Responses: what is kept, counts of tokens, and what there is not.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use dialects::openai_responses::{self, Earlier};
use dialects::tokens;
use gateway::keys::Endpoint;
use http::{StatusCode, header::UPGRADE, request};
use model::{Dialect, Failure, FailureKind, Json, ParamsMode};
use tokio::sync::OwnedSemaphorePermit;

use crate::access::name_bound;
use crate::asked::{Arrived, Asked};
use crate::body::{HeldBody, read_body};
use crate::doors::Doors;
use crate::headers;
use crate::kept::{Keeper, Owner, Turn};
use crate::params::params_mode;
use crate::query::parameter;
use crate::reply::{ReplyShape, ResponsesReply};

const DIALECT: Dialect = Dialect::OpenAiResponses;
/// Items of a page where the caller does not say.
const PAGE: usize = 20;
/// The most items of a page.
const MAX_PAGE: usize = 100;

/// What is kept of earlier responses, as one request may see it.
///
/// What it looks at counts as part of its body: for the limit of one body, and for the memory of
/// all of them. A short request must not become a large one for free.
struct Seen<'a> {
    doors: &'a Doors,
    owner: Owner,
    memory: &'a mut Option<OwnedSemaphorePermit>,
    /// Bytes of the body and of all that it pointed to.
    bytes: usize,
    /// The turn that the request continues.
    before: Option<Arc<Turn>>,
}

impl Seen<'_> {
    fn add(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        let limit = self.doors.settings().body.max_bytes;
        if self.bytes > limit {
            let message = format!(
                "The request and the conversation that it continues are larger than the limit of \
                 {limit} bytes."
            );
            return Err(Failure::new(FailureKind::TooLarge, message));
        }
        self.doors.budget().charge(self.memory, self.bytes)
    }
}

impl Earlier for Seen<'_> {
    fn conversation(&mut self, response: &str) -> Result<Option<Vec<Json>>, Failure> {
        let Some(turn) = self.doors.kept().turn(self.owner, response) else { return Ok(None) };
        self.add(turn.conversation())?;
        let items = turn.items();
        self.before = Some(turn);
        Ok(Some(items))
    }

    fn item(&mut self, id: &str) -> Result<Option<Json>, Failure> {
        let item = self.doors.kept().item(self.owner, id);
        if let Some(item) = &item {
            self.add(item.as_str().len())?;
        }
        Ok(item)
    }
}

/// Reads the body of `POST /v1/responses`.
pub(crate) fn read(
    doors: &Doors,
    mode: ParamsMode,
    arrived: Arrived<'_>,
) -> Result<Asked, Failure> {
    let Arrived { body, caller, memory, .. } = arrived;
    let owner = Owner::of(caller);
    let mut seen = Seen { doors, owner, memory, bytes: body.len(), before: None };
    let read = openai_responses::read_continued(body, mode, &mut seen)?;
    let mut echo = read.echo;
    let keeper =
        if read.store { doors.kept().keeper(owner, seen.before, read.items) } else { None };
    echo.store = keeper.is_some();
    // The call holds what it repeats and what it keeps besides what it asks.
    let held = keeper.as_ref().map_or(0, Keeper::input_bytes) + echo.bytes();
    doors.budget().charge(seen.memory, seen.bytes.saturating_add(held))?;
    let reply = ReplyShape::Responses(Box::new(ResponsesReply { echo, keeper }));
    Ok(Asked { request: read.request, stream: read.stream, reply })
}

/// `POST /v1/responses/input_tokens`: an estimate, nothing is sampled.
pub(crate) async fn input_tokens(State(doors): State<Doors>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (rules, house) = (doors.rules(), doors.settings().body);
    let (caller, limits) = match rules.admit_at(&head, Endpoint::Responses, house) {
        Ok(admitted) => admitted,
        Err(failure) => return doors.turn_away(&head, DIALECT, &failure),
    };
    doors.count_ended(&head);
    let counting = async {
        let mode = params_mode(&head.headers, rules.params)?;
        let HeldBody { bytes, permit: mut memory } = tokio::select! {
            biased;
            body = read_body(&head.headers, body, &limits, doors.budget()) => {
                body.map_err(|failure| name_bound(failure, &caller, house.max_bytes))?
            }
            failure = doors.gateway().stopping() => return Err(failure),
        };
        let (owner, bytes_in) = (Owner::of(&caller), bytes.len());
        let memory = &mut memory;
        let mut seen = Seen { doors: &doors, owner, memory, bytes: bytes_in, before: None };
        let request = openai_responses::read_count(&bytes, mode, &mut seen)?;
        Ok::<_, Failure>(tokens::estimate_input(&request))
    };
    match counting.await {
        Ok(tokens) => {
            let body = openai_responses::write_input_tokens(tokens);
            doors.sign(headers::json(StatusCode::OK, body))
        }
        Err(failure) => doors.turn_away_counted(&head, DIALECT, &failure),
    }
}

/// An id in a path. One that is not UTF-8 once its escapes are decoded is the id of nothing.
type InPath = Result<Path<String>, PathRejection>;

fn id_of(path: InPath) -> String {
    path.map(|Path(id)| id).unwrap_or_default()
}

/// `GET /v1/responses/{id}`.
pub(crate) async fn one(State(doors): State<Doors>, path: InPath, request: Request) -> Response {
    let id = id_of(path);
    let (head, _) = request.into_parts();
    let found = owner(&doors, &head).and_then(|owner| {
        if query(&head, "stream").as_deref() == Some("true") {
            let message = "A kept response is not streamed again: leave `stream` out.";
            return Err(Failure::new(FailureKind::Unsupported, message).with_param("stream"));
        }
        doors.kept().body(owner, &id).ok_or_else(|| openai_responses::no_such_response(&id))
    });
    match found {
        Ok(body) => doors.answer(&head, headers::json(StatusCode::OK, body)),
        Err(failure) => doors.turn_away(&head, DIALECT, &failure),
    }
}

/// `DELETE /v1/responses/{id}`.
pub(crate) async fn delete(State(doors): State<Doors>, path: InPath, request: Request) -> Response {
    let id = id_of(path);
    let (head, _) = request.into_parts();
    let deleted = owner(&doors, &head).and_then(|owner| {
        let found = doors.kept().delete(owner, &id);
        found.then_some(()).ok_or_else(|| openai_responses::no_such_response(&id))
    });
    match deleted {
        Ok(()) => {
            let body = openai_responses::write_deleted(&id);
            doors.answer(&head, headers::json(StatusCode::OK, body))
        }
        Err(failure) => doors.turn_away(&head, DIALECT, &failure),
    }
}

/// `GET /v1/responses/{id}/input_items`, the newest first unless the caller says `order=asc`.
pub(crate) async fn input_items(
    State(doors): State<Doors>,
    path: InPath,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    match list(&doors, &head, &id_of(path)) {
        Ok(body) => doors.answer(&head, headers::json(StatusCode::OK, body)),
        Err(failure) => doors.turn_away(&head, DIALECT, &failure),
    }
}

fn list(doors: &Doors, head: &request::Parts, id: &str) -> Result<Vec<u8>, Failure> {
    let bad = |param: &str, why: &str| {
        Failure::new(FailureKind::BadRequest, format!("Invalid value for '{param}': {why}."))
            .with_param(param)
    };
    let owner = owner(doors, head)?;
    let limit = match query(head, "limit").map(|limit| limit.parse()) {
        None => PAGE,
        Some(Ok(limit)) if (1..=MAX_PAGE).contains(&limit) => limit,
        Some(_) => return Err(bad("limit", "expected a whole number from 1 to 100")),
    };
    let oldest_first = match query(head, "order").as_deref() {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(bad("order", "expected asc or desc")),
    };
    let turn =
        doors.kept().turn(owner, id).ok_or_else(|| openai_responses::no_such_response(id))?;
    let mut items = turn.before_output();
    items.reverse();
    // A caller may have said an item twice, and pages go on behind an id.
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(item.id.as_str()));
    if oldest_first {
        items.reverse();
    }
    let start = match query(head, "after").filter(|after| !after.is_empty()) {
        None => 0,
        Some(after) => {
            let found = items.iter().position(|item| item.id == after);
            found.ok_or_else(|| bad("after", "there is no item of this id"))? + 1
        }
    };
    let page = items.get(start..).unwrap_or_default();
    let has_more = page.len() > limit;
    Ok(openai_responses::write_items(page.get(..limit).unwrap_or(page), has_more))
}

/// `POST /v1/responses/compact`.
pub(crate) async fn no_compaction(State(doors): State<Doors>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let failure = owner(&doors, &head).err().unwrap_or_else(|| {
        Failure::new(
            FailureKind::NoSuchRoute,
            "Conversations are not compacted here: the summary of one is ciphertext that only \
             OpenAI can make and read. Clients that find this missing compact by themselves.",
        )
    });
    doors.turn_away(&head, DIALECT, &failure)
}

/// `GET /v1/responses`, which opens a web socket where one is offered.
pub(crate) async fn no_socket(State(doors): State<Doors>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let failure = owner(&doors, &head).err().unwrap_or_else(|| {
        if head.headers.contains_key(UPGRADE) {
            let message = "No web socket is offered here; send POST /v1/responses instead.";
            Failure::new(FailureKind::NoSuchRoute, message)
        } else {
            let message = format!("{} does not take {}.", head.uri.path(), head.method);
            Failure::new(FailureKind::MethodNotAllowed, message)
        }
    });
    doors.turn_away(&head, DIALECT, &failure)
}

fn owner(doors: &Doors, head: &request::Parts) -> Result<Owner, Failure> {
    let limits = doors.settings().body;
    let admitted = doors.rules().admit_at(head, Endpoint::Responses, limits);
    admitted.map(|(caller, _)| Owner::of(&caller))
}

fn query(head: &request::Parts, name: &str) -> Option<String> {
    parameter(head.uri.query().unwrap_or_default(), name)
}
