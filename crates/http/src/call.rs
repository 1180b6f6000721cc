//! The doors to a model: Chat Completions, Responses and Messages.

use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use dialects::{ReplyHead, openai_chat, openai_responses};
use gateway::admission::Rates;
use gateway::{BoxFuture, Call, Caller};
use model::{Dialect, Failure};

use crate::access::name_bound;
use crate::asked::{Arrived, CallDoor};
use crate::body::{HeldBody, read_body};
use crate::doors::{Arrival, Doors, Refused, write_failure};
use crate::replay::replay_key;
use crate::reply::{Replying, stream, whole};
use crate::{explain, headers, rate_headers};

/// Not a function of axum's kind: its future would hold the request until the reply, and a call may
/// wait for long.
impl Handler<(), Doors> for CallDoor {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, doors: Doors) -> Self::Future {
        Box::pin(answer(doors, self, Box::new(request)))
    }
}

async fn answer(doors: Doors, door: CallDoor, request: Box<Request>) -> Response {
    if explain::is_dry(request.headers()).is_ok_and(|dry| dry) {
        return Box::pin(explain::dry_run(&doors, door, request)).await;
    }
    let arrival = Arrival::now(door.dialect(), door.endpoint());
    let mut rates = Rates::default();
    // On the heap: a call that waits has given back the room that it took to read it.
    let begun = Box::pin(begin(&doors, door, &arrival, request, &mut rates)).await;
    let answered = match begun {
        Ok(Begun { reply, streamed: true }) => stream(&doors, reply).await.map_err(recorded),
        Ok(Begun { reply, streamed: false }) => whole(reply).await.map_err(recorded),
        Err(refused) => Err(refused),
    };
    let mut response = match answered {
        Ok(response) => doors.sign(response),
        Err(refused) => doors.refuse(&arrival, &refused),
    };
    rate_headers::tell(response.headers_mut(), door.dialect(), &rates);
    response
}

/// A failure of a call that the gateway has recorded.
fn recorded(failure: Failure) -> Refused {
    Refused { recorded: true, ..Refused::from(failure) }
}

/// A call that runs.
struct Begun {
    reply: Box<Replying>,
    streamed: bool,
}

/// Reads a request and starts the call.
async fn begin(
    doors: &Doors,
    door: CallDoor,
    arrival: &Arrival,
    request: Box<Request>,
    rates: &mut Rates,
) -> Result<Begun, Refused> {
    let (head, body) = request.into_parts();
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
    let HeldBody { bytes, mut permit } = body.map_err(|failure| {
        let house = doors.settings().body.max_bytes;
        Refused { unread, ..known(name_bound(failure, &caller, house)) }
    })?;
    let bytes_in = bytes.len();
    let arrived =
        Arrived { head: &head, body: &bytes, caller: &caller, rules: &rules, memory: &mut permit };
    // Whoever means a dry run must not get a call.
    let asked = explain::is_dry(&head.headers)
        .and_then(|_| door.read(doors, arrived))
        .map_err(|failure| Refused { bytes_in, ..known(failure) })?;
    let question = replay_key(doors.gateway(), &head.headers, &bytes);

    let deadline = rules.deadline;
    drop((head, rules));
    let input_tokens = door.input_tokens(&asked.request);
    let head = ReplyHead {
        id: arrival.id,
        created: arrival.created,
        // An empty name would be no name on the wire; until the host has answered it is `auto`.
        model: match asked.request.model.as_str() {
            "" => "auto".to_owned(),
            name => name.to_owned(),
        },
        input_tokens,
        choices: asked.request.params.choices.unwrap_or(1).max(1),
    };
    let auto = asked.request.model.is_auto();
    let body = doors.gateway().wants_bodies(&caller).then_some(bytes);
    let model = asked.request.model.clone();
    let call = Call {
        id: arrival.id,
        dialect: arrival.dialect,
        endpoint: arrival.endpoint,
        caller: Arc::clone(&caller),
        request: Box::new(asked.request),
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
    let running = doors.gateway().complete(call);
    if let Some(admission) = doors.gateway().admission() {
        *rates = admission.rates(caller.key.as_deref(), model.as_str());
    }
    let running = running.map_err(recorded)?;
    let reply = Box::new(Replying { head, shape: asked.reply, auto, running });
    Ok(Begun { reply, streamed: asked.stream })
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
