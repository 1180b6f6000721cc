//! `POST /v1/explain`, and calls with `x-mcptb-dry-run: 1`: what would become of a call.
//!
//! It is read like a call and asks admission and the upstream what they would say. Nothing is
//! taken, sampled or recorded, so a partner can find out why a call is refused without paying for
//! the answer. That a call would be refused is the answer here, hence a 200; what cannot be read
//! at all fails as at the real door.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use gateway::amounts::Amounts;
use gateway::{Caller, Explained};
use http::{HeaderMap, HeaderName, StatusCode, request};
use model::{CallId, Dialect, Failure, FailureKind, Loss, Retry};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use crate::asked::{Arrived, CallDoor};
use crate::body::{HeldBody, read_body};
use crate::doors::{Doors, dialect_of, write_failure};
use crate::rules::DoorRules;
use crate::usage::dollars;
use crate::{access, headers};

/// Turns a call into the question what would become of it.
const DRY_RUN: HeaderName = HeaderName::from_static("x-mcptb-dry-run");
/// Bytes that a question may have besides the request that it is about.
const AROUND: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question<'a> {
    endpoint: String,
    #[serde(borrow)]
    request: &'a RawValue,
}

#[derive(Serialize)]
struct Explanation<'a> {
    object: &'static str,
    endpoint: &'static str,
    admitted: bool,
    refusal: Option<Refusal<'a>>,
    scopes: Vec<String>,
    reserved: Option<Reserved>,
    input_tokens: u64,
    max_output: Option<u64>,
    choices: u8,
    model: &'a str,
    stream: bool,
    upstream: Answering<'a>,
    losses: Vec<&'static str>,
}

#[derive(Serialize)]
struct Refusal<'a> {
    status: u16,
    kind: &'static str,
    message: &'a str,
    scope: Option<&'a str>,
    param: Option<&'a str>,
    /// Whole seconds; `None` where waiting does not help.
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Reserved {
    requests: u64,
    tokens: u64,
    cost: String,
}

#[derive(Serialize)]
struct Answering<'a> {
    ready: bool,
    name: Option<&'a str>,
    reason: Option<&'a str>,
}

/// Whether a request is a dry run.
///
/// # Errors
///
/// `BadRequest` naming the header where it says something else than `0` or `1`, or both.
pub(crate) fn is_dry(headers: &HeaderMap) -> Result<bool, Failure> {
    let mut dry = None;
    for value in headers.get_all(DRY_RUN) {
        let says = match value.as_bytes().trim_ascii() {
            b"0" => Some(false),
            b"1" => Some(true),
            _ => None,
        };
        if says.is_none() || dry.is_some_and(|dry| Some(dry) != says) {
            let message = "The header x-mcptb-dry-run must be 0 or 1.";
            let failure = Failure::new(FailureKind::BadRequest, message);
            return Err(failure.with_param(DRY_RUN.as_str()));
        }
        dry = says;
    }
    Ok(dry.unwrap_or(false))
}

/// A call that is only asked about.
pub(crate) async fn dry_run(doors: &Doors, door: CallDoor, request: Box<Request>) -> Response {
    let (head, body) = request.into_parts();
    let rules = doors.rules();
    let caller = match rules.admit(&head) {
        Ok(caller) => caller,
        Err(failure) => return doors.turn_away(&head, door.dialect(), &failure),
    };
    doors.count_ended(&head);
    let told = async {
        let HeldBody { bytes, permit } = gather(doors, &caller, &head, body, 0).await?;
        tell(doors, door, &head, &rules, &caller, &bytes, permit)
    };
    match told.await {
        Ok(body) => doors.sign(headers::json(StatusCode::OK, body)),
        Err(failure) => doors.turn_away_counted(&head, door.dialect(), &failure),
    }
}

/// `POST /v1/explain`.
pub(crate) async fn explain(State(doors): State<Doors>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut dialect = dialect_of(&head.uri, &head.headers);
    let rules = doors.rules();
    let caller = match rules.admit(&head) {
        Ok(caller) => caller,
        Err(failure) => return doors.turn_away(&head, dialect, &failure),
    };
    doors.count_ended(&head);
    match answer(&doors, &rules, &caller, &head, body, &mut dialect).await {
        Ok(body) => doors.sign(headers::json(StatusCode::OK, body)),
        Err(failure) => doors.turn_away_counted(&head, dialect, &failure),
    }
}

