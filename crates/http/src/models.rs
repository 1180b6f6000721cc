//! The list of models, in the shape that the caller's SDK expects.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use dialects::{anthropic_messages, openai_chat};
use gateway::Caller;
use http::StatusCode;
use model::{Dialect, Failure, FailureKind, ModelAlias, ParamsMode};

use crate::doors::{Doors, dialect_of};
use crate::headers;
use crate::params::params_mode;
use crate::query::parameter;

/// Names that always work: the host's choice, under its own and the prototype's name.
const ALWAYS: [&str; 2] = ["auto", ModelAlias::PROTOTYPE];
/// Models on a page of Anthropic's list, unless the caller says how many.
const PAGE: usize = 20;

/// `GET /v1/models`.
pub(crate) async fn list(State(doors): State<Doors>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let dialect = dialect_of(&head.uri, &head.headers);
    let caller = match doors.admit(&head) {
        Ok(caller) => caller,
        Err(failure) => return doors.turn_away(&head, dialect, &failure),
    };
    let names = names(&doors, &caller, dialect);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let body = match dialect {
        Dialect::AnthropicMessages => page(&names, head.uri.query().unwrap_or_default()),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => {
            Ok(openai_chat::write_models(&names, doors.started()))
        }
    };
    match body {
        Ok(body) => doors.answer(&head, headers::json(StatusCode::OK, body)),
        Err(failure) => doors.turn_away(&head, dialect, &failure),
    }
}

/// `GET /v1/models/{id}`; ids may hold slashes (`copilot/gpt-4.1`), plain or encoded.
pub(crate) async fn one(
    State(doors): State<Doors>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let dialect = dialect_of(&head.uri, &head.headers);
    let rules = doors.rules();
    let caller = match rules.admit(&head) {
        Ok(caller) => caller,
        Err(failure) => return doors.turn_away(&head, dialect, &failure),
    };
    let Ok(Path(id)) = id else {
        let failure = Failure::new(
            FailureKind::BadRequest,
            "The model id in the path is not UTF-8 once its percent escapes are decoded.",
        )
        .with_param("model");
        return doors.turn_away(&head, dialect, &failure);
    };
    let mode = match params_mode(&head.headers, rules.params) {
        Ok(mode) => mode,
        Err(failure) => return doors.turn_away(&head, dialect, &failure),
    };
    // Calls take any name, as a hint; lenient callers are told so.
    let known = mode == ParamsMode::Lenient
        || id == ModelAlias::FOR_CLAUDE_CODE
        || names(&doors, &caller, dialect).contains(&id);
    // A key is told the same of models that it may not use and of those that there are not.
    if !known || !may_use(&caller, &id) {
        let name: String = id.chars().take(100).collect();
        let failure = Failure::new(
            FailureKind::UnknownModel,
            format!("The model `{name}` does not exist, has not answered or is not open to you."),
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
    doors.answer(&head, headers::json(StatusCode::OK, body))
}

/// Whether the caller's key, if it has one, lets it ask for a model.
fn may_use(caller: &Caller, name: &str) -> bool {
    caller.key.as_ref().is_none_or(|key| key.bars_model(name).is_none())
}

/// Names that the caller can ask for, in a steady order.
fn names(doors: &Doors, caller: &Caller, dialect: Dialect) -> Vec<String> {
    let for_claude_code = match dialect {
        Dialect::AnthropicMessages => Some(ModelAlias::FOR_CLAUDE_CODE),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => None,
    };
    let seen = doors.gateway().upstream_for(caller).models();
    let seen = seen.iter().map(model::ModelName::as_str);
    let mut names: Vec<String> = Vec::with_capacity(ALWAYS.len() + 1 + seen.len());
    for name in ALWAYS.into_iter().chain(for_claude_code).chain(seen) {
        if may_use(caller, name) && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// A page of Anthropic's list. An id that is not listed is followed, and preceded, by nothing.
fn page(names: &[&str], query: &str) -> Result<Vec<u8>, Failure> {
    let limit = match parameter(query, "limit") {
        None => PAGE,
        Some(limit) => {
            limit.parse().ok().filter(|limit| (1..=1000).contains(limit)).ok_or_else(|| {
                let message = "limit: expected an integer from 1 to 1000";
                Failure::new(FailureKind::BadRequest, message).with_param("limit")
            })?
        }
    };
    let place = |id: &str| names.iter().position(|name| *name == id);
    let after = parameter(query, "after_id").map(|id| place(&id).map_or(names.len(), |at| at + 1));
    let before = parameter(query, "before_id").map(|id| place(&id).unwrap_or(0));
    let range = after.unwrap_or(0)..before.unwrap_or(names.len());
    let rest = names.get(range).unwrap_or_default();
    let cut = rest.len().saturating_sub(limit);
    // Going back, the page is the one next to the id.
    let shown = match (after, before) {
        (None, Some(_)) => rest.get(cut..),
        _ => rest.get(..rest.len() - cut),
    };
    Ok(anthropic_messages::write_models(shown.unwrap_or_default(), cut > 0))
}
