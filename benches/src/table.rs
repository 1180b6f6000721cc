//! The table: several loads, streaming and not, on the floors and on mcptb, side by side.
//!
//! The machine may be noisy, so the targets take turns: floor, ours, floor, ours. A ratio is made
//! within one round, between neighbours in time, and the table shows the median of the rounds.

use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::error::Outcome;
use crate::figures::{figure, median, percentile};
use crate::floor_stdio::{self, Measured, Run};
use crate::host::Pace;
use crate::load::{self, Load};
use crate::proc;
use crate::report::{Report, Table, megabytes, milliseconds, verdict};
use crate::target::{Kind, Setting, Target};

/// Calls per second of the Python prototype with 256 in flight and a 50 ms host: it serves one at a
/// time. Measured once, on a 2-core machine.
const PROTOTYPE_CALLS_PER_SECOND: f64 = 18.0;

/// What one target did in one round. Latencies are in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Round {
    calls_per_second: f64,
    p50: f64,
    p99: f64,
    cpu_us_per_call: f64,
    resident: f64,
    bad: u64,
}

/// One target in one cell.
#[derive(Debug)]
struct Row {
    kind: Kind,
    rounds: Vec<Round>,
}

/// mcptb against the whole-path floor: the medians of the rounds.
#[derive(Debug, Clone, Copy)]
struct Ratios {
    p50: f64,
    p99: f64,
    throughput: f64,
    /// With everything on: the calls/s against everything off, and CPU time in µs per call.
    full: Option<(f64, f64)>,
    /// The lowest and the highest round of the ratio that the bar is about.
    spread: (f64, f64),
}

impl Row {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }

    fn bad(&self) -> u64 {
        self.rounds.iter().map(|round| round.bad).sum()
    }

    fn against(&self, floor: &Self, bare: Option<&Self>, in_flight: usize) -> Ratios {
        let ratios = |of: fn(&Round) -> f64| {
            self.rounds.iter().zip(&floor.rounds).map(move |(ours, floor)| of(ours) / of(floor))
        };
        let full = bare.map(|bare| {
            let rounds = self.rounds.iter().zip(&bare.rounds);
            let kept = rounds.map(|(full, bare)| full.calls_per_second / bare.calls_per_second);
            (median(kept), self.median(|round| round.cpu_us_per_call))
        });
        let p50 = ratios(|round| round.p50);
        let throughput = ratios(|round| round.calls_per_second);
        let spread = if in_flight == 1 { range(p50.clone()) } else { range(throughput.clone()) };
        Ratios {
            p50: median(p50),
            p99: median(ratios(|round| round.p99)),
            throughput: median(throughput),
            full,
            spread,
        }
    }
}

fn range(figures: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    (figures.clone().fold(f64::INFINITY, f64::min), figures.fold(0.0, f64::max))
}

/// Measures every cell.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for &in_flight in &arguments.in_flight {
        for streaming in [false, true] {
            let mode = if streaming { "streamed" } else { "whole" };
            report.progress(&format!("{in_flight} in flight, {mode}"));
            let mut kinds =
                vec![Kind::HttpFloor, Kind::StdioFloor, Kind::WholePath, Kind::Mcptb, Kind::Full];
            // Nothing streams over the wires.
            kinds.retain(|&kind| !(streaming && kind == Kind::StdioFloor));
            let pace = match arguments.host_delay() {
                Duration::ZERO => Pace::AtOnce,
                delay => Pace::After(delay),
            };
            let cell = Cell { in_flight, streaming, pace };
            for (row, ratios) in cell.measure(arguments, kinds)?.iter_with_ratios(in_flight) {
                report.count_bad(row.bad());
                let mut cells = vec![format!("{in_flight} {mode}"), row.kind.name().to_owned()];
                cells.extend(row_cells(row));
                cells.extend(ratio_cells(in_flight, ratios));
                rows.push(cells);
                figures.push(row_json(in_flight, streaming, row, ratios));
            }
        }
    }
    let table = Table {
        title: "Latency, throughput, CPU and memory; ratios are mcptb to the whole-path floor",
        columns: vec![
            "in flight",
            "target",
            "calls/s",
            "p50 ms",
            "p99 ms",
            "CPU µs/call",
            "RSS MB",
            "bad",
            "p50 ×",
            "p99 ×",
            "calls/s ÷",
            "from–to",
            "÷ bare",
            "bar",
        ],
        rows,
        bar: "1 in flight: p50 ≤ 1.5 × and p99 ≤ 2 × the whole-path floor, full: p50 ≤ 2.5 ×; above: ≥ 60 % of its calls/s, full: ≥ 40 %, and ≥ 60 % of bare; full, from 256: ≤ 100 µs CPU",
    };
    report.add("table", table, Value::Array(figures));
    Ok(())
}

