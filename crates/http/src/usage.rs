//! `GET /v1/usage`: what is left to the key that asks.
//!
//! A key sees all of its own accounts. Of its parents and of its tenant it sees what is left, since
//! that bounds it too, but neither their ids nor their limits and spending: those are other
//! people's.

use axum::extract::{Request, State};
use axum::response::Response;
use gateway::admission::{Admission, BudgetReport, ModelReport, RateReport, ScopeReport};
use gateway::amounts::Unit;
use gateway::budgets::{Calendar, WallTime};
use gateway::keyring::ActiveKey;
use gateway::keys::{KeyKind, ScopeId, UnixMillis};
use http::StatusCode;
use serde::Serialize;

use crate::doors::{Doors, dialect_of};
use crate::headers;

const NO_KEY: &str = "This caller shows no key, so no limits and budgets of a key hold for it.";
const NOT_COUNTED: &str = "This bridge counts no limits and budgets.";
const SANDBOX: &str = "Calls with this key count towards its rates and uses, and spend no budget.";

#[derive(Serialize)]
struct Usage<'a> {
    object: &'static str,
    key: Option<Key<'a>>,
    /// The key, its parents upwards, its tenant.
    scopes: Vec<Account>,
    /// The limits of models, which all callers share.
    models: Vec<Shared>,
    /// In which the windows of budgets begin and end.
    time_zone: Option<&'a str>,
    message: Option<&'static str>,
}

#[derive(Serialize)]
struct Key<'a> {
    id: &'a str,
    name: &'a str,
    tenant: &'a str,
    kind: &'static str,
    /// The end of the key, or of what it depends on.
    expires: Option<String>,
    uses: Option<Uses>,
}

#[derive(Serialize)]
struct Uses {
    limit: u64,
    left: u64,
}

#[derive(Serialize)]
struct Account {
    scope: &'static str,
    requests_per_minute: Option<Rate>,
    tokens_per_minute: Option<Rate>,
    concurrency: Option<Concurrency>,
    budgets: Vec<Budget>,
}

#[derive(Serialize)]
struct Shared {
    /// A pattern of names.
    model: String,
    requests_per_minute: Option<Rate>,
    tokens_per_minute: Option<Rate>,
    concurrency: Option<Concurrency>,
}

#[derive(Serialize)]
struct Rate {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<String>,
}

#[derive(Serialize)]
struct Concurrency {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    left: u32,
}

#[derive(Serialize)]
struct Budget {
    unit: &'static str,
    span: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spent: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Amount>,
    left: Amount,
    resets_at: Option<String>,
}

/// A number, or dollars as text: a sum of money is no binary fraction.
#[derive(Serialize)]
#[serde(untagged)]
enum Amount {
    Count(u64),
    Dollars(String),
}

/// `GET /v1/usage`.
pub(crate) async fn usage(State(doors): State<Doors>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let caller = match doors.admit(&head) {
        Ok(caller) => caller,
        Err(failure) => {
            return doors.turn_away(&head, dialect_of(&head.uri, &head.headers), &failure);
        }
    };
    let body =
        report(doors.gateway().admission().map(|admission| &**admission), caller.key.as_deref());
    doors.answer(&head, headers::json(StatusCode::OK, body))
}

fn report(admission: Option<&Admission>, key: Option<&ActiveKey>) -> Vec<u8> {
    let policy = admission.map(Admission::policy);
    let utc = Calendar::default();
    let calendar = policy.as_ref().map_or(&utc, |policy| &policy.calendar);
    let mut scopes = match (admission, key) {
        (Some(admission), Some(key)) => admission.usage(key),
        _ => Vec::new(),
    };
    let now = admission.map_or(0, |admission| admission.clock().now());
    let usage = Usage {
        object: "usage",
        key: key.map(|key| Key::of(key, uses(key, &mut scopes), calendar)),
        message: match (key, admission) {
            (None, _) => Some(NO_KEY),
            (Some(_), None) => Some(NOT_COUNTED),
            (Some(key), Some(_)) if key.key.kind == KeyKind::Sandbox => Some(SANDBOX),
            (Some(_), Some(_)) => None,
        },
        scopes: scopes
            .iter()
            .enumerate()
            .map(|(place, report)| Account::of(report, place == 0, now, calendar))
            .collect(),
        models: admission
            .map(|admission| admission.models(key).iter().map(Shared::of).collect())
            .unwrap_or_default(),
        time_zone: policy.as_ref().map(|policy| policy.calendar.zone()),
    };
    // A struct of strings and numbers always serialises.
    serde_json::to_vec(&usage).unwrap_or_default()
}

