//! The record of calls as JSON.

use std::ops::Range;

use bytes::Bytes;
use gateway::amounts::Amounts;
use gateway::keys::{TenantId, UnixMillis};
use gateway::store::{CallFilter, CallRow, Cursor, FullCall};
use model::CallId;
use serde::Serialize;
use uuid::Uuid;

use super::query::Query;
use super::refused::Refused;
use super::wire::{Instant, Money};
use super::{Answer, Asked};

/// The names under which callers know a call.
const PREFIXES: [&str; 5] = ["req_", "chatcmpl-", "cmpl-", "msg_", "resp_"];

#[derive(Serialize)]
struct CallOut<'a> {
    id: String,
    received: Instant,
    first_byte: Option<Instant>,
    ended: Option<Instant>,
    key: Option<String>,
    tenant: Option<&'a str>,
    sandbox: bool,
    address: &'a str,
    agent: Option<&'a str>,
    dialect: &'a str,
    endpoint: &'a str,
    model: &'a str,
    model_served: Option<&'a str>,
    upstream: Option<&'a str>,
    replay_of: Option<String>,
    stream: bool,
    messages: u32,
    status: Option<u16>,
    stop_reason: Option<&'a str>,
    failure: Option<&'a str>,
    message: Option<&'a str>,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    estimated: bool,
    reserved: AmountsOut,
    spent: Option<AmountsOut>,
    overrun: bool,
    losses: &'a str,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Serialize)]
struct AmountsOut {
    requests: u64,
    tokens: u64,
    cost: Money,
}

#[derive(Serialize)]
struct FullCallOut<'a> {
    call: CallOut<'a>,
    request: Option<String>,
    reply: Option<String>,
}

#[derive(Serialize)]
struct CallsOut<'a> {
    data: Vec<CallOut<'a>>,
    next: Option<String>,
    /// Of a search for text: calls that are not searchable yet.
    lag: u64,
}

#[derive(Serialize)]
struct EndsOut<'a> {
    data: Vec<CallOut<'a>>,
    place: String,
    more: bool,
}

impl From<Amounts> for AmountsOut {
    fn from(amounts: Amounts) -> Self {
        let Amounts { requests, tokens, cost } = amounts;
        Self { requests, tokens, cost: Money(cost) }
    }
}

impl<'a> CallOut<'a> {
    fn new(row: &'a CallRow) -> Self {
        Self {
            id: row.id.to_string(),
            received: Instant(row.received),
            first_byte: row.first_byte.map(Instant),
            ended: row.ended.map(Instant),
            key: row.key.map(|key| key.to_string()),
            tenant: row.tenant.as_ref().map(TenantId::as_str),
            sandbox: row.sandbox,
            address: &row.address,
            agent: row.agent.as_deref(),
            dialect: &row.dialect,
            endpoint: &row.endpoint,
            model: &row.model,
            model_served: row.model_served.as_deref(),
            upstream: row.upstream.as_deref(),
            replay_of: row.replay_of.map(|id| id.to_string()),
            stream: row.stream,
            messages: row.messages,
            status: row.status,
            stop_reason: row.stop_reason.as_deref(),
            failure: row.failure.as_deref(),
            message: row.message.as_deref(),
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cached_tokens: row.cached_tokens,
            estimated: row.estimated,
            reserved: row.reserved.into(),
            spent: row.spent.map(AmountsOut::from),
            overrun: row.overrun,
            losses: &row.losses,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
        }
    }
}

pub(super) async fn list(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let query = &asked.query;
    let filter = CallFilter {
        received: span(query)?,
        text: query.text("text").map(str::to_owned),
        ..filter(query)?
    };
    let after = query.get("cursor", |text| {
        let id = text.parse::<Uuid>().map_err(|_| "expected the `next` of an earlier page")?;
        Ok(Cursor(CallId::from_uuid(id)))
    })?;
    let page = asked.admin.calls(filter, after, query.limit()?).await?;
    Answer::ok(&CallsOut {
        data: page.calls.iter().map(CallOut::new).collect(),
        next: page.next.map(|Cursor(id)| id.to_string()),
        lag: page.lag,
    })
}

