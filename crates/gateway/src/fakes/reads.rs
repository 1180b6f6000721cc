//! A store in memory: what it answers from what it keeps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::store::{Kept, KeptCall};
use crate::amounts::Amounts;
use crate::keys::{KeyId, ScopeId, UnixMillis};
use crate::store::{
    CallFilter, CallPage, CallRow, Cursor, MinuteSpent, RefusalFilter, RefusalGroup, RefusalPage,
    RefusalRow, Spending, UsageBy, UsageFilter, UsageRow,
};

const MINUTE: UnixMillis = 60_000;
const DAY: UnixMillis = 86_400_000;

impl Kept {
    pub(super) fn last_used(&self) -> Vec<(KeyId, UnixMillis)> {
        let mut used = HashMap::new();
        for (key, noted) in self.used.iter().filter(|(key, _)| self.keys.contains_key(key)) {
            let at = used.entry(*key).or_insert(*noted);
            *at = (*noted).max(*at);
        }
        for call in self.calls.values() {
            if let Some(key) = call.opened.key {
                let at = used.entry(key).or_insert(call.opened.received);
                *at = call.opened.received.max(*at);
            }
        }
        used.into_iter().collect()
    }

    pub(super) fn spent(&self, span: &Range<UnixMillis>) -> Vec<(ScopeId, Amounts)> {
        let mut spent: BTreeMap<ScopeId, Amounts> = BTreeMap::new();
        let known = self.calls.values().filter_map(|call| call.spending.as_ref());
        for spending in known.filter(|spending| span.contains(&spending.admitted)) {
            for scope in &*spending.scopes {
                let sum = spent.entry(scope.clone()).or_default();
                sum.requests += spending.amounts.requests;
                sum.tokens += spending.amounts.tokens;
                sum.cost += spending.amounts.cost;
            }
        }
        spent.into_iter().collect()
    }

    pub(super) fn spent_after(&self, time: UnixMillis) -> Vec<MinuteSpent> {
        let minute = |spending: &Spending| spending.admitted.div_euclid(MINUTE) * MINUTE;
        let known = self.calls.values().filter_map(|call| call.spending.as_ref());
        let later: BTreeSet<_> = known.map(minute).filter(|minute| *minute > time).collect();
        let of = |minute| {
            let spent = self.spent(&(minute..minute + MINUTE));
            spent.into_iter().map(move |(scope, amounts)| (minute, scope, amounts))
        };
        later.into_iter().flat_map(of).collect()
    }

