//! The command line: what may be typed, and what happens then.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::{Layers, Settings};
use crate::{bridge, demo};

mod audit;
mod bounds;
mod client;
mod config;
mod keys;
mod pages;
mod shell;
mod show;
mod status;
mod table;
mod tenants;
mod token;
mod usage;

/// Refused, or a finding.
const EXIT_REFUSED: u8 = 1;
/// Wrong use, as in most command-line programs.
const EXIT_USAGE: u8 = 2;

/// MCP Token Bridge: OpenAI and Anthropic endpoints for the model of your own MCP host.
///
/// Without a subcommand it is an MCP server on stdin and stdout, started by an MCP host (VS Code,
/// Copilot CLI, fast-agent, a FastMCP client). Its HTTP side opens once a host has attached.
#[derive(Debug, Parser)]
#[command(name = "mcptb", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    _settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the bridge at work with a simulated MCP host; needs no editor and no account.
    Demo(demo::DemoSettings),
    /// Checks, shows or begins a configuration file.
    #[command(subcommand)]
    Config(Box<config::ConfigCommand>),
    /// Makes, shows, changes and ends keys.
    #[command(subcommand)]
    Keys(Box<keys::KeysCommand>),
    /// Makes, shows, changes and ends tenants: owners of keys, with bounds over all of them.
    #[command(subcommand)]
    Tenants(Box<tenants::TenantsCommand>),
    /// Sums what was spent.
    Usage(Box<usage::UsageArgs>),
    /// Shows, follows, exports and checks the record of calls.
    #[command(subcommand)]
    Audit(Box<audit::AuditCommand>),
    /// Tells how the store is, and how many keys there are.
    Status(status::StatusArgs),
    /// Prints completions for a shell.
    Completions(shell::CompletionsArgs),
    /// Prints a man page: of mcptb, or of one of its commands.
    Man(shell::ManArgs),
}

/// Parses the command line and runs it.
pub(crate) fn run() -> ExitCode {
    // The matches as well: they know what was typed and what a variable said.
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match cli.command {
        Some(Command::Demo(settings)) => demo::run(&settings),
        Some(Command::Config(command)) => config::run(&command, &matches),
        Some(Command::Keys(command)) => keys::run(*command, innermost(&matches)),
        Some(Command::Tenants(command)) => tenants::run(*command, innermost(&matches)),
        Some(Command::Usage(args)) => usage::run(&args, innermost(&matches)),
        Some(Command::Audit(command)) => audit::run(&command, innermost(&matches)),
        Some(Command::Status(args)) => status::run(&args, innermost(&matches)),
        Some(Command::Completions(args)) => Ok(shell::completions(&args, Cli::command())),
        Some(Command::Man(args)) => shell::man(&args, Cli::command()),
        None if std::io::stdin().is_terminal() => Err(Problem::new(
            "mcptb is started by an MCP host, not from a terminal.",
            "add it to your editor, for example in .vscode/mcp.json:\n  \
             {\"servers\": {\"mcptb\": {\"type\": \"stdio\", \"command\": \"mcptb\"}}}\n\
             or see it work without one: mcptb demo",
        )),
        None => bridge::run(&Layers::of(&matches)),
    };
    match outcome {
        Ok(code) => code,
        Err(problem) => {
            // Nothing can be done where stderr is closed.
            let _ = writeln!(std::io::stderr(), "mcptb: {}\nhint: {}", problem.what, problem.hint);
            ExitCode::from(problem.code)
        }
    }
}

/// The matches of the command itself, below those that lead to it.
fn innermost(mut matches: &ArgMatches) -> &ArgMatches {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    matches
}

/// Writes to stdout. A reader that has gone wants no more.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Says something on stderr, which is not for scripts.
fn note(text: &str) {
    // Nothing can be done where it is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Why the program does not start: what is wrong, and what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) hint: String,
    code: u8,
    /// Whether it may be over in a moment.
    passing: bool,
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into(), code: EXIT_USAGE, passing: false }
    }

    /// Something that was well said and is not done.
    pub(crate) fn refused(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: EXIT_REFUSED, ..Self::new(what, hint) }
    }

    /// Something that cannot be reached at the moment.
    fn away(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { passing: true, ..Self::refused(what, hint) }
    }
}
