//! Calls that come at a constant rate, whether or not earlier ones are answered.
//!
//! A closed loop asks less while it waits, and so hides each pause behind the calls that were not
//! made in it. Here every call has a time at which it is due, and its latency counts from then.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::arguments::Arguments;
use crate::call::{Call, Request};
use crate::error::Outcome;
use crate::figures::{figure, median, nanoseconds, percentile};
use crate::load::{self, PATIENCE, Tally};
use crate::report::{Report, Table, milliseconds, verdict};
use crate::target::{Kind, Setting, Target};

/// Connections that calls go out on; a call that finds none free waits, and that counts.
const CONNECTIONS: usize = 64;

/// What one target did in one round, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Round {
    p50: f64,
    p99: f64,
}

/// One target and its rounds.
struct Row {
    target: Target,
    rounds: Vec<Round>,
    bad: u64,
}

/// Measures the whole-path floor and both kinds of mcptb in turns.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    report.progress(&format!("open loop, {} calls/s", arguments.rate));
    let mut rows = Vec::new();
    for kind in [Kind::WholePath, Kind::Mcptb, Kind::Full] {
        if !(arguments.floors_only && kind.is_ours()) {
            let target = Target::start(kind, arguments, Setting::at_once(CONNECTIONS))?;
            target.pause()?;
            rows.push(Row { target, rounds: Vec::new(), bad: 0 });
        }
    }
    for _ in 0..arguments.rounds() {
        for row in &mut rows {
            row.target.resume()?;
            let tally = measure(&row.target, arguments)?;
            row.target.pause()?;
            row.bad += tally.bad();
            row.rounds.push(Round {
                p50: figure(percentile(&tally.latencies, 0.5)),
                p99: figure(percentile(&tally.latencies, 0.99)),
            });
        }
    }
    let (cells, figures) = show(&rows, arguments.rate);
    for row in &rows {
        report.count_bad(row.bad);
    }
    let table = Table {
        title: "Open loop: calls come at a constant rate, latency from when each was due",
        columns: vec![
            "calls/s",
            "target",
            "p50 ms",
            "p99 ms",
            "bad",
            "p50 over floor",
            "p99 over floor",
            "p50 over bare",
            "p99 over bare",
            "bar",
        ],
        rows: cells,
        bar: "full: p50 ≤ 0.3 ms and p99 ≤ 1 ms over the whole-path floor",
    };
    report.add("open_loop", table, figures);
    Ok(())
}

fn show(rows: &[Row], rate: u32) -> (Vec<Vec<String>>, Value) {
    let find = |kind| rows.iter().find(|row| row.target.kind == kind);
    let mut cells = Vec::new();
    let mut figures = Vec::new();
    for row in rows {
        let kind = row.target.kind;
        let floor = find(Kind::WholePath).filter(|_| kind.is_ours());
        let bare = find(Kind::Mcptb).filter(|_| kind == Kind::Full);
        // What is added is seen within a round, between neighbours in time.
        let added = |other: Option<&Row>, of: fn(&Round) -> f64| {
            other.map(|other| {
                median(row.rounds.iter().zip(&other.rounds).map(|(ours, its)| of(ours) - of(its)))
            })
        };
        let (p50, p99) = (|round: &Round| round.p50, |round: &Round| round.p99);
        let over = [added(floor, p50), added(floor, p99), added(bare, p50), added(bare, p99)];
        let met = matches!(over, [Some(p50), Some(p99), ..] if p50 <= 0.3e6 && p99 <= 1e6);
        let mut line = vec![
            rate.to_string(),
            kind.name().to_owned(),
            milliseconds(median(row.rounds.iter().map(p50))),
            milliseconds(median(row.rounds.iter().map(p99))),
            row.bad.to_string(),
        ];
        line.extend(over.iter().map(|added| added.map_or_else(String::new, milliseconds)));
        line.push(if kind == Kind::Full { verdict(met) } else { String::new() });
        cells.push(line);
        figures.push(json!({
            "target": kind.name(),
            "rate": rate,
            "p50_ms": row.rounds.iter().map(|round| round.p50 / 1e6).collect::<Vec<_>>(),
            "p99_ms": row.rounds.iter().map(|round| round.p99 / 1e6).collect::<Vec<_>>(),
            "bad": row.bad,
            "over_floor_p50_ms": over[0].map(|added| added / 1e6),
            "over_floor_p99_ms": over[1].map(|added| added / 1e6),
            "over_bare_p50_ms": over[2].map(|added| added / 1e6),
            "over_bare_p99_ms": over[3].map(|added| added / 1e6),
        }));
    }
    (cells, Value::Array(figures))
}

/// Sends calls at the rate for a while and waits for all answers. Those of the warm-up, which opens
/// the connections, are not in the latencies.
fn measure(target: &Target, arguments: &Arguments) -> Outcome<Tally> {
    let gap = Duration::from_secs(1) / arguments.rate;
    let in_span = |span: Duration| u32::try_from(span.as_nanos() / gap.as_nanos().max(1));
    let warm = in_span(arguments.warm_up() * 2)?;
    let calls = warm + in_span(arguments.measured() * 2)?;
    let (due, dues) = unbounded_channel();
    // The runtime's own clock has steps of a millisecond; a thread sleeps more finely.
    let pace = move || {
        let begun = Instant::now();
        for number in 0..calls {
            let at = begun + gap * number;
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if due.send((number, at)).is_err() {
                return;
            }
        }
    };
    load::runtime()?.block_on(async {
        let dues = Arc::new(Mutex::new(dues));
        let mut callers = JoinSet::new();
        for _ in 0..CONNECTIONS.min(calls as usize) {
            let request = Request::new(target.port, false, target.token());
            callers.spawn(answer_dues(Arc::clone(&dues), request, target.port, warm));
        }
        drop(dues);
        let pacer = thread::Builder::new().name("pace".to_owned()).spawn(pace)?;
        let mut all = Tally::default();
        while let Some(tally) = callers.join_next().await {
            all.add(tally?);
        }
        pacer.join().map_err(|_| "the pace was lost")?;
        all.latencies.sort_unstable();
        Ok(all)
    })
}

/// One connection: the next call that is due as soon as the last is answered.
async fn answer_dues(
    dues: Arc<Mutex<UnboundedReceiver<(u32, Instant)>>>,
    mut request: Request,
    port: u16,
    warm: u32,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    loop {
        let due = dues.lock().await.recv().await;
        let Some((number, at)) = due else { return tally };
        let call = Call { number, streaming: false, echo: false };
        request.set_number(number);
        let exchange = load::exchange(&mut connection, port, &request, call, false);
        let Ok(Ok((response, _))) = timeout(PATIENCE, exchange).await else {
            connection = None;
            tally.broken += 1;
            continue;
        };
        let ended = Instant::now();
        if response.status != 200 {
            tally.refused += 1;
        } else if !call.is_marked(&response.body) {
            tally.wrong += 1;
        } else if number >= warm {
            tally.latencies.push(nanoseconds(ended.saturating_duration_since(at)));
        }
        if response.closes {
            connection = None;
        }
    }
}
