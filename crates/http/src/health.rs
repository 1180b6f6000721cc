//! Liveness and readiness.

use axum::extract::{Request, State};
use axum::response::Response;
use gateway::AuditScope;
use http::{StatusCode, request};
use model::{Dialect, Failure};
use serde::Serialize;

use crate::doors::{Doors, peer};
use crate::headers;

#[derive(Serialize)]
struct Ready<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<Host>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Record>,
}

/// How the record of calls is.
#[derive(Serialize)]
struct Record {
    /// `full`, `metadata` or `off`.
    mode: &'static str,
    /// Writes that wait.
    queued: usize,
    /// Bytes of its files.
    bytes: u64,
}

#[derive(Serialize)]
struct Host {
    name: String,
    ready: bool,
    state: &'static str,
    reason: String,
    in_flight: usize,
    concurrency: usize,
    waiting: usize,
}

/// The process is up. Claude Code asks `HEAD /api/hello` or `HEAD /` before it begins.
pub(crate) async fn hello(State(doors): State<Doors>, request: Request) -> Response {
    alive(&doors, request, r#"{"name":"mcptb"}"#)
}

/// The process is up.
pub(crate) async fn healthz(State(doors): State<Doors>, request: Request) -> Response {
    alive(&doors, request, r#"{"status":"ok"}"#)
}

fn alive(doors: &Doors, request: Request, body: &'static str) -> Response {
    let (head, _) = request.into_parts();
    match knock(doors, &head) {
        Err(failure) => doors.turn_away(&head, Dialect::OpenAiChat, &failure),
        Ok(()) => doors.answer(&head, headers::json(StatusCode::OK, body)),
    }
}

/// Probes need no credential, and none that they show is held against them; but a foreign page must
/// not find out that we are here.
fn knock(doors: &Doors, head: &request::Parts) -> Result<(), Failure> {
    doors.rules().access.locate(peer(head), head).map(drop)
}

/// Whether calls can be answered. Details are for callers on this machine or with a credential.
pub(crate) async fn readyz(State(doors): State<Doors>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if let Err(failure) = knock(&doors, &head) {
        return doors.turn_away(&head, Dialect::OpenAiChat, &failure);
    }
    let details = doors.admit(&head).is_ok();
    let failure = doors.gateway().ready().err();
    let hosts = details.then(|| {
        let statuses = doors.gateway().upstream().statuses();
        statuses
            .into_iter()
            .map(|host| Host {
                name: host.name,
                ready: host.ready,
                state: host.state,
                reason: host.reason,
                in_flight: host.in_flight,
                concurrency: host.concurrency,
                waiting: host.waiting,
            })
            .collect()
    });
    let audit = doors.gateway().audit().filter(|_| details).map(|audit| {
        let state = audit.store().state();
        let mode = match audit.scope() {
            AuditScope::Full => "full",
            AuditScope::Metadata => "metadata",
            AuditScope::Keys => "off",
        };
        Record { mode, queued: state.queued, bytes: state.bytes }
    });
    let body = Ready {
        status: if failure.is_none() { "ready" } else { "not ready" },
        reason: failure.as_ref().filter(|_| details).map(|failure| failure.message.as_str()),
        hosts,
        audit,
    };
    // A struct of strings and numbers always serialises.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let status = if failure.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = headers::json(status, body);
    if let Some(failure) = &failure {
        headers::advise_retry(response.headers_mut(), failure);
    }
    doors.answer(&head, response)
}
