//! The list of models, in the shape that the caller's SDK expects.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use dialects::{anthropic_messages, openai_chat};
use http::StatusCode;
use model::{Dialect, Failure, FailureKind, ModelAlias};

use crate::doors::{Doors, dialect_of};
use crate::headers;

/// Names that always work: the host's choice, under its own and the prototype's name.
const ALWAYS: [&str; 2] = ["auto", ModelAlias::PROTOTYPE];

/// `GET /v1/models`.
pub(crate) async fn list(State(doors): State<Doors>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let dialect = dialect_of(&head.uri, &head.headers);
    if let Err(failure) = doors.admit(&head) {
        return doors.turn_away(&head, dialect, &failure);
    }
    let names = names(&doors);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let body = match dialect {
        Dialect::AnthropicMessages => anthropic_messages::write_models(&names),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => {
            openai_chat::write_models(&names, doors.started())
        }
    };
    doors.sign(headers::json(StatusCode::OK, body))
}

/// `GET /v1/models/{id}`; ids may hold slashes (`copilot/gpt-4.1`), plain or encoded.
pub(crate) async fn one(
    State(doors): State<Doors>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let dialect = dialect_of(&head.uri, &head.headers);
    if let Err(failure) = doors.admit(&head) {
        return doors.turn_away(&head, dialect, &failure);
    }
    let Ok(Path(id)) = id else {
        let failure = Failure::new(
            FailureKind::BadRequest,
            "The model id in the path is not UTF-8 once its percent escapes are decoded.",
        )
        .with_param("model");
        return doors.turn_away(&head, dialect, &failure);
    };
    if !names(&doors).contains(&id) {
        let name: String = id.chars().take(100).collect();
        let failure = Failure::new(
            FailureKind::UnknownModel,
            format!("The model `{name}` does not exist or has not answered yet."),
        )
        .with_param("model");
        return doors.turn_away(&head, dialect, &failure);
    }
    let body = match dialect {
        Dialect::AnthropicMessages => anthropic_messages::write_model(&id),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => {
            openai_chat::write_model(&id, doors.started())
        }
    };
    doors.sign(headers::json(StatusCode::OK, body))
}

fn names(doors: &Doors) -> Vec<String> {
    let seen = doors.gateway().upstream().models();
    let seen = seen.iter().map(model::ModelName::as_str);
    let mut names: Vec<String> = Vec::with_capacity(ALWAYS.len() + seen.len());
    for name in ALWAYS.into_iter().chain(seen) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}