/// Measures 256 calls in flight against a host that takes 50 ms.
pub(crate) fn run_slow_host(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    report.progress("256 in flight, host takes 50 ms");
    let cell =
        Cell { in_flight: 256, streaming: false, pace: Pace::After(Duration::from_millis(50)) };
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for (row, ratios) in cell
        .measure(arguments, vec![Kind::WholePath, Kind::Mcptb, Kind::Full])?
        .iter_with_ratios(256)
    {
        report.count_bad(row.bad());
        let times = row.median(|round| round.calls_per_second) / PROTOTYPE_CALLS_PER_SECOND;
        let mut cells = vec!["256 whole".to_owned(), row.kind.name().to_owned()];
        cells.extend(row_cells(row));
        cells.push(format!("{times:.0}"));
        cells.push(if row.kind.is_ours() { verdict(times >= 200.0) } else { String::new() });
        rows.push(cells);
        figures.push(row_json(256, false, row, ratios));
    }
    let table = Table {
        title: "A host that takes 50 ms for each answer",
        columns: vec![
            "in flight",
            "target",
            "calls/s",
            "p50 ms",
            "p99 ms",
            "CPU µs/call",
            "RSS MB",
            "bad",
            "× prototype",
            "bar",
        ],
        rows,
        bar: "≥ 200 × the 18 calls/s of the Python prototype",
    };
    report.add("slow_host", table, Value::Array(figures));
    Ok(())
}

/// One group of rows.
struct Cell {
    in_flight: usize,
    streaming: bool,
    pace: Pace,
}

struct Measurement(Vec<Row>);

impl Measurement {
    /// Each row, and for mcptb its ratios to the whole-path floor.
    fn iter_with_ratios(&self, in_flight: usize) -> impl Iterator<Item = (&Row, Option<Ratios>)> {
        let find = |kind| self.0.iter().find(|row| row.kind == kind);
        let (floor, bare) = (find(Kind::WholePath), find(Kind::Mcptb));
        self.0.iter().map(move |row| {
            let bare = bare.filter(|_| row.kind == Kind::Full);
            let floor = floor.filter(|_| row.kind.is_ours());
            (row, floor.map(|floor| row.against(floor, bare, in_flight)))
        })
    }
}

impl Cell {
    /// Starts each target once and lets them take turns, so that all see the same weather. Whoever
    /// is not on stands still: what one has left to do behind its answers is not to be paid by the
    /// next.
    fn measure(&self, arguments: &Arguments, mut kinds: Vec<Kind>) -> Outcome<Measurement> {
        kinds.retain(|&kind| !(arguments.floors_only && kind.is_ours()));
        let setting = Setting { pace: self.pace, ..Setting::at_once(self.in_flight) };
        let mut targets = Vec::new();
        for kind in kinds {
            let target = Target::start(kind, arguments, setting)?;
            target.pause()?;
            targets.push((target, Row { kind, rounds: Vec::new() }));
        }
        for _ in 0..arguments.rounds() {
            for (target, row) in &mut targets {
                target.resume()?;
                let round = self.measure_once(arguments, target).map_err(|error| {
                    format!("{} failed: {error}{}", target.kind.name(), target.last_words())
                })?;
                target.pause()?;
                row.rounds.push(round);
            }
        }
        Ok(Measurement(targets.into_iter().map(|(_, row)| row).collect()))
    }