/// Takes the uses of the key itself out of its budgets, of which they are the first.
fn uses(key: &ActiveKey, scopes: &mut [ScopeReport]) -> Option<Uses> {
    let limit = key.key.uses?;
    let own = scopes.first_mut().filter(|own| !own.budgets.is_empty())?;
    Some(Uses { limit, left: own.budgets.remove(0).left })
}

impl<'a> Key<'a> {
    fn of(key: &'a ActiveKey, uses: Option<Uses>, calendar: &Calendar) -> Self {
        let ends = Some(key.expires).filter(|end| *end != UnixMillis::MAX);
        Self {
            id: key.key.id.as_str(),
            name: &key.key.name,
            tenant: key.key.tenant.as_str(),
            kind: key.key.kind.as_str(),
            expires: ends.map(|end| calendar.show(WallTime(end))),
            uses,
        }
    }
}

impl Account {
    /// What a caller may see of a scope: all of its `own`.
    fn of(report: &ScopeReport, own: bool, now: UnixMillis, calendar: &Calendar) -> Self {
        let rate = |rate: RateReport| Rate {
            limit: own.then_some(rate.limit),
            left: rate.remaining,
            resets_at: own.then(|| {
                let wait = UnixMillis::try_from(rate.reset).unwrap_or(UnixMillis::MAX);
                calendar.show(WallTime(now.saturating_add(wait)))
            }),
        };
        let (running, most) = report.in_flight;
        Self {
            scope: match report.scope {
                ScopeId::Key(_) if own => "key",
                ScopeId::Key(_) => "parent",
                ScopeId::Tenant(_) => "tenant",
            },
            requests_per_minute: report.requests.map(rate),
            tokens_per_minute: report.tokens.map(rate),
            concurrency: most.map(|limit| Concurrency {
                limit: own.then_some(limit),
                left: limit.saturating_sub(running),
            }),
            budgets: report.budgets.iter().map(|left| Budget::of(left, own, calendar)).collect(),
        }
    }
}

impl Shared {
    /// Others use it too, so that only what is left is the caller's business.
    fn of(report: &ModelReport) -> Self {
        let left = |rate: RateReport| Rate { limit: None, left: rate.remaining, resets_at: None };
        let (running, most) = report.in_flight;
        Self {
            model: report.pattern.as_str().to_owned(),
            requests_per_minute: report.requests.map(left),
            tokens_per_minute: report.tokens.map(left),
            concurrency: most
                .map(|most| Concurrency { limit: None, left: most.saturating_sub(running) }),
        }
    }
}

impl Budget {
    fn of(report: &BudgetReport, own: bool, calendar: &Calendar) -> Self {
        let unit = report.budget.unit;
        let amount = |value| match unit {
            Unit::Requests | Unit::Tokens => Amount::Count(value),
            Unit::Cost => Amount::Dollars(dollars(value)),
        };
        Self {
            unit: unit.as_str(),
            span: report.budget.span.as_str(),
            limit: own.then(|| amount(report.budget.limit)),
            spent: own.then(|| amount(report.spent)),
            held: own.then(|| amount(report.held)),
            left: amount(report.left),
            resets_at: report.resets_at.map(|time| calendar.show(time)),
        }
    }
}

/// Nano-dollars as an exact decimal, with cents at least: `2.50`, `0.001155`.
pub(crate) fn dollars(nanos: u64) -> String {
    let exact = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let short = exact.trim_end_matches('0');
    let (whole, rest) = short.split_once('.').unwrap_or((short, ""));
    format!("{whole}.{rest:0<2}")
}

#[cfg(test)]
mod tests {
    use super::dollars;

    #[test]
    fn money_is_exact() {
        for (nanos, text) in [
            (0, "0.00"),
            (1, "0.000000001"),
            (10_000_000, "0.01"),
            (2_500_000_000, "2.50"),
            (1_155_000, "0.001155"),
            (100_000_000_000, "100.00"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(dollars(nanos), text);
        }
    }
}