/// Calls as they have ended.
pub(super) async fn ended(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let query = &asked.query;
    let filter = filter(query)?;
    let after = query.get("after", |text| {
        text.parse().map_err(|_| "expected the `place` of an earlier page".to_owned())
    })?;
    let page = asked.admin.ended(after, query.limit()?).await?;
    let fit = page.calls.iter().filter(|row| filter.fits(row));
    Answer::ok(&EndsOut {
        data: fit.map(CallOut::new).collect(),
        place: page.place.to_string(),
        more: page.more,
    })
}

/// What both lists can be asked for.
fn filter(query: &Query) -> Result<CallFilter, Refused> {
    Ok(CallFilter {
        key: query.get("key", |text| text.parse().map_err(|error| format!("{error}")))?,
        tenant: query.get("tenant", |text| text.parse().map_err(|error| format!("{error}")))?,
        model: query.text("model").map(str::to_owned),
        status: query.get("status", read_status)?,
        received: None,
        text: None,
    })
}

pub(super) async fn show(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let id = read_id(asked.id).ok_or_else(|| Refused::not_found("call"))?;
    let FullCall { row, request, reply } = asked.admin.call(id).await?;
    let call = CallOut::new(&row);
    Answer::ok(&FullCallOut { call, request: said(request), reply: said(reply) })
}

fn said(body: Option<Bytes>) -> Option<String> {
    body.map(|body| String::from_utf8_lossy(&body).into_owned())
}

/// A call under any of its names.
fn read_id(text: &str) -> Option<CallId> {
    let bare = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let known = matches!(bare.len(), 32 | 36);
    bare.parse::<Uuid>().ok().filter(|_| known).map(CallId::from_uuid)
}

/// `429`, `4xx` or `400-499`.
fn read_status(text: &str) -> Result<Range<u16>, String> {
    let number =
        |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    let class = text.strip_suffix("xx").and_then(|class| number(&format!("{class}00")));
    let read = match (class, text.split_once('-')) {
        (Some(first), _) => Some(first..first + 100),
        (None, Some((first, last))) => {
            number(first).zip(number(last)).map(|(first, last)| first..last + 1)
        }
        (None, None) => number(text).map(|status| status..status + 1),
    };
    read.filter(|range| !range.is_empty())
        .ok_or_else(|| "expected a status like 429, 4xx or 400-499".to_owned())
}

/// The span of time from `from` until before `to`.
pub(super) fn span(query: &Query) -> Result<Option<Range<UnixMillis>>, Refused> {
    let from = query.get("from", str::parse::<Instant>)?.map(|Instant(at)| at);
    let to = query.get("to", str::parse::<Instant>)?.map(|Instant(at)| at);
    if from.is_none() && to.is_none() {
        return Ok(None);
    }
    let span = from.unwrap_or(0)..to.unwrap_or(UnixMillis::MAX);
    if span.is_empty() {
        return Err(Refused::invalid("to", "'to' must be later than 'from'."));
    }
    Ok(Some(span))
}

#[cfg(test)]
mod tests {
    use super::{read_id, read_status};

    #[test]
    fn a_call_has_many_names() {
        let id = "0195f3a0-1234-7abc-8def-0123456789ab";
        let hex = id.replace('-', "");
        let known = read_id(id).unwrap();
        for name in ["", "req_", "chatcmpl-", "cmpl-", "msg_", "resp_"] {
            assert_eq!(read_id(&format!("{name}{hex}")), Some(known), "{name}");
        }
        for other in ["", "req_", "urn:uuid:x", &format!("{{{id}}}"), &format!("x_{hex}")] {
            assert_eq!(read_id(other), None, "{other}");
        }
    }

    #[test]
    fn a_status_is_one_or_many() {
        assert_eq!(read_status("429"), Ok(429..430));
        assert_eq!(read_status("4xx"), Ok(400..500));
        assert_eq!(read_status("400-499"), Ok(400..500));
        for wrong in ["", "4x", "xx", "0xx", "6xx", "499-400", "99", "400-", "-1", "4-5-6"] {
            assert!(read_status(wrong).is_err(), "{wrong}");
        }
    }
}
