//! The doors to a model: Chat Completions, Responses and Messages.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dialects::{ReplyHead, openai_chat, openai_responses};
use gateway::admission::Rates;
use gateway::{Call, Caller};
use model::{Dialect, Failure};

use crate::asked::{Arrived, CallDoor};
use crate::body::{HeldBody, read_body};
use crate::doors::{Arrival, Doors, Refused, write_failure};
use crate::replay::replay_key;
use crate::reply::{Replying, stream, whole};
use crate::{explain, headers, rate_headers};

/// `POST /v1/chat/completions`.
pub(crate) async fn chat(State(doors): State<Doors>, request: Request) -> Response {
    answer(&doors, CallDoor::Chat, request).await
}

/// `POST /v1/completions`, the legacy text completions.
pub(crate) async fn completions(State(doors): State<Doors>, request: Request) -> Response {
    answer(&doors, CallDoor::Completions, request).await
}

/// `POST /v1/responses`.
pub(crate) async fn responses(State(doors): State<Doors>, request: Request) -> Response {
    answer(&doors, CallDoor::Responses, request).await
}

/// `POST /v1/messages`.
pub(crate) async fn messages(State(doors): State<Doors>, request: Request) -> Response {
    answer(&doors, CallDoor::Messages, request).await
}

async fn answer(doors: &Doors, door: CallDoor, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if explain::is_dry(&head.headers).is_ok_and(|dry| dry) {
        return explain::dry_run(doors, door, &head, body).await;
    }
    let arrival = Arrival::now(door.dialect(), door.endpoint());
    let mut rates = Rates::default();
    let mut response = match take(doors, door, &arrival, head, body, &mut rates).await {
        Ok(response) => doors.sign(response),
        Err(refused) => doors.refuse(&arrival, &refused),
    };
    rate_headers::tell(response.headers_mut(), door.dialect(), &rates);
    response
}

async fn take(
    doors: &Doors,
    door: CallDoor,
    arrival: &Arrival,
    head: http::request::Parts,
    body: Body,
    rates: &mut Rates,
) -> Result<Response, Refused> {
    let unread = headers::announce_body(&head.headers);
    let rules = doors.rules();
    let (caller, limits) = match rules.admit_at(&head, arrival.endpoint, doors.settings().body) {
        Ok((caller, limits)) => (Arc::new(caller), limits),
        Err(failure) => {
            // Whoever has a key and may not use it here is no stranger.
            let caller = rules.admit(&head).unwrap_or_else(|_| rules.refused(&head));
            let caller = Some(Arc::new(caller));
            return Err(Refused { caller, unread, ..failure.into() });
        }
    };
    let known = |failure| Refused { caller: Some(Arc::clone(&caller)), ..Refused::from(failure) };
    let reading = Reading { doors, arrival, caller: &caller, ended: false };
    let body = tokio::select! {
        biased;
        body = read_body(&head.headers, body, &limits, doors.budget()) => body,
        failure = doors.gateway().stopping() => Err(failure),
    };
    reading.end();
    let HeldBody { bytes, mut permit } =
        body.map_err(|failure| Refused { unread, ..known(failure) })?;
    let bytes_in = bytes.len();
    let arrived =
        Arrived { head: &head, body: &bytes, caller: &caller, rules: &rules, memory: &mut permit };
    // Whoever means a dry run must not get a call.
    let asked = explain::is_dry(&head.headers)
        .and_then(|_| door.read(doors, arrived))
        .map_err(|failure| Refused { bytes_in, ..known(failure) })?;
    let question = replay_key(doors.gateway(), &head.headers, &bytes);

    let deadline = rules.deadline;
    // A call may wait for long; what it needs no more is not kept for that time.
    drop((head, rules));
    let input_tokens = door.input_tokens(&asked.request);
    let reply = Replying {
        head: ReplyHead {
            id: arrival.id,
            created: arrival.created,
            // An empty name would be no name on the wire; until the host has answered it is `auto`.
            model: match asked.request.model.as_str() {
                "" => "auto".to_owned(),
                name => name.to_owned(),
            },
            input_tokens,
            choices: asked.request.params.choices.unwrap_or(1).max(1),
        },
        shape: asked.reply,
        auto: asked.request.model.is_auto(),
    };
    let body = doors.gateway().wants_bodies(&caller).then_some(bytes);
    let model = asked.request.model.clone();
    let call = Call {
        id: arrival.id,
        dialect: arrival.dialect,
        endpoint: arrival.endpoint,
        caller: Arc::clone(&caller),
        request: asked.request,
        stream: asked.stream,
        input_tokens,
        bytes_in,
        body,
        memory: permit,
        deadline,
        replay: question,
        status_of: match arrival.dialect {
            Dialect::OpenAiChat => openai_status,
            Dialect::OpenAiResponses => responses_status,
            Dialect::AnthropicMessages => anthropic_status,
        },
    };
    let recorded = |failure| Refused { recorded: true, ..Refused::from(failure) };
    let running = doors.gateway().complete(call);
    if let Some(admission) = doors.gateway().admission() {
        *rates = admission.rates(caller.key.as_deref(), model.as_str());
    }
    let running = running.map_err(recorded)?;
    let answered = if asked.stream {
        stream(doors, reply, running).await
    } else {
        whole(reply, running).await
    };
    answered.map_err(recorded)
}

/// A body on its way. Dropped before its end, the caller has hung up: that leaves a record too.
struct Reading<'a> {
    doors: &'a Doors,
    arrival: &'a Arrival,
    caller: &'a Caller,
    ended: bool,
}

impl Reading<'_> {
    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let knock = self.arrival.knock(Some(self.caller));
            self.doors.gateway().abandoned(&knock, self.arrival.at.elapsed());
        }
    }
}

fn openai_status(failure: &Failure) -> u16 {
    openai_chat::write_failure(failure).0
}

fn responses_status(failure: &Failure) -> u16 {
    openai_responses::write_failure(failure).0
}

fn anthropic_status(failure: &Failure) -> u16 {
    write_failure(Dialect::AnthropicMessages, failure, model::CallId::from_uuid(uuid::Uuid::nil()))
        .0
}
