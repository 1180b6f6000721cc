//! Checks the journal and tells how far it is.

use std::io::Write as _;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Args};
use serde_json::{Value as Json, json};

use super::is_watched;
use crate::cli::client::{Ask, Client, Reach, read};
use crate::cli::{EXIT_REFUSED, Problem, print, show};
use crate::telemetry::Plain;

const PATH: &str = "/admin/v1/audit/verify";
/// The pause between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// Characters of the bar.
const BAR: usize = 30;

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
    let watched = is_watched();
    loop {
        tokio::select! {
            verdict = &mut checking => {
                if watched {
                    let _ = write!(std::io::stderr(), "\r{:60}\r", "");
                }
                return verdict;
            }
            () = tokio::time::sleep(LOOK), if watched => {}
        }
        // How far it is may be unknown; the check goes on.
        let looking = Ask::get(PATH);
        tokio::select! {
            verdict = &mut checking => return verdict,
            body = client.ask(&looking) => {
                if let Some(progress) = body.ok().and_then(|body| read::<Json>(&body).ok()) {
                    bar(&progress);
                }
            }
        }
    }
}

fn bar(progress: &Json) {
    let number = |name| progress.get(name).and_then(Json::as_u64).unwrap_or_default();
    let (done, total) = (number("done"), number("total").max(1));
    let parts = BAR as u64;
    let full = usize::try_from(done.min(total).saturating_mul(parts) / total).unwrap_or(BAR);
    let (full, empty) = ("#".repeat(full), ".".repeat(BAR.saturating_sub(full)));
    let _ = write!(std::io::stderr(), "\r[{full}{empty}] {done} of {total}");
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
