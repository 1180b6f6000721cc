//! Calls as they end.
//!
//! The list is asked for every second. Calls are written down when they come in and again when
//! they end, so those that have not ended are looked at one by one until they have. The last
//! seconds are asked for anew each time: what came in at the same moment need not be written down
//! in the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{ArgMatches, Args};
use serde_json::Value as Json;

use super::{COLUMNS, Filters, cells};
use crate::cli::client::{Ask, Client, Reach, escaped};
use crate::cli::table::Table;
use crate::cli::{Problem, pages};

/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How far each look goes back behind the newest call.
const BACK: Duration = Duration::from_secs(5);

/// Which calls.
#[derive(Debug, Args)]
pub(in crate::cli) struct TailArgs {
    #[command(flatten)]
    filters: Filters,
    /// Begin this far back, such as 10m.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    since: Duration,
    #[command(flatten)]
    reach: Reach,
}

/// What was seen so far.
struct Seen {
    from: SystemTime,
    /// Ids of calls that were shown, with the time of their coming.
    shown: BTreeMap<String, SystemTime>,
    /// Ids of calls that have not ended.
    running: BTreeSet<String>,
    /// Whether the head stands there.
    headed: bool,
}

/// Runs until it is stopped.
pub(super) fn run(args: &TailArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let from = SystemTime::now().checked_sub(args.since).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut seen =
        Seen { from, shown: BTreeMap::new(), running: BTreeSet::new(), headed: args.reach.json };
    let mut kept: Option<Client> = None;
    loop {
        let client = match kept.take() {
            Some(client) => client,
            None => Client::open(&args.reach, matches, false)?,
        };
        let text = look(args, &client, &mut seen)?;
        // Whoever read it has gone.
        if std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        // Files that are held here would keep a bridge from starting.
        kept = Some(client).filter(|client| !client.holds_files());
        std::thread::sleep(LOOK);
    }
}

fn look(args: &TailArgs, client: &Client, seen: &mut Seen) -> Result<String, Problem> {
    let mut ended = Vec::new();
    for id in std::mem::take(&mut seen.running) {
        let call: Json = client.read(&Ask::get(format!("{}/{}", super::PATH, escaped(&id))))?;
        take(seen, call.get("call").cloned().unwrap_or_default(), &mut ended);
    }
    let since = humantime::format_rfc3339_millis(seen.from).to_string();
    let ask = args.filters.ask().query(&[("from", Some(since.as_str()))]);
    for call in pages::all(client, &ask, None)? {
        take(seen, pages::value(&call), &mut ended);
    }
    let newest = seen.shown.values().max().and_then(|at| at.checked_sub(BACK));
    seen.from = newest.map_or(seen.from, |newest| newest.max(seen.from));
    let from = seen.from;
    seen.shown.retain(|_, at| *at >= from);
    ended.sort_by_key(|call| call.get("ended").map(Json::to_string));
    Ok(lines(args.reach.json, &ended, seen))
}

/// Sorts a call in among those that have ended, or those that have not.
fn take(seen: &mut Seen, call: Json, ended: &mut Vec<Json>) {
    let field = |name| call.get(name).and_then(Json::as_str);
    let (Some(id), Some(received)) = (field("id"), field("received")) else { return };
    let Ok(received) = humantime::parse_rfc3339(received) else { return };
    let id = id.to_owned();
    if seen.shown.contains_key(&id) || seen.running.contains(&id) {
        return;
    }
    if field("ended").is_none() {
        seen.running.insert(id);
    } else {
        seen.shown.insert(id, received);
        ended.push(call);
    }
}

fn lines(as_json: bool, calls: &[Json], seen: &mut Seen) -> String {
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
    let headed = std::mem::replace(&mut seen.headed, true);
    match text.split_once('\n') {
        Some((_, rows)) if headed => rows.to_owned(),
        _ => text,
    }
}
