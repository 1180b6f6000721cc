//! The command line: what may be typed, and what happens then.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::{Layers, Settings};
use crate::{bridge, demo};

mod config;

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
}

/// Parses the command line and runs it.
pub(crate) fn run() -> ExitCode {
    // The matches as well: they know what was typed and what a variable said.
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match cli.command {
        Some(Command::Demo(settings)) => demo::run(&settings),
        Some(Command::Config(command)) => config::run(&command, &matches),
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
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Why the program does not start: what is wrong, and what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) hint: String,
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}
