//! `POST /v1/messages/count_tokens`: our estimate, without asking any model.
//!
//! Claude Code asks for 25 counts at once to fill one screen, so this is no call: nobody waits in
//! a queue for it, it takes no slot of a host and leaves no record. The rules of the door hold:
//! who asks, how large a body may be, and the memory that all bodies share.

use axum::extract::{Request, State};
use axum::response::Response;
use dialects::{anthropic_messages, tokens};
use gateway::keys::Endpoint;
use http::StatusCode;
use model::{Dialect, Failure, ParamsMode};

use crate::access::name_bound;
use crate::body::read_body;
use crate::doors::Doors;
use crate::headers;
use crate::params::params_mode;
use crate::version::version;

/// Counts what `POST /v1/messages` would have a model read.
pub(crate) async fn count_tokens(State(doors): State<Doors>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (rules, house) = (doors.rules(), doors.settings().body);
    let (caller, limits) = match rules.admit_at(&head, Endpoint::CountTokens, house) {
        Ok(admitted) => admitted,
        Err(failure) => return doors.turn_away(&head, Dialect::AnthropicMessages, &failure),
    };
    doors.count_ended(&head);
    let counting = async {
        params_mode(&head.headers, rules.params)?;
        let read = tokio::select! {
            biased;
            read = read_body(&head.headers, body, &limits, doors.budget()) => {
                read.map_err(|failure| name_bound(failure, &caller, house.max_bytes))?
            }
            failure = doors.gateway().stopping() => return Err(failure),
        };
        // Nothing is answered here, so there is nothing that a parameter could break.
        let mode = ParamsMode::Lenient;
        let counted = anthropic_messages::read_request(&read.bytes, version(&head.headers), mode)?;
        Ok::<_, Failure>(tokens::lean_high(tokens::estimate_input(&counted.request)))
    };
    match counting.await {
        Ok(tokens) => {
            let body = anthropic_messages::write_count(tokens.max(1));
            doors.sign(headers::json(StatusCode::OK, body))
        }
        Err(failure) => doors.turn_away_counted(&head, Dialect::AnthropicMessages, &failure),
    }
}
