//! The one error that reaches a caller.

use std::fmt;
use std::time::Duration;

/// A cause that never leaves the house.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong. Each dialect has one exhaustive table from it to status and wire error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The request is malformed or breaks a rule of its dialect.
    BadRequest,
    /// The request asks for something that this bridge or its upstream cannot carry.
    Unsupported,
    /// The conversation does not fit the model's context.
    ContextTooLong,
    /// The body, a head or a count is above its limit.
    TooLarge,
    /// No valid credential came with the request.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// The person at the host said no.
    Refused,
    /// There is no such path.
    NoSuchRoute,
    /// The path exists, but not for this method.
    MethodNotAllowed,
    /// The model does not exist or is not offered.
    UnknownModel,
    /// Too many requests or tokens in the window, here or at the host.
    RateLimited,
    /// A budget of the caller is used up.
    OverBudget,
    /// The body did not arrive in time.
    RequestTimeout,
    /// Nobody can answer at the moment; the message says what is missing.
    NotReady,
    /// Too much is waiting or held already.
    Overloaded,
    /// The upstream failed.
    UpstreamFailed,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The bridge itself failed.
    Internal,
}

impl FailureKind {
    /// Every kind there is.
    pub const ALL: [Self; 18] = [
        Self::BadRequest,
        Self::Unsupported,
        Self::ContextTooLong,
        Self::TooLarge,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Refused,
        Self::NoSuchRoute,
        Self::MethodNotAllowed,
        Self::UnknownModel,
        Self::RateLimited,
        Self::OverBudget,
        Self::RequestTimeout,
        Self::NotReady,
        Self::Overloaded,
        Self::UpstreamFailed,
        Self::UpstreamTimeout,
        Self::Internal,
    ];

    /// A short stable name for logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unsupported => "unsupported",
            Self::ContextTooLong => "context_too_long",
            Self::TooLarge => "too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::NoSuchRoute => "no_such_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UnknownModel => "unknown_model",
            Self::RateLimited => "rate_limited",
            Self::OverBudget => "over_budget",
            Self::RequestTimeout => "request_timeout",
            Self::NotReady => "not_ready",
            Self::Overloaded => "overloaded",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Internal => "internal",
        }
    }

    /// Who is to blame and whether a retry can help, unless the failure itself knows better.
    const fn usual(self) -> (Blame, Retry) {
        match self {
            Self::BadRequest
            | Self::Unsupported
            | Self::ContextTooLong
            | Self::TooLarge
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::NoSuchRoute
            | Self::MethodNotAllowed
            | Self::OverBudget
            | Self::UnknownModel => (Blame::Caller, Retry::Never),
            Self::RequestTimeout => (Blame::Caller, Retry::Now),
            Self::Refused | Self::UpstreamTimeout => (Blame::Upstream, Retry::Never),
            Self::RateLimited => (Blame::Upstream, Retry::After(Duration::from_secs(10))),
            Self::NotReady => (Blame::Gateway, Retry::After(Duration::from_secs(5))),
            Self::Overloaded => (Blame::Gateway, Retry::After(Duration::from_secs(2))),
            Self::UpstreamFailed => (Blame::Upstream, Retry::Now),
            Self::Internal => (Blame::Gateway, Retry::Now),
        }
    }
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller: the same request will fail again.
    Caller,
    /// The bridge.
    Gateway,
    /// The host or provider.
    Upstream,
}

/// Whether a retry can help. Every retry may cost a person a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It cannot; clients are told so (`x-should-retry: false`).
    Never,
    /// It can, at once.
    Now,
    /// It can, after this time (`retry-after`, whole seconds, at least 1).
    After(Duration),
}

/// Why a call failed.
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// Who is to blame.
    pub blame: Blame,
    /// Whether a retry can help.
    pub retry: Retry,
    /// What the caller is told: one or a few sentences, no internals, no secret.
    pub message: String,
    /// The request field that is at fault, in the caller's own words (`messages[0].content`).
    pub param: Option<String>,
    /// Whose limit refuses, where it is one of several that hold for the caller: `key:<id>`,
    /// `tenant:<name>`, `model:<pattern>` or `host:<name>`.
    pub scope: Option<Box<str>>,
    /// The cause, for our log only.
    pub source: Option<BoxError>,
}

impl Failure {
    /// A failure with the blame and retry that its kind usually has.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let (blame, retry) = kind.usual();
        let message = message.into();
        Self { kind, blame, retry, message, param: None, scope: None, source: None }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Names the scope that refuses.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<Box<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Sets whether a retry can help.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Keeps the cause for our log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.kind)
            .field("blame", &self.blame)
            .field("retry", &self.retry)
            .field("message", &self.message)
            .field("param", &self.param)
            .field("scope", &self.scope)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
