//! What was counted of refusals, as JSON.

use gateway::keys::UnixMillis;
use gateway::store::{RefusalFilter, RefusalGroup, RefusalRow};
use serde::Serialize;

use super::bounds::Network;
use super::calls::span;
use super::refused::Refused;
use super::wire::{Instant, PageOut};
use super::{Answer, Asked};

#[derive(Serialize)]
struct RefusalOut<'a> {
    /// When the minute began.
    minute: Instant,
    reason: &'a str,
    network: String,
    key: Option<String>,
    count: u64,
}

impl<'a> RefusalOut<'a> {
    fn new(row: &'a RefusalRow) -> Self {
        let group = &row.group;
        Self {
            minute: Instant(group.minute),
            reason: &group.reason,
            network: group.network.to_string(),
            key: group.key.map(|key| key.to_string()),
            count: row.count,
        }
    }
}

pub(super) async fn list(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let query = &asked.query;
    let filter = RefusalFilter {
        span: span(query)?,
        reason: query.text("reason").map(str::to_owned),
        key: query.get("key", |text| text.parse().map_err(|error| format!("{error}")))?,
        network: query.get("network", |text| {
            text.parse().map(|Network(network)| network).map_err(str::to_owned)
        })?,
    };
    let after = query.get("cursor", read_cursor)?;
    let page = asked.admin.refusals(filter, after, query.limit()?).await?;
    Answer::ok(&PageOut {
        data: page.refusals.iter().map(RefusalOut::new).collect(),
        next: page.next.as_ref().map(write_cursor),
    })
}

fn write_cursor(group: &RefusalGroup) -> String {
    let RefusalGroup { minute, reason, network, key } = group;
    let key = key.map(|key| key.to_string()).unwrap_or_default();
    format!("{minute},{reason},{network},{key}")
}

fn read_cursor(text: &str) -> Result<RefusalGroup, String> {
    let read = || {
        let mut parts = text.split(',');
        let minute = parts.next()?.parse::<UnixMillis>().ok()?;
        let (reason, network) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        let key = Some(parts.next()?).filter(|key| !key.is_empty());
        let key = key.map(|key| key.parse().ok()).map_or(Some(None), |key| key.map(Some))?;
        parts.next().is_none().then_some(RefusalGroup { minute, reason, network, key })
    };
    read().ok_or_else(|| "expected the `next` of an earlier page".to_owned())
}
