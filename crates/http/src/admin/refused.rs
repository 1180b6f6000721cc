//! Why something is not done, in the shape of OpenAI's errors: whoever calls the models of this
//! bridge has a reader for it.

use std::borrow::Cow;

use axum::response::Response;
use dialects::openai_chat;
use gateway::admin::AdminError;
use gateway::store::StoreError;
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use model::{Failure, FailureKind};
use serde::Serialize;

use super::routes::Door;
use crate::headers;

/// Seconds after which a store that was down may be tried again.
const AGAIN: HeaderValue = HeaderValue::from_static("5");

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// What the doors refuse, or the body.
    Failure(Box<Failure>),
    /// No key, or none that works.
    Unauthenticated(&'static str),
    /// A key that may not do this.
    Forbidden(&'static str),
    /// The path takes these methods only.
    Method(String),
    /// There is no such route.
    NoRoute,
    /// A field or parameter is wrong; which, and a sentence.
    Invalid(String, String),
    /// The rules of administering refuse it.
    Admin(AdminError),
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Shape<'a>,
}

#[derive(Serialize)]
struct Shape<'a> {
    message: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl Refused {
    pub(super) const fn unauthenticated(message: &'static str) -> Self {
        Self::Unauthenticated(message)
    }

    pub(super) const fn no_route() -> Self {
        Self::NoRoute
    }

    pub(super) const fn internal() -> Self {
        Self::Admin(AdminError::Internal("The bridge could not write its answer."))
    }

    pub(super) const fn not_found(what: &'static str) -> Self {
        Self::Admin(AdminError::NotFound(what))
    }

    pub(super) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(param.into(), message.into())
    }

    /// The same, without what only administrators may know: why a store is down may name files.
    pub(super) fn told_at(self, door: Door) -> Self {
        match (self, door) {
            (Self::Admin(AdminError::Store(StoreError::Down(_))), Door::Children) => {
                Self::Admin(AdminError::Store(StoreError::Down("it cannot be written".into())))
            }
            (refused, _) => refused,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        let failure =
            |failure: &Failure| StatusCode::from_u16(openai_chat::write_failure(failure).0).ok();
        match self {
            Self::Failure(known) => failure(known).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::Admin(AdminError::Forbidden(_)) => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute | Self::Admin(AdminError::NotFound(_)) => StatusCode::NOT_FOUND,
            Self::Invalid(..)
            | Self::Admin(
                AdminError::Invalid { .. } | AdminError::Store(StoreError::Unsupported(_)),
            ) => StatusCode::BAD_REQUEST,
            Self::Admin(AdminError::Conflict(_)) => StatusCode::CONFLICT,
            Self::Admin(AdminError::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Admin(AdminError::Internal(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The same for the record.
    pub(super) fn for_record(&self) -> Failure {
        let kind = match self {
            Self::Failure(failure) => failure.kind,
            Self::Unauthenticated(_) => FailureKind::Unauthenticated,
            Self::Forbidden(_) | Self::Admin(AdminError::Forbidden(_)) => FailureKind::Forbidden,
            Self::Method(_) => FailureKind::MethodNotAllowed,
            Self::NoRoute | Self::Admin(AdminError::NotFound(_)) => FailureKind::NoSuchRoute,
            Self::Invalid(..)
            | Self::Admin(AdminError::Invalid { .. } | AdminError::Conflict(_)) => {
                FailureKind::BadRequest
            }
            Self::Admin(AdminError::Store(StoreError::Unsupported(_))) => FailureKind::Unsupported,
            Self::Admin(AdminError::Store(_)) => FailureKind::NotReady,
            Self::Admin(AdminError::Internal(_)) => FailureKind::Internal,
        };
        match self {
            Self::Failure(failure) => Failure::new(kind, failure.message.as_str()),
            other => Failure::new(kind, other.shape().message),
        }
    }

    fn shape(&self) -> Shape<'_> {
        let shape = |message, kind, code| Shape { message, kind, param: None, code };
        match self {
            // Written by its dialect; this is here for the compiler.
            Self::Failure(failure) => shape(failure.message.as_str().into(), SERVER, "failed"),
            Self::Unauthenticated(message) => shape((*message).into(), INVALID, "invalid_api_key"),
            Self::Forbidden(message) | Self::Admin(AdminError::Forbidden(message)) => {
                shape((*message).into(), "permission_error", "forbidden")
            }
            Self::Method(methods) => {
                let message = format!("This path takes {methods} only.");
                shape(message.into(), INVALID, "method_not_allowed")
            }
            Self::NoRoute => shape("There is no such path here.".into(), INVALID, "unknown_url"),
            Self::Invalid(param, message) => Shape {
                param: (!param.is_empty()).then_some(param),
                ..shape(message.into(), INVALID, "invalid_value")
            },
            Self::Admin(error) => Self::admin(error),
        }
    }

    fn admin(error: &AdminError) -> Shape<'_> {
        let message = Cow::Owned(error.to_string());
        let shape = |kind, code| Shape { message, kind, param: None, code };
        match error {
            AdminError::NotFound(_) => shape(INVALID, "not_found"),
            AdminError::Invalid { field, .. } => {
                Shape { param: Some(field), ..shape(INVALID, "invalid_value") }
            }
            AdminError::Conflict(_) => shape(INVALID, "conflict"),
            AdminError::Forbidden(_) => shape("permission_error", "forbidden"),
            AdminError::Store(StoreError::Down(why)) => Shape {
                message: format!("The store is not available at the moment: {why}.").into(),
                kind: SERVER,
                param: None,
                code: "store_unavailable",
            },
            AdminError::Store(StoreError::Unsupported(what)) => Shape {
                message: format!("This store has no {what}.").into(),
                kind: INVALID,
                param: None,
                code: "unsupported",
            },
            AdminError::Store(_) => shape(SERVER, "store_unavailable"),
            AdminError::Internal(_) => shape(SERVER, "internal_error"),
        }
    }

    /// The reply. The doors' own failures look as they do there.
    pub(super) fn response(&self) -> Response {
        let body = match self {
            Self::Failure(failure) => openai_chat::write_failure(failure).1,
            other => serde_json::to_vec(&Envelope { error: other.shape() }).unwrap_or_default(),
        };
        let mut response = headers::json(self.status(), body);
        match self {
            Self::Failure(failure) => headers::advise_retry(response.headers_mut(), failure),
            Self::Admin(AdminError::Store(_)) => {
                response.headers_mut().insert(RETRY_AFTER, AGAIN);
            }
            _ => {}
        }
        response
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<AdminError> for Refused {
    fn from(error: AdminError) -> Self {
        Self::Admin(error)
    }
}