    fn measure_once(&self, arguments: &Arguments, target: &Target) -> Outcome<Round> {
        if target.kind == Kind::StdioFloor {
            return self.measure_wires(arguments, target);
        }
        let loaded = load::run(
            target,
            Load {
                callers: self.in_flight,
                streaming: self.streaming,
                warm_up: arguments.warm_up(),
                measured: arguments.measured(),
                first_bytes: false,
            },
        )?;
        let calls = figure(u64::try_from(loaded.tally.latencies.len())?);
        Ok(Round {
            calls_per_second: calls / loaded.elapsed.as_secs_f64(),
            p50: figure(percentile(&loaded.tally.latencies, 0.5)),
            p99: figure(percentile(&loaded.tally.latencies, 0.99)),
            cpu_us_per_call: loaded.cpu.as_secs_f64() * 1e6 / calls,
            resident: figure(loaded.memory.resident),
            bad: loaded.tally.bad(),
        })
    }

    fn measure_wires(&self, arguments: &Arguments, target: &Target) -> Outcome<Round> {
        let run = Run {
            in_flight: self.in_flight,
            warm_up_ms: u64::try_from(arguments.warm_up().as_millis())?,
            measured_ms: u64::try_from(arguments.measured().as_millis())?,
        };
        let deadline = arguments.warm_up() + arguments.measured() + load::PATIENCE;
        let result =
            target.host()?.request(floor_stdio::RUN, serde_json::to_value(run)?, deadline)?;
        let measured: Measured = serde_json::from_value(result)?;
        Ok(Round {
            calls_per_second: figure(measured.calls) * 1e9 / figure(measured.nanoseconds),
            p50: figure(measured.p50),
            p99: figure(measured.p99),
            cpu_us_per_call: figure(measured.cpu_us) / figure(measured.calls),
            resident: figure(proc::memory(target.pid())?.resident),
            bad: measured.wrong,
        })
    }
}

fn row_cells(row: &Row) -> [String; 6] {
    [
        format!("{:.0}", row.median(|round| round.calls_per_second)),
        milliseconds(row.median(|round| round.p50)),
        milliseconds(row.median(|round| round.p99)),
        format!("{:.1}", row.median(|round| round.cpu_us_per_call)),
        megabytes(row.median(|round| round.resident)),
        row.bad().to_string(),
    ]
}

fn ratio_cells(in_flight: usize, ratios: Option<Ratios>) -> [String; 6] {
    let Some(ratios) = ratios else {
        return Default::default();
    };
    let (low, high) = ratios.spread;
    [
        format!("{:.2}", ratios.p50),
        format!("{:.2}", ratios.p99),
        format!("{:.0} %", ratios.throughput * 100.0),
        if in_flight == 1 {
            format!("{low:.2}–{high:.2}")
        } else {
            format!("{:.0}–{:.0} %", low * 100.0, high * 100.0)
        },
        ratios.full.map_or_else(String::new, |(kept, _)| format!("{:.0} %", kept * 100.0)),
        verdict(ratios.meet_bar(in_flight)),
    ]
}

impl Ratios {
    fn meet_bar(self, in_flight: usize) -> bool {
        match (in_flight, self.full) {
            (1, None) => self.p50 <= 1.5 && self.p99 <= 2.0,
            (1, Some(_)) => self.p50 <= 2.5,
            (_, None) => self.throughput >= 0.6,
            (_, Some((kept, cpu))) => {
                self.throughput >= 0.4 && kept >= 0.6 && (in_flight < 256 || cpu <= 100.0)
            }
        }
    }
}

fn row_json(in_flight: usize, streaming: bool, row: &Row, ratios: Option<Ratios>) -> Value {
    let rounds: Vec<Value> = row
        .rounds
        .iter()
        .map(|round| {
            json!({
                "calls_per_second": round.calls_per_second,
                "p50_ms": round.p50 / 1e6,
                "p99_ms": round.p99 / 1e6,
                "cpu_us_per_call": round.cpu_us_per_call,
                "resident_bytes": round.resident,
                "bad": round.bad,
            })
        })
        .collect();
    let ratios = ratios.map(|ratios| {
        json!({
            "p50": ratios.p50,
            "p99": ratios.p99,
            "calls_per_second": ratios.throughput,
            "calls_per_second_to_bare": ratios.full.map(|(kept, _)| kept),
            "bar_met": ratios.meet_bar(in_flight),
        })
    });
    json!({
        "in_flight": in_flight,
        "streaming": streaming,
        "target": row.kind.name(),
        "rounds": rounds,
        "to_whole_path_floor": ratios,
    })
}
