//! How an answer is written: whole or as a stream, in the caller's dialect.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use dialects::anthropic_messages::{self, MessagesStream};
use dialects::openai_chat::{self, CallForm, ChatStream};
use dialects::openai_completions::{self, TextStream};
use dialects::openai_responses::{self, Echo, ResponsesStream};
use dialects::{ReplyHead, StreamWriter};
use gateway::{ChoiceEvents, Running};
use http::StatusCode;
use model::{
    CallId, Completion, CompletionEvent, Dialect, Failure, FailureKind, Fold, LossSet, Retry,
};

use crate::doors::{Doors, unix_seconds};
use crate::headers;
use crate::kept::Keeper;
use crate::stream_body::StreamBody;
use crate::whole_body::whole_body;

/// How the reply is written.
pub(crate) enum ReplyShape {
    Chat { include_usage: bool, calls: CallForm },
    Text { include_usage: bool },
    Responses(Box<ResponsesReply>),
    Messages { done_marker: bool },
}

impl ReplyShape {
    fn stream_writer(self, head: ReplyHead) -> Box<dyn StreamWriter> {
        match self {
            Self::Chat { include_usage, calls } => {
                Box::new(ChatStream::new(head, include_usage).with_calls(calls))
            }
            Self::Text { include_usage } => Box::new(TextStream::new(head, include_usage)),
            Self::Responses(reply) => Box::new(KeptStream::new(head, *reply)),
            Self::Messages { done_marker } => Box::new(MessagesStream::new(head, done_marker)),
        }
    }
}

/// How a response is written, and whether it is kept.
pub(crate) struct ResponsesReply {
    pub(crate) echo: Echo,
    pub(crate) keeper: Option<Keeper>,
}

impl ResponsesReply {
    fn write(self, head: &ReplyHead, completion: &Completion) -> Bytes {
        let Self { mut echo, keeper } = self;
        let now = unix_seconds();
        let written = openai_responses::write_reply(head, &echo, now, completion);
        match keeper {
            Some(keeper) if keeper.fits(kept_bytes(written.output_bytes(), echo.bytes())) => {
                keeper.keep(head.id, written)
            }
            Some(_) => {
                echo.store = false;
                openai_responses::write_reply(head, &echo, now, completion).json.into()
            }
            None => written.json.into(),
        }
    }
}

/// What a response costs that is kept: its items, and itself.
const fn kept_bytes(output: usize, repeated: usize) -> usize {
    output.saturating_mul(2).saturating_add(repeated)
}

/// A streamed response that is kept before its caller sees the end.
struct KeptStream {
    id: CallId,
    /// Bytes that the response repeats of its request.
    repeated: usize,
    stream: ResponsesStream,
    keeper: Option<Keeper>,
}

impl KeptStream {
    fn new(head: ReplyHead, reply: ResponsesReply) -> Self {
        let ResponsesReply { echo, keeper } = reply;
        let (id, repeated) = (head.id, echo.bytes());
        Self { id, repeated, stream: ResponsesStream::new(head, echo, unix_seconds), keeper }
    }
}

impl StreamWriter for KeptStream {
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.stream.begin(out);
    }

    fn event(&mut self, choice: u8, event: CompletionEvent, out: &mut Vec<u8>) {
        self.stream.event(choice, event, out);
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        self.stream.keep_alive(out);
    }

    fn failure(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.stream.failure(failure, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let (Some(keeper), Some(output)) = (self.keeper.take(), self.stream.finished_bytes()) {
            if keeper.fits(kept_bytes(output, self.repeated)) {
                if let Some(written) = self.stream.finish(out) {
                    keeper.keep(self.id, written);
                }
                return;
            }
            self.stream.not_kept();
        }
        self.stream.end(out);
    }
}

/// How one call is answered.
pub(crate) struct Replying {
    pub(crate) head: ReplyHead,
    pub(crate) shape: ReplyShape,
    /// Whether the served model's name takes the place of the requested one.
    pub(crate) auto: bool,
    /// The call itself.
    pub(crate) running: Running,
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
            ReplyShape::Responses(_) => Dialect::OpenAiResponses,
            ReplyShape::Messages { .. } => Dialect::AnthropicMessages,
        }
    }

    /// Whether a failure is told inside a stream although there is still time for its status.
    ///
    /// Codex repeats every 5xx of a request, up to thirty times, whatever its headers say; what
    /// the stream calls an `invalid_prompt` it does not (seen with 0.169).
    fn fails_inside(&self, failure: &Failure) -> bool {
        matches!(self.shape, ReplyShape::Responses(_))
            && matches!(failure.kind, FailureKind::UpstreamFailed | FailureKind::UpstreamTimeout)
            && failure.retry == Retry::Never
    }
}

