//! Calls as they end.
//!
//! The record is followed by the order in which ends were written down, which no other order can
//! stand for: a call may end long after it came, and may come long before it is written down. The
//! place in that order outlives the bridge, so it is gone on from there with whatever answers
//! next: the same bridge, the next one, or the files.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{ArgMatches, Args};
use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::{COLUMNS, Filters, cells};
use crate::cli::client::{Client, Reach, Traces};
use crate::cli::table::Table;
use crate::cli::{Problem, note, pages};

/// The route.
const PATH: &str = "/admin/v1/ends";
/// Ends that are asked for at once.
const PAGE: &str = "1000";
/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Which calls.
#[derive(Debug, Args)]
pub(in crate::cli) struct TailArgs {
    #[command(flatten)]
    filters: Filters,
    /// Begin with calls that came in so long ago and have ended, such as 10m.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    since: Duration,
    #[command(flatten)]
    reach: Reach,
}

/// How far it is.
struct Tail<'a> {
    args: &'a TailArgs,
    /// The first instant of which calls are shown that had ended before.
    from: SystemTime,
    /// The place in the record, once it is known.
    place: Option<String>,
    /// Ids that were shown from the list of earlier calls and may come again.
    shown: BTreeSet<String>,
    /// Whether the head stands there.
    headed: bool,
}

/// Some ends, and the place behind them.
#[derive(Deserialize)]
struct Ends {
    data: Vec<Box<RawValue>>,
    place: String,
    more: bool,
}

/// Whoever read it has gone.
struct Gone;

/// Runs until it is stopped.
pub(super) fn run(args: &TailArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let from = SystemTime::now().checked_sub(args.since).unwrap_or(SystemTime::UNIX_EPOCH);
    let headed = args.reach.json;
    let mut tail = Tail { args, from, place: None, shown: BTreeSet::new(), headed };
    let (mut kept, mut away, mut traces) = (None, false, None::<Traces>);
    loop {
        if traces.as_ref().is_some_and(Traces::are_all) {
            std::thread::sleep(LOOK);
            continue;
        }
        let client = match kept.take() {
            Some(client) => Ok(client),
            None => Client::open(&args.reach, matches, false),
        };
        match client.and_then(|client| Ok((tail.look(&client)?, client))) {
            Ok((Err(Gone), _)) => return Ok(ExitCode::SUCCESS),
            Ok((Ok(()), client)) => {
                // Files that are held here would keep a bridge from starting.
                match client.release() {
                    Ok(left) => traces = Some(left),
                    Err(client) => (kept, traces) = (Some(client), None),
                }
                away = false;
            }
            // Once it has begun it goes on with the next bridge; before, something may be wrong.
            Err(problem) if problem.passing && tail.place.is_some() => {
                if !std::mem::replace(&mut away, true) {
                    note(&format!("mcptb: {}; going on as soon as that is over", problem.what));
                }
            }
            Err(problem) => return Err(problem),
        }
        std::thread::sleep(LOOK);
    }
}

impl Tail<'_> {
    /// Shows what has ended since the last look. What was shown is not shown again, whatever goes
    /// wrong behind it.
    fn look(&mut self, client: &Client) -> Result<Result<(), Gone>, Problem> {
        if self.place.is_none() {
            // The place first: what ends while the list is read is behind it.
            let Ends { place, .. } = self.ends(client)?;
            let since = humantime::format_rfc3339_millis(self.from).to_string();
            let ask = self.args.filters.ask().query(&[("from", Some(since.as_str()))]);
            let calls = pages::all(client, &ask, None)?;
            let has_ended = |call: &Json| call.get("ended").is_some_and(Json::is_string);
            // The list begins with the newest.
            let mut ended: Vec<Json> =
                calls.iter().rev().map(|call| pages::value(call)).filter(has_ended).collect();
            ended.sort_by_key(|call| call.get("ended").map(Json::to_string));
            self.shown = ended.iter().filter_map(id).collect();
            self.place = Some(place);
            if self.show(&ended).is_err() {
                return Ok(Err(Gone));
            }
        }
        loop {
            let Ends { data, place, more } = self.ends(client)?;
            self.place = Some(place);
            let calls = data.iter().map(|call| pages::value(call));
            let fresh: Vec<Json> =
                calls.filter(|call| !id(call).is_some_and(|id| self.shown.contains(&id))).collect();
            if self.show(&fresh).is_err() {
                return Ok(Err(Gone));
            }
            if !more {
                // Whatever was on the list is passed by now.
                self.shown.clear();
                return Ok(Ok(()));
            }
        }
    }

    fn ends(&self, client: &Client) -> Result<Ends, Problem> {
        let ask = self.args.filters.ask_at(PATH);
        client.read(&ask.query(&[("after", self.place.as_deref()), ("limit", Some(PAGE))]))
    }

    fn show(&mut self, calls: &[Json]) -> std::io::Result<()> {
        let text = lines(calls, self.args.reach.json, &mut self.headed);
        let mut stdout = std::io::stdout();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    }
}

fn id(call: &Json) -> Option<String> {
    call.get("id").and_then(Json::as_str).map(str::to_owned)
}

fn lines(calls: &[Json], as_json: bool, headed: &mut bool) -> String {
    if as_json {
        let lines: Vec<String> = calls.iter().map(|call| format!("{call}\n")).collect();
        return lines.concat();
    }
    if calls.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&COLUMNS);
    for call in calls {
        table.row(&cells(call));
    }
    let text = table.text();
    match text.split_once('\n') {
        Some((_, rows)) if std::mem::replace(headed, true) => rows.to_owned(),
        _ => text,
    }
}
