//! What was spent, as JSON.

use gateway::keys::UnixMillis;
use gateway::store::{UsageBy, UsageFilter, UsageRow};
use serde::Serialize;

use super::calls::span;
use super::refused::Refused;
use super::wire::{Money, Word};
use super::{Answer, Asked};

#[derive(Serialize)]
struct UsageOut<'a> {
    by: Word<UsageBy>,
    data: Vec<RowOut<'a>>,
}

#[derive(Serialize)]
struct RowOut<'a> {
    /// Which key, tenant, model or day; empty where a call had none.
    name: &'a str,
    calls: u64,
    failed: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost: Money,
}

impl<'a> RowOut<'a> {
    fn new(row: &'a UsageRow) -> Self {
        Self {
            name: &row.name,
            calls: row.calls,
            failed: row.failed,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cost: Money(row.cost),
        }
    }
}

pub(super) async fn usage(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let query = &asked.query;
    let by = query.get("by", str::parse::<Word<UsageBy>>)?.unwrap_or(Word(UsageBy::Key));
    let filter = UsageFilter {
        by: by.0,
        received: span(query)?.unwrap_or(0..UnixMillis::MAX),
        key: query.get("key", |text| text.parse().map_err(|error| format!("{error}")))?,
        tenant: query.get("tenant", |text| text.parse().map_err(|error| format!("{error}")))?,
    };
    let rows = asked.admin.usage(filter).await?;
    Answer::ok(&UsageOut { by, data: rows.iter().map(RowOut::new).collect() })
}
