//! The four ways to ask a model, and how each is read.
//!
//! A call and the explanation of one read alike: what is refused here is refused in both.

use dialects::{anthropic_messages, openai_chat, openai_completions, tokens};
use gateway::Caller;
use gateway::keys::Endpoint;
use model::{CompletionRequest, Dialect, Failure, FailureKind};
use tokio::sync::OwnedSemaphorePermit;

use crate::doors::Doors;
use crate::params::params_mode;
use crate::reply::ReplyShape;
use crate::responses;
use crate::rules::DoorRules;
use crate::version::version;

/// The longest name of a model, in bytes.
const LONGEST_NAME: usize = 256;

/// A door that leads to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallDoor {
    Chat,
    Completions,
    Responses,
    Messages,
}

/// A request as its dialect read it.
pub(crate) struct Asked {
    pub(crate) request: CompletionRequest,
    pub(crate) stream: bool,
    pub(crate) reply: ReplyShape,
}

/// A request that has arrived whole.
pub(crate) struct Arrived<'a> {
    pub(crate) head: &'a http::request::Parts,
    pub(crate) body: &'a [u8],
    pub(crate) caller: &'a Caller,
    pub(crate) rules: &'a DoorRules,
    /// What was charged for the body; what else the call holds is added to it.
    pub(crate) memory: &'a mut Option<OwnedSemaphorePermit>,
}

impl CallDoor {
    const ALL: [Self; 4] = [Self::Chat, Self::Completions, Self::Responses, Self::Messages];

    /// The door of an endpoint's name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|door| door.endpoint().as_str() == name)
    }

    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::Chat | Self::Completions => Dialect::OpenAiChat,
            Self::Responses => Dialect::OpenAiResponses,
            Self::Messages => Dialect::AnthropicMessages,
        }
    }

    pub(crate) const fn endpoint(self) -> Endpoint {
        match self {
            Self::Chat => Endpoint::Chat,
            Self::Completions => Endpoint::Completions,
            Self::Responses => Endpoint::Responses,
            Self::Messages => Endpoint::Messages,
        }
    }

    /// Reads what is asked, or says which field is wrong.
    pub(crate) fn read(self, doors: &Doors, arrived: Arrived<'_>) -> Result<Asked, Failure> {
        let (body, headers) = (arrived.body, &arrived.head.headers);
        let mode = params_mode(headers, arrived.rules.params)?;
        let asked = match self {
            Self::Chat => {
                let chat = openai_chat::read_request(body, mode)?;
                let (include_usage, calls) = (chat.include_usage, chat.calls);
                let reply = ReplyShape::Chat { include_usage, calls };
                Ok(Asked { request: chat.request, stream: chat.stream, reply })
            }
            Self::Completions => {
                let text = openai_completions::read_request(body, mode)?;
                let reply = ReplyShape::Text { include_usage: text.include_usage };
                Ok(Asked { request: text.request, stream: text.stream, reply })
            }
            Self::Responses => responses::read(doors, mode, arrived),
            Self::Messages => {
                let messages = anthropic_messages::read_request(body, version(headers), mode)?;
                let reply = ReplyShape::Messages { done_marker: doors.settings().anthropic_done };
                Ok(Asked { request: messages.request, stream: messages.stream, reply })
            }
        };
        asked.and_then(with_short_name)
    }

    /// Our estimate of the tokens in a request.
    pub(crate) fn input_tokens(self, request: &CompletionRequest) -> u64 {
        let estimate = tokens::estimate_input(request);
        match self.dialect() {
            // Claude Code compacts by this number: too high is safe, too low is not.
            Dialect::AnthropicMessages => tokens::lean_high(estimate),
            Dialect::OpenAiChat | Dialect::OpenAiResponses => estimate,
        }
    }
}

/// Every event of a stream repeats the name of the model.
fn with_short_name(asked: Asked) -> Result<Asked, Failure> {
    if asked.request.model.as_str().len() > LONGEST_NAME {
        let message = format!("model: longer than {LONGEST_NAME} bytes");
        return Err(Failure::new(FailureKind::BadRequest, message).with_param("model"));
    }
    Ok(asked)
}
