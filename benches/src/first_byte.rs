//! Streaming: how long after the host's answer its first text is at the caller.
//!
//! The host takes 50 ms, so that a bridge has already begun its stream when the answer comes, as it
//! has with every real model.

use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::error::Outcome;
use crate::figures::{figure, median, percentile};
use crate::host::Pace;
use crate::load::{self, Load};
use crate::report::{Report, Table, milliseconds, verdict};
use crate::target::{Kind, Setting, Target};

/// Few callers: the figure is a delay, not a queue.
const CALLERS: usize = 8;

/// Measures the whole-path floor and both kinds of mcptb in turns.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    report.progress("first byte after the host's answer");
    let setting = Setting {
        pace: Pace::After(Duration::from_millis(50)),
        timed: true,
        ..Setting::at_once(CALLERS)
    };
    let mut targets = Vec::new();
    for kind in [Kind::WholePath, Kind::Mcptb, Kind::Full] {
        if !(arguments.floors_only && kind.is_ours()) {
            targets.push((Target::start(kind, arguments, setting)?, Vec::new()));
        }
    }
    let load = Load {
        callers: CALLERS,
        streaming: true,
        warm_up: arguments.warm_up(),
        measured: arguments.measured() * 2,
        first_bytes: true,
    };
    for _ in 0..arguments.rounds() {
        for (target, rounds) in &mut targets {
            let tally = load::run(target, load)?.tally;
            report.count_bad(tally.bad());
            let delays = &tally.first_bytes;
            rounds.push([
                figure(percentile(delays, 0.5)),
                figure(percentile(delays, 0.99)),
                figure(u64::try_from(delays.len())?),
            ]);
        }
    }
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for (target, rounds) in &targets {
        let [p50, p99] = [
            median(rounds.iter().map(|[p50, ..]| *p50)),
            median(rounds.iter().map(|[_, p99, _]| *p99)),
        ];
        let streams: f64 = rounds.iter().map(|[.., count]| count).sum();
        let ours = target.kind.is_ours();
        rows.push(vec![
            CALLERS.to_string(),
            target.kind.name().to_owned(),
            format!("{streams:.0}"),
            milliseconds(p50),
            milliseconds(p99),
            if ours { verdict(p99 <= 1e6) } else { String::new() },
        ]);
        figures.push(json!({
            "target": target.kind.name(),
            "streams": streams,
            "p50_ms": p50 / 1e6,
            "p99_ms": p99 / 1e6,
        }));
    }
    let table = Table {
        title: "Streaming: from the host's answer to its first text at the caller (host takes 50 ms)",
        columns: vec!["in flight", "target", "streams", "p50 ms", "p99 ms", "bar"],
        rows,
        bar: "p99 ≤ 1 ms",
    };
    report.add("first_byte", table, Value::Array(figures));
    Ok(())
}
