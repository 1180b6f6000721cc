//! What was counted of refusals.
//!
//! A page is read backwards along the one key of the table, from where the page before has ended.
//! Networks are compared here, row by row: text has no order in which those within one stand
//! together.

use gateway::keys::KeyId;
use gateway::store::{RefusalFilter, RefusalGroup, RefusalPage, RefusalRow};
use rusqlite::{Connection, Row, params};

use super::reads::{MINUTE, PAGE, damaged};
use super::record::natural;

/// What is before the end of the span or of the page before is one comparison, so that one step
/// finds it.
const SELECT: &str = "SELECT minute, reason, network, key_id, count FROM refusal_count \
    WHERE minute >= ?1 AND (minute, reason, network, key_id) < (?2, ?3, ?4, ?5) \
    AND (?6 IS NULL OR reason = ?6) AND (?7 IS NULL OR key_id = ?7) \
    ORDER BY minute DESC, reason DESC, network DESC, key_id DESC";

/// Counts that fit a filter, newest first.
pub(super) fn page(
    connection: &Connection,
    filter: &RefusalFilter,
    after: Option<RefusalGroup>,
    limit: usize,
) -> rusqlite::Result<RefusalPage> {
    let limit = limit.clamp(1, PAGE);
    let (from, to) = filter.span.as_ref().map_or((0, i64::MAX), |span| (span.start, span.end));
    let from = from.div_euclid(MINUTE).saturating_mul(MINUTE);
    // Nothing of the minute `to` itself is before these empty texts.
    let (end, reason, network, key) = match after {
        Some(group) if group.minute < to => {
            let key = group.key.map(|key| key.to_string()).unwrap_or_default();
            (group.minute, group.reason, group.network.to_string(), key)
        }
        _ => (to, String::new(), String::new(), String::new()),
    };
    let wanted_key = filter.key.as_ref().map(KeyId::as_str);
    let mut statement = connection.prepare_cached(SELECT)?;
    let values = params![from, end, reason, network, key, filter.reason, wanted_key];
    let mut rows = statement.query(values)?;
    let mut page = RefusalPage::default();
    while let Some(row) = rows.next()? {
        let row = read(row)?;
        if !filter.fits_network(&row.group.network) {
            continue;
        }
        if page.refusals.len() == limit {
            page.next = page.refusals.last().map(|last| last.group.clone());
            break;
        }
        page.refusals.push(row);
    }
    Ok(page)
}

fn read(row: &Row<'_>) -> rusqlite::Result<RefusalRow> {
    let (network, key): (String, String) = (row.get(2)?, row.get(3)?);
    let network = network.parse().map_err(|_| damaged("a network is damaged"))?;
    let key = match key.as_str() {
        "" => None,
        key => Some(key.parse().map_err(|_| damaged("a key is damaged"))?),
    };
    let group = RefusalGroup { minute: row.get(0)?, reason: row.get(1)?, network, key };
    Ok(RefusalRow { group, count: natural(row.get(4)?) })
}
