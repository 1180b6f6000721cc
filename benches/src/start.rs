//! Start: from `initialize` to the first HTTP answer; idle memory; size of the program.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::error::Outcome;
use crate::figures::{figure, median, nanoseconds};
use crate::load;
use crate::proc;
use crate::report::{Report, Table, megabytes, milliseconds, verdict};
use crate::target::{Kind, Setting, Target};

/// One start. Times are in nanoseconds since `initialize` was written.
#[derive(Debug, Clone, Copy)]
struct Begun {
    first_answer: u64,
    status: u16,
    first_good: u64,
    idle: u64,
}

/// Starts each target several times.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    report.progress("start");
    let starts = if arguments.quick { 3 } else { 11 };
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for kind in [Kind::WholePath, Kind::Mcptb, Kind::Full] {
        if arguments.floors_only && kind.is_ours() {
            continue;
        }
        let begun =
            (0..starts).map(|_| start_once(kind, arguments)).collect::<Outcome<Vec<_>>>()?;
        let size = match kind {
            Kind::Mcptb | Kind::Full => fs::metadata(arguments.mcptb()?)?.len(),
            Kind::HttpFloor | Kind::StdioFloor | Kind::WholePath => {
                fs::metadata(std::env::current_exe()?)?.len()
            }
        };
        let first = median(begun.iter().map(|start| figure(start.first_answer)));
        let slowest = figure(begun.iter().map(|start| start.first_answer).max().unwrap_or(0));
        let good = median(begun.iter().map(|start| figure(start.first_good)));
        let idle = median(begun.iter().map(|start| figure(start.idle)));
        let mut statuses: Vec<String> =
            begun.iter().map(|start| start.status.to_string()).collect();
        statuses.dedup();
        let met = first <= 100e6 && idle <= 15.0 * 1_048_576.0 && size <= 20 * 1_048_576;
        rows.push(vec![
            starts.to_string(),
            kind.name().to_owned(),
            milliseconds(first),
            milliseconds(slowest),
            statuses.join(" "),
            milliseconds(good),
            megabytes(idle),
            megabytes(figure(size)),
            if kind.is_ours() { verdict(met) } else { String::new() },
        ]);
        figures.push(json!({
            "target": kind.name(),
            "first_answer_ms": first / 1e6,
            "slowest_first_answer_ms": slowest / 1e6,
            "first_status": statuses,
            "first_good_answer_ms": good / 1e6,
            "idle_bytes": idle,
            "program_bytes": size,
        }));
    }
    let table = Table {
        title: "Start: from `initialize` to HTTP; idle memory a second later; size of the program",
        columns: vec![
            "starts",
            "target",
            "first answer ms",
            "slowest ms",
            "status",
            "first 200 ms",
            "idle RSS MB",
            "program MB",
            "bar",
        ],
        rows,
        bar: "first 200 or honest 503 ≤ 100 ms (median); idle ≤ 15 MB; program ≤ 20 MB",
    };
    report.add("start", table, Value::Array(figures));
    Ok(())
}

fn start_once(kind: Kind, arguments: &Arguments) -> Outcome<Begun> {
    let target = Target::spawn(kind, arguments, Setting::at_once(1))?;
    let begun = Instant::now();
    target.host()?.initialize()?;
    let answers =
        load::first_answers(&target, begun + Duration::from_secs(10)).map_err(|error| {
            format!("{} does not start: {error}{}", kind.name(), target.last_words())
        })?;
    std::thread::sleep(Duration::from_secs(1));
    let (first, status) = answers.any;
    Ok(Begun {
        first_answer: nanoseconds(first - begun),
        status,
        first_good: nanoseconds(answers.good - begun),
        idle: proc::memory(target.pid())?.resident,
    })
}