/// Sets the dialect to that of the request, once it is known which it is.
async fn answer(
    doors: &Doors,
    rules: &DoorRules,
    caller: &Caller,
    head: &request::Parts,
    body: Body,
    dialect: &mut Dialect,
) -> Result<Vec<u8>, Failure> {
    let HeldBody { bytes, permit } = gather(doors, caller, head, body, AROUND).await?;
    let question: Question<'_> = serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!(
            "Expected {{\"endpoint\": …, \"request\": …}} with the name of an endpoint and the \
             body that it would get: {error}."
        );
        Failure::new(FailureKind::BadRequest, message)
    })?;
    let door = CallDoor::named(&question.endpoint).ok_or_else(|| {
        let message = "endpoint: expected chat, completions, responses or messages";
        Failure::new(FailureKind::BadRequest, message).with_param("endpoint")
    })?;
    *dialect = door.dialect();
    tell(doors, door, head, rules, caller, question.request.get().as_bytes(), permit)
}

/// Reads the body, within the bounds that a call has and `around` more.
async fn gather(
    doors: &Doors,
    caller: &Caller,
    head: &request::Parts,
    body: Body,
    around: usize,
) -> Result<HeldBody, Failure> {
    let mut limits = doors.settings().body;
    if let Some(bound) = caller.key.as_deref().and_then(access::max_body) {
        let bound = usize::try_from(bound).unwrap_or(usize::MAX);
        limits.max_bytes = limits.max_bytes.min(bound.saturating_add(around));
    }
    tokio::select! {
        biased;
        body = read_body(&head.headers, body, &limits, doors.budget()) => {
            let house = doors.settings().body.max_bytes;
            body.map_err(|failure| access::name_bound(failure, caller, house))
        }
        failure = doors.gateway().stopping() => Err(failure),
    }
}

/// Says what would become of a request that has arrived.
fn tell(
    doors: &Doors,
    door: CallDoor,
    head: &request::Parts,
    rules: &DoorRules,
    caller: &Caller,
    body: &[u8],
    mut memory: Option<OwnedSemaphorePermit>,
) -> Result<Vec<u8>, Failure> {
    let arrived = Arrived { head, body, caller, rules, memory: &mut memory };
    let mut asked = door.read(doors, arrived)?;
    let input_tokens = door.input_tokens(&asked.request);
    let size = u64::try_from(body.len()).ok();
    let opens =
        caller.key.as_deref().map_or(Ok(()), |key| access::check_door(key, door.endpoint(), size));
    let explained = doors.gateway().explain(caller, &mut asked.request, input_tokens);
    let Explained { outcome, scopes, reserved, answering, max_output, losses } = explained;
    // In the order in which a call would hear of it.
    let refused = opens.and(outcome).err();
    let missing = answering.ready.err();
    let explanation = Explanation {
        object: "explanation",
        endpoint: door.endpoint().as_str(),
        admitted: refused.is_none(),
        refusal: refused.as_ref().map(|failure| Refusal::of(failure, door.dialect())),
        scopes,
        reserved: reserved.map(Reserved::of),
        input_tokens,
        max_output,
        choices: asked.request.params.choices.unwrap_or(1).max(1),
        model: match asked.request.model.as_str() {
            "" => "auto",
            name => name,
        },
        stream: asked.stream,
        upstream: Answering {
            ready: missing.is_none(),
            name: answering.name.as_deref(),
            reason: missing.as_ref().map(|failure| failure.message.as_str()),
        },
        losses: losses.iter().map(Loss::as_str).collect(),
    };
    // A struct of strings and numbers always serialises.
    Ok(serde_json::to_vec(&explanation).unwrap_or_default())
}

impl<'a> Refusal<'a> {
    fn of(failure: &'a Failure, dialect: Dialect) -> Self {
        Self {
            status: write_failure(dialect, failure, CallId::generate()).0,
            kind: failure.kind.as_str(),
            message: &failure.message,
            scope: failure.scope.as_deref(),
            param: failure.param.as_deref(),
            retry_after: match failure.retry {
                Retry::Never => None,
                Retry::Now => Some(0),
                Retry::After(wait) => Some(headers::whole_seconds(wait)),
            },
        }
    }
}

impl Reserved {
    fn of(amounts: Amounts) -> Self {
        let Amounts { requests, tokens, cost } = amounts;
        Self { requests, tokens, cost: dollars(cost) }
    }
}
