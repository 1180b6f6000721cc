//! Filters alone and together: what they find, and what that costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gateway::keys::KeyId;
use gateway::store::{CallFilter, UsageBy, UsageFilter};
use rusqlite::Connection;

use super::super::schema;
use super::{calls, calls_until, usage};

/// Calls in the table.
const CALLS: u32 = 20_000;

fn key(number: u8) -> KeyId {
    KeyId::from_entropy([number; 12])
}

/// Of every two calls one is of key 1 and the other of key 2; of every thousand one is of key 3. All
/// with key 2 failed, and of the others every five-thousandth.
fn filled() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    assert!(schema::migrate(&mut connection).is_ok());
    let sql = "WITH RECURSIVE some (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM some WHERE i < ?4)
        INSERT INTO call (n, id, received, key_id, tenant, sandbox, address, dialect, endpoint, model,
            stream, messages, bytes_in, estimate, scopes, admitted, reserved_requests,
            reserved_tokens, reserved_cost, seq, settled, ended, status, model_served, input_tokens,
            output_tokens, cached_tokens, estimated, overrun, losses, bytes_out)
        SELECT i << 20, CAST(printf('%016d', i) AS BLOB), i,
            CASE WHEN i % 1000 = 7 THEN ?3 WHEN i % 2 THEN ?2 ELSE ?1 END, 'team', 0, '', '', '',
            CASE WHEN i % 3 THEN 'auto' ELSE 'gpt' END,
            0, 1, 1, 1, '', i, 1, 1, 1, i, 0, i, CASE WHEN i % 2 OR i % 5000 = 0 THEN 429 ELSE 200 END,
            CASE WHEN i % 5 THEN 'auto' ELSE 'gpt' END, 1, 1, 0, 1, 0, '', 1
        FROM some";
    let [one, two, three] = [1, 2, 3].map(|number| key(number).as_str().to_owned());
    connection.execute(sql, (one, two, three, CALLS)).unwrap();
    connection
}

/// How many steps SQLite's machine takes for something.
fn steps(connection: &mut Connection, work: impl FnOnce(&Connection)) -> u64 {
    let steps = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&steps);
    let counted = move || {
        count.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1, Some(counted)).unwrap();
    work(connection);
    connection.progress_handler(0, None::<fn() -> bool>).unwrap();
    steps.load(Ordering::Relaxed)
}

fn of(number: u8) -> CallFilter {
    CallFilter { key: Some(key(number)), ..CallFilter::default() }
}

/// Combinations, with how many calls fit.
fn combinations() -> Vec<(CallFilter, usize)> {
    let auto = || Some("auto".into());
    let (team, all) = ("team".parse().ok(), CallFilter::default());
    vec![
        (of(3), 20),
        (CallFilter { status: Some(400..500), ..of(3) }, 20),
        (CallFilter { status: Some(200..300), ..of(3) }, 0),
        (CallFilter { model: auto(), ..of(3) }, 20),
        (CallFilter { tenant: team.clone(), status: Some(200..500), model: auto(), ..of(3) }, 20),
        (CallFilter { status: Some(429..430), received: Some(1..i64::MAX), ..of(1) }, 4),
        (CallFilter { status: Some(429..430), received: Some(5_001..15_001), ..of(1) }, 2),
        (CallFilter { tenant: team, model: Some("gpt".into()), ..all }, 9_333),
    ]
}

/// What stands in few rows of one index saves the other indexes.
#[test]
fn the_rarest_filter_saves_the_others() {
    let mut connection = filled();
    for (filter, wanted) in combinations().into_iter().filter(|(filter, _)| filter.key == of(3).key)
    {
        let taken = steps(&mut connection, |connection| {
            assert_eq!(calls(connection, &filter, None, 50).unwrap().calls.len(), wanted);
        });
        assert!(taken < 30_000, "{filter:?}: {taken} steps");
    }
    let filter = UsageFilter {
        by: UsageBy::Model,
        received: 0..i64::MAX,
        key: Some(key(3)),
        tenant: "team".parse().ok(),
    };
    let taken = steps(&mut connection, |connection| {
        assert_eq!(usage(connection, &filter).unwrap().len(), 2);
    });
    assert!(taken < 3_000, "{taken} steps");
}

/// Whether or not there is time, all that fit are found, once and in their order.
#[test]
fn a_page_that_is_late_goes_on_from_where_it_was() {
    let connection = filled();
    let now = Instant::now();
    let mut late = 0;
    for (filter, wanted) in combinations() {
        for until in [now, now + Duration::from_hours(1)] {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let page = calls_until(&connection, &filter, after, 700, until).unwrap();
                late += usize::from(page.next.is_some() && page.calls.len() < 700);
                assert!(page.next != after || after.is_none(), "{filter:?} stands still");
                seen.extend(page.calls.iter().map(|call| call.received));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert!(seen.is_sorted_by(|newer, older| newer > older), "{filter:?}");
            assert_eq!(seen.len(), wanted, "{filter:?}");
        }
    }
    assert!(late > 0);
}
