//! Completions and man pages, from the flags themselves.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{Problem, print};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

/// Of which command.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// A command, such as `keys create`; without one, mcptb itself.
    command: Vec<String>,
}

/// Prints completions.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> ExitCode {
    // Into memory: on a closed pipe the generator would panic.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "mcptb", &mut text);
    print(&String::from_utf8_lossy(&text));
    ExitCode::SUCCESS
}

/// Prints a man page.
pub(super) fn man(args: &ManArgs, mut command: Command) -> Result<ExitCode, Problem> {
    command.build();
    let mut found = &command;
    for name in &args.command {
        found = found.find_subcommand(name).ok_or_else(|| {
            Problem::new(format!("there is no command `{name}` there"), "see: mcptb --help")
        })?;
    }
    let title = std::iter::once("mcptb").chain(args.command.iter().map(String::as_str));
    let title = title.collect::<Vec<_>>().join("-");
    let mut text = Vec::new();
    clap_mangen::Man::new(found.clone())
        .title(title)
        .render(&mut text)
        .map_err(|error| Problem::refused(error.to_string(), "see: mcptb --help"))?;
    print(&String::from_utf8_lossy(&text));
    Ok(ExitCode::SUCCESS)
}
