//! `mcptb audit`: shows, follows, exports and checks the record of calls.

use std::process::ExitCode;

use clap::{ArgMatches, Args, Subcommand};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::client::{Ask, Client, Reach, escaped, read};
use super::pages::Span;
use super::table::{Flush, Table};
use super::{Problem, note, pages, print, show};
use crate::telemetry::Plain;

mod export;
mod progress;
mod refusals;
mod tail;
mod verify;

/// The routes.
const PATH: &str = "/admin/v1/calls";
/// Entries that are listed, unless said otherwise.
const LISTED: usize = 50;

/// What can be done with the record.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Lists calls, newest first.
    List(ListArgs),
    /// Shows a call with its request and its reply.
    Show(ShowArgs),
    /// Shows calls as they end, until it is stopped.
    Tail(tail::TailArgs),
    /// Writes all calls that fit, for other programs.
    Export(export::ExportArgs),
    /// Lists what was counted of refusals that have no row of their own, newest first.
    Refusals(refusals::RefusalsArgs),
    /// Checks that nothing was changed, dropped or put in another order. Ends with 1 if something
    /// was.
    Verify(verify::VerifyArgs),
}

/// Which calls.
#[derive(Clone, Debug, Args)]
struct Filters {
    /// Calls of this key.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Calls of this tenant.
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Calls of this model, asked for or served.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Calls with this status: 429, 4xx or 400-499.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
}

impl Filters {
    fn ask(&self) -> Ask {
        self.ask_at(PATH)
    }

    fn ask_at(&self, path: &str) -> Ask {
        Ask::get(path).query(&[
            ("key", self.key.as_deref()),
            ("tenant", self.tenant.as_deref()),
            ("model", self.model.as_deref()),
            ("status", self.status.as_deref()),
        ])
    }

    fn ask_within(&self, span: &Span) -> Ask {
        self.ask().query(&span.parameters())
    }
}

/// Which calls, and how many.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    span: Span,
    /// Calls with all of these words in the request or the reply.
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// No more than this many.
    #[arg(long, value_name = "N", default_value_t = LISTED)]
    limit: usize,
    #[command(flatten)]
    reach: Reach,
}

/// Which call.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its id: as in the log or in x-request-id, or that of the answer (`chatcmpl-…`, `msg_…`).
    id: String,
    #[command(flatten)]
    reach: Reach,
}

/// Runs a command; `matches` are its own.
pub(super) fn run(command: &AuditCommand, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    match command {
        AuditCommand::List(args) => list(args, matches),
        AuditCommand::Show(args) => show_one(args, matches),
        AuditCommand::Tail(args) => tail::run(args, matches),
        AuditCommand::Export(args) => export::run(args, matches),
        AuditCommand::Refusals(args) => refusals::run(args, matches),
        AuditCommand::Verify(args) => verify::run(args, matches),
    }
}

fn list(args: &ListArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let client = Client::open(&args.reach, matches, false)?;
    let ask = args.filters.ask_within(&args.span).query(&[("text", args.text.as_deref())]);
    let found = pages::search(&client, &ask, Some(args.limit))?;
    if args.reach.json {
        let searched = args.text.is_some();
        print(&if searched { pages::found(&found) } else { pages::document(&found.entries) });
        return Ok(ExitCode::SUCCESS);
    }
    print(&table(&found.entries));
    if found.lag > 0 {
        note(&format!(
            "mcptb: the index is behind: up to {} calls cannot be found by their words yet",
            found.lag
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn show_one(args: &ShowArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let client = Client::open(&args.reach, matches, false)?;
    let body = client.fetch(&Ask::get(format!("{PATH}/{}", escaped(&args.id))))?;
    if args.reach.json {
        print(&format!("{body}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let whole: Json = read(&body)?;
    print(&show::fields(whole.get("call").unwrap_or(&Json::Null)));
    for (name, title) in [("request", "Request"), ("reply", "Reply")] {
        match whole.get(name).and_then(Json::as_str) {
            Some(text) => {
                print(&format!("\n{title}:\n"));
                text.lines().for_each(|line| print(&format!("{}\n", Plain(line))));
            }
            None => print(&format!("\n{title}: not kept\n")),
        }
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [(&str, Flush); 9] = [
    ("RECEIVED", Flush::Left),
    ("ID", Flush::Left),
    ("KEY", Flush::Left),
    ("TENANT", Flush::Left),
    ("ENDPOINT", Flush::Left),
    ("MODEL", Flush::Left),
    ("STATUS", Flush::Right),
    ("INPUT", Flush::Right),
    ("OUTPUT", Flush::Right),
];

fn table(calls: &[Box<RawValue>]) -> String {
    let mut table = Table::new(&COLUMNS);
    for call in calls {
        table.row(&cells(&pages::value(call)));
    }
    table.text()
}

fn cells(call: &Json) -> Vec<String> {
    let names =
        ["id", "key", "tenant", "endpoint", "model", "status", "input_tokens", "output_tokens"];
    let rest = names.iter().map(|name| show::field(call, name));
    std::iter::once(show::time(call, "received")).chain(rest).collect()
}
