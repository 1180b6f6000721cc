//! `mcptb usage`: what was spent.

use std::process::ExitCode;

use clap::{ArgMatches, Args, ValueEnum};
use serde_json::Value as Json;

use super::client::{Ask, Client, Reach, read};
use super::pages::Span;
use super::table::{Flush, Table};
use super::{Problem, print, show};

/// What is summed.
#[derive(Debug, Args)]
pub(super) struct UsageArgs {
    /// What one line stands for.
    #[arg(long, value_enum, default_value = "key")]
    by: By,
    #[command(flatten)]
    span: Span,
    /// Calls of this key only.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Calls of this tenant only.
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Key,
    Tenant,
    Model,
    Day,
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tenant => "tenant",
            Self::Model => "model",
            Self::Day => "day",
        }
    }
}

/// Runs it.
pub(super) fn run(args: &UsageArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let client = Client::open(&args.reach, matches, false)?;
    let ask = Ask::get("/admin/v1/usage").query(&[
        ("by", Some(args.by.as_str())),
        ("key", args.key.as_deref()),
        ("tenant", args.tenant.as_deref()),
    ]);
    let body = client.fetch(&ask.query(&args.span.parameters()))?;
    if args.reach.json {
        print(&format!("{body}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let usage: Json = read(&body)?;
    let head = match args.by {
        By::Key => "KEY",
        By::Tenant => "TENANT",
        By::Model => "MODEL",
        By::Day => "DAY",
    };
    let mut table = Table::new(&[
        (head, Flush::Left),
        ("CALLS", Flush::Right),
        ("FAILED", Flush::Right),
        ("INPUT", Flush::Right),
        ("OUTPUT", Flush::Right),
        ("COST", Flush::Right),
    ]);
    for row in usage.get("data").and_then(Json::as_array).into_iter().flatten() {
        let names = ["name", "calls", "failed", "input_tokens", "output_tokens", "cost"];
        table.row(&names.map(|name| show::field(row, name)));
    }
    print(&table.text());
    Ok(ExitCode::SUCCESS)
}
