//! Which refusal meets which route: a cell for each, so that none is left to chance.

use super::rows::{Row, Sort, Tongue};

/// A kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    NoCredential,
    /// A typo: the checksum does not match.
    Damaged,
    /// A good token of another installation.
    Unknown,
    /// The id of a key of ours with a secret of somebody else's.
    WrongSecret,
    Expired,
    Revoked,
    /// An admin key where models are called, a model key where keys are administered.
    OtherSort,
    /// A key for other endpoints.
    Endpoint,
    /// A key for other models.
    Model,
    /// A key for other networks.
    Network,
    /// A body whose announced length is too much.
    LargeBody,
    /// A body that turns out too large on its way.
    EndlessBody,
    Rate,
    Concurrency,
    RequestBudget,
    TokenBudget,
    /// That of the key's tenant.
    CostBudget,
    Uses,
    /// What a call may cost is more than what the minute has left.
    TokenRate,
    /// That of the key above.
    ParentRate,
    /// That of the key's tenant.
    TenantRate,
    /// That of the model, whoever calls it.
    ModelRate,
    /// A name of this server that is none.
    ForeignHost,
    /// A page of somebody else.
    ForeignOrigin,
    /// A body that breaks off.
    Malformed,
    /// As many calls wait as may.
    QueueFull,
    /// The host cannot answer.
    NotReady,
    /// The keys and the record cannot be opened.
    StoreDown,
    WrongMethod,
    UnknownPath,
}

impl Kind {
    pub(super) const ALL: [Self; 30] = [
        Self::NoCredential,
        Self::Damaged,
        Self::Unknown,
        Self::WrongSecret,
        Self::Expired,
        Self::Revoked,
        Self::OtherSort,
        Self::Endpoint,
        Self::Model,
        Self::Network,
        Self::LargeBody,
        Self::EndlessBody,
        Self::Rate,
        Self::Concurrency,
        Self::RequestBudget,
        Self::TokenBudget,
        Self::CostBudget,
        Self::Uses,
        Self::TokenRate,
        Self::ParentRate,
        Self::TenantRate,
        Self::ModelRate,
        Self::ForeignHost,
        Self::ForeignOrigin,
        Self::Malformed,
        Self::QueueFull,
        Self::StoreDown,
        Self::WrongMethod,
        Self::UnknownPath,
        // The last: the bridge with a host that answers has to end for it.
        Self::NotReady,
    ];
}

/// What a route says to a kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// It refuses.
    Refused(Why),
    /// It answers, and tells that a call would be refused.
    Told(Why),
    /// It answers as with a good key, for this reason.
    Open(&'static str),
    /// There is no such request, for this reason.
    Nothing(&'static str),
}

/// How it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// 401.
    Unauthenticated,
    /// 403; what refuses is no scope.
    WrongDoor,
    /// 403 by a scope.
    Forbidden,
    /// 404, as a model that there is not.
    NoModel,
    /// 413 by a scope.
    TooLarge,
    /// 413 by the door.
    TooLargeForAll,
    /// 429, come again.
    Later,
    /// 429, do not come again.
    Never,
    /// 503, come again.
    Unavailable,
    /// 503 of a probe, whose body is no error.
    NotReady,
    /// 503, or 529 where that is the custom, come again.
    Full,
    /// 400.
    Malformed,
    /// 400, where administering has a code for it.
    BadField,
    /// 405.
    Method,
    /// 404.
    Path,
}

