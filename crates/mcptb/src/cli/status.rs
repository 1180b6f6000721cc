//! `mcptb status`: how the store is, and how many keys there are.

use std::process::ExitCode;

use clap::{ArgMatches, Args};

use super::client::{Ask, Client, Reach, read};
use super::{Problem, print, show};

/// How it is printed.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    reach: Reach,
}

/// Runs it.
pub(super) fn run(args: &StatusArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let client = Client::open(&args.reach, matches, false)?;
    let body = client.fetch(&Ask::get("/admin/v1/status"))?;
    if args.reach.json {
        print(&format!("{body}\n"));
    } else {
        print(&show::fields(&read(&body)?));
    }
    Ok(ExitCode::SUCCESS)
}