/// Waits for the whole answer.
pub(crate) async fn whole(mut reply: Box<Replying>) -> Result<Response, Failure> {
    let broken = |fault| {
        Failure::new(FailureKind::UpstreamFailed, "The answer broke off before its end.")
            .with_source(fault)
    };
    let mut next = reply.running.next().await;
    // Made when there is something to fold: a call may wait for long.
    let mut folds: Vec<Fold> = (0..reply.head.choices).map(|_| Fold::new()).collect();
    while let Some(batch) = next {
        let ChoiceEvents { choice, events } = batch.map_err(|failure| *failure)?;
        if let Some(fold) = folds.get_mut(usize::from(choice)) {
            for event in events {
                fold.push(event).map_err(broken)?;
            }
        }
        next = reply.running.next().await;
    }
    let completions: Vec<Completion> =
        folds.into_iter().map(Fold::finish).collect::<Result<_, _>>().map_err(broken)?;
    if let Some(failure) = reply.running.denied() {
        return Err(failure);
    }
    let Some(first) = completions.first() else {
        return Err(Failure::new(FailureKind::Internal, "The call had no choices."));
    };
    let losses = completions
        .iter()
        .fold(reply.running.losses(), |losses, completion| losses.union(completion.losses));
    let model = first.model.as_str().to_owned();
    reply.served(&model);
    let (id, dialect) = (reply.head.id, reply.dialect());
    let mut body = Vec::with_capacity(1024);
    let body = match reply.shape {
        ReplyShape::Chat { calls, .. } => {
            openai_chat::write_reply_as(calls, &reply.head, &completions, &mut body);
            Bytes::from(body)
        }
        ReplyShape::Text { .. } => {
            openai_completions::write_reply(&reply.head, &completions, &mut body);
            Bytes::from(body)
        }
        ReplyShape::Responses(shape) => shape.write(&reply.head, first),
        ReplyShape::Messages { .. } => {
            anthropic_messages::write_reply(&reply.head, first, &mut body);
            Bytes::from(body)
        }
    };
    let body = whole_body(reply.running, body);
    let mut response = headers::json(StatusCode::OK, body);
    describe(&mut response, id, dialect, &model, losses);
    Ok(response)
}

/// Begins a streamed answer: the status is held back for a short grace.
pub(crate) async fn stream(doors: &Doors, mut reply: Box<Replying>) -> Result<Response, Failure> {
    let settings = doors.settings();
    let first = match tokio::time::timeout(settings.grace, reply.running.next()).await {
        Ok(Some(Err(failure))) if !reply.fails_inside(&failure) => return Err(*failure),
        Ok(Some(batch)) => Some(batch.map_err(|failure| *failure)),
        Ok(None) => {
            let message = "The answer broke off before its end.";
            return Err(Failure::new(FailureKind::UpstreamFailed, message));
        }
        Err(_) => None,
    };
    let mut losses = reply.running.losses();
    let mut model = String::new();
    if let Some(Ok(first)) = &first {
        for event in &first.events {
            if let CompletionEvent::Started { model: served, losses: lost } = event {
                served.as_str().clone_into(&mut model);
                losses = losses.union(*lost);
            }
        }
    }
    reply.served(&model);
    let mut response = headers::events(Body::empty());
    describe(&mut response, reply.head.id, reply.dialect(), &model, losses);
    let Replying { head, shape, running, .. } = *reply;
    let choices = head.choices;
    let writer = shape.stream_writer(head);
    let body = StreamBody::new(running, writer, choices, first, settings.keep_alive);
    *response.body_mut() = Body::new(body);
    Ok(response)
}

fn describe(response: &mut Response, id: CallId, dialect: Dialect, model: &str, losses: LossSet) {
    let headers = response.headers_mut();
    headers::identify(headers, id, dialect);
    headers::name_model(headers, model);
    headers::name_losses(headers, losses);
}
