//! Checks the journal and tells how far it is.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Args};
use serde_json::{Value as Json, json};

use super::progress::Progress;
use crate::cli::client::{Ask, Client, Reach, read};
use crate::cli::{EXIT_REFUSED, Problem, print, show};
use crate::telemetry::Plain;

const PATH: &str = "/admin/v1/audit/verify";
/// The pause between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(250);

/// How it is printed.
#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    reach: Reach,
}

/// Runs it.
pub(super) fn run(args: &VerifyArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let client = Client::open(&args.reach, matches, false)?;
    let body = client.run(check(&client))?;
    let verdict: Json = read(&body)?;
    let intact = verdict.get("intact").and_then(Json::as_bool) == Some(true);
    if args.reach.json {
        print(&format!("{body}\n"));
    } else {
        tell(&verdict, intact);
    }
    Ok(if intact { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}

async fn check(client: &Client) -> Result<String, Problem> {
    let ask = Ask::post(PATH, &json!({}));
    let mut checking = pin!(client.ask(&ask));
    let mut progress = Progress::new();
    loop {
        tokio::select! {
            verdict = &mut checking => return verdict,
            () = tokio::time::sleep(LOOK), if progress.is_watched() => {}
        }
        // How far it is may be unknown; the check goes on.
        let looking = Ask::get(PATH);
        tokio::select! {
            verdict = &mut checking => return verdict,
            body = client.ask(&looking) => {
                if let Some(said) = body.ok().and_then(|body| read::<Json>(&body).ok()) {
                    let number = |name| said.get(name).and_then(Json::as_u64).unwrap_or_default();
                    progress.tell(number("done"), Some(number("total")));
                }
            }
        }
    }
}

fn tell(verdict: &Json, intact: bool) {
    let (checked, retired) = (show::field(verdict, "checked"), show::field(verdict, "retired"));
    if intact {
        print(&format!("The journal is intact: {checked} entries checked, {retired} retired.\n"));
    } else {
        let finding = verdict.get("finding").unwrap_or(&Json::Null);
        let what = show::field(finding, "what");
        print(&format!(
            "The journal is not intact: {}\nentry {}, call {}; {checked} entries checked\n",
            Plain(&what),
            show::field(finding, "sequence"),
            show::field(finding, "call"),
        ));
    }
    let unseen = verdict.get("unseen").and_then(Json::as_array).into_iter().flatten();
    for sentence in unseen.filter_map(Json::as_str) {
        print(&format!("Not seen: {}\n", Plain(sentence)));
    }
}
