//! The two doors to a model: Chat Completions and Messages.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dialects::anthropic_messages::{self, MessagesStream};
use dialects::openai_chat::{self, ChatStream};
use dialects::openai_completions::{self, TextStream};
use dialects::{ReplyHead, StreamWriter, tokens};
use gateway::{Call, Caller, ChoiceEvents, Running};
use http::StatusCode;
use model::{
    Completion, CompletionEvent, CompletionRequest, Dialect, Failure, FailureKind, Fold, LossSet,
};

use crate::body::{HeldBody, read_body};
use crate::doors::{Arrival, Doors, Refused, stranger, write_failure};
use crate::headers;
use crate::params::params_mode;
use crate::stream_body::StreamBody;
use crate::version::version;

/// A request as its dialect read it.
struct Asked {
    request: CompletionRequest,
    stream: bool,
    reply: ReplyShape,
}

/// How the reply is written.
#[derive(Clone, Copy)]
enum ReplyShape {
    Chat { include_usage: bool },
    Text { include_usage: bool },
    Messages { done_marker: bool },
}

/// `POST /v1/chat/completions`.
pub(crate) async fn chat(State(doors): State<Doors>, request: Request) -> Response {
    answer(&doors, Dialect::OpenAiChat, request, |head, body| {
        let mode = params_mode(&head.headers, doors.settings().params)?;
        let chat = openai_chat::read_request(body, mode)?;
        let reply = ReplyShape::Chat { include_usage: chat.include_usage };
        Ok(Asked { request: chat.request, stream: chat.stream, reply })
    })
    .await
}

/// `POST /v1/completions`, the legacy text completions.
pub(crate) async fn completions(State(doors): State<Doors>, request: Request) -> Response {
    answer(&doors, Dialect::OpenAiChat, request, |head, body| {
        let mode = params_mode(&head.headers, doors.settings().params)?;
        let text = openai_completions::read_request(body, mode)?;
        let reply = ReplyShape::Text { include_usage: text.include_usage };
        Ok(Asked { request: text.request, stream: text.stream, reply })
    })
    .await
}

/// `POST /v1/messages`.
pub(crate) async fn messages(State(doors): State<Doors>, request: Request) -> Response {
    answer(&doors, Dialect::AnthropicMessages, request, |head, body| {
        let mode = params_mode(&head.headers, doors.settings().params)?;
        let messages = anthropic_messages::read_request(body, version(&head.headers), mode)?;
        let reply = ReplyShape::Messages { done_marker: doors.settings().anthropic_done };
        Ok(Asked { request: messages.request, stream: messages.stream, reply })
    })
    .await
}

async fn answer(
    doors: &Doors,
    dialect: Dialect,
    request: Request,
    read: impl FnOnce(&http::request::Parts, &[u8]) -> Result<Asked, Failure>,
) -> Response {
    let arrival = Arrival::now(dialect);
    let (head, body) = request.into_parts();
    match take(doors, &arrival, head, body, read).await {
        Ok(response) => doors.sign(response),
        Err(refused) => doors.refuse(&arrival, &refused),
    }
}

async fn take(
    doors: &Doors,
    arrival: &Arrival,
    head: http::request::Parts,
    body: Body,
    read: impl FnOnce(&http::request::Parts, &[u8]) -> Result<Asked, Failure>,
) -> Result<Response, Refused> {
    let unread = headers::announce_body(&head.headers);
    let caller = match doors.admit(&head) {
        Ok(caller) => Arc::new(caller),
        Err(failure) => {
            let caller = Some(Arc::new(stranger(&head)));
            return Err(Refused { caller, unread, ..failure.into() });
        }
    };
    let settings = doors.settings();
    let known = |failure| Refused { caller: Some(Arc::clone(&caller)), ..Refused::from(failure) };
    let reading = Reading { doors, arrival, caller: &caller, ended: false };
    let body = tokio::select! {
        biased;
        body = read_body(&head.headers, body, &settings.body, doors.budget()) => body,
        failure = doors.gateway().stopping() => Err(failure),
    };
    reading.end();
    let HeldBody { bytes, permit } =
        body.map_err(|failure| Refused { unread, ..known(failure) })?;
    let bytes_in = bytes.len();
    let asked = read(&head, &bytes).map_err(|failure| Refused { bytes_in, ..known(failure) })?;

    // A call may wait for long; what it needs no more is not kept for that time.
    drop(head);
    let input_tokens = match arrival.dialect {
        // Claude Code compacts by this number: too high is safe, too low is not.
        Dialect::AnthropicMessages => tokens::lean_high(tokens::estimate_input(&asked.request)),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => tokens::estimate_input(&asked.request),
    };
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
    let body = doors.gateway().wants_bodies().then_some(bytes);
    let call = Call {
        id: arrival.id,
        dialect: arrival.dialect,
        caller: Arc::clone(&caller),
        request: asked.request,
        stream: asked.stream,
        input_tokens,
        bytes_in,
        body,
        memory: permit,
        status_of: match arrival.dialect {
            Dialect::OpenAiChat | Dialect::OpenAiResponses => openai_status,
            Dialect::AnthropicMessages => anthropic_status,
        },
    };
    let recorded = |failure| Refused { recorded: true, ..Refused::from(failure) };
    let running = doors.gateway().complete(call).map_err(recorded)?;
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
            let Arrival { id, dialect, at, .. } = *self.arrival;
            self.doors.gateway().abandoned(id, dialect, self.caller, at.elapsed());
        }
    }
}

