//! What can be checked only after the whole journal.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use gateway::store::Finding;
use model::CallId;
use rusqlite::{Connection, OptionalExtension as _};

use super::super::journal::Tip;
use super::super::record::Stored;
use super::super::retire::RetiredNote;
use super::super::schema;
use super::{Spent, Walk, finding, number};

/// A call that tells of its end before that, or of spending that is not settled.
const EARLY: &str = "SELECT id, seq FROM call WHERE settled = 0 AND coalesce(spent_scopes, \
    spent_admitted, spent_requests, spent_tokens, spent_cost) IS NOT NULL \
    OR ended IS NULL AND (settled <> 0 OR coalesce(first_byte, model_served, upstream, replay_of, \
    status, stop_reason, input_tokens, output_tokens, cached_tokens, estimated, overrun, losses, \
    bytes_out, failure, message) IS NOT NULL) ORDER BY n LIMIT 1";

impl Walk {
    /// What can be checked only after the whole journal.
    pub(super) fn rest(&mut self, connection: &Connection) -> rusqlite::Result<Option<Finding>> {
        let end = self.tip.seq;
        if let Some(checkpoint) = self.checkpoint
            && checkpoint.seq > end
        {
            let what = format!("the entries up to {} were cut off", checkpoint.seq);
            return Ok(Some(finding(end + 1, what)));
        }
        let said = self.note.as_ref().map_or(Tip::default(), RetiredNote::tip);
        if said != self.base {
            let what = "the journal does not say that the entries up to here were retired";
            return Ok(Some(finding(self.base.seq, what)));
        }
        if let Some(found) = self.retired(connection)? {
            return Ok(Some(found));
        }
        if let Some(name) = schema::changed(connection)? {
            let what = format!("the {name} of the database was changed or is missing");
            return Ok(Some(finding(end, what)));
        }
        if self.moved {
            return Ok(None);
        }
        if let Some(found) = self.keys_and_tenants(connection)? {
            return Ok(Some(found));
        }
        // Both in one pass: the table may be long.
        let sql = "SELECT count(*) FILTER (WHERE seq > ?1), \
            count(*) FILTER (WHERE settled NOT IN (0, 1)) FROM call";
        let (calls, late) =
            connection.query_row(sql, [self.base.seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if let Some(found) = self.unknown_calls(connection, calls)? {
            return Ok(Some(found));
        }
        if let Some(found) = self.unknown_spending(connection, late)? {
            return Ok(Some(found));
        }
        if self.base.seq > 0 { Ok(None) } else { self.ledger(connection) }
    }

    /// Whether the tables count what was retired as the journal does.
    fn retired(&self, connection: &Connection) -> rusqlite::Result<Option<Finding>> {
        let said = self.note.as_ref().map_or((0, 0), |note| (note.calls, note.rows));
        let sql = "SELECT retired_calls, retired_rows FROM meta";
        let found: (i64, i64) =
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let found = (number(found.0), number(found.1));
        let what = "what retention took is not counted as the journal says";
        Ok((found != said).then(|| finding(self.tip.seq, what)))
    }

    fn keys_and_tenants(&mut self, connection: &Connection) -> rusqlite::Result<Option<Finding>> {
        let end = self.tip.seq;
        for (of, sql) in
            [("key", "SELECT id, json FROM vkey"), ("tenant", "SELECT id, json FROM tenant")]
        {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let name = format!("{of}:{}", row.get::<_, String>(0)?);
                let found: String = row.get(1)?;
                match self.now.remove(&name) {
                    Some((_, Some(now))) if now == found => {}
                    Some((seq, _)) => return Ok(Some(finding(seq, format!("{name} was changed")))),
                    None if self.base.seq > 0 => {}
                    None => {
                        let what = format!("{name} is not known to the journal");
                        return Ok(Some(finding(end, what)));
                    }
                }
            }
        }
        let gone = self.now.iter().find(|(_, (_, now))| now.is_some());
        Ok(gone.map(|(name, (seq, _))| finding(*seq, format!("{name} was taken away"))))
    }

    /// Whether there are calls that the journal does not know; so many are behind its beginning.
    fn unknown_calls(
        &self,
        connection: &Connection,
        calls: i64,
    ) -> rusqlite::Result<Option<Finding>> {
        let end = self.tip.seq;
        if number(calls) != self.opened {
            let what = format!("there are {calls} calls, the journal knows {}", self.opened);
            return Ok(Some(finding(end, what)));
        }
        // Of calls that were not settled when retention passed them, the journal may have nothing.
        let sql = "SELECT id FROM call WHERE seq <= ?1 AND (settled <> 0 OR ?2)";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query((self.base.seq, self.base.seq == 0))?;
        while let Some(row) = rows.next()? {
            let id: [u8; 16] = row.get(0)?;
            if !self.older.contains(&id) {
                let call = Some(CallId::from_bytes(id));
                let what = "the call is not known to the journal".to_owned();
                return Ok(Some(Finding { sequence: number(end), call, what }));
            }
        }
        Ok(None)
    }

    /// Whether a call tells of an end or of spending that is still to come: what it says then is in
    /// no digest. So many were settled late.
    fn unknown_spending(
        &self,
        connection: &Connection,
        late: i64,
    ) -> rusqlite::Result<Option<Finding>> {
        if number(late) != self.late {
            let what = format!(
                "{late} calls were settled after their end, the journal knows {}",
                self.late
            );
            return Ok(Some(finding(self.tip.seq, what)));
        }
        let found = connection.query_row(EARLY, [], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(found.optional()?.map(|(id, seq): ([u8; 16], i64)| Finding {
            sequence: number(seq),
            call: Some(CallId::from_bytes(id)),
            what: "the call tells of what is still to come".to_owned(),
        }))
    }

    /// Whether the ledger holds what the calls say.
    fn ledger(&self, connection: &Connection) -> rusqlite::Result<Option<Finding>> {
        let total = "SELECT 0, scope, requests, tokens, cost FROM ledger_total";
        let minutes = "SELECT minute, scope, requests, tokens, cost FROM ledger";
        for (sql, in_minutes) in [(total, false), (minutes, true)] {
            let mut found: HashMap<String, Spent> = HashMap::new();
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let weight = self.weights.hash_one(row.get::<_, i64>(0)?);
                let scope = row.get_ref(1)?.as_str()?;
                let sum = match found.get_mut(scope) {
                    Some(sum) => sum,
                    None => found.entry(scope.to_owned()).or_default(),
                };
                let (requests, tokens, cost) = (row.get(2)?, row.get(3)?, row.get(4)?);
                sum.add(Stored { requests, tokens, cost }, weight);
            }
            let same = |scope: &str| match (self.sums.get(scope), found.get(scope)) {
                (Some(sum), Some(found)) if in_minutes => sum.is(found),
                (Some(sum), Some(found)) => sum.amounts == found.amounts,
                _ => false,
            };
            if let Some(scope) = self.sums.keys().chain(found.keys()).find(|scope| !same(scope)) {
                let what = format!("the ledger of {scope} is not the sum of its calls");
                return Ok(Some(finding(self.tip.seq, what)));
            }
        }
        Ok(None)
    }
}
