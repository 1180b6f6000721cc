//! Memory: many calls that wait for a host that does not answer yet.
//!
//! Afterwards the host answers, and every call must get its own text: what waited cheaply but was
//! lost would be no achievement.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::arguments::Arguments;
use crate::call::{Call, Request};
use crate::error::Outcome;
use crate::figures::figure;
use crate::host::Pace;
use crate::load::{self, Connection, Tally};
use crate::proc::{self, Memory};
use crate::report::{Report, Table, megabytes, verdict};
use crate::target::{Kind, Setting, Target};

/// Open files of either side that are not a caller's connection.
const OTHER_FILES: usize = 200;

/// Memory of a target around a crowd of waiting calls.
#[derive(Debug, Clone, Copy)]
struct Held {
    calls: usize,
    before: Memory,
    during: Memory,
    after: Memory,
    bad: u64,
}

impl Held {
    fn bytes_per_call(self) -> f64 {
        figure(self.during.resident.saturating_sub(self.before.resident))
            / figure(self.calls as u64)
    }
}

/// Measures 10,000 calls that wait: all of them at the host, and most of them in the queue.
pub(crate) fn run_waiting(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let calls = affordable(if arguments.quick { 1_000 } else { 10_000 })?;
    let at_host = Setting::at_once(calls);
    let queued = Setting { concurrency: 8, queue: calls, ..at_host };
    let mut measured = Vec::new();
    for (place, kind, setting) in [
        ("at the host", Kind::WholePath, at_host),
        ("at the host", Kind::Mcptb, at_host),
        ("at the host", Kind::Full, at_host),
        ("in the queue", Kind::Mcptb, queued),
        ("in the queue", Kind::Full, queued),
    ] {
        if arguments.floors_only && kind.is_ours() {
            continue;
        }
        report.progress(&format!("{calls} calls waiting {place}, {}", kind.name()));
        let held = hold(kind, arguments, setting, calls, false)?;
        report.count_bad(held.bad);
        measured.push((place, kind, held));
    }
    let met = |held: Held| held.bytes_per_call() <= 20.0 * 1024.0;
    let (rows, figures) = show(&measured, met);
    let table = Table {
        title: "Memory of waiting calls",
        columns: COLUMNS.to_vec(),
        rows,
        bar: "≤ 20 KB each",
    };
    report.add("waiting", table, figures);
    Ok(())
}

/// Measures 1,000 streams at once.
pub(crate) fn run_streams(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let calls = affordable(1_000)?;
    let mut measured = Vec::new();
    for kind in [Kind::WholePath, Kind::Mcptb, Kind::Full] {
        if arguments.floors_only && kind.is_ours() {
            continue;
        }
        report.progress(&format!("{calls} streams at once, {}", kind.name()));
        let held = hold(kind, arguments, Setting::at_once(calls), calls, true)?;
        report.count_bad(held.bad);
        measured.push(("streaming", kind, held));
    }
    let met = |held: Held| held.after.peak <= 150 * 1_048_576;
    let (rows, figures) = show(&measured, met);
    let table =
        Table {
            title: "Memory of streams", columns: COLUMNS.to_vec(), rows, bar: "peak ≤ 150 MB"
        };
    report.add("streams", table, figures);
    Ok(())
}

const COLUMNS: [&str; 9] = [
    "waiting",
    "target",
    "calls",
    "RSS before MB",
    "during MB",
    "KB per call",
    "peak MB",
    "bad",
    "bar",
];

fn show(measured: &[(&str, Kind, Held)], met: impl Fn(Held) -> bool) -> (Vec<Vec<String>>, Value) {
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for &(place, kind, held) in measured {
        rows.push(vec![
            place.to_owned(),
            kind.name().to_owned(),
            held.calls.to_string(),
            megabytes(figure(held.before.resident)),
            megabytes(figure(held.during.resident)),
            format!("{:.1}", held.bytes_per_call() / 1024.0),
            megabytes(figure(held.after.peak)),
            held.bad.to_string(),
            if kind.is_ours() { verdict(met(held)) } else { String::new() },
        ]);
        figures.push(json!({
            "place": place,
            "target": kind.name(),
            "calls": held.calls,
            "resident_before_bytes": held.before.resident,
            "resident_during_bytes": held.during.resident,
            "bytes_per_call": held.bytes_per_call(),
            "peak_bytes": held.after.peak,
            "bad": held.bad,
        }));
    }
    (rows, Value::Array(figures))
}

/// As many calls as this process and its children may hold connections for.
fn affordable(calls: usize) -> Outcome<usize> {
    let limit = proc::open_files_limit()?;
    let calls = calls.min(limit.saturating_sub(OTHER_FILES));
    if calls < 100 {
        return Err(format!("only {limit} open files are allowed\nhint: `ulimit -n 20000`").into());
    }
    Ok(calls)
}

fn hold(
    kind: Kind,
    arguments: &Arguments,
    setting: Setting,
    calls: usize,
    streaming: bool,
) -> Outcome<Held> {
    let target = Target::start(kind, arguments, setting)?;
    let host = target.host()?;
    host.set_pace(Pace::Never)?;
    let before = settled_memory(&target)?;
    let asked_before = host.seen.samplings();
    let runtime = load::runtime()?;
    runtime.block_on(async {
        let mut request = Request::new(target.port, streaming, target.token());
        let mut callers = Vec::with_capacity(calls);
        for number in 0..u32::try_from(calls)? {
            let mut connection = Connection::open(target.port).await?;
            request.set_number(number);
            connection.send(request.bytes()).await?;
            callers.push((Call { number, streaming, echo: false }, connection));
        }
        let expected = asked_before + setting.concurrency.min(calls) as u64;
        let deadline = Instant::now() + load::PATIENCE;
        while host.seen.samplings() < expected {
            if Instant::now() > deadline {
                let came = host.seen.samplings() - asked_before;
                return Err(format!(
                    "only {came} of {calls} calls reached the host{}",
                    target.last_words()
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let during = settled_memory(&target)?;
        host.set_pace(Pace::AtOnce)?;
        let mut tally = Tally::default();
        for (call, connection) in &mut callers {
            let received = timeout(load::PATIENCE, connection.receive(None)).await;
            let received = received.map_err(std::io::Error::from).and_then(|received| received);
            tally.count_answer(*call, &received.map(|(response, _)| response));
        }
        Ok(Held { calls, before, during, after: proc::memory(target.pid())?, bad: tally.bad() })
    })
}

/// The memory of a target once it has stopped changing, or after ten seconds.
fn settled_memory(target: &Target) -> Outcome<Memory> {
    let mut last = proc::memory(target.pid())?;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(500));
        let memory = proc::memory(target.pid())?;
        if memory.resident.abs_diff(last.resident) < 100 * 1024 {
            return Ok(memory);
        }
        last = memory;
    }
    Ok(last)
}