/// How a refusal looks: status, `type`, and `code` where the dialect has one.
pub(super) fn looks(why: Why, tongue: Tongue) -> (u16, &'static str, Option<&'static str>) {
    const INVALID: &str = "invalid_request_error";
    const QUOTA: &str = "insufficient_quota";
    let (status, openai, code, anthropic) = match why {
        Why::Unauthenticated => (401, INVALID, "invalid_api_key", "authentication_error"),
        Why::WrongDoor | Why::Forbidden => {
            (403, "permission_error", "forbidden", "permission_error")
        }
        Why::NoModel => (404, INVALID, "model_not_found", "not_found_error"),
        Why::TooLarge | Why::TooLargeForAll => {
            (413, INVALID, "request_too_large", "request_too_large")
        }
        Why::Later => (429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error"),
        Why::Never => (429, QUOTA, QUOTA, "rate_limit_error"),
        // The code of administering is checked apart.
        Why::Unavailable | Why::NotReady => {
            (503, "server_error", "no_upstream", "overloaded_error")
        }
        Why::Full if tongue == Tongue::Anthropic => (529, "", "", "overloaded_error"),
        Why::Full => (503, "server_error", "overloaded", ""),
        // No field is to blame.
        Why::Malformed => return (400, INVALID, None),
        Why::BadField => (400, INVALID, "invalid_value", INVALID),
        Why::Method => (405, INVALID, "method_not_allowed", INVALID),
        Why::Path => (404, INVALID, "unknown_url", "not_found_error"),
    };
    match tongue {
        Tongue::OpenAi => (status, openai, Some(code)),
        Tongue::Anthropic => (status, anthropic, None),
    }
}

const PROBE: &str = "a probe needs no key, and none that it shows is held against it";
const NO_BODY: &str = "its body is not read";
const NO_CALL: &str = "it is no call: looking costs nothing";
const NO_ENDPOINT: &str = "every key may look there";
const NO_MODEL: &str = "no model is asked";
const NO_BUDGETS: &str = "an admin key makes no calls, so nothing of it is counted";

/// What a route says to a kind of refusal.
pub(super) fn cell(row: &Row, kind: Kind) -> Cell {
    use Cell::{Nothing, Open, Refused, Told};
    let sort = row.sort;
    let at_the_door = |why| match sort {
        Sort::Alive | Sort::Ready => Open(PROBE),
        _ => Refused(why),
    };
    // What holds for a call, is told of one, and does not hold for anything else.
    let of_calls = |why, otherwise| match sort {
        Sort::Call(_) => Refused(why),
        Sort::DryRun(_) | Sort::Question => Told(why),
        Sort::Admin => Nothing(NO_BUDGETS),
        Sort::Alive | Sort::Ready => Open(PROBE),
        Sort::Count(_) | Sort::Kept | Sort::Model | Sort::Look | Sort::Children => Open(otherwise),
    };
    match kind {
        Kind::NoCredential
        | Kind::Damaged
        | Kind::Unknown
        | Kind::WrongSecret
        | Kind::Expired
        | Kind::Revoked => at_the_door(Why::Unauthenticated),
        Kind::OtherSort => at_the_door(Why::WrongDoor),
        // A page of somebody else learns nothing at all.
        Kind::ForeignHost | Kind::ForeignOrigin => Refused(Why::WrongDoor),
        Kind::Network => at_the_door(Why::Forbidden),
        Kind::Endpoint => match sort {
            Sort::Count(_) | Sort::Kept => Refused(Why::Forbidden),
            Sort::Admin => Nothing("an admin key has no endpoints"),
            _ => of_calls(Why::Forbidden, NO_ENDPOINT),
        },
        Kind::Model => match sort {
            Sort::Model => Refused(Why::NoModel),
            Sort::Admin => Nothing("an admin key has no models"),
            _ => of_calls(Why::Forbidden, NO_MODEL),
        },
        Kind::LargeBody | Kind::EndlessBody | Kind::Malformed => of_bodies(row, kind),
        Kind::Rate
        | Kind::Concurrency
        | Kind::TokenRate
        | Kind::ParentRate
        | Kind::TenantRate
        | Kind::ModelRate => of_calls(Why::Later, NO_CALL),
        Kind::RequestBudget | Kind::TokenBudget | Kind::CostBudget | Kind::Uses => {
            of_calls(Why::Never, NO_CALL)
        }
        Kind::QueueFull => match sort {
            Sort::Call(_) => Refused(Why::Full),
            _ => Open("it does not wait for a host"),
        },
        Kind::NotReady => match sort {
            Sort::Call(_) => Refused(Why::Unavailable),
            Sort::DryRun(_) | Sort::Question => Told(Why::Unavailable),
            Sort::Ready => Refused(Why::NotReady),
            _ => Open("it asks no host"),
        },
        Kind::StoreDown => match sort {
            Sort::Alive => Open("the process is up"),
            Sort::Ready => Refused(Why::NotReady),
            _ => Refused(Why::Unavailable),
        },
        Kind::WrongMethod => Refused(Why::Method),
        Kind::UnknownPath => Refused(Why::Path),
    }
}

/// The same of a kind that is about the body.
fn of_bodies(row: &Row, kind: Kind) -> Cell {
    let (by_scope, by_door) = match kind {
        Kind::Malformed => (Why::Malformed, Why::BadField),
        _ => (Why::TooLarge, Why::TooLargeForAll),
    };
    match row.sort {
        Sort::Call(_) | Sort::DryRun(_) | Sort::Question | Sort::Count(_) => {
            Cell::Refused(by_scope)
        }
        // What is kept is asked for at the door of its endpoint, which looks at the length.
        Sort::Kept if kind == Kind::LargeBody => Cell::Refused(by_scope),
        Sort::Admin | Sort::Children if row.takes_body() => Cell::Refused(by_door),
        _ => Cell::Nothing(NO_BODY),
    }
}
