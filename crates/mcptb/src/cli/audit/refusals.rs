//! Who was refused without leaving a row: numbers by minute, reason, network and key.

use std::process::ExitCode;

use clap::{ArgMatches, Args};

use super::{LISTED, Span};
use crate::cli::client::{Ask, Client, Reach};
use crate::cli::table::{Flush, Table};
use crate::cli::{Problem, pages, print, show};

/// Which refusals, and how many numbers.
#[derive(Debug, Args)]
pub(in crate::cli) struct RefusalsArgs {
    /// Refusals for this reason, such as unauthenticated, forbidden or `no_such_route`.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Refusals of this key.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Refusals of callers who may be in this network, or have this address.
    #[arg(long, value_name = "CIDR")]
    network: Option<String>,
    #[command(flatten)]
    span: Span,
    /// No more than this many.
    #[arg(long, value_name = "N", default_value_t = LISTED)]
    limit: usize,
    #[command(flatten)]
    reach: Reach,
}

const COLUMNS: [(&str, Flush); 5] = [
    ("MINUTE", Flush::Left),
    ("REASON", Flush::Left),
    ("NETWORK", Flush::Left),
    ("KEY", Flush::Left),
    ("COUNT", Flush::Right),
];

/// Runs it.
pub(super) fn run(args: &RefusalsArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let client = Client::open(&args.reach, matches, false)?;
    let ask = Ask::get("/admin/v1/refusals").query(&[
        ("reason", args.reason.as_deref()),
        ("key", args.key.as_deref()),
        ("network", args.network.as_deref()),
    ]);
    let counts = pages::all(&client, &ask.query(&args.span.parameters()), Some(args.limit))?;
    if args.reach.json {
        print(&pages::document(&counts));
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&COLUMNS);
    for count in &counts {
        let count = pages::value(count);
        let rest = ["reason", "network", "key", "count"].map(|name| show::field(&count, name));
        let cells: Vec<String> =
            std::iter::once(show::time(&count, "minute")).chain(rest).collect();
        table.row(&cells);
    }
    print(&table.text());
    Ok(ExitCode::SUCCESS)
}