fn openai_status(failure: &Failure) -> u16 {
    openai_chat::write_failure(failure).0
}

fn anthropic_status(failure: &Failure) -> u16 {
    write_failure(Dialect::AnthropicMessages, failure, model::CallId::from_uuid(uuid::Uuid::nil()))
        .0
}

/// How one call is answered.
struct Replying {
    head: ReplyHead,
    shape: ReplyShape,
    /// Whether the served model's name takes the place of the requested one.
    auto: bool,
}

impl Replying {
    /// Names the served model in the body where the caller left the choice to the host.
    fn served(&mut self, model: &str) {
        if self.auto && !model.is_empty() {
            model.clone_into(&mut self.head.model);
        }
    }

    fn dialect(&self) -> Dialect {
        match self.shape {
            ReplyShape::Chat { .. } | ReplyShape::Text { .. } => Dialect::OpenAiChat,
            ReplyShape::Messages { .. } => Dialect::AnthropicMessages,
        }
    }

    fn stream_writer(self) -> Box<dyn StreamWriter> {
        match self.shape {
            ReplyShape::Chat { include_usage } => {
                Box::new(ChatStream::new(self.head, include_usage))
            }
            ReplyShape::Text { include_usage } => {
                Box::new(TextStream::new(self.head, include_usage))
            }
            ReplyShape::Messages { done_marker } => {
                Box::new(MessagesStream::new(self.head, done_marker))
            }
        }
    }
}

/// Waits for the whole answer.
async fn whole(mut reply: Replying, mut running: Running) -> Result<Response, Failure> {
    let mut folds: Vec<Fold> = (0..reply.head.choices).map(|_| Fold::new()).collect();
    let broken = |fault| {
        Failure::new(FailureKind::UpstreamFailed, "The answer broke off before its end.")
            .with_source(fault)
    };
    while let Some(batch) = running.next().await {
        let ChoiceEvents { choice, events } = batch.map_err(|failure| *failure)?;
        let Some(fold) = folds.get_mut(usize::from(choice)) else {
            continue;
        };
        for event in events {
            fold.push(event).map_err(broken)?;
        }
    }
    let completions: Vec<Completion> =
        folds.into_iter().map(Fold::finish).collect::<Result<_, _>>().map_err(broken)?;
    let Some(first) = completions.first() else {
        return Err(Failure::new(FailureKind::Internal, "The call had no choices."));
    };
    let losses = completions
        .iter()
        .fold(running.losses(), |losses, completion| losses.union(completion.losses));
    let model = first.model.as_str().to_owned();
    reply.served(&model);
    let mut body = Vec::with_capacity(1024);
    match reply.shape {
        ReplyShape::Chat { .. } => openai_chat::write_reply(&reply.head, &completions, &mut body),
        ReplyShape::Text { .. } => {
            openai_completions::write_reply(&reply.head, &completions, &mut body);
        }
        ReplyShape::Messages { .. } => {
            anthropic_messages::write_reply(&reply.head, first, &mut body);
        }
    }
    let mut response = headers::json(StatusCode::OK, body);
    describe(&mut response, &reply, &model, losses);
    Ok(response)
}

/// Begins a streamed answer: the status is held back for a short grace.
async fn stream(
    doors: &Doors,
    mut reply: Replying,
    mut running: Running,
) -> Result<Response, Failure> {
    let settings = doors.settings();
    let first = match tokio::time::timeout(settings.grace, running.next()).await {
        Ok(Some(batch)) => Some(batch.map_err(|failure| *failure)?),
        Ok(None) => {
            let message = "The answer broke off before its end.";
            return Err(Failure::new(FailureKind::UpstreamFailed, message));
        }
        Err(_) => None,
    };
    let mut losses = running.losses();
    let mut model = String::new();
    if let Some(first) = &first {
        for event in &first.events {
            if let CompletionEvent::Started { model: served, losses: lost } = event {
                served.as_str().clone_into(&mut model);
                losses = losses.union(*lost);
            }
        }
    }
    reply.served(&model);
    let mut response = headers::events(Body::empty());
    describe(&mut response, &reply, &model, losses);
    let choices = reply.head.choices;
    let writer = reply.stream_writer();
    let body = StreamBody::new(running, writer, choices, first, settings.keep_alive);
    *response.body_mut() = Body::new(body);
    Ok(response)
}

fn describe(response: &mut Response, reply: &Replying, model: &str, losses: LossSet) {
    let headers = response.headers_mut();
    headers::identify(headers, reply.head.id, reply.dialect());
    headers::name_model(headers, model);
    headers::name_losses(headers, losses);
}