    pub(super) fn page(
        &self,
        filter: &CallFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> CallPage {
        let mut calls: Vec<CallRow> = self
            .calls
            .values()
            .rev()
            .filter(|call| after.is_none_or(|Cursor(after)| call.opened.id < after))
            .filter(|call| call.fits(filter))
            .map(KeptCall::row)
            .take(limit.saturating_add(1))
            .collect();
        let more = calls.len() > limit;
        calls.truncate(limit);
        let next = calls.last().filter(|_| more).map(|last| Cursor(last.id));
        CallPage { calls, next, lag: 0 }
    }

    pub(super) fn usage(&self, filter: &UsageFilter) -> Vec<UsageRow> {
        let wanted = CallFilter {
            key: filter.key,
            tenant: filter.tenant.clone(),
            received: Some(filter.received.clone()),
            ..CallFilter::default()
        };
        let mut sums: BTreeMap<String, UsageRow> = BTreeMap::new();
        for call in self.calls.values().filter(|call| call.fits(&wanted)) {
            let row = call.row();
            let name = match filter.by {
                UsageBy::Key => row.key.map(|key| key.to_string()).unwrap_or_default(),
                UsageBy::Tenant => row.tenant.map(|tenant| tenant.to_string()).unwrap_or_default(),
                UsageBy::Model => row.model,
                UsageBy::Day => day(row.received),
            };
            let sum = sums.entry(name.clone()).or_insert(UsageRow {
                name,
                calls: 0,
                failed: 0,
                input_tokens: 0,
                output_tokens: 0,
                cost: 0,
            });
            sum.calls += 1;
            sum.failed += u64::from(row.status.is_some_and(|status| status >= 400));
            sum.input_tokens += row.input_tokens;
            sum.output_tokens += row.output_tokens;
            sum.cost += row.spent.map_or(0, |spent| spent.cost);
        }
        sums.into_values().collect()
    }

    pub(super) fn refusal_page(
        &self,
        filter: &RefusalFilter,
        after: Option<&RefusalGroup>,
        limit: usize,
    ) -> RefusalPage {
        let place = |group: &RefusalGroup| {
            (group.minute, group.reason.clone(), group.network.to_string(), group.key)
        };
        let before = after.map(place);
        let mut sums: BTreeMap<_, RefusalRow> = BTreeMap::new();
        for count in &self.refusals {
            let group = RefusalGroup {
                minute: count.minute,
                reason: count.reason.to_owned(),
                network: count.network,
                key: count.key,
            };
            let at = place(&group);
            if fits(&group, filter) && before.as_ref().is_none_or(|before| at < *before) {
                sums.entry(at).or_insert(RefusalRow { group, count: 0 }).count += count.count;
            }
        }
        let mut refusals: Vec<_> = sums.into_values().rev().take(limit.saturating_add(1)).collect();
        let more = refusals.len() > limit;
        refusals.truncate(limit);
        let next = refusals.last().filter(|_| more).map(|last| last.group.clone());
        RefusalPage { refusals, next }
    }
}

fn fits(group: &RefusalGroup, filter: &RefusalFilter) -> bool {
    let within = |span: &Range<UnixMillis>| {
        group.minute < span.end && span.start < group.minute.saturating_add(MINUTE)
    };
    filter.span.as_ref().is_none_or(within)
        && filter.reason.as_ref().is_none_or(|reason| group.reason == *reason)
        && filter.key.is_none_or(|key| group.key == Some(key))
        && filter.fits_network(&group.network)
}

impl KeptCall {
    fn fits(&self, filter: &CallFilter) -> bool {
        let Self { opened, closed, .. } = self;
        let bodies =
            [opened.body.as_ref(), closed.as_ref().and_then(|closed| closed.body.as_ref())];
        let said: String = bodies
            .into_iter()
            .flatten()
            .map(|body| String::from_utf8_lossy(body).to_lowercase())
            .collect();
        let text =
            |text: &String| text.split_whitespace().all(|word| said.contains(&word.to_lowercase()));
        filter.fits(&self.row()) && filter.text.as_ref().is_none_or(text)
    }

    pub(super) fn row(&self) -> CallRow {
        let Self { opened, closed, spending } = self;
        let closed = closed.as_ref();
        let text = |text: Option<&str>| text.map(str::to_owned);
        CallRow {
            id: opened.id,
            received: opened.received,
            first_byte: closed.and_then(|closed| closed.first_byte),
            ended: closed.map(|closed| closed.ended),
            key: opened.key,
            tenant: opened.tenant.clone(),
            sandbox: opened.sandbox,
            address: opened.address.to_string(),
            agent: text(opened.agent.as_deref()),
            dialect: opened.dialect.as_str().to_owned(),
            endpoint: opened.endpoint.as_str().to_owned(),
            model: opened.model.to_string(),
            model_served: text(closed.and_then(|closed| closed.model_served.as_deref())),
            upstream: text(closed.and_then(|closed| closed.upstream.as_deref())),
            replay_of: closed.and_then(|closed| closed.replay_of),
            stream: opened.stream,
            messages: opened.messages,
            status: closed.map(|closed| closed.status),
            stop_reason: text(closed.and_then(|closed| closed.stop_reason)),
            failure: text(closed.and_then(|closed| closed.failure)),
            message: text(closed.and_then(|closed| closed.message.as_deref())),
            input_tokens: closed.map_or(opened.input_tokens, |closed| closed.input_tokens),
            output_tokens: closed.map_or(0, |closed| closed.output_tokens),
            cached_tokens: closed.map_or(0, |closed| closed.cached_tokens),
            estimated: closed.is_none_or(|closed| closed.estimated),
            reserved: opened.reserved.amounts,
            spent: spending.as_ref().map(|Spending { amounts, .. }| *amounts),
            overrun: closed.is_some_and(|closed| closed.overrun),
            losses: closed.map(|closed| closed.losses.to_string()).unwrap_or_default(),
            bytes_in: opened.bytes_in,
            bytes_out: closed.map_or(0, |closed| closed.bytes_out),
        }
    }
}

/// The date of an instant, UTC, by the algorithm for days of the civil calendar.
fn day(at: UnixMillis) -> String {
    let shifted = at.div_euclid(DAY) + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
